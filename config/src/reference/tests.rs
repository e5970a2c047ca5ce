use super::*;
use crate::{Config, Loader, known_keys::KnownKeys, table, value_type};

/// Every key of a table, such as `hooks.tries`.
fn known_keys() -> Vec<String> {
    KnownKeys::new(sections()).keys().collect()
}

/// Every key of a list's table, such as `plugin.kind`.
fn list_keys() -> Vec<String> {
    let lists = sections().into_iter().filter(Section::is_list);
    lists.flat_map(|list| list.paths().collect::<Vec<_>>()).collect()
}

fn load(text: &str) -> Result<crate::Loaded, crate::Error> {
    Loader::default().data_directory("/data").text("teammy.toml", text).load()
}

/// `default.toml` with its commented-out keys uncommented: once without the token and once without the user, as
/// they exclude each other.
fn all_in_force() -> [String; 2] {
    [&["token = "][..], &["username = ", "password = "]].map(|left_out| {
        let shown = |line: &str| {
            line.strip_prefix('#').filter(|rest| rest.starts_with(|c: char| c != ' ')).map(str::to_owned)
        };
        let lines = crate::REFERENCE.lines().map(|line| shown(line).unwrap_or_else(|| line.to_owned()));
        let lines = lines.filter(|line| left_out.iter().all(|key| !line.starts_with(key)));
        lines.map(|line| line + "\n").collect()
    })
}

#[test]
fn the_reference_shows_every_key_and_nothing_else() {
    let texts = all_in_force();
    let table: toml_table::Keys = texts.iter().flat_map(|text| toml_table::keys(text)).collect();
    let known: toml_table::Keys = known_keys().into_iter().chain(list_keys()).collect();
    assert_eq!(table, known);
    for text in texts {
        let keys = toml_table::keys(&text);
        let is_given = |key: &str| keys.contains(key) || !known.contains(key);
        let loaded = load(&text).unwrap_or_else(|error| panic!("{error}"));
        for setting in loaded.settings().iter().filter(|setting| is_given(&setting.key)) {
            if setting.key != "llm.model.gpt.api_key" {
                assert_eq!(setting.origin, "teammy.toml", "{setting:?}");
            }
        }
    }
}

/// Reads `default.toml` line by line, without the code under test.
mod toml_table {
    pub(super) type Keys = std::collections::BTreeSet<String>;

    pub(super) fn keys(text: &str) -> Keys {
        let mut table = String::new();
        let mut keys = Keys::new();
        for line in text.lines() {
            if line.starts_with('[') {
                table = line.trim_matches(['[', ']']).to_owned();
            } else if let Some((key, _)) = line.split_once(" = ").filter(|_| !line.starts_with('#')) {
                keys.insert(format!("{table}.{key}"));
            }
        }
        keys
    }
}

#[test]
fn every_key_is_read_and_every_key_that_is_read_is_known() {
    let read: Vec<String> = load("").unwrap().settings().into_iter().map(|setting| setting.key).collect();
    assert_eq!(read, known_keys());
}

/// Every key of every table with its path.
fn all() -> Vec<(String, Key)> {
    let table = |header: &str| header.trim_matches(['[', ']']).to_owned();
    let keys = |section: Section| {
        let table = table(&section.header);
        section.keys.into_iter().map(move |key| (format!("{table}.{}", key.name), key)).collect::<Vec<_>>()
    };
    sections().into_iter().flat_map(keys).collect()
}

fn key(path: &str) -> Key {
    let found = all().into_iter().find(|(found, _)| found == path);
    found.map_or_else(|| panic!("no key {path}"), |(_, key)| key)
}

