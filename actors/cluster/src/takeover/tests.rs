use teammy_kernel::Name;

use tokio::time::Duration;

use super::*;
use crate::member::NodeDocument;

const SECOND: Duration = Duration::from_secs(1);

pub(super) fn incarnation(node: &str) -> Incarnation {
    Incarnation { node: Name::new(node).unwrap(), boot: 1 }
}

fn id(meeting: &str) -> MeetingId {
    MeetingId::new(meeting).unwrap()
}

fn member(node: &str, capacity: u32, reserved: u32) -> Member {
    let document = NodeDocument { capacity, reserved, ..NodeDocument::default() };
    Member { incarnation: incarnation(node), document }
}

fn found(meetings: &[&str]) -> Vec<Found> {
    meetings
        .iter()
        .map(|meeting| Found { meeting: id(meeting), has_marks: meeting.starts_with("marked") })
        .collect()
}

fn view(members: Vec<Member>, ended: &[&str]) -> View {
    View { is_member: true, members, ended: ended.iter().map(|node| incarnation(node)).collect() }
}

/// The machine of `a`, which sees these members, and that `x` has ended; and now.
fn a_sees(members: Vec<Member>) -> (Takeover, Instant) {
    let now = Instant::now();
    let mut takeover = Takeover::new(incarnation("a"), Settings::default());
    takeover.view(&view(members, &["x"]), now);
    (takeover, now)
}

fn alone() -> (Takeover, Instant) {
    a_sees(vec![member("a", 1000, 0)])
}

#[track_caller]
fn answer_list(takeover: &mut Takeover, meetings: &[&str], now: Instant) {
    let of = incarnation("x");
    assert_eq!(takeover.next(now), Step::List { of: of.clone(), limit: 512 });
    takeover.listed(&of, found(meetings), now);
}

fn take(meeting: &str) -> Step {
    Step::Take { meeting: id(meeting), from: incarnation("x") }
}

/// Meetings by how many of the members come before `a` for them.
fn of_rank(rank: usize, members: &[Member]) -> MeetingId {
    let ids = (0..).map(|number| id(&format!("m-{number}")));
    let of_a = |id: &MeetingId| placement::ranked(id, members)[rank].incarnation == incarnation("a");
    ids.into_iter().find(of_a).unwrap()
}

#[test]
fn the_first_in_the_ranking_takes_a_meeting_at_once() {
    let (mut takeover, now) = alone();
    answer_list(&mut takeover, &["m"], now);
    assert_eq!(takeover.next(now), take("m"));
    assert_eq!(takeover.next(now), Step::Wait(Some(now + 5 * SECOND)));
    takeover.finished(&id("m"), Outcome::Taken, now);
    assert_eq!(takeover.counts(), (0, 0));
    // The next list is empty, so the lease goes.
    answer_list(&mut takeover, &[], now + 5 * SECOND);
    assert_eq!(takeover.next(now + 5 * SECOND), Step::Remove(incarnation("x")));
    takeover.removed(&incarnation("x"));
    assert_eq!(takeover.next(now + 5 * SECOND), Step::Wait(None));
    takeover.view(&view(vec![member("a", 1000, 1)], &[]), now + 6 * SECOND);
    assert_eq!(takeover.next(now + 100 * SECOND), Step::Wait(None));
}

#[test]
fn the_others_take_what_still_belongs_to_the_dead_a_step_later_each() {
    let members = vec![member("a", 1000, 0), member("b", 1000, 0), member("c", 1000, 0)];
    for rank in [1, 2] {
        let meeting = of_rank(rank, &members);
        let (mut takeover, now) = a_sees(members.clone());
        let mut at = now;
        for _ in 0..rank {
            answer_list(&mut takeover, &[meeting.as_str()], at);
            assert_eq!(takeover.next(at), Step::Wait(Some(at + 5 * SECOND)));
            at += 5 * SECOND;
        }
        answer_list(&mut takeover, &[meeting.as_str()], at);
        assert_eq!(takeover.next(at), take(meeting.as_str()), "{rank}");
    }
    // Nor does it try what the list does not show any more.
    let meeting = of_rank(1, &members);
    let (mut takeover, now) = a_sees(members);
    answer_list(&mut takeover, &[meeting.as_str(), "other"], now);
    answer_list(&mut takeover, &["other"], now + 5 * SECOND);
    for _ in 0..3 {
        assert_ne!(takeover.next(now + 5 * SECOND), take(meeting.as_str()));
    }
}

