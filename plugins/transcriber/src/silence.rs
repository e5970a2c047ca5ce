//! How long a participant has sent nothing.
//!
//! Frames are dated where they are recorded, and the meeting's clock is the latest timestamp of any packet,
//! and the time since that came. So the meeting's clock may be ahead of a participant's: frames take a second
//! to come while chat is dated when it comes, another's clock is fast, or one packet was misdated by a day. A
//! hook does not see the meeting's clock, only that it has **reached** a time: that of each frame, and that
//! of each wake. Nothing else is used, least of all when a packet was received, so a recording whose packets
//! are in the order of their times gives the same at any speed. One whose clocks disagree loses nothing at any
//! speed; where it is cut may differ.
//!
//! **Since the last frame.** Silence is counted from the time that the meeting's clock is known to have
//! reached when a participant's last frame came. That is the frame's own timestamp, and how far the meeting's
//! clock was found to be ahead of this participant's: the **lead**, the most that it had reached when one of
//! the participant's frames came. Two clocks that differ run equally fast, so the lead holds from frame to
//! frame. A frame that does not follow the one before begins a new one, because it may be misdated.
//!
//! **A wake that was early.** A packet that the plugin does not get may carry the meeting's clock ahead, and
//! the wake comes at once. The hook cannot tell that from a silence, but the participant's next frame can: if
//! it follows its last one, nobody was silent. So a wake ends nothing for good. It cuts what was said, if
//! that is enough for a segment, and what follows without a gap goes on from it, as after a segment that grew
//! too long. From the wake's time the plugin also knows a larger lead. Wakes that are early again and again
//! are asked for with a **margin** that doubles, and is halved as soon as one was not: a clock that is a day
//! ahead is found within some seventy hooks. If it is ahead by seconds, somebody has only begun to speak by
//! then, and nothing is cut. Whoever stops to send before it is found is heard when others have sent for a
//! while, at their own next frame, or at the end.
//!
//! **While others send**, their frames say how much time has passed, whatever their clocks show: no single
//! frame counts for more than [`LATE`].

use jiff::{SignedDuration, Timestamp};

use crate::{
    segments::{Limits, WINDOW},
    sound::RATE,
};

/// How much later than the silence a segment ends whose participant sends nothing any more: frames may be on
/// their way.
pub(crate) const LATE: SignedDuration = SignedDuration::from_millis(200);

/// A frame that is dated so much before the one that came before it may still follow it.
const BACK: SignedDuration = SignedDuration::from_millis(-150);

/// How long a participant is followed who sends nothing while others do.
const FOLLOWED_FOR: SignedDuration = SignedDuration::from_secs(10);

/// How long somebody must be silent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wait {
    /// In frames: a gap so long ends a segment.
    silence: SignedDuration,
    /// Without frames.
    late: SignedDuration,
}

impl Wait {
    pub(crate) fn of(limits: Limits) -> Self {
        let windows = u64::try_from(limits.silence).unwrap_or(u64::MAX);
        let millis = windows.saturating_mul(WINDOW as u64 * 1_000 / u64::from(RATE));
        let silence = SignedDuration::from_millis(i64::try_from(millis).unwrap_or(i64::MAX));
        Self { silence, late: silence.saturating_add(LATE) }
    }
}

/// What is known of the meeting's time. See the [module](self).
#[derive(Debug, Default)]
pub(crate) struct Clock {
    /// The meeting's clock has reached it.
    reached: Option<Timestamp>,
    /// The latest time of a frame, with its participant's lead.
    latest: Option<Timestamp>,
    /// How much time has passed by the frames.
    passed: SignedDuration,
}

/// When a participant sent the last frame, by several clocks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LastFrame {
    /// By the participant's own.
    at: Timestamp,
    /// How far the meeting's clock is known to be ahead of the participant's.
    lead: SignedDuration,
    /// By the others' frames.
    passed: SignedDuration,
    /// How much later than necessary a wake is asked for.
    margin: SignedDuration,
    /// A wake has come since.
    is_woken: bool,
    /// What the frames since the last wake was asked for say of it.
    found: Option<Found>,
    /// What they said before.
    before: Option<Found>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    /// It came while the participant went on to send.
    Early,
    /// It has not come.
    NotEarly,
}

impl Clock {
    /// A wake has come.
    pub(crate) fn reach(&mut self, at: Timestamp) {
        self.reached = self.reached.max(Some(at));
    }

    /// A frame has come from a participant whose last one was this.
    pub(crate) fn hear(&mut self, wait: Wait, at: Timestamp, last: Option<LastFrame>) -> LastFrame {
        self.reach(at);
        let lead = self.reached.unwrap_or(at).duration_since(at);
        let step = last.map(|last| at.duration_since(last.at));
        let follows = step.is_some_and(|step| step > BACK && step < wait.silence);
        let mut frame = match last.filter(|_| follows) {
            Some(last) => LastFrame { at, lead: last.lead.max(lead), ..last },
            None => LastFrame {
                at,
                lead,
                passed: self.passed,
                margin: SignedDuration::ZERO,
                is_woken: false,
                found: None,
                before: None,
            },
        };
        if follows {
            let is_early = frame.is_woken || frame.found == Some(Found::Early);
            frame.found = Some(if is_early { Found::Early } else { Found::NotEarly });
        }
        frame.is_woken = false;
        let heard_at = frame.heard_at();
        if let Some(latest) = self.latest {
            let step = heard_at.duration_since(latest).clamp(SignedDuration::ZERO, LATE);
            self.passed = self.passed.saturating_add(step);
        }
        self.latest = self.latest.max(Some(heard_at));
        frame.passed = self.passed;
        frame
    }