#[test]
fn every_key_is_there_once_and_in_order() {
    let (of_lists, of_tables): (Vec<_>, Vec<_>) =
        all().into_iter().partition(|(_, key)| key.variable.is_none());
    let paths = |keys: Vec<(String, Key)>| keys.into_iter().map(|(path, _)| path).collect::<Vec<_>>();
    assert_eq!(paths(of_tables), known_keys());
    assert_eq!(paths(of_lists), list_keys());
    let mut different: Vec<String> = all().into_iter().map(|(path, _)| path).collect();
    different.sort_unstable();
    different.dedup();
    assert_eq!(different.len(), all().len());

    let headers: Vec<String> = sections().into_iter().map(|section| section.header).collect();
    assert_eq!(
        headers,
        [
            "[node]",
            "[database]",
            "[delivery]",
            "[hooks]",
            "[meeting]",
            "[restart]",
            "[limits]",
            "[metrics]",
            "[service]",
            "[cluster]",
            "[[quota]]",
            "[llm]",
            "[[llm.model]]",
            "[[llm.budget]]",
            "[install]",
            "[log]",
            "[traces]",
            "[[source]]",
            "[[plugin]]",
        ]
    );
}

#[test]
fn everything_is_described() {
    for section in sections() {
        assert!(!section.description.is_empty(), "{} has no description", section.header);
        for key in section.keys {
            let name = format!("{} {}", section.header, key.name);
            assert!(!key.description.is_empty(), "{name} has no description");
            assert!(!key.takes.is_empty(), "{name}");
        }
    }
}

#[test]
fn keys_say_what_they_take_and_what_holds_without_them() {
    let value = |text: &str| Fallback::Value(text.to_owned());
    let words = |text: &str| Fallback::Words(text.to_owned());
    for (path, takes, fallback) in [
        ("node.plugin_threads", "whole number, 4 to 1024", words("the number of cores, 4 to 1024")),
        ("node.shutdown_deadline", "duration, 0s to 365 days", value("\"30s\"")),
        ("hooks.deadline", "duration, 1ms to 365 days", value("\"1m\"")),
        ("hooks.tries", "whole number, 1 to 1000", value("3")),
        ("delivery.batch_bytes", "size, 1KiB to 1GiB", value("\"1MiB\"")),
        ("database.username", "text, not empty", Fallback::None),
        ("database.password", "text, never shown", Fallback::None),
        ("llm.fast", "name of a `[[llm.model]]`", words("what `llm.default` is")),
        ("llm.model.name", "text, not empty", Fallback::Required),
        ("llm.model.model", "text, not empty", words("its name")),
        (
            "llm.model.base_url",
            "URL that starts with https:// or http://",
            value("\"https://api.openai.com/v1\""),
        ),
        ("llm.model.api_key_env", "name of an environment variable", words("none; no key is sent")),
        (
            "install.manifest",
            "path of a file",
            words("`teammy/installed.json` under the user's data directory"),
        ),
        ("source.durable", "true or false", value("true")),
        ("plugin.sources", "table of sources' names", Fallback::None),
        ("plugin.output", "\"durable\" or \"volatile\"", words("what the plugin says")),
    ] {
        let Key { takes: said, fallback: told, .. } = key(path);
        assert_eq!((said.as_str(), told), (takes, fallback), "{path}");
    }
    assert_eq!(key("install.manifest").variable.as_deref(), Some("TEAMMY_INSTALL__MANIFEST"));
    assert_eq!(key("plugin.name").variable, None);
}

