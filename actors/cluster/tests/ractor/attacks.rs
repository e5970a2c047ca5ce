//! What outsiders, and nodes that lie, do to the port for other nodes. After each attack, nodes still reach each other.

use std::sync::Arc;

use futures::future::join_all;
use rustls::{
    ClientConfig, RootCertStore, SupportedProtocolVersion,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    version::{TLS12, TLS13},
};
use teammy_cluster::{
    ConnectError, Transport,
    certs::{NodeFiles, Validity},
};
use teammy_kernel::{
    Name, Timestamp,
    testing::{Fields, Logged},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    time::{Duration, Instant, sleep},
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::nodes::{Cluster, Node, echo, plain, start, tls};

/// A paused clock does not advance while a blocking task runs: so no time limit helps.
struct Still(#[expect(dead_code, reason = "the task ends when it is dropped")] std::sync::mpsc::Sender<()>);

impl Still {
    fn stand() -> Self {
        let (sender, receiver) = std::sync::mpsc::channel();
        tokio::task::spawn_blocking(move || receiver.recv());
        Self(sender)
    }
}

/// What a node says first: eight bytes, its token, the number of its gateway, and who it is.
fn greeting(who: &str) -> Vec<u8> {
    let mut bytes = b"TEAMMY\x00\x01".to_vec();
    bytes.extend([7; 16]);
    bytes.extend(9_u64.to_be_bytes());
    bytes.push(who.len().try_into().unwrap());
    bytes.extend(who.as_bytes());
    bytes
}

/// The other side closes the connection, without a word of its own.
async fn is_sent_away(stream: &mut (impl AsyncRead + Unpin)) {
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"TEAMMY"), "{answer:?}");
}

async fn reaches(north: &Node, south: &Node) {
    let (mut near, mut far) = north.connect(south).await;
    echo(&mut near, &mut far).await;
}

/// A client of this authority's nodes, with a certificate or without.
async fn tls_client(
    ca: &NodeFiles,
    mine: Option<&NodeFiles>,
    to: &Node,
    version: &'static SupportedProtocolVersion,
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(&ca.ca).unwrap()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots);
    let config = match mine {
        Some(mine) => {
            let chain = vec![CertificateDer::from_pem_file(&mine.cert).unwrap()];
            builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_file(&mine.key).unwrap()).unwrap()
        }
        None => builder.with_no_client_auth(),
    };
    let stream = TcpStream::connect(to.address()).await?;
    let host = ServerName::try_from(to.me.node.to_string()).unwrap();
    TlsConnector::from(Arc::new(config)).connect(host, stream).await
}

async fn greet(mut stream: impl AsyncRead + AsyncWrite + Unpin, who: &str) {
    // The other side may have closed it.
    let _ = stream.write_all(&greeting(who)).await;
    is_sent_away(&mut stream).await;
}

