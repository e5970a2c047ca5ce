//! Texts of unknown length, cut for a message.

/// A text, cut to at most `most` bytes and ended with `…` if it is longer.
pub fn shortened(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(most.saturating_sub('…'.len_utf8()));
    format!("{}…", &text[..end])
}
