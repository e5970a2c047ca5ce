//! What the connections of a node share.

use std::sync::Arc;

use ractor::{Actor, ActorRef};
use rustls::pki_types::CertificateDer;
use teammy_kernel::store::Incarnation;
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::{
    gateway::{Frame, Gateway, Table, Token},
    handshake::{Greeting, HANDSHAKE_TIME, Refused, answer, broke, greet},
    session::{self, Side},
    socket,
    tls::{Tls, names, server_name},
};
use crate::transport::Connection;

#[derive(Debug)]
pub(super) struct Node {
    me: Incarnation,
    /// None for plain TCP.
    tls: Option<Tls>,
    table: Arc<Table>,
    gateway: ActorRef<Frame>,
}

fn names_of(certificates: Option<&[CertificateDer<'_>]>) -> Vec<String> {
    certificates.and_then(<[_]>::first).map(names).unwrap_or_default()
}

impl Node {
    pub(super) async fn start(me: Incarnation, tls: Option<Tls>) -> Result<Self, ractor::SpawnErr> {
        let table = Table::new();
        let (gateway, _) = Actor::spawn(None, Gateway, table.clone()).await?;
        Ok(Self { me, tls, table, gateway })
    }

    pub(super) fn is_plain(&self) -> bool {
        self.tls.is_none()
    }

    /// Ends all connections.
    pub(super) fn close(&self) {
        self.table.close();
        self.gateway.stop(None);
    }

    fn greeting(&self) -> Result<Greeting, Refused> {
        let token = Token::draw().map_err(|error| Refused::Broke(error.into()))?;
        Ok(Greeting { who: self.me.clone(), token, gateway: self.gateway.get_id().pid() })
    }

    /// Makes a connection of one that somebody dialled.
    pub(super) async fn accept(&self, stream: TcpStream) -> Result<Connection, Refused> {
        let socket = socket::prepare(&stream).map_err(Refused::Broke)?;
        let me = self.greeting()?;
        let table = &self.table;
        let Some(tls) = &self.tls else {
            let mut stream = stream;
            let peer = timeout(HANDSHAKE_TIME, answer(&mut stream, &me, None))
                .await
                .map_err(|_| Refused::Slow)??;
            return session::start(table, &me, peer, Side::Accepted, stream, socket).await;
        };
        let agreed = timeout(HANDSHAKE_TIME, async {
            let mut stream = TlsAcceptor::from(tls.configs().server).accept(stream).await.map_err(broke)?;
            let names = names_of(stream.get_ref().1.peer_certificates());
            let peer = answer(&mut stream, &me, Some(&names)).await?;
            Ok((stream, peer))
        });
        let (stream, peer) = agreed.await.map_err(|_| Refused::Slow)??;
        session::start(table, &me, peer, Side::Accepted, stream, socket).await
    }

    /// Makes a connection with the node at the other end, which should be `peer`.
    pub(super) async fn dial(&self, stream: TcpStream, peer: &Incarnation) -> Result<Connection, Refused> {
        let socket = socket::prepare(&stream).map_err(Refused::Broke)?;
        let me = self.greeting()?;
        let table = &self.table;
        let Some(tls) = &self.tls else {
            let mut stream = stream;
            let greeted = timeout(HANDSHAKE_TIME, greet(&mut stream, &me, None, peer));
            let peer = greeted.await.map_err(|_| Refused::Slow)??;
            return session::start(table, &me, peer, Side::Dialled, stream, socket).await;
        };
        let agreed = timeout(HANDSHAKE_TIME, async {
            let host = server_name(&peer.node).ok_or_else(|| Refused::NoHost(peer.node.clone()))?;
            let connector = TlsConnector::from(tls.configs().client);
            let mut stream = connector.connect(host, stream).await.map_err(broke)?;
            let names = names_of(stream.get_ref().1.peer_certificates());
            let greeting = greet(&mut stream, &me, Some(&names), peer).await?;
            Ok((stream, greeting))
        });
        let (stream, peer) = agreed.await.map_err(|_| Refused::Slow)??;
        session::start(table, &me, peer, Side::Dialled, stream, socket).await
    }
}
