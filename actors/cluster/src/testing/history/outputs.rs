//! Outputs are those of an undisturbed run.

use std::collections::{BTreeMap, BTreeSet};

use teammy_kernel::Lifecycle;

use super::meeting::{Found, Meeting};

/// The instances that take part, and from when on.
#[derive(Default)]
struct Expected<'a> {
    /// The keys of the inputs that an instance had, with their seqs.
    inputs: BTreeMap<&'a str, Vec<(u64, &'a str)>>,
    present: BTreeSet<&'a str>,
}

/// Each instance has one output for each input between its join and its leave, in their order, and counts them without a hole.
pub(super) fn outputs(meeting: &Meeting<'_>) -> Found {
    const RULE: &str = "as undisturbed";
    let mut found = Vec::new();
    let mut expected = Expected::default();
    let mut outputs: BTreeMap<&str, Vec<(u64, u64, &str)>> = BTreeMap::new();
    let mut has_ended = false;
    for stored in meeting.stored.values() {
        match &stored.lifecycle {
            Some(Lifecycle::Start { instances, .. }) => {
                expected.present.extend(instances.iter().map(teammy_kernel::Name::as_str));
            }
            Some(Lifecycle::Join { instance, .. }) => drop(expected.present.insert(instance.as_str())),
            Some(Lifecycle::Leave { instance }) => drop(expected.present.remove(instance.as_str())),
            Some(Lifecycle::Ended) => has_ended = true,
            _ => {}
        }
        match (&stored.key, stored.count) {
            (Some(key), None) => {
                for instance in &expected.present {
                    expected.inputs.entry(instance).or_default().push((stored.seq, key));
                }
            }
            (Some(key), Some(count)) => {
                outputs.entry(&stored.source).or_default().push((stored.seq, count, key));
            }
            _ => {}
        }
    }
    let instances: BTreeSet<&str> = outputs.keys().chain(expected.inputs.keys()).copied().collect();
    for instance in instances {
        let outputs = outputs.get(instance).map(Vec::as_slice).unwrap_or_default();
        let inputs = expected.inputs.get(instance).map(Vec::as_slice).unwrap_or_default();
        let pairs = (1..).zip(outputs).zip(inputs.iter().map(Some).chain(std::iter::repeat(None)));
        for ((place, (seq, count, key)), input) in pairs {
            if *count != place || input.is_none_or(|(input, of)| of != key || input >= seq) {
                let text = format!(
                    "output {place} of {instance} (seq {seq}) is {count} of {key}; its input is {input:?}"
                );
                found.push((RULE, text));
                break;
            }
        }
        if has_ended && outputs.len() < inputs.len() {
            let missing: Vec<_> = inputs[outputs.len()..].iter().take(5).collect();
            let counts = (outputs.len(), inputs.len());
            found.push((
                RULE,
                format!("{instance} has {counts:?} outputs and inputs; missing are those of {missing:?}"),
            ));
        }
    }
    found
}
