//! Who asks a model, and on which terms.

use std::sync::Arc;

use tokio::time::Instant;

use super::meter::Meter;
use crate::{MeetingId, Name, TraceContext};

/// Which of the requests that wait for a model goes first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Priority {
    /// Nobody waits for the answer.
    Low,
    /// The default.
    #[default]
    Normal,
    /// Somebody waits for the answer.
    High,
}

/// Who asks, and on which terms: a part of each request.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Caller {
    /// The meeting in which the instance asks.
    pub meeting: MeetingId,
    /// The instance that asks.
    pub instance: Name,
    /// Whose meeting it is, if its labels say so: budgets of tenants go by it.
    pub tenant: Option<Arc<str>>,
    /// When an answer comes too late.
    pub deadline: Option<Instant>,
    /// Which of the requests that wait goes first.
    pub priority: Priority,
    /// What the request is for, for accounts: a short name such as `summary`.
    pub purpose: Option<String>,
    /// Where in a trace it is asked. Providers pass it on.
    pub trace: Option<TraceContext>,
    /// Where the provider notes what the request cost, however it ends.
    pub meter: Meter,
}

impl Caller {
    /// The id that stands for no meeting, in requests of an instance that shuts down with its node.
    pub const NO_MEETING: &'static str = "(shutdown)";

    /// An instance in a meeting, without a tenant and without limits.
    pub fn new(meeting: MeetingId, instance: Name) -> Self {
        Self {
            meeting,
            instance,
            tenant: None,
            deadline: None,
            priority: Priority::Normal,
            purpose: None,
            trace: None,
            meter: Meter::default(),
        }
    }

    /// Whether it asks in a meeting, and not [while the node shuts down](Self::NO_MEETING).
    pub fn is_in_meeting(&self) -> bool {
        self.meeting.as_str() != Self::NO_MEETING
    }
}
