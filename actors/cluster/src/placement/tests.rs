use std::collections::BTreeMap;

use teammy_kernel::store::Incarnation;

use super::*;
use crate::member::NodeDocument;

fn member(node: &str, capacity: u32) -> Member {
    let incarnation = Incarnation { node: Name::new(node).unwrap(), boot: 1 };
    Member { incarnation, document: NodeDocument { capacity, ..NodeDocument::default() } }
}

fn ids() -> impl Iterator<Item = MeetingId> {
    (0..10_000).map(|number| MeetingId::new(format!("m-{number}")).unwrap())
}

fn best(meeting: &MeetingId, members: &[Member]) -> String {
    ranked(meeting, members)[0].incarnation.node.to_string()
}

fn names(meeting: &str, members: &[Member]) -> Vec<String> {
    let meeting = MeetingId::new(meeting).unwrap();
    ranked(&meeting, members).into_iter().map(|member| member.incarnation.node.to_string()).collect()
}

fn counts(members: &[Member]) -> BTreeMap<String, f64> {
    ids().fold(BTreeMap::new(), |mut counts, id| {
        *counts.entry(best(&id, members)).or_default() += 1.0;
        counts
    })
}

#[test]
fn meetings_spread_in_proportion_to_capacity() {
    let capacities = [("a", 1000), ("b", 500), ("c", 2000), ("d", 1000), ("e", 10)];
    let members = capacities.map(|(node, capacity)| member(node, capacity));
    let counts = counts(&members);
    for (node, capacity) in capacities {
        let share = f64::from(capacity) / 4510.0;
        let (expected, deviation) = (10_000.0 * share, (10_000.0 * share * (1.0 - share)).sqrt());
        let off = (counts[node] - expected).abs();
        assert!(off < 4.0 * deviation, "{node}: {} instead of {expected}", counts[node]);
    }
}

#[test]
fn the_second_best_spread_in_proportion_too() {
    // What a dead node had is divided among all others.
    let all = [member("a", 1000), member("b", 1000), member("c", 2000), member("d", 1000)];
    let mut heirs: BTreeMap<String, u32> = BTreeMap::new();
    let mut of_a = 0;
    for id in ids().filter(|id| best(id, &all) == "a") {
        of_a += 1;
        *heirs.entry(best(&id, &all[1..])).or_default() += 1;
    }
    assert!((1800..2200).contains(&of_a), "{of_a}");
    let share = |node: &str| f64::from(heirs[node]) / f64::from(of_a);
    assert!((share("b") - 0.25).abs() < 0.04 && (share("c") - 0.5).abs() < 0.04, "{heirs:?}");
}

#[test]
fn only_meetings_of_a_node_that_comes_or_goes_move() {
    let before = [member("a", 1000), member("b", 500), member("c", 2000)];
    let after = [&before[..], &[member("d", 1000)]].concat();
    let mut moved = 0;
    for id in ids() {
        let (old, new) = (best(&id, &before), best(&id, &after));
        if old != new {
            assert_eq!(new, "d", "{id}");
            moved += 1;
        }
    }
    // 1000 of 4500.
    assert!((2050..2400).contains(&moved), "{moved}");
}

#[test]
fn a_capacity_that_grows_draws_meetings_and_moves_no_others() {
    let before = [member("a", 1000), member("b", 1000), member("c", 1000)];
    let after = [member("a", 1000), member("b", 1000), member("c", 1500)];
    for id in ids() {
        let (old, new) = (best(&id, &before), best(&id, &after));
        assert!(old == new || new == "c", "{id}: {old} {new}");
    }
    assert!(counts(&after)["c"] > counts(&before)["c"]);
}

#[test]
fn rankings_are_the_same_in_every_version() {
    // Computed by another implementation of BLAKE3, in Python.
    let hash =
        |meeting: &str, node: &str| super::hash(&MeetingId::new(meeting).unwrap(), &Name::new(node).unwrap());
    assert_eq!(hash("weekly", "north"), 16_236_213_213_345_342_468);
    assert_eq!(hash("Überlingen 🚀", "south-2.example"), 913_328_237_311_817_261);
    assert_ne!(hash("bc", "a"), hash("c", "ab"));
    let members = [member("north", 1000), member("south", 1000), member("east", 500), member("west", 2000)];
    for (meeting, ranking) in [
        ("weekly", ["north", "south", "west", "east"]),
        ("Überlingen 🚀", ["north", "east", "south", "west"]),
        ("m-1", ["south", "west", "east", "north"]),
    ] {
        assert_eq!(names(meeting, &members), ranking, "{meeting}");
    }
}

#[test]
fn the_order_of_members_and_their_boots_do_not_count() {
    let mut members = [member("a", 1000), member("b", 500), member("c", 2000)];
    let before: Vec<_> = ids().take(500).map(|id| names(id.as_str(), &members)).collect();
    members.reverse();
    for (at, member) in members.iter_mut().enumerate() {
        member.incarnation.boot = 77 + at as u64;
    }
    let after: Vec<_> = ids().take(500).map(|id| names(id.as_str(), &members)).collect();
    assert_eq!(before, after);
}

#[test]
fn gateways_and_draining_nodes_are_left_out_and_full_ones_come_last() {
    let mut members =
        [member("a", 1000), member("b", 1000), member("c", 1000), member("d", 1000), member("e", 0)];
    members[3].document.is_draining = true;
    for id in ids().take(100) {
        let all = names(id.as_str(), &members);
        let mut sorted = all.clone();
        sorted.sort();
        assert_eq!(sorted, ["a", "b", "c"]);
        let mut full = members.clone();
        full[0].document.reserved = 1000;
        full[1].document.reserved = 1001;
        let now = names(id.as_str(), &full);
        // Those that are full keep their order.
        let expected: Vec<_> =
            ["c".to_owned()].into_iter().chain(all.into_iter().filter(|node| node != "c")).collect();
        assert_eq!(now, expected);
    }
    assert!(ranked(&MeetingId::new("m").unwrap(), &members[3..]).is_empty());
}

#[test]
fn scores_are_finite_at_both_ends() {
    for hash in [0, 1, u64::MAX, u64::MAX - 1] {
        let unit = unit(hash);
        assert!(unit > 0.0 && unit < 1.0 && unit.ln() < 0.0, "{hash}");
    }
}
