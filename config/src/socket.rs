//! `node.socket`: where a node listens for commands.

use std::path::PathBuf;

use crate::{
    error::Error,
    places, show,
    value_type::{ValueType, file_path},
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
    /// The default of the program: `teammy/node.sock` under the user's runtime directory, or under the data
    /// directory where there is none.
    ///
    /// # Errors
    /// [`Error::NoSocketDirectory`] if there is neither.
    pub fn default_path() -> Result<PathBuf, Error> {
        places::socket().map_err(Error::NoSocketDirectory)
    }
}

/// A socket's path, or "off".
pub(crate) fn path_or_off() -> ValueType<Socket> {
    const OFF: &str = "off";
    let path = file_path();
    let description = format!("{}, or {}", path.description, show::quoted(OFF));
    let show = |socket: &Socket| match socket {
        Socket::Off => show::quoted(OFF),
        Socket::At(path) => show::quoted(&path.display()),
    };
    ValueType::new(description, show, move |raw| match raw.text() {
        Some(OFF) => Ok(Socket::Off),
        _ => (path.read)(raw).map(Socket::At),
    })
}
