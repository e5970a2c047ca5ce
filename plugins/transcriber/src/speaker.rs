//! The sound of one participant as it comes in frames: what time each sample has, and which of it is speech.
//!
//! A **run** is sound without an interruption. Its first frame's timestamp is its beginning, and from there
//! on samples are counted. Frames are dated by clocks that jitter, so a frame that comes a little early or
//! late goes on where the one before ended. Between segments the run follows the timestamps, so errors do not
//! add up over a meeting.

use std::{ops::Range, time::Duration};

use jiff::{SignedDuration, Timestamp};

use crate::{
    segments::{Limits, Segment, Segmenter, WINDOW},
    sound::{Mono, RATE, Resampler},
};

/// A frame that comes so much before or after the end of the one before it still follows it without a gap.
const JITTER: SignedDuration = SignedDuration::from_millis(150);

const NANOS: u64 = 1_000_000_000;

/// Tells speech from other sound, window by window.
pub(crate) trait Detect {
    /// How likely the next window is speech, from 0 to 1.
    fn score(&mut self, window: &[i16]) -> f32;
    /// Forgets the sound so far: other sound follows.
    fn reset(&mut self);
}

impl Detect for Box<earshot::Detector> {
    fn score(&mut self, window: &[i16]) -> f32 {
        self.predict_i16(window)
    }

    fn reset(&mut self) {
        earshot::Detector::reset(self);
    }
}

/// A segment of speech, with its time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Heard {
    /// When it begins.
    pub(crate) start: Timestamp,
    /// Its samples, at [`RATE`].
    pub(crate) samples: Vec<i16>,
    /// Where in it the speech is.
    pub(crate) speech: Range<Duration>,
}

