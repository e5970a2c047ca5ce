//! The client of the node that runs on this machine, reached through the node's socket.
//!
//! A running node is the only process that may open its database, and the only one that knows the status of
//! its meetings. So commands ask the node where there is one, and open the database themselves elsewhere.

use std::{io::ErrorKind, path::PathBuf};

use teammy::{
    MeetingId, admin,
    config::{self, Config, Database, Socket},
    control::{self, Client},
};

use super::error::Error;

/// Identifies a database, however its URL is written: the canonical URL, the namespace and the database name.
pub(super) fn database_identity(database: &Database) -> Result<String, Error> {
    let url = database.effective_url()?;
    let canonical = url.directory().and_then(|directory| directory.canonicalize().ok());
    let url = match canonical {
        Some(directory) => format!("surrealkv://{}", directory.display()),
        None => url.to_string().trim_end_matches('/').to_owned(),
    };
    Ok(format!("{url} {}/{}", database.namespace, database.database))
}

/// The path of the node's socket: `node.socket`, or the default path. `None` if `node.socket` is `"off"`.
pub(super) fn socket_path(node: &config::Node) -> Result<Option<PathBuf>, Error> {
    match &node.socket {
        Some(Socket::At(path)) => Ok(Some(path.clone())),
        Some(_) => Ok(None),
        None => Ok(Some(Socket::default_path()?)),
    }
}

/// Connects to the node that holds the configured database; `None` if no such node runs on this machine.
pub(super) async fn holder(config: &Config) -> Result<Option<Client>, Error> {
    let Ok(Some(path)) = socket_path(&config.node) else { return Ok(None) };
    let mut client = match Client::connect(path).await {
        Ok(client) => client,
        Err(control::Error::NoNode { cause, .. })
            if matches!(cause.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) =>
        {
            return Ok(None);
        }
        // A configured socket must work. At the default path there may be something else.
        Err(error) if config.node.socket.is_some() => return Err(error.into()),
        Err(_) => return Ok(None),
    };
    let is_ours = client.database().await? == Some(database_identity(&config.database)?);
    Ok(is_ours.then_some(client))
}

/// Asks the node to do something. If the node does not have `meeting`, the error is [`Error::NoSuchMeeting`].
pub(super) async fn ask(
    client: &mut Client,
    meeting: &MeetingId,
    request: admin::Request,
) -> Result<admin::Response, Error> {
    client.request(request).await.map_err(|error| match error {
        error if error.code() == "no-meeting" => Error::NoSuchMeeting(meeting.clone()),
        error => error.into(),
    })
}
