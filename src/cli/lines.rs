//! A recording's lines: one packet each, as JSON.

use std::{
    borrow::Cow,
    io::{self, BufRead, Read},
};

use serde::Deserialize;
use serde_json::value::RawValue;
use teammy::{Name, Payload, Publish, PublishError, Timestamp, config::Size, graph::Graph, name};

/// What a line may take beside its packet's data.
const ENVELOPE: usize = 64 << 10;

/// What is wrong with a line.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Problem {
    #[error("this is not UTF-8 text; save the file as UTF-8")]
    NotUtf8 { column: usize },
    #[error("the line is longer than any packet of the limit's size, {0} (limits.packet_bytes)")]
    TooLong(Size),
    #[error("expected one packet as JSON, {EXPECTED}, not a list or a single value")]
    NotAnObject,
    #[error("expected one packet as JSON, {EXPECTED}: {message}")]
    Json { column: usize, message: String },
    #[error(
        "\"timestamp\" is {shown:?}, but takes a time as in RFC 3339, such as \"2026-01-05T09:00:02.400Z\""
    )]
    Timestamp { shown: String },
    #[error(transparent)]
    Source(#[from] name::Error),
    #[error(transparent)]
    Packet(#[from] PublishError),
}

const EXPECTED: &str = r#"{"source": …, "timestamp": …, "participant": …, "data": …}"#;

impl Problem {
    /// Where in the line it is, in bytes from 1, where that is known.
    pub(crate) fn column(&self) -> Option<usize> {
        match self {
            Self::NotUtf8 { column } | Self::Json { column, .. } => Some(*column),
            _ => None,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    #[serde(borrow)]
    source: Cow<'a, str>,
    #[serde(borrow)]
    timestamp: Cow<'a, str>,
    #[serde(default)]
    participant: Option<String>,
    #[serde(borrow)]
    data: &'a RawValue,
}

/// What a packet must be for a meeting to take it.
#[derive(Debug, Clone)]
pub(crate) struct Rules {
    pub(crate) graph: Graph,
    pub(crate) packet_bytes: Size,
}

impl Rules {
    /// The longest line that can hold a packet within the limit.
    pub(crate) fn longest_line(&self) -> usize {
        self.packet_bytes.as_usize().saturating_add(ENVELOPE)
    }

    /// Reads a line; `None` if it is blank. The data's text stays as it is.
    pub(crate) fn packet(&self, line: &[u8]) -> Result<Option<Publish>, Problem> {
        let text = std::str::from_utf8(line)
            .map_err(|error| Problem::NotUtf8 { column: error.valid_up_to() + 1 })?;
        match text.trim_start().chars().next() {
            None => return Ok(None),
            Some('{') => {}
            // A list would be read as the fields in their order. What is no JSON at all is for the parser to say.
            Some(_) if serde_json::from_str::<&RawValue>(text).is_ok() => return Err(Problem::NotAnObject),
            Some(_) => {}
        }
        let line: Line<'_> = serde_json::from_str(text).map_err(|error| json(&error))?;
        let timestamp: Timestamp = line.timestamp.parse().map_err(|_| {
            let shown: String = line.timestamp.chars().take(40).collect();
            Problem::Timestamp { shown }
        })?;
        let source = Name::new(&*line.source)?;
        let publish = Publish::on(source, Payload::Json(line.data.get().into())).timestamp(timestamp);
        let publish = match line.participant {
            Some(participant) => publish.participant(participant),
            None => publish,
        };
        teammy::meeting::check(&publish, &self.graph, self.packet_bytes.as_usize())?;
        Ok(Some(publish))
    }
}

fn json(error: &serde_json::Error) -> Problem {
    let message = error.to_string();
    // The line number there is always 1.
    let place = format!(" at line {} column {}", error.line(), error.column());
    let message = message.strip_suffix(&place).unwrap_or(&message).to_owned();
    Problem::Json { column: error.column(), message }
}

/// Reads lines without keeping more than one of them, however long they are.
pub(crate) struct Lines<R> {
    reader: R,
    longest: usize,
    number: u64,
    buffer: Vec<u8>,
}

/// A line, without its end.
pub(crate) enum Read1<'a> {
    Line(&'a [u8]),
    TooLong,
}

impl<R: BufRead> Lines<R> {
    pub(crate) fn new(reader: R, longest: usize) -> Self {
        Self { reader, longest, number: 0, buffer: Vec::new() }
    }

    /// The number of the line that was read last, from 1.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// The next line.
    pub(crate) fn next(&mut self) -> io::Result<Option<Read1<'_>>> {
        const BOM: &[u8] = "\u{feff}".as_bytes();
        self.buffer.clear();
        let most = u64::try_from(self.longest).unwrap_or(u64::MAX).saturating_add(1);
        if self.reader.by_ref().take(most).read_until(b'\n', &mut self.buffer)? == 0 {
            return Ok(None);
        }
        self.number += 1;
        if self.buffer.last() == Some(&b'\n') {
            self.buffer.pop();
        } else if self.buffer.len() > self.longest {
            self.reader.skip_until(b'\n')?;
            return Ok(Some(Read1::TooLong));
        }
        let line = self.buffer.as_slice();
        let line = if self.number == 1 { line.strip_prefix(BOM).unwrap_or(line) } else { line };
        Ok(Some(Read1::Line(line)))
    }
}

#[cfg(test)]
#[cfg(all(feature = "talk-time", feature = "watch-list"))]
mod tests {
    use teammy::{Node, config::Config};

    use super::*;

    fn rules() -> Rules {
        let config =
            "[limits]\npacket_bytes = 64\n[[source]]\nname = \"captions\"\n[[plugin]]\nname = \"talk-time\"";
        let config = Config::from_toml(config).unwrap();
        let packet_bytes = config.limits.packet_bytes;
        let graph = Node::builder(config).plugins(teammy::plugins::bundle()).check().unwrap();
        Rules { graph, packet_bytes }
    }

    fn read(line: &str) -> Publish {
        rules().packet(line.as_bytes()).unwrap().unwrap()
    }

    fn problem(line: impl AsRef<[u8]>) -> String {
        rules().packet(line.as_ref()).unwrap_err().to_string()
    }

    #[test]
    fn a_line_is_a_packet() {
        let packet = read(
            r#"{"source":"chat","timestamp":"2026-01-05T09:00:02.4Z","participant":"A\u00eb","data":{ "text" : "\u0041", "n":1e2}}"#,
        );
        assert_eq!(packet.source, "chat");
        assert_eq!(packet.participant.as_deref(), Some("Aë"));
        assert_eq!(packet.timestamp.unwrap().to_string(), "2026-01-05T09:00:02.4Z");
        assert_eq!(packet.payload, Payload::Json(r#"{ "text" : "\u0041", "n":1e2}"#.into()));
    }

    #[test]
    fn the_participant_may_be_left_out_and_data_may_be_anything() {
        for data in ["null", "[]", "7", "\"x\"", "{}"] {
            let packet = read(&format!(
                r#" {{"timestamp":"2026-01-05T10:00:00+01:00","source":"captions","data":{data}}} "#
            ));
            assert_eq!(packet.participant, None);
            assert_eq!(packet.payload, Payload::Json(data.into()));
            assert_eq!(packet.timestamp.unwrap().to_string(), "2026-01-05T09:00:00Z");
        }
        let line = r#"{"source":"chat","timestamp":"2026-01-05T09:00:00Z","participant":null,"data":1}"#;
        assert_eq!(read(line).participant, None);
        assert!(rules().packet(b" \t\r").unwrap().is_none());
    }

    #[test]
    fn what_is_wrong_is_said() {
        let line = |source: &str, timestamp: &str, rest: &str| {
            format!(r#"{{"source":"{source}","timestamp":"{timestamp}"{rest}}}"#)
        };
        let at = "2026-01-05T09:00:00Z";
        for (line, says) in [
            ("{\"source\":".to_owned(), "EOF while parsing"),
            ("hello".to_owned(), "expected value"),
            ("[\"chat\"]".to_owned(), "not a list"),
            ("7".to_owned(), "not a list or a single value"),
            (line("chat", at, ""), "missing field `data`"),
            (line("chat", at, r#","data":1,"speaker":"x""#), "unknown field `speaker`"),
            (line("chat", at, r#","data":1,"data":2"#), "duplicate field `data`"),
            (line("chat", at, r#","participant":5,"data":1"#), "invalid type: integer `5`"),
            (line("chat", "yesterday", r#","data":1"#), "such as \"2026-01-05T09:00:02.400Z\""),
            (line("chat", "2026-01-05T09:00:00", r#","data":1"#), "takes a time as in RFC 3339"),
            (line("cha", at, r#","data":1"#), "there is no source cha; did you mean chat?"),
            (line("talk-time", at, r#","data":1"#), "not published from outside"),
            (line("meeting", at, r#","data":1"#), "not published from outside"),
            (line("a b", at, r#","data":1"#), "holds another character"),
            (
                line("chat", at, &format!(r#","data":"{}""#, "x".repeat(63))),
                "carries 65 bytes; the limit is 64",
            ),
        ] {
            let problem = problem(&line);
            assert!(problem.contains(says), "{line}: {problem}");
            assert!(!problem.contains("at line"), "{problem}");
        }
        assert!(problem(b"{\"source\":\"\xff\"").contains("not UTF-8"));
        assert_eq!(rules().packet(b"{}\xff").unwrap_err().column(), Some(3));
    }

    #[test]
    fn lines_are_counted_and_bounded() {
        let text = format!("\u{feff}ab\n{}\n\nlast", "x".repeat(5));
        let mut lines = Lines::new(text.as_bytes(), 5);
        let mut found = Vec::new();
        while let Some(line) = lines.next().unwrap() {
            let line = match line {
                Read1::Line(line) => String::from_utf8(line.to_vec()).unwrap(),
                Read1::TooLong => "too long".to_owned(),
            };
            found.push((lines.number(), line));
        }
        let expected = [(1, "ab"), (2, "xxxxx"), (3, ""), (4, "last")];
        assert_eq!(found, expected.map(|(number, line)| (number, line.to_owned())));

        let mut lines = Lines::new(&b"123456\nb"[..], 5);
        assert!(matches!(lines.next(), Ok(Some(Read1::TooLong))));
        assert!(matches!(lines.next(), Ok(Some(Read1::Line(b"b")))));
        assert_eq!(lines.number(), 2);
        assert!(matches!(lines.next(), Ok(None)));
    }
}
