//! Extracts JSON from a model's answer.
//!
//! A model that is asked for JSON alone may still wrap it in a Markdown fence, announce it, or think aloud
//! first. This module decides what is accepted, so that all plugins accept the same.

use serde::de::{DeserializeOwned, IgnoredAny};

use crate::error_classes;

/// Why an answer could not be used.
///
/// An answer may be private. The error holds no text of it, so it can be logged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AnswerError {
    /// The answer holds no JSON, or only part of a value.
    #[error("the answer holds no complete JSON")]
    NoJson,
    /// The answer holds JSON, but none of the type that was asked for.
    #[error("the answer's JSON is of another shape: {problem}")]
    OtherShape {
        /// What is wrong with the first JSON value: serde's message without the value.
        problem: String,
    },
}

error_classes!(AnswerError {
    Self::NoJson => "answer-without-json" Invalid,
    Self::OtherShape { .. } => "answer-of-another-shape" Invalid,
});

/// Reads a `T` from a model's answer and ignores the text around it.
///
/// Returns the first of these that is a `T`:
///
/// 1. the whole answer;
/// 2. for each Markdown fence (three or more backticks or tildes at the start of a line; an unclosed fence
///    extends to the end): its whole content, then the JSON values in it;
/// 3. the JSON values in the text, from the left, nested no deeper than 32 levels.
///
/// A value is an object or an array here. Only the whole answer or a whole fence can be a `T` of another
/// kind, such as a number. Values inside a JSON value are not tried: a list of ten is no answer to a question
/// for one. A `T` whose fields are all optional accepts any object.
///
/// A model's thoughts are no answer. Text from a `<think>`, `<thinking>` or `[THINK]` at the answer's start to its end, or
/// to the answer's where that is missing, is ignored. If there is only a `</think>` (some servers drop the start), the
/// text after it is tried first.
///
/// Two mistakes of models are mended: a comma before the end of a list or an object, and, for a list, several objects one
/// after another instead of a list of them.
///
/// # Errors
/// [`AnswerError::NoJson`] and [`AnswerError::OtherShape`].
///
/// # Examples
/// ```
/// use teammy_kernel::{AnswerError, parse_answer};
///
/// #[derive(Debug, PartialEq, serde::Deserialize)]
/// struct Verdict {
///     urgent: bool,
/// }
///
/// let answer = "Sure! Here is the verdict [1]:\n```json\n{\"urgent\": true}\n```\nAnything else?";
/// assert_eq!(parse_answer::<Verdict>(answer), Ok(Verdict { urgent: true }));
///
/// assert_eq!(parse_answer::<Verdict>("I'd rather not say."), Err(AnswerError::NoJson));
/// let error = parse_answer::<Verdict>(r#"{"urgent": "hush-hush"}"#).unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "the answer's JSON is of another shape: invalid type: string, expected a boolean"
/// );
/// ```
pub fn parse_answer<T: DeserializeOwned>(answer: &str) -> Result<T, AnswerError> {
    let answer = answer.trim();
    let mut problem = None;
    match read(answer) {
        Read::Is(value) => return Ok(value),
        Read::OtherShape(problem) => return Err(AnswerError::OtherShape { problem }),
        Read::NotJson => {}
    }
    for text in without_thoughts(answer).into_iter().flatten() {
        for part in fences(text).chain([text]) {
            if let Some(value) = find(part, &mut problem) {
                return Ok(value);
            }
        }
    }
    // The mistakes are rare, so what is well-formed is found first.
    for text in without_thoughts(answer).into_iter().flatten() {
        for part in fences(text).chain([text]) {
            if let Some(value) = find_mended(part, &mut problem) {
                return Ok(value);
            }
        }
    }
    Err(problem.map_or(AnswerError::NoJson, |problem| AnswerError::OtherShape { problem }))
}

/// The result of reading a piece of text.
enum Read<T> {
    Is(T),
    OtherShape(String),
    NotJson,
}

fn read<T: DeserializeOwned>(text: &str) -> Read<T> {
    match serde_json::from_str(text) {
        Ok(value) => Read::Is(value),
        // The first pass stopped at the value that didn't fit; the rest may not be JSON at all.
        Err(error) if serde_json::from_str::<IgnoredAny>(text).is_ok() => Read::OtherShape(shape(&error)),
        Err(_) => Read::NotJson,
    }
}

