//! What goes wrong.

use std::{sync::Arc, time::Duration};

use teammy_cluster::testing::{Faults, TestNode, Way};
use teammy_kernel::{MeetingId, Name};
use teammy_runtime::admin;
use tokio::time::{Instant, sleep, timeout};

use crate::world::{World, on_within};

/// How long things go wrong.
const LENGTH: Duration = Duration::from_secs(25);

/// Starts nodes again that have stopped, or whose lease has ended, as what supervises programs does.
pub(crate) async fn restart(world: Arc<World>) {
    loop {
        for (name, capacity) in &world.names {
            let node = world.cluster.node(name);
            if node.as_ref().is_none_or(TestNode::is_lost) {
                if let Some(node) = node {
                    node.kill();
                    world.note(format_args!("{node:?} had lost its lease"));
                }
                sleep(world.millis(0..4000)).await;
                let started = timeout(Duration::from_secs(20), world.cluster.start(name, *capacity)).await;
                match started {
                    Ok(Ok(node)) => world.note(format_args!("{node:?} started")),
                    Ok(Err(error)) => {
                        world.note(format_args!("{name} did not start: {}", teammy_kernel::chain(&error)));
                    }
                    Err(_) => world.note(format_args!("{name} did not start in time")),
                }
            }
        }
        sleep(Duration::from_millis(100)).await;
    }
}

/// Lets things go wrong for a while.
pub(crate) async fn inject(world: &Arc<World>) {
    let until = Instant::now() + LENGTH;
    let mut under_way = tokio::task::JoinSet::new();
    while Instant::now() < until {
        sleep(world.millis(200..5000)).await;
        let nodes = world.cluster.nodes();
        let Some(node) = world.one_of(&nodes).cloned() else { continue };
        let world = world.clone();
        let kinds = if world.is_calm { 12..15 } else { 0..15 };
        match world.random(|random| random.u32(kinds)) {
            0 | 1 => {
                world.note(format_args!("{node:?} dies"));
                node.kill();
            }
            2 => drop(under_way.spawn(shut_down(world, node))),
            3 => drop(under_way.spawn(partition(world, node))),
            4 => drop(under_way.spawn(one_way(world, node))),
            5 | 6 => drop(under_way.spawn(freeze(world, node))),
            7 => drop(under_way.spawn(cut_store(world, node))),
            8 => drop(under_way.spawn(slow_store(world, node))),
            9 => drop(under_way.spawn(stop_store(world))),
            10 => drop(under_way.spawn(disturb(world))),
            11 => break_one(&world, &node),
            12 => drop(under_way.spawn(drain(world, node))),
            13 if world.is_calm => drop(under_way.spawn(shut_down(world, node))),
            _ => drop(under_way.spawn(move_one(world, node))),
        }
    }
    if world.is_calm {
        while under_way.join_next().await.is_some() {}
        return;
    }
    under_way.abort_all();
    while under_way.join_next().await.is_some() {}
    // Half done, they would stay as they are for ever.
    for node in world.cluster.nodes().iter().filter(|node| node.view().borrow().is_member) {
        let name = &node.incarnation().node;
        let members = node.view().borrow().members.clone();
        let me = members.iter().find(|member| member.incarnation.node == *name);
        if me.is_some_and(|me| me.document.is_draining) {
            node.kill();
        }
    }
}

async fn shut_down(world: Arc<World>, node: TestNode) {
    world.note(format_args!("{node:?} shuts down"));
    let deadline = if world.is_calm { Duration::from_mins(1) } else { world.millis(500..8000) };
    let result = node.shutdown(deadline).await;
    world.note(format_args!("{node:?} has shut down: {result:?}"));
}