    /// Whether others have sent for so long, since a participant's last frame, that it was silent.
    pub(crate) fn is_silent_among_others(&self, wait: Wait, last: &LastFrame) -> bool {
        self.passed.saturating_sub(last.passed) >= wait.late
    }

    /// Whether a participant has been silent for so long, while others sent, that it need not be followed.
    pub(crate) fn is_gone(&self, last: &LastFrame) -> bool {
        self.passed.saturating_sub(last.passed) >= FOLLOWED_FOR
    }
}

impl LastFrame {
    /// The time that the meeting's clock is known to have reached when the frame came.
    fn heard_at(&self) -> Timestamp {
        self.at.checked_add(self.lead).unwrap_or(Timestamp::MAX)
    }

    /// For the order of participants by how long they have been silent.
    pub(crate) fn order(&self) -> (SignedDuration, Timestamp) {
        (self.passed, self.heard_at())
    }

    /// When the participant will have been silent for long enough, if nothing more comes; none if a wake has
    /// come since the last frame.
    pub(crate) fn due(&self, wait: Wait) -> Option<Timestamp> {
        let late = wait.late.saturating_add(self.margin);
        (!self.is_woken).then(|| self.heard_at().checked_add(late).unwrap_or(Timestamp::MAX))
    }

    /// A wake has come, after which the participant is silent as far as is known.
    pub(crate) fn wake(&mut self) {
        self.is_woken = true;
    }

    /// Sets the margin by what the last frames have shown.
    pub(crate) fn set_margin(&mut self, wait: Wait) {
        let Some(found) = self.found.take() else { return };
        self.margin = match (found, self.before) {
            (Found::Early, Some(Found::Early)) => self.margin.saturating_mul(2).max(wait.late),
            (Found::Early, _) => self.margin,
            (Found::NotEarly, _) if self.margin < wait.late => SignedDuration::ZERO,
            (Found::NotEarly, _) => self.margin / 2,
        };
        self.before = Some(found);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: Limits = Limits { silence: 38, padding: 13, longest: 1_250, speech: 16 };
    const FRAME: i64 = 20;

    fn at(ms: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_millis(ms)
    }

    fn ms(of: SignedDuration) -> i64 {
        i64::try_from(of.as_millis()).unwrap()
    }

    /// A participant who sends frames all the time, while the meeting's clock is ahead by so many
    /// milliseconds. Returns after each frame the lead, the margin and how many wakes came.
    fn send(ahead: i64, frames: i64) -> Vec<(i64, i64, usize)> {
        let (wait, mut clock, mut wakes) = (Wait::of(LIMITS), Clock::default(), 0);
        let mut last: Option<LastFrame> = None;
        let mut wake: Option<Timestamp> = None;
        let frames = (0..frames).map(|frame| {
            while let Some(due) = wake.filter(|due| *due <= at(frame * FRAME + ahead)) {
                wakes += 1;
                clock.reach(due);
                let last = last.as_mut().unwrap();
                if last.due(wait).is_some_and(|of_last| of_last <= due) {
                    last.wake();
                }
                wake = last.due(wait);
            }
            let mut heard = clock.hear(wait, at(frame * FRAME), last);
            heard.set_margin(wait);
            let due = heard.due(wait).unwrap();
            wake = Some(wake.map_or(due, |wake| wake.min(due)));
            last = Some(heard);
            (ms(heard.lead), ms(heard.margin), wakes)
        });
        frames.collect()
    }

    #[test]
    fn clocks_that_agree_give_one_wake_for_each_silence() {
        let sent = send(0, 500);
        assert!(sent.iter().all(|(lead, margin, _)| (*lead, *margin) == (0, 0)));
        assert_eq!(sent[499].2, 12, "10 s, each 0.8 s");
    }

    #[test]
    fn others_frames_count_for_little_each() {
        let (wait, mut clock) = (Wait::of(LIMITS), Clock::default());
        let ada = clock.hear(wait, at(0), None);
        let mut bo = clock.hear(wait, at(86_400_000), None);
        assert!(!clock.is_silent_among_others(wait, &ada), "one misdated frame");
        for frame in 0..31 {
            bo = clock.hear(wait, at(20 + frame * FRAME), Some(bo));
        }
        assert!(!clock.is_silent_among_others(wait, &ada));
        bo = clock.hear(wait, at(640), Some(bo));
        assert!(clock.is_silent_among_others(wait, &ada) && !clock.is_gone(&ada));
        for frame in 0..500 {
            bo = clock.hear(wait, at(660 + frame * FRAME), Some(bo));
        }
        assert!(clock.is_gone(&ada) && !clock.is_gone(&bo));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(500))]

        /// Up to a day, the lead is found within the hooks that the module names, and wakes are as rare as
        /// ever from then on. The lead is never more than the truth.
        #[test]
        fn a_clock_that_is_ahead_is_found_out(ahead in (0_u32..28).prop_flat_map(|bits| 0..=1_i64 << bits)) {
            let ahead = ahead.min(86_400_000);
            let sent = send(ahead, 500);
            prop_assert!(sent.iter().all(|(lead, ..)| *lead <= ahead), "{ahead}: {sent:?}");
            let found = |(lead, margin, _): &(i64, i64, usize)| ahead - lead <= 808 && *margin == 0;
            let hooks = sent.iter().rposition(|sent| !found(sent)).map_or(0, |last| last + 1);
            prop_assert!(hooks <= 70, "{ahead}: {hooks} hooks, {sent:?}");
            prop_assert!(sent[499].2 - sent[99].2 <= 12, "{ahead}: {sent:?}");
        }
    }
}
