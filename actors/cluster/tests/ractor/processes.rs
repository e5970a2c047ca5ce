//! A peer in another process that is killed.

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
};

use teammy_cluster::{Connection, RactorSettings, RactorTransport, Security, Transport};
use teammy_kernel::store::Incarnation;

use super::nodes::plain;

/// Tells the test that runs as another process who it is.
const ME: &str = "TEAMMY_TEST_NODE";

/// The other process: it sends back what it gets. It does nothing where the test below has not started it.
#[tokio::test]
async fn the_peer_of_the_next_test() {
    let Ok(me) = std::env::var(ME) else { return };
    let listen = Some("127.0.0.1:0".parse().unwrap());
    let settings =
        RactorSettings { me: me.parse().unwrap(), listen, advertise: None, security: Security::Plain };
    let transport = RactorTransport::start(settings).await.unwrap();
    println!("\nlistens on {}", transport.address().unwrap());
    let Connection { sender, mut receiver, .. } = transport.accept().await.unwrap();
    while let Some(frame) = receiver.recv().await {
        sender.send(frame).unwrap();
    }
}

#[tokio::test]
async fn a_peer_that_is_killed_is_noticed() {
    let peer: Incarnation = "south.00000000000000ff".parse().unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["processes::the_peer_of_the_next_test", "--exact", "--nocapture"])
        .env(ME, peer.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let address = lines.find_map(|line| Some(line.unwrap().strip_prefix("listens on ")?.to_owned())).unwrap();
    let north = plain("north").await;
    let mut connection = north.transport.connect(&peer, &address).await.unwrap();
    connection.sender.send("hello".into()).unwrap();
    assert_eq!(connection.receiver.recv().await.unwrap(), "hello");
    child.kill().unwrap();
    assert_eq!(connection.receiver.recv().await, None);
    child.wait().unwrap();
}
