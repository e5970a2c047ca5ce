//! Normalised text, for prompts and for comparing names and values.

/// Replaces each run of white space by one space, so that one speaker's text cannot look like two lines.
pub(crate) fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Returns the form in which two texts are compared: without case and extra white space.
pub(crate) fn comparison_key(text: &str) -> String {
    one_line(text).to_lowercase()
}
