//! When a cue begins and ends: `00:01:02.400 --> 00:01:05.900`, and what programs write that follow no
//! specification.
//!
//! WebVTT has two digits for minutes and seconds, and three decimals; SubRip has a comma before the decimals,
//! and always the hours. Programs print fields without leading zeros (`0:0:5.320`, as Microsoft does for
//! Teams), fewer decimals or none, a point or a comma before them, and negative times where the recording
//! began later than the conversation. All of these are read. What a short fraction means depends on the whole
//! file: see [`clock`](super::super::clock).

use super::markup::Markup;
use crate::cli::recording::problem::{Problem, shown};

const ARROW: &str = "-->";

/// The beginning and the end of a cue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli::recording) struct Times {
    pub(in crate::cli::recording) start: Moment,
    pub(in crate::cli::recording) end: Moment,
}

/// A time as it is written, counted from the recording's start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli::recording) struct Moment {
    pub(in crate::cli::recording) is_negative: bool,
    /// Whole seconds; `u64::MAX` where there are more.
    pub(in crate::cli::recording) seconds: u64,
    /// The digits after the point, read as a number.
    pub(in crate::cli::recording) fraction: u16,
    /// How many digits the fraction has: 0 to 3.
    pub(in crate::cli::recording) digits: u8,
    /// Whether there are hours, and the minutes or seconds have one digit.
    pub(in crate::cli::recording) has_short_fields: bool,
}

/// Whether a line holds a cue's times: a time, though perhaps out of range, on both sides of an arrow. Speech
/// may hold an arrow too, or a time before an arrow.
pub(in crate::cli::recording) fn holds_times(line: &str) -> bool {
    sides(line).is_some_and(|(start, end)| is_like_a_moment(start) && is_like_a_moment(end))
}

/// Whether a line looks like an attempt to write a cue's times.
pub(in crate::cli::recording) fn may_be_times(line: &str) -> bool {
    line.trim_start().starts_with(|c: char| c.is_ascii_digit()) && (line.contains("->") || line.contains(':'))
}

/// The texts on both sides of the arrow. Behind the times a line may say where a player places the cue.
fn sides(line: &str) -> Option<(&str, &str)> {
    let (start, rest) = line.split_once(ARROW)?;
    Some((start.trim(), rest.split_whitespace().next().unwrap_or_default()))
}

/// Whether a text has the form of a time: numbers of any size with colons between them.
fn is_like_a_moment(text: &str) -> bool {
    let text = without_sign(text).1;
    text.contains(':')
        && text.starts_with(|c: char| c.is_ascii_digit())
        && text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b':' | b'.' | b','))
}

fn without_sign(text: &str) -> (bool, &str) {
    match text.strip_prefix(['-', '\u{2212}']) {
        Some(rest) => (true, rest),
        None => (false, text),
    }
}

impl Times {
    /// Reads a line, and the markup that it shows: a comma before the milliseconds is SubRip's.
    pub(super) fn read(line: &str) -> Result<(Self, Markup), Problem> {
        let (start, end) = sides(line).ok_or(Problem::NoTimes)?;
        let markup = if start.contains(',') { Markup::SubRip } else { Markup::WebVtt };
        Ok((Self { start: Moment::read(start)?, end: Moment::read(end)? }, markup))
    }
}

impl Moment {
    /// Reads a time. A time that is too large for `u64` becomes the largest, which is beyond any date.
    fn read(text: &str) -> Result<Self, Problem> {
        Self::parse(text).ok_or_else(|| Problem::Time { shown: shown(text) })
    }

    fn parse(text: &str) -> Option<Self> {
        let (is_negative, text) = without_sign(text);
        let (whole, fraction) = text.split_once(['.', ',']).unwrap_or((text, ""));
        let (whole, seconds) = whole.rsplit_once(':')?;
        let (hours, minutes) =
            whole.rsplit_once(':').map_or((None, whole), |(hours, minutes)| (Some(hours), minutes));
        let [minutes_number, seconds_number] = [minutes, seconds].map(|part| digits(part, 1..=2));
        let hours_number = hours.map_or(Some(0), |hours| digits(hours, 1..=hours.len()))?;
        // Without hours, minutes may be more than 59.
        let minutes_number = minutes_number.filter(|it| *it < 60 || hours.is_none())?;
        let minutes_number = hours_number.saturating_mul(60).saturating_add(minutes_number);
        let seconds_number =
            minutes_number.saturating_mul(60).saturating_add(seconds_number.filter(|it| *it < 60)?);
        // Some programs print microseconds or nanoseconds; they are cut to milliseconds.
        let is_finer = matches!(fraction.len(), 6 | 9) && fraction.bytes().all(|byte| byte.is_ascii_digit());
        let fraction = if is_finer { &fraction[..3] } else { fraction };
        let fraction_number = if fraction.is_empty() { 0 } else { digits(fraction, 1..=3)? };
        Some(Self {
            is_negative,
            seconds: seconds_number,
            fraction: u16::try_from(fraction_number).ok()?,
            digits: u8::try_from(fraction.len()).ok()?,
            has_short_fields: hours.is_some() && (minutes.len() == 1 || seconds.len() == 1),
        })
    }
}

