//! What a history says of one meeting.

use std::collections::BTreeMap;

use super::{Record, Stored};

/// What a rule says of one meeting: the violations' rule and text.
pub(super) type Found = Vec<(&'static str, String)>;

/// What a history says of one meeting.
pub(super) struct Meeting<'a> {
    pub(super) records: Vec<&'a Record>,
    /// By seq.
    pub(super) stored: BTreeMap<u64, &'a Stored>,
}
