//! All that was heard in a meeting and has no text yet. It is not stored.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use teammy_kernel::{Audio, DataPacket, LlmError, Seq, Transcript, chain, data::AudioFrame};

use crate::{
    segments::Limits,
    silence::{Clock, LastFrame, Wait},
    sound::{Mono, RATE},
    speaker::{Heard, Speaker},
    state::State,
    transcript::{self, Part},
};

/// The most bytes of samples that a meeting's speech takes in memory.
pub const MAX_BYTES: usize = 32 << 20;

/// The most participants whose sound is followed at a time.
pub const MAX_SPEAKERS: usize = 256;

/// A participant's name; `None` for frames that name nobody, which are one speaker.
pub(crate) type Name = Option<Arc<str>>;

struct Followed {
    speaker: Speaker<Box<earshot::Detector>>,
    last: LastFrame,
}

/// A segment that has ended.
struct Ended {
    by: Name,
    heard: Heard,
    answer: Option<Answer>,
}

/// What became of a segment's sound, which is gone then.
struct Answer {
    parts: Vec<Part>,
    language: Option<String>,
}

/// What was said in a segment.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) by: Name,
    pub(crate) start: Timestamp,
    pub(crate) parts: Vec<Part>,
    pub(crate) language: Option<String>,
}

/// The sound of a meeting that has no text yet: the plugin's scratch.
#[derive(Default)]
pub struct Hearing {
    speakers: BTreeMap<Name, Followed>,
    ended: Vec<Ended>,
    clock: Clock,
    /// The last frame that was heard: a hook that is tried again gets its frames again.
    last: Seq,
    /// What was counted since the state was last changed.
    counts: State,
    /// Why the first of the segments that are counted was left out.
    problem: Option<String>,
    /// How much speech was dropped because it was too short for a segment.
    too_short: u64,
    /// When the plugin asked to be woken.
    pub(crate) wake: Option<Timestamp>,
    /// When the meeting began.
    pub(crate) began: Option<Timestamp>,
}

impl std::fmt::Debug for Hearing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hearing")
            .field("speakers", &self.speakers.len())
            .field("bytes", &self.bytes())
            .finish_non_exhaustive()
    }
}

impl Hearing {
    /// Takes a frame, unless it was heard before.
    pub(crate) fn hear(&mut self, limits: Limits, packet: &DataPacket, frame: &AudioFrame) {
        if packet.seq <= self.last {
            return;
        }
        self.last = packet.seq;
        let by = packet.participant.clone();
        let before = self.speakers.get(&by).map(|followed| followed.last);
        let last = self.clock.hear(Wait::of(limits), packet.timestamp, before);
        let Some(sound) = Mono::of(frame) else {
            self.counts.unreadable += 1;
            return;
        };
        if before.is_none() {
            self.make_room_for_a_speaker();
        }
        let followed = self.speakers.entry(by.clone()).or_insert_with(|| Followed {
            speaker: Speaker::new(earshot::Detector::default_boxed(), limits),
            last,
        });
        followed.last = last;
        let mut heard = Vec::new();
        followed.speaker.hear(packet.timestamp, &sound, &mut heard);
        self.too_short += followed.speaker.take_too_short();
        self.end(&by, heard);
    }

    fn end(&mut self, by: &Name, heard: Vec<Heard>) {
        let ended = heard.into_iter().map(|heard| Ended { by: by.clone(), heard, answer: None });
        self.ended.extend(ended);
    }

    /// Interrupts a participant's sound, which ends the segment that is open.
    fn pause(&mut self, by: &Name) {
        let mut heard = Vec::new();
        if let Some(followed) = self.speakers.get_mut(by) {
            followed.speaker.pause(&mut heard);
            self.too_short += followed.speaker.take_too_short();
        }
        self.end(by, heard);
    }

    /// Stops to follow participants.
    fn forget(&mut self, which: impl Fn(&Clock, &Followed) -> bool) {
        let gone = self.speakers.iter().filter(|(_, followed)| which(&self.clock, followed));
        let gone: Vec<_> = gone.map(|(by, _)| by.clone()).collect();
        for by in gone {
            self.pause(&by);
            self.speakers.remove(&by);
        }
    }

    /// Stops to follow who was silent longest, if too many are followed.
    fn make_room_for_a_speaker(&mut self) {
        if self.speakers.len() >= MAX_SPEAKERS {
            let oldest = self.speakers.iter().min_by_key(|(_, followed)| followed.last.order());
            if let Some(by) = oldest.map(|(by, _)| by.clone()) {
                self.pause(&by);
                self.speakers.remove(&by);
            }
        }
    }

    /// Cuts what somebody said who is silent as far as is known. What follows without a gap goes on from it.
    fn cut(&mut self, is_silent: impl Fn(&Clock, &mut LastFrame) -> bool) {
        for (by, followed) in &mut self.speakers {
            if followed.speaker.is_open() && is_silent(&self.clock, &mut followed.last) {
                let mut heard = Vec::new();
                followed.speaker.cut(&mut heard);
                self.ended.extend(heard.into_iter().map(|heard| Ended {
                    by: by.clone(),
                    heard,
                    answer: None,
                }));
            }
        }
    }

