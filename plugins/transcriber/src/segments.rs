//! Cuts one speaker's sound into segments of speech: a pure state machine over windows of samples, each with
//! the score of a voice detector.
//!
//! * A segment begins with the first window of speech, and with a little of what came before, so that no word
//!   is clipped.
//! * It ends when no window was speech for [`Limits::silence`]. A little of that silence is its end, and the
//!   rest of it may be the beginning of the next one: no sample is in two segments.
//! * At [`Limits::longest`] it is cut after its quietest window near the end, and the next segment goes on
//!   from there.
//! * A segment with less speech than [`Limits::speech`] is dropped, unless it is the rest of one that was
//!   cut.
//! * Whoever does not know whether more sound comes may finish early, if there is
//!   [enough](Segmenter::has_enough) for a segment. If more does come, it [goes on](Segmenter::go_on) from
//!   that segment, as the rest of it.

use std::ops::Range;

/// The samples in one window: 16 ms at 16 kHz.
pub(crate) const WINDOW: usize = 256;

/// From this score on a window begins a segment.
const BEGINS: f32 = 0.5;
/// From this score on a window is speech once a segment has begun: the ends of words score less than their
/// beginnings.
const GOES_ON: f32 = 0.35;
/// How far before the longest segment's end it may be cut: 3 s.
const CUT_WITHIN: usize = 187;

/// How sound is cut, in windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// So many windows without speech end a segment.
    pub(crate) silence: usize,
    /// So many windows without speech are kept on both sides of it; at most half of `silence`.
    pub(crate) padding: usize,
    /// The most windows of a segment.
    pub(crate) longest: usize,
    /// The fewest windows of speech in a segment.
    pub(crate) speech: usize,
}

/// A stretch of sound with speech in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Segment {
    /// The position of its first sample, counted from the sound's start.
    pub(crate) start: u64,
    /// Its samples, without a gap.
    pub(crate) samples: Vec<i16>,
    /// From its first window of speech to its last.
    pub(crate) speech: Range<usize>,
}

#[derive(Debug, Clone, Copy)]
struct Window {
    energy: u64,
    is_speech: bool,
}

impl Window {
    fn of(samples: &[i16], is_speech: bool) -> Self {
        let square = |sample: &i16| u64::from(sample.unsigned_abs()).pow(2);
        Self { energy: samples.iter().map(square).sum(), is_speech }
    }
}

/// A segment that has not ended.
#[derive(Debug)]
struct Open {
    start: u64,
    samples: Vec<i16>,
    windows: Vec<Window>,
    /// How many windows without speech came last; also those before the rest of one that was cut.
    silent: usize,
    /// Whether it is the rest of one that was cut.
    is_rest: bool,
}

impl Open {
    fn add(&mut self, samples: &[i16], is_speech: bool) {
        self.samples.extend_from_slice(samples);
        self.windows.push(Window::of(samples, is_speech));
        self.silent = if is_speech { 0 } else { self.silent + 1 };
    }

    fn speech(&self) -> usize {
        self.windows.iter().filter(|window| window.is_speech).count()
    }

    fn is_worth_keeping(&self, limits: Limits) -> bool {
        let speech = self.speech();
        speech > 0 && (self.is_rest || speech >= limits.speech)
    }

    /// The first windows as a segment; none if there is no speech in them.
    fn first(&self, windows: usize) -> Option<Segment> {
        let first = &self.windows[..windows];
        let from = first.iter().position(|window| window.is_speech)?;
        let to = first.iter().rposition(|window| window.is_speech)? + 1;
        let samples = self.samples[..windows * WINDOW].to_vec();
        Some(Segment { start: self.start, samples, speech: from * WINDOW..to * WINDOW })
    }

    /// After how many windows to cut: after the quietest near the end, where its neighbors count too.
    fn cut_after(&self) -> usize {
        let count = self.windows.len();
        let energy = |index: usize| {
            let around = &self.windows[index.saturating_sub(1)..count.min(index + 2)];
            around.iter().map(|window| window.energy).sum::<u64>() / around.len() as u64
        };
        let candidates = count - CUT_WITHIN.min(count / 4).max(1)..count;
        candidates.rev().min_by_key(|index| energy(*index)).map_or(count, |index| index + 1)
    }
}

