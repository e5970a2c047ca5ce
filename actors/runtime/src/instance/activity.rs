//! What an instance's actor is at, for who watches from outside: the actor itself cannot tell while a hook
//! holds its thread.

use std::{
    sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering},
    time::Duration,
};

use parking_lot::Mutex;
use teammy_kernel::Name;
use tokio::time::Instant;

/// Written by an instance's actor at the beginning and the end of each turn that a hook has; read by the
/// watchdog.
#[derive(Debug)]
pub(crate) struct HookActivity {
    /// What times are counted from.
    origin: Instant,
    phase: AtomicU8,
    /// When the phase began, in nanoseconds.
    since: AtomicU64,
    /// The place of what runs among `hooks`.
    hook: AtomicU32,
    hooks: Mutex<Vec<Name>>,
}

const IDLE: u8 = 0;
const HOLDS: u8 = 1;
const WAITS: u8 = 2;

/// What a hook is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HookPhase {
    /// It has had its thread since.
    Running,
    /// It has waited since.
    Waiting,
}

/// A hook that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RunningHook {
    /// The source that it takes, `tick`, or `meeting` for its start and end.
    pub(crate) hook: Name,
    pub(crate) phase: HookPhase,
    /// For how long.
    pub(crate) elapsed: Duration,
}

impl Default for HookActivity {
    fn default() -> Self {
        Self {
            origin: Instant::now(),
            phase: AtomicU8::new(IDLE),
            since: AtomicU64::new(0),
            hook: AtomicU32::new(0),
            hooks: Mutex::default(),
        }
    }
}

impl HookActivity {
    /// A hook of this source is about to run.
    pub(crate) fn hook(&self, source: &Name) {
        let mut hooks = self.hooks.lock();
        let place = hooks.iter().position(|hook| hook == source).unwrap_or_else(|| {
            hooks.push(source.clone());
            hooks.len() - 1
        });
        self.hook.store(u32::try_from(place).unwrap_or(0), Ordering::Relaxed);
    }

    /// It has the thread from now on.
    pub(crate) fn holds(&self, now: Instant) {
        self.enter(HOLDS, now);
    }

    /// It waits from now on.
    pub(crate) fn waits(&self, now: Instant) {
        self.enter(WAITS, now);
    }

    /// Nothing runs.
    pub(crate) fn rests(&self) {
        self.phase.store(IDLE, Ordering::Release);
    }

    fn enter(&self, phase: u8, now: Instant) {
        let since = u64::try_from((now - self.origin).as_nanos()).unwrap_or(u64::MAX);
        self.since.store(since, Ordering::Relaxed);
        self.phase.store(phase, Ordering::Release);
    }

    /// What runs, if anything does. A glance: what has changed meanwhile may be told wrongly once.
    pub(crate) fn read(&self, now: Instant) -> Option<RunningHook> {
        let phase = match self.phase.load(Ordering::Acquire) {
            HOLDS => HookPhase::Running,
            WAITS => HookPhase::Waiting,
            _ => return None,
        };
        let since = self.origin + Duration::from_nanos(self.since.load(Ordering::Relaxed));
        let hook = self.hooks.lock().get(self.hook.load(Ordering::Relaxed) as usize)?.clone();
        Some(RunningHook { hook, phase, elapsed: now.saturating_duration_since(since) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_pulse_tells_what_runs_and_for_how_long() {
        let activity = HookActivity::default();
        assert_eq!(activity.read(Instant::now()), None);
        let chat = Name::new("chat").unwrap();
        activity.hook(&Name::new("audio").unwrap());
        activity.hook(&chat);
        activity.holds(Instant::now());
        let second = Duration::from_secs(1);
        tokio::time::advance(second).await;
        let beat = |phase| Some(RunningHook { hook: chat.clone(), phase, elapsed: second });
        assert_eq!(activity.read(Instant::now()), beat(HookPhase::Running));
        activity.waits(Instant::now());
        tokio::time::advance(second).await;
        assert_eq!(activity.read(Instant::now()), beat(HookPhase::Waiting));
        activity.rests();
        assert_eq!(activity.read(Instant::now()), None);
    }
}
