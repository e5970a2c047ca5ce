//! A node's local socket: operators' requests to a running node, in this program or in any that embeds one.
//!
//! An embedded database is held by one process, so requests about the meetings of a running node go through
//! that node. Only the socket's owner can open it: its directory (if it is created here) and its file have a
//! mode that says so, and the system is asked for the user of each connection.
//!
//! # Protocol
//! UTF-8, one JSON object a line: a request, then its answer, and so on. A request is an [`admin::Request`], or
//! `{"ask":"database"}`. An answer is an [`admin::Response`], `{"answer":"database","url":…}`, or
//! `{"answer":"failed","error":…,"code":…,"kind":…}` with the error's code and [`ErrorKind`]. Unknown fields are
//! ignored, so either side may be newer.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use futures::{StreamExt, stream::FuturesUnordered};
use serde::{Deserialize, Serialize};
use teammy_kernel::{ErrorClass, ErrorKind, chain};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{UnixListener, UnixStream},
    sync::watch,
};
use tracing::{info, warn};

use crate::{admin, node::Node};

/// What can be asked over the socket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "kebab-case")]
enum Request {
    /// Which database the node keeps its meetings in.
    Database,
    /// What any transport can ask.
    #[serde(untagged)]
    Admin(admin::Request),
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
enum Answer {
    /// To [`Request::Database`].
    Database {
        /// The database's URL without credentials; none if the node's embedder gave it a store.
        url: Option<String>,
    },
    /// The request failed.
    Failed {
        /// What happened, for people.
        error: String,
        /// The error's code. Nodes of earlier versions do not send it.
        #[serde(default = "unknown")]
        code: String,
        /// The error's kind. Nodes of earlier versions do not send it.
        #[serde(default = "internal")]
        kind: ErrorKind,
    },
    /// To [`Request::Admin`].
    #[serde(untagged)]
    Admin(admin::Response),
}

impl Answer {
    fn from_json(text: &str) -> Result<Self, serde_json::Error> {
        // A response is not read through `Self`: see `Response::from_json`.
        match admin::Response::from_json(text) {
            Ok(response) => Ok(Self::Admin(response)),
            Err(_) => serde_json::from_str(text),
        }
    }
}

fn unknown() -> String {
    "unknown".to_owned()
}

fn internal() -> ErrorKind {
    ErrorKind::Internal
}

/// Why a socket, or a request over it, failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Another node listens there.
    #[error("another node listens on {}; give this one another node.socket", .0.display())]
    InUse(PathBuf),
    /// The socket could not be created.
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
    /// The node answered that it did not do what was asked.
    #[error("{message}")]
    Refused {
        /// The code of the node's error, such as `no-meeting`; `unknown` if the node is of a version that sends
        /// none.
        code: String,
        /// The kind of the node's error.
        kind: ErrorKind,
        /// What happened.
        message: String,
    },
    /// The node did not answer, or its answer cannot be read.
    #[error("the node on {} did not answer", .path.display())]
    Answer {
        /// The path.
        path: PathBuf,
        /// What went wrong.
        #[source]
        cause: io::Error,
    },
}

const IN_USE: ErrorClass = ErrorClass::new("socket-in-use", ErrorKind::Conflict);
const NOT_LISTENING: ErrorClass = ErrorClass::new("socket-not-listening", ErrorKind::Internal);
const NO_NODE: ErrorClass = ErrorClass::new("no-node", ErrorKind::Unavailable);
const UNKNOWN_REQUEST: ErrorClass = ErrorClass::new("unknown-request", ErrorKind::Invalid);
const NO_ANSWER: ErrorClass = ErrorClass::new("no-answer", ErrorKind::Unavailable);

impl Error {
    /// The classes of the errors of this type, and of what a socket answers without its node.
    #[doc(hidden)]
    pub const CLASSES: &'static [ErrorClass] = &[IN_USE, NOT_LISTENING, NO_NODE, UNKNOWN_REQUEST, NO_ANSWER];

    /// The code: words in lower case with hyphens between them, which do not change. Of a refusal it is the code
    /// of the node's error.
    pub fn code(&self) -> &str {
        match self {
            Self::InUse(_) => IN_USE.code(),
            Self::Listen { .. } => NOT_LISTENING.code(),
            Self::NoNode { .. } => NO_NODE.code(),
            Self::Refused { code, .. } => code,
            Self::Answer { .. } => NO_ANSWER.code(),
        }
    }

    /// What the error means to a caller. Of a refusal it is the kind of the node's error.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::InUse(_) => IN_USE.kind(),
            Self::Listen { .. } => NOT_LISTENING.kind(),
            Self::NoNode { .. } => NO_NODE.kind(),
            Self::Refused { kind, .. } => *kind,
            Self::Answer { .. } => NO_ANSWER.kind(),
        }
    }

    /// Whether the same call may succeed later although the caller changes nothing; see
    /// [`ErrorKind::can_retry`].
    pub fn can_retry(&self) -> bool {
        self.kind().can_retry()
    }
}

