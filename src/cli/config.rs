//! `teammy config`: every setting, and where it comes from.

use serde::Serialize;
use teammy::config::{Loaded, Setting};

use super::{
    error::Error,
    output::{Form, Output, table},
};

/// Show every setting, and where it comes from.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Print JSON lines, each with a "type"; values are texts, as TOML writes them
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Serialize)]
struct Line<'a> {
    r#type: &'static str,
    #[serde(flatten)]
    setting: &'a Setting,
}

pub(crate) fn run(loaded: &Loaded, output: &Output) -> Result<(), Error> {
    let settings = loaded.settings();
    match output.form() {
        Form::Json => {
            settings.iter().try_for_each(|setting| output.object(&Line { r#type: "setting", setting }))
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
