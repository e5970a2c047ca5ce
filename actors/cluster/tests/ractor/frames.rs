//! What the transport promises to links.

use bytes::Bytes;
use teammy_cluster::{Closed, ConnectError, Connection, MAX_FRAME, Transport};

use tokio::time::{Duration, Instant};

use super::nodes::{Cluster, echo, incarnation, plain};

/// As many frames, each with its number.
fn send_all(connection: &Connection, count: u32) {
    for number in 0..count {
        connection.sender.send(Bytes::copy_from_slice(&number.to_be_bytes())).unwrap();
    }
}

async fn receive_all(connection: &mut Connection, count: u32) {
    for number in 0..count {
        let frame = connection.receiver.recv().await.expect("the connection holds");
        assert_eq!(frame[..], number.to_be_bytes());
    }
}

#[tokio::test]
async fn frames_arrive_in_order_both_ways() {
    let cluster = Cluster::new();
    let secure = (cluster.start("north").await, cluster.start("south").await);
    for (north, south) in [secure, (plain("north").await, plain("south").await)] {
        let (mut near, mut far) = north.connect(&south).await;
        send_all(&near, 10_000);
        send_all(&far, 10_000);
        receive_all(&mut far, 10_000).await;
        receive_all(&mut near, 10_000).await;
    }
}

