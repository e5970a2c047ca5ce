//! Tells a model's thoughts from its answer, while the text comes in pieces.
//!
//! Servers that know a model's format give its thoughts in a field of their own. Others pass them on in the text:
//!
//! | form | thoughts |
//! |---|---|
//! | `<think>…</think>`, `<thinking>…</thinking>`, `[THINK]…[/THINK]` | at the beginning of the text, any number of times |
//! | `…</think>` without a beginning, which some servers drop | all before it, unless the text has thoughts with a beginning |
//! | harmony: `<\|channel\|>NAME<\|message\|>…<\|end\|>` | each channel but `final` |
//! | harmony: `<\|start\|>ROLE<\|message\|>…<\|end\|>` | each role but `assistant` |
//!
//! A message of harmony also ends where the next one begins. A tag in the middle of an answer is part of the answer.
//!
//! The work is linear in the text, in whatever pieces it comes: a piece is copied once, and what stays open after it is
//! shorter than a tag, or than the longest name of a channel.

/// The forms in brackets: where thoughts begin and end.
const BRACKETS: [(&str, &str); 3] =
    [("<think>", "</think>"), ("<thinking>", "</thinking>"), ("[THINK]", "[/THINK]")];

const START: &str = "<|start|>";
const CHANNEL: &str = "<|channel|>";
const MESSAGE: &str = "<|message|>";
/// What begins a message of harmony.
const BEGINNINGS: [&str; 3] = [START, CHANNEL, MESSAGE];
/// What ends a message of harmony, or begins the next one.
const ENDS: [&str; 5] = ["<|end|>", "<|return|>", "<|call|>", START, CHANNEL];

