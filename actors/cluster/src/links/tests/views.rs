//! Who has links with whom.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use futures::{FutureExt, future::BoxFuture};
use teammy_kernel::{store::Incarnation, testing::Logged};
use tokio::{
    sync::watch,
    time::{Duration, Instant, sleep},
};

use super::world::*;
use crate::{CallError, ConnectError, Connection, LinkSettings, Links, Transport, View};

fn leave(world: &World, name: &str) {
    world.view.send_modify(|view| view.members.retain(|member| member.incarnation != incarnation(name)));
}

fn without_address(view: &mut View, name: &str) {
    let found = view.members.iter_mut().find(|member| member.incarnation == incarnation(name));
    found.unwrap().document.link = None;
}

#[tokio::test(start_paused = true)]
async fn all_nodes_have_one_link_with_each_other() {
    let names = ["a", "b", "c", "d", "e"];
    let world = World::new(5, &names, &LinkSettings::default());
    world.network.delay(Duration::from_millis(1)..Duration::from_millis(50));
    for a in names {
        for b in names.into_iter().filter(|b| a < *b) {
            world.up(a, b).await;
        }
    }
    sleep(Duration::from_mins(1)).await;
    for a in names {
        for b in names.into_iter().filter(|b| a != *b) {
            let status = world.status(a, b);
            assert_eq!((status.is_up, status.breaks), (true, 0), "{status:?}");
            assert!(status.silence.unwrap() <= Duration::from_millis(1100), "{status:?}");
            assert!(status.round_trip.unwrap() <= Duration::from_millis(150), "{status:?}");
            assert_eq!(world.call(a, b, call("echo")).await.unwrap(), "echo");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn of_two_nodes_that_with_an_address_is_dialled() {
    for without in [vec!["a"], vec!["b"], vec![], vec!["a", "b"]] {
        let world = World::new(1, &["a", "b"], &LinkSettings::default());
        world.view.send_modify(|view| without.iter().for_each(|name| without_address(view, name)));
        // Only the one that has to dial can.
        match without[..] {
            ["a"] | [] => world.network.refuse(&incarnation("a")),
            _ => world.network.refuse(&incarnation("b")),
        }
        sleep(Duration::from_secs(10)).await;
        assert_eq!(world.is_up("a", "b"), without.len() < 2, "{without:?}");
        assert_eq!(world.is_up("b", "a"), without.len() < 2, "{without:?}");
        assert_eq!(world.status("a", "b").breaks, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_left_gets_its_answers_before_its_link_is_closed() {
    let world = World::pair().await;
    let waits = [world.begin("a", "b", call("wait")), world.begin("b", "a", call("wait"))];
    settle().await;
    leave(&world, "b");
    settle().await;
    let refused = world.call("a", "b", call("echo")).await.unwrap_err();
    assert!(matches!(refused, CallError::NotSent { .. }), "{refused:?}");
    sleep(Duration::from_secs(5)).await;
    assert!(waits.iter().all(|call| !call.is_finished()));
    for name in ["a", "b"] {
        world.handler(name).permits.add_permits(1);
    }
    for call in waits {
        assert_eq!(call.await.unwrap().unwrap(), "wait");
    }
    settle().await;
    assert!(world.node("a").links.status().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_node_whose_lease_has_ended_is_closed_at_once() {
    let world = World::pair().await;
    let waits = world.begin("a", "b", call("wait"));
    settle().await;
    leave(&world, "b");
    world.view.send_modify(|view| view.ended.push(incarnation("b")));
    let began = Instant::now();
    let error = waits.await.unwrap().unwrap_err();
    assert!(matches!(error, CallError::Unknown { .. }), "{error:?}");
    assert!(began.elapsed() < Duration::from_millis(10));
    sleep(Duration::from_secs(30)).await;
    assert!(!world.is_up("a", "b") && !world.is_up("b", "a"));
}

#[tokio::test(start_paused = true)]
async fn a_call_waits_a_heartbeat_for_a_link_that_is_being_made() {
    let world = World::new(1, &["a", "b"], &LinkSettings::default());
    world.network.delay(Duration::from_millis(100)..Duration::from_millis(101));
    // The view is followed once the tasks run; until then nobody is known.
    settle().await;
    assert_eq!(world.call("b", "a", call("early")).await.unwrap(), "early");
    world.network.refuse(&incarnation("b"));
    world.network.break_connections(&incarnation("a"), &incarnation("b"));
    settle().await;
    let began = Instant::now();
    let waits = world.begin("b", "a", call("late"));
    settle().await;
    assert_eq!(world.status("b", "a").waiting, 1);
    let error = waits.await.unwrap().unwrap_err();
    assert!(matches!(error, CallError::NotSent { .. }), "{error:?}");
    let took = began.elapsed();
    assert!((999..1010).contains(&took.as_millis()), "{took:?}");
    assert_eq!(world.status("b", "a").waiting, 0);
}

#[tokio::test(start_paused = true)]
async fn tries_become_rare_but_never_rarer_than_the_longest_backoff() {
    let world = World::pair().await;
    world.network.refuse(&incarnation("b"));
    world.network.break_connections(&incarnation("a"), &incarnation("b"));
    sleep(Duration::from_mins(10)).await;
    let status = world.status("a", "b");
    assert!(
        status.reason.as_ref().is_some_and(|reason| reason.contains("cannot reach memory:b")),
        "{status:?}"
    );
    let began = Instant::now();
    world.network.admit(&incarnation("b"));
    world.up("a", "b").await;
    let took = began.elapsed();
    assert!(took <= LinkSettings::default().longest_backoff + Duration::from_millis(10), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_killed_node_is_seen_at_once() {
    let world = World::pair().await;
    let waits = world.begin("a", "b", call("wait"));
    settle().await;
    world.network.kill(&incarnation("b"));
    let began = Instant::now();
    assert!(matches!(waits.await.unwrap(), Err(CallError::Unknown { .. })));
    assert!(began.elapsed() < Duration::from_millis(10));
}

/// A transport that reaches nobody, and says so with another number each time.
#[derive(Debug, Default)]
struct Expired(AtomicUsize);

impl Transport for Expired {
    fn connect<'a>(
        &'a self,
        peer: &'a Incarnation,
        address: &'a str,
    ) -> BoxFuture<'a, Result<Connection, ConnectError>> {
        let seconds = self.0.fetch_add(1, Ordering::Relaxed);
        let reason = format!("its certificate expired {seconds} seconds ago");
        let error = ConnectError::NotThePeer { address: address.to_owned(), peer: peer.clone(), reason };
        async move { Err(error) }.boxed()
    }

    fn accept(&self) -> BoxFuture<'_, Option<Connection>> {
        std::future::pending().boxed()
    }

    fn address(&self) -> Option<String> {
        Some("nowhere".to_owned())
    }
}

#[tokio::test(start_paused = true)]
async fn a_link_that_is_down_is_said_once_however_often_it_is_tried() {
    let logged = Logged::warnings();
    let _guard = logged.listen();
    let transport = Arc::<Expired>::default();
    let members = ["a", "b"].map(|name| member(&incarnation(name), &*transport)).to_vec();
    let view = watch::Sender::new(View { is_member: true, members, ended: vec![] });
    let (handler, settings) = (Arc::<Told>::default(), LinkSettings::default());
    let links = Links::start(incarnation("a"), transport.clone(), handler, view.subscribe(), settings);
    let tries = || transport.0.load(Ordering::Relaxed);
    until(|| tries() >= 20).await;
    let warnings = logged.take();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0]["reason"].ends_with("expired 0 seconds ago"), "{warnings:?}");
    // People who ask hear of the last try.
    let reason = links.status()[0].reason.clone().unwrap();
    assert!(reason.ends_with(&format!("expired {} seconds ago", tries() - 1)), "{reason}");
}
