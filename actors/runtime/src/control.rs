//! A node's local socket: what an operator asks of a node that runs, in this program or in any that embeds
//! one.
//!
//! An embedded database is held by one process, so what concerns the meetings of a running node goes through
//! it. The socket is a file that only its owner can open: its directory, where it is made here, and its own
//! mode say so, and whoever connects is asked of the system who they are.
//!
//! # Protocol
//! UTF-8, a JSON object a line: a [`Request`], then its [`Answer`], and so on. Unknown fields are ignored, so
//! that either side may be newer.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use futures::{StreamExt, stream::FuturesUnordered};
use serde::{Deserialize, Serialize};
use teammy_kernel::{MeetingId, Name, Seq, chain, store::DeadLetter};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{UnixListener, UnixStream},
    sync::watch,
};
use tracing::{info, warn};

use crate::node::{Node, Redrive, status::Status};

/// What can be asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Request {
    /// Which database the node keeps its meetings in.
    Database,
    /// How the node stands.
    Status,
    /// A meeting's dead letters.
    DeadLetters {
        /// The meeting.
        meeting: MeetingId,
    },
    /// Deliver dead letters once more, and wait until that is done.
    Redrive {
        /// The meeting.
        meeting: MeetingId,
        /// Those of this instance; of all without it.
        #[serde(default)]
        instance: Option<Name>,
        /// Those of this packet; of all without it.
        #[serde(default)]
        seq: Option<Seq>,
    },
    /// Go on with an instance that was suspended, in a meeting that runs here.
    ResumeInstance {
        /// The meeting.
        meeting: MeetingId,
        /// The instance.
        instance: Name,
    },
    /// Forget a meeting, whether it runs or not.
    Forget {
        /// The meeting.
        meeting: MeetingId,
    },
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Answer {
    /// Where meetings are kept, without credentials; none where whoever embeds the node gave it a store.
    Database {
        /// The URL.
        url: Option<String>,
    },
    /// How the node stands.
    Status {
        /// Its meetings, memory and store.
        status: Box<Status>,
    },
    /// Dead letters, by seq, then instance.
    DeadLetters {
        /// What each of them holds.
        letters: Vec<DeadLetter>,
    },
    /// So many packets were delivered once more.
    Redriven {
        /// How many.
        count: usize,
    },
    /// It is done.
    Done,
    /// There was nothing to do it with.
    Nothing,
    /// It could not be done.
    Failed {
        /// Why.
        error: String,
    },
}

/// What can go wrong with a socket.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Another node listens there.
    #[error("another node listens on {}; give this one another node.socket", .0.display())]
    InUse(PathBuf),
    /// It could not be made.
    #[error("cannot listen on {}", .path.display())]
    Listen {
        /// Its path.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// No node listens there.
    #[error("no node listens on {}", .path.display())]
    NoNode {
        /// The path.
        path: PathBuf,
        /// What the system says.
        #[source]
        cause: io::Error,
    },
    /// The node did not answer as it should.
    #[error("the node on {} did not answer", .path.display())]
    Answer {
        /// The path.
        path: PathBuf,
        /// What went wrong.
        #[source]
        cause: io::Error,
    },
}

/// The longest line that is read, in bytes.
const LONGEST_LINE: u64 = 64 << 20;
/// How long whoever connects may take for a line to be read or written.
const PATIENCE: Duration = Duration::from_secs(30);

/// A socket that a node listens on. Dropping it takes it away.
#[derive(Debug)]
pub struct Socket {
    path: PathBuf,
    listener: UnixListener,
    owner: u32,
    /// The file that it made.
    file: (u64, u64),
    /// How many requests are being answered.
    answering: watch::Sender<usize>,
    /// What it shows of the database.
    database: Option<String>,
}

