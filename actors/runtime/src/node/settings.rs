//! What the actors need of the configuration.

use std::time::Duration;

use teammy_config::Config;

use crate::{instance::RetryPolicy, meeting::RestartPolicy};

#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) batch_packets: usize,
    pub(crate) batch_bytes: usize,
    pub(crate) tail_bytes: usize,
    pub(crate) backlog_bytes: usize,
    pub(crate) block_bytes: usize,
    pub(crate) recent_bytes: usize,
    pub(crate) packet_bytes: usize,
    pub(crate) cursor_interval: Duration,
    pub(crate) end_deadline: Duration,
    pub(crate) watchdog: Duration,
    pub(crate) hooks: RetryPolicy,
    pub(crate) restarts: RestartPolicy,
}

impl Settings {
    pub(crate) fn new(config: &Config) -> Self {
        let Config { delivery, hooks, restart, .. } = config;
        Self {
            batch_packets: delivery.batch_packets.get(),
            batch_bytes: delivery.batch_bytes.as_usize(),
            tail_bytes: delivery.tail_bytes.as_usize(),
            backlog_bytes: delivery.backlog_bytes.as_usize(),
            block_bytes: delivery.block_bytes.as_usize(),
            recent_bytes: delivery.recent_bytes.as_usize(),
            packet_bytes: config.limits.packet_bytes.as_usize(),
            cursor_interval: delivery.cursor_interval,
            end_deadline: config.meeting.end_deadline,
            watchdog: hooks.watchdog,
            hooks: RetryPolicy {
                deadline: hooks.deadline,
                tries: hooks.tries,
                backoff: hooks.backoff,
                backoff_max: hooks.backoff_max,
            },
            restarts: RestartPolicy {
                intensity: restart.intensity,
                within: restart.within,
                backoff: restart.backoff,
                backoff_max: restart.backoff_max,
            },
        }
    }
}