#[tokio::test(start_paused = true)]
async fn idle_connections_hold_nobody_up() {
    let _still = Still::stand();
    let cluster = Cluster::new();
    let (north, south) = (cluster.start("north").await, cluster.start("south").await);
    let address = south.address();
    let mut idle = vec![TcpStream::connect(&address).await.unwrap()];
    reaches(&north, &south).await;
    for _ in 0..200 {
        idle.push(TcpStream::connect(&address).await.unwrap());
    }
    for _ in 0..10 {
        reaches(&north, &south).await;
    }
    // No more than 64 are kept.
    let mut ended = idle.drain(..idle.len() - 64).collect::<Vec<_>>();
    join_all(ended.iter_mut().map(is_sent_away)).await;
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_closed() {
    let cluster = Cluster::new();
    for south in [plain("south").await, cluster.start("south").await] {
        let began = Instant::now();
        let mut stream = TcpStream::connect(south.address()).await.unwrap();
        is_sent_away(&mut stream).await;
        assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    }
}

#[tokio::test]
async fn without_a_certificate_nobody_comes_in() {
    let cluster = Cluster::new();
    let files = cluster.files("south");
    let (north, south) = (cluster.start("north").await, start("south", tls(&files)).await);
    greet(tls_client(&files, None, &south, &TLS13).await.unwrap(), &north.me.to_string()).await;
    reaches(&north, &south).await;
}

#[tokio::test]
async fn a_certificate_of_another_authority_does_not_count() {
    let (cluster, other) = (Cluster::new(), Cluster::new());
    let files = cluster.files("south");
    let (north, south) = (cluster.start("north").await, start("south", tls(&files)).await);
    greet(
        tls_client(&files, Some(&other.files("north")), &south, &TLS13).await.unwrap(),
        &north.me.to_string(),
    )
    .await;
    let stranger = other.start("east").await;
    let error = stranger.transport.connect(&south.me, &south.address()).await.unwrap_err();
    assert!(matches!(error, ConnectError::NotThePeer { .. }), "{error:?}");
    let error = north.transport.connect(&stranger.me, &stranger.address()).await.unwrap_err();
    assert!(matches!(error, ConnectError::NotThePeer { .. }), "{error:?}");
    reaches(&north, &south).await;
}

#[tokio::test]
async fn nobody_takes_the_name_of_another_node() {
    let cluster = Cluster::new();
    let files = cluster.files("south");
    let (north, south) = (cluster.start("north").await, start("south", tls(&files)).await);
    let east = cluster.files("east");
    greet(tls_client(&files, Some(&east), &south, &TLS13).await.unwrap(), &north.me.to_string()).await;
    tls_client(&files, Some(&east), &south, &TLS12).await.unwrap_err();
    // It is let in as itself.
    let mut stream = tls_client(&files, Some(&east), &south, &TLS13).await.unwrap();
    stream.write_all(&greeting("east.00000000000000ff")).await.unwrap();
    let mut answer = [0; 8];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"TEAMMY\x00\x01");
    reaches(&north, &south).await;
}

#[tokio::test]
async fn garbage_is_sent_away() {
    let cluster = Cluster::new();
    let secure = (cluster.start("north").await, cluster.start("south").await);
    for (north, south) in [secure, (plain("north").await, plain("south").await)] {
        for bytes in [&b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"[..], &[0xff; 4096], &(2_u64 << 30).to_be_bytes()]
        {
            let mut stream = TcpStream::connect(south.address()).await.unwrap();
            stream.write_all(bytes).await.unwrap();
            // TLS waits for the rest of what may become a message.
            let _ = stream.shutdown().await;
            is_sent_away(&mut stream).await;
        }
        reaches(&north, &south).await;
    }
}

/// Takes part in the handshake as this node, without TLS.
async fn greeted(who: &str, by: &Node) -> TcpStream {
    let mut stream = TcpStream::connect(by.address()).await.unwrap();
    stream.write_all(&greeting(who)).await.unwrap();
    let mut answer = vec![0; greeting(&by.me.to_string()).len()];
    stream.read_exact(&mut answer).await.unwrap();
    assert!(answer.ends_with(by.me.to_string().as_bytes()));
    stream
}

/// A field of protobuf that holds bytes, of at most 127.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut field = vec![number << 3 | 2, bytes.len().try_into().unwrap()];
    field.extend(bytes);
    field
}

#[tokio::test(start_paused = true)]
async fn a_session_belongs_to_who_has_greeted() {
    let _still = Still::stand();
    let south = plain("south").await;
    let mut sessions = Vec::new();
    for claimed in ["east.00000000000000ff@teammy", "north.00000000000000ff@teammy"] {
        let mut stream = greeted("east.00000000000000ff", &south).await;
        let message = field(1, &field(1, &field(1, claimed.as_bytes())));
        stream.write_u64(message.len().try_into().unwrap()).await.unwrap();
        stream.write_all(&message).await.unwrap();
        sessions.push(stream);
    }
    // Who is let in hears a status and a challenge.
    for _ in 0..2 {
        let length = sessions[0].read_u64().await.unwrap();
        let mut message = vec![0; length.try_into().unwrap()];
        sessions[0].read_exact(&mut message).await.unwrap();
    }
    let mut answer = Vec::new();
    let _ = sessions[1].read_to_end(&mut answer).await;
    let name = south.me.to_string();
    assert!(!answer.windows(name.len()).any(|window| window == name.as_bytes()), "no challenge: {answer:?}");
}

