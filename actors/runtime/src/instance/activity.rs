//! What an instance's actor is doing, for the watchdog: the actor cannot answer messages while a hook holds its
//! thread.

use std::{
    sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering},
    time::Duration,
};

use parking_lot::Mutex;
use teammy_kernel::Name;
use tokio::time::Instant;

/// Written by an instance's actor whenever a hook starts or stops running; read by the watchdog.
#[derive(Debug)]
pub(crate) struct HookActivity {
    /// The start of the time that `since` counts.
    origin: Instant,
    phase: AtomicU8,
    /// When the phase began, in nanoseconds.
    since: AtomicU64,
    /// The index in `sources` of the hook that runs.
    hook: AtomicU32,
    /// The sources of the hooks that have run.
    sources: Mutex<Vec<Name>>,
}

const IDLE: u8 = 0;
const RUNNING: u8 = 1;
const WAITING: u8 = 2;

/// What a hook is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HookPhase {
    /// It holds its thread.
    Running,
    /// It waits for something.
    Waiting,
}

/// A hook that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RunningHook {
    /// The source that it takes, `tick`, or `meeting` for `on_meeting_start` and `on_meeting_end`.
    pub(crate) source: Name,
    pub(crate) phase: HookPhase,
    /// How long it has been in this phase.
    pub(crate) elapsed: Duration,
}

impl Default for HookActivity {
    fn default() -> Self {
        Self {
            origin: Instant::now(),
            phase: AtomicU8::new(IDLE),
            since: AtomicU64::new(0),
            hook: AtomicU32::new(0),
            sources: Mutex::default(),
        }
    }
}

impl HookActivity {
    /// A hook of this source is about to run.
    pub(crate) fn begin(&self, source: &Name) {
        let mut sources = self.sources.lock();
        let index = sources.iter().position(|other| other == source).unwrap_or_else(|| {
            sources.push(source.clone());
            sources.len() - 1
        });
        self.hook.store(u32::try_from(index).unwrap_or(0), Ordering::Relaxed);
    }

    /// The hook holds its thread from now on.
    pub(crate) fn set_running(&self, now: Instant) {
        self.enter(RUNNING, now);
    }

    /// The hook waits from now on.
    pub(crate) fn set_waiting(&self, now: Instant) {
        self.enter(WAITING, now);
    }

    /// No hook runs.
    pub(crate) fn set_idle(&self) {
        self.phase.store(IDLE, Ordering::Release);
    }

    fn enter(&self, phase: u8, now: Instant) {
        let since = u64::try_from((now - self.origin).as_nanos()).unwrap_or(u64::MAX);
        self.since.store(since, Ordering::Relaxed);
        self.phase.store(phase, Ordering::Release);
    }

    /// The hook that runs, if any. The fields are read without a lock, so a reading during a change may mix the
    /// old phase with the new.
    pub(crate) fn read(&self, now: Instant) -> Option<RunningHook> {
        let phase = match self.phase.load(Ordering::Acquire) {
            RUNNING => HookPhase::Running,
            WAITING => HookPhase::Waiting,
            _ => return None,
        };
        let since = self.origin + Duration::from_nanos(self.since.load(Ordering::Relaxed));
        let source = self.sources.lock().get(self.hook.load(Ordering::Relaxed) as usize)?.clone();
        Some(RunningHook { source, phase, elapsed: now.saturating_duration_since(since) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_activity_tells_which_hook_runs_and_for_how_long() {
        let activity = HookActivity::default();
        assert_eq!(activity.read(Instant::now()), None);
        let chat = Name::new("chat").unwrap();
        activity.begin(&Name::new("audio").unwrap());
        activity.begin(&chat);
        activity.set_running(Instant::now());
        let second = Duration::from_secs(1);
        tokio::time::advance(second).await;
        let running = |phase| Some(RunningHook { source: chat.clone(), phase, elapsed: second });
        assert_eq!(activity.read(Instant::now()), running(HookPhase::Running));
        activity.set_waiting(Instant::now());
        tokio::time::advance(second).await;
        assert_eq!(activity.read(Instant::now()), running(HookPhase::Waiting));
        activity.set_idle();
        assert_eq!(activity.read(Instant::now()), None);
    }
}