/// The most bytes of a channel's or a role's name, with what stands beside it.
const MAX_NAME_BYTES: usize = 256;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Where {
    /// Before the answer's first word.
    #[default]
    Start,
    /// In thoughts that end with this tag.
    Thoughts(&'static str),
    /// Between two messages of harmony.
    BetweenMessages,
    /// In the name of the role that a message of harmony is from.
    RoleName,
    /// In the name of a channel.
    ChannelName,
    /// In a message of harmony, which is the answer or not.
    Message { is_answer: bool },
    /// In an answer without any such form.
    Answer,
}

/// Separates thoughts from the answer.
#[derive(Debug, Default)]
pub(super) struct Thoughts {
    place: Where,
    /// Whether there were thoughts in brackets, so that another end of thoughts is a part of the answer.
    had_brackets: bool,
    /// What came and is not sorted yet, because it may be the beginning of a tag.
    open: String,
    /// The thoughts so far.
    aside: String,
    /// The answer so far.
    answer: String,
}

impl Thoughts {
    /// Takes the next piece of the text, and returns what it adds to the answer.
    pub(super) fn push(&mut self, piece: &str) -> &str {
        let before = self.answer.len();
        if self.place == Where::Answer && self.open.is_empty() {
            self.answer.push_str(piece);
        } else {
            self.open.push_str(piece);
            self.sort(false);
        }
        &self.answer[before..]
    }

    /// The text is over: the rest of the answer, and the whole answer and the thoughts.
    pub(super) fn finish(mut self) -> Sorted {
        let before = self.answer.len();
        self.sort(true);
        let rest = self.answer[before..].to_owned();
        let (mut answer, mut thoughts) = (self.answer, self.aside);
        // The server dropped the beginning of the thoughts.
        let may_drop = self.place == Where::Answer && !self.had_brackets;
        let dropped = BRACKETS.iter().filter(|_| may_drop);
        if let Some((at, end)) = dropped.filter_map(|(_, end)| Some((answer.find(end)?, end))).min() {
            thoughts.push_str(&answer[..at]);
            answer = answer[at + end.len()..].to_owned();
        }
        Sorted { rest, answer: answer.trim().to_owned(), thoughts: thoughts.trim().to_owned() }
    }

    /// Sorts as much of the open text as is certain.
    fn sort(&mut self, is_over: bool) {
        let mut open = std::mem::take(&mut self.open);
        let mut at = 0;
        while at < open.len() {
            let (taken, place) = self.step(&open[at..], is_over);
            at += taken;
            if place == self.place {
                break;
            }
            self.place = place;
        }
        open.drain(..at);
        self.open = open;
    }

    /// Sorts the beginning of a text that is not empty. Returns how much of it is sorted, and where its rest is: if in the
    /// same place, more must come before the rest can be sorted.
    fn step(&mut self, text: &str, is_over: bool) -> (usize, Where) {
        match self.place {
            Where::Start => {
                let white = text.len() - text.trim_start().len();
                let text = &text[white..];
                let brackets = BRACKETS.iter().find(|(start, _)| text.starts_with(start));
                if let Some((start, end)) = brackets {
                    self.had_brackets = true;
                    return (white + start.len(), Where::Thoughts(end));
                }
                if BEGINNINGS.iter().any(|tag| text.starts_with(tag)) {
                    return (white, Where::BetweenMessages);
                }
                let mut tags = BRACKETS.iter().map(|(start, _)| *start).chain(BEGINNINGS);
                let may_be_a_tag = tags.any(|tag| tag.starts_with(text));
                (white, if may_be_a_tag && !is_over { Where::Start } else { Where::Answer })
            }
            Where::Answer => {
                self.answer.push_str(text);
                (text.len(), Where::Answer)
            }
            Where::Thoughts(end) => match until(text, &[end], is_over) {
                (sorted, None) => {
                    self.aside.push_str(&text[..sorted]);
                    (sorted, self.place)
                }
                (sorted, Some(_)) => {
                    self.aside.push_str(&text[..sorted]);
                    (sorted + end.len(), Where::Start)
                }
            },
            Where::BetweenMessages => match until(text, &BEGINNINGS, is_over) {
                (sorted, None) => (sorted, self.place),
                (sorted, Some(tag)) => (sorted + tag.len(), after(tag)),
            },
            Where::RoleName | Where::ChannelName => self.name(text, is_over),
            Where::Message { is_answer } => {
                let (sorted, tag) = until(text, &ENDS, is_over);
                let into = if is_answer { &mut self.answer } else { &mut self.aside };
                into.push_str(&text[..sorted]);
                match tag {
                    None => (sorted, self.place),
                    Some(tag) => (sorted + tag.len(), after(tag)),
                }
            }
        }
    }

    /// As [`step`](Self::step), in the name of a role or a channel.
    fn name(&self, text: &str, is_over: bool) -> (usize, Where) {
        let is_role = self.place == Where::RoleName;
        let tags: &[&str] = if is_role { &[CHANNEL, MESSAGE] } else { &[MESSAGE] };
        let (length, tag) = until(text, tags, is_over);
        // A recipient or a constraint may follow the name.
        let name = text[..length].split_whitespace().next().unwrap_or_default();
        let is_answer = if is_role { name.is_empty() || name == "assistant" } else { name == "final" };
        match tag {
            // It is no name, and so its text is not known to be an answer.
            _ if length > MAX_NAME_BYTES => (0, Where::Message { is_answer: false }),
            Some(tag) if tag == CHANNEL => (length + tag.len(), Where::ChannelName),
            Some(tag) => (length + tag.len(), Where::Message { is_answer }),
            None if is_over => (text.len(), self.place),
            None => (0, self.place),
        }
    }
}

/// Where the text after a tag of harmony is.
fn after(tag: &str) -> Where {
    match tag {
        START => Where::RoleName,
        CHANNEL => Where::ChannelName,
        MESSAGE => Where::Message { is_answer: true },
        _ => Where::BetweenMessages,
    }
}

/// How much of a text is before the first of these tags, and that tag; or how much cannot be the beginning of one.
fn until<'a>(text: &str, tags: &[&'a str], is_over: bool) -> (usize, Option<&'a str>) {
    for (at, _) in text.match_indices(['<', '[']) {
        let rest = &text[at..];
        if let Some(tag) = tags.iter().find(|tag| rest.starts_with(**tag)) {
            return (at, Some(tag));
        }
        if !is_over && tags.iter().any(|tag| tag.starts_with(rest)) {
            return (at, None);
        }
    }
    (text.len(), None)
}