/// How long so many samples are.
fn length(samples: u64, rate: u32) -> Duration {
    let nanos = u128::from(samples) * u128::from(NANOS) / u128::from(rate.max(1));
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// Sound without an interruption.
struct Run {
    start: Timestamp,
    resampler: Resampler,
    /// How many samples at [`RATE`] came before those of the resampler, at another rate.
    before: u64,
    /// Samples at [`RATE`] that are not a whole window yet.
    rest: Vec<i16>,
}

impl Run {
    fn new(start: Timestamp, rate: u32) -> Self {
        Self { start, resampler: Resampler::new(rate), before: 0, rest: Vec::new() }
    }

    /// When a sample at [`RATE`] was.
    fn time(&self, position: u64) -> Timestamp {
        after(self.start, length(position, RATE))
    }

    /// When its last sample ended.
    fn end(&self) -> Timestamp {
        after(self.time(self.before), length(self.resampler.taken(), self.resampler.rate()))
    }

    /// Makes room for sound at another rate.
    fn change_rate(&mut self, rate: u32) {
        let former = std::mem::replace(&mut self.resampler, Resampler::new(rate));
        self.before += former.due();
        former.finish(&mut self.rest);
    }
}

fn after(at: Timestamp, time: Duration) -> Timestamp {
    at.checked_add(time).unwrap_or(Timestamp::MAX)
}

/// One participant's sound. See the [module](self).
pub(crate) struct Speaker<D> {
    detector: D,
    silence: SignedDuration,
    segmenter: Segmenter,
    run: Option<Run>,
    /// Where the sound was cut without knowing whether more comes; none once it has.
    cut_at: Option<Timestamp>,
}

impl<D: Detect> Speaker<D> {
    pub(crate) fn new(detector: D, limits: Limits) -> Self {
        let silence = length((limits.silence * WINDOW) as u64, RATE);
        let silence = SignedDuration::try_from(silence).unwrap_or(SignedDuration::MAX);
        Self { detector, silence, segmenter: Segmenter::new(limits), run: None, cut_at: None }
    }

    /// Whether somebody speaks, or did so a moment ago.
    pub(crate) fn is_open(&self) -> bool {
        self.segmenter.is_open()
    }

    /// The samples of the segment that has not ended.
    pub(crate) fn open_samples(&self) -> usize {
        self.segmenter.open_samples()
    }

    /// Takes how many segments were dropped because there was too little speech in them.
    pub(crate) fn take_too_short(&mut self) -> u64 {
        self.segmenter.take_too_short()
    }

    /// Takes the sound of a frame, and appends the segments that end with it to `ended`.
    pub(crate) fn hear(&mut self, at: Timestamp, sound: &Mono, ended: &mut Vec<Heard>) {
        if sound.samples.is_empty() {
            return;
        }
        if let Some(cut_at) = self.cut_at.take() {
            let gap = at.duration_since(cut_at);
            if gap < -JITTER || gap >= self.silence {
                self.detector.reset();
            } else {
                self.segmenter.go_on();
            }
        }
        if let Some(run) = &mut self.run {
            let gap = at.duration_since(run.end());
            let is_open = self.segmenter.is_open();
            if gap < -JITTER || gap >= self.silence || (gap > JITTER && !is_open) {
                self.pause(ended);
            } else if gap > JITTER {
                self.fill(gap, ended);
            } else if !is_open {
                run.start = run.start.checked_add(gap).unwrap_or(run.start);
            }
        }
        let run = self.run.get_or_insert_with(|| Run::new(at, sound.rate));
        if run.resampler.rate() != sound.rate {
            run.change_rate(sound.rate);
        }
        run.resampler.push(&sound.samples, &mut run.rest);
        self.segment(ended);
    }

    /// The sound is interrupted: ends the segment, if one is open.
    pub(crate) fn pause(&mut self, ended: &mut Vec<Heard>) {
        self.cut_at = None;
        self.finish(ended);
        self.detector.reset();
    }

    /// No more sound comes, as far as is known: ends the segment that is open, if there is enough in it. What
    /// follows without a gap goes on from it. Less than enough stays open, because it may be the beginning of
    /// more.
    pub(crate) fn cut(&mut self, ended: &mut Vec<Heard>) {
        if self.segmenter.has_enough() {
            self.cut_at = self.run.as_ref().map(Run::end);
            self.finish(ended);
        }
    }

    fn finish(&mut self, ended: &mut Vec<Heard>) {
        let Some(run) = &mut self.run else { return };
        run.change_rate(RATE);
        // Silence completes the last window.
        run.rest.resize(run.rest.len().next_multiple_of(WINDOW), 0);
        self.segment(ended);
        if let (Some(run), Some(segment)) = (self.run.take(), self.segmenter.finish()) {
            ended.push(timed(&run, segment));
        }
    }

    /// Puts silence where frames are missing while somebody speaks, so that times stay right.
    fn fill(&mut self, gap: SignedDuration, ended: &mut Vec<Heard>) {
        let Some(run) = &mut self.run else { return };
        let nanos = u64::try_from(gap.as_nanos()).unwrap_or(0);
        let samples = nanos.saturating_mul(u64::from(run.resampler.rate())) / NANOS;
        let silence = vec![0.0; usize::try_from(samples).unwrap_or(0)];
        run.resampler.push(&silence, &mut run.rest);
        self.segment(ended);
    }

    /// Takes the windows that are whole.
    fn segment(&mut self, ended: &mut Vec<Heard>) {
        let Some(run) = &mut self.run else { return };
        let whole = run.rest.len() / WINDOW * WINDOW;
        for window in run.rest[..whole].chunks_exact(WINDOW) {
            let score = self.detector.score(window);
            if let Some(segment) = self.segmenter.push(window, score) {
                ended.push(timed(run, segment));
            }
        }
        run.rest.drain(..whole);
    }
}

fn timed(run: &Run, segment: Segment) -> Heard {
    let at = |samples: usize| length(samples as u64, RATE);
    Heard {
        start: run.time(segment.start),
        speech: at(segment.speech.start)..at(segment.speech.end),
        samples: segment.samples,
    }
}

#[cfg(test)]
mod tests;
