//! The keys that exist, and what may have been meant by one that doesn't.

/// Every key that holds a value, in the order in which [`Config`](crate::Config) reads them.
pub(crate) const KEYS: &[&str] = &[
    "node.plugin_threads",
    "node.shutdown_deadline",
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
    "delivery.recent_bytes",
    "delivery.cursor_interval",
    "hooks.deadline",
    "hooks.tries",
    "hooks.backoff",
    "hooks.backoff_max",
    "meeting.end_deadline",
    "restart.intensity",
    "restart.within",
    "restart.backoff",
    "restart.backoff_max",
    "limits.packet_bytes",
    "log.filter",
];

/// The keys that hold lists of tables.
pub(crate) const LISTS: &[&str] = &[SOURCE, PLUGIN];
pub(crate) const SOURCE: &str = "source";
pub(crate) const PLUGIN: &str = "plugin";

/// The keys of one `[[source]]`.
pub(crate) const SOURCE_KEYS: &[&str] = &["name", "durable"];
/// The keys of one `[[plugin]]`.
pub(crate) const PLUGIN_KEYS: &[&str] = &["name", "kind", "sources", "output", "config"];

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

fn children(path: &str) -> impl Iterator<Item = &'static str> {
    KEYS.iter().filter_map(move |key| key.strip_prefix(path)?.strip_prefix('.'))
}

/// What to say of a key that doesn't exist: the key that was meant, or those that stand in its table.
pub(crate) fn unknown(path: &str) -> String {
    let (table, last) = path.rsplit_once('.').unwrap_or(("", path));
    let siblings: Vec<&str> = if table.is_empty() { top_level() } else { children(table).collect() };
    if let Some(meant) = KEYS.iter().find(|key| key.rsplit('.').next() == Some(last)) {
        return format!("is unknown; did you mean {meant}?");
    }
    if let Some(meant) = closest(last, siblings.iter().copied()) {
        let meant = if table.is_empty() { meant.to_owned() } else { format!("{table}.{meant}") };
        return format!("is unknown; did you mean {meant}?");
    }
    if table.is_empty() {
        format!("is unknown; known are: {}", siblings.join(", "))
    } else {
        format!("is unknown; known in [{table}] are: {}", siblings.join(", "))
    }
}

/// What to say of a variable that sets no key.
pub(crate) fn unknown_variable(name: &str) -> String {
    let variables: Vec<String> = KEYS.iter().map(|key| variable(key)).collect();
    match closest(name, variables.iter().map(String::as_str)) {
        Some(meant) => format!("is unknown; did you mean {meant}?"),
        None => "is unknown; a key such as hooks.tries is set by TEAMMY_HOOKS__TRIES".to_owned(),
    }
}

/// What to say of a key that a list's table doesn't have.
pub(crate) fn unknown_in(known: &[&str], key: &str) -> String {
    match closest(key, known.iter().copied()) {
        Some(meant) => format!("is unknown; did you mean {meant}?"),
        None => format!("is unknown; known here are: {}", known.join(", ")),
    }
}

fn top_level() -> Vec<&'static str> {
    let mut names: Vec<&str> = KEYS.iter().filter_map(|key| key.split('.').next()).collect();
    names.dedup();
    names.extend(LISTS);
    names
}

/// The candidate most like a text, if it is like enough: one slip in three characters.
fn closest<'a>(text: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
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
            "is unknown; known are: node, database, delivery, hooks, meeting, restart, limits, log, source, plugin"
        );
    }

    #[test]
    fn a_variable_is_named_after_its_key() {
        assert_eq!(variable("delivery.batch_bytes"), "TEAMMY_DELIVERY__BATCH_BYTES");
        let said = unknown_variable("TEAMMY_DATABASE_URL");
        assert_eq!(said, "is unknown; did you mean TEAMMY_DATABASE__URL?");
    }
}