/// The longest line that is read, in bytes.
const LONGEST_LINE: u64 = 64 << 20;
/// How long a client may take to send or receive a line.
const PATIENCE: Duration = Duration::from_secs(30);

/// A socket that a node listens on. Dropping it removes the file.
#[derive(Debug)]
pub struct Socket {
    path: PathBuf,
    listener: UnixListener,
    owner: u32,
    /// Device and inode of its file.
    file: (u64, u64),
    /// How many requests are being handled.
    answering: watch::Sender<usize>,
    /// The database that it names.
    database: Option<String>,
}

impl Drop for Socket {
    fn drop(&mut self) {
        // Another socket may have taken its place.
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
    /// Creates a socket, and its directory if there is none. Replaces a socket that a killed node left behind.
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
            // Connecting to a file that is no socket fails in the same way; such a file stays.
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

    /// Sets the database that the node keeps its meetings in, so that commands for that database find this node.
    #[must_use]
    pub fn database(mut self, url: impl Into<String>) -> Self {
        self.database = Some(url.into());
        self
    }

    /// The path of its file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Waits until no request is being handled, while [`serve`](Self::serve) still runs: for a node that is
    /// about to stop.
    pub async fn idle(&self) {
        // It cannot fail: the sender is part of `self`.
        let _ = self.answering.subscribe().wait_for(|requests| *requests == 0).await;
    }

    /// Handles requests for a node until the future is dropped.
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
                    Err(error) => warn!(error = chain(&error), "rejected a connection whose user is unknown"),
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
            let _guard = RequestGuard::new(&self.answering);
            let answer = match serde_json::from_str(&line) {
                Ok(request) => self.handle(request, node).await,
                Err(_) => Answer::Failed {
                    error: "the request is not one of this version".to_owned(),
                    code: UNKNOWN_REQUEST.code().to_owned(),
                    kind: UNKNOWN_REQUEST.kind(),
                },
            };
            let mut line = serde_json::to_string(&answer).expect("invariant: answers have a JSON form");
            line.push('\n');
            let Ok(Ok(())) = tokio::time::timeout(PATIENCE, writer.write_all(line.as_bytes())).await else {
                return;
            };
        }
    }

    async fn handle(&self, request: Request, node: &Node) -> Answer {
        match request {
            Request::Database => Answer::Database { url: self.database.clone() },
            Request::Admin(request) => match admin::handle(node, request).await {
                Ok(response) => Answer::Admin(response),
                Err(error) => {
                    Answer::Failed { error: chain(&error), code: error.code().to_owned(), kind: error.kind() }
                }
            },
        }
    }
}

/// Counts a request that is being handled.
struct RequestGuard<'a>(&'a watch::Sender<usize>);

impl<'a> RequestGuard<'a> {
    fn new(requests: &'a watch::Sender<usize>) -> Self {
        requests.send_modify(|requests| *requests += 1);
        Self(requests)
    }
}

impl Drop for RequestGuard<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|requests| *requests -= 1);
    }
}

/// A client of a node's socket.
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

    /// The database that the node keeps its meetings in; none if its embedder gave it a store.
    ///
    /// # Errors
    /// [`Error::Answer`].
    ///
    /// # Cancel safety
    /// After a dropped call the connection cannot be used again.
    pub async fn database(&mut self) -> Result<Option<String>, Error> {
        match self.ask(&Request::Database).await? {
            Answer::Database { url } => Ok(url),
            _ => Err(self.unreadable(other_version())),
        }
    }

    /// Asks the node to do something and waits until it is done.
    ///
    /// # Errors
    /// [`Error::Refused`], [`Error::Answer`].
    ///
    /// # Cancel safety
    /// After a dropped call the connection cannot be used again.
    pub async fn request(&mut self, request: admin::Request) -> Result<admin::Response, Error> {
        match self.ask(&Request::Admin(request)).await? {
            Answer::Admin(response) => Ok(response),
            Answer::Failed { error, code, kind } => Err(Error::Refused { code, kind, message: error }),
            Answer::Database { .. } => Err(self.unreadable(other_version())),
        }
    }

    /// The error for a response that does not belong to its request.
    pub fn unexpected(&self) -> Error {
        self.unreadable(other_version())
    }

    async fn ask(&mut self, request: &Request) -> Result<Answer, Error> {
        self.exchange(request).await.map_err(|cause| self.unreadable(cause))
    }

    fn unreadable(&self, cause: io::Error) -> Error {
        Error::Answer { path: self.path.clone(), cause }
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
        Answer::from_json(&line).map_err(|_| other_version())
    }
}

fn other_version() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the node runs another version: its answer cannot be read")
}
