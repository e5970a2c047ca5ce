//! Compares what a replay's instances put out with a golden file.
//!
//! A golden file holds outputs as JSON lines, in the form of [`json`]. What a replay makes anew each time is not
//! compared: seqs, times of receipt, and in which order *different* instances put out. So outputs are compared by
//! instance, in their order.
//!
//! * **Causes** are seqs in a log. In a golden file they are positions in the recording, from 1: the packets of
//!   the recording that the output came from, directly or through other instances.
//! * What a log's own lines say (those with a `seq`, as `--json` prints them) cannot be mapped, so of a golden
//!   file with such lines only sources, participants and payloads are compared.
//! * **Payloads** of JSON are compared as values: white space and the order of keys make no difference.

use std::{
    collections::{BTreeSet, HashMap},
    fmt::Write as _,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde_json::Value;
use similar::TextDiff;
use teammy::{DataPacket, Payload, Publish, Seq, wire::json};

use crate::cli::error::Error;

/// How many packets stand around a difference.
const CONTEXT: usize = 3;

/// An output, as far as it is compared.
#[derive(Debug, Clone)]
pub(super) struct Output {
    publish: Publish,
    /// Positions in the recording.
    causes: Vec<u64>,
}

/// What is compared of outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scope {
    Everything,
    /// Not timestamps.
    #[cfg(feature = "cluster")]
    Origins,
    /// Not causes and timestamps.
    Contents,
}

/// What a golden file holds.
#[derive(Debug)]
pub(super) struct Golden {
    path: PathBuf,
    scope: Scope,
    outputs: Vec<Output>,
}

/// Where the packets of a recording are in a meeting's log.
#[derive(Debug, Default)]
pub(super) struct Positions {
    /// The position of each numbered packet, by its number.
    pub(super) numbered: Vec<u64>,
    /// The positions of packets that are not stored.
    pub(super) volatile: HashMap<Seq, u64>,
}

impl Positions {
    fn of(&self, packet: &DataPacket, producer: &str) -> Option<u64> {
        let number = packet.producer.as_ref().filter(|numbered| &*numbered.id == producer)?.number;
        self.numbered.get(usize::try_from(number.checked_sub(1)?).ok()?).copied()
    }
}

/// The outputs among a meeting's packets, which are in the log's order.
pub(super) fn outputs(
    packets: &[Arc<DataPacket>],
    producer: &str,
    positions: &Positions,
    is_instance: impl Fn(&str) -> bool,
) -> Vec<Output> {
    let mut origins: HashMap<Seq, BTreeSet<u64>> =
        positions.volatile.iter().map(|(seq, position)| (*seq, BTreeSet::from([*position]))).collect();
    let mut outputs = Vec::new();
    for packet in packets {
        if let Some(position) = positions.of(packet, producer) {
            origins.insert(packet.seq, BTreeSet::from([position]));
        } else if is_instance(packet.source.as_str()) {
            let causes = packet.causes.iter().filter_map(|cause| origins.get(cause));
            let causes: BTreeSet<u64> = causes.flatten().copied().collect();
            origins.insert(packet.seq, causes.clone());
            let mut publish = Publish::on(packet.source.clone(), packet.payload.clone());
            publish.timestamp = Some(packet.timestamp);
            publish.participant.clone_from(&packet.participant);
            outputs.push(Output { publish, causes: causes.into_iter().collect() });
        }
    }
    outputs
}

impl Golden {
    /// Reads a golden file.
    pub(super) fn read(path: &Path) -> Result<Self, Error> {
        let text = fs::read_to_string(path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => Error::NoGolden(path.to_owned()),
            _ => Error::ReadGolden { path: path.to_owned(), source },
        })?;
        Self::parse(path, &text)
    }

    fn parse(path: &Path, text: &str) -> Result<Self, Error> {
        let mut golden = Self { path: path.to_owned(), scope: Scope::Everything, outputs: Vec::new() };
        for (index, line) in text.lines().enumerate() {
            // What `--json` printed ends with a summary.
            if line.trim().is_empty() || is_summary(line) {
                continue;
            }
            let packet = json::parse(line).map_err(|source| Error::BrokenGolden {
                path: path.to_owned(),
                line: index + 1,
                source,
            })?;
            if packet.seq.is_some() {
                golden.scope = Scope::Contents;
            }
            let causes = packet.causes.iter().map(|seq| seq.0).collect();
            golden.outputs.push(Output { publish: packet.publish, causes });
        }
        Ok(golden)
    }

    /// Compares no timestamps: those of outputs at the end, of ticks and of wakes are of the meeting's clock,
    /// which only a replay in this process holds.
    #[cfg(feature = "cluster")]
    pub(super) fn without_times(mut self) -> Self {
        if self.scope == Scope::Everything {
            self.scope = Scope::Origins;
        }
        self
    }

    /// How outputs differ from those of the file, as a unified diff with a line for each packet; `None` if they do
    /// not.
    pub(super) fn diff(&self, outputs: &[Output]) -> Option<String> {
        let (expected, found) = (text(&self.outputs, self.scope), text(outputs, self.scope));
        if expected == found {
            return None;
        }
        let diff = TextDiff::from_lines(&expected, &found);
        let name = self.path.display().to_string();
        let mut unified = diff.unified_diff();
        Some(unified.context_radius(CONTEXT).header(&name, "this replay").to_string())
    }
}