/// It ends by the length alone: nothing of what it announces is sent.
#[tokio::test(start_paused = true)]
async fn a_message_of_two_gibibytes_is_refused_by_its_length() {
    let _still = Still::stand();
    let (north, south) = (plain("north").await, plain("south").await);
    for length in [2_u64 << 30, u64::MAX] {
        let mut stream = greeted("east.00000000000000ff", &south).await;
        stream.write_all(&length.to_be_bytes()).await.unwrap();
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
        assert!(rest.is_empty(), "{rest:?}");
    }
    reaches(&north, &south).await;
}

/// Waits for warnings about refused connections.
async fn warnings(logged: &Logged) -> Vec<Fields> {
    loop {
        let warnings = logged.take();
        if !warnings.is_empty() {
            return warnings;
        }
        sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn many_attacks_make_one_line() {
    let logged = Logged::warnings();
    let _guard = logged.listen();
    let south = plain("south").await;
    for _ in 0..100 {
        let mut stream = TcpStream::connect(south.address()).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
        is_sent_away(&mut stream).await;
    }
    assert_eq!(logged.take().len(), 1);
}

/// Also what comes from one address does not hide another kind of attack from there.
#[tokio::test]
async fn each_kind_of_attack_is_logged_once_with_its_address_and_what_to_do() {
    let logged = Logged::warnings();
    let _guard = logged.listen();
    let (cluster, other) = (Cluster::new(), Cluster::new());
    let files = cluster.files("south");
    let (north, south) = (cluster.start("north").await, start("south", tls(&files)).await);
    let day = Duration::from_hours(24);
    let past = Validity { from: Timestamp::now() - 2 * day, until: Timestamp::now() - day };
    let expired = cluster.authority.add(&Name::new("late").unwrap(), past).unwrap();
    let (stranger, east) = (other.files("north"), cluster.files("east"));
    let me = north.me.to_string();
    let with_tls = [
        (None, me.as_str(), "set cluster.certificate and cluster.key"),
        (Some(&stranger), &me, "of the authority in cluster.ca"),
        (Some(&expired), "late.0000000000000001", "renew its certificate"),
        (Some(&east), &me, "the certificate for its own cluster.node"),
    ];
    let mut lines = Vec::new();
    for (mine, who, advice) in with_tls {
        for round in 0..3 {
            let stream = tls_client(&files, mine, &south, &TLS13).await.unwrap();
            let from = stream.get_ref().0.local_addr().unwrap();
            greet(stream, who).await;
            if round == 0 {
                lines.push((from, advice, warnings(&logged).await));
            }
        }
    }
    for round in 0..3 {
        let mut stream = TcpStream::connect(south.address()).await.unwrap();
        let from = stream.local_addr().unwrap();
        stream.write_all(&(2_u64 << 30).to_be_bytes()).await.unwrap();
        is_sent_away(&mut stream).await;
        if round == 0 {
            lines.push((from, "let only nodes reach this port", warnings(&logged).await));
        }
    }
    reaches(&north, &south).await;
    for (from, advice, lines) in lines {
        let [line] = &lines[..] else { panic!("{advice}: {lines:?}") };
        assert_eq!(line["from"], from.to_string());
        assert!(line["advice"].contains(advice), "{advice}: {line:?}");
    }
    let others = logged.take();
    assert!(others.is_empty(), "{others:?}");
}