    /// A wake has come: cuts what somebody said who has sent nothing for so long.
    pub(crate) fn woken(&mut self, limits: Limits, at: Timestamp) {
        self.clock.reach(at);
        self.cut(|_, last| {
            let is_silent = last.due(Wait::of(limits)).is_some_and(|due| due <= at);
            if is_silent {
                last.wake();
            }
            is_silent
        });
    }

    /// Cuts what somebody said who has sent nothing for so long, while others did.
    pub(crate) fn cut_silent_among_others(&mut self, limits: Limits) {
        self.cut(|clock, last| clock.is_silent_among_others(Wait::of(limits), last));
        self.forget(|clock, followed| clock.is_gone(&followed.last));
    }

    /// Ends everything.
    pub(crate) fn end_all(&mut self) {
        self.forget(|_, _| true);
    }

    /// Ends the longest of the segments that are open.
    pub(crate) fn end_longest(&mut self) {
        let longest = self.speakers.iter().max_by_key(|(_, followed)| followed.speaker.open_samples());
        if let Some(by) = longest.map(|(by, _)| by.clone()) {
            self.pause(&by);
        }
    }

    /// Heeds what the frames since the last wake was asked for say of it.
    pub(crate) fn set_margins(&mut self, limits: Limits) {
        for followed in self.speakers.values_mut() {
            followed.last.set_margin(Wait::of(limits));
        }
    }

    /// When the next of those who speak will have been silent for long enough, if nothing more comes of them.
    pub(crate) fn due(&self, limits: Limits) -> Option<Timestamp> {
        let open = self.speakers.values().filter(|followed| followed.speaker.is_open());
        open.filter_map(|followed| followed.last.due(Wait::of(limits))).min()
    }

    /// The bytes of samples in memory.
    fn bytes(&self) -> usize {
        let open: usize = self.speakers.values().map(|followed| followed.speaker.open_samples()).sum();
        let ended: usize = self.ended.iter().map(|ended| ended.heard.samples.len()).sum();
        (open + ended) * size_of::<i16>()
    }

    /// Whether there is so much that the model must be asked now.
    pub(crate) fn is_full(&self) -> bool {
        self.is_fuller_than(MAX_BYTES)
    }

    pub(crate) fn is_fuller_than(&self, bytes: usize) -> bool {
        self.bytes() > bytes
    }

    /// Whether a segment waits for its text.
    pub(crate) fn is_waiting(&self) -> bool {
        self.ended.iter().any(|ended| ended.answer.is_none())
    }

    /// The oldest segments that wait for their text, as many as are asked for at once, and their sound.
    pub(crate) fn waiting(&self, most: usize) -> Vec<(usize, Audio)> {
        let waiting = self.ended.iter().enumerate().filter(|(_, ended)| ended.answer.is_none());
        let sound =
            |(index, ended): (usize, &Ended)| (index, Audio::samples(RATE, ended.heard.samples.clone()));
        waiting.take(most).map(sound).collect()
    }

    /// A segment has its text.
    pub(crate) fn answer(&mut self, index: usize, transcript: &Transcript) {
        let ended = &mut self.ended[index];
        let parts = transcript::parts(transcript, &ended.heard);
        let language = transcript::language(transcript).map(str::to_owned);
        ended.settle(Answer { parts, language });
    }

    /// A segment will have no text.
    pub(crate) fn leave_out(&mut self, index: usize, error: &LlmError) {
        self.ended[index].settle(Answer { parts: Vec::new(), language: None });
        self.counts.left_out += 1;
        self.problem.get_or_insert_with(|| chain(error));
    }

    /// Takes what was counted, and why the first segment was left out.
    pub(crate) fn take_counts(&mut self) -> (State, Option<String>) {
        (std::mem::take(&mut self.counts), self.problem.take())
    }

    /// Takes how much speech was too short for a segment.
    pub(crate) fn take_too_short(&mut self) -> u64 {
        std::mem::take(&mut self.too_short)
    }

    /// Whether there is something to put out.
    pub(crate) fn has_answers(&self) -> bool {
        self.ended.iter().any(|ended| ended.answer.as_ref().is_some_and(|answer| !answer.parts.is_empty()))
    }

    /// Takes what was said in the segments that have a text, in the order of their times.
    pub(crate) fn take_answers(&mut self) -> Vec<Said> {
        let mut said = Vec::new();
        let mut waiting = Vec::new();
        for Ended { by, heard, answer } in self.ended.drain(..) {
            match answer {
                Some(Answer { parts, language }) => {
                    said.push(Said { by, start: heard.start, parts, language });
                }
                None => waiting.push(Ended { by, heard, answer }),
            }
        }
        self.ended = waiting;
        said.retain(|said| !said.parts.is_empty());
        said.sort_by(|one, other| (one.start, &one.by).cmp(&(other.start, &other.by)));
        said
    }
}

impl Ended {
    fn settle(&mut self, answer: Answer) {
        self.heard.samples = Vec::new();
        self.answer = Some(answer);
    }
}
