//! What becomes packets: a packet as it stands, or what one voice says in a cue.

use std::time::Duration;

use teammy::{Publish, Timestamp, data::Transcription};

use super::{
    clock::Clock,
    cue::{Span, Times, Voice},
    pasted::PastedDetector,
    problem::Problem,
    speakers::{self, LastSpeaker, SpeakerDetector, SpeakerNames, Turn},
};

/// One piece of a recording, which becomes packets.
#[derive(Debug)]
pub(super) struct Entry {
    /// The line that messages name.
    pub(super) line: u64,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Packet(Box<Publish>),
    Speech(Speech),
}

/// What one voice says in a cue.
#[derive(Debug)]
struct Speech {
    times: Times,
    identifier: Option<String>,
    span: Span,
}

/// Collects in the first pass what only the whole recording shows.
#[derive(Debug, Default)]
pub(super) struct FirstPass {
    speakers: SpeakerDetector,
    clock: Clock,
    pasted: PastedDetector,
}

impl FirstPass {
    /// How the second pass reads the cues.
    pub(super) fn finish(self) -> Interpretation {
        Interpretation { names: self.speakers.finish(), clock: self.clock }
    }

    /// Takes over what the layout of all cues shows.
    pub(super) fn set_layout(&mut self, pasted: PastedDetector) {
        self.pasted = pasted;
    }

    /// Whether the recording looks like a transcript that was pasted as text.
    pub(super) fn is_pasted(&self) -> bool {
        self.pasted.is_pasted()
    }

    #[cfg(test)]
    pub(super) fn footprint(&self) -> usize {
        self.speakers.footprint()
    }
}

/// What a transcript's names and times mean; the second pass makes packets with it.
#[derive(Debug)]
pub(super) struct Interpretation {
    names: SpeakerNames,
    clock: Clock,
}

impl Entry {
    pub(super) fn packet(line: u64, publish: Publish) -> Self {
        Self { line, content: Content::Packet(Box::new(publish)) }
    }

    pub(super) fn speech(line: u64, times: Times, identifier: Option<String>, span: Span) -> Self {
        Self { line, content: Content::Speech(Speech { times, identifier, span }) }
    }

    /// Adds what this entry shows to the first pass.
    pub(super) fn add_to(&self, first_pass: &mut FirstPass) {
        match &self.content {
            Content::Packet(_) => first_pass.speakers.add_attributed_cue(),
            Content::Speech(Speech { times, identifier, span }) => {
                first_pass.clock.add(*times);
                match span.voice {
                    Voice::Unknown => first_pass.speakers.add_cue(identifier.as_deref(), &span.lines),
                    Voice::Named(_) | Voice::Nobody => first_pass.speakers.add_attributed_cue(),
                }
            }
        }
    }

    /// Whether the entry becomes a packet, whoever speaks. It may not if it may be a name alone.
    pub(super) fn is_certain(&self) -> bool {
        match &self.content {
            Content::Speech(Speech { span: Span { voice: Voice::Unknown, lines }, .. }) => {
                !speakers::may_be_names_alone(lines)
            }
            _ => true,
        }
    }

    /// How many packets the entry becomes at most.
    pub(super) fn most_packets(&self) -> u64 {
        match &self.content {
            Content::Speech(Speech { span: Span { voice: Voice::Unknown, lines }, .. }) => {
                speakers::most_turns(lines)
            }
            _ => 1,
        }
    }

    /// When it happened; `None` for a cue, whose time counts from the meeting's start.
    pub(super) fn timestamp(&self) -> Option<Timestamp> {
        match &self.content {
            Content::Packet(publish) => publish.timestamp,
            Content::Speech(_) => None,
        }
    }

    /// The packets of this entry; none if it is a name alone. A cue's times count from `started_at`.
    pub(super) fn into_packets(
        self,
        interpretation: &Interpretation,
        last: &mut LastSpeaker,
        started_at: Timestamp,
    ) -> Result<Vec<Publish>, Problem> {
        let Speech { times, identifier, span: Span { voice, lines } } = match self.content {
            Content::Packet(publish) => return Ok(vec![*publish]),
            Content::Speech(speech) => speech,
        };
        let turns = match voice {
            Voice::Unknown => interpretation.names.turns(last, identifier.as_deref(), &lines),
            Voice::Named(name) => {
                last.forget();
                vec![Turn { name: Some(name.into()), text: lines.join(" ") }]
            }
            Voice::Nobody => {
                last.forget();
                vec![Turn { name: None, text: lines.join(" ") }]
            }
        };
        let (start_ms, end_ms) = interpretation.clock.read(times);
        let at = started_at.checked_add(Duration::from_millis(end_ms));
        let at = at.map_err(|_| Problem::BeyondDates { from: started_at })?;
        let publish = |Turn { name, text }| {
            let publish = transcription(&text, start_ms, end_ms).timestamp(at);
            match name {
                Some(name) => publish.participant(name),
                None => publish,
            }
        };
        Ok(turns.into_iter().map(publish).collect())
    }
}

/// A packet of source `transcription`.
pub(super) fn transcription(text: &str, start_ms: u64, end_ms: u64) -> Publish {
    Publish::json("transcription", &Transcription::new(text, start_ms, end_ms))
        .expect("invariant: a transcription has a JSON form")
}