/// Whether the inside of a tag is a time, as in `<00:01.000>`. `<10:30>` is speech.
pub(super) fn is_moment(text: &str) -> bool {
    Moment::parse(text).is_some_and(|moment| moment.digits > 0 && !moment.is_negative)
}

/// Reads a number of `count` digits.
fn digits(text: &str, count: std::ops::RangeInclusive<usize>) -> Option<u64> {
    let fits = count.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    fits.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A moment's sign, seconds, and digits after the point.
    fn written(moment: Moment) -> (bool, u64, u16, u8) {
        (moment.is_negative, moment.seconds, moment.fraction, moment.digits)
    }

    #[test]
    fn times_are_read() {
        for (line, start, end, markup) in [
            ("00:00:01.000 --> 00:00:02.500", (false, 1, 0, 3), (false, 2, 500, 3), Markup::WebVtt),
            (
                "00:01.000 --> 00:02.500 align:start position:10%",
                (false, 1, 0, 3),
                (false, 2, 500, 3),
                Markup::WebVtt,
            ),
            (
                "  1:02:03,004-->9999:00:00,000  X1:1 X2:2",
                (false, 3723, 4, 3),
                (false, 35_996_400, 0, 3),
                Markup::SubRip,
            ),
            ("00:00:00.000\t-->\t00:00:00.000", (false, 0, 0, 3), (false, 0, 0, 3), Markup::WebVtt),
            ("0:0:0.0 --> 0:0:5.320", (false, 0, 0, 1), (false, 5, 320, 3), Markup::WebVtt),
            ("1:2 --> 1:2:3", (false, 62, 0, 0), (false, 3723, 0, 0), Markup::WebVtt),
            ("00:00:01,5 --> 00:00:01.75", (false, 1, 5, 1), (false, 1, 75, 2), Markup::SubRip),
            ("75:01.000 --> 99:00", (false, 4501, 0, 3), (false, 5940, 0, 0), Markup::WebVtt),
            ("00:01. --> 00:02,", (false, 1, 0, 0), (false, 2, 0, 0), Markup::WebVtt),
            ("0:00:02.120000 --> 0:00:03.999999999", (false, 2, 120, 3), (false, 3, 999, 3), Markup::WebVtt),
            ("-00:00:04.100 --> \u{2212}00:01.2", (true, 4, 100, 3), (true, 1, 2, 1), Markup::WebVtt),
            ("00:00:05.000 --> 00:00:02.000", (false, 5, 0, 3), (false, 2, 0, 3), Markup::WebVtt),
        ] {
            assert!(holds_times(line), "{line}");
            let (times, by_times) = Times::read(line).unwrap();
            assert_eq!((written(times.start), written(times.end), by_times), (start, end, markup), "{line}");
        }
        let (late, _) = Times::read("99999999999999999999:00:00.000 --> 5124095576030432:00:00.000").unwrap();
        assert_eq!((late.start.seconds, late.end.seconds), (u64::MAX, u64::MAX));
    }

    #[test]
    fn fields_of_one_digit_after_hours_are_recognised() {
        let is_short = |text| Moment::parse(text).unwrap().has_short_fields;
        assert!(is_short("0:0:5.320") && is_short("1:02:3.0") && is_short("1:2:03"));
        assert!(!is_short("0:00:05.320") && !is_short("1:5.3") && !is_short("10:12:13.5"));
    }

    #[test]
    fn what_is_no_time_is_shown() {
        for (line, bad) in [
            ("00:00:99.000 --> 00:00:02.000", "00:00:99.000"),
            ("00:61:00.000 --> 00:00:02.000", "00:61:00.000"),
            ("00:00:01.0000 --> 00:00:02.000", "00:00:01.0000"),
            ("00:00:01:12 --> 00:00:02:03", "00:00:01:12"),
            ("00:00:001.000 --> 00:00:02.000", "00:00:001.000"),
            ("00:00:01.000.000 --> 00:00:02.000", "00:00:01.000.000"),
            ("00:00:01.000 --> 00:00:02.000,", "00:00:02.000,"),
            ("00:00:01.000 --> 0::02", "0::02"),
        ] {
            assert!(holds_times(line), "{line}");
            match Times::read(line) {
                Err(Problem::Time { shown }) => assert_eq!(shown, bad, "{line}"),
                other => panic!("{line}: {other:?}"),
            }
        }
    }

    #[test]
    fn a_line_of_times_has_one_on_both_sides() {
        for line in [
            "x --> y",
            "see --> 00:01.000",
            "",
            "00:01.000",
            "1",
            "02:34.567 --> that is when the alert came",
            "--> 00:01.000",
            "00:01.000 -->",
            "- A --> B",
            "-1:00 --> y",
            "1.000 --> 2.000",
            "00:00:0١.000 --> 00:00:02.000",
            "+0:00:01.000 --> 00:00:02.000",
            "Ada: 10:30 --> 11:00",
        ] {
            assert!(!holds_times(line), "{line}");
        }
        assert!(holds_times("10:30 --> 11:00"), "the hours may be left out, and the decimals");
        assert!(
            may_be_times("00:01 -> 00:02")
                && may_be_times("00:01")
                && !may_be_times("12")
                && !may_be_times("a: b")
        );
    }
}
