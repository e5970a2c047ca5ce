//! Getting JSON out of a model's answer.
//!
//! A model that is asked for JSON alone still likes to talk: it wraps the JSON in a Markdown fence, says what
//! it is about to do, thinks aloud first. What is looked for, and where, is fixed here, so that every plugin
//! forgives the same things.

use serde::de::{DeserializeOwned, IgnoredAny};

/// Why an answer could not be used.
///
/// Answers may be private: an error never holds a word of one, so it can be logged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AnswerError {
    /// There is no JSON in it, or none that is whole.
    #[error("the answer holds no complete JSON")]
    NoJson,
    /// There is JSON in it, but none of the type that was asked for.
    #[error("the answer's JSON is of another shape: {problem}")]
    OtherShape {
        /// What is wrong with the first JSON value, as serde says it but without what the value holds.
        problem: String,
    },
}

/// Reads a `T` from a model's answer, whatever the model has put around it.
///
/// The first of these that is a `T` counts:
///
/// 1. the whole answer;
/// 2. each Markdown fence (three or more backticks or tildes at a line's beginning; one that is never closed
///    goes on to the end): all of it, then the JSON values in it;
/// 3. the JSON values in the text, from the left, if they are nested no deeper than 32 levels.
///
/// A value is an object or an array here; only the whole answer or a whole fence can be a `T` of another
/// kind, such as a number. What is inside a JSON value is not tried by itself: a list of ten is no answer to
/// a question for one. So a `T` whose fields are all optional takes any object.
///
/// Thoughts are no answer: what a `<think>` at the answer's beginning opens is left out, to the end where it
/// is never closed. Where a `</think>` has no beginning (some servers keep it to themselves), what is behind
/// it comes first.
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
    Err(problem.map_or(AnswerError::NoJson, |problem| AnswerError::OtherShape { problem }))
}

/// What a piece of text turned out to be.
enum Read<T> {
    Is(T),
    OtherShape(String),
    NotJson,
}

fn read<T: DeserializeOwned>(text: &str) -> Read<T> {
    match serde_json::from_str(text) {
        Ok(value) => Read::Is(value),
        // Only a second look tells: the first stopped at what didn't fit, before what may not even be JSON.
        Err(error) if serde_json::from_str::<IgnoredAny>(text).is_ok() => Read::OtherShape(shape(&error)),
        Err(_) => Read::NotJson,
    }
}

/// The texts to look through, the likeliest first.
fn without_thoughts(answer: &str) -> [Option<&str>; 2] {
    const END: &str = "</think>";
    let behind = answer.split_once(END).map(|(_, behind)| behind);
    if answer.starts_with("<think>") { [behind, None] } else { [behind, Some(answer)] }
}

/// What is in each Markdown fence.
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

/// Each line, trimmed, with where it begins and where the next one does.
fn lines(text: &str) -> impl Iterator<Item = (&str, usize, usize)> {
    text.split_inclusive('\n').scan(0, |end, line| {
        let start = *end;
        *end += line.len();
        Some((line.trim(), start, *end))
    })
}

/// What opened a fence: its character and how many of it.
#[derive(Clone, Copy)]
struct Fence {
    mark: char,
    length: usize,
}

impl Fence {
    fn opened_by(line: &str) -> Option<Self> {
        let mark = line.chars().next().filter(|mark| ['`', '~'].contains(mark))?;
        let language = line.trim_start_matches(mark);
        // Both marks are one byte. A backtick further on makes it code within a line, not a fence.
        let length = line.len() - language.len();
        (length >= 3 && !language.contains('`')).then_some(Self { mark, length })
    }

    fn is_closed_by(self, line: &str) -> bool {
        line.len() >= self.length && line.chars().all(|c| c == self.mark)
    }
}

/// The text as a whole, or the first JSON value in it, that is a `T`; the first that is not is remembered as
/// `problem`.
///
/// Takes time in proportion to the text, although [`balanced`] begins anew at each bracket: at most `2 *
/// MAX_DEPTH` of those begun earlier ever come to one place. Of two that do, take the one begun first. If it
/// saw the other's beginning as a bracket, then that bracket is still open and counts in its depth; so among
/// those that see each other like this there are at most `MAX_DEPTH`. If it saw it inside a string, then from
/// there on what is a string to one is none to the other: a quote changes both, and a backslash ends the one
/// that is not in a string. So there are two such families at most. [`read`] looks at a balanced span twice
/// more, and no place is in more spans than `balanced` passed it.
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
        // Both brackets are one byte, so what is behind one begins a character.
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

/// How deeply values in a text may be nested; those of an answer are a few levels.
const MAX_DEPTH: usize = 32;

/// What JSON has outside strings, beside brackets: white space, separators, numbers, `true`, `false` and
/// `null`.
const BETWEEN: &[u8] = b" \t\r\n,:0123456789+-.Eaeflnrstu";

/// How many bytes the brackets take that open with the first byte; none where they don't close, where they
/// are too deep, or where something is between them that JSON doesn't have there. That they match is left to
/// serde.
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

/// What serde says is wrong, without what the answer holds.
///
/// serde quotes the value that it didn't expect. Only messages whose form is known are passed on, so that a
/// new one says too little rather than too much.
fn shape(error: &serde_json::Error) -> String {
    const KINDS: [&str; 7] = ["null", "boolean", "integer", "floating point", "string", "sequence", "map"];
    const EXPECTED: &str = ", expected ";
    let message = error.to_string();
    // The place is one in a part of the answer, which nobody will see.
    let place = format!(" at line {} column {}", error.line(), error.column());
    let message = message.strip_suffix(&place).unwrap_or(&message);
    // These hold names from the type and numbers.
    let known = ["missing field `", "duplicate field `", "invalid length "];
    if known.iter().any(|known| message.starts_with(known)) {
        return message.to_owned();
    }
    // The last one, as the value may hold the same words.
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