/// Cuts sound into segments. See the [module](self).
#[derive(Debug)]
pub(crate) struct Segmenter {
    limits: Limits,
    /// How many samples came.
    position: u64,
    /// The last windows before a segment.
    before: Vec<i16>,
    open: Option<Open>,
    /// So many windows may still go on from the segment before.
    goes_on: usize,
    /// How many segments were dropped that had speech in them.
    too_short: u64,
}

impl Segmenter {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { limits, position: 0, before: Vec::new(), open: None, goes_on: 0, too_short: 0 }
    }

    /// Whether what has begun is enough for a segment as it is.
    pub(crate) fn has_enough(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.speech() >= self.limits.speech.max(1))
    }

    /// The sound was not interrupted: what comes goes on from the segment that was finished last.
    pub(crate) fn go_on(&mut self) {
        self.goes_on = self.limits.silence;
    }

    /// Takes how many segments were dropped because there was too little speech in them.
    pub(crate) fn take_too_short(&mut self) -> u64 {
        std::mem::take(&mut self.too_short)
    }

    /// Whether a segment has begun and not ended.
    pub(crate) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// The samples of the segment that has not ended.
    pub(crate) fn open_samples(&self) -> usize {
        self.open.as_ref().map_or(0, |open| open.samples.len())
    }

    /// Takes the next window, of [`WINDOW`] samples, with its score from 0 to 1. Returns the segment that
    /// ends with it.
    pub(crate) fn push(&mut self, window: &[i16], score: f32) -> Option<Segment> {
        debug_assert_eq!(window.len(), WINDOW);
        let at = self.position;
        self.position += window.len() as u64;
        let Some(open) = &mut self.open else {
            let is_rest = self.goes_on > 0;
            if score < if is_rest { GOES_ON } else { BEGINS } {
                self.goes_on = self.goes_on.saturating_sub(1);
                self.before.extend_from_slice(window);
                self.shorten_before();
                return None;
            }
            let before = std::mem::take(&mut self.before);
            let start = at - before.len() as u64;
            let mut open = Open { start, samples: Vec::new(), windows: Vec::new(), silent: 0, is_rest };
            self.goes_on = 0;
            for window in before.chunks(WINDOW) {
                open.add(window, false);
            }
            open.add(window, true);
            self.open = Some(open);
            return None;
        };
        open.add(window, score >= GOES_ON);
        if open.silent >= self.limits.silence {
            self.end()
        } else if open.windows.len() >= self.limits.longest {
            self.cut()
        } else {
            None
        }
    }

    /// The sound is interrupted: ends the segment, if one is open, and counts positions anew.
    pub(crate) fn finish(&mut self) -> Option<Segment> {
        let ended = self.end();
        self.before.clear();
        self.position = 0;
        self.goes_on = 0;
        ended
    }

    fn end(&mut self) -> Option<Segment> {
        let open = self.open.take()?;
        if !open.is_worth_keeping(self.limits) {
            self.too_short += u64::from(open.speech() > 0);
            self.before = open.samples;
            self.shorten_before();
            return None;
        }
        let kept = open.windows.len() - open.silent + open.silent.min(self.limits.padding);
        let segment = open.first(kept);
        self.before = open.samples[kept * WINDOW..].to_vec();
        self.shorten_before();
        segment
    }

    fn cut(&mut self) -> Option<Segment> {
        let open = self.open.take()?;
        let after = open.cut_after();
        let (samples, windows) = (open.samples[after * WINDOW..].to_vec(), open.windows[after..].to_vec());
        self.open = Some(Open {
            start: open.start + (after * WINDOW) as u64,
            silent: open.silent,
            samples,
            windows,
            is_rest: true,
        });
        open.first(after)
    }

    fn shorten_before(&mut self) {
        let too_much = self.before.len().saturating_sub(self.limits.padding * WINDOW);
        self.before.drain(..too_much);
    }
}

#[cfg(test)]
mod tests;
