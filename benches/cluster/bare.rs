//! The least that `ractor_cluster` can do over a socket: one actor that answers, two node servers in one process, and a session
//! between them.

use std::{error::Error, io, sync::Arc, time::Duration};

use ractor::{Actor, ActorId, ActorProcessingErr, ActorRef, RpcReplyPort, rpc::CallResult};
use ractor_cluster::{
    BoxRead, BoxWrite, ClusterBidiStream, NodeServer, NodeServerMessage, NodeSessionMessage,
    RactorClusterMessage, node::NodeConnectionMode,
};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use teammy_cluster::certs::{Authority, NodeFiles, Validity};
use teammy_kernel::Name;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{TlsAcceptor, TlsConnector};

#[derive(RactorClusterMessage)]
pub enum Question {
    #[rpc]
    Number(Vec<u8>, RpcReplyPort<u64>),
}

/// Answers with a number, as a receipt has one.
struct Answers;

impl Actor for Answers {
    type Msg = Question;
    type State = u64;
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Question>, (): ()) -> Result<u64, ActorProcessingErr> {
        Ok(0)
    }

    async fn handle(
        &self,
        _: ActorRef<Question>,
        Question::Number(payload, reply): Question,
        number: &mut u64,
    ) -> Result<(), ActorProcessingErr> {
        *number += u64::from(!payload.is_empty());
        let _ = reply.send(*number);
        Ok(())
    }
}

/// The actor as the other end of a session has it.
#[derive(Clone)]
pub struct Bare(ActorRef<Question>);

impl Bare {
    /// Starts the actor, and a session over loopback to it.
    pub async fn start(tls: Option<&Authority>) -> Result<Self, Box<dyn Error>> {
        let (answers, _) = Actor::spawn(None, Answers, ()).await?;
        let (asking, answering) = (server("asking").await?, server("answering").await?);
        // A stand-in is known in the whole process by the number of its session, of which each server counts its own.
        let (nobody, _) = tokio::io::duplex(1);
        open(&asking, Stream(nobody), false)?;
        connect(&asking, &answering, tls).await?;
        loop {
            tokio::time::sleep(Duration::from_millis(5)).await;
            if let Some(actor) = stand_in(&asking, answers.get_id().pid()).await {
                return Ok(Self(actor));
            }
        }
    }

    pub async fn ask(&self, payload: Vec<u8>) {
        let answer = self.0.call(|reply| Question::Number(payload, reply), None).await;
        assert!(matches!(answer, Ok(CallResult::Success(_))), "the actor answers");
    }
}

async fn server(name: &str) -> Result<ActorRef<NodeServerMessage>, ractor::SpawnErr> {
    let mode = Some(NodeConnectionMode::Isolated);
    let server = NodeServer::new(0, "bench".to_owned(), name.to_owned(), "localhost".to_owned(), None, mode);
    let server = server.with_listen_addr([127, 0, 0, 1].into());
    Ok(Actor::spawn(None, server, ()).await?.0)
}

/// A socket, encrypted or not.
struct Stream<S>(S);

impl<S: AsyncRead + AsyncWrite + Send + 'static> ClusterBidiStream for Stream<S> {
    fn split(self: Box<Self>) -> (BoxRead, BoxWrite) {
        let (reader, writer) = tokio::io::split(self.0);
        (Box::new(reader), Box::new(writer))
    }
}

fn open(
    server: &ActorRef<NodeServerMessage>,
    stream: impl ClusterBidiStream,
    is_server: bool,
) -> Result<(), Box<dyn Error>> {
    let stream = Box::new(stream);
    server.cast(NodeServerMessage::ConnectionOpenedExternal { stream, is_server })?;
    Ok(())
}

async fn connect(
    asking: &ActorRef<NodeServerMessage>,
    answering: &ActorRef<NodeServerMessage>,
    tls: Option<&Authority>,
) -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let (dialled, accepted) = tokio::join!(TcpStream::connect(listener.local_addr()?), listener.accept());
    let (dialled, (accepted, _)) = (dialled?, accepted?);
    dialled.set_nodelay(true)?;
    accepted.set_nodelay(true)?;
    let Some(authority) = tls else {
        open(answering, Stream(accepted), true)?;
        return open(asking, Stream(dialled), false);
    };
    let files = authority.add(&Name::new("bare")?, Validity::days(1))?;
    let (client, server) = configs(&files)?;
    let name = ServerName::try_from("bare")?;
    let (dialled, accepted) = tokio::join!(
        TlsConnector::from(client).connect(name, dialled),
        TlsAcceptor::from(server).accept(accepted)
    );
    open(answering, Stream(accepted?), true)?;
    open(asking, Stream(dialled?), false)
}

fn configs(files: &NodeFiles) -> Result<(Arc<ClientConfig>, Arc<ServerConfig>), Box<dyn Error>> {
    let certificates = CertificateDer::pem_file_iter(&files.cert)?.collect::<Result<Vec<_>, _>>()?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(&files.ca)? {
        roots.add(certificate?)?;
    }
    let key = PrivateKeyDer::from_pem_file(&files.key)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = &[&rustls::version::TLS13];
    let client = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(versions)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let server = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)?
        .with_no_client_auth()
        .with_single_cert(certificates, key)?;
    Ok((Arc::new(client), Arc::new(server)))
}

/// The actor's stand-in at the other end, once the session is ready.
async fn stand_in(server: &ActorRef<NodeServerMessage>, pid: u64) -> Option<ActorRef<Question>> {
    let sessions = server
        .call(NodeServerMessage::GetSessions, None)
        .await
        .ok()?
        .success_or(io::ErrorKind::Other)
        .ok()?;
    for session in sessions.into_values() {
        let ready = session.actor.call(NodeSessionMessage::GetReadyState, None).await;
        let stand_in = ActorId::Remote { node_id: session.node_id, pid };
        let mut children = session.actor.get_cell().get_children().into_iter();
        if let (Ok(CallResult::Success(true)), Some(actor)) =
            (ready, children.find(|child| child.get_id() == stand_in))
        {
            return Some(actor.into());
        }
    }
    None
}
