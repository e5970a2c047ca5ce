//! The configuration's sections that the actors read, in the terms of the kernel and the actors.

use std::time::Duration;

use teammy_config::Config;
use teammy_kernel::{
    backoff::Backoff,
    log::{Limits, failure::FailurePolicy},
};

/// The sections of a node's configuration that its meetings read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    delivery: teammy_config::Delivery,
    hooks: teammy_config::Hooks,
    limits: teammy_config::Limits,
    meeting: teammy_config::MeetingSettings,
    restart: teammy_config::Restart,
    new_traces: f64,
}

impl Settings {
    pub(crate) fn new(config: &Config) -> Self {
        let Config { delivery, hooks, limits, meeting, restart, .. } = *config;
        let one_in = u32::try_from(config.traces.one_in).unwrap_or(u32::MAX);
        let is_exported = config.traces.endpoint.is_some() && one_in > 0;
        let new_traces = if is_exported { 1.0 / f64::from(one_in) } else { 0.0 };
        Self { delivery, hooks, limits, meeting, restart, new_traces }
    }

    /// For which share of the packets that come without a trace one begins.
    pub(crate) fn new_traces(&self) -> f64 {
        self.new_traces
    }

    /// The bounds of a meeting's log.
    pub(crate) fn log_limits(&self) -> Limits {
        Limits {
            batch_packets: self.delivery.batch_packets.get(),
            batch_bytes: self.delivery.batch_bytes.as_usize(),
            tail_bytes: self.delivery.tail_bytes.as_usize(),
            backlog_bytes: self.backlog_bytes(),
            block_bytes: self.delivery.block_bytes.as_usize(),
        }
    }

    pub(crate) fn backlog_bytes(&self) -> usize {
        self.delivery.backlog_bytes.as_usize()
    }

    pub(crate) fn recent_bytes(&self) -> usize {
        self.delivery.recent_bytes.as_usize()
    }

    pub(crate) fn packet_bytes(&self) -> usize {
        self.limits.packet_bytes.as_usize()
    }

    pub(crate) fn cursor_interval(&self) -> Duration {
        self.delivery.cursor_interval
    }

    pub(crate) fn checkpoint_interval(&self) -> Duration {
        self.delivery.checkpoint_interval
    }

    pub(crate) fn end_deadline(&self) -> Duration {
        self.meeting.end_deadline
    }

    pub(crate) fn watchdog(&self) -> Duration {
        self.hooks.watchdog
    }

    /// How long a hook may take.
    pub(crate) fn hook_deadline(&self) -> Duration {
        self.hooks.deadline
    }

    /// When hooks are retried, packets given up, and actors restarted.
    pub(crate) fn failure_policy(&self) -> FailurePolicy {
        let Self { hooks, restart, .. } = self;
        FailurePolicy {
            tries: hooks.tries,
            retry: Backoff::new(hooks.backoff, hooks.backoff_max),
            intensity: restart.intensity,
            within: restart.within,
            restart: Backoff::new(restart.backoff, restart.backoff_max),
        }
    }
}
