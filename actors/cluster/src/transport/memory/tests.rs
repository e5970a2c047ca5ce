use teammy_kernel::Name;
use tokio::time::{Instant, timeout};

use super::*;
use crate::transport::Closed;

fn node(name: &str) -> Incarnation {
    Incarnation { node: Name::new(name).unwrap(), boot: 1 }
}

struct Two {
    network: Network,
    transports: [Arc<dyn Transport>; 2],
    a: Connection,
    b: Connection,
}

async fn two(seed: u64) -> Two {
    let network = Network::new(seed);
    let transports = ["a", "b"].map(|name| network.transport(&node(name)));
    let a = transports[0].connect(&node("b"), "memory:b").await.unwrap();
    let b = transports[1].accept().await.unwrap();
    assert_eq!((&a.peer, &b.peer), (&node("b"), &node("a")));
    Two { network, transports, a, b }
}

async fn nothing(connection: &mut Connection) -> bool {
    timeout(Duration::from_secs(100), connection.receiver.recv()).await.is_err()
}

#[tokio::test(start_paused = true)]
async fn frames_keep_their_order_whatever_their_delay() {
    let mut two = two(1).await;
    two.network.delay(Duration::from_millis(10)..Duration::from_millis(50));
    let began = Instant::now();
    for number in 0..100 {
        two.a.sender.send(format!("{number}").into()).unwrap();
    }
    assert_eq!(two.network.in_flight(&node("a"), &node("b")), 190);
    for number in 0..100 {
        assert_eq!(two.b.receiver.recv().await.unwrap(), format!("{number}"));
    }
    assert_eq!(two.network.in_flight(&node("a"), &node("b")), 0);
    assert!((10..=51).contains(&began.elapsed().as_millis()));
    // What was sent before the end arrives before it.
    two.a.sender.send("last".into()).unwrap();
    drop(two.a);
    assert_eq!(two.b.receiver.recv().await.unwrap(), "last");
    assert_eq!(two.b.receiver.recv().await, None);
    assert_eq!(two.b.sender.send("late".into()), Err(Closed));
}

#[tokio::test(start_paused = true)]
async fn a_cut_is_silent_and_healing_lets_all_through() {
    let mut two = two(1).await;
    two.network.cut_one_way(&node("a"), &node("b"));
    two.a.sender.send("there".into()).unwrap();
    two.b.sender.send("back".into()).unwrap();
    assert_eq!(two.a.receiver.recv().await.unwrap(), "back");
    assert!(nothing(&mut two.b).await);
    let silent = two.transports[0].connect(&node("b"), "memory:b").await;
    assert!(
        matches!(silent, Err(ConnectError::Unreachable { cause, .. }) if cause.kind() == io::ErrorKind::TimedOut)
    );
    two.network.heal();
    assert_eq!(two.b.receiver.recv().await.unwrap(), "there");
    // Word of an end is cut off, too.
    two.network.cut(&node("a"), &node("b"));
    drop(two.a);
    assert!(nothing(&mut two.b).await);
    two.network.heal();
    assert_eq!(two.b.receiver.recv().await, None);
}

#[tokio::test(start_paused = true)]
async fn a_frozen_node_goes_on_where_it_was() {
    let mut two = two(1).await;
    two.network.freeze(&node("a"));
    two.a.sender.send("out".into()).unwrap();
    two.b.sender.send("in".into()).unwrap();
    assert!(nothing(&mut two.a).await && nothing(&mut two.b).await);
    two.network.thaw(&node("a"));
    assert_eq!(two.a.receiver.recv().await.unwrap(), "in");
    assert_eq!(two.b.receiver.recv().await.unwrap(), "out");
}

#[tokio::test(start_paused = true)]
async fn a_killed_node_is_gone() {
    let mut two = two(1).await;
    two.network.kill(&node("b"));
    assert_eq!(two.a.receiver.recv().await, None);
    assert_eq!(two.a.sender.send("late".into()), Err(Closed));
    assert_eq!(two.b.sender.send("late".into()), Err(Closed));
    assert!(two.transports[0].connect(&node("b"), "memory:b").await.is_err());
    // Another incarnation at its address is not that node.
    let again = Incarnation { boot: 2, ..node("b") };
    let _there = two.network.transport(&again);
    let error = two.transports[0].connect(&node("b"), "memory:b").await.unwrap_err();
    assert!(matches!(error, ConnectError::NotThePeer { .. }), "{error:?}");
    assert!(two.transports[0].connect(&again, "memory:b").await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn refusals_and_wrong_addresses() {
    let two = two(1).await;
    two.network.refuse(&node("b"));
    assert!(two.transports[0].connect(&node("b"), "memory:b").await.is_err());
    two.network.admit(&node("b"));
    assert!(two.transports[0].connect(&node("b"), "memory:b").await.is_ok());
    let error = two.transports[0].connect(&node("b"), "b:7700").await.unwrap_err();
    assert!(matches!(error, ConnectError::Address(_)), "{error:?}");
}

/// What arrives of a hundred frames.
async fn arrived(seed: u64, faults: Faults) -> Vec<u8> {
    let mut two = two(seed).await;
    two.network.faults(faults);
    for number in 0..100 {
        let _ = two.a.sender.send(vec![number].into());
    }
    drop(two.a);
    let mut arrived = vec![];
    while let Some(frame) = two.b.receiver.recv().await {
        arrived.push(frame[0]);
    }
    arrived
}

#[tokio::test(start_paused = true)]
async fn faults_happen_by_chance_and_a_seed_repeats_them() {
    let all: Vec<u8> = (0..100).collect();
    assert_eq!(arrived(1, Faults::default()).await, all);
    let none = Faults::default();
    let lossy = Faults { lose: 0.2, ..none };
    let lost = arrived(1, lossy).await;
    assert!((60..95).contains(&lost.len()) && lost.is_sorted());
    assert_eq!(arrived(1, lossy).await, lost);
    assert_ne!(arrived(2, lossy).await, lost);
    assert!(arrived(1, Faults { repeat: 0.2, ..none }).await.len() > 105);
    let swapped = arrived(1, Faults { swap: 0.2, ..none }).await;
    assert!(!swapped.is_sorted());
    assert!(swapped.len() >= 99, "all but a last one arrive");
    let broken = arrived(1, Faults { break_connection: 0.1, ..none }).await;
    assert!(broken.len() < 90 && broken == all[..broken.len()]);
}
