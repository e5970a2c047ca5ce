//! TLS by files that are read again when they change.

use std::{path::Path, sync::Arc};

use rustls::{ClientConfig, RootCertStore, crypto::ring, pki_types::ServerName};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

use super::{Running, run_with};

/// Writes a new certificate, and returns a client that trusts no other.
fn write_certificate(folder: &Path) -> TlsConnector {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(folder.join("tls.key"), made.signing_key.serialize_pem()).unwrap();
    std::fs::write(folder.join("tls.crt"), made.cert.pem()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    // A session that is resumed shows no certificate.
    config.resumption = rustls::client::Resumption::disabled();
    TlsConnector::from(Arc::new(config))
}

async fn ask(running: &Running, connector: &TlsConnector) -> std::io::Result<String> {
    let stream = TcpStream::connect(running.client.address()).await?;
    let mut stream = connector.connect(ServerName::try_from("localhost").unwrap(), stream).await?;
    stream.write_all(b"GET /livez HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await?;
    let mut answer = Vec::new();
    // The other side may close without a word of TLS.
    let _ = stream.read_to_end(&mut answer).await;
    Ok(String::from_utf8(answer).unwrap())
}

#[tokio::test]
async fn a_certificate_is_renewed_without_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let first = write_certificate(folder.path());
    let path = |name: &str| folder.path().join(name).display().to_string();
    let running = run_with(&format!(
        "[service]\nlisten = \"127.0.0.1:0\"\ntls_certificate = {:?}\ntls_key = {:?}",
        path("tls.crt"),
        path("tls.key")
    ))
    .await;
    assert!(ask(&running, &first).await.unwrap().ends_with("ok\n"));
    let mut plain = TcpStream::connect(running.client.address()).await.unwrap();
    plain.write_all(b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP"), "without TLS nothing is answered: {answer:?}");
    let second = write_certificate(folder.path());
    // It is bounded by the runner's own limit; the service looks once a second.
    while ask(&running, &second).await.is_err() {
        tokio::task::yield_now().await;
    }
    assert!(ask(&running, &first).await.is_err(), "the old one is gone");
    // Files that do not fit together leave it as it was.
    std::fs::write(folder.path().join("tls.crt"), "no certificate").unwrap();
    assert!(ask(&running, &second).await.unwrap().ends_with("ok\n"));
}

#[tokio::test]
async fn files_that_cannot_be_used_are_named() {
    let config = "[service]\nlisten = \"127.0.0.1:0\"\ntls_certificate = \"/nowhere/tls.crt\"\ntls_key = \"/nowhere/tls.key\"";
    let config = teammy_config::Config::from_toml(config).unwrap();
    let error = teammy_service::Service::bind(&config).await.unwrap_err().to_string();
    assert!(error.contains("/nowhere/tls.crt") && error.contains("service.tls_certificate"), "{error}");
}
