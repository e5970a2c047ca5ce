//! The summary of what a command did with a meeting, printed at its end.

use std::io::Write;

use comfy_table::CellAlignment;
use serde::Serialize;
use teammy::{MeetingId, MeetingStats};
use tokio::time::Duration;

use super::{
    error::Error,
    failures::Failures,
    output::{Form, Output, table},
    recording::SkipCounts,
    text::count,
};

/// What a command did with a meeting.
#[derive(Debug, Serialize)]
pub(crate) struct Summary<'a> {
    r#type: &'static str,
    meeting: &'a MeetingId,
    packets: u64,
    #[serde(flatten)]
    skipped: SkipCounts,
    instances: Vec<InstanceSummary>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failures: Option<Failures>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expected: Option<Expected>,
    seconds: f64,
}

/// How outputs compare with a golden file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Expected {
    Same,
    Different,
    /// The file was written.
    Written,
}

#[derive(Debug, Serialize)]
struct InstanceSummary {
    name: String,
    /// Of a meeting that ran elsewhere, not all is known.
    delivered: Option<u64>,
    outputs: u64,
    errors: Option<u64>,
    dead_letters: Option<u64>,
    lost: Option<u64>,
    hook_p50_us: Option<f64>,
    hook_p99_us: Option<f64>,
}

/// What the log of a meeting tells of an instance.
#[cfg(feature = "cluster")]
#[derive(Debug)]
pub(crate) struct OfLog<'a> {
    pub(crate) instance: &'a str,
    pub(crate) outputs: u64,
    pub(crate) dead_letters: Option<u64>,
}

impl<'a> Summary<'a> {
    pub(crate) fn new(
        meeting: &'a MeetingId,
        stats: &MeetingStats,
        skipped: SkipCounts,
        took: Duration,
    ) -> Self {
        let instances = stats.instances.iter().map(|stats| InstanceSummary {
            name: stats.name.as_str().to_owned(),
            delivered: Some(stats.delivered),
            outputs: stats.outputs,
            errors: Some(stats.errors),
            dead_letters: Some(stats.dead_letters),
            lost: Some(stats.lost),
            hook_p50_us: stats.hook_p50.map(microseconds),
            hook_p99_us: stats.hook_p99.map(microseconds),
        });
        Self {
            r#type: "summary",
            meeting,
            packets: stats.packets,
            skipped,
            instances: instances.collect(),
            failures: None,
            expected: None,
            seconds: (took.as_secs_f64() * 1e3).round() / 1e3,
        }
    }

    /// The summary for a meeting in which nothing was left to do.
    pub(crate) fn complete(meeting: &'a MeetingId, skipped: SkipCounts, took: Duration) -> Self {
        let seconds = (took.as_secs_f64() * 1e3).round() / 1e3;
        let (failures, expected) = (None, None);
        Self {
            r#type: "summary",
            meeting,
            packets: 0,
            skipped,
            instances: Vec::new(),
            failures,
            expected,
            seconds,
        }
    }

    /// The summary of a meeting that ran elsewhere, into which so many packets were published.
    #[cfg(feature = "cluster")]
    pub(crate) fn of_log<'b>(
        meeting: &'a MeetingId,
        packets: u64,
        instances: impl Iterator<Item = OfLog<'b>>,
        skipped: SkipCounts,
        took: Duration,
    ) -> Self {
        let instances = instances.map(|OfLog { instance, outputs, dead_letters }| InstanceSummary {
            name: instance.to_owned(),
            delivered: None,
            outputs,
            errors: None,
            dead_letters,
            lost: None,
            hook_p50_us: None,
            hook_p99_us: None,
        });
        let instances = instances.collect();
        Self { packets, instances, ..Self::complete(meeting, skipped, took) }
    }

    /// Adds what failed.
    pub(crate) fn failures(self, failures: Failures) -> Self {
        Self { failures: Some(failures), ..self }
    }

    /// What failed, if anything did.
    pub(crate) fn failed(&self) -> Option<String> {
        self.failures.as_ref().filter(|failures| !failures.is_empty()).map(Failures::readable)
    }

    /// Adds how the outputs compare with a golden file.
    pub(crate) fn expected(self, expected: Expected) -> Self {
        Self { expected: Some(expected), ..self }
    }

    /// Prints the summary: for programs as the last line on stdout, for people as a table on stderr.
    pub(crate) fn print(&self, output: &Output) -> Result<(), Error> {
        match output.form() {
            Form::Json => output.object(self),
            Form::Text => {
                // The packets are printed; the command succeeds even if the table cannot be written.
                let _ = writeln!(std::io::stderr(), "{}", self.readable());
                Ok(())
            }
        }
    }

    fn readable(&self) -> String {
        let header =
            ["instance", "delivered", "outputs", "errors", "dead letters", "lost", "hook p50 µs", "p99 µs"];
        let mut table = table(header);
        for instance in &self.instances {
            let quantile = |q: Option<f64>| q.map_or_else(|| "-".to_owned(), |q| format!("{q:.1}"));
            let number = |n: Option<u64>| n.map_or_else(|| "-".to_owned(), |n| n.to_string());
            table.add_row([
                instance.name.clone(),
                number(instance.delivered),
                instance.outputs.to_string(),
                number(instance.errors),
                number(instance.dead_letters),
                number(instance.lost),
                quantile(instance.hook_p50_us),
                quantile(instance.hook_p99_us),
            ]);
        }
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        let packets = count(self.packets, "packet", "packets");
        let skipped = match self.skipped {
            SkipCounts { skipped: 0, .. } => String::new(),
            SkipCounts { skipped, skipped_words: None } => {
                format!(", {} skipped", count(skipped, "broken line", "broken lines"))
            }
            SkipCounts { skipped, skipped_words: Some(words) } => {
                let cues = count(skipped, "broken cue", "broken cues");
                format!(", {cues} with {} skipped", count(words, "word", "words"))
            }
        };
        let mut text =
            format!("{}: {packets} in {} s{skipped}\n{}", self.meeting, self.seconds, table.trim_fmt());
        if let Some(failed) = self.failed() {
            text.push_str("\nfailed: ");
            text.push_str(&failed);
        }
        match self.expected {
            Some(Expected::Same) => text.push_str("\noutputs: as expected"),
            Some(Expected::Different) => text.push_str("\noutputs: not as expected"),
            Some(Expected::Written) => text.push_str("\noutputs: written as the expected ones"),
            None => {}
        }
        text
    }
}

/// A duration in microseconds, rounded to a tenth.
fn microseconds(took: Duration) -> f64 {
    (took.as_secs_f64() * 1e7).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn microseconds_have_one_decimal() {
        assert!((microseconds(Duration::from_nanos(1_234_567)) - 1234.6).abs() < 1e-9);
        assert!((microseconds(Duration::from_nanos(40)) - 0.0).abs() < 1e-9);
    }
}
