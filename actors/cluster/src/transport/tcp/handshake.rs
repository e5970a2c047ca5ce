//! What the two ends of a connection tell each other before any actor hears of it.
//!
//! Each sends one greeting: eight fixed bytes, the token that its peer's frames are to carry (16 bytes), the number of its
//! gateway (8 bytes, big-endian), and its incarnation (one byte for the length, and the text). The one that dials sends first. So
//! whoever cannot prove who it is, or speaks another protocol, is sent away here, and costs 255 bytes and one task.

use std::io;

use teammy_kernel::{Name, store::Incarnation};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::Duration,
};

use super::{
    gateway::{TOKEN, Token},
    tls::is_for,
};

/// How long TLS and the greetings may take together.
pub(super) const HANDSHAKE_TIME: Duration = Duration::from_secs(3);

/// The first bytes; the last of them is the version of the greeting.
const MAGIC: [u8; 8] = *b"TEAMMY\x00\x01";

/// Why somebody else was sent away.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    #[error("no agreement on TLS")]
    Tls(#[source] io::Error),
    #[error("the connection broke")]
    Broke(#[source] io::Error),
    #[error("it took longer than {HANDSHAKE_TIME:?}")]
    Slow,
    #[error("too many others came after it before it said who it is")]
    Crowded,
    #[error("it does not greet as a node does")]
    NoNode,
    #[error("it says that it is this node")]
    Itself,
    #[error("it says that it is {0}, and its certificate is for {1:?}")]
    Certificate(Incarnation, Vec<String>),
    #[error("no certificate can be for the name {0}")]
    NoHost(Name),
    #[error("it is {0}")]
    Another(Incarnation),
    #[error("its session ended before it was ready")]
    Session,
    #[error("this node is closing, or does not take its connections")]
    Closing,
}

/// What a node says first.
#[derive(Debug)]
pub(super) struct Greeting {
    /// Who it is.
    pub(super) who: Incarnation,
    /// What frames for it carry.
    pub(super) token: Token,
    /// The number of its gateway.
    pub(super) gateway: u64,
}

impl Greeting {
    async fn send(&self, stream: &mut (impl AsyncWrite + Unpin)) -> Result<(), Refused> {
        let who = self.who.to_string();
        let length = u8::try_from(who.len()).expect("invariant: a name has at most 64 bytes");
        let mut bytes = MAGIC.to_vec();
        bytes.extend(self.token.bytes());
        bytes.extend(self.gateway.to_be_bytes());
        bytes.push(length);
        bytes.extend(who.as_bytes());
        stream.write_all(&bytes).await.map_err(broke)?;
        stream.flush().await.map_err(broke)
    }

    async fn receive(stream: &mut (impl AsyncRead + Unpin)) -> Result<Self, Refused> {
        let mut magic = [0; MAGIC.len()];
        stream.read_exact(&mut magic).await.map_err(broke)?;
        if magic != MAGIC {
            return Err(Refused::NoNode);
        }
        let mut token = [0; TOKEN];
        stream.read_exact(&mut token).await.map_err(broke)?;
        let gateway = stream.read_u64().await.map_err(broke)?;
        let mut who = vec![0; stream.read_u8().await.map_err(broke)?.into()];
        stream.read_exact(&mut who).await.map_err(broke)?;
        let who = String::from_utf8(who).ok().and_then(|who| who.parse().ok()).ok_or(Refused::NoNode)?;
        Ok(Self { who, token: Token::of(token), gateway })
    }
}

/// An error of the stream. Once a handshake of TLS 1.3 is over at the client's, the server may still refuse its certificate.
pub(super) fn broke(error: io::Error) -> Refused {
    if error.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<rustls::Error>) {
        Refused::Tls(error)
    } else {
        Refused::Broke(error)
    }
}

/// Greets whoever dialled. `names` are those of its certificate; none without TLS, where it is whom it says.
pub(super) async fn answer(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    me: &Greeting,
    names: Option<&[String]>,
) -> Result<Greeting, Refused> {
    let peer = Greeting::receive(stream).await?;
    check(&peer, me, names)?;
    me.send(stream).await?;
    Ok(peer)
}

/// Greets the one that was dialled, who should be `wanted`.
pub(super) async fn greet(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    me: &Greeting,
    names: Option<&[String]>,
    wanted: &Incarnation,
) -> Result<Greeting, Refused> {
    me.send(stream).await?;
    let peer = Greeting::receive(stream).await?;
    check(&peer, me, names)?;
    if peer.who != *wanted {
        return Err(Refused::Another(peer.who));
    }
    Ok(peer)
}

fn check(peer: &Greeting, me: &Greeting, names: Option<&[String]>) -> Result<(), Refused> {
    match names {
        Some(names) if !is_for(names, &peer.who.node) => {
            Err(Refused::Certificate(peer.who.clone(), names.to_vec()))
        }
        _ if peer.who == me.who => Err(Refused::Itself),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn greeting(node: &str) -> Greeting {
        let who = Incarnation { node: Name::new(node).unwrap(), boot: 7 };
        Greeting { who, token: Token::draw().unwrap(), gateway: 9 }
    }

    async fn meet(
        dials: &Greeting,
        wanted: &Greeting,
        answers: &Greeting,
        names: Option<&[String]>,
    ) -> (Result<Greeting, Refused>, Result<Greeting, Refused>) {
        let (mut near, mut far) = tokio::io::duplex(1 << 10);
        let far = async move { answer(&mut far, answers, names).await };
        tokio::join!(async move { greet(&mut near, dials, None, &wanted.who).await }, far)
    }

    #[tokio::test]
    async fn both_ends_learn_who_the_other_is() {
        let (north, south) = (greeting("north"), greeting("south"));
        let (near, far) = meet(&north, &south, &south, Some(&["NORTH".to_owned()])).await;
        let (near, far) = (near.unwrap(), far.unwrap());
        assert_eq!((near.who, near.token, near.gateway), (south.who, south.token, 9));
        assert_eq!((far.who, far.token), (north.who, north.token));
    }

    #[tokio::test]
    async fn who_is_somebody_else_is_refused() {
        let (north, south, east) = (greeting("north"), greeting("south"), greeting("east"));
        let (near, _) = meet(&north, &east, &south, None).await;
        assert!(matches!(near, Err(Refused::Another(other)) if other == south.who));
        let (_, far) = meet(&north, &south, &south, Some(&["east".to_owned()])).await;
        assert!(matches!(far, Err(Refused::Certificate(claimed, _)) if claimed == north.who));
        let (near, far) = meet(&north, &north, &north, None).await;
        assert!(matches!((near, far), (Err(Refused::Broke(_)), Err(Refused::Itself))));
    }

    #[tokio::test]
    async fn what_is_no_greeting_is_refused_by_its_first_bytes() {
        for bytes in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0, 0, 0, 0, 0x80, 0, 0, 0], b"TEAMMY\x00\x02"] {
            let (mut near, mut far) = tokio::io::duplex(1 << 10);
            near.write_all(bytes).await.unwrap();
            let refused = answer(&mut far, &greeting("south"), None).await;
            assert!(matches!(refused, Err(Refused::NoNode)), "{bytes:?}");
        }
    }
}
