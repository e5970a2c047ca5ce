//! When a cue begins and ends: `00:01:02.400 --> 00:01:05.900`.

use super::Markup;
use crate::cli::recording::problem::{Problem, shown};

const ARROW: &str = "-->";

/// Moments in milliseconds from the meeting's start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli::recording) struct Times {
    pub(in crate::cli::recording) start_ms: u64,
    pub(in crate::cli::recording) end_ms: u64,
}

/// Whether a line is meant to be a cue's times. Something said may hold an arrow too, but doesn't begin as a time does.
pub(in crate::cli::recording) fn are_in(line: &str) -> bool {
    (begins_as_time(line) || line.trim_start().starts_with('-')) && line.contains(ARROW)
}

/// Whether a line looks as if somebody had meant it to be a cue's times.
pub(in crate::cli::recording) fn may_be_meant(line: &str) -> bool {
    begins_as_time(line) && (line.contains("->") || line.contains(':'))
}

fn begins_as_time(line: &str) -> bool {
    line.trim_start().starts_with(|c: char| c.is_ascii_digit())
}

impl Times {
    /// Reads a line; what follows the times is how a player would place the cue. A comma before the milliseconds is SubRip's.
    pub(super) fn read(line: &str) -> Result<(Self, Markup), Problem> {
        let (start, rest) = line.split_once(ARROW).ok_or(Problem::NoTimes)?;
        let (start, end) = (start.trim(), rest.split_whitespace().next().unwrap_or_default());
        let times = Self { start_ms: moment(start)?, end_ms: moment(end)? };
        if times.end_ms < times.start_ms {
            return Err(Problem::EndsFirst);
        }
        let markup = if start.contains(',') { Markup::SubRip } else { Markup::WebVtt };
        Ok((times, markup))
    }
}

/// Reads a moment. One that is too late to count stands at the end of all times, beyond any date.
fn moment(text: &str) -> Result<u64, Problem> {
    parts(text).ok_or_else(|| Problem::Time { shown: shown(text) })
}

/// Whether a text is a moment, as a tag within a cue may be.
pub(super) fn is_moment(text: &str) -> bool {
    parts(text).is_some()
}

fn parts(text: &str) -> Option<u64> {
    let (whole, fraction) = text.split_once(['.', ','])?;
    let (whole, seconds) = whole.rsplit_once(':')?;
    let (hours, minutes) =
        whole.rsplit_once(':').map_or((None, whole), |(hours, minutes)| (Some(hours), minutes));
    let [minutes, seconds] = [minutes, seconds].map(|part| digits(part, 2).filter(|it| *it < 60));
    let hours = match hours {
        Some(hours) if !hours.is_empty() => digits(hours, hours.len())?,
        Some(_) => return None,
        None => 0,
    };
    let minutes = hours.saturating_mul(60).saturating_add(minutes?);
    let seconds = minutes.saturating_mul(60).saturating_add(seconds?);
    Some(seconds.saturating_mul(1000).saturating_add(digits(fraction, 3)?))
}

/// Reads so many digits.
fn digits(text: &str, count: usize) -> Option<u64> {
    let fits = text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
    fits.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read() {
        for (line, start_ms, end_ms, markup) in [
            ("00:00:01.000 --> 00:00:02.500", 1000, 2500, Markup::WebVtt),
            ("00:01.000 --> 00:02.500 align:start position:10%", 1000, 2500, Markup::WebVtt),
            ("  1:02:03,004-->9999:00:00,000  X1:1 X2:2", 3_723_004, 35_996_400_000, Markup::SubRip),
            ("00:00:00.000\t-->\t00:00:00.000", 0, 0, Markup::WebVtt),
        ] {
            assert!(are_in(line), "{line}");
            assert_eq!(Times::read(line).unwrap(), (Times { start_ms, end_ms }, markup), "{line}");
        }
        let (late, _) = Times::read("99999999999999999999:00:00.000 --> 5124095576030431:00:00.000").unwrap();
        assert_eq!(late, Times { start_ms: u64::MAX, end_ms: u64::MAX });
    }

    #[test]
    fn what_is_no_time_is_shown() {
        for (line, bad) in [
            ("00:00:99.000 --> 00:00:02.000", "00:00:99.000"),
            ("00:61:00.000 --> 00:00:02.000", "00:61:00.000"),
            ("00:00:01.000 -->", ""),
            ("--> 00:00:02.000", ""),
            ("00:00:01.000 --> soon", "soon"),
            ("00:00:01.00 --> 00:00:02.000", "00:00:01.00"),
            ("00:00:01 --> 00:00:02.000", "00:00:01"),
            ("1.000 --> 2.000", "1.000"),
            (":00:01.000 --> 2.000", ":00:01.000"),
            ("-00:00:01.000 --> 00:00:02.000", "-00:00:01.000"),
            ("+0:00:01.000 --> 00:00:02.000", "+0:00:01.000"),
            ("00:00:0١.000 --> 00:00:02.000", "00:00:0١.000"),
            ("00:00:01.000 --> 00:00:02.000--> 00:00:03.000", "00:00:02.000-->"),
        ] {
            match Times::read(line) {
                Err(Problem::Time { shown }) => assert_eq!(shown, bad, "{line}"),
                other => panic!("{line}: {other:?}"),
            }
        }
        assert!(matches!(Times::read("00:02.000 --> 00:01.999"), Err(Problem::EndsFirst)));
    }

    #[test]
    fn speech_is_not_taken_for_times() {
        for line in ["x --> y", "see --> 00:01.000", "", "00:01.000", "1"] {
            assert!(!are_in(line), "{line}");
        }
        assert!(are_in("00:0x --> y") && are_in("--> 00:01.000") && are_in("-1:00 --> y"));
        assert!(
            may_be_meant("00:01 -> 00:02")
                && may_be_meant("00:01")
                && !may_be_meant("12")
                && !may_be_meant("a: b")
        );
    }
}