/// The ranges of the reference are enforced at both ends.
#[test]
fn ranges_are_as_they_are_said() {
    let wrong = |path: &str, value: &str| {
        let (table, name) = path.rsplit_once('.').unwrap();
        // A list of tables needs what each table must have, too.
        let (before, after, more) = if ["llm.model", "llm.budget", "plugin"].contains(&table) {
            ("[[", "]]", "name = \"x\"\n")
        } else if table == "quota" {
            ("[[", "]]", "")
        } else {
            ("[", "]", "")
        };
        let text = format!("{before}{table}{after}\n{more}{name} = {value}");
        let error = Config::from_toml(&text).err()?.to_string();
        // A mistake about two keys is not about this range.
        (!error.contains(", twice ") && !error.contains(", which is ")).then_some(error)
    };
    let mut ranges = 0;
    for (path, key) in all() {
        let Some((of, range)) = key.takes.split_once(", ") else { continue };
        let Some((first, last)) = range.split_once(" to ") else { continue };
        let (below, inside, above) = match of {
            "whole number" => {
                let [first, last]: [u64; 2] = [first, last].map(|end| end.parse().unwrap());
                let below = first.checked_sub(1).map(|number| number.to_string());
                (below, vec![first.to_string(), last.to_string()], (last + 1).to_string())
            }
            "size" => {
                let [first, last]: [u64; 2] =
                    [first, last].map(|end| end.parse::<crate::Size>().unwrap().bytes());
                let below = first.checked_sub(1).map(|number| number.to_string());
                (below, vec![first.to_string(), last.to_string()], (last + 1).to_string())
            }
            "duration" => {
                let end = humantime::parse_duration(first).unwrap();
                let below = end.checked_sub(std::time::Duration::from_nanos(1));
                let below = below.map(|below| format!("\"{}\"", humantime::format_duration(below)));
                (below, vec![format!("\"{first}\""), format!("\"{last}\"")], format!("\"{last} 1ns\""))
            }
            other => panic!("{path}: a range of {other}?"),
        };
        for value in inside {
            assert_eq!(wrong(&path, &value), None, "{path} = {value}");
        }
        for value in below.into_iter().chain([above]) {
            let error = wrong(&path, &value).unwrap_or_else(|| panic!("{path} = {value} is taken"));
            assert!(error.contains("but takes"), "{error}");
        }
        ranges += 1;
    }
    assert!(ranges >= 20, "{ranges}");
}

/// Each default of the reference is valid, and setting it changes nothing.
#[test]
fn defaults_are_as_they_are_said() {
    for (path, key) in all() {
        let (Fallback::Value(value), Some(_)) = (&key.fallback, &key.variable) else { continue };
        let (table, name) = path.rsplit_once('.').unwrap();
        let config = Config::from_toml(&format!("[{table}]\n{name} = {value}")).unwrap();
        assert_eq!(config, Config::default(), "{path}");
    }
}

#[test]
fn the_page_has_a_table_for_each_section() {
    let page = markdown();
    assert!(page.starts_with("# Configuration\n\n"));
    assert!(page.ends_with(" |\n"));
    for section in sections() {
        let title = format!("\n## `{}`\n\n", section.header);
        let (_, after) = page.split_once(&title).unwrap_or_else(|| panic!("no {title}"));
        let mut lines =
            after.split("\n## ").next().unwrap().lines().skip_while(|line| !line.starts_with("| Key"));
        // Every row has as many columns as the header, so no cell is cut.
        let columns = |line: &str| line.replace("\\|", "").matches('|').count();
        let header = columns(lines.next().unwrap());
        assert_eq!(columns(lines.next().unwrap()), header);
        let rows: Vec<&str> = lines.take_while(|line| !line.is_empty()).collect();
        assert_eq!(rows.len(), section.keys.len(), "{title}");
        for (row, key) in rows.iter().zip(&section.keys) {
            assert_eq!(columns(row), header, "{row}");
            assert!(row.starts_with(&format!("| `{}` | ", key.name)), "{row}");
        }
    }
    for row in [
        "| `tries` | `TEAMMY_HOOKS__TRIES` | whole number, 1 to 1000 | `3` | How often a packet is tried, ",
        "| `name` | text, not empty | required | The model's name in this configuration. |\n",
        "| One of:<br>- `surrealkv://PATH`: a directory, ",
    ] {
        assert!(page.contains(row), "{row}");
    }
}

#[test]
fn the_file_is_made_from_the_code() {
    let anew = "a key is new or has changed: make the file anew, with \
                `cargo run -p teammy-config --example defaults > config/default.toml`";
    assert!(crate::REFERENCE == toml(), "{anew}");
}

