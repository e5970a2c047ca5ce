//! The keys that exist, and what may have been meant by one that doesn't.

use std::collections::BTreeSet;

/// Every key that holds a value, in the order in which [`Config`](crate::Config) reads them.
pub(crate) const KEYS: &[&str] = &[
    "node.plugin_threads",
    "node.shutdown_deadline",
    "node.memory",
    "node.socket",
    "database.url",
    "database.namespace",
    "database.database",
    "database.username",
    "database.password",
    "database.block_cache",
    "database.memtable",
    "delivery.batch_packets",
    "delivery.batch_bytes",
    "delivery.tail_bytes",
    "delivery.backlog_bytes",
    "delivery.block_bytes",
    "delivery.recent_bytes",
    "delivery.cursor_interval",
    "hooks.deadline",
    "hooks.tries",
    "hooks.backoff",
    "hooks.backoff_max",
    "hooks.watchdog",
    "meeting.end_deadline",
    "restart.intensity",
    "restart.within",
    "restart.backoff",
    "restart.backoff_max",
    "limits.packet_bytes",
    "metrics.listen",
    "llm.default",
    "llm.fast",
    "install.manifest",
    "log.filter",
];

/// A key that holds a list of tables, and what keys each of these may have.
pub(crate) struct List {
    pub(crate) path: &'static str,
    pub(crate) keys: &'static [&'static str],
}

pub(crate) const MODEL: List =
    List { path: "llm.model", keys: &["name", "model", "base_url", "api_key_env", "extra_body"] };
pub(crate) const SOURCE: List = List { path: "source", keys: &["name", "durable"] };
pub(crate) const PLUGIN: List =
    List { path: "plugin", keys: &["name", "kind", "sources", "delivery", "output", "config"] };

/// All of them, in the order in which they are read.
pub(crate) const LISTS: &[&List] = &[&MODEL, &SOURCE, &PLUGIN];

/// What every variable's name starts with.
pub(crate) const VARIABLE_PREFIX: &str = "TEAMMY_";

/// The variable that sets a key.
pub(crate) fn variable(key: &str) -> String {
    format!("{VARIABLE_PREFIX}{}", key.to_uppercase().replace('.', "__"))
}

/// Whether keys stand below this one.
pub(crate) fn is_table(path: &str) -> bool {
    children(path).next().is_some()
}

pub(crate) fn is_list(path: &str) -> bool {
    LISTS.iter().any(|list| list.path == path)
}

fn paths() -> impl Iterator<Item = &'static str> {
    KEYS.iter().copied().chain(LISTS.iter().map(|list| list.path))
}

fn children(path: &str) -> impl Iterator<Item = &'static str> {
    paths().filter_map(move |key| key.strip_prefix(path)?.strip_prefix('.'))
}

/// What to say of a key that doesn't exist: the key that was meant, or those that stand in its table.
pub(crate) fn unknown(path: &str) -> String {
    let (table, last) = path.rsplit_once('.').unwrap_or(("", path));
    if let Some(meant) = paths().find(|key| key.rsplit('.').next() == Some(last)) {
        return format!("is unknown; did you mean {meant}?");
    }
    let siblings: Vec<&str> = if table.is_empty() { top_level() } else { children(table).collect() };
    if let Some(meant) = closest(last, siblings.iter().copied()) {
        let meant = if table.is_empty() { meant.to_owned() } else { format!("{table}.{meant}") };
        return format!("is unknown; did you mean {meant}?");
    }
    if is_api_key(last) {
        return format!("is unknown; {KEY_ELSEWHERE} in [[{}]]", MODEL.path);
    }
    let mut lists = LISTS.iter().filter(|list| list.keys.contains(&last));
    if let (Some(list), None) = (lists.next(), lists.next()) {
        return format!("is unknown; did you mean {last} in [[{}]]?", list.path);
    }
    if table.is_empty() {
        format!("is unknown; known are: {}", siblings.join(", "))
    } else {
        format!("is unknown; known in [{table}] are: {}", siblings.join(", "))
    }
}

