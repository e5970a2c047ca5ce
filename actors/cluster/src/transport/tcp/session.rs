//! A session of `ractor_cluster` over a connection whose ends know each other.
//!
//! Each session has a supervisor of its own that takes the place of the library's node server: there is no listener to park, no
//! election between sessions, in which an old one can win against the one that replaces it, and no number that two nodes of one
//! process give to two sessions.
//!
//! ```text
//! Supervisor ─▶ NodeSession ─▶ reader and writer of the socket
//!                    └───────▶ one stand-in for each gateway of the peer's process
//! ```

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use ractor::{Actor, ActorId, ActorProcessingErr, ActorRef, SupervisionEvent};
use ractor_cluster::{
    NetworkStream, NodeServerMessage, NodeSession, NodeSessionMessage,
    node::{NodeConnectionMode, SessionCheckReply},
};
use socket2::Socket;
use teammy_kernel::store::Incarnation;
use tokio::{
    io::{AsyncRead, AsyncWrite, BufReader},
    sync::oneshot,
    time::{Duration, timeout},
};

use super::{
    gateway::{Frame, Frames, Table, Wire},
    handshake::{Greeting, Refused},
};
use crate::transport::{Connection, MAX_FRAME};

/// How long a session may take to become ready.
const READY_TIME: Duration = Duration::from_secs(3);

/// What a frame on the wire may have beside its body.
const ENVELOPE: u64 = 4096;

/// The library wants a shared word. It keeps out mistakes and nobody else: who a peer is, its certificate says.
const COOKIE: &str = "teammy";

/// The numbers of sessions are the process's, for stand-ins are known by them to everybody in the process.
static SESSIONS: AtomicU64 = AtomicU64::new(0);

/// Which end of the connection this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Dialled,
    Accepted,
}

/// Begins a session and waits until frames can be sent.
pub(super) async fn start(
    table: &Arc<Table>,
    me: &Greeting,
    peer: Greeting,
    side: Side,
    stream: impl AsyncRead + AsyncWrite + Send + 'static,
    socket: Socket,
) -> Result<Connection, Refused> {
    let (guard, receiver) = table.add(me.token, socket).map_err(|_| Refused::Closing)?;
    let (reader, writer) = tokio::io::split(stream);
    let stream = NetworkStream::External {
        peer_label: None,
        local_label: None,
        // The library reads a frame's length, and then the frame: mostly both are in the buffer.
        reader: Box::new(BufReader::new(reader)),
        writer: Box::new(writer),
    };
    let (ready, is_ready) = oneshot::channel();
    let arguments = Arguments {
        me: me.who.clone(),
        peer: peer.who.clone(),
        gateway: peer.gateway,
        side,
        stream,
        wire: guard.wire().clone(),
        ready,
    };
    Actor::spawn(None, Supervisor, arguments).await.map_err(|_| Refused::Session)?;
    let gateway =
        timeout(READY_TIME, is_ready).await.map_err(|_| Refused::Slow)?.map_err(|_| Refused::Session)?;
    let sender = Box::new(Frames { gateway, token: peer.token, guard });
    Ok(Connection { peer: peer.who, sender, receiver })
}

struct Arguments {
    me: Incarnation,
    peer: Incarnation,
    gateway: u64,
    side: Side,
    stream: NetworkStream,
    wire: Arc<Wire>,
    ready: oneshot::Sender<ActorRef<Frame>>,
}

struct Supervisor;

struct State {
    session: ActorRef<NodeSessionMessage>,
    peer: String,
    /// The stand-in for the peer's gateway.
    gateway: ActorId,
    wire: Arc<Wire>,
    ready: Option<oneshot::Sender<ActorRef<Frame>>>,
}

/// The name of a node as sessions have it.
fn name(who: &Incarnation) -> String {
    format!("{who}@teammy")
}

/// The library does not export the type of its names.
fn value_for<Argument: Default, Answer>(_: &impl Fn(Argument) -> Answer) -> Argument {
    Argument::default()
}

fn node_session(arguments: &Arguments, number: u64, supervisor: &ActorRef<NodeServerMessage>) -> NodeSession {
    let is_server = arguments.side == Side::Accepted;
    let of = |me| {
        let mode = NodeConnectionMode::Isolated;
        NodeSession::new(number, is_server, COOKIE.to_owned(), supervisor.clone(), me, mode)
    };
    let mut me = value_for(&of);
    me.name = name(&arguments.me);
    // Sessions between two nodes that say the same here count as sessions of a node with itself. Nobody dials it.
    me.connection_string = arguments.me.to_string();
    me.flags.get_or_insert_default().version = 1;
    of(me).with_max_inbound_frame_size(MAX_FRAME as u64 + ENVELOPE)
}

impl Actor for Supervisor {
    type Msg = NodeServerMessage;
    type State = State;
    type Arguments = Arguments;

    async fn pre_start(
        &self,
        myself: ActorRef<NodeServerMessage>,
        arguments: Arguments,
    ) -> Result<State, ActorProcessingErr> {
        let number = SESSIONS.fetch_add(1, Ordering::Relaxed);
        let session = node_session(&arguments, number, &myself);
        let Arguments { peer, gateway, stream, wire, ready, .. } = arguments;
        let (session, _) = Actor::spawn_linked(None, session, stream, myself.get_cell()).await?;
        let gateway = ActorId::Remote { node_id: number, pid: gateway };
        Ok(State { session, peer: name(&peer), gateway, wire, ready: Some(ready) })
    }

    async fn handle(
        &self,
        _: ActorRef<NodeServerMessage>,
        message: NodeServerMessage,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            // Asked by both ends before they let frames through: the name must be the one of the greeting.
            NodeServerMessage::CheckSession { peer_name, reply } => {
                let answer = if peer_name.name == state.peer {
                    SessionCheckReply::NoOtherConnection
                } else {
                    SessionCheckReply::OtherConnectionContinues
                };
                let _ = reply.send(answer);
            }
            NodeServerMessage::ConnectionReady(_) => {
                // The peer has told of its gateways before it was ready.
                let gateways = state.session.get_cell().get_children();
                let gateway = gateways.into_iter().find(|child| child.get_id() == state.gateway);
                match (gateway, state.ready.take()) {
                    (Some(gateway), Some(ready)) => drop(ready.send(gateway.into())),
                    _ => state.wire.close(),
                }
            }
            _ => {}
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<NodeServerMessage>,
        event: SupervisionEvent,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        if let SupervisionEvent::ActorFailed(..) | SupervisionEvent::ActorTerminated(..) = event {
            state.wire.close();
            myself.stop(None);
        }
        Ok(())
    }
}
