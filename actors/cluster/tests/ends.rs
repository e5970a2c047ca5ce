//! Nothing is left of connections that have ended. It looks at what the whole process has, and so is alone in it.

use std::fs;

use bytes::Bytes;
use teammy_cluster::{RactorSettings, RactorTransport, Security, Transport};
use teammy_kernel::store::Incarnation;
use tokio::{net::TcpStream, task::yield_now};

/// How many actors there are, and open files where the system tells.
fn left() -> (usize, usize) {
    (ractor::registry::get_all_pids().len(), fs::read_dir("/proc/self/fd").map_or(0, Iterator::count))
}

#[tokio::test]
async fn nothing_is_left_of_what_has_ended() {
    let start = async |me: &str| {
        let listen = Some("127.0.0.1:0".parse().unwrap());
        let me = me.parse::<Incarnation>().unwrap();
        let settings = RactorSettings { me: me.clone(), listen, advertise: None, security: Security::Plain };
        (me, RactorTransport::start(settings).await.unwrap())
    };
    let empty = ractor::registry::get_all_pids().len();
    let (_, north) = start("north.0000000000000001").await;
    let (south, other) = start("south.0000000000000002").await;
    let address = other.address().unwrap();
    let before = left();
    assert_eq!(before.0, empty + 2, "a node has one actor without connections");
    let mut connections = Vec::new();
    for _ in 0..20 {
        let (near, far) = tokio::join!(north.connect(&south, &address), other.accept());
        let (near, far) = (near.unwrap(), far.unwrap());
        // There is always something under way.
        for _ in 0..100 {
            near.sender.send(Bytes::from(vec![0; 10_000])).unwrap();
        }
        connections.push((near, far));
    }
    assert!(left().0 > before.0);
    for (number, (near, far)) in connections.into_iter().enumerate() {
        if number % 2 == 0 { drop(near) } else { drop(far) }
    }
    for _ in 0..20 {
        let stranger = TcpStream::connect(&address).await.unwrap();
        drop(stranger);
    }
    while left() != before {
        yield_now().await;
    }
    drop((north, other));
    while left().0 != empty {
        yield_now().await;
    }
}
