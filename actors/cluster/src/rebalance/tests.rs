use std::collections::HashMap;

use teammy_kernel::Name;

use super::*;
use crate::member::NodeDocument;

const SECOND: Duration = Duration::from_secs(1);

fn incarnation(node: &str) -> Incarnation {
    Incarnation { node: Name::new(node).unwrap(), boot: 1 }
}

fn id(number: usize) -> MeetingId {
    MeetingId::new(format!("m-{number}")).unwrap()
}

fn member(node: &str, capacity: u32, reserved: usize) -> Member {
    let reserved = u32::try_from(reserved).unwrap();
    let document = NodeDocument { capacity, reserved, ..NodeDocument::default() };
    Member { incarnation: incarnation(node), document }
}

fn view(members: &[Member]) -> View {
    View { is_member: true, members: members.to_vec(), ended: vec![] }
}

/// Meetings for which `b` is ranked before `a`.
fn placed_on_b(members: &[Member]) -> impl Iterator<Item = MeetingId> {
    let is_of_b = |id: &MeetingId| better(id, members, &incarnation("a")).contains(&incarnation("b"));
    (0..).map(id).filter(is_of_b)
}

/// Node `a`, which runs so many meetings, with other members.
fn a_runs(count: usize, others: &[Member], settings: Settings) -> (Rebalance, Instant) {
    let mut rebalance = Rebalance::new(incarnation("a"), settings);
    rebalance.view(&view(&[&[member("a", 1000, count)], others].concat()));
    (0..count).for_each(|number| rebalance.runs(id(number)));
    (rebalance, Instant::now())
}

/// Does everything that can be done at this time, with success. Returns the moves.
fn moves(rebalance: &mut Rebalance, now: Instant) -> Vec<(MeetingId, Incarnation)> {
    let mut moves = Vec::new();
    while let Step::Move { meeting, to } = rebalance.next(now) {
        rebalance.finished(&meeting, Outcome::Moved, now);
        moves.push((meeting, to));
        assert!(moves.len() < 10_000, "it does not end");
    }
    moves
}

/// Nodes that balance by themselves, with documents that are a second old.
struct Cluster {
    nodes: Vec<(Rebalance, u32)>,
    now: Instant,
    moves: HashMap<MeetingId, Vec<Instant>>,
}

impl Cluster {
    /// Nodes by their capacities and loads.
    fn new(loads: &[(u32, usize)], settings: &Settings) -> Self {
        let mut first = 0;
        let nodes = loads.iter().enumerate().map(|(at, (capacity, load))| {
            let mut node = Rebalance::new(incarnation(&format!("n{at}")), settings.clone());
            (first..first + load).for_each(|number| node.runs(id(number)));
            first += load;
            (node, *capacity)
        });
        Self { nodes: nodes.collect(), now: Instant::now(), moves: HashMap::new() }
    }

    fn loads(&self) -> Vec<usize> {
        self.nodes.iter().map(|(node, _)| node.held.len()).collect()
    }

    fn second(&mut self) -> usize {
        let members: Vec<Member> = self
            .nodes
            .iter()
            .map(|(node, capacity)| member(node.me.node.as_ref(), *capacity, node.held.len()))
            .collect();
        let mut count = 0;
        for at in 0..self.nodes.len() {
            self.nodes[at].0.view(&view(&members));
            for (meeting, to) in moves(&mut self.nodes[at].0, self.now) {
                let target = self.nodes.iter().position(|(node, _)| node.me == to).unwrap();
                let ranked = placement::by_score(&meeting, &members);
                let rank = |of: &Incarnation| ranked.iter().position(|member| member.incarnation == *of);
                assert!(rank(&to) < rank(&self.nodes[at].0.me), "{meeting} is placed worse on {to}");
                let (node, capacity) = &mut self.nodes[target];
                node.received(meeting.clone(), self.now);
                assert!(node.held.len() <= *capacity as usize, "a full node got {meeting}");
                self.moves.entry(meeting).or_default().push(self.now);
                count += 1;
            }
        }
        self.now += SECOND;
        count
    }

    /// Runs until an hour passes without a move; returns how many seconds it took until then.
    fn settle(&mut self) -> usize {
        let (mut quiet, mut seconds) = (0, 0);
        while quiet < 3600 {
            quiet = if self.second() == 0 { quiet + 1 } else { 0 };
            seconds += 1;
            assert!(seconds < 100_000, "it does not settle: {:?}", self.loads());
        }
        for times in self.moves.values() {
            assert!(times.len() < self.nodes.len(), "{times:?}");
            assert!(times.windows(2).all(|pair| pair[1] - pair[0] >= 300 * SECOND), "{times:?}");
        }
        seconds - quiet
    }
}