#[test]
fn one_that_has_no_room_or_takes_no_meetings_tries_nothing() {
    let draining = Member {
        document: NodeDocument { is_draining: true, ..member("a", 1000, 0).document },
        ..member("a", 1000, 0)
    };
    for me in [member("a", 0, 0), member("a", 10, 10), draining] {
        let (mut takeover, now) = a_sees(vec![me, member("b", 1000, 0)]);
        // It lists because it is the one that removes the lease.
        answer_list(&mut takeover, &["m", "n"], now);
        assert_eq!(takeover.next(now), Step::Wait(Some(now + 5 * SECOND)));
        answer_list(&mut takeover, &[], now + 5 * SECOND);
        assert_eq!(takeover.next(now + 5 * SECOND), Step::Remove(incarnation("x")));
    }
    // Where another node removes it, a node without room does not even list.
    let mut takeover = Takeover::new(incarnation("b"), Settings::default());
    let now = Instant::now();
    takeover.view(&view(vec![member("a", 1000, 0), member("b", 10, 10)], &["x"]), now);
    assert_eq!(takeover.next(now), Step::Wait(None));
    takeover.view(&view(vec![member("a", 1000, 0), member("b", 10, 9)], &["x"]), now);
    assert_eq!(takeover.next(now), Step::List { of: incarnation("x"), limit: 512 });
}

#[test]
fn a_node_that_gets_room_takes_what_it_knows() {
    let (mut takeover, now) = a_sees(vec![member("a", 10, 10)]);
    answer_list(&mut takeover, &["m"], now);
    assert_eq!(takeover.next(now), Step::Wait(Some(now + 5 * SECOND)));
    takeover.view(&view(vec![member("a", 10, 9)], &["x"]), now);
    assert_eq!(takeover.next(now), take("m"));
}

