//! Certificates: who is who, and files that change.

use std::{
    fs::{self, File},
    path::Path,
    time::Duration,
};

use teammy_cluster::{
    ConnectError, RactorSettings, RactorTransport, Security, StartError, Transport,
    certs::{NodeFiles, Validity},
};
use teammy_kernel::{Name, Timestamp};

use super::nodes::{Cluster, Node, echo, incarnation, start, tls};

async fn refused(node: &str, listen: Option<&str>, security: Security) -> StartError {
    let listen = listen.map(|listen| listen.parse().unwrap());
    let settings = RactorSettings { me: incarnation(node), listen, advertise: None, security };
    RactorTransport::start(settings).await.unwrap_err()
}

#[tokio::test]
async fn what_would_not_work_does_not_start() {
    let cluster = Cluster::new();
    let files = cluster.files("north");
    for address in ["0.0.0.0:0", "10.0.0.1:0", "[::]:0"] {
        let error = refused("north", Some(address), Security::Plain).await;
        assert!(
            matches!(&error, StartError::PlainBeyondLoopback(at) if at.to_string() == address),
            "{error}"
        );
    }
    let error = refused("north", Some("0.0.0.0:0"), tls(&files)).await;
    assert!(matches!(error, StartError::NothingToAdvertise(_)), "{error}");
    let error = refused("7", None, tls(&files)).await;
    assert!(matches!(error, StartError::Name(_)), "{error}");
    let error = refused("south", None, tls(&files)).await;
    let StartError::Tls(error) = error else { panic!("{error}") };
    assert_eq!(error.path, files.cert);
    assert!(error.cause.to_string().contains("south"), "{error:?}");
    let missing = NodeFiles { key: "/nowhere/key.pem".into(), ..files.clone() };
    let error = refused("north", None, tls(&missing)).await;
    assert!(error.to_string().contains("/nowhere/key.pem"), "{error}");
    let confused = NodeFiles { key: cluster.files("south").key, ..files };
    let error = refused("north", None, tls(&confused)).await;
    assert!(matches!(error, StartError::Tls(_)), "a key of another certificate: {error}");
}

#[tokio::test]
async fn a_node_without_an_address_only_dials() {
    let cluster = Cluster::new();
    let south = cluster.start("south").await;
    let (me, security) = (incarnation("north"), tls(&cluster.files("north")));
    let settings =
        RactorSettings { me: me.clone(), listen: None, advertise: Some("north:7".to_owned()), security };
    let north = Node { me, transport: RactorTransport::start(settings).await.unwrap() };
    assert_eq!(north.transport.address(), None);
    let (mut near, mut far) = north.connect(&south).await;
    echo(&mut near, &mut far).await;
    let accepts = north.transport.accept();
    north.transport.close();
    assert!(accepts.await.is_none());
}

#[tokio::test]
async fn names_of_hosts_have_no_case() {
    let cluster = Cluster::new();
    let security = tls(&cluster.files("north"));
    let (north, south) = (start("NORTH", security).await, cluster.start("south_1.eu").await);
    let (mut near, mut far) = north.connect(&south).await;
    echo(&mut near, &mut far).await;
    let (mut near, mut far) = south.connect(&north).await;
    echo(&mut near, &mut far).await;
}

/// Replaces a file by another's content, later than any before.
fn replace(path: &Path, by: &[u8], change: u64) {
    fs::write(path, by).unwrap();
    let time = File::open(path).unwrap().metadata().unwrap().modified().unwrap();
    let file = File::options().write(true).open(path).unwrap();
    file.set_modified(time + Duration::from_secs(change)).unwrap();
}

#[tokio::test]
async fn certificates_are_renewed_without_a_restart() {
    let (old, new) = (Cluster::new(), Cluster::new());
    let (north, south) = (old.start("north").await, old.start("south").await);
    let (mut first_near, mut first_far) = north.connect(&south).await;
    let east = old.start("east").await;

    // What cannot be used changes nothing.
    let cert = old.folder().join("south.pem");
    let before = fs::read(&cert).unwrap();
    replace(&cert, b"no certificate", 10);
    let (mut near, mut far) = north.connect(&south).await;
    echo(&mut near, &mut far).await;
    replace(&cert, &before, 20);

    for files in [new.files("north"), new.files("south")] {
        for file in [&files.ca, &files.key, &files.cert] {
            let replaced = old.folder().join(file.file_name().unwrap());
            replace(&replaced, &fs::read(file).unwrap(), 30);
        }
    }
    let (mut near, mut far) = north.connect(&south).await;
    echo(&mut near, &mut far).await;
    echo(&mut first_near, &mut first_far).await;

    // A node with a certificate of the old authority is a stranger now, and one of the new is not.
    let unchanged = old.folder().join("east.pem");
    assert!(unchanged.exists());
    east.transport.connect(&south.me, &south.address()).await.unwrap_err();
    let west = new.start("west").await;
    let (mut near, mut far) = west.connect(&south).await;
    echo(&mut near, &mut far).await;
}

#[tokio::test]
async fn an_expired_certificate_is_refused_on_both_sides() {
    let cluster = Cluster::new();
    let day = Duration::from_hours(24);
    let validity = Validity { from: Timestamp::now() - 2 * day, until: Timestamp::now() - day };
    let files = cluster.authority.add(&Name::new("south").unwrap(), validity).unwrap();
    let (north, south) = (cluster.start("north").await, start("south", tls(&files)).await);
    let error = north.transport.connect(&south.me, &south.address()).await.unwrap_err();
    assert!(
        matches!(&error, ConnectError::NotThePeer { reason, .. } if reason.contains("expired")),
        "{error:?}"
    );
    let error = south.transport.connect(&north.me, &north.address()).await.unwrap_err();
    assert!(matches!(&error, ConnectError::NotThePeer { .. }), "{error:?}");
}
