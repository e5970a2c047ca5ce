//! Reads what is said in a cue, and by whom, from the text with its markup.
//!
//! By WebVTT's rules a player drops a tag that it does not know, and the rest of the cue after a `<` without
//! a `>`. In a transcript, whose program may not have escaped anything, that would lose words: `I <3 it`, `a
//! List<String>`. So only the tags of WebVTT and SubRip are tags, and everything else is speech. This module
//! therefore finds the tags itself, instead of `fasrt`, which follows WebVTT's rules. `fasrt` reads the name
//! in a tag and the references to characters, all 2,231 of them.

use fasrt::vtt::cue::{Annotation, CueStr};

use super::{markup::Markup, times};

/// Tags that change how text looks. `s` and `font` are SubRip's, but converters leave them in WebVTT.
const STYLE_TAGS: [&str; 9] = ["b", "i", "u", "s", "c", "ruby", "rt", "lang", "font"];

/// Who speaks, by a cue's markup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli::recording) enum Voice {
    Named(String),
    /// The markup says that the speaker is not named.
    Nobody,
    /// The markup says nothing; the text may.
    Unknown,
}

/// What one voice says in a cue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli::recording) struct Span {
    pub(in crate::cli::recording) voice: Voice,
    /// Lines without white space around them; at least one, and none is empty.
    pub(in crate::cli::recording) lines: Vec<String>,
}

impl Span {
    /// What a speaker says whose name, or that there is none, is known.
    pub(super) fn known(name: Option<String>, text: String) -> Self {
        Self { voice: name.map_or(Voice::Nobody, Voice::Named), lines: vec![text] }
    }
}

/// Reads a cue's text. All that one voice says in a row is one span, so that the cue's time counts once.
pub(super) fn spans(markup: Markup, text: &str) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    for (voice, said) in pieces(markup, text) {
        let voice = voice.map_or(Voice::Unknown, Voice::Named);
        let lines = said.split('\n').map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned);
        match spans.last_mut() {
            Some(span) if span.voice == voice => span.lines.extend(lines),
            _ => {
                let lines: Vec<String> = lines.collect();
                if !lines.is_empty() {
                    spans.push(Span { voice, lines });
                }
            }
        }
    }
    spans
}

/// The pieces of a text without its markup, each with its speaker.
fn pieces(markup: Markup, mut rest: &str) -> Vec<(Option<String>, String)> {
    let mut pieces = vec![(None, String::new())];
    if !rest.contains('<') && !rest.contains('{') {
        push(markup, &mut pieces[0].1, rest);
        return pieces;
    }
    let mut voice = None;
    while !rest.is_empty() {
        let (token, length) = token(markup, rest);
        rest = &rest[length..];
        let said = match token {
            Token::Text(text) => text,
            Token::LineBreak => "\n",
            Token::Style => continue,
            Token::Voice(name) => {
                voice = name;
                continue;
            }
        };
        match pieces.last_mut() {
            Some((last, text)) if *last == voice => push(markup, text, said),
            _ => {
                let mut text = String::new();
                push(markup, &mut text, said);
                pieces.push((voice.clone(), text));
            }
        }
    }
    pieces
}

/// Adds text, and replaces WebVTT's references to characters. SubRip has none: its players show `&amp;` as it
/// is.
fn push(markup: Markup, to: &mut String, text: &str) {
    if markup == Markup::WebVtt && (text.contains('&') || text.contains('\0')) {
        to.push_str(CueStr::needs_normalization(text).normalize());
    } else {
        to.push_str(text);
    }
}

enum Token<'a> {
    Text(&'a str),
    LineBreak,
    /// A tag that changes how text looks.
    Style,
    /// This speaker speaks from here on; with `None` an unknown one.
    Voice(Option<String>),
}

/// The first token of a text that isn't empty, and the token's length.
fn token(markup: Markup, text: &str) -> (Token<'_>, usize) {
    let marks: &[char] = if markup == Markup::SubRip { &['<', '{'] } else { &['<'] };
    if !text.starts_with(marks) {
        let length = text.find(marks).unwrap_or(text.len());
        return (Token::Text(&text[..length]), length);
    }
    // No tag reaches beyond the next opening bracket, so each byte is read twice at most.
    let found = match text.strip_prefix('<') {
        Some(inner) => enclosed(inner, ['<', '>']).and_then(|inner| Some((tag(inner)?, inner.len() + 2))),
        None => enclosed(&text[1..], ['{', '}'])
            .filter(|inner| is_code(inner))
            .map(|inner| (Token::Style, inner.len() + 2)),
    };
    found.unwrap_or((Token::Text(&text[..1]), 1))
}

/// The text up to the closing bracket, unless another one opens before.
fn enclosed(text: &str, [opens, closes]: [char; 2]) -> Option<&str> {
    let end = text.find([opens, closes])?;
    text[end..].starts_with(closes).then(|| &text[..end])
}

/// Reads the inside of a tag: `i`, `/i`, `v.loud Ada`, `br/`, `00:01.000`. `None` if it is not a tag's.
fn tag(inner: &str) -> Option<Token<'_>> {
    let (opens, body) = inner.strip_prefix('/').map_or((true, inner), |body| (false, body));
    let name = body.split(|c: char| c == '.' || c.is_whitespace()).next().unwrap_or_default();
    let is = |known: &str| name.eq_ignore_ascii_case(known);
    if is("v") {
        let name = body.split_once(char::is_whitespace).filter(|_| opens);
        let name = name.map(|(_, name)| Annotation::new(name).normalize().trim().to_owned());
        return Some(Token::Voice(name.filter(|name| !name.is_empty())));
    }
    if is("br") || is("br/") {
        return Some(Token::LineBreak);
    }
    (STYLE_TAGS.iter().any(|known| is(known)) || times::is_moment(inner)).then_some(Token::Style)
}