#[test]
fn no_more_than_so_many_are_taken_at_once() {
    let names: Vec<String> = (10..40).map(|number| format!("m-{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let (mut takeover, now) = alone();
    answer_list(&mut takeover, &names, now);
    for name in &names[..8] {
        assert_eq!(takeover.next(now), take(name));
    }
    assert_eq!(takeover.next(now), Step::Wait(Some(now + 5 * SECOND)));
    assert_eq!(takeover.counts(), (8, 22));
    takeover.finished(&id(names[3]), Outcome::Taken, now);
    assert_eq!(takeover.next(now), take(names[8]));
    assert_eq!(takeover.next(now), Step::Wait(Some(now + 5 * SECOND)));
}

#[test]
fn meetings_that_somebody_waits_for_come_first() {
    let now = Instant::now();
    let settings = Settings { at_once: 1, ..Settings::default() };
    let mut takeover = Takeover::new(incarnation("a"), settings);
    takeover.view(&view(vec![member("a", 1000, 0)], &["x"]), now);
    takeover.wanted(&id("e"));
    answer_list(&mut takeover, &["a", "b", "c", "d", "e", "marked"], now);
    takeover.wanted(&id("d"));
    takeover.wanted(&id("c"));
    takeover.not_wanted(&id("c"));
    for meeting in ["d", "e", "marked", "a", "b", "c"] {
        assert_eq!(takeover.next(now), take(meeting));
        assert_eq!(takeover.next(now), Step::Wait(Some(now + 5 * SECOND)));
        takeover.finished(&id(meeting), Outcome::Taken, now);
    }
}

#[test]
fn one_that_failed_is_tried_again_after_others_and_ever_later() {
    let now = Instant::now();
    let mut takeover = Takeover::new(incarnation("a"), Settings { at_once: 1, ..Settings::default() });
    takeover.view(&view(vec![member("a", 1000, 0)], &["x"]), now);
    answer_list(&mut takeover, &["a", "b"], now);
    assert_eq!(takeover.next(now), take("a"));
    takeover.finished(&id("a"), Outcome::Failed, now);
    assert_eq!(takeover.next(now), take("b"));
    takeover.finished(&id("b"), Outcome::Lost, now);
    let (mut at, mut waits) = (now, Vec::new());
    for _ in 0..9 {
        let Step::Wait(Some(until)) = takeover.next(at) else { panic!("it is not tried at once") };
        waits.push((until - at).as_secs());
        at = until;
        answer_list(&mut takeover, &["a"], at);
        if takeover.next(at) == take("a") {
            takeover.finished(&id("a"), Outcome::Failed, at);
        }
    }
    // It is listed every 5 s at least, and tried after 1, 2, 4, 8 and 16 s.
    assert_eq!(waits, [1, 2, 4, 5, 3, 5, 5, 5, 1]);
}

#[test]
fn a_list_that_is_full_is_read_again_at_once_and_twice_as_long() {
    let now = Instant::now();
    let mut takeover =
        Takeover::new(incarnation("a"), Settings { page: 2, at_once: 9, ..Settings::default() });
    takeover.view(&view(vec![member("a", 1000, 0)], &["x"]), now);
    let all = ["a", "b", "c", "d", "e"];
    for (limit, meanwhile) in [(2, Step::Wait(None)), (4, take("a")), (8, take("b"))] {
        assert_eq!(takeover.next(now), Step::List { of: incarnation("x"), limit });
        assert_eq!(takeover.next(now), meanwhile);
        takeover.listed(&incarnation("x"), found(&all[..limit.min(5)]), now);
    }
    assert_eq!(takeover.counts(), (2, 3), "nothing is twice");
}

#[test]
fn a_list_that_was_overtaken_brings_nothing_back() {
    let (mut takeover, now) = alone();
    answer_list(&mut takeover, &["m", "n"], now);
    assert_eq!(takeover.next(now), take("m"));
    assert_eq!(takeover.next(now), take("n"));
    let later = now + 5 * SECOND;
    assert_eq!(takeover.next(later), Step::List { of: incarnation("x"), limit: 512 });
    takeover.finished(&id("m"), Outcome::Taken, later);
    takeover.listed(&incarnation("x"), found(&["m", "n"]), later + SECOND);
    assert_eq!(takeover.counts(), (1, 0));
    assert_eq!(takeover.next(later + SECOND), Step::Wait(Some(later + 5 * SECOND)));
}

#[test]
fn lists_and_removals_that_fail_are_tried_again() {
    let (mut takeover, now) = alone();
    let x = incarnation("x");
    let mut at = now;
    for wait in [1, 2, 4] {
        assert_eq!(takeover.next(at), Step::List { of: x.clone(), limit: 512 });
        assert_eq!(takeover.next(at), Step::Wait(None));
        takeover.not_listed(&x, at);
        assert_eq!(takeover.next(at), Step::Wait(Some(at + wait * SECOND)));
        at += wait * SECOND;
    }
    answer_list(&mut takeover, &[], at);
    assert_eq!(takeover.next(at), Step::Remove(x.clone()));
    assert_eq!(takeover.next(at), Step::Wait(None));
    takeover.not_removed(&x, at);
    assert_eq!(takeover.next(at), Step::Wait(Some(at + SECOND)));
    assert_eq!(takeover.next(at + SECOND), Step::Remove(x));
}

#[test]
fn the_member_of_the_smallest_incarnation_removes_the_lease() {
    let now = Instant::now();
    let mut takeover = Takeover::new(incarnation("b"), Settings::default());
    let both = vec![member("a", 0, 0), member("b", 1000, 0)];
    takeover.view(&view(both, &["x"]), now);
    answer_list(&mut takeover, &[], now);
    assert_eq!(takeover.next(now + 100 * SECOND), Step::Wait(None));
    takeover.view(&view(vec![member("b", 1000, 0)], &["a", "x"]), now + 100 * SECOND);
    let a = Step::List { of: incarnation("a"), limit: 512 };
    assert_eq!(takeover.next(now + 100 * SECOND), a);
    assert_eq!(takeover.next(now + 100 * SECOND), Step::Remove(incarnation("x")));
}

#[test]
fn a_meeting_goes_with_its_owner() {
    // Another node took it, and has ended too.
    let (mut takeover, now) = a_sees(vec![member("a", 10, 10)]);
    answer_list(&mut takeover, &["m"], now);
    takeover.view(&view(vec![member("a", 10, 10)], &["x", "y"]), now);
    assert_eq!(takeover.next(now), Step::List { of: incarnation("y"), limit: 512 });
    takeover.listed(&incarnation("y"), found(&["m"]), now);
    takeover.view(&view(vec![member("a", 10, 0)], &["y"]), now);
    assert_eq!(takeover.next(now), Step::Take { meeting: id("m"), from: incarnation("y") });
    // A lease that is gone takes its meetings along.
    takeover.view(&view(vec![member("a", 10, 0)], &[]), now);
    takeover.finished(&id("m"), Outcome::Failed, now);
    assert_eq!((takeover.counts(), takeover.next(now)), ((0, 0), Step::Wait(None)));
}

#[test]
fn a_node_that_is_no_member_does_nothing() {
    let (mut takeover, now) = alone();
    answer_list(&mut takeover, &["m"], now);
    let members = vec![member("a", 1000, 0)];
    takeover.view(&View { is_member: false, ..view(members, &["x"]) }, now);
    assert_eq!(takeover.next(now + 100 * SECOND), Step::Wait(None));
}
