//! A proxy before a server, which can stop passing on what one of its connections carries, as if a network lost it.

use std::sync::{Arc, Mutex};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// Listens until the runtime ends.
pub(crate) struct Proxy {
    port: u16,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// For each connection, in the order in which they came, whether it is stalled.
    connections: Vec<watch::Sender<bool>>,
    stalls_new_ones: bool,
}

impl Proxy {
    /// Starts a proxy to a port of this machine.
    pub(crate) async fn to(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::<Mutex<State>>::default();
        let accepted = state.clone();
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let stalled = {
                    let mut state = accepted.lock().unwrap();
                    let (sender, stalled) = watch::channel(state.stalls_new_ones);
                    state.connections.push(sender);
                    stalled
                };
                tokio::spawn(async move {
                    let Ok(server) = TcpStream::connect(("127.0.0.1", server)).await else { return };
                    let ((from_client, to_client), (from_server, to_server)) =
                        (client.into_split(), server.into_split());
                    tokio::spawn(pass_on(from_client, to_server, stalled.clone()));
                    tokio::spawn(pass_on(from_server, to_client, stalled));
                });
            }
        });
        Self { port, state }
    }

    /// The URL to connect to.
    pub(crate) fn url(&self) -> String {
        format!("ws://127.0.0.1:{}", self.port)
    }

    /// How many connections there were.
    pub(crate) fn accepted(&self) -> usize {
        self.state.lock().unwrap().connections.len()
    }

    /// Stops passing on what a connection carries, or goes on. The first has number 0.
    pub(crate) fn stall(&self, connection: usize, stall: bool) {
        self.state.lock().unwrap().connections[connection].send_replace(stall);
    }

    /// Stalls each connection that will come, or none.
    pub(crate) fn stall_new_ones(&self, stall: bool) {
        self.state.lock().unwrap().stalls_new_ones = stall;
    }
}

async fn pass_on(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut stalled: watch::Receiver<bool>,
) {
    let mut bytes = [0; 4096];
    while let Ok(count @ 1..) = from.read(&mut bytes).await {
        if stalled.wait_for(|stalled| !stalled).await.is_err() || to.write_all(&bytes[..count]).await.is_err()
        {
            return;
        }
    }
    // The other side closed, and a stalled connection doesn't carry that either.
    if stalled.wait_for(|stalled| !stalled).await.is_ok() {
        to.shutdown().await.ok();
    }
}