/// What a text holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sorted {
    /// What the end adds to the answer's pieces.
    pub(super) rest: String,
    /// The whole answer, without white space around it.
    pub(super) answer: String,
    /// The thoughts.
    pub(super) thoughts: String,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sorted(text: &str) -> (String, String) {
        let mut thoughts = Thoughts::default();
        thoughts.push(text);
        let Sorted { answer, thoughts, .. } = thoughts.finish();
        (answer, thoughts)
    }

    const TEXTS: [(&str, &str, &str); 28] = [
        ("[1]", "[1]", ""),
        ("<think>a [0]</think>[1]", "[1]", "a [0]"),
        ("\n<thinking>a\nb</thinking>\n\n[1]\n", "[1]", "a\nb"),
        ("[THINK]hm[/THINK]yes", "yes", "hm"),
        ("<think>a</think> <think>b</think>c", "c", "ab"),
        ("<think></think>c", "c", ""),
        ("<think>never ends [0]", "", "never ends [0]"),
        ("it began before</think>yes", "yes", "it began before"),
        ("Use <think> in HTML? No: </b>", "Use <think> in HTML? No: </b>", ""),
        ("<thinker>", "<thinker>", ""),
        ("[THIN", "[THIN", ""),
        ("a < b", "a < b", ""),
        (
            "<|channel|>analysis<|message|>perhaps [0]<|end|><|start|>assistant<|channel|>final<|message|>[1]<|return|>",
            "[1]",
            "perhaps [0]",
        ),
        (
            "<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>final<|message|>[1]",
            "[1]",
            "hm",
        ),
        ("<|start|>assistant<|channel|>final <|constrain|>json<|message|>{}", "{}", ""),
        ("<|channel|>analysis<|message|>only thoughts", "", "only thoughts"),
        ("<|channel|>commentary to=f<|message|>x<|call|>", "", "x"),
        // An end of thoughts in an answer to which its thoughts were given properly.
        ("<think>hm</think>Write </think> at the end.", "Write </think> at the end.", "hm"),
        ("[THINK]hm[/THINK]a</think>b", "a</think>b", "hm"),
        // No channel, and no end of the message before.
        ("<|start|>assistant<|message|>[1]", "[1]", ""),
        ("<|start|>assistant<|message|>[1]<|end|>", "[1]", ""),
        ("<|message|>[1]<|return|>", "[1]", ""),
        ("<|channel|>analysis<|message|>hm<|channel|>final<|message|>[1]", "[1]", "hm"),
        ("<|channel|>analysis<|message|>hm<|start|>assistant<|message|>[1]", "[1]", "hm"),
        ("<|start|>system<|message|>be brief<|end|><|start|>assistant<|message|>[1]", "[1]", "be brief"),
        ("<|start|>assistant", "", ""),
        ("<|channel|>final", "", ""),
        ("", "", ""),
    ];

    #[test]
    fn a_name_has_an_end() {
        for start in [CHANNEL, START] {
            let long = "final ".repeat(MAX_NAME_BYTES);
            let (answer, thoughts) = sorted(&format!("{start}{long}<|message|>[1]"));
            assert_eq!((answer.as_str(), thoughts), ("", format!("{long}<|message|>[1]")));
        }
    }

    /// With work that grows as the square of the text, each of these takes longer than anybody waits for a test.
    #[test]
    fn the_work_grows_as_the_text() {
        const BYTES: usize = 8 << 20;
        const PIECES: usize = 1 << 20;
        let of = |text: &str| text.repeat(BYTES / text.len());
        let empty = || (String::new(), String::new());
        assert_eq!(sorted(&of("<think></think>")), empty());
        assert_eq!(sorted(&of("[THINK] [/THINK] ")), empty());
        assert_eq!(sorted(&of("<|channel|>a<|message|><|end|>")), empty());
        assert_eq!(sorted(&of("<|start|><|message|>")), empty());
        assert_eq!(sorted(&format!("<|channel|>a<|message|>{}", of("<|"))), (String::new(), of("<|")));

        let in_bytes = |before: &str, byte: &str| {
            let mut thoughts = Thoughts::default();
            thoughts.push(before);
            for _ in 0..PIECES {
                thoughts.push(byte);
            }
            let Sorted { answer, thoughts, .. } = thoughts.finish();
            (answer.len(), thoughts.len())
        };
        assert_eq!(in_bytes("", " "), (0, 0));
        assert_eq!(in_bytes("", "<"), (PIECES, 0));
        assert_eq!(in_bytes("<think>", "<"), (0, PIECES));
        assert_eq!(in_bytes("<|channel|>", "a"), (0, PIECES));
        assert_eq!(in_bytes("<|start|>", "<"), (0, PIECES));
        assert_eq!(in_bytes("<|channel|>final<|message|>", "a"), (PIECES, 0));
    }

    #[test]
    fn thoughts_are_no_answer() {
        for (text, answer, thoughts) in TEXTS {
            assert_eq!(sorted(text), (answer.to_owned(), thoughts.to_owned()), "{text}");
        }
    }

    proptest! {
        /// However a text is cut into pieces, the pieces of the answer add up to it.
        #[test]
        fn pieces_add_up(index in 0..TEXTS.len(), cuts in prop::collection::vec(0..120_usize, 0..12)) {
            let (text, answer, thoughts) = TEXTS[index];
            let mut cuts: Vec<usize> = cuts.into_iter().filter(|cut| *cut <= text.len() && text.is_char_boundary(*cut)).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let mut parts = Thoughts::default();
            let mut pieces: String = cuts.windows(2).map(|cut| parts.push(&text[cut[0]..cut[1]]).to_owned()).collect();
            let sorted = parts.finish();
            pieces.push_str(&sorted.rest);
            prop_assert_eq!((sorted.answer.as_str(), sorted.thoughts.as_str()), (answer, thoughts));
            // Thoughts whose beginning the server dropped are known only at their end.
            if !text.contains("before</think>") {
                prop_assert_eq!(pieces.trim(), answer);
            }
        }
    }
}
