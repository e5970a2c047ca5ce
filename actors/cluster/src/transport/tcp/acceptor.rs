//! Takes connections: a task each, so that one that does nothing holds nobody up.

use std::{collections::HashMap, net::SocketAddr, sync::Arc};

use tokio::{
    net::TcpListener,
    sync::mpsc,
    task::{AbortHandle, Id, JoinSet},
    time::{Duration, Instant, sleep},
};
use tracing::{error, warn};

use super::{
    admission::{Handshakes, Refusals},
    handshake::Refused,
    node::Node,
};
use crate::transport::Connection;

/// How long nothing is accepted after the system had nothing left to accept with.
const PAUSE: Duration = Duration::from_millis(100);

/// Accepts for ever.
pub(super) async fn run(listener: TcpListener, node: Arc<Node>, accepted: mpsc::Sender<Connection>) {
    let mut handshakes = Handshakes::default();
    let mut under_way = HashMap::<Id, (AbortHandle, SocketAddr)>::new();
    let mut tasks = JoinSet::new();
    let mut refusals = Refusals::default();
    loop {
        tokio::select! {
            incoming = listener.accept() => match incoming {
                Ok((stream, from)) => {
                    let node = node.clone();
                    let task = tasks.spawn(async move { node.accept(stream).await });
                    let evicted = handshakes.begin(task.id(), from.ip());
                    under_way.insert(task.id(), (task, from));
                    if let Some((task, from)) = evicted.and_then(|id| under_way.remove(&id)) {
                        task.abort();
                        refuse(&mut refusals, from, &Refused::Crowded);
                    }
                }
                Err(error) => {
                    error!(%error, "cannot accept connections of other nodes");
                    sleep(PAUSE).await;
                }
            },
            Some(ended) = tasks.join_next_with_id() => {
                let (id, connection) = match ended {
                    Ok((id, connection)) => (id, Some(connection)),
                    Err(error) => (error.id(), None),
                };
                handshakes.end(id);
                let Some((_, from)) = under_way.remove(&id) else { continue };
                let refused = match connection {
                    Some(Ok(connection)) => accepted.try_send(connection).map_err(|_| Refused::Closing),
                    Some(Err(refused)) => Err(refused),
                    None => Err(Refused::Session),
                };
                if let Err(refused) = refused {
                    refuse(&mut refusals, from, &refused);
                }
            }
        }
    }
}

fn refuse(refusals: &mut Refusals, from: SocketAddr, refused: &Refused) {
    let kind = refused.kind();
    if let Some(left_out) = refusals.note(from.ip(), kind, Instant::now()) {
        let (error, advice) = (teammy_kernel::chain(refused), kind.advice());
        warn!(%from, %error, advice, left_out, "refused a connection to the port for other nodes");
    }
}
