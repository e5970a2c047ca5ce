//! What a node asks of the cluster that it is part of.

use std::fmt;

use futures::future::BoxFuture;
use teammy_kernel::{MeetingId, MeetingMetadata, Name};

use super::{error::Error, opened::Opened};
use crate::{admin::ClusterReport, meeting::MeetingRef};

/// The cluster that a node is part of. With it the node's `open`, `start_meeting`, `find_meeting` and `resume_meeting`, and an
/// operator's requests, concern meetings on any node.
pub trait Cluster: fmt::Debug + Send + Sync + 'static {
    /// Opens a meeting, on whichever node it is to run: as the node's `open`.
    fn open(&self, metadata: MeetingMetadata, instances: Vec<Name>) -> BoxFuture<'_, Result<Opened, Error>>;

    /// A handle of a meeting that exists: wherever it runs, or of one that has ended. One that no node runs is resumed by the handle's
    /// first call.
    fn find<'a>(&'a self, id: &'a MeetingId) -> BoxFuture<'a, Result<MeetingRef, Error>>;

    /// Has the node that runs a meeting do what an operator asks, as JSON, and returns its answer, as JSON. None if this node is to
    /// do it: it runs the meeting itself, or nobody does.
    fn ask<'a>(&'a self, id: &'a MeetingId, request: String) -> BoxFuture<'a, Option<Result<String, Error>>>;

    /// Who is there, and how the links to them are.
    fn report(&self) -> BoxFuture<'_, Result<ClusterReport, Error>>;

    /// Has a node hand all its meetings over and take none from then on. Waits until it runs none, or until no other node takes
    /// those that are left, and tells how many those are.
    fn drain<'a>(&'a self, node: &'a Name) -> BoxFuture<'a, Result<usize, Error>>;

    /// Has a meeting run on a node, and waits until it does.
    fn move_to<'a>(&'a self, id: &'a MeetingId, node: &'a Name) -> BoxFuture<'a, Result<(), Error>>;
}
