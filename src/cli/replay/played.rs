//! What a replay did, and whether that is a success.

use std::path::Path;

use teammy::MeetingId;

use super::expect::{self, Golden};
use crate::cli::{
    error::Error,
    output::Output,
    summary::{Expected, Summary},
};

/// What a replay did.
pub(super) struct Played<'a> {
    pub(super) summary: Summary<'a>,
    /// The outputs, if they are compared or written.
    pub(super) outputs: Vec<expect::Output>,
}

/// What a replay is judged by.
#[derive(Clone, Copy)]
pub(super) struct Verdict<'a> {
    /// The option `--expect`.
    pub(super) expect: Option<&'a Path>,
    /// What that file holds; none if it is to be written.
    pub(super) golden: Option<&'a Golden>,
    /// The option `--allow-failures`.
    pub(super) allow_failures: bool,
}

impl Played<'_> {
    /// Compares or writes the outputs, and prints the summary.
    pub(super) fn conclude(
        self,
        meeting: &MeetingId,
        verdict: Verdict<'_>,
        output: &Output,
    ) -> Result<(), Error> {
        let Self { summary, outputs } = self;
        let failed = summary.failed().filter(|_| !verdict.allow_failures);
        let (expected, different) = match (verdict.expect, verdict.golden) {
            (Some(path), Some(golden)) => match golden.diff(&outputs) {
                Some(diff) => {
                    output.note(diff.trim_end());
                    (Some(Expected::Different), Some(path))
                }
                None => (Some(Expected::Same), None),
            },
            (Some(path), None) if failed.is_none() => {
                expect::write(path, &outputs)?;
                (Some(Expected::Written), None)
            }
            _ => (None, None),
        };
        match expected {
            Some(expected) => summary.expected(expected).print(output)?,
            None => summary.print(output)?,
        }
        match (failed, different) {
            (Some(failed), _) => Err(Error::Failures { meeting: meeting.clone(), failed }),
            (None, Some(path)) => Err(Error::Different(path.to_owned())),
            (None, None) => Ok(()),
        }
    }
}
