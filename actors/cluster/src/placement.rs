//! Which node a meeting belongs on: rendezvous hashing, weighted by capacity.
//!
//! Every node computes the same ranking from the members' documents, so nodes agree without talking. A ranking only says who is
//! asked first; who owns a meeting is decided by the store. When a node joins, only meetings move that it is the best node
//! for from then on; when one leaves, only those that it had.
//!
//! The method is highest random weight hashing (Thaler and Ravishankar, "Using name-based mappings to increase hit rates",
//! IEEE/ACM Transactions on Networking 6(1), 1998). Weights follow the logarithmic method (Schindelhauer and Schomaker, "Weighted
//! distributed hash tables", SPAA 2005): with a hash `u` in (0, 1), a node's score is `-capacity / ln(u)`, and a node of twice
//! the capacity gets twice the meetings.

use std::cmp::Ordering;

use teammy_kernel::{MeetingId, Name};

use crate::member::Member;

/// The members that take meetings, best first for this one: those with a capacity that are not draining. Members without room
/// come after all others.
///
/// A node's name counts and not its boot number, so a node that starts again gets the same meetings.
pub fn ranked<'a>(meeting: &MeetingId, members: &'a [Member]) -> Vec<&'a Member> {
    let mut ranked = by_score(meeting, members);
    // The sort is stable.
    ranked.sort_by_key(|member| !has_room(member));
    ranked
}

/// As [`ranked`], whatever room they have: the ranking changes only with the members and their capacities.
pub(crate) fn by_score<'a>(meeting: &MeetingId, members: &'a [Member]) -> Vec<&'a Member> {
    let taking = members.iter().filter(|member| takes_meetings(member));
    let mut scored: Vec<(f64, &Member)> = taking
        .map(|member| (score(meeting, &member.incarnation.node, member.document.capacity), member))
        .collect();
    scored.sort_by(|(a, first), (b, second)| match b.total_cmp(a) {
        Ordering::Equal => first.incarnation.cmp(&second.incarnation),
        other => other,
    });
    scored.into_iter().map(|(_, member)| member).collect()
}

/// Whether a member is one that meetings are placed on.
pub(crate) fn takes_meetings(member: &Member) -> bool {
    member.document.capacity > 0 && !member.document.is_draining
}

/// Whether a member has room for one more meeting.
pub(crate) fn has_room(member: &Member) -> bool {
    member.document.reserved < member.document.capacity
}

/// The score of a node for a meeting: larger is better. Platforms may differ in the last bit of a logarithm, which matters only
/// to scores that are as good as equal.
fn score(meeting: &MeetingId, node: &Name, capacity: u32) -> f64 {
    -f64::from(capacity) / unit(hash(meeting, node)).ln()
}

/// The same on every platform and in every version: two nodes of different versions rank alike.
pub(crate) fn hash(meeting: &MeetingId, node: &Name) -> u64 {
    let node = node.as_str().as_bytes();
    let mut hasher = blake3::Hasher::new();
    // A name has at most 64 bytes. Its length keeps "a" + "bc" and "ab" + "c" apart.
    hasher
        .update(&[u8::try_from(node.len()).unwrap_or(u8::MAX)])
        .update(node)
        .update(meeting.as_str().as_bytes());
    let first = *hasher.finalize().as_bytes().first_chunk().expect("invariant: a hash has 32 bytes");
    u64::from_le_bytes(first)
}

/// A number in (0, 1), neither end included, by the upper 52 bits: with one bit more, the largest would round to 1.
fn unit(hash: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "52 bits fit into a mantissa")]
    let upper = (hash >> 12) as f64;
    (upper + 0.5) / 2_f64.powi(52)
}

#[cfg(test)]
mod tests;