/// What to say of a variable that sets no key.
pub(crate) fn unknown_variable(name: &str) -> String {
    let written = name.strip_prefix(VARIABLE_PREFIX).unwrap_or(name).to_lowercase().replace("__", ".");
    let below = |list: &&List| {
        let rest = written.strip_prefix(list.path)?;
        let rest = rest.strip_prefix('s').unwrap_or(rest);
        (rest.is_empty() || rest.starts_with('.')).then_some(list.path)
    };
    if written.starts_with("llm") && written.rsplit('.').next().is_some_and(is_api_key) {
        return format!("is unknown; {KEY_ELSEWHERE}");
    }
    if let Some(list) = LISTS.iter().copied().find_map(|list| below(&list)) {
        return listed(list);
    }
    let variables: Vec<(String, &str)> = paths().map(|path| (variable(path), path)).collect();
    let meant = closest(name, variables.iter().map(|(variable, _)| variable.as_str()));
    match variables.iter().find(|(variable, _)| Some(variable.as_str()) == meant) {
        Some((_, path)) if is_list(path) => listed(path),
        Some((variable, _)) => format!("is unknown; did you mean {variable}?"),
        None => "is unknown; a key such as hooks.tries is set by TEAMMY_HOOKS__TRIES".to_owned(),
    }
}

fn listed(list: &str) -> String {
    format!("cannot be used: lists are written in a file, as [[{list}]] in teammy.toml")
}

/// What to say of a key that a list's table doesn't have.
pub(crate) fn unknown_in(list: &List, key: &str) -> String {
    if list.path == MODEL.path && is_api_key(key) {
        return format!("is unknown; {KEY_ELSEWHERE}");
    }
    match closest(key, list.keys.iter().copied()) {
        Some(meant) => format!("is unknown; did you mean {meant}?"),
        None => format!("is unknown; known here are: {}", list.keys.join(", ")),
    }
}

const KEY_ELSEWHERE: &str = "a key has no place in a file: put it into an environment variable, and name that as \
                             api_key_env = \"OPENAI_API_KEY\"";

/// Whether this is what people call the key to a model's server.
fn is_api_key(key: &str) -> bool {
    let letters: String = key.to_lowercase().chars().filter(char::is_ascii_alphabetic).collect();
    ["apikey", "key", "token", "apitoken", "openaiapikey"].contains(&letters.as_str())
}

fn top_level() -> Vec<&'static str> {
    let mut names: Vec<&str> = paths().filter_map(|path| path.split('.').next()).collect();
    let mut seen = BTreeSet::new();
    names.retain(|name| seen.insert(*name));
    names
}

/// The candidate most like a text, if it is like enough: one slip in three characters.
pub(crate) fn closest<'a>(text: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let most = text.chars().count().div_ceil(3);
    let lower = text.to_lowercase();
    let distances = candidates.into_iter().map(|candidate| {
        let distance = strsim::damerau_levenshtein(&lower, &candidate.to_lowercase());
        (distance, candidate)
    });
    distances
        .filter(|(distance, _)| *distance <= most)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, it)| it)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_meant_is_found_elsewhere_or_beside_it() {
        assert_eq!(unknown("hooks.trys"), "is unknown; did you mean hooks.tries?");
        assert_eq!(unknown("hook"), "is unknown; did you mean hooks?");
        assert_eq!(unknown("plugins"), "is unknown; did you mean plugin?");
        assert_eq!(unknown("intensity"), "is unknown; did you mean restart.intensity?");
        assert_eq!(unknown("hooks.end_deadline"), "is unknown; did you mean meeting.end_deadline?");
        assert_eq!(unknown("limits.zzz"), "is unknown; known in [limits] are: packet_bytes");
        assert_eq!(
            unknown("zzz"),
            "is unknown; known are: node, database, delivery, hooks, meeting, restart, limits, metrics, llm, install, log, \
             source, plugin"
        );
    }

    #[test]
    fn a_variable_is_named_after_its_key() {
        for name in ["TEAMMY_LLM__API_KEY", "TEAMMY_LLM__MODEL__API_KEY"] {
            assert!(
                unknown_variable(name).contains("name that as api_key_env"),
                "{}",
                unknown_variable(name)
            );
        }
        assert_eq!(variable("delivery.batch_bytes"), "TEAMMY_DELIVERY__BATCH_BYTES");
        let said = unknown_variable("TEAMMY_DATABASE_URL");
        assert_eq!(said, "is unknown; did you mean TEAMMY_DATABASE__URL?");
    }
}
