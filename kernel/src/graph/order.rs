//! The order of instances: upstream before downstream.

use std::collections::{BTreeMap, BTreeSet};

use super::{error::Error, instance::Instance};
use crate::Name;

/// Sorts instances upstream first; among instances that could come next, the first declared wins.
pub(super) fn in_order(instances: Vec<Instance>) -> Result<Vec<Instance>, Error> {
    let index: BTreeMap<&Name, usize> =
        instances.iter().enumerate().map(|(at, instance)| (&instance.name, at)).collect();
    let upstream: Vec<Vec<usize>> = instances
        .iter()
        .map(|instance| {
            instance.subscriptions.keys().filter_map(|source| index.get(source).copied()).collect()
        })
        .collect();
    let mut downstream = vec![Vec::new(); instances.len()];
    for (to, from) in
        upstream.iter().enumerate().flat_map(|(to, from)| from.iter().map(move |from| (to, *from)))
    {
        downstream[from].push(to);
    }

    let mut waiting_for: Vec<usize> = upstream.iter().map(Vec::len).collect();
    let mut ready: BTreeSet<usize> = (0..instances.len()).filter(|at| waiting_for[*at] == 0).collect();
    let mut order = Vec::with_capacity(instances.len());
    while let Some(next) = ready.pop_first() {
        order.push(next);
        for to in &downstream[next] {
            waiting_for[*to] -= 1;
            if waiting_for[*to] == 0 {
                ready.insert(*to);
            }
        }
    }
    if let Some(stuck) = waiting_for.iter().position(|count| *count > 0) {
        let path = cycle(stuck, &upstream, &waiting_for);
        return Err(Error::Cycle { path: path.into_iter().map(|at| instances[at].name.clone()).collect() });
    }

    let mut slots: Vec<Option<Instance>> = instances.into_iter().map(Some).collect();
    let taken =
        order.into_iter().map(|at| slots[at].take().expect("invariant: an order names each instance once"));
    Ok(taken.collect())
}

/// A cycle upstream of an instance that never becomes ready, from producer to consumer, with its first member
/// repeated at the end. Such an instance waits for another that never becomes ready, so a walk upstream must
/// return to an instance that it has visited.
fn cycle(stuck: usize, upstream: &[Vec<usize>], waiting_for: &[usize]) -> Vec<usize> {
    let mut walked = vec![stuck];
    loop {
        let at = walked[walked.len() - 1];
        let next = *upstream[at]
            .iter()
            .find(|from| waiting_for[**from] > 0)
            .expect("invariant: an instance that never becomes ready waits for another one");
        if let Some(start) = walked.iter().position(|seen| *seen == next) {
            let mut path = walked.split_off(start);
            path.reverse();
            let first =
                path.iter().enumerate().min_by_key(|(_, member)| **member).map_or(0, |(place, _)| place);
            path.rotate_left(first);
            path.push(path[0]);
            return path;
        }
        walked.push(next);
    }
}
