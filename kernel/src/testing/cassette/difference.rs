//! How a request differs from a recorded one, for who reads a failed test.

use std::fmt::Write;

use serde_json::Value;

/// The most lines that are shown.
const MAX_LINES: usize = 20;

/// The most characters of a line that are shown.
const MAX_CHARS: usize = 100;

/// The most lines of a text that are shown of each side.
const MAX_OF_TEXT: usize = 4;

/// A place at which two requests differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Difference {
    /// Such as `messages[1].content`.
    place: String,
    /// What is recorded there; empty if nothing is.
    recorded: Vec<String>,
    /// What was asked there.
    asked: Vec<String>,
}

/// Where two requests differ.
pub(super) fn between(recorded: &Value, asked: &Value) -> Vec<Difference> {
    let mut found = Vec::new();
    compare(String::new(), Some(recorded), Some(asked), &mut found);
    found
}

/// The differences as lines: `-` is recorded, `+` was asked.
pub(super) fn shown(differences: &[Difference]) -> String {
    let lines = differences.iter().flat_map(|difference| {
        let place = format!("  {}:", difference.place);
        let recorded = difference.recorded.iter().map(|line| format!("    - {line}"));
        let asked = difference.asked.iter().map(|line| format!("    + {line}"));
        std::iter::once(place).chain(recorded).chain(asked)
    });
    let lines: Vec<String> = lines.collect();
    let mut shown = lines.iter().take(MAX_LINES).cloned().collect::<Vec<_>>().join("\n");
    if lines.len() > MAX_LINES {
        let _ = write!(shown, "\n  … and {} more lines", lines.len() - MAX_LINES);
    }
    shown
}

fn compare(place: String, recorded: Option<&Value>, asked: Option<&Value>, found: &mut Vec<Difference>) {
    match (recorded, asked) {
        (recorded, asked) if recorded == asked => {}
        (Some(Value::Object(recorded)), Some(Value::Object(asked))) => {
            let more = asked.keys().filter(|name| !recorded.contains_key(*name));
            for name in recorded.keys().chain(more) {
                let place = if place.is_empty() { name.clone() } else { format!("{place}.{name}") };
                compare(place, recorded.get(name), asked.get(name), found);
            }
        }
        (Some(Value::Array(recorded)), Some(Value::Array(asked))) => {
            for index in 0..recorded.len().max(asked.len()) {
                compare(format!("{place}[{index}]"), recorded.get(index), asked.get(index), found);
            }
        }
        (Some(Value::String(recorded)), Some(Value::String(asked))) => {
            let (recorded, asked) = of_texts(recorded, asked);
            found.push(Difference { place, recorded, asked });
        }
        (recorded, asked) => {
            let lines =
                |value: Option<&Value>| value.map(|value| cut(&value.to_string(), 0)).into_iter().collect();
            found.push(Difference { place, recorded: lines(recorded), asked: lines(asked) });
        }
    }
}

/// The lines in which two texts differ, without those before and after that are the same.
fn of_texts(recorded: &str, asked: &str) -> (Vec<String>, Vec<String>) {
    let (mut recorded, mut asked): (Vec<_>, Vec<_>) =
        (recorded.split('\n').collect(), asked.split('\n').collect());
    while recorded.len() > 1 && asked.len() > 1 && recorded.last() == asked.last() {
        recorded.pop();
        asked.pop();
    }
    let same = recorded.iter().zip(&asked).take_while(|(recorded, asked)| recorded == asked).count();
    let same = same.min(recorded.len() - 1).min(asked.len() - 1);
    let (recorded, asked) = (&recorded[same..], &asked[same..]);
    // In a long line the place of the first difference is shown.
    let at =
        recorded[0].chars().zip(asked[0].chars()).take_while(|(recorded, asked)| recorded == asked).count();
    let lines = |lines: &[&str]| {
        let mut shown: Vec<String> = (0..)
            .zip(lines)
            .take(MAX_OF_TEXT)
            .map(|(index, line)| cut(line, if index == 0 { at } else { 0 }))
            .collect();
        if lines.len() > MAX_OF_TEXT {
            shown.push(format!("… and {} more lines", lines.len() - MAX_OF_TEXT));
        }
        shown
    };
    (lines(recorded), lines(asked))
}

/// A line, cut so that the character at an index is shown.
fn cut(line: &str, at: usize) -> String {
    let length = line.chars().count();
    if length <= MAX_CHARS {
        return line.to_owned();
    }
    let from = at.saturating_sub(MAX_CHARS / 3).min(length - MAX_CHARS);
    let shown: String = line.chars().skip(from).take(MAX_CHARS).collect();
    let (before, after) = (if from > 0 { "…" } else { "" }, if from + MAX_CHARS < length { "…" } else { "" });
    format!("{before}{shown}{after}")
}