impl Drop for Socket {
    fn drop(&mut self) {
        // Somebody may have put another in its place.
        let is_ours = |metadata: fs::Metadata| (metadata.dev(), metadata.ino()) == self.file;
        if fs::symlink_metadata(&self.path).is_ok_and(is_ours) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn is_socket(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket())
}

impl Socket {
    /// Makes a socket, in a directory of its own if there is none. One that a node left behind when it was
    /// killed is replaced.
    ///
    /// # Errors
    /// [`Error::InUse`], [`Error::Listen`].
    ///
    /// # Panics
    /// If it is not called on a tokio runtime.
    pub fn bind(path: impl Into<PathBuf>) -> Result<Self, Error> {
        let path = path.into();
        let failed = |cause| Error::Listen { path: path.clone(), cause };
        if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(failed)?;
        }
        match std::os::unix::net::UnixStream::connect(&path) {
            Ok(_) => return Err(Error::InUse(path)),
            // A file that is no socket is refused just so, and is not ours to take away.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused && is_socket(&path) => {
                fs::remove_file(&path).map_err(failed)?;
            }
            Err(_) => {}
        }
        let listener = UnixListener::bind(&path).map_err(failed)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).map_err(failed)?;
        let metadata = fs::metadata(&path).map_err(failed)?;
        let (owner, file) = (metadata.uid(), (metadata.dev(), metadata.ino()));
        Ok(Self { path, listener, owner, file, answering: watch::Sender::new(0), database: None })
    }

    /// Says where the node keeps its meetings, so that who looks for them there finds this node.
    #[must_use]
    pub fn database(mut self, url: impl Into<String>) -> Self {
        self.database = Some(url.into());
        self
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Waits until nothing is being answered, while somebody goes on to [`serve`](Self::serve): for a node
    /// that is about to stop.
    pub async fn idle(&self) {
        // The sender is ours, so it is there.
        let _ = self.answering.subscribe().wait_for(|requests| *requests == 0).await;
    }

    /// Answers for a node, until it is dropped.
    pub async fn serve(&self, node: &Node) {
        info!(socket = %self.path.display(), "listening for commands");
        let mut connections = FuturesUnordered::new();
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                Some(()) = connections.next() => continue,
            };
            match accepted {
                Ok((stream, _)) => match stream.peer_cred() {
                    Ok(peer) if peer.uid() == self.owner => connections.push(self.talk(stream, node)),
                    Ok(peer) => warn!(user = peer.uid(), "rejected a connection from another user"),
                    Err(error) => warn!(error = chain(&error), "it is not known who connects"),
                },
                Err(error) => {
                    warn!(error = chain(&error), "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    async fn talk(&self, stream: UnixStream, node: &Node) {
        let (reader, mut writer) = stream.into_split();
        let mut reader = BufReader::new(reader);
        loop {
            let mut line = String::new();
            let read = async { (&mut reader).take(LONGEST_LINE).read_line(&mut line).await };
            let Ok(Ok(1..)) = tokio::time::timeout(PATIENCE, read).await else { return };
            let _answering = Answering::new(&self.answering);
            let answer = match serde_json::from_str(&line) {
                Ok(request) => self.answer(request, node).await,
                Err(_) => Answer::Failed { error: "this is no request of this version".to_owned() },
            };
            let mut line = serde_json::to_string(&answer).expect("invariant: answers have a JSON form");
            line.push('\n');
            let Ok(Ok(())) = tokio::time::timeout(PATIENCE, writer.write_all(line.as_bytes())).await else {
                return;
            };
        }
    }

    async fn answer(&self, request: Request, node: &Node) -> Answer {
        let answer = match request {
            Request::Database => Ok(Answer::Database { url: self.database.clone() }),
            Request::Status => Ok(Answer::Status { status: Box::new(node.status().await) }),
            Request::DeadLetters { meeting } => dead_letters(node, meeting).await,
            Request::Redrive { meeting, instance, seq } => redrive(node, &meeting, instance, seq).await,
            Request::ResumeInstance { meeting, instance } => match node.meeting(&meeting) {
                Some(running) => {
                    let resumed = running.resume_instance(instance.as_str()).await;
                    resumed.map(|()| Answer::Done).map_err(Into::into)
                }
                None => Ok(Answer::Nothing),
            },
            Request::Forget { meeting } => node
                .forget(&meeting)
                .await
                .map(|is_gone| if is_gone { Answer::Done } else { Answer::Nothing }),
        };
        answer.unwrap_or_else(|error| Answer::Failed { error: chain(&error) })
    }
}

/// A meeting's dead letters; nothing where there is no such meeting.
async fn dead_letters(node: &Node, meeting: MeetingId) -> Result<Answer, crate::node::Error> {
    let is_there = node.store().meeting(meeting.clone()).await.map_err(crate::node::Error::Store)?.is_some();
    if !is_there {
        return Ok(Answer::Nothing);
    }
    Ok(Answer::DeadLetters { letters: node.dead_letters(&meeting).await? })
}

/// A request that is being answered.
struct Answering<'a>(&'a watch::Sender<usize>);

impl<'a> Answering<'a> {
    fn new(requests: &'a watch::Sender<usize>) -> Self {
        requests.send_modify(|requests| *requests += 1);
        Self(requests)
    }
}

impl Drop for Answering<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|requests| *requests -= 1);
    }
}

async fn redrive(
    node: &Node,
    meeting: &MeetingId,
    instance: Option<Name>,
    seq: Option<Seq>,
) -> Result<Answer, crate::node::Error> {
    let mut which = Redrive::all();
    if let Some(instance) = instance {
        which = which.instance(instance);
    }
    if let Some(seq) = seq {
        which = which.seq(seq);
    }
    let redriven = node.redrive(meeting, &which).await?;
    redriven.done().await?;
    Ok(Answer::Redriven { count: redriven.count })
}

/// A way to a node that listens.
#[derive(Debug)]
pub struct Client {
    path: PathBuf,
    stream: BufReader<UnixStream>,
}

impl Client {
    /// Connects to a node.
    ///
    /// # Errors
    /// [`Error::NoNode`].
    pub async fn connect(path: impl Into<PathBuf>) -> Result<Self, Error> {
        let path = path.into();
        match UnixStream::connect(&path).await {
            Ok(stream) => Ok(Self { path, stream: BufReader::new(stream) }),
            Err(cause) => Err(Error::NoNode { path, cause }),
        }
    }

    /// Asks something, and waits for the answer.
    ///
    /// # Errors
    /// [`Error::Answer`].
    ///
    /// # Cancel safety
    /// A call that was dropped leaves the connection of no use.
    pub async fn ask(&mut self, request: &Request) -> Result<Answer, Error> {
        let asked = self.exchange(request).await;
        asked.map_err(|cause| Error::Answer { path: self.path.clone(), cause })
    }

    async fn exchange(&mut self, request: &Request) -> io::Result<Answer> {
        let mut line = serde_json::to_string(request)?;
        line.push('\n');
        self.stream.get_mut().write_all(line.as_bytes()).await?;
        let mut line = String::new();
        let read = (&mut self.stream).take(LONGEST_LINE).read_line(&mut line).await?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let other = |_| {
            io::Error::new(io::ErrorKind::InvalidData, "the node is of another version: it answers otherwise")
        };
        serde_json::from_str(&line).map_err(other)
    }
}