#[test]
fn a_node_that_comes_gets_its_share_slowly() {
    let mut cluster = Cluster::new(&[(1000, 300), (1000, 300), (1000, 0)], &Settings::default());
    let seconds = cluster.settle();
    let loads = cluster.loads();
    // The mean is 200. Each moves one a second down to 220 where it can: 80 of its own are enough for that.
    assert!(loads[0] <= 220 && loads[1] <= 220 && loads[2] >= 160, "{loads:?}");
    assert!((75..=95).contains(&seconds), "{seconds}");
    assert_eq!(cluster.moves.values().map(Vec::len).sum::<usize>(), loads[2], "each was moved once");
}

#[test]
fn two_nodes_that_both_balance_do_not_push_meetings_to_and_fro() {
    for (loads, settings) in [
        ([(1000, 600), (1000, 0)], Settings { per_minute: 10_000, ..Settings::default() }),
        ([(1000, 510), (1000, 490)], Settings { tolerance: 0.0, ..Settings::default() }),
        ([(10, 10), (10, 0)], Settings { per_minute: 600, tolerance: 0.0, ..Settings::default() }),
        ([(1000, 1), (1000, 0)], Settings::default()),
        ([(3000, 300), (100, 0)], Settings { rest: Duration::from_mins(5), ..Settings::default() }),
    ] {
        let mut cluster = Cluster::new(&loads, &settings);
        cluster.settle();
        let ended = cluster.loads();
        let shares = [0, 1].map(|at| f64::from(u32::try_from(ended[at]).unwrap()) / f64::from(loads[at].0));
        assert!(cluster.moves.values().all(|times| times.len() == 1), "{loads:?}");
        assert!(ended[0] >= loads[0].1 / 3, "{loads:?}: {shares:?}");
    }
}

#[test]
fn many_nodes_settle_near_the_mean() {
    let mut rng = fastrand::Rng::with_seed(7);
    for _ in 0..10 {
        let nodes: Vec<(u32, usize)> = (0..5).map(|_| (rng.u32(1..10) * 100, rng.usize(0..100))).collect();
        let mut cluster = Cluster::new(&nodes, &Settings { per_minute: 600, ..Settings::default() });
        let all: usize = cluster.loads().iter().sum();
        cluster.settle();
        assert_eq!(cluster.loads().iter().sum::<usize>(), all);
        // Whoever is above the mean has nothing that is placed better on a node below it.
        let members: Vec<Member> = nodes
            .iter()
            .enumerate()
            .map(|(at, node)| member(&format!("n{at}"), node.0, cluster.loads()[at]))
            .collect();
        for (node, _) in &mut cluster.nodes {
            node.view(&view(&members));
            assert_eq!(node.next(cluster.now), Step::Wait(None));
        }
    }
}

#[test]
fn below_the_tolerance_and_without_a_pace_nothing_moves() {
    let others = [member("b", 1000, 100), member("c", 1000, 100)];
    // The mean is 103.3, and 110 is less than a tenth more.
    let (mut rebalance, now) = a_runs(110, &others, Settings::default());
    assert_eq!(rebalance.next(now), Step::Wait(None));
    let (mut rebalance, now) = a_runs(120, &others, Settings::default());
    assert!(matches!(rebalance.next(now), Step::Move { .. }));
    assert_eq!(rebalance.next(now), Step::Wait(Some(now + SECOND)));
    let (mut rebalance, now) = a_runs(500, &others, Settings { per_minute: 0, ..Settings::default() });
    assert_eq!(rebalance.next(now), Step::Wait(None));
}

#[test]
fn full_and_draining_nodes_and_gateways_get_nothing() {
    let mut draining = member("d", 1000, 0);
    draining.document.is_draining = true;
    let others = [member("b", 10, 10), member("c", 0, 0), draining];
    let (mut rebalance, now) = a_runs(500, &others, Settings::default());
    rebalance.balance_now();
    assert_eq!(rebalance.next(now), Step::Wait(None));
    rebalance.drain();
    assert_eq!(rebalance.next(now), Step::Wait(None));
    // Nor more than there is room for, before the other node tells so.
    let (mut rebalance, now) = a_runs(500, &[member("b", 10, 7)], Settings::default());
    rebalance.drain();
    assert_eq!(moves(&mut rebalance, now).len(), 3);
}

#[test]
fn a_move_goes_to_a_node_below_the_mean_and_does_not_turn_the_imbalance_round() {
    // The mean is 170, so `b` is above it too.
    let (mut rebalance, now) =
        a_runs(300, &[member("b", 1000, 210), member("c", 1000, 0)], Settings::default());
    rebalance.balance_now();
    let moved = moves(&mut rebalance, now);
    assert!(moved.len() > 50 && moved.iter().all(|(_, to)| *to == incarnation("c")), "{moved:?}");
    // One meeting of two nodes, wherever it is placed, is no imbalance, and three of them are.
    for (count, moved) in [(1, 0), (2, 1), (3, 1)] {
        let members = [member("a", 1000, count), member("b", 1000, 0)];
        let mut rebalance = Rebalance::new(incarnation("a"), Settings::default());
        rebalance.view(&view(&members));
        placed_on_b(&members).take(count).for_each(|meeting| rebalance.runs(meeting));
        rebalance.balance_now();
        assert_eq!(moves(&mut rebalance, now).len(), moved, "{count}");
    }
}

