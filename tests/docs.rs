//! Checks that the guides agree with the code.
//!
//! A reader who follows a guide step by step is stuck at the first step that no longer exists. So these tests
//! check all of `docs/*.md` that can be checked, against files that other tests compile and run:
//!
//! * A Rust block is word for word in the file that the comment above it names (`<!-- source: PATH -->`),
//!   with a line `// …` where something is left out.
//! * A TOML block is a valid configuration, unless the comment names its file, or says that it is a manifest
//!   (`<!-- manifest -->`), whose features must exist.
//! * A diff applies to the file that it names.
//! * The program knows the typed commands and options, and plays the recordings (`<!-- recording -->`); typed
//!   file names exist.
//! * A node's socket answers the requests that are shown (`<!-- socket -->`) as it is shown.
//! * Links have a target, and types and keys in backticks exist.

#![allow(clippy::unwrap_used, reason = "a helper of a test may panic")]

#[path = "docs/guides.rs"]
mod guides;
#[cfg(unix)]
#[path = "docs/socket.rs"]
mod socket;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use guides::{Block, blocks, prose, stands_in};

/// The plugin that the guide makes from the template, step by step.
const MADE: &str = "plugins/question-log";
const TEMPLATE: &str = "examples/plugin-template";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Fails with the list of all mistakes.
fn nothing_wrong(wrong: &[String]) {
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n\n"));
}

#[test]
fn what_is_quoted_stands_in_a_file_that_is_compiled() {
    let mut wrong = Vec::new();
    for block in blocks("rust").into_iter().chain(blocks("toml")) {
        let at = &block.at;
        match block.source() {
            Some(path) if block.language == "rust" && Path::new(path).extension() != Some("rs".as_ref()) => {
                wrong.push(format!("{at}: {path} is not compiled"));
            }
            Some(path) if !stands_in(&block, &read(path)) => {
                wrong.push(format!("{at}: this is not in {path}:\n{}", block.text()));
            }
            None if block.language == "rust" => {
                wrong.push(format!("{at}: name its file in a comment above it: <!-- source: PATH -->"));
            }
            _ => {}
        }
    }
    nothing_wrong(&wrong);
}

#[test]
fn configurations_can_be_read() {
    let mut wrong = Vec::new();
    let mut seen = 0;
    for block in blocks("toml").iter().filter(|block| block.comment.is_none()) {
        seen += 1;
        if let Err(error) = teammy_config::Config::from_toml(&block.text()) {
            wrong.push(format!("{}: {error}", block.at));
        }
    }
    assert!(seen > 0, "no guide shows a configuration: this test looks at nothing");
    nothing_wrong(&wrong);
}

/// The keys of a section of a manifest, or of the configuration's reference.
fn keys(text: &str, section: &str) -> BTreeSet<String> {
    let lines = text.lines().map(str::trim).skip_while(|line| *line != section).skip(1);
    let lines = lines.take_while(|line| !line.starts_with('['));
    let keys =
        lines.filter_map(|line| line.split_once('=')).map(|(key, _)| key.trim_start_matches('#').trim());
    keys.map(str::to_owned).collect()
}

/// The texts in quotes of a line.
fn quoted(line: &str) -> impl Iterator<Item = &str> {
    line.split('"').skip(1).step_by(2)
}

#[test]
fn manifests_ask_for_features_that_exist() {
    let manifests = BTreeMap::from([("teammy", "Cargo.toml"), ("teammy-kernel", "kernel/Cargo.toml")]);
    let mut wrong = Vec::new();
    let mut seen = 0;
    let manifest = |block: &&Block| block.comment.as_deref() == Some("manifest");
    for block in blocks("toml").iter().filter(manifest) {
        for line in &block.lines {
            let Some((package, rest)) = line.split_once(" = ") else { continue };
            let Some(path) = manifests.get(package) else { continue };
            let Some((_, features)) = rest.split_once("features = [") else { continue };
            let known = keys(&read(path), "[features]");
            for feature in quoted(features) {
                seen += 1;
                if !known.contains(feature) {
                    wrong.push(format!("{}: {package} has no feature {feature}", block.at));
                }
            }
        }
    }
    assert!(seen > 0, "no guide shows a manifest: this test looks at nothing");
    nothing_wrong(&wrong);
}