async fn partition(world: Arc<World>, node: TestNode) {
    let others = world.cluster.nodes();
    for other in others.iter().filter(|other| other.incarnation() != node.incarnation()) {
        if world.happens(0.6) {
            world.note(format_args!("nothing between {node:?} and {other:?}"));
            world.cluster.network().cut(node.incarnation(), other.incarnation());
        }
    }
    sleep(world.millis(500..12_000)).await;
    world.cluster.network().heal();
    world.note("the network heals");
}

async fn one_way(world: Arc<World>, node: TestNode) {
    let others = world.cluster.nodes();
    let Some(other) = world.one_of(&others) else { return };
    world.note(format_args!("nothing from {node:?} to {other:?}"));
    world.cluster.network().cut_one_way(node.incarnation(), other.incarnation());
    sleep(world.millis(500..12_000)).await;
    world.cluster.network().heal();
    world.note("the network heals");
}

async fn freeze(world: Arc<World>, node: TestNode) {
    world.note(format_args!("{node:?} freezes"));
    world.cluster.freeze(&node);
    sleep(world.millis(1000..20_000)).await;
    world.cluster.thaw(&node);
    world.note(format_args!("{node:?} thaws"));
}

async fn cut_store(world: Arc<World>, node: TestNode) {
    let way = if world.happens(0.5) { Way::Cut } else { Way::Held };
    world.note(format_args!("{node:?} is cut off from the store: {way:?}"));
    node.store_link().set(way);
    sleep(world.millis(500..12_000)).await;
    node.store_link().set(Way::Open);
    world.note(format_args!("{node:?} reaches the store"));
}

async fn slow_store(world: Arc<World>, node: TestNode) {
    world.note(format_args!("the store is slow for {node:?}"));
    node.store_link().delay(Duration::from_millis(20)..world.millis(100..1500));
    sleep(world.millis(2000..15_000)).await;
    node.store_link().delay(Duration::ZERO..Duration::from_millis(2));
    world.note(format_args!("the store is fast for {node:?}"));
}

async fn stop_store(world: Arc<World>) {
    world.note("the store stops");
    world.cluster.stop_store();
    sleep(Duration::from_secs(if world.happens(0.6) { 4 } else { 15 })).await;
    world.cluster.start_store();
    world.note("the store is there again");
}

async fn drain(world: Arc<World>, node: TestNode) {
    let all = world.cluster.nodes();
    let Some(asked) = world.one_of(&all).cloned() else { return };
    world.note(format_args!("{asked:?} is asked to drain {node:?}"));
    let request = admin::Request::Drain { node: node.incarnation().node.clone() };
    let answer = on_within(&asked, Duration::from_secs(20), Box::pin(admin::handle(&asked, request))).await;
    world.note(format_args!("{node:?} is drained: {answer:?}"));
    sleep(world.millis(0..3000)).await;
    if world.is_calm { shut_down(world, node).await } else { node.kill() }
}

async fn move_one(world: Arc<World>, asked: TestNode) {
    let Some((to, _)) = world.one_of(&world.names).cloned() else { return };
    let Some(meeting) = world.one_of(&world.meetings).cloned() else { return };
    let request =
        admin::Request::Move { meeting: MeetingId::new(&meeting).unwrap(), node: Name::new(&to).unwrap() };
    let answer = on_within(&asked, Duration::from_secs(20), Box::pin(admin::handle(&asked, request))).await;
    world.note(format_args!("{asked:?} was asked to move {meeting} to {to}: {answer:?}"));
}

fn break_one(world: &World, node: &TestNode) {
    let others = world.cluster.nodes();
    let Some(other) = world.one_of(&others) else { return };
    world.note(format_args!("the connections of {node:?} and {other:?} break"));
    world.cluster.network().break_connections(node.incarnation(), other.incarnation());
}

async fn disturb(world: Arc<World>) {
    world.note("frames break their connections");
    let faults = Faults { break_connection: 0.02, refuse: 0.1, ..Faults::default() };
    world.cluster.network().faults(faults);
    sleep(world.millis(500..6000)).await;
    world.cluster.network().faults(Faults::default());
    world.note("frames get on");
}