#[test]
fn on_command_it_balances_at_once_down_to_the_mean_and_only_once() {
    let (mut rebalance, now) =
        a_runs(600, &[member("b", 1000, 0)], Settings { per_minute: 0, ..Settings::default() });
    rebalance.balance_now();
    let mut under_way = 0;
    while let Step::Move { .. } = rebalance.next(now) {
        under_way += 1;
    }
    assert_eq!((under_way, rebalance.counts()), (16, (16, 600)));
    for meeting in rebalance.moving.keys().cloned().collect::<Vec<_>>() {
        rebalance.finished(&meeting, Outcome::Moved, now);
    }
    let moved = moves(&mut rebalance, now).len() + under_way;
    assert!((250..=300).contains(&moved), "{moved}");
    (1000..2000).for_each(|number| rebalance.runs(id(number)));
    assert_eq!(rebalance.next(now), Step::Wait(None));
}

#[test]
fn a_meeting_that_was_moved_or_refused_rests() {
    let members = [member("a", 1000, 0), member("b", 1000, 0)];
    let of_b: Vec<MeetingId> = placed_on_b(&members).take(2).collect();
    let mut rebalance = Rebalance::new(incarnation("a"), Settings::default());
    rebalance.view(&view(&members));
    let now = Instant::now();
    for meeting in &of_b {
        rebalance.received(meeting.clone(), now);
    }
    assert_eq!(rebalance.next(now), Step::Wait(Some(now + 300 * SECOND)));
    let later = now + 300 * SECOND;
    let first = Step::Move { meeting: of_b[0].clone(), to: incarnation("b") };
    assert_eq!(rebalance.next(later), first);
    rebalance.finished(&of_b[0], Outcome::Failed, later);
    assert_eq!(rebalance.next(later), Step::Wait(Some(later + SECOND)));
    assert_eq!(rebalance.next(later + SECOND), Step::Move { meeting: of_b[1].clone(), to: incarnation("b") });
    rebalance.ended(&of_b[1]);
    rebalance.runs(id(99_999));
    assert_ne!(rebalance.next(later + 299 * SECOND), first);
}

#[test]
fn a_drain_moves_everything_to_the_next_in_the_ranking() {
    let others = [member("b", 1000, 900), member("c", 1000, 0), member("d", 500, 0)];
    let (mut rebalance, now) = a_runs(200, &others, Settings { per_minute: 0, ..Settings::default() });
    // What it has got just now does not rest.
    rebalance.received(id(200), now);
    rebalance.drain();
    let mut under_way = Vec::new();
    while let Step::Move { meeting, to } = rebalance.next(now) {
        under_way.push((meeting, to));
    }
    assert_eq!(under_way.len(), 16);
    for (meeting, _) in &under_way {
        rebalance.finished(meeting, Outcome::Moved, now);
    }
    under_way.extend(moves(&mut rebalance, now));
    assert_eq!((under_way.len(), rebalance.counts()), (201, (0, 0)));
    for (meeting, to) in under_way {
        assert_eq!(to, placement::by_score(&meeting, &others)[0].incarnation);
    }
}

#[test]
fn a_drain_asks_the_next_node_when_one_refuses_and_begins_again() {
    let others = [member("b", 1000, 0), member("c", 1000, 0)];
    let (mut rebalance, now) = a_runs(1, &others, Settings::default());
    rebalance.drain();
    let ranked: Vec<Incarnation> =
        placement::by_score(&id(0), &others).into_iter().map(|member| member.incarnation.clone()).collect();
    for at in [now, now + 5 * SECOND] {
        for to in &ranked {
            assert_eq!(rebalance.next(at), Step::Move { meeting: id(0), to: to.clone() });
            assert_eq!(rebalance.next(at), Step::Wait(None));
            rebalance.finished(&id(0), Outcome::Failed, at);
        }
        assert_eq!(rebalance.next(at), Step::Wait(Some(at + 5 * SECOND)));
        assert_eq!(rebalance.next(at), Step::Wait(Some(at + 5 * SECOND)));
    }
}

#[test]
fn a_node_that_is_no_member_moves_nothing() {
    let (mut rebalance, now) = a_runs(500, &[member("b", 1000, 0)], Settings::default());
    rebalance.view(&View { is_member: false, ..view(&[member("a", 1000, 500), member("b", 1000, 0)]) });
    rebalance.drain();
    assert_eq!(rebalance.next(now), Step::Wait(None));
}
