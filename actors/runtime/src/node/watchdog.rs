//! The watchdog: logs hooks that hold their threads and hooks that have waited long, and sets the gauges.
//!
//! A hook that computes for seconds holds one of the plugins' threads, which cannot be taken from it. So the
//! watchdog logs it, with its instance and for how long, and suspends the instance once the hook is past its
//! deadline: it gets no second thread.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use teammy_kernel::{MeetingId, Name};
use tokio::{
    task::JoinHandle,
    time::{Instant, MissedTickBehavior},
};
use tracing::{error, warn};

use super::registry::Meetings;
use crate::{
    instance::{HookPhase, RunningHook},
    meeting::{LocalMeeting, Wake, WatchedInstance},
    metrics::gauged,
    resources::Resources,
};

/// When to log a hook.
#[derive(Debug, Clone, Copy)]
struct WatchdogLimits {
    /// How long a hook may hold its thread before it is logged.
    log_after: Duration,
    deadline: Duration,
    /// How many threads plugins have, if the node owns them.
    threads: Option<usize>,
}

/// What the watchdog finds about a hook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Finding {
    /// It holds its thread.
    Holds,
    /// It holds its thread past its deadline.
    Stuck,
    /// It has waited for half of its deadline.
    Waits,
}

/// What was logged of a hook that is still running.
#[derive(Debug, Default, Clone, Copy)]
struct Reported {
    /// Its phase, and how long it had been in it, when it was last logged.
    at: Option<(HookPhase, Duration)>,
}

impl Reported {
    /// What to log of a hook now: once when it takes too long, and again each time that it has taken twice as
    /// long.
    fn judge(&mut self, hook: &RunningHook, limits: &WatchdogLimits) -> Option<Finding> {
        // Less time than when a hook was last logged: a later hook is running.
        let before =
            self.at.filter(|(phase, at)| *phase == hook.phase && *at <= hook.elapsed).map(|(_, at)| at);
        let finding = match hook.phase {
            HookPhase::Running if hook.elapsed > limits.deadline => Finding::Stuck,
            HookPhase::Running if hook.elapsed >= limits.log_after => Finding::Holds,
            HookPhase::Waiting if hook.elapsed * 2 >= limits.deadline => Finding::Waits,
            _ => {
                self.at = None;
                return None;
            }
        };
        let is_news = match (finding, before) {
            (_, None) => true,
            (Finding::Stuck, Some(at)) => at <= limits.deadline || hook.elapsed >= at * 2,
            (Finding::Holds, Some(at)) => hook.elapsed >= at * 2,
            (Finding::Waits, Some(_)) => false,
        };
        if is_news {
            self.at = Some((hook.phase, hook.elapsed));
        }
        is_news.then_some(finding)
    }
}

/// Runs until it is dropped.
#[derive(Debug)]
pub(crate) struct Watchdog(JoinHandle<()>);

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Watchdog {
    /// The longest time between two checks.
    const LONGEST: Duration = Duration::from_millis(500);

    pub(crate) fn start(
        meetings: Meetings,
        resources: std::sync::Arc<Resources>,
        threads: Option<usize>,
    ) -> Self {
        let settings = &resources.settings;
        let limits =
            WatchdogLimits { log_after: settings.watchdog(), deadline: settings.hook_deadline(), threads };
        let every =
            (settings.watchdog().min(limits.deadline) / 4).clamp(Duration::from_millis(5), Self::LONGEST);
        Self(tokio::spawn(async move {
            let mut reported = HashMap::new();
            let mut clock = tokio::time::interval(every);
            clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                clock.tick().await;
                let running: Vec<LocalMeeting> = meetings.lock().values().cloned().collect();
                let held = check(&running, &limits, &mut reported);
                resources.metrics.threads_held.set(gauged(held as u64));
                set_gauges(&running, &resources);
                if resources.memory.is_over() {
                    // Meetings without traffic must free memory, too.
                    running.iter().for_each(LocalMeeting::wake);
                }
            }
        }))
    }
}

type Key = (MeetingId, Name);

