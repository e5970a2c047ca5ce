//! A packet as a line of JSON, in the form of [`teammy::wire::json`].
//!
//! A meeting's history is a recording of it, so lines may be packets of a log. Outputs and lifecycle packets are
//! left out: a replay makes them anew.

use teammy::{
    Publish,
    config::Size,
    graph::Graph,
    wire::json::{self, Parsed},
};

use super::problem::{Problem, shown_time};

/// The room for everything in a line but the payload, in bytes.
const ENVELOPE: usize = 64 << 10;

/// The rules by which a meeting accepts packets.
#[derive(Debug, Clone)]
pub(crate) struct Rules {
    pub(crate) graph: Graph,
    pub(crate) packet_bytes: Size,
}

impl Rules {
    /// The longest line that can hold a packet within the limit: base64 makes bytes a third longer.
    pub(super) fn longest_line(&self) -> usize {
        let payload = self.packet_bytes.as_usize();
        payload.saturating_add(payload / 3).saturating_add(ENVELOPE)
    }

    /// Checks a packet.
    pub(super) fn check(&self, publish: &Publish) -> Result<(), Problem> {
        self.graph.check_publish(publish, self.packet_bytes.as_usize())?;
        Ok(())
    }

    /// Reads a line that isn't blank; none for a packet that a replay makes anew. The payload's text is not
    /// changed.
    pub(super) fn packet(&self, text: &str) -> Result<Option<Publish>, Problem> {
        let packet = json::parse(text).map_err(|error| match (error, timestamp(text)) {
            (json::Error::Time("timestamp"), Some(time)) => Problem::Timestamp { shown: shown_time(&time) },
            (json::Error::Name(error), _) => Problem::Source(error),
            (error, _) => Problem::Json(error.into()),
        })?;
        if self.is_derived(&packet) {
            return Ok(None);
        }
        let mut publish = packet.publish;
        if publish.timestamp.is_none() {
            return Err(Problem::Json(json::Error::Missing("timestamp").into()));
        }
        // The replay numbers its packets itself.
        // A replay is no part of the trace in which it was said.
        (publish.producer, publish.trace) = (None, None);
        self.check(&publish)?;
        Ok(Some(publish))
    }

    /// Whether a packet of a log is an output or a lifecycle packet.
    fn is_derived(&self, packet: &Parsed) -> bool {
        let source = self.graph.source(packet.publish.source.as_str());
        packet.seq.is_some() && (!packet.causes.is_empty() || source.is_some_and(|it| !it.is_external))
    }
}

/// The timestamp of a line as its text, to show in an error.
fn timestamp(text: &str) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct At {
        timestamp: String,
    }
    serde_json::from_str(text).ok().map(|At { timestamp }| timestamp)
}

#[cfg(test)]
#[cfg(all(feature = "talk-time", feature = "watch-list"))]
mod tests {
    use teammy::{Bytes, Node, Payload, config::Config};

    use super::*;

    fn rules() -> Rules {
        let config =
            "[limits]\npacket_bytes = 64\n[[source]]\nname = \"captions\"\n[[plugin]]\nname = \"talk-time\"";
        let config = Config::from_toml(config).unwrap();
        let packet_bytes = config.limits.packet_bytes;
        let graph = Node::builder(config).plugins(teammy::plugins::bundle()).check().unwrap();
        Rules { graph, packet_bytes }
    }

    fn json(text: &str) -> Payload {
        Payload::json_text(text).unwrap()
    }

    fn read(line: &str) -> Publish {
        rules().packet(line).unwrap().unwrap()
    }

