//! Text that several commands put together for people.

/// A number and its noun: `1 packet`, `2 packets`.
pub(super) fn count(number: u64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// The name of an enum's variant, as in JSON.
pub(super) fn word(value: &impl serde::Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

/// Quotes a text so that a shell reads it as one argument.
pub(super) fn shell_word(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.,:/@".contains(c);
    if text.chars().all(is_plain) && !text.starts_with('-') {
        text.to_owned()
    } else {
        let quoted = text.replace('\'', r"'\''");
        let dashes = if text.starts_with('-') { "-- " } else { "" };
        format!("{dashes}'{quoted}'")
    }
}
