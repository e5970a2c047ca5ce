//! Listens, and stops without losing anything.

use std::{convert::Infallible, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use teammy_config::Config;
use teammy_kernel::chain;
use teammy_runtime::{Node, keys::Keys};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    sync::{Semaphore, mpsc},
};
use tokio_rustls::TlsAcceptor;
use tracing::{debug, info, warn};

use crate::{
    error::Error,
    limits::{Quotas, Slots},
    linger::{Left, Linger},
    room::{Room, WithRoom},
    routes,
    shared::{Render, Settings, Shared},
    stall::StallLimit,
    stop::Stop,
    tls::Certificate,
    unix_socket::UnixSocket,
};

/// How long a client may take to send a request's head, or to agree on TLS.
const HEAD_TIME: Duration = Duration::from_secs(10);

/// The most bytes of a request's head, and of what is read ahead of a body.
const HEAD_BYTES: usize = 64 << 10;

/// How long a client may read nothing of what is sent to it.
const STALL_TIME: Duration = Duration::from_mins(1);

/// How long the listener rests after it failed: the process may have no file descriptors left.
const REST: Duration = Duration::from_millis(100);

/// How often the certificate's files are looked at.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// A listener, which answers once it [serves](Self::serve).
pub struct Service {
    listener: TcpListener,
    address: SocketAddr,
    socket: Option<UnixSocket>,
    tls: Option<(Arc<Certificate>, TlsAcceptor)>,
    settings: Settings,
    quotas: Quotas,
    metrics: Option<Render>,
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Service {
    /// Listens as `[service]` of a configuration says.
    ///
    /// # Errors
    /// [`Error::Bind`], [`Error::Socket`], [`Error::SocketInUse`], [`Error::Tls`].
    pub async fn bind(config: &Config) -> Result<Self, Error> {
        let service = config.service.clone();
        let tls = match (&service.tls_certificate, &service.tls_key) {
            (Some(chain), Some(key)) => {
                let certificate = Certificate::open(chain, key)?;
                let acceptor = certificate.acceptor()?;
                Some((certificate, acceptor))
            }
            _ => None,
        };
        let address = service.listen;
        let failed = |source| Error::Bind { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let socket = match &service.socket {
            Some(path) => Some(UnixSocket::bind(path).await?),
            None => None,
        };
        let quotas = Quotas::new(config.quotas.clone());
        let settings = Settings { service, packet_bytes: config.limits.packet_bytes.as_usize() };
        Ok(Self { listener, address, socket, tls, settings, quotas, metrics: None })
    }

    /// Answers `/metrics` with what this renders, in the text format of Prometheus.
    #[must_use]
    pub fn metrics(mut self, render: impl Fn() -> String + Send + Sync + 'static) -> Self {
        self.metrics = Some(Arc::new(render));
        self
    }

    /// The address, with the port that the system chose if 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL.
    pub fn url(&self) -> String {
        format!("{}://{}", if self.tls.is_some() { "https" } else { "http" }, self.address)
    }

    /// Reads the keys, and returns whether requests are to have one: they are as soon as there is one.
    ///
    /// # Errors
    /// [`Error::Keys`], and [`Error::NoKeys`] if other machines could reach the address without one.
    pub async fn asks_for_keys(&self, node: &Node) -> Result<bool, Error> {
        node.keys().refresh().await?;
        let asks = !node.keys().is_empty();
        if !asks && !self.address.ip().is_loopback() {
            return Err(Error::NoKeys(self.address));
        }
        Ok(asks)
    }

    /// Answers requests until it is told to stop, and then until all that are under way are answered, or `deadline` has
    /// passed. The node is not shut down.
    ///
    /// # Errors
    /// As [`asks_for_keys`](Self::asks_for_keys).
    pub async fn serve(self, node: Arc<Node>, stop: Stop, deadline: Duration) -> Result<(), Error> {
        let asks_for_keys = self.asks_for_keys(&node).await?;
        if asks_for_keys && self.tls.is_none() && !self.address.ip().is_loopback() {
            warn!("keys are sent without TLS; have a proxy add it, or set service.tls_certificate");
        }
        let (alive_while_held, mut alive) = mpsc::channel::<Infallible>(1);
        let keys = node.keys().clone();
        let most = self.settings.service.connections;
        let shared = Shared {
            node,
            stop: stop.clone(),
            slots: Arc::new(Slots::of_keys()),
            quotas: Arc::new(self.quotas),
            metrics: self.metrics,
            settings: Arc::new(self.settings),
            alive_while_held,
        };
        let connections = Connections {
            router: routes::router(shared),
            stop: stop.clone(),
            room: Arc::new(Semaphore::new(most)),
            tls: self.tls.as_ref().map(|(_, acceptor)| acceptor.clone()),
        };
        info!(address = %self.address, "listening");
        {
            let tcp = async {
                loop {
                    match self.listener.accept().await {
                        Ok((stream, _)) => {
                            // Answers are short, and events are to arrive at once.
                            let _ = stream.set_nodelay(true);
                            connections.start(stream, true);
                        }
                        Err(error) => rest(&error).await,
                    }
                }
            };
            let unix = async {
                let Some(socket) = &self.socket else { std::future::pending().await };
                loop {
                    match socket.accept().await {
                        Ok(stream) => connections.start(stream, false),
                        Err(error) => rest(&error).await,
                    }
                }
            };
            tokio::select! {
                () = tcp => {}
                () = unix => {}
                () = refresh(&keys, self.tls.as_ref().map(|(certificate, _)| &**certificate)) => {}
                () = stop.stopping() => {}
            }
        }
        drop(self.listener);
        drop(self.socket);
        drop(connections);
        // Nothing is ever sent: it is over once no connection and no WebSocket is left that could.
        if tokio::time::timeout(deadline, alive.recv()).await.is_err() {
            warn!("requests were cut off: they were not done in time");
        }
        Ok(())
    }
}

async fn rest(error: &std::io::Error) {
    warn!(%error, "cannot accept a connection");
    tokio::time::sleep(REST).await;
}

/// Looks again and again for what has changed beside the service: keys, and files.
async fn refresh(keys: &Keys, certificate: Option<&Certificate>) {
    let mut is_failing = false;
    let refresh_keys = async {
        loop {
            tokio::time::sleep(Keys::REFRESH).await;
            match keys.refresh().await {
                Ok(()) => is_failing = false,
                Err(error) => {
                    if !is_failing {
                        warn!(error = %chain(&error), "changes of keys are not seen now");
                    }
                    is_failing = true;
                }
            }
        }
    };
    let refresh_files = async {
        loop {
            tokio::time::sleep(LOOK_AGAIN).await;
            if let Some(certificate) = certificate {
                certificate.refresh();
            }
        }
    };
    tokio::join!(refresh_keys, refresh_files);
}

/// What starts connections.
struct Connections {
    router: Router,
    stop: Stop,
    room: Arc<Semaphore>,
    tls: Option<TlsAcceptor>,
}

impl Connections {
    fn start<C>(&self, stream: C, is_tcp: bool)
    where
        C: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Ok(room) = self.room.clone().try_acquire_owned() else {
            debug!("a connection was closed at once: there are too many");
            return;
        };
        let (router, stop) = (self.router.clone(), self.stop.clone());
        let tls = self.tls.clone().filter(|_| is_tcp);
        let room = Room::new(room);
        let left = Left::default();
        let router = WithRoom { router, room, left: left.clone() };
        let stream = Linger::new(StallLimit::new(stream, STALL_TIME), left);
        tokio::spawn(async move {
            let Some(tls) = tls else { return serve(stream, router, &stop).await };
            match tokio::time::timeout(HEAD_TIME, tls.accept(stream)).await {
                Ok(Ok(stream)) => serve(stream, router, &stop).await,
                Ok(Err(error)) => debug!(%error, "a client did not agree on TLS"),
                Err(_) => debug!("a client took too long to agree on TLS"),
            }
        });
    }
}

async fn serve<C>(stream: C, router: WithRoom, stop: &Stop)
where
    C: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
        .with_upgrades();
    let mut connection = pin!(connection);
    let served = tokio::select! {
        served = connection.as_mut() => served,
        () = stop.stopping() => {
            // What is under way is answered; then it is closed.
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = served {
        debug!(%error, "a connection broke");
    }
}

#[cfg(test)]
mod tests {
    use axum::{http::StatusCode, routing::post};
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    /// What is answered to a client that sends all of a body of 400 KB before it reads, where nothing reads the body.
    async fn answer(head: &str, body: &str) -> String {
        let connections = Connections {
            router: Router::new().route("/", post(async || StatusCode::PAYLOAD_TOO_LARGE)),
            stop: Stop::default(),
            room: Arc::new(Semaphore::new(1)),
            tls: None,
        };
        let (mut client, connection) = duplex(1 << 10);
        connections.start(connection, false);
        client
            .write_all(format!("POST / HTTP/1.1\r\nhost: localhost\r\n{head}\r\n\r\n").as_bytes())
            .await
            .unwrap();
        for _ in 0..100 {
            client.write_all(body.as_bytes()).await.unwrap();
        }
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_sends_a_large_body_in_vain_gets_the_answer() {
        let body = "x".repeat(4000);
        let of_known_length = answer("content-length: 400000", &body).await;
        let chunked = answer("transfer-encoding: chunked", &format!("fa0\r\n{body}\r\n")).await;
        for answer in [of_known_length, chunked] {
            assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
        }
    }
}
