//! The configuration's sections that the actors read, in the terms of the kernel and the actors.

use std::time::Duration;

use teammy_config::Config;
use teammy_kernel::log::Limits;

use crate::{restarts::RestartPolicy, retry::RetryPolicy};

/// The sections of a node's configuration that its meetings read.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    delivery: teammy_config::Delivery,
    hooks: teammy_config::Hooks,
    limits: teammy_config::Limits,
    meeting: teammy_config::MeetingSettings,
    restart: teammy_config::Restart,
}

impl Settings {
    pub(crate) fn new(config: &Config) -> Self {
        let Config { delivery, hooks, limits, meeting, restart, .. } = config.clone();
        Self { delivery, hooks, limits, meeting, restart }
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

    pub(crate) fn end_deadline(&self) -> Duration {
        self.meeting.end_deadline
    }

    pub(crate) fn watchdog(&self) -> Duration {
        self.hooks.watchdog
    }

    pub(crate) fn retry_policy(&self) -> RetryPolicy {
        RetryPolicy {
            deadline: self.hooks.deadline,
            tries: self.hooks.tries,
            backoff: self.hooks.backoff,
            backoff_max: self.hooks.backoff_max,
        }
    }

    pub(crate) fn restart_policy(&self) -> RestartPolicy {
        RestartPolicy {
            intensity: self.restart.intensity,
            within: self.restart.within,
            backoff: self.restart.backoff,
            backoff_max: self.restart.backoff_max,
        }
    }
}
