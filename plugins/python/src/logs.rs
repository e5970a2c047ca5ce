//! What a plugin prints and logs becomes log lines of the node.

use parking_lot::Mutex;
use teammy_kernel::Name;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    net::unix::pipe,
    time::{Duration, Instant},
};
use tracing::{debug, error, info, warn};

use crate::protocol::Level;

/// The longest line, in bytes.
const LINE: usize = 8 << 10;
/// The most lines in a second; what is more is counted.
const LINES: u32 = 500;

/// The log of one instance's process.
pub(crate) struct HostLog {
    instance: Name,
    limit: Mutex<Limit>,
    /// The last line that did not come as a record: what an interpreter says that cannot start.
    last: Mutex<String>,
}

/// Lines in the present second.
struct Limit {
    since: Instant,
    lines: u32,
}

/// Whether a line is logged.
enum Verdict {
    Log,
    /// It is, and before it so many were not.
    LogAfter(u32),
    Drop,
}

impl Limit {
    fn line(&mut self, now: Instant) -> Verdict {
        let mut dropped = 0;
        if now.duration_since(self.since) >= Duration::from_secs(1) {
            dropped = self.lines.saturating_sub(LINES);
            *self = Self { since: now, lines: 0 };
        }
        self.lines = self.lines.saturating_add(1);
        match (self.lines > LINES, dropped) {
            (true, _) => Verdict::Drop,
            (false, 0) => Verdict::Log,
            (false, dropped) => Verdict::LogAfter(dropped),
        }
    }
}

impl HostLog {
    pub(crate) fn new(instance: Name) -> Self {
        let limit = Limit { since: Instant::now(), lines: 0 };
        Self { instance, limit: Mutex::new(limit), last: Mutex::default() }
    }

    /// Logs a line of a plugin.
    pub(crate) fn record(&self, level: Level, meeting: Option<&str>, logger: &str, line: &str) {
        let instance = &self.instance;
        match self.limit.lock().line(Instant::now()) {
            Verdict::Log => {}
            Verdict::LogAfter(dropped) => {
                warn!(%instance, dropped, "the plugin logs too much; lines were dropped");
            }
            Verdict::Drop => return,
        }
        let meeting = meeting.unwrap_or_default();
        match level {
            Level::Debug => debug!(%instance, meeting, logger, "{line}"),
            Level::Info => info!(%instance, meeting, logger, "{line}"),
            Level::Warning => warn!(%instance, meeting, logger, "{line}"),
            Level::Error => error!(%instance, meeting, logger, "{line}"),
        }
    }

    /// Logs what comes out of the pipe, line by line, until it is closed.
    pub(crate) async fn follow(&self, pipe: pipe::Receiver) {
        let mut pipe = BufReader::new(pipe);
        let mut line = Vec::new();
        loop {
            line.clear();
            // A longer line becomes several.
            match (&mut pipe).take(LINE as u64).read_until(b'\n', &mut line).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
            let text = String::from_utf8_lossy(&line);
            let text = text.trim_end();
            if !text.is_empty() {
                text.clone_into(&mut self.last.lock());
                self.record(Level::Warning, None, "stderr", text);
            }
        }
    }

    /// The last line that came out of the pipe.
    pub(crate) fn last(&self) -> Option<String> {
        Some(self.last.lock().clone()).filter(|line| !line.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn lines_beyond_the_limit_are_counted() {
        let mut limit = Limit { since: Instant::now(), lines: 0 };
        let logged = (0..LINES + 7).filter(|_| matches!(limit.line(Instant::now()), Verdict::Log)).count();
        assert_eq!(logged, LINES as usize);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(matches!(limit.line(Instant::now()), Verdict::LogAfter(7)));
        assert!(matches!(limit.line(Instant::now()), Verdict::Log));
    }
}
