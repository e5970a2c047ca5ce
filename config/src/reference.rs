//! The configuration's reference, made from the code.
//!
//! What a key takes and what holds without it is what [`Config`] asks for when it is read; what it is for is
//! the comment above it in `default.toml`. So neither a range nor a default is written twice, and the
//! reference cannot fall behind.

mod descriptions;
mod markdown;
mod schema;
#[cfg(test)]
mod tests;

use crate::{Config, asked::Asked, keys, layer::defaults, reader::Reader};

pub use crate::asked::Fallback;
pub use schema::schema_markdown;

/// A table of the configuration, or a list of them.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Section {
    /// Its header as TOML writes it: `[hooks]`, or `[[plugin]]` for a list.
    pub header: String,
    /// What it is for, in Markdown's code spans but otherwise plain.
    pub description: String,
    /// Its keys, in the order in which they are best read.
    pub keys: Vec<Key>,
}

/// A key, and all there is to know about it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Key {
    /// Its name in its table.
    pub name: String,
    /// The environment variable that sets it; none for a list's keys, which are set in a file only.
    pub variable: Option<String>,
    /// What it takes: its type, and the range where there is one.
    pub takes: String,
    /// What holds where it is not given.
    pub fallback: Fallback,
    /// What it means, in Markdown's code spans but otherwise plain. A line break is one that should stay.
    pub description: String,
}

/// Every table of the configuration with every key, in the order of `default.toml`.
///
/// # Examples
/// ```
/// use teammy_config::reference;
/// let sections = reference::sections();
/// let hooks = sections.iter().find(|section| section.header == "[hooks]").unwrap();
/// let tries = hooks.keys.iter().find(|key| key.name == "tries").unwrap();
/// assert_eq!(tries.takes, "whole number, 1 to 1000");
/// assert_eq!(tries.variable.as_deref(), Some("TEAMMY_HOOKS__TRIES"));
/// ```
pub fn sections() -> Vec<Section> {
    let mut reader = Reader::describing(defaults());
    Config::read(&mut reader);
    let mut descriptions = descriptions::read(crate::REFERENCE);
    let mut describe = |path: &str| descriptions.remove(path).unwrap_or_default();

    let mut sections: Vec<Section> = Vec::new();
    for Asked { key: path, takes, fallback } in reader.into_asked() {
        let (table, name) = path.rsplit_once('.').expect("invariant: every key is in a table");
        let is_list = keys::is_list(table);
        let header = if is_list { format!("[[{table}]]") } else { format!("[{table}]") };
        let at = sections.iter().position(|section| section.header == header).unwrap_or_else(|| {
            sections.push(Section { header, description: describe(table), keys: Vec::new() });
            sections.len() - 1
        });
        sections[at].keys.push(Key {
            name: name.to_owned(),
            variable: (!is_list).then(|| keys::variable(&path)),
            takes,
            fallback,
            description: describe(&path),
        });
    }
    sections
}

/// All of it as a page of Markdown, for people to read.
///
/// What a plugin's own table takes is not in it, since this crate knows no plugin; [`schema_markdown`] makes
/// that from the plugin's schema.
pub fn markdown() -> String {
    let mut page = INTRODUCTION.to_owned();
    for section in sections() {
        let [header, description] = [markdown::code(&section.header), markdown::text(&section.description)];
        page.extend(["\n## ", &header, "\n\n", &description, "\n\n", &table(&section.keys)]);
    }
    page
}

const INTRODUCTION: &str = r#"# Configuration

Every key of Teammy's configuration. This page is made from the code by `teammy config --reference`.

A value comes from the defaults below; a file covers them, `teammy.toml` in the working directory or the one that is given
to `--config`; an environment variable covers both; an option of the command covers all. `teammy config` shows every value
and where it comes from. An unknown key is an error, in a file as in a variable.

- A **variable** is named after its key, with two underscores between the levels: `hooks.tries` is `TEAMMY_HOOKS__TRIES`.
  Lists of tables, written `[[…]]` below, are in a file only.
- A **duration** is a text such as `"200ms"`, `"60s"`, `"1m 30s"` or `"2h"`.
- A **size** is a text such as `"64KiB"`, `"1MiB"` or `"2GiB"`, or a number of bytes.
- A **secret** is never shown, and is best kept out of files: a password is given by its variable, and a model's
  `api_key_env` names the variable that holds its key.
"#;

fn table(keys: &[Key]) -> String {
    let has_variables = keys.iter().any(|key| key.variable.is_some());
    let mut columns = vec!["Key", "Variable", "Takes", "Default", "Meaning"];
    columns.retain(|column| has_variables || *column != "Variable");
    let rows = keys.iter().map(|key| {
        let variable = key.variable.as_deref().map_or_else(String::new, markdown::code);
        let mut cells = vec![markdown::code(&key.name)];
        cells.extend(has_variables.then_some(variable));
        cells.extend([markdown::text(&key.takes), default(&key.fallback), markdown::text(&key.description)]);
        cells
    });
    markdown::table(&columns, rows)
}

fn default(fallback: &Fallback) -> String {
    match fallback {
        Fallback::Required => "required".to_owned(),
        Fallback::None => "none".to_owned(),
        Fallback::Value(value) => markdown::code(value),
        Fallback::Words(words) => markdown::text(words),
    }
}