/// Sets the gauges.
pub(super) fn set_gauges(meetings: &[LocalMeeting], resources: &Resources) {
    let metrics = &resources.metrics;
    metrics.meetings.set(gauged(meetings.len() as u64));
    metrics.memory.set(gauged(resources.memory.used() as u64));
    let backlog: usize = meetings.iter().map(|meeting| meeting.shared().ingress.backlog()).sum();
    metrics.backlog.set(gauged(backlog as u64));
    let mut lags = BTreeMap::new();
    for meeting in meetings {
        for recorder in &*meeting.shared().recorders.lock() {
            let largest = lags.entry(recorder.name().clone()).or_insert(0);
            *largest = recorder.lag().max(*largest);
        }
    }
    metrics.set_lags(&lags);
}

/// Checks every hook that is running. Returns how many hold their threads. `reported` is what was logged of
/// them before.
fn check(meetings: &[LocalMeeting], limits: &WatchdogLimits, reported: &mut HashMap<Key, Reported>) -> usize {
    let now = Instant::now();
    let mut still = HashMap::new();
    let mut held = 0;
    let mut is_news = false;
    for meeting in meetings {
        meeting.watched(|watched| {
            let Some(hook) = watched.activity.read(now) else { return };
            held += usize::from(hook.phase == HookPhase::Running && hook.elapsed >= limits.log_after);
            let key = (meeting.id().clone(), watched.instance.clone());
            let mut before = reported.get(&key).copied().unwrap_or_default();
            if let Some(finding) = before.judge(&hook, limits) {
                is_news |= finding != Finding::Waits;
                log(meeting, watched, &hook, finding);
            }
            if before.at.is_some() {
                still.insert(key, before);
            }
        });
    }
    if is_news && let Some(threads) = limits.threads.filter(|threads| held >= *threads) {
        error!(held, threads, "every thread for plugins is held by a hook that waits for nothing");
    }
    *reported = still;
    held
}

fn log(meeting: &LocalMeeting, watched: &WatchedInstance, hook: &RunningHook, finding: Finding) {
    let (id, instance, hook, lasts) = (meeting.id(), &watched.instance, &hook.source, hook.elapsed);
    match finding {
        Finding::Holds => {
            warn!(meeting = %id, %instance, %hook, held = ?lasts, "hook holds its thread without waiting for anything");
        }
        Finding::Stuck => {
            error!(meeting = %id, %instance, %hook, held = ?lasts, "hook holds its thread past its deadline");
            meeting.suspend_stuck(watched, hook, lasts);
        }
        Finding::Waits => {
            warn!(meeting = %id, %instance, %hook, waited = ?lasts, "hook has waited for half of its deadline");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: WatchdogLimits = WatchdogLimits {
        log_after: Duration::from_secs(1),
        deadline: Duration::from_secs(10),
        threads: None,
    };

    fn judge(said: &mut Reported, phase: HookPhase, seconds: f64) -> Option<Finding> {
        let hook = RunningHook {
            source: Name::new("audio").unwrap(),
            phase,
            elapsed: Duration::from_secs_f64(seconds),
        };
        said.judge(&hook, &POLICY)
    }

    #[test]
    fn a_hook_that_holds_its_thread_is_named_as_often_as_it_doubles_and_once_past_its_deadline() {
        use Finding::{Holds, Stuck};

        let mut said = Reported::default();
        let mut named = Vec::new();
        for tenth in 0..250_u32 {
            let seconds = f64::from(tenth) / 10.0;
            named.extend(judge(&mut said, HookPhase::Running, seconds).map(|finding| (seconds, finding)));
        }
        assert_eq!(
            named,
            [(1.0, Holds), (2.0, Holds), (4.0, Holds), (8.0, Holds), (10.1, Stuck), (20.2, Stuck)]
        );
    }

    #[test]
    fn another_hook_is_another_matter() {
        let mut said = Reported::default();
        assert_eq!(judge(&mut said, HookPhase::Running, 3.0), Some(Finding::Holds));
        assert_eq!(judge(&mut said, HookPhase::Running, 1.5), Some(Finding::Holds), "it began later");
        assert_eq!(judge(&mut said, HookPhase::Running, 0.5), None);
        assert_eq!(judge(&mut said, HookPhase::Waiting, 4.0), None, "waiting is what hooks do");
        assert_eq!(judge(&mut said, HookPhase::Waiting, 5.0), Some(Finding::Waits));
        assert_eq!(judge(&mut said, HookPhase::Waiting, 9.9), None, "once");
        assert_eq!(judge(&mut said, HookPhase::Running, 3.0), Some(Finding::Holds));
    }
}
