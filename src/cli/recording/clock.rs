//! What the times of a transcript mean, which depends on the whole file.
//!
//! 1. **Negative times.** A program that began to record late writes negative times for what was said before.
//!    All times of such a file are shifted by the same amount, so that the meeting begins with the earliest
//!    cue.
//! 2. **Short fractions.** `6.90` is 6.9 s where digits are decimals, and 6.09 s where they count
//!    milliseconds without leading zeros, just as the minutes and seconds of `0:0:6.90` have none. Teams
//!    writes such cues: `0:0:58.90 --> 0:0:58.360`. A file counts milliseconds if all three of these hold: it
//!    has fields without leading zeros; a fraction of three digits ends in a zero (a program that writes
//!    decimals without final zeros would have dropped it); and there is a shorter fraction (a program that
//!    always writes three digits would have filled it up). Everywhere else digits are decimals.
//! 3. **Backwards.** A cue that ends before it begins has no duration; its words count.

use super::cue::{Moment, Times};

/// How the digits after the point are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fraction {
    Decimals,
    Milliseconds,
}

/// What a transcript's times have in common; the first pass collects it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Clock {
    has_short_fields: bool,
    has_final_zero: bool,
    has_short_fraction: bool,
    /// The earliest beginning of a cue before zero, in milliseconds, if digits are decimals.
    earliest_by_decimals: i64,
    /// The same if digits are milliseconds.
    earliest_by_milliseconds: i64,
}

impl Clock {
    /// Adds a cue's times.
    pub(super) fn add(&mut self, times: Times) {
        for Moment { digits, fraction, has_short_fields, .. } in [times.start, times.end] {
            self.has_short_fields |= has_short_fields;
            self.has_final_zero |= digits == 3 && fraction % 10 == 0;
            self.has_short_fraction |= matches!(digits, 1 | 2);
        }
        let earliest = |so_far: i64, fraction| so_far.min(ms(times.start, fraction));
        self.earliest_by_decimals = earliest(self.earliest_by_decimals, Fraction::Decimals);
        self.earliest_by_milliseconds = earliest(self.earliest_by_milliseconds, Fraction::Milliseconds);
    }

    /// When a cue begins and ends, in milliseconds from the meeting's start.
    pub(super) fn read(&self, times: Times) -> (u64, u64) {
        let are_milliseconds = self.has_short_fields && self.has_final_zero && self.has_short_fraction;
        let (fraction, earliest) = if are_milliseconds {
            (Fraction::Milliseconds, self.earliest_by_milliseconds)
        } else {
            (Fraction::Decimals, self.earliest_by_decimals)
        };
        let from_start = |moment| {
            let moved = ms(moment, fraction).saturating_sub(earliest);
            u64::try_from(moved).unwrap_or(0)
        };
        let start = from_start(times.start);
        (start, from_start(times.end).max(start))
    }
}

/// A time in milliseconds; the smallest or largest `i64` where it does not fit.
fn ms(moment: Moment, fraction: Fraction) -> i64 {
    let Moment { is_negative, seconds, fraction: number, digits, .. } = moment;
    let scale = match (fraction, digits) {
        (Fraction::Decimals, 1) => 100,
        (Fraction::Decimals, 2) => 10,
        _ => 1,
    };
    let ms = i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(1000);
    let ms = ms.saturating_add(i64::from(number) * scale);
    if is_negative { -ms } else { ms }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::recording::cue::times;

    /// When the cues of a file begin and end.
    #[track_caller]
    fn are(lines: &[&str], expected: &[(u64, u64)]) {
        let mut clock = Clock::default();
        let all: Vec<Times> = lines.iter().map(|line| times(line)).collect();
        for times in &all {
            clock.add(*times);
        }
        let found: Vec<_> = all.iter().map(|times| clock.read(*times)).collect();
        assert_eq!(found, expected, "{lines:?}");
    }

    #[test]
    fn digits_are_decimals() {
        are(
            &["00:00:01.5 --> 00:00:02.75", "00:03 --> 00:04.050", "1:00:00,0 --> 1:00:01"],
            &[(1500, 2750), (3000, 4050), (3_600_000, 3_601_000)],
        );
        // One of the three signs is missing.
        are(&["0:0:6.9 --> 0:0:8.5"], &[(6900, 8500)]);
        are(&["0:0:6.900 --> 0:0:8.500"], &[(6900, 8500)]);
        are(&["00:00:06.9 --> 00:00:08.500"], &[(6900, 8500)]);
    }

    #[test]
    fn they_are_milliseconds_where_nothing_has_leading_zeros() {
        are(&["0:0:0.0 --> 0:0:5.320", "0:0:6.90 --> 0:0:6.500"], &[(0, 5320), (6090, 6500)]);
        are(&["0:12:13.80 --> 0:12:13.160", "0:1:2.5 --> 0:1:2.50"], &[(733_080, 733_160), (62_005, 62_050)]);
    }

    #[test]
    fn none_lies_before_the_meeting() {
        are(
            &[
                "00:00:01.000 --> 00:00:02.000",
                "-00:00:04.100 --> -00:00:01.200",
                "-00:00:00.900 --> 00:00:02.000",
            ],
            &[(5100, 6100), (0, 2900), (3200, 6100)],
        );
        are(&["00:00:01.000 --> -00:00:02.000"], &[(1000, 1000)]);
    }

    #[test]
    fn what_ends_before_it_begins_has_no_duration() {
        are(
            &["48:43,290 --> 46:59,520", "46:59,520 --> 47:06,080"],
            &[(2_923_290, 2_923_290), (2_819_520, 2_826_080)],
        );
    }

    #[test]
    fn nothing_is_too_large() {
        let most = u64::try_from(i64::MAX).unwrap();
        are(&["99999999999999999999:00:00.000 --> 99999999999999999999:00:00.000"], &[(most, most)]);
        are(
            &[
                "-99999999999999999999:00:00.000 --> 00:01.000",
                "99999999999999999999:00:00.000 --> 00:01.000",
            ],
            &[(0, most), (most, most)],
        );
    }
}
