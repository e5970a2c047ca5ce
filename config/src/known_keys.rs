//! The keys that exist, and messages about those that don't: which key was meant, or which keys there are.

use std::collections::BTreeSet;

use crate::section::{Section, VARIABLE_PREFIX, variable};

pub(crate) struct KnownKeys(Vec<Section>);

impl KnownKeys {
    pub(crate) fn new(sections: Vec<Section>) -> Self {
        Self(sections)
    }

    fn lists(&self) -> impl Iterator<Item = &Section> {
        self.0.iter().filter(|section| section.is_list())
    }

    /// Every key that holds a value, such as `hooks.tries`; not those of lists.
    pub(crate) fn keys(&self) -> impl Iterator<Item = String> {
        self.0.iter().filter(|section| !section.is_list()).flat_map(Section::paths)
    }

    pub(crate) fn is_key(&self, path: &str) -> bool {
        self.keys().any(|key| key == path)
    }

    pub(crate) fn is_list(&self, path: &str) -> bool {
        self.lists().any(|list| list.path() == path)
    }

    /// Whether keys stand below this path.
    pub(crate) fn is_table(&self, path: &str) -> bool {
        !self.below(path).is_empty()
    }

    /// Whether this is the first part of a key or of a list's header, in singular or plural.
    pub(crate) fn is_section(&self, part: &str) -> bool {
        let is_list = |part: &str| self.lists().any(|list| list.path() == part);
        self.is_table(part) || is_list(part) || part.strip_suffix('s').is_some_and(is_list)
    }

    fn paths(&self) -> impl Iterator<Item = String> {
        self.keys().chain(self.lists().map(|list| list.path().to_owned()))
    }

    fn below(&self, table: &str) -> Vec<String> {
        self.paths()
            .filter_map(|path| Some(path.strip_prefix(table)?.strip_prefix('.')?.to_owned()))
            .collect()
    }

    fn top_level(&self) -> Vec<String> {
        let mut seen = BTreeSet::new();
        let names = self.paths().filter_map(|path| path.split('.').next().map(str::to_owned));
        names.filter(|name| seen.insert(name.clone())).collect()
    }

    /// The message about an unknown key: the key that was meant, or those of its table.
    pub(crate) fn unknown(&self, path: &str) -> String {
        let (table, last) = path.rsplit_once('.').unwrap_or(("", path));
        if table == "llm" && is_api_key(last) {
            return format!("is unknown; {API_KEY} in [[llm.model]]");
        }
        if let Some(meant) = self.paths().find(|path| path.rsplit('.').next() == Some(last)) {
            return format!("is unknown; did you mean {meant}?");
        }
        let siblings = if table.is_empty() { self.top_level() } else { self.below(table) };
        if let Some(meant) = closest(last, siblings.iter().map(String::as_str)) {
            let dot = if table.is_empty() { "" } else { "." };
            return format!("is unknown; did you mean {table}{dot}{meant}?");
        }
        if is_api_key(last) {
            return format!("is unknown; {API_KEY} in [[llm.model]]");
        }
        let mut lists = self.lists().filter(|list| list.names().any(|name| name == last));
        if let (Some(list), None) = (lists.next(), lists.next()) {
            return format!("is unknown; did you mean {last} in {}?", list.header);
        }
        let place = if table.is_empty() { String::new() } else { format!(" in [{table}]") };
        format!("is unknown; known{place} are: {}", siblings.join(", "))
    }

    /// The message about a variable that sets no key.
    pub(crate) fn unknown_variable(&self, name: &str) -> String {
        let path = name.strip_prefix(VARIABLE_PREFIX).unwrap_or(name).to_lowercase().replace("__", ".");
        if path.starts_with("llm") && path.rsplit('.').next().is_some_and(is_api_key) {
            return format!("is unknown; {API_KEY}");
        }
        let is_below = |list: &&Section| {
            let rest = path.strip_prefix(list.path()).map(|rest| rest.strip_prefix('s').unwrap_or(rest));
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        let table = path.split(['.', '_']).next().filter(|first| self.is_table(first)).unwrap_or_default();
        let is_candidate =
            |path: &String| table.is_empty() || path.split('.').next().is_some_and(|first| first == table);
        let variables: Vec<String> = self.paths().filter(is_candidate).map(|path| variable(&path)).collect();
        let meant = closest(name, variables.iter().map(String::as_str));
        let list = self.lists().find(is_below);
        match list.or_else(|| self.lists().find(|list| meant == Some(&variable(list.path())))) {
            Some(list) => {
                let header = &list.header;
                format!("cannot be used: lists are written in a file, as {header} in teammy.toml")
            }
            None => match meant {
                Some(meant) => format!("is unknown; did you mean {meant}?"),
                None => self.variables_in(table),
            },
        }
    }

    /// The message about a variable of this table that is like none of its keys.
    fn variables_in(&self, table: &str) -> String {
        let keys = self.below(table).into_iter().map(|key| format!("{table}.{key}"));
        let variables: Vec<String> = keys.filter(|key| self.is_key(key)).map(|key| variable(&key)).collect();
        if variables.is_empty() {
            return "is unknown; a key such as hooks.tries is set by TEAMMY_HOOKS__TRIES".to_owned();
        }
        format!("is unknown; known for [{table}] are: {}", variables.join(", "))
    }
}

/// The message about a key that a list's table doesn't have.
pub(crate) fn unknown_in(list: &Section, key: &str) -> String {
    if list.path() == "llm.model" && is_api_key(key) {
        return format!("is unknown; {API_KEY}");
    }
    match closest(key, list.names()) {
        Some(meant) => format!("is unknown; did you mean {meant}?"),
        None => format!("is unknown; known here are: {}", list.names().collect::<Vec<_>>().join(", ")),
    }
}

const API_KEY: &str = "an API key does not belong in a file: put it into an environment variable, and name that \
                       variable as api_key_env = \"OPENAI_API_KEY\"";

/// Whether this is what people call the key to a model's server.
fn is_api_key(key: &str) -> bool {
    let letters: String = key.to_lowercase().chars().filter(char::is_ascii_alphabetic).collect();
    ["apikey", "key", "token", "apitoken", "openaiapikey"].contains(&letters.as_str())
}

/// The candidate that is most like a text, if at most one in three characters differs.
pub(crate) fn closest<'a>(text: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let most = text.chars().count().div_ceil(3);
    let lower = text.to_lowercase();
    let distances = candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&lower, &candidate.to_lowercase()), candidate));
    let near = distances.filter(|(distance, _)| *distance <= most);
    near.min_by_key(|(distance, _)| *distance).map(|(_, candidate)| candidate)
}