/// The text of the comment right above a line of `default.toml`.
fn comment_above(file: &str, line: &str) -> String {
    let (before, _) = file.split_once(&format!("\n{line}")).unwrap_or_else(|| panic!("no line {line}"));
    let mut lines: Vec<&str> =
        before.lines().rev().take_while(|line| *line == "#" || line.starts_with("# ")).collect();
    lines.reverse();
    let lines = lines.into_iter().map(|line| line.strip_prefix("# ").unwrap_or_default());
    lines.collect::<Vec<_>>().join("\n")
}

/// The part of `default.toml` from a table's header on.
fn part(section: &Section) -> String {
    let file = toml();
    let at = file.find(&format!("{}\n", section.header)).unwrap();
    file[at..].to_owned()
}

#[test]
fn a_comment_describes_the_line_below_it() {
    for section in sections().iter().filter(|section| !section.is_list()) {
        assert_eq!(comment_above(&toml(), &section.header), section.description);
        for key in section.keys.iter().filter(|key| matches!(key.fallback, Fallback::Value(_))) {
            assert_eq!(comment_above(&part(section), &format!("{} = ", key.name)), key.description);
        }
    }
}

#[test]
fn what_is_commented_out_is_described_too() {
    for section in sections() {
        if section.is_list() {
            assert_eq!(comment_above(&toml(), &format!("#{}", section.header)), section.description);
        }
        for key in &section.keys {
            if section.is_list() || !matches!(key.fallback, Fallback::Value(_)) {
                let comment = comment_above(&part(&section), &format!("#{} = ", key.name));
                let said = comment.strip_prefix(&key.description).unwrap_or_else(|| panic!("{comment}"));
                match &key.fallback {
                    Fallback::Words(words) => assert_eq!(said, format!("\nDefault: {words}")),
                    _ => assert_eq!(said, ""),
                }
            }
        }
    }
}

#[test]
fn a_comment_goes_to_one_line_only() {
    let file = toml();
    // Below a key there is the comment of the next key, or a blank line.
    let lines: Vec<&str> = file.lines().collect();
    for pair in lines.windows(2).filter(|pair| pair[0].contains(" = ") && !pair[0].starts_with("# ")) {
        assert!(pair[1].is_empty() || pair[1].starts_with("# "), "{pair:?}");
    }
}

#[test]
fn a_description_holds_for_one_place() {
    for section in sections() {
        let header = format!("{}\n", section.header);
        assert_eq!(toml().lines().filter(|line| line.trim_start_matches('#') == section.header).count(), 1);
        assert_eq!(toml().matches(&header).count(), 1, "{header}");
    }
}

#[test]
fn indented_lines_and_paragraphs_stay_apart() {
    let about = [" One of:", " - x,", "   or y", " - z", "", " And `w`."];
    let mut section = table::empty_section("[[t]]", &[" A table."]);
    value_type::serde_value::<bool>("true or false").optional().describe("a", &about, &mut section);
    let key = section.keys[0].clone();
    assert_eq!(key.description, "One of:\n- x,\n  or y\n- z\n\nAnd `w`.");
    let row = super::table(std::slice::from_ref(&key));
    assert!(
        row.ends_with("| `a` | true or false | none | One of:<br>- x, or y<br>- z<br>And `w`. |\n"),
        "{row}"
    );
    let file = toml::file(&[section]);
    assert!(file.ends_with("# One of:\n# - x,\n#   or y\n# - z\n#\n# And `w`.\n#a = \"\"\n"), "{file}");
}

/// Each example is valid, and is shown as written. Only a secret is masked.
#[test]
fn examples_are_values_of_their_keys() {
    let loaded = all_in_force().map(|text| load(&text).unwrap());
    for (path, key) in all().into_iter().filter(|(_, key)| key.variable.is_some()) {
        let Some(example) = key.example else { continue };
        let mut settings =
            loaded.iter().flat_map(crate::Loaded::settings).filter(|setting| setting.key == path);
        if !["database.password", "database.token", "service.pepper", "traces.authorization"]
            .contains(&path.as_str())
        {
            assert!(settings.any(|setting| setting.value == example), "{path}");
        }
    }
}