    #[test]
    fn a_line_is_a_packet() {
        let packet = read(
            r#"{"source":"chat","timestamp":"2026-01-05T09:00:02.4Z","participant":"A\u00eb","data":{ "text" : "\u0041", "n":1e2}}"#,
        );
        assert_eq!(packet.source, "chat");
        assert_eq!(packet.participant.as_deref(), Some("Aë"));
        assert_eq!(packet.timestamp.unwrap().to_string(), "2026-01-05T09:00:02.4Z");
        assert_eq!(packet.payload, json(r#"{ "text" : "\u0041", "n":1e2}"#));
    }

    #[test]
    fn the_participant_may_be_left_out_and_data_may_be_anything() {
        for data in ["null", "[]", "7", "\"x\"", "{}"] {
            let packet = read(&format!(
                r#" {{"timestamp":"2026-01-05T10:00:00+01:00","source":"captions","data":{data}}} "#
            ));
            assert_eq!(packet.participant, None);
            assert_eq!(packet.payload, json(data));
            assert_eq!(packet.timestamp.unwrap().to_string(), "2026-01-05T09:00:00Z");
        }
        let line = r#"{"source":"chat","timestamp":"2026-01-05T09:00:00Z","participant":null,"data":1}"#;
        assert_eq!(read(line).participant, None);
    }

    #[test]
    fn a_payload_is_json_text_or_bytes() {
        let at = r#""source":"captions","timestamp":"2026-01-05T09:00:00Z""#;
        for (key, payload) in [
            (r#""payload":"a""#, json("\"a\"")),
            (r#""payload_text":"a""#, Payload::Text("a".into())),
            (r#""payload_base64":"/wA=""#, Payload::Bytes(Bytes::from_static(&[0xff, 0]))),
        ] {
            assert_eq!(read(&format!("{{{at},{key}}}")).payload, payload);
        }
    }

    #[test]
    fn a_meetings_history_is_read_without_what_it_made() {
        let stored = |source: &str, causes: &str| {
            let line = format!(
                r#"{{"type":"packet","meeting":"m","seq":7,"source":"{source}","timestamp":"2026-01-05T09:00:00Z","received_at":"2026-01-05T09:00:01Z","participant":"Ada","payload":"a","producer":{{"id":"p","number":3}},"causes":{causes}}}"#
            );
            rules().packet(&line).unwrap()
        };
        let at = "2026-01-05T09:00:00Z".parse().unwrap();
        let publish = Publish::new("chat", json("\"a\"")).unwrap().participant("Ada");
        assert_eq!(stored("chat", "[]"), Some(publish.timestamp(at)));
        for (source, causes) in
            [("talk-time", "[3]"), ("long-gone", "[3]"), ("meeting", "[]"), ("plugin-status", "[]")]
        {
            assert_eq!(stored(source, causes), None, "{source}");
        }
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
            (line("chat", at, ""), "missing payload: give `payload` (any JSON), `payload_text`"),
            (
                line("chat", at, r#","data":1,"speaker":"x""#),
                "unknown field, expected one of `source`, `timestamp`, `participant`, `payload`",
            ),
            (line("chat", at, r#","data":1,"data":2"#), "duplicate field `data`"),
            (line("chat", at, r#","data":1,"payload":2"#), "`payload` and `data` are both there"),
            (r#"{"source":"chat","payload":1}"#.to_owned(), "missing field `timestamp`"),
            (r#"{"type":"summary","meeting":"m","packets":2}"#.to_owned(), "`type` is not \"packet\""),
            (
                line("chat", at, r#","participant":5,"data":1"#),
                "participant: invalid type: integer, expected a string",
            ),
            (line("chat", "yesterday", r#","data":1"#), "such as \"2026-01-05T09:00:02.400Z\""),
            (line("chat", "2026-01-05T09:00:00", r#","data":1"#), "must be a time as in RFC 3339"),
            (line("cha", at, r#","data":1"#), "there is no source cha; did you mean chat?"),
            (line("talk-time", at, r#","data":1"#), "not published from outside"),
            (line("meeting", at, r#","data":1"#), "not published from outside"),
            (line("talk-time", at, r#","payload":1,"causes":[1]"#), "not published from outside"),
            (line("cha", at, r#","payload":1,"seq":4"#), "there is no source cha; did you mean chat?"),
            (line("chat", at, r#","payload":"x","seq":4"#), "an earlier version wrote this `payload`"),
            (line("a b", at, r#","data":1"#), "holds another character"),
            (line("chat", at, r#","payload_malformed":"{x""#), "the payload is not JSON"),
            (
                line("chat", at, &format!(r#","data":"{}""#, "x".repeat(63))),
                "carries 65 bytes; the limit is 64",
            ),
            (
                line("chat", at, &format!(r#","payload_base64":"{}""#, "AAAA".repeat(22))),
                "carries 66 bytes; the limit is 64",
            ),
        ] {
            let problem = rules().packet(&line).unwrap_err().to_string();
            assert!(problem.contains(says), "{line}: {problem}");
            assert!(!problem.contains("at line"), "{problem}");
        }
    }
}
