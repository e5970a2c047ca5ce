//! When a cue begins and ends: `00:01:02.400 --> 00:01:05.900`, and as programs write it that keep to no
//! specification.
//!
//! WebVTT takes two digits for minutes and seconds and three decimals, SubRip a comma before them and the
//! hours. Programs print fields without leading zeros (`0:0:5.320`, as Microsoft does for Teams), fewer
//! decimals or none, either mark before them, and negative times where the recording began later than the
//! conversation. All of these are read. What a short fraction means, only the whole file tells: see
//! [`clock`](super::super::clock).

use super::Markup;
use crate::cli::recording::problem::{Problem, shown};

const ARROW: &str = "-->";

/// The beginning and the end of a cue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli::recording) struct Times {
    pub(in crate::cli::recording) start: Moment,
    pub(in crate::cli::recording) end: Moment,
}

/// A moment as it is written, counted from the recording's start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli::recording) struct Moment {
    pub(in crate::cli::recording) is_negative: bool,
    /// Whole seconds; the most that can be counted where there are more.
    pub(in crate::cli::recording) seconds: u64,
    /// The digits behind the point, as a number.
    pub(in crate::cli::recording) fraction: u16,
    /// How many digits these are: 0 to 3.
    pub(in crate::cli::recording) digits: u8,
    /// Whether it has hours, and minutes or seconds of one digit.
    pub(in crate::cli::recording) has_short_fields: bool,
}

/// Whether a line is meant to be a cue's times: there is a time on both sides of an arrow, though it may be
/// out of range. Something said may hold an arrow too, or a time before one.
pub(in crate::cli::recording) fn are_in(line: &str) -> bool {
    sides(line).is_some_and(|(start, end)| is_like_a_moment(start) && is_like_a_moment(end))
}

/// Whether a line looks as if somebody had meant it to be a cue's times.
pub(in crate::cli::recording) fn may_be_meant(line: &str) -> bool {
    line.trim_start().starts_with(|c: char| c.is_ascii_digit()) && (line.contains("->") || line.contains(':'))
}

/// What stands on both sides of the arrow; what follows the times is how a player would place the cue.
fn sides(line: &str) -> Option<(&str, &str)> {
    let (start, rest) = line.split_once(ARROW)?;
    Some((start.trim(), rest.split_whitespace().next().unwrap_or_default()))
}

/// Whether a text has a time's form: numbers with colons between them, whatever they are.
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
    /// Reads a line. A comma before the milliseconds is SubRip's.
    pub(super) fn read(line: &str) -> Result<(Self, Markup), Problem> {
        let (start, end) = sides(line).ok_or(Problem::NoTimes)?;
        let markup = if start.contains(',') { Markup::SubRip } else { Markup::WebVtt };
        Ok((Self { start: Moment::read(start)?, end: Moment::read(end)? }, markup))
    }
}

impl Moment {
    /// Reads one. One that is too late to count stands at the end of all times, beyond any date.
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
        // Without hours, minutes may go on beyond 59.
        let minutes_number = minutes_number.filter(|it| *it < 60 || hours.is_none())?;
        let minutes_number = hours_number.saturating_mul(60).saturating_add(minutes_number);
        let seconds_number =
            minutes_number.saturating_mul(60).saturating_add(seconds_number.filter(|it| *it < 60)?);
        // Some print microseconds or nanoseconds, of which milliseconds are kept.
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

/// Whether a text is a moment, as a tag within a cue may be: `00:01.000`. `10:30` in angle brackets was said.
pub(super) fn is_moment(text: &str) -> bool {
    Moment::parse(text).is_some_and(|moment| moment.digits > 0 && !moment.is_negative)
}

/// Reads so many digits.
fn digits(text: &str, count: std::ops::RangeInclusive<usize>) -> Option<u64> {
    let fits = count.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    fits.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A moment's sign, seconds, and digits behind the point.
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
            assert!(are_in(line), "{line}");
            let (times, by_times) = Times::read(line).unwrap();
            assert_eq!((written(times.start), written(times.end), by_times), (start, end, markup), "{line}");
        }
        let (late, _) = Times::read("99999999999999999999:00:00.000 --> 5124095576030432:00:00.000").unwrap();
        assert_eq!((late.start.seconds, late.end.seconds), (u64::MAX, u64::MAX));
    }

    #[test]
    fn fields_of_one_digit_behind_hours_are_told() {
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
            assert!(are_in(line), "{line}");
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
            assert!(!are_in(line), "{line}");
        }
        assert!(are_in("10:30 --> 11:00"), "the hours may be left out, and the decimals");
        assert!(
            may_be_meant("00:01 -> 00:02")
                && may_be_meant("00:01")
                && !may_be_meant("12")
                && !may_be_meant("a: b")
        );
    }
}
