//! Tells a model's thoughts from its answer, while the text comes in pieces.
//!
//! Servers that know a model's format give its thoughts in a field of their own. Others pass them on in the text:
//!
//! | form | thoughts |
//! |---|---|
//! | `<think>…</think>`, `<thinking>…</thinking>`, `[THINK]…[/THINK]` | at the beginning of the text, any number of times |
//! | `…</think>` without a beginning, which some servers drop | all before it |
//! | harmony: `<\|channel\|>NAME<\|message\|>…<\|end\|>` | each channel but `final` |
//!
//! A tag in the middle of an answer is part of the answer.

/// The forms in brackets: where thoughts begin and end.
const BRACKETS: [(&str, &str); 3] =
    [("<think>", "</think>"), ("<thinking>", "</thinking>"), ("[THINK]", "[/THINK]")];

const CHANNEL: &str = "<|channel|>";
const MESSAGE: &str = "<|message|>";
/// What ends a message of harmony, or begins the next one.
const ENDS: [&str; 4] = ["<|end|>", "<|return|>", "<|call|>", "<|start|>"];

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Where {
    /// Before the answer's first word.
    #[default]
    Start,
    /// In thoughts that end with this tag.
    Thoughts(&'static str),
    /// Between two messages of harmony.
    BetweenMessages,
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
    /// What came and is not sorted yet, because it may be the beginning of a tag.
    open: String,
    /// The thoughts so far.
    aside: String,
    /// The answer so far.
    answer: String,
}

impl Thoughts {
    /// Takes the next piece of the text, and returns what it adds to the answer.
    pub(super) fn push(&mut self, piece: &str) -> String {
        self.open.push_str(piece);
        let before = self.answer.len();
        while self.step(false) {}
        self.answer[before..].to_owned()
    }

    /// The text is over: the rest of the answer, and the whole answer and the thoughts.
    pub(super) fn finish(mut self) -> Sorted {
        let before = self.answer.len();
        while self.step(true) {}
        let rest = self.answer[before..].to_owned();
        let (mut answer, mut thoughts) = (self.answer, self.aside);
        // The server dropped the beginning of the thoughts.
        let dropped = BRACKETS.iter().filter(|_| self.place == Where::Answer);
        if let Some((at, end)) = dropped.filter_map(|(_, end)| Some((answer.find(end)?, end))).min() {
            thoughts.push_str(&answer[..at]);
            answer = answer[at + end.len()..].to_owned();
        }
        Sorted { rest, answer: answer.trim().to_owned(), thoughts: thoughts.trim().to_owned() }
    }

    /// Sorts as much of the open text as is certain. Returns whether there may be more.
    fn step(&mut self, is_over: bool) -> bool {
        if self.open.is_empty() {
            return false;
        }
        match self.place {
            Where::Start => {
                let text = self.open.trim_start();
                if text.is_empty() && !is_over {
                    return false;
                }
                let begins = |tag: &str| text.starts_with(tag);
                if let Some((start, end)) = BRACKETS.iter().find(|(start, _)| begins(start)) {
                    self.open = text[start.len()..].to_owned();
                    self.place = Where::Thoughts(end);
                } else if begins(CHANNEL) || begins("<|start|>") {
                    self.open = text.to_owned();
                    self.place = Where::BetweenMessages;
                } else {
                    let tags = BRACKETS.iter().map(|(start, _)| *start).chain([CHANNEL, "<|start|>"]);
                    if !is_over && tags.into_iter().any(|tag| tag.starts_with(text)) {
                        return false;
                    }
                    self.open = text.to_owned();
                    self.place = Where::Answer;
                }
                true
            }
            Where::Answer => {
                self.answer.push_str(&self.open);
                self.open.clear();
                false
            }
            Where::Thoughts(end) => {
                let ended = self.take_until(&[end], is_over);
                self.aside.push_str(&ended.text);
                if ended.tag.is_some() {
                    self.place = Where::Start;
                }
                ended.tag.is_some()
            }
            Where::BetweenMessages => {
                let ended = self.take_until(&[CHANNEL], is_over);
                if ended.tag.is_some() {
                    self.place = Where::ChannelName;
                }
                ended.tag.is_some()
            }
            Where::ChannelName => {
                let Some(at) = self.open.find(MESSAGE) else {
                    if is_over {
                        self.open.clear();
                    }
                    return false;
                };
                // A recipient or a constraint may follow the channel's name.
                let name = self.open[..at].split_whitespace().next().unwrap_or_default();
                self.place = Where::Message { is_answer: name == "final" };
                self.open.drain(..at + MESSAGE.len());
                true
            }
            Where::Message { is_answer } => {
                let ended = self.take_until(&ENDS, is_over);
                let into = if is_answer { &mut self.answer } else { &mut self.aside };
                into.push_str(&ended.text);
                if ended.tag.is_some() {
                    self.place = Where::BetweenMessages;
                }
                ended.tag.is_some()
            }
        }
    }

    /// Takes the open text up to the first of these tags, and that tag; or all that cannot be the beginning of one.
    fn take_until(&mut self, tags: &[&str], is_over: bool) -> Taken {
        let found = tags.iter().filter_map(|tag| Some((self.open.find(tag)?, tag.len()))).min();
        if let Some((at, length)) = found {
            let rest = self.open.split_off(at + length);
            let mut text = std::mem::replace(&mut self.open, rest);
            text.truncate(at);
            return Taken { text, tag: Some(()) };
        }
        let keep =
            if is_over { 0 } else { tags.iter().map(|tag| overlap(&self.open, tag)).max().unwrap_or(0) };
        let rest = self.open.split_off(self.open.len() - keep);
        Taken { text: std::mem::replace(&mut self.open, rest), tag: None }
    }
}

struct Taken {
    text: String,
    tag: Option<()>,
}

/// How many bytes at the end of a text are the beginning of a tag.
fn overlap(text: &str, tag: &str) -> usize {
    (1..tag.len().min(text.len() + 1))
        .rev()
        .find(|length| text.as_bytes().ends_with(&tag.as_bytes()[..*length]))
        .unwrap_or(0)
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

    const TEXTS: [(&str, &str, &str); 18] = [
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
        ("", "", ""),
    ];

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
            let mut pieces: String = cuts.windows(2).map(|cut| parts.push(&text[cut[0]..cut[1]])).collect();
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