#[test]
fn diffs_fit_their_files() {
    let mut wrong = Vec::new();
    for block in blocks("diff") {
        let at = &block.at;
        let Some(path) = block.lines.first().and_then(|line| line.strip_prefix("--- ")) else {
            wrong.push(format!("{at}: the first line of a diff names its file: --- PATH"));
            continue;
        };
        let text = read(path.replace(MADE, TEMPLATE));
        let text: Vec<&str> = text.lines().collect();
        // In this order, but not necessarily adjacent: the file may contain the guide's change by now.
        let mut rest = text.iter();
        let (added, before): (Vec<_>, Vec<_>) =
            block.lines[1..].iter().partition(|line| line.starts_with('+'));
        if added.is_empty() {
            wrong.push(format!("{at}: the diff adds nothing"));
        }
        for line in before.into_iter().filter(|line| *line != "@@").map(|line| line.get(1..).unwrap_or("")) {
            if !rest.any(|there| *there == line) {
                wrong.push(format!("{at}: this is not in {path}, or not in this order: {line}"));
            }
        }
    }
    nothing_wrong(&wrong);
}

/// The typed command lines; lines that end with a backslash are joined with the next.
fn typed() -> Vec<(String, String)> {
    let mut typed = Vec::new();
    for block in blocks("sh") {
        for line in block.text().replace("\\\n", " ").lines() {
            let line = line.split(" #").next().unwrap_or_default().trim();
            if !line.is_empty() && !line.starts_with('#') {
                typed.push((block.at.clone(), line.to_owned()));
            }
        }
    }
    typed
}

/// The program, if this build has one.
fn program() -> Option<&'static str> {
    // Cargo sets the variable without the feature, too, and an earlier build may have left a program behind.
    let program = option_env!("CARGO_BIN_EXE_teammy").filter(|_| cfg!(feature = "cli"));
    if program.is_none() {
        eprintln!("skipped: a build without feature `cli` has no program");
    }
    program
}

#[test]
fn recordings_can_be_played() {
    let Some(program) = program() else { return };
    let place = tempfile::tempdir().expect("there is room for a recording");
    let mut wrong = Vec::new();
    let mut seen = 0;
    for block in blocks("json").iter().filter(|block| block.comment.as_deref() == Some("recording")) {
        seen += 1;
        fs::write(place.path().join("own.jsonl"), block.text() + "\n").expect("a file can be written there");
        let mut command = Command::new(program);
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("TEAMMY_"))
        {
            command.env_remove(name);
        }
        command
            .current_dir(place.path())
            .env("HOME", place.path())
            .env_remove("XDG_DATA_HOME")
            .env_remove("XDG_RUNTIME_DIR");
        let ran = command.args(["replay", "own.jsonl", "--all", "--json", "--db", "mem://"]).output();
        let ran = ran.expect("the program can be run");
        let played = String::from_utf8_lossy(&ran.stdout);
        let played = played.lines().filter(|line| line.contains(r#""causes":[]"#)).count();
        if !ran.status.success() || played != block.lines.len() {
            let told = String::from_utf8_lossy(&ran.stderr);
            wrong.push(format!("{}: {played} of its packets were played: {told}", block.at));
        }
    }
    assert!(seen > 0, "no guide shows a recording: this test looks at nothing");
    nothing_wrong(&wrong);
}

#[test]
fn the_program_knows_the_commands_that_are_typed() {
    let Some(program) = program() else { return };
    let mentioned = prose().flat_map(|(guide, line)| {
        let spans = line.split('`').skip(1).step_by(2).filter(|span| span.starts_with("teammy "));
        spans.map(|span| (format!("docs/{guide}"), span.to_owned())).collect::<Vec<_>>()
    });
    let mut wrong = Vec::new();
    let mut seen = 0;
    for (at, line) in typed().into_iter().chain(mentioned) {
        let arguments = match line.split_once(" -- ") {
            Some((cargo, arguments)) if cargo.starts_with("cargo run") => arguments,
            _ => match line.strip_prefix("teammy ") {
                Some(arguments) => arguments,
                None => continue,
            },
        };
        seen += 1;
        let command = arguments.split_whitespace().next().unwrap_or_default();
        let ran = Command::new(program).args([command, "--help"]).output().expect("the program can be run");
        let help = String::from_utf8_lossy(&ran.stdout);
        if !ran.status.success() {
            wrong.push(format!("{at}: there is no command `teammy {command}`"));
        }
        let options = arguments.split_whitespace().filter(|word| word.starts_with("--"));
        for option in options.map(|word| word.split('=').next().unwrap_or(word)) {
            if !help.split(|c: char| c.is_whitespace() || c == ',').any(|word| word == option) {
                wrong.push(format!("{at}: `teammy {command}` has no option {option}"));
            }
        }
    }
    assert!(seen > 0, "no guide runs the program: this test looks at nothing");
    nothing_wrong(&wrong);
}

#[test]
fn files_that_are_typed_exist() {
    let mut wrong = Vec::new();
    for (at, line) in typed() {
        for word in line.split_whitespace() {
            let is_ours =
                ["docs/", "examples/", "plugins/", "samples/"].iter().any(|ours| word.starts_with(ours));
            if is_ours && !word.starts_with(MADE) && !root().join(word).exists() {
                wrong.push(format!("{at}: there is no {word}"));
            }
        }
    }
    nothing_wrong(&wrong);
}

/// A heading's anchor in a link: lower case, hyphens, no punctuation.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().to_lowercase();
    let kept = kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn links_lead_somewhere() {
    let mut wrong = Vec::new();
    let mut seen = 0;
    for (guide, line) in prose() {
        for link in line.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.contains("://") {
                continue;
            }
            seen += 1;
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let path: PathBuf = ["docs", if file.is_empty() { guide } else { file }].iter().collect();
            if !root().join(&path).exists() {
                wrong.push(format!("docs/{guide}: {link} leads nowhere"));
            } else if !heading.is_empty() {
                let text = read(path);
                let mut headings = text.lines().filter_map(|line| line.split_once("# "));
                if !headings.any(|(hashes, name)| hashes.chars().all(|c| c == '#') && anchor(name) == heading)
                {
                    wrong.push(format!("docs/{guide}: {link} has no such heading"));
                }
            }
        }
    }
    assert!(seen > 0, "no guide has a link: this test looks at nothing");
    nothing_wrong(&wrong);
}