/// Whether braces hold a formatting code that a converter left in SubRip from older formats: `{\an8}`,
/// `{y:i}`.
fn is_code(inner: &str) -> bool {
    inner.starts_with('\\')
        || inner.strip_prefix(|c| "CcFfoPSsYy".contains(c)).is_some_and(|rest| rest.starts_with(':'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn said(markup: Markup, text: &str, expected: &[(&str, &str)]) {
        let found = spans(markup, text);
        let found: Vec<_> = found
            .iter()
            .map(|span| match &span.voice {
                Voice::Named(name) => (name.as_str(), span.lines.join(" ")),
                Voice::Nobody => ("nobody", span.lines.join(" ")),
                Voice::Unknown => ("-", span.lines.join(" ")),
            })
            .collect();
        let expected: Vec<_> = expected.iter().map(|(voice, text)| (*voice, (*text).to_owned())).collect();
        assert_eq!(found, expected, "{text}");
    }

    #[track_caller]
    fn plain(markup: Markup, text: &str, expected: &str) {
        said(markup, text, &[("-", expected)]);
    }

    #[test]
    fn looks_are_left_out_and_words_are_not() {
        for (text, expected) in [
            ("<i>one</i> <b>two</b> <u>three</u>", "one two three"),
            ("<c.yellow.bg_blue>one</c> <lang en-GB>two</lang>", "one two"),
            ("<ruby>漢<rt>kan</rt></ruby>", "漢kan"),
            ("one <00:00:01.000>two <01:02.500>three", "one two three"),
            ("<font color=\"#fff\">one</FONT>", "one"),
            ("one<br>two<br/>three", "one two three"),
            ("  one \n\n two  three ", "one two  three"),
            ("R&amp;D &lt;3 &gt; a&nbsp;b &#65;&#x42; &eacute;&hearts;", "R&D <3 > a\u{a0}b AB é♥"),
            ("&lrm;a&rlm;", "\u{200e}a\u{200f}"),
            ("Q&A, AT&T, a & b, &;, &#;", "Q&A, AT&T, a & b, &;, &#;"),
            ("I <3 it, <b>so", "I <3 it, so"),
            ("a List<String> <b/w> < i > <>", "a List<String> <b/w> < i > <>"),
            ("1 < 2 <i>and</i> 3 > 2 <", "1 < 2 and 3 > 2 <"),
            ("{\\an8}up {y:i}", "{\\an8}up {y:i}"),
            ("a\0b", "a\u{fffd}b"),
        ] {
            plain(Markup::WebVtt, text, expected);
        }
    }

    #[test]
    fn subrip_has_codes_and_no_references() {
        for (text, expected) in [
            ("{\\an8}<I>up</I> {Y:i}there", "up there"),
            ("R&amp;D", "R&amp;D"),
            ("a {b} {c:d {\\an8", "a {b} {c:d {\\an8"),
            ("<s>no</s> <font size=14>yes</font>", "no yes"),
            ("I <3 <セリフ>", "I <3 <セリフ>"),
        ] {
            plain(Markup::SubRip, text, expected);
        }
    }

    #[test]
    fn voices_speak_until_another_does() {
        let vtt = Markup::WebVtt;
        said(vtt, "<v Ada>hello</v>", &[("Ada", "hello")]);
        said(vtt, "<v.loud.first Ada  L>hello", &[("Ada L", "hello")]);
        said(vtt, "<v Ada>one</v> <v Bo>two\nthree", &[("Ada", "one"), ("Bo", "two three")]);
        said(vtt, "<v Ada>one <v Bo>two</v> three", &[("Ada", "one"), ("Bo", "two"), ("-", "three")]);
        said(vtt, "<v Ada>one</v>\n<v Ada>two</v>", &[("Ada", "one two")]);
        said(vtt, "well <v A&amp;B [x: y] &lt;z>>one</v>", &[("-", "well"), ("A&B [x: y] <z", ">one")]);
        said(vtt, "<v  >one</v> <v>two", &[("-", "one two")]);
        said(vtt, "<i><v Ada>one</i></v>", &[("Ada", "one")]);
        said(vtt, "<v Ada></v> \n <v Bo> </v>", &[]);
        said(vtt, "<v Ada", &[("-", "<v Ada")]);
        said(Markup::SubRip, "<v Ada>one &amp;</v>", &[("Ada", "one &amp;")]);
    }

    #[test]
    fn lines_are_known() {
        let lines = |text| spans(Markup::WebVtt, text).remove(0).lines;
        assert_eq!(lines("\n <i> Ada:</i> \n one"), ["Ada:", "one"]);
        assert_eq!(lines(" \none<00:00:01.000><c> two</c>"), ["one two"]);
        assert_eq!(lines("one<br>two"), ["one", "two"]);
    }

    #[test]
    fn hostile_text_takes_no_longer() {
        for unit in ["<", "{", "<v a>", "<v", "&", "&#", "<b", "{\\"] {
            let text = unit.repeat((1 << 18) / unit.len());
            for markup in [Markup::WebVtt, Markup::SubRip] {
                assert!(spans(markup, &text).len() <= 1, "{unit}");
            }
        }
    }
}
