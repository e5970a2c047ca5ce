//! `teammy config`: shows every setting, and where its value comes from.

use std::fmt::Write;

use serde::Serialize;
use teammy::{
    config::{Loaded, Setting, reference},
    graph::Bundle,
};

use super::{
    error::Error,
    output::{Form, Output, table},
};

const EXAMPLES: &str = "\
Examples:
  teammy config                                the settings that apply here
  teammy config --config other.toml            with another file
  TEAMMY_HOOKS__TRIES=5 teammy config --json   with a variable, as JSON
  teammy config --reference                    what every key means";

/// Show every setting, and where its value comes from.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Print JSON lines, each with a "type"; a value is a text as in TOML
    #[arg(long)]
    pub(super) json: bool,
    /// Print the reference of every key instead, and of each plugin's own table, as Markdown
    #[arg(long, conflicts_with = "json")]
    pub(super) reference: bool,
}

#[derive(Serialize)]
struct SettingLine<'a> {
    r#type: &'static str,
    #[serde(flatten)]
    setting: &'a Setting,
}

/// Prints the page `docs/configuration.md`, for the plugins of this build.
pub(crate) fn reference(bundle: &Bundle, output: &Output) -> Result<(), Error> {
    let mut page = reference::markdown();
    page.push_str("\n# Plugins' own tables\n\nEach is the `config` of a `[[plugin]]` of that kind.\n");
    for factory in bundle.iter() {
        let kind = factory.kind();
        let metadata =
            factory.metadata().map_err(|problem| Error::Hooks { kind: kind.to_owned(), problem })?;
        let _ = write!(page, "\n## `{kind}`\n\n{}", reference::schema_markdown(metadata.config.as_value()));
    }
    output.text(page.trim_end())
}

pub(crate) fn run(loaded: &Loaded, output: &Output) -> Result<(), Error> {
    let settings = loaded.settings();
    match output.form() {
        Form::Json => {
            settings.iter().try_for_each(|setting| output.object(&SettingLine { r#type: "setting", setting }))
        }
        Form::Text => {
            let mut table = table(["key", "value", "from"]);
            for Setting { key, value, origin, .. } in &settings {
                table.add_row([key, value, origin]);
            }
            output.text(&table.trim_fmt())
        }
    }
}