/// Writes a golden file: a whole one, or none at all.
pub(super) fn write(path: &Path, outputs: &[Output]) -> Result<(), Error> {
    let failed = |source| Error::WriteGolden { path: path.to_owned(), source };
    let name = path.file_name().ok_or_else(|| failed(io::ErrorKind::InvalidFilename.into()))?;
    let mut temporary = name.to_owned();
    temporary.push(format!(".{}.tmp", std::process::id()));
    let temporary = path.with_file_name(temporary);
    let written = fs::write(&temporary, text(outputs, Scope::Everything))
        .and_then(|()| fs::rename(&temporary, path))
        .map_err(failed);
    if written.is_err() {
        // The first error matters more.
        let _ = fs::remove_file(&temporary);
    }
    written
}

/// Outputs by instance, a line each.
fn text(outputs: &[Output], scope: Scope) -> String {
    let mut sorted: Vec<&Output> = outputs.iter().collect();
    sorted.sort_by(|a, b| a.publish.source.as_str().cmp(b.publish.source.as_str()));
    let mut text = String::new();
    for output in sorted {
        let _ = writeln!(text, "{}", line(output, scope));
    }
    text
}

fn line(output: &Output, scope: Scope) -> String {
    let Output { publish, causes } = output;
    let mut publish = publish.clone();
    publish.timestamp = publish.timestamp.filter(|_| scope == Scope::Everything);
    (publish.producer, publish.trace) = (None, None);
    if let Payload::Json(text) = &publish.payload
        && let Ok(value) = serde_json::from_str::<Value>(text)
        && let Ok(payload) = Payload::json(&sorted(value))
    {
        publish.payload = payload;
    }
    let mut line = serde_json::to_string(&publish).expect("invariant: a packet has a JSON form");
    if scope != Scope::Contents {
        // The form of a packet to publish has no causes: they go before the closing brace.
        line.pop();
        let causes = serde_json::to_string(causes).expect("invariant: numbers have a JSON form");
        let _ = write!(line, r#","causes":{causes}}}"#);
    }
    line
}

/// A value whose keys are in order, however the map of this build keeps them.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(entries) => {
            let mut entries: Vec<(String, Value)> = entries.into_iter().collect();
            entries.sort_by(|(a, _), (b, _)| a.cmp(b));
            entries.into_iter().map(|(key, value)| (key, sorted(value))).collect()
        }
        Value::Array(items) => items.into_iter().map(sorted).collect(),
        other => other,
    }
}

