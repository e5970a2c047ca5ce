//! Which hook runs on which packets.

use std::sync::Arc;

use teammy_kernel::{
    DataPacket, Durability, Lifecycle, Name,
    plugin::{Hook, HookId, Hosted, Invocation},
    timers::DueTimer,
};

/// Which hook takes which source, by the sources' names in this meeting.
#[derive(Debug, Clone)]
pub(crate) struct Routes {
    sources: Box<[Route]>,
    tick: Option<HookId>,
    wake: Option<HookId>,
}

#[derive(Debug, Clone)]
struct Route {
    source: Name,
    hook: HookId,
    /// The most packets of one call.
    max: usize,
    durability: Option<Durability>,
}

/// How a handler runs on the packets that are planned for it.
#[derive(Clone, Copy)]
pub(super) enum Execution {
    /// Once for each packet.
    PerPacket(HookId),
    /// Once for all packets.
    Once(Invocation),
}

/// The next call: a handler and the first packets of a batch.
pub(super) struct PlannedCall {
    pub(super) execution: Execution,
    /// How many packets it takes.
    pub(super) count: usize,
    /// The durability of the packets' source; none for the runtime's own packets.
    pub(super) durability: Option<Durability>,
    /// The timer that it is for.
    pub(super) timer: Option<DueTimer>,
}

impl Routes {
    /// The routes of a plugin. `actual` maps a source that the plugin declares to its name in this meeting.
    pub(crate) fn new(
        hosted: &Hosted,
        actual: impl Fn(&Name) -> Option<Name>,
        durability: impl Fn(&Name) -> Option<Durability>,
    ) -> Self {
        let (mut sources, mut tick, mut wake) = (Vec::new(), None, None);
        for (id, hook) in hosted.hooks() {
            match hook {
                Hook::Source { source, max } => {
                    if let Some(source) = actual(source) {
                        let durability = durability(&source);
                        sources.push(Route { source, hook: *id, max: *max, durability });
                    }
                }
                Hook::Every(_) => tick = Some(*id),
                Hook::Wake => wake = Some(*id),
                _ => {}
            }
        }
        Self { sources: sources.into(), tick, wake }
    }

    /// Whether any of the plugin's hooks is called for a timer.
    pub(super) fn have_timers(&self) -> bool {
        self.tick.is_some() || self.wake.is_some()
    }

    /// The call for a timer; none if no hook takes it.
    pub(super) fn plan_timer(&self, timer: &DueTimer) -> Option<PlannedCall> {
        let hook = match timer {
            DueTimer::Tick { .. } => self.tick?,
            DueTimer::Wake { .. } => self.wake?,
        };
        let execution = Execution::Once(Invocation::Hook(hook));
        Some(PlannedCall { execution, count: 1, durability: None, timer: Some(timer.clone()) })
    }

    /// The call for the first of these packets; none if no hook takes it.
    pub(super) fn plan(&self, packets: &[Arc<DataPacket>], one_by_one: bool) -> Option<PlannedCall> {
        let first = packets.first()?;
        if let Some(route) = self.sources.iter().find(|route| route.source == first.source) {
            let (execution, max) = match route.max {
                1 => (Execution::PerPacket(route.hook), usize::MAX),
                max => (Execution::Once(Invocation::Hook(route.hook)), max),
            };
            let max = if one_by_one { 1 } else { max };
            let count = packets.iter().take(max).take_while(|packet| packet.source == first.source).count();
            return Some(PlannedCall { execution, count, durability: route.durability, timer: None });
        }
        let handler = match Lifecycle::from_payload(&first.payload)? {
            Lifecycle::Start { .. } | Lifecycle::Join { .. } => Invocation::MeetingStart,
            Lifecycle::Leave { .. } | Lifecycle::Ending => Invocation::MeetingEnd,
            _ => return None,
        };
        Some(PlannedCall { execution: Execution::Once(handler), count: 1, durability: None, timer: None })
    }
}

impl PlannedCall {
    /// How many deliveries these packets count as: starts and ends count as none.
    pub(super) fn deliveries(&self, packets: &[Arc<DataPacket>]) -> u64 {
        match self.execution {
            Execution::PerPacket(_) | Execution::Once(Invocation::Hook(_)) => packets.len() as u64,
            Execution::Once(_) => 0,
        }
    }
}
