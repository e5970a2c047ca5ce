//! `teammy new`: a plugin to begin with, which passes its own tests.

pub(super) mod refusal;

use std::{
    fs,
    path::{Path, PathBuf},
};

use clap::ValueEnum;
use serde_json::json;

use super::{
    error::Error,
    output::{Form, Output},
    text::shell_word,
};

use refusal::NewError;

const EXAMPLES: &str = "\
Examples:
  teammy new python word-count                      a plugin in ./word-count, in Python
  teammy new rust word-count --out plugins/words    one in Rust, in another folder

Each has a README that says how to test and to run it.";

/// Write a plugin to begin with, in Python or in Rust
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The language
    language: Language,
    /// Its name: words of lower-case letters and digits with hyphens between them, such as "word-count"
    #[arg(value_name = "NAME")]
    name: String,
    /// Write it to this folder, which must not exist, instead of ./NAME
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// Where Teammy's sources are, as seen from the plugin's folder
    #[arg(long, value_name = "FOLDER", default_value = "../teammy")]
    sources: String,
    /// Print a JSON line with a "type"
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Language {
    Python,
    Rust,
}

const PYTHON: [(&str, &str); 5] = [
    ("README.md", include_str!("new/python/README.md.tmpl")),
    ("pyproject.toml", include_str!("new/python/pyproject.toml.tmpl")),
    (".gitignore", include_str!("new/python/.gitignore.tmpl")),
    ("src/plugin/__init__.py", include_str!("new/python/src/plugin/__init__.py.tmpl")),
    ("tests/test_plugin.py", include_str!("new/python/tests/test_plugin.py.tmpl")),
];

const RUST: [(&str, &str); 5] = [
    ("README.md", include_str!("new/rust/README.md.tmpl")),
    ("Cargo.toml", include_str!("new/rust/Cargo.toml.tmpl")),
    (".gitignore", include_str!("new/rust/.gitignore.tmpl")),
    ("src/lib.rs", include_str!("new/rust/src/lib.rs.tmpl")),
    ("src/tests.rs", include_str!("new/rust/src/tests.rs.tmpl")),
];

/// Rust's keywords, as far as a crate may not have their names.
const KEYWORDS: [&str; 46] = [
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "crate", "do", "dyn",
    "else", "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl", "in", "let", "loop",
    "macro", "match", "mod", "move", "mut", "override", "priv", "pub", "ref", "return", "self", "static",
    "struct", "super", "trait", "true", "try", "type", "unsafe", "use", "while",
];

/// Types that the written files name themselves, or that the API has.
const TYPES: [&str; 20] = [
    "BTreeMap",
    "Config",
    "Counts",
    "Cx",
    "DataPacket",
    "Deserialize",
    "Error",
    "Hooks",
    "InCallPlugin",
    "Json",
    "JsonSchema",
    "MeetingEngine",
    "MeetingMetadata",
    "Pace",
    "PluginConfig",
    "PluginState",
    "Receive",
    "Serialize",
    "State",
    "Transcription",
];

pub(crate) fn run(args: &Args, output: &Output) -> Result<(), Error> {
    let names = Names::of(&args.name)?;
    let folder = args.out.clone().unwrap_or_else(|| PathBuf::from(&args.name));
    let files = match args.language {
        Language::Python => &PYTHON,
        Language::Rust => &RUST,
    };
    if folder.exists() {
        return Err(NewError::There(folder).into());
    }
    let teammy = args.sources.trim_end_matches('/');
    for (path, template) in files {
        let text = template
            .replace("{{name}}", &args.name)
            .replace("{{module}}", &names.module)
            .replace("{{type}}", &names.r#type)
            .replace("{{kernel}}", &format!("{{ path = {} }}", json!(format!("{teammy}/kernel"))))
            .replace(
                "{{teammy}}",
                &match args.language {
                    Language::Python => shell_word(&format!("{teammy}/plugins/python/python")),
                    Language::Rust => teammy.to_owned(),
                },
            );
        write(&folder.join(path), &text)?;
    }
    match output.form() {
        Form::Json => output.object(&json!({"type": "plugin", "name": args.name, "folder": folder})),
        Form::Text => output.text(&format!(
            "wrote {}; its README says how to test and to run it",
            folder.join("README.md").display()
        )),
    }
}

fn write(path: &Path, text: &str) -> Result<(), NewError> {
    let written = path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(path, text));
    written.map_err(|error| NewError::Write(path.to_owned(), error))
}

/// A plugin's name in the forms that code has.
#[derive(Debug, PartialEq, Eq)]
struct Names {
    /// With underscores.
    module: String,
    /// In CamelCase.
    r#type: String,
}

impl Names {
    fn of(name: &str) -> Result<Self, NewError> {
        let is_word = |word: &str| {
            !word.is_empty() && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
        };
        let begins_well = name.chars().next().is_some_and(|c| c.is_ascii_lowercase());
        if !begins_well || name.len() > 60 || !name.split('-').all(is_word) {
            return Err(NewError::Name(name.to_owned()));
        }
        let module = name.replace('-', "_");
        let capital = |word: &str| word[..1].to_ascii_uppercase() + &word[1..];
        let r#type: String = name.split('-').map(capital).collect();
        let is_taken = KEYWORDS.contains(&&*module)
            || TYPES.contains(&&*r#type)
            || ["test", "teammy", "plugin"].contains(&name);
        if is_taken { Err(NewError::Taken(name.to_owned())) } else { Ok(Self { module, r#type }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_the_forms_that_code_has() {
        let names = Names::of("word-count-2x").unwrap();
        assert_eq!((&*names.module, &*names.r#type), ("word_count_2x", "WordCount2x"));
        for name in ["", "-a", "a-", "a--b", "Word", "2x", "wörter", "a b", "../x", &"x".repeat(61)] {
            assert!(matches!(Names::of(name), Err(NewError::Name(_))), "{name}");
        }
        for name in ["async", "state", "meeting-engine", "plugin", "teammy"] {
            assert!(matches!(Names::of(name), Err(NewError::Taken(_))), "{name}");
        }
    }

    #[test]
    fn every_placeholder_is_replaced() {
        for (path, text) in PYTHON.iter().chain(&RUST) {
            let known = ["{{name}}", "{{module}}", "{{type}}", "{{kernel}}", "{{teammy}}"];
            let left =
                known.iter().fold((*text).to_owned(), |text, placeholder| text.replace(placeholder, ""));
            assert!(
                !left.contains("{{")
                    || Path::new(path).extension().is_some_and(|extension| extension == "rs"),
                "{path}"
            );
        }
    }
}
