//! `node.socket`: where a node listens for commands.

use std::path::PathBuf;

use crate::{
    Error,
    asked::Fallback,
    places, show,
    takes::{FilePath, Raw, Takes},
};

/// Where a node listens for commands.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Socket {
    /// Nowhere.
    Off,
    /// On a socket of this path, which only its owner can open.
    At(PathBuf),
}

impl Socket {
    /// Where the program listens, and looks for a node, if it is told nothing else: `teammy/node.sock` under
    /// the user's runtime directory, or the data directory where there is none.
    ///
    /// # Errors
    /// [`Error::NoSocketDirectory`] if there is neither.
    pub fn default_path() -> Result<PathBuf, Error> {
        places::socket().map_err(Error::NoSocketDirectory)
    }

    pub(crate) fn fallback() -> Fallback {
        Fallback::Words(
            "for the program `teammy/node.sock` under the user's runtime directory, for a library none"
                .to_owned(),
        )
    }
}

/// A socket's path, or none.
pub(crate) struct SocketPath;

const OFF: &str = "off";

impl Takes for SocketPath {
    type Value = Socket;

    fn read(&self, raw: &Raw) -> Result<Socket, String> {
        match raw.text() {
            Some(OFF) => Ok(Socket::Off),
            _ => FilePath.read(raw).map(Socket::At),
        }
    }

    fn show(&self, value: &Socket) -> String {
        match value {
            Socket::Off => show::quoted(OFF),
            Socket::At(path) => FilePath.show(path),
        }
    }

    fn describe(&self) -> String {
        format!("{}, or {}", FilePath.describe(), show::quoted(OFF))
    }
}
