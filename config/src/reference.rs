//! The configuration's reference: `docs/configuration.md` and `default.toml`, made from the definitions of
//! the tables.

mod markdown;
mod schema;
#[cfg(test)]
mod tests;
mod toml;

use crate::sections::Config;

pub use crate::section::{Fallback, Key, Section};
pub use schema::schema_markdown;

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
    Config::sections()
}

/// The reference as a page of Markdown.
///
/// This crate knows no plugin, so the page has nothing about the plugins' own tables. [`schema_markdown`]
/// describes one from the plugin's schema.
pub fn markdown() -> String {
    let mut page = INTRODUCTION.to_owned();
    for section in sections() {
        let [header, description] =
            [markdown::code(&section.header), markdown::flattened(&section.description)];
        page.extend(["\n## ", &header, "\n\n", &description, "\n\n", &table(&section.keys)]);
    }
    page
}

/// The reference as a TOML file: each key with its description and its default. A key without a fixed default
/// is commented out, with an example. [`REFERENCE`](crate::REFERENCE) is this text.
pub fn toml() -> String {
    toml::file(&sections())
}

const INTRODUCTION: &str = r#"# Configuration

Every key of Teammy's configuration. `teammy config --reference` prints this page.

Each value has a default. A file overrides the defaults: `teammy.toml` in the working directory, or the one that is given to
`--config`. An environment variable overrides both, and an option of the command overrides all. `teammy config` shows every
value and where it comes from. An unknown key is an error, in a file as in a variable; but a variable that another program
may have set, such as Kubernetes for a service named `teammy`, is ignored with a warning.

- A **variable** is named after its key, with two underscores between the levels: `hooks.tries` is `TEAMMY_HOOKS__TRIES`.
  Lists of tables, written `[[…]]` below, can be in a file only.
- A **duration** is a text such as `"200ms"`, `"60s"`, `"1m 30s"` or `"2h"`.
- A **size** is a text such as `"64KiB"`, `"1MiB"` or `"2GiB"`, or a number of bytes.
- A **secret** is never shown, and is best kept out of files: set a password by its variable, and name the variable that
  holds a model's key in `api_key_env`.
"#;

fn table(keys: &[Key]) -> String {
    let has_variables = keys.iter().any(|key| key.variable.is_some());
    let mut columns = vec!["Key", "Variable", "Takes", "Default", "Meaning"];
    columns.retain(|column| has_variables || *column != "Variable");
    let rows = keys.iter().map(|key| {
        let mut cells = vec![markdown::code(&key.name)];
        cells.extend(key.variable.as_deref().map(markdown::code));
        let description = markdown::flattened(&key.description);
        cells.extend([markdown::text(&key.takes), markdown::fallback(&key.fallback), description]);
        cells
    });
    markdown::table(&columns, rows)
}