fn is_summary(line: &str) -> bool {
    #[derive(serde::Deserialize)]
    struct Typed {
        r#type: String,
    }
    serde_json::from_str(line).is_ok_and(|Typed { r#type }| r#type == "summary")
}

#[cfg(test)]
mod tests {
    use teammy::{MeetingId, Producer, Timestamp};

    use super::*;

    const FILE: &str = "golden.jsonl";

    fn packet(source: &str, seq: u64, causes: &[u64], payload: &str) -> Arc<DataPacket> {
        let at = Timestamp::from_second(1_767_603_600 + i64::try_from(seq).unwrap()).unwrap();
        let publish = Publish::json_text(source, payload).unwrap();
        let mut packet = publish.into_packet(MeetingId::new("m").unwrap(), Seq(seq), at);
        packet.causes = causes.iter().copied().map(Seq).collect();
        Arc::new(packet)
    }

    fn published(seq: u64, number: u64) -> Arc<DataPacket> {
        let mut packet = DataPacket::clone(&packet("chat", seq, &[], "1"));
        packet.producer = Some(Producer { id: "r".into(), number });
        Arc::new(packet)
    }

    /// The outputs of instances `a` and `b`, in a recording whose second packet is not stored.
    fn of(packets: &[Arc<DataPacket>]) -> Vec<Output> {
        let positions = Positions { numbered: vec![1, 3], volatile: HashMap::from([(Seq(4), 2)]) };
        outputs(packets, "r", &positions, |source| ["a", "b"].contains(&source))
    }

    fn golden(outputs: &[Output]) -> Golden {
        Golden::parse(Path::new(FILE), &text(outputs, Scope::Everything)).unwrap()
    }

    #[test]
    fn causes_are_positions_in_the_recording() {
        let found = of(&[
            packet("meeting", 1, &[], "0"),
            published(2, 1),
            packet("a", 3, &[2], "1"),
            packet("a", 5, &[4], "2"),
            published(6, 2),
            packet("b", 7, &[3, 6], "3"),
            packet("a", 9, &[8], "4"),
        ]);
        let causes: Vec<&[u64]> = found.iter().map(|output| &*output.causes).collect();
        assert_eq!(causes, [&[1][..], &[2], &[1, 3], &[]]);
        let text = text(&found, Scope::Everything);
        let lines: Vec<&str> = text.lines().collect();
        let second = r#"{"type":"packet","source":"a","timestamp":"2026-01-05T09:00:05Z","participant":null,"payload":2,"causes":[2]}"#;
        let at_the_end = r#"{"type":"packet","source":"a","timestamp":"2026-01-05T09:00:09Z","participant":null,"payload":4,"causes":[]}"#;
        assert_eq!((lines[1], lines[2]), (second, at_the_end), "a's outputs come first, in their order");
    }

    #[test]
    fn what_varies_makes_no_difference() {
        let golden = golden(&of(&[
            published(2, 1),
            packet("a", 3, &[2], r#"{"x":1,"y":[{"p":1,"q":2}]}"#),
            packet("b", 4, &[2], "1"),
            packet("a", 8, &[7], "\"end\""),
        ]));
        let again = of(&[
            published(2, 1),
            packet("b", 3, &[2], "1"),
            packet("a", 4, &[2], "{ \"y\": [{\"q\":2, \"p\":1}],\n \"x\":1}"),
            packet("a", 12, &[11], "\"end\""),
        ]);
        // The packets' times follow their seqs here; in a log they follow their causes.
        let mut again = again;
        again[0].publish.timestamp = golden.outputs[2].publish.timestamp;
        again[1].publish.timestamp = golden.outputs[0].publish.timestamp;
        again[2].publish.timestamp = golden.outputs[1].publish.timestamp;
        assert_eq!(golden.diff(&again), None);
    }

    #[test]
    fn a_difference_is_shown_by_packet() {
        let before = of(&[published(2, 1), packet("a", 3, &[2], "1"), packet("a", 5, &[2], "2")]);
        let golden = golden(&before);
        assert_eq!(golden.diff(&before), None);
        let mut other = before.clone();
        other[1].publish.payload = Payload::json_text("3").unwrap();
        let diff = golden.diff(&other).unwrap();
        let signs: String = diff.lines().filter_map(|line| line.chars().next()).collect();
        assert_eq!(signs, "-+@ -+", "{diff}");
        assert!(diff.starts_with("--- golden.jsonl\n+++ this replay\n@@"), "{diff}");

        for change in [
            |output: &mut Output| output.publish.participant = Some("Ada".into()),
            |output: &mut Output| output.publish.timestamp = Some(Timestamp::UNIX_EPOCH),
            |output: &mut Output| output.causes = vec![3],
            |output: &mut Output| output.publish.payload = Payload::Text("1".into()),
        ] {
            let mut other = before.clone();
            change(&mut other[0]);
            assert!(golden.diff(&other).is_some(), "{other:?}");
        }
        assert!(golden.diff(&before[..1]).is_some(), "one less");
        let mut swapped = before.clone();
        swapped.swap(0, 1);
        assert!(golden.diff(&swapped).is_some(), "the order of one instance's outputs counts");
    }

    #[test]
    fn the_lines_of_a_log_are_compared_without_causes_and_times() {
        let log = [packet("a", 7, &[6], "1"), packet("a", 9, &[8], "2")];
        let mut text: String =
            log.iter().map(|packet| serde_json::to_string(&**packet).unwrap() + "\n").collect();
        text += r#"{"type":"summary","meeting":"m","packets":2}"#;
        let golden = Golden::parse(Path::new(FILE), &text).unwrap();
        let mut found = of(&[published(2, 1), packet("a", 3, &[2], "1"), packet("a", 4, &[2], "2")]);
        assert_eq!(golden.diff(&found), None);
        found.truncate(1);
        assert!(golden.diff(&found).is_some());
    }

    #[cfg(feature = "cluster")]
    #[test]
    fn times_of_another_clock_are_not_compared() {
        let of = |second: u64, cause: u64| of(&[published(2, 1), packet("a", second, &[cause], "1")]);
        let golden = golden(&of(3, 2)).without_times();
        assert_eq!(golden.diff(&of(9, 2)), None);
        assert!(golden.diff(&of(3, 8)).is_some(), "another cause");
    }

    #[test]
    fn a_broken_line_is_named() {
        let error = Golden::parse(Path::new(FILE), "\n{\"source\":\"a\"}\n").unwrap_err();
        assert_eq!(error.to_string(), "golden.jsonl, line 2: this is no output as JSON");
    }
}