#[test]
fn the_guide_names_the_version_of_the_metrics_crate() {
    let manifest = read("Cargo.toml");
    let version = manifest.lines().find_map(|line| line.strip_prefix("metrics = \"")?.strip_suffix('"'));
    let named = format!("version\n{} of that crate", version.expect("the workspace names it"));
    assert!(read("docs/embedding.md").contains(&named), "{named}");
}

/// Every word in our sources.
fn words() -> BTreeSet<String> {
    fn walk(folder: &Path, words: &mut BTreeSet<String>) {
        for entry in fs::read_dir(folder).expect("a folder of the repository can be read") {
            let path = entry.expect("its entries too").path();
            if path.is_dir() {
                walk(&path, words);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("a source is UTF-8");
                let all = text.split(|c: char| !c.is_alphanumeric() && c != '_');
                words.extend(all.filter(|word| !word.is_empty()).map(str::to_owned));
            }
        }
    }
    let mut words = BTreeSet::new();
    for folder in ["kernel/src", "config/src", "actors", "src", "plugins", "examples"] {
        walk(&root().join(folder), &mut words);
    }
    words
}

#[test]
fn names_in_backticks_exist() {
    let words = words();
    let reference = teammy_config::REFERENCE;
    let mut wrong = Vec::new();
    let (mut types, mut settings) = (0, 0);
    for (guide, line) in prose() {
        for span in line.split('`').skip(1).step_by(2) {
            let path = span.split(|c: char| !c.is_alphanumeric() && !matches!(c, '_' | ':')).next();
            let path =
                path.filter(|path| path.contains("::") && !path.starts_with("std::")).unwrap_or_default();
            for word in path.split("::").filter(|word| !word.is_empty()) {
                types += 1;
                if !words.contains(word) {
                    wrong.push(format!("docs/{guide}: `{span}`: there is no {word} in the sources"));
                }
            }
            let is_key = span.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '.'));
            if let Some((section, key)) = span.split_once('.').filter(|_| is_key)
                && reference.contains(&format!("\n[{section}]\n"))
            {
                settings += 1;
                if !keys(reference, &format!("[{section}]")).contains(key) {
                    wrong.push(format!("docs/{guide}: `{span}` is no key of the configuration"));
                }
            }
        }
    }
    assert!(types > 0 && settings > 0, "{types} types and {settings} settings: this test looks at nothing");
    nothing_wrong(&wrong);
}
