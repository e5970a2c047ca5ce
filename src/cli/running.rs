//! The node that runs on this machine, reached through its socket: it alone may touch the database that it
//! holds, and it alone knows how its meetings stand.

use std::{io::ErrorKind, path::PathBuf};

use teammy::{
    config::{self, Config, Database, Socket},
    control::{self, Answer, Client, Request},
};

use super::error::Error;

/// Where a database is, so that two ways to write it are one: its URL, and which of the databases there.
pub(super) fn place(database: &Database) -> Result<String, Error> {
    let url = database.effective_url()?;
    let canonical = url.directory().and_then(|directory| directory.canonicalize().ok());
    let url = match canonical {
        Some(directory) => format!("surrealkv://{}", directory.display()),
        None => url.to_string().trim_end_matches('/').to_owned(),
    };
    Ok(format!("{url} {}/{}", database.namespace, database.database))
}

/// Where the configuration says that a node listens, or else the default; none if it says nowhere.
pub(super) fn path(node: &config::Node) -> Result<Option<PathBuf>, Error> {
    match &node.socket {
        Some(Socket::At(path)) => Ok(Some(path.clone())),
        Some(_) => Ok(None),
        None => Ok(Some(Socket::default_path()?)),
    }
}

/// The node that runs here and keeps its meetings where the configuration says, if there is one.
pub(super) async fn holder(config: &Config) -> Result<Option<Client>, Error> {
    let Ok(Some(path)) = path(&config.node) else { return Ok(None) };
    let mut client = match Client::connect(path).await {
        Ok(client) => client,
        Err(control::Error::NoNode { cause, .. })
            if matches!(cause.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) =>
        {
            return Ok(None);
        }
        // One that was named is to be reached; where it is only looked for, something else may be there.
        Err(error) if config.node.socket.is_some() => return Err(error.into()),
        Err(_) => return Ok(None),
    };
    match client.ask(&Request::Database).await? {
        Answer::Database { url: Some(url) } if url == place(&config.database)? => Ok(Some(client)),
        _ => Ok(None),
    }
}

/// Asks a node that runs here something, and takes what is no refusal.
pub(super) async fn ask(client: &mut Client, request: &Request) -> Result<Answer, Error> {
    match client.ask(request).await? {
        Answer::Failed { error } => Err(Error::Refused(error)),
        answer => Ok(answer),
    }
}

/// An answer that does not fit the question: from another version.
pub(super) fn odd(answer: &Answer) -> Error {
    let name =
        serde_json::to_value(answer).ok().and_then(|value| value["answer"].as_str().map(str::to_owned));
    Error::Refused(format!(
        "the node runs another version of teammy: it answered {}",
        name.unwrap_or_default()
    ))
}

/// Where a node is to listen, and where it keeps its meetings.
pub(super) struct Listening {
    node: config::Node,
    database: Database,
}

impl Listening {
    pub(super) fn new(config: &Config) -> Self {
        Self { node: config.node.clone(), database: config.database.clone() }
    }
}

/// Listens for commands, if the configuration has it so; the database is there by now. Where nothing is said
/// of a socket, one that cannot be had is no reason not to run.
pub(super) fn listen(listening: &Listening) -> Result<Option<control::Socket>, Error> {
    let is_asked_for = listening.node.socket.is_some();
    let bound = match path(&listening.node) {
        Ok(Some(path)) => control::Socket::bind(path).map_err(Error::from),
        Ok(None) => return Ok(None),
        Err(error) => Err(error),
    };
    match bound {
        Ok(socket) => Ok(Some(socket.database(place(&listening.database)?))),
        Err(error) if is_asked_for => Err(error),
        Err(error) => {
            tracing::info!(error = teammy::chain(&error), "no socket for commands");
            Ok(None)
        }
    }
}
