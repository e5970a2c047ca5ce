//! What was last said about a link, so that one that fails again and again does not fill the log: the rule, without a log.
//!
//! In an outage each reason is said once, however often it comes. Reasons that differ only in numbers (times, ports) are the same.
//! A link that comes up and breaks at once, again and again, is said to do so once a minute for each reason.

use tokio::time::{Duration, Instant};

/// For how long a reason is not said again once the link was up.
const QUIET: Duration = Duration::from_mins(1);

/// How many reasons are remembered. Others are left out until one is forgotten.
const REASONS: usize = 8;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Said {
    /// Whether the last line says that the link is up.
    is_up: bool,
    /// The reasons that were said, without their numbers, and when.
    reasons: Vec<(String, Instant)>,
    /// How many lines were left out since the last one.
    left_out: u64,
}

impl Said {
    /// The link is up. If that is to be said, the answer is how many lines were left out before.
    pub(crate) fn up(&mut self) -> Option<u64> {
        if self.is_up {
            self.left_out += 1;
            return None;
        }
        self.is_up = true;
        Some(std::mem::take(&mut self.left_out))
    }

    /// The link is down. If that is to be said, the answer is how many lines were left out before.
    pub(crate) fn down(&mut self, reason: &str, now: Instant) -> Option<u64> {
        if self.is_up {
            self.reasons.retain(|(_, said)| now < *said + QUIET);
        }
        let reason = without_numbers(reason);
        let is_known = self.reasons.iter().any(|(said, _)| *said == reason);
        if is_known || self.reasons.len() >= REASONS {
            self.left_out += 1;
            return None;
        }
        self.reasons.push((reason, now));
        self.is_up = false;
        Some(std::mem::take(&mut self.left_out))
    }
}

/// A text in which each number is a `#`.
fn without_numbers(text: &str) -> String {
    let mut shape = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '0'..='9' if shape.ends_with('#') => {}
            '0'..='9' => shape.push('#'),
            _ => shape.push(character),
        }
    }
    shape
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_says_each_reason_once() {
        let (mut said, now) = (Said::default(), Instant::now());
        let hours = |hours| now + Duration::from_hours(hours);
        assert_eq!(said.down("cannot reach it", now), Some(0));
        assert_eq!(said.down("cannot reach it", now), None);
        assert_eq!(said.down("its certificate expired 7 seconds ago", now), Some(1));
        assert_eq!(said.down("its certificate expired 12 seconds ago", now), None);
        // Also if they come in turns, and for hours.
        assert_eq!(said.down("cannot reach it", hours(1)), None);
        assert_eq!(said.down("its certificate expired 3612 seconds ago", hours(1)), None);
        assert_eq!(said.up(), Some(3));
        assert_eq!(said.down("cannot reach it", hours(2)), Some(0), "another outage");
    }

    #[test]
    fn a_link_that_comes_and_breaks_is_said_to_do_so_once_a_minute() {
        let (mut said, began) = (Said::default(), Instant::now());
        assert_eq!(said.up(), Some(0));
        let mut lines = 0;
        for second in 0..600 {
            lines +=
                u32::from(said.down("the connection ended", began + Duration::from_secs(second)).is_some());
            lines += u32::from(said.up().is_some());
        }
        assert_eq!(lines, 20, "twice in each of ten minutes");
        // One that then stays down does not stay said to be up.
        let later = began + Duration::from_mins(10) + QUIET;
        assert!(said.down("the connection ended", later).is_some_and(|left_out| left_out > 100));
    }

    #[test]
    fn a_peer_with_ever_new_reasons_is_left_out_at_some_point() {
        let (mut said, now) = (Said::default(), Instant::now());
        let reasons = (0..1000_u32).map(|number| "x".repeat(number as usize));
        assert_eq!(reasons.filter(|reason| said.down(reason, now).is_some()).count(), REASONS);
        assert_eq!(said.up(), Some(1000 - REASONS as u64));
    }

    #[test]
    fn numbers_are_no_part_of_a_reason() {
        assert_eq!(without_numbers("10.0.0.1:7700: 3001 ms"), "#.#.#.#:#: # ms");
        assert_eq!(without_numbers("no number"), "no number");
    }
}
