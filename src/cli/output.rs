//! What a command prints: results on stdout, progress and tables on stderr.

use std::{
    fmt::Write as _,
    io::{self, IsTerminal, Write},
};

use comfy_table::{Table, presets};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use serde::Serialize;
use teammy::{DataPacket, Lifecycle, Payload, wire::json};

use super::error::{Error, printable};

/// The form of stdout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// For programs: one JSON object a line.
    Json,
    /// For people.
    Text,
}

/// Where a command prints.
#[derive(Debug)]
pub(crate) struct Output {
    form: Form,
    bars: MultiProgress,
    /// Whether stdout and the progress bar share a terminal, so that a line must not run through the bar.
    beside_bars: bool,
}

impl Output {
    pub(crate) fn new(form: Form, bars: MultiProgress) -> Self {
        let beside_bars = io::stdout().is_terminal() && io::stderr().is_terminal();
        Self { form, bars, beside_bars }
    }

    pub(crate) fn form(&self) -> Form {
        self.form
    }

    /// A progress bar on stderr; it shows only if stderr is a terminal.
    pub(crate) fn progress(&self, packets: u64) -> ProgressBar {
        let style = ProgressStyle::with_template("{msg} {wide_bar} {human_pos}/{human_len} packets {eta}");
        let style = style.expect("invariant: the template is well-formed");
        self.bars.add(ProgressBar::new(packets).with_style(style))
    }

    /// Writes a line to stdout at once.
    fn line(&self, mut line: String) -> Result<(), Error> {
        line.push('\n');
        let write = || {
            let mut stdout = io::stdout().lock();
            stdout.write_all(line.as_bytes())?;
            stdout.flush()
        };
        if self.beside_bars { self.bars.suspend(write) } else { write() }.map_err(Error::Output)
    }

    /// Writes an object to stdout as a line of JSON.
    pub(crate) fn object(&self, object: &impl Serialize) -> Result<(), Error> {
        self.line(serde_json::to_string(object).expect("invariant: what the program prints has a JSON form"))
    }

    /// Writes a text to stdout, for people.
    pub(crate) fn text(&self, text: &str) -> Result<(), Error> {
        self.line(printable(text))
    }

    /// Writes a packet to stdout.
    pub(crate) fn packet(&self, packet: &DataPacket) -> Result<(), Error> {
        match self.form {
            Form::Json => self.object(&json::Packet(packet)),
            Form::Text => self.line(readable(packet)),
        }
    }

    /// Writes a note to stderr, for people.
    pub(crate) fn note(&self, note: &str) {
        let line = printable(note) + "\n";
        // If stderr is closed, nobody reads notes.
        let _ = self.bars.suspend(|| io::stderr().write_all(line.as_bytes()));
    }
}

/// Whether commands print a packet: all but lifecycle packets.
pub(crate) fn is_shown(packet: &DataPacket) -> bool {
    packet.source != Lifecycle::SOURCE
}

/// A table with a header and without rules.
pub(crate) fn table<'a>(header: impl IntoIterator<Item = &'a str>) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header.into_iter().collect::<Vec<_>>());
    table
}

/// A packet for people: its time in UTC, its source, the participant, and the payload.
fn readable(packet: &DataPacket) -> String {
    let mut line = format!("[{}] {}  ", packet.timestamp.strftime("%H:%M:%S"), packet.source);
    if let Some(participant) = &packet.participant {
        line.push_str(participant);
        line.push_str(": ");
    }
    match &packet.payload {
        Payload::Text(text) => line.push_str(text),
        Payload::Json(text) => line.push_str(&text.replace(['\n', '\r'], " ")),
        Payload::Malformed(malformed) => line.push_str(malformed.text()),
        Payload::Bytes(bytes) => {
            let _ = write!(line, "<{} bytes>", bytes.len());
        }
    }
    printable(&line).replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use teammy::{MeetingId, Publish, Seq, Timestamp};

    use super::*;

    fn packet(payload: Payload) -> DataPacket {
        let at: Timestamp = "2026-01-05T09:00:02.400Z".parse().unwrap();
        let publish = Publish::new("chat", payload).unwrap().timestamp(at).participant("A\"da");
        publish.into_packet(MeetingId::new("m").unwrap(), Seq(7), at)
    }

    #[test]
    fn people_read_one_line_a_packet() {
        let line = readable(&packet(Payload::json_text("{\n}").unwrap()));
        assert_eq!(line, "[09:00:02] chat  A\"da: { }");
        assert_eq!(readable(&packet(Payload::Text("a\n\u{7}".into()))), "[09:00:02] chat  A\"da: a\\n\\u{7}");
        assert_eq!(readable(&packet(Payload::Bytes(vec![1].into()))), "[09:00:02] chat  A\"da: <1 bytes>");
    }
}
