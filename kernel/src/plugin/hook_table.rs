//! The table of a plugin's hooks, whatever runs them.

use std::{collections::BTreeMap, time::Duration};

use super::{
    delivery_policy::DeliveryPolicy,
    input::{Tick, Wake},
};
use crate::{DataType, Lifecycle, Name, name};

/// A hook's index in its plugin's table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HookId(pub(super) usize);

/// What a hook is called for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Hook {
    /// Packets of a source.
    Source {
        /// The source, as the plugin declares it; the configuration may map it to another.
        source: Name,
        /// The most packets in one call: 1, or the bound of a batch.
        max: usize,
    },
    /// A tick, once each period.
    Every(Duration),
    /// Wakes that hooks ask for.
    Wake,
}

/// Hooks with their handlers, their policies, and the first mistake in the declaration.
pub(super) struct HookTable<H> {
    pub(super) hooks: Vec<(Hook, H)>,
    pub(super) policies: Vec<(Name, DeliveryPolicy)>,
    pub(super) problem: Option<String>,
}

impl<H> Default for HookTable<H> {
    fn default() -> Self {
        Self { hooks: Vec::new(), policies: Vec::new(), problem: None }
    }
}

impl<H> HookTable<H> {
    /// Adds a hook for packets of a source, at most `max` (at least 1) in one call.
    pub(super) fn source(&mut self, source: &str, max: usize, handler: H) {
        match Name::new(source) {
            Ok(name) if [Tick::SOURCE, Wake::SOURCE, Lifecycle::SOURCE].contains(&name.as_str()) => {
                self.complain(format!("it takes the reserved source {name}"));
            }
            Ok(name) if self.sources().any(|other| *other == name) => {
                self.complain(format!("it takes {name} twice"));
            }
            Ok(source) => self.hooks.push((Hook::Source { source, max: max.max(1) }, handler)),
            Err(error) => self.complain(malformed(&error)),
        }
    }

    /// Adds a hook for ticks, at least a millisecond apart.
    pub(super) fn every(&mut self, period: Duration, handler: H) {
        if self.period().is_some() {
            self.complain("it asks for ticks twice".to_owned());
        }
        self.hooks.push((Hook::Every(period.max(Duration::from_millis(1))), handler));
    }

    /// Adds a hook for wakes.
    pub(super) fn wake(&mut self, handler: H) {
        if self.hooks.iter().any(|(hook, _)| *hook == Hook::Wake) {
            self.complain("it asks for wakes twice".to_owned());
        }
        self.hooks.push((Hook::Wake, handler));
    }

    /// Sets the policy of the source that was added last.
    pub(super) fn policy(&mut self, policy: DeliveryPolicy) {
        match self.hooks.last() {
            Some((Hook::Source { source, .. }, _)) => self.policies.push((source.clone(), policy)),
            _ => self.complain("it has a policy before a source".to_owned()),
        }
    }

    /// Whether a hook takes wakes.
    pub(super) fn takes_wakes(&self) -> bool {
        self.hooks.iter().any(|(hook, _)| *hook == Hook::Wake)
    }

    /// Sets the handler of the source that was added last.
    pub(super) fn set_handler(&mut self, handler: H) {
        match self.hooks.last_mut() {
            Some((Hook::Source { .. }, last)) => *last = handler,
            _ => self.complain("it has a type before a source".to_owned()),
        }
    }

    pub(super) fn sources(&self) -> impl Iterator<Item = &Name> {
        self.hooks.iter().filter_map(|(hook, _)| match hook {
            Hook::Source { source, .. } => Some(source),
            Hook::Every(_) | Hook::Wake => None,
        })
    }

    /// What packets of each source must carry, as the handlers say.
    pub(super) fn takes(&self, of: impl Fn(&H) -> DataType) -> BTreeMap<Name, DataType> {
        let takes = |(hook, handler): &(Hook, H)| match hook {
            Hook::Source { source, .. } => Some((source.clone(), of(handler))),
            Hook::Every(_) | Hook::Wake => None,
        };
        self.hooks.iter().filter_map(takes).collect()
    }

    /// The time between two ticks, if the plugin asks for them.
    pub(super) fn period(&self) -> Option<Duration> {
        period(self.hooks.iter().map(|(hook, _)| hook))
    }

    /// The hooks as the runtime knows them.
    pub(super) fn listed(&self) -> Vec<(HookId, Hook)> {
        self.hooks.iter().enumerate().map(|(index, (hook, _))| (HookId(index), hook.clone())).collect()
    }

    fn complain(&mut self, problem: String) {
        self.problem.get_or_insert(problem);
    }
}

/// The time between two ticks, if one of these hooks asks for them.
pub(super) fn period<'a>(mut hooks: impl Iterator<Item = &'a Hook>) -> Option<Duration> {
    hooks.find_map(|hook| match hook {
        Hook::Every(period) => Some(*period),
        Hook::Source { .. } | Hook::Wake => None,
    })
}

fn malformed(error: &name::Error) -> String {
    format!("a hook's source is malformed: {error}")
}