#[tokio::test]
async fn the_largest_and_the_smallest_frames_arrive() {
    let cluster = Cluster::new();
    let (north, south) = (cluster.start("north").await, cluster.start("south").await);
    let (near, mut far) = north.connect(&south).await;
    for number in 0..8 {
        near.sender.send(Bytes::from(vec![number; MAX_FRAME])).unwrap();
        near.sender.send(Bytes::new()).unwrap();
    }
    for number in 0..8 {
        let frame = far.receiver.recv().await.unwrap();
        assert!(frame.len() == MAX_FRAME && frame.iter().all(|byte| *byte == number));
        assert!(far.receiver.recv().await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn either_side_closes_the_connection() {
    let cluster = Cluster::new();
    let (north, south) = (cluster.start("north").await, cluster.start("south").await);
    let (near, mut far) = north.connect(&south).await;
    drop(near.sender);
    assert_eq!(far.receiver.recv().await, None);
    assert_eq!(far.sender.send(Bytes::new()), Err(Closed));

    let (mut near, far) = north.connect(&south).await;
    drop(far.sender);
    assert_eq!(near.receiver.recv().await, None);
    assert_eq!(near.sender.send(Bytes::new()), Err(Closed));
}

#[tokio::test]
async fn a_transport_that_closes_ends_its_connections() {
    let cluster = Cluster::new();
    let (north, south, east) =
        (cluster.start("north").await, cluster.start("south").await, cluster.start("east").await);
    let (mut near, mut far) = north.connect(&south).await;
    let (mut other_near, mut other_far) = north.connect(&east).await;
    let address = south.address();
    south.transport.close();
    assert!(south.transport.accept().await.is_none());
    for connection in [&mut near, &mut far] {
        assert_eq!(connection.receiver.recv().await, None);
        assert_eq!(connection.sender.send(Bytes::new()), Err(Closed));
    }
    let error = south.transport.connect(&north.me, &north.address()).await.unwrap_err();
    assert!(matches!(error, ConnectError::Unreachable { .. }), "{error}");
    let error = north.transport.connect(&south.me, &address).await.unwrap_err();
    assert!(matches!(error, ConnectError::Unreachable { .. }), "{error}");
    echo(&mut other_near, &mut other_far).await;
}

#[tokio::test]
async fn a_transport_that_is_dropped_ends_its_connections() {
    let (north, south) = (plain("north").await, plain("south").await);
    let (mut near, far) = north.connect(&south).await;
    drop(south);
    assert_eq!(near.receiver.recv().await, None);
    assert_eq!(far.sender.send(Bytes::new()), Err(Closed));
}

#[tokio::test]
async fn a_new_connection_works_and_the_old_one_stays_closed() {
    let cluster = Cluster::new();
    let (north, south) = (cluster.start("north").await, cluster.start("south").await);
    let mut old = Vec::new();
    for _ in 0..5 {
        let (mut near, mut far) = north.connect(&south).await;
        echo(&mut near, &mut far).await;
        drop(far);
        assert_eq!(near.receiver.recv().await, None);
        old.push(near);
    }
    let (mut near, mut far) = south.connect(&north).await;
    echo(&mut near, &mut far).await;
    assert!(old.iter().all(|old| old.sender.send(Bytes::new()) == Err(Closed)));
}

#[tokio::test]
async fn connections_of_the_same_two_nodes_do_not_disturb_each_other() {
    let cluster = Cluster::new();
    let (north, south) = (cluster.start("north").await, cluster.start("south").await);
    let mut all = Vec::new();
    for _ in 0..3 {
        all.push(north.connect(&south).await);
        all.push(south.connect(&north).await);
    }
    for (near, _) in &all {
        send_all(near, 100);
    }
    for (near, far) in &mut all {
        receive_all(far, 100).await;
        echo(near, far).await;
    }
    // Those that end don't take others along.
    all.truncate(1);
    let (near, far) = &mut all[0];
    echo(near, far).await;
}

#[tokio::test]
async fn three_nodes_of_one_process_hear_only_what_is_for_them() {
    let cluster = Cluster::new();
    let nodes = [cluster.start("north").await, cluster.start("south").await, cluster.start("east").await];
    let mut pairs = Vec::new();
    for (from, to) in [(0, 1), (1, 2), (2, 0)] {
        pairs.push((from, to, nodes[from].connect(&nodes[to]).await));
    }
    for (from, to, (near, far)) in &pairs {
        for number in 0..1000 {
            near.sender.send(Bytes::from(format!("{from}>{to} {number}"))).unwrap();
            far.sender.send(Bytes::from(format!("{to}>{from} {number}"))).unwrap();
        }
    }
    for (from, to, (near, far)) in &mut pairs {
        for number in 0..1000 {
            assert_eq!(far.receiver.recv().await.unwrap(), format!("{from}>{to} {number}"));
            assert_eq!(near.receiver.recv().await.unwrap(), format!("{to}>{from} {number}"));
        }
    }
}

#[tokio::test]
async fn whoever_answers_must_be_who_was_asked_for() {
    let cluster = Cluster::new();
    let (north, south) = (cluster.start("north").await, cluster.start("south").await);
    // Another node, another run of the node, and itself.
    for wanted in [incarnation("east"), incarnation("south")] {
        let error = north.transport.connect(&wanted, &south.address()).await.unwrap_err();
        let ConnectError::NotThePeer { peer, reason, .. } = &error else { panic!("{error}") };
        assert_eq!(*peer, wanted);
        let says =
            if wanted.node == south.me.node { south.me.to_string() } else { "not valid for name".to_owned() };
        assert!(reason.contains(&says), "{reason}");
    }
    north.transport.connect(&north.me, &north.address()).await.unwrap_err();
}

#[tokio::test]
async fn addresses_that_lead_nowhere_are_told_apart() {
    let (north, south) = (plain("north").await, plain("south").await);
    for address in ["", "nowhere", "127.0.0.1", "127.0.0.1:port", "10.0.0.1:7"] {
        let error = north.transport.connect(&south.me, address).await.unwrap_err();
        assert!(matches!(error, ConnectError::Address(_)), "{address}: {error:?}");
    }
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let error = north.transport.connect(&south.me, &free).await.unwrap_err();
    assert!(matches!(error, ConnectError::Unreachable { .. }), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn somebody_who_never_answers_is_given_up() {
    let north = plain("north").await;
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let began = Instant::now();
    let error = north.transport.connect(&incarnation("south"), &address).await.unwrap_err();
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    let ConnectError::Unreachable { cause, .. } = &error else { panic!("{error:?}") };
    assert_eq!(cause.kind(), std::io::ErrorKind::TimedOut);
}
