//! `default.toml`, made from the tables.

use std::fmt::Write;

use crate::section::{Fallback, Key, Section};

const INTRODUCTION: &str = r#"# Teammy's configuration: every key, what it means, and its default.
#
# This file is made from the code: cargo run -p teammy-config --example defaults > config/default.toml
#
# `teammy.toml` in the working directory (or the file given to `--config`) overrides these values, and environment
# variables override both: `hooks.tries` is TEAMMY_HOOKS__TRIES, with two underscores between the levels. Models,
# sources and instances can be listed in a file only.
#
# A line that starts with `#` and no space is an example, or a key without a fixed default.
#
# Durations: "200ms", "60s", "1m 30s", "2h". Sizes: "64KiB", "1MiB", "2GiB", or a number of bytes.
"#;

pub(super) fn file(sections: &[Section]) -> String {
    let mut file = INTRODUCTION.to_owned();
    for section in sections {
        let mark = if section.is_list() { "#" } else { "" };
        file.push('\n');
        comment(&mut file, &section.description);
        let _ = writeln!(file, "{mark}{}", section.header);
        for key in &section.keys {
            comment(&mut file, &key.description);
            if let Fallback::Words(words) = &key.fallback {
                comment(&mut file, &format!("Default: {words}"));
            }
            let _ = match key {
                Key { name, fallback: Fallback::Value(value), .. } => {
                    writeln!(file, "{mark}{name} = {value}")
                }
                Key { name, example, .. } => {
                    writeln!(file, "#{name} = {}", example.as_deref().unwrap_or("\"\""))
                }
            };
        }
    }
    file
}

fn comment(file: &mut String, text: &str) {
    for line in text.lines() {
        let _ = if line.is_empty() { writeln!(file, "#") } else { writeln!(file, "# {line}") };
    }
}
