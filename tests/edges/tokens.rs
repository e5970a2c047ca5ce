//! Splits a Rust source into tokens.

/// A name, `::`, a character of punctuation, or [`LITERAL`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Token<'a> {
    pub(crate) text: &'a str,
    pub(crate) line: usize,
}

/// Stands for any string, character or number.
pub(crate) const LITERAL: &str = "\"\"";

/// The tokens of a source, without comments and lifetimes.
pub(crate) fn tokens(source: &str) -> Vec<Token<'_>> {
    let mut found = Vec::new();
    let (mut rest, mut line) = (source, 1);
    while !rest.is_empty() {
        let (length, token) = first_token(rest);
        found.extend(token.map(|text| Token { text, line }));
        line += rest[..length].matches('\n').count();
        rest = &rest[length..];
    }
    found
}

/// The length of what a source starts with, and its token if it is one. The source isn't empty.
fn first_token(source: &str) -> (usize, Option<&str>) {
    let first = source.chars().next().expect("the source isn't empty");
    if source.starts_with("//") {
        (source.find('\n').unwrap_or(source.len()), None)
    } else if source.starts_with("/*") {
        (block_comment(source), None)
    } else if let Some(length) = raw_string(source) {
        (length, Some(LITERAL))
    } else if first == '"' {
        (quoted(source, '"'), Some(LITERAL))
    } else if first == '\'' {
        match source[1..].chars().next() {
            Some('\\') => (quoted(source, '\''), Some(LITERAL)),
            Some(c) if source[1 + c.len_utf8()..].starts_with('\'') => (2 + c.len_utf8(), Some(LITERAL)),
            _ => (1 + word(&source[1..]), None),
        }
    } else if first.is_ascii_digit() {
        (word(source), Some(LITERAL))
    } else if is_word(first) {
        let start = if source.starts_with("r#") { 2 } else { 0 };
        let end = start + word(&source[start..]);
        (end, Some(&source[start..end]))
    } else {
        let length = if source.starts_with("::") { 2 } else { first.len_utf8() };
        (length, Some(&source[..length]).filter(|text| !text.starts_with(char::is_whitespace)))
    }
}

pub(crate) fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The length of the word at the start of a text.
fn word(text: &str) -> usize {
    text.find(|c| !is_word(c)).unwrap_or(text.len())
}

/// The length of the comment at the start of a text, with the comments inside it.
fn block_comment(text: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < text.len() {
        let (step, change) = match &text.as_bytes()[at..] {
            [b'/', b'*', ..] => (2, 1),
            [b'*', b'/', ..] => (2, -1),
            _ => (1, 0),
        };
        at += step;
        depth += change;
        if depth == 0 {
            break;
        }
    }
    at
}

/// The length of the string or character at the start of a text, in which a backslash escapes a quote.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        if c == quote && !escaped {
            return at + 1;
        }
        escaped = c == '\\' && !escaped;
    }
    text.len()
}

/// The length of the raw string at the start of a text: `r"…"`, `br#"…"#`, `cr##"…"##`.
fn raw_string(text: &str) -> Option<usize> {
    let hashes_on = text.strip_prefix(['b', 'c']).unwrap_or(text).strip_prefix('r')?;
    let content = hashes_on.trim_start_matches('#').strip_prefix('"')?;
    let hashes = hashes_on.len() - content.len() - 1;
    let end = format!("\"{}", "#".repeat(hashes));
    let closed = content.find(&end).map_or(content.len(), |at| at + end.len());
    Some(text.len() - content.len() + closed)
}

fn texts(source: &str) -> Vec<&str> {
    tokens(source).into_iter().map(|token| token.text).collect()
}

#[test]
fn comments_are_no_tokens() {
    assert_eq!(texts("a // b\n/// c\nd"), ["a", "d"]);
    assert_eq!(texts("a /* b /* c */ d */ e /**/ f"), ["a", "e", "f"]);
    assert_eq!(texts("a / b * c"), ["a", "/", "b", "*", "c"]);
    assert_eq!(texts("a /* without an end"), ["a"]);
}

#[test]
fn strings_hide_what_is_in_them() {
    assert_eq!(texts(r#"a("use b; \" // \\") c"#), ["a", "(", LITERAL, ")", "c"]);
    assert_eq!(texts(r###"r"\" a r#"b " c"# br##"d "# e"## f"###), [LITERAL, "a", LITERAL, LITERAL, "f"]);
    assert_eq!(texts("\"a\n\" b \"without an end"), [LITERAL, "b", LITERAL]);
}

#[test]
fn a_raw_name_is_no_raw_string() {
    assert_eq!(texts("r#type bar r"), ["type", "bar", "r"]);
}

#[test]
fn a_character_is_told_from_a_lifetime() {
    assert_eq!(
        texts(r"['a', '\'', '\\', '\u{1F600}', '’', '\'']").concat(),
        ["[", &[LITERAL; 6].join(","), "]"].concat()
    );
    assert_eq!(texts("&'a str, '_, 'outer: b, '{'"), ["&", "str", ",", ",", ":", "b", ",", LITERAL]);
}

#[test]
fn numbers_and_ranges() {
    assert_eq!(texts("0x1F_u8..max"), [LITERAL, ".", ".", "max"]);
}

#[test]
fn tokens_have_their_lines() {
    let source = "a\n/* b\n */ c::d \"\n\" e\r\nf";
    let lines: Vec<_> = tokens(source).iter().map(|token| (token.text, token.line)).collect();
    assert_eq!(lines, [("a", 1), ("c", 3), ("::", 3), ("d", 3), (LITERAL, 3), ("e", 4), ("f", 5)]);
}