/// Where thoughts begin and end.
const THOUGHTS: [(&str, &str); 3] =
    [("<think>", "</think>"), ("<thinking>", "</thinking>"), ("[THINK]", "[/THINK]")];

/// The texts to search, the likeliest first.
fn without_thoughts(answer: &str) -> [Option<&str>; 2] {
    let behind = |end: &str| answer.split_once(end).map(|(_, behind)| behind);
    match THOUGHTS.iter().find(|(start, _)| answer.starts_with(start)) {
        Some((_, end)) => [behind(end), None],
        None => [THOUGHTS.iter().find_map(|(_, end)| behind(end)), Some(answer)],
    }
}

/// The JSON values in a text, mended: without commas before an end, and several objects as one list.
fn find_mended<T: DeserializeOwned>(text: &str, problem: &mut Option<String>) -> Option<T> {
    let mut objects = Vec::new();
    let mut from = 0;
    while let Some(found) = text[from..].find(['{', '[']) {
        let start = from + found;
        from = start + 1;
        let Some(length) = balanced(text.as_bytes()[start..].iter().copied()) else { continue };
        let end = start + length;
        let mended = without_trailing_commas(&text[start..end]);
        if serde_json::from_str::<IgnoredAny>(&mended).is_err() {
            continue;
        }
        from = end;
        if let Some(value) = take(&mended, problem) {
            return Some(value);
        }
        if mended.starts_with('{') {
            objects.push(mended);
        }
    }
    if objects.len() < 2 { None } else { take(&format!("[{}]", objects.join(",")), problem) }
}

fn take<T: DeserializeOwned>(text: &str, problem: &mut Option<String>) -> Option<T> {
    match read(text) {
        Read::Is(value) => Some(value),
        Read::OtherShape(found) => {
            problem.get_or_insert(found);
            None
        }
        Read::NotJson => None,
    }
}

/// JSON without the commas that nothing follows.
fn without_trailing_commas(json: &str) -> String {
    let mut clean = String::with_capacity(json.len());
    let mut comma = None;
    let (mut is_text, mut is_escaped) = (false, false);
    for c in json.chars() {
        if is_text {
            is_text = is_escaped || c != '"';
            is_escaped = !is_escaped && c == '\\';
        } else if c == ',' {
            comma = Some(clean.len());
        } else if matches!(c, '}' | ']') {
            if let Some(at) = comma.take() {
                clean.remove(at);
            }
        } else if !c.is_ascii_whitespace() {
            comma = None;
            is_text = c == '"';
        }
        clean.push(c);
    }
    clean
}

/// The content of each Markdown fence.
fn fences(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (fence, from) = lines(rest).find_map(|(line, _, end)| Some((Fence::opened_by(line)?, end)))?;
        let inside = &rest[from..];
        let closing = lines(inside).find(|(line, ..)| fence.is_closed_by(line));
        let (to, next) = closing.map_or((inside.len(), inside.len()), |(_, start, end)| (start, end));
        rest = &inside[next..];
        Some(&inside[..to])
    })
}

/// Each line, trimmed, with the offsets of its start and of the next line's start.
fn lines(text: &str) -> impl Iterator<Item = (&str, usize, usize)> {
    text.split_inclusive('\n').scan(0, |end, line| {
        let start = *end;
        *end += line.len();
        Some((line.trim(), start, *end))
    })
}

/// The opening of a fence: its character, and how often it is repeated.
#[derive(Clone, Copy)]
struct Fence {
    mark: char,
    length: usize,
}

impl Fence {
    fn opened_by(line: &str) -> Option<Self> {
        let mark = line.chars().next().filter(|mark| ['`', '~'].contains(mark))?;
        let language = line.trim_start_matches(mark);
        // Both marks are one byte. Another backtick in the line makes it inline code, not a fence.
        let length = line.len() - language.len();
        (length >= 3 && !language.contains('`')).then_some(Self { mark, length })
    }

    fn is_closed_by(self, line: &str) -> bool {
        line.len() >= self.length && line.chars().all(|c| c == self.mark)
    }
}

