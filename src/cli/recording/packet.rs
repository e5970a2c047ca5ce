//! A packet as a line of JSON.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;
use teammy::{Name, Payload, Publish, Timestamp, config::Size, decode, graph::Graph};

use super::problem::{Problem, shown_time};

/// What a line may take beside its packet's data.
const ENVELOPE: usize = 64 << 10;

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
    pub(super) fn longest_line(&self) -> usize {
        self.packet_bytes.as_usize().saturating_add(ENVELOPE)
    }

    /// Checks a packet.
    pub(super) fn check(&self, publish: &Publish) -> Result<(), Problem> {
        teammy::meeting::check(publish, &self.graph, self.packet_bytes.as_usize())?;
        Ok(())
    }

    /// Reads a line that isn't blank. The data's text stays as it is.
    pub(super) fn packet(&self, text: &str) -> Result<Publish, Problem> {
        // A list would be read as the fields in their order. What is no JSON at all is for the parser to say.
        if !text.trim_start().starts_with('{') && serde_json::from_str::<&RawValue>(text).is_ok() {
            return Err(Problem::NotAnObject);
        }
        let line: Line<'_> = decode::json(text)
            .map_err(|error| Problem::Json { column: error.column(), message: error.to_string() })?;
        let timestamp: Timestamp =
            line.timestamp.parse().map_err(|_| Problem::Timestamp { shown: shown_time(&line.timestamp) })?;
        let source = Name::new(&*line.source)?;
        let publish = Publish::on(source, Payload::Json(line.data.get().into())).timestamp(timestamp);
        let publish = match line.participant {
            Some(participant) => publish.participant(participant),
            None => publish,
        };
        self.check(&publish)?;
        Ok(publish)
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
        rules().packet(line).unwrap()
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
            (
                line("chat", at, r#","data":1,"speaker":"x""#),
                "unknown field, expected one of `source`, `timestamp`, `participant`, `data`",
            ),
            (line("chat", at, r#","data":1,"data":2"#), "duplicate field `data`"),
            (
                line("chat", at, r#","participant":5,"data":1"#),
                "participant: invalid type: integer, expected a string",
            ),
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
            let problem = rules().packet(&line).unwrap_err().to_string();
            assert!(problem.contains(says), "{line}: {problem}");
            assert!(!problem.contains("at line"), "{problem}");
        }
    }
}