/// The whole text, or the first JSON value in it, that is a `T`. `problem` keeps the first mismatch.
///
/// Runs in linear time, although [`balanced`] starts again at each bracket: at most `2 * MAX_DEPTH` earlier
/// scans reach any byte. Take two scans that reach the same byte. Either the first one saw the second one's
/// start as a bracket; then that bracket is still open and counts in the first one's depth, so at most
/// `MAX_DEPTH` scans see each other like this. Or the first one saw that start inside a string; then from
/// there on one scan is inside a string where the other is outside: a quote flips both, and a backslash ends
/// the scan that is outside. So there are at most two such families. [`read`] parses a balanced span twice
/// more, and no byte is in more spans than scans that passed it.
fn find<T: DeserializeOwned>(text: &str, problem: &mut Option<String>) -> Option<T> {
    let mut note = |found| {
        problem.get_or_insert(found);
    };
    match read(text.trim()) {
        Read::Is(value) => return Some(value),
        Read::OtherShape(found) => {
            note(found);
            return None;
        }
        Read::NotJson => {}
    }
    let mut from = 0;
    while let Some(found) = text[from..].find(['{', '[']) {
        let start = from + found;
        // Both brackets are one byte, so the next byte starts a character.
        from = start + 1;
        let Some(length) = balanced(text.as_bytes()[start..].iter().copied()) else { continue };
        let end = start + length;
        match read(&text[start..end]) {
            Read::Is(value) => return Some(value),
            Read::OtherShape(found) => {
                note(found);
                from = end;
            }
            Read::NotJson => {}
        }
    }
    None
}

/// How deeply values in a text may be nested. Values in answers have a few levels.
const MAX_DEPTH: usize = 32;

/// The bytes of JSON outside strings, without brackets: white space, separators, numbers, `true`, `false` and
/// `null`.
const BETWEEN: &[u8] = b" \t\r\n,:0123456789+-.Eaeflnrstu";

/// The length in bytes of the bracketed span that the first byte opens. `None` if the span does not close, is
/// nested too deeply, or has a byte outside strings that JSON doesn't have there. serde checks that the
/// brackets match.
fn balanced(bytes: impl Iterator<Item = u8>) -> Option<usize> {
    let mut depth = 0;
    let mut bytes = bytes.enumerate();
    while let Some((index, byte)) = bytes.next() {
        match byte {
            b'{' | b'[' if depth < MAX_DEPTH => depth += 1,
            b'}' | b']' if depth == 1 => return Some(index + 1),
            b'}' | b']' => depth -= 1,
            b'"' => loop {
                match bytes.next()?.1 {
                    b'"' => break,
                    b'\\' => drop(bytes.next()?),
                    _ => {}
                }
            },
            _ if BETWEEN.contains(&byte) => {}
            _ => return None,
        }
    }
    None
}

/// serde's message without the answer's text.
///
/// serde quotes the unexpected value. Only messages of a known form are passed on, so that an unknown one
/// reveals nothing.
fn shape(error: &serde_json::Error) -> String {
    const KINDS: [&str; 7] = ["null", "boolean", "integer", "floating point", "string", "sequence", "map"];
    const EXPECTED: &str = ", expected ";
    let message = error.to_string();
    // The position is one in a part of the answer, which the reader of the message does not have.
    let place = format!(" at line {} column {}", error.line(), error.column());
    let message = message.strip_suffix(&place).unwrap_or(&message);
    // These hold only numbers and names from the type.
    let known = ["missing field `", "duplicate field `", "invalid length "];
    if known.iter().any(|known| message.starts_with(known)) {
        return message.to_owned();
    }
    // The last occurrence, as the value may hold the same text.
    let expected = message.rsplit_once(EXPECTED).map(|(_, expected)| expected);
    for what in ["invalid type: ", "invalid value: "] {
        if let Some(got) = message.strip_prefix(what)
            && let Some(kind) = KINDS.iter().find(|kind| got.starts_with(**kind))
            && let Some(expected) = expected
        {
            return format!("{what}{kind}{EXPECTED}{expected}");
        }
    }
    for (what, none) in
        [("unknown field", ", there are no fields"), ("unknown variant", ", there are no variants")]
    {
        if message.starts_with(what) {
            return match expected {
                _ if message.ends_with(none) => format!("{what}{none}"),
                Some(expected) => format!("{what}{EXPECTED}{expected}"),
                None => what.to_owned(),
            };
        }
    }
    "a value in it is not one that fits".to_owned()
}

#[cfg(test)]
mod tests;
