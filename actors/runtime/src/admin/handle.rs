//! Doing what an operator asks.

use std::sync::Arc;

use teammy_kernel::MeetingId;
use tokio::time::Duration;

use super::{
    error::Error,
    meetings::MeetingList,
    request::{Request, Response},
    usage::usage,
};
use crate::node::{self, Cluster, Node};

/// Does what is asked. In a cluster it is done by the node that runs the meeting.
///
/// # Errors
/// See [`Error`].
///
/// # Cancel safety
/// A dropped call may have done it or not.
pub async fn handle(node: &Node, request: Request) -> Result<Response, Error> {
    if let Some(meeting) = request.of_running()
        && let Some(cluster) = node.cluster()
        && let Some(answer) = cluster.ask(meeting, to_json(&request)).await
    {
        let unread =
            |error| node::Error::NotDone(format!("the answer of the meeting's node cannot be read: {error}"));
        return Ok(Response::from_json(&answer?).map_err(unread)?);
    }
    handle_here(node, request).await
}

fn to_json(request: &Request) -> String {
    serde_json::to_string(request).expect("invariant: a request has a JSON form")
}

/// As [`handle`], by this node.
///
/// # Errors
/// As [`handle`].
///
/// # Cancel safety
/// As [`handle`].
pub async fn handle_here(node: &Node, request: Request) -> Result<Response, Error> {
    match request {
        Request::Status => Ok(Response::Status { status: Box::new(node.status().await) }),
        Request::Report { meeting } => {
            Ok(Response::Report { report: node.report(&meeting).await.map(Box::new) })
        }
        Request::Meetings { query } => Ok(Response::Meetings(MeetingList::of(node, query).await?)),
        Request::History { meeting, query } => Ok(Response::History(node.history(&meeting, query).await?)),
        Request::DeadLetters { meeting } => {
            must_exist(node, &meeting).await?;
            Ok(Response::DeadLetters { letters: node.dead_letters(&meeting).await? })
        }
        Request::Redrive { meeting, which } => {
            let redriven = node.redrive(&meeting, &which).await?;
            redriven.done().await?;
            Ok(Response::Redriven { count: redriven.count })
        }
        Request::ResumeInstance { meeting, instance } => {
            let Some(running) = node.meeting(&meeting) else {
                must_exist(node, &meeting).await?;
                return Err(Error::NotRunning(meeting));
            };
            running.resume_instance(instance.as_str()).await?;
            Ok(Response::Done)
        }
        Request::Usage { meeting, since } => {
            if let Some(meeting) = &meeting {
                must_exist(node, meeting).await?;
            }
            let rows = usage(&**node.store(), meeting.as_ref(), since).await.map_err(node::Error::Store)?;
            Ok(Response::Usage { rows })
        }
        Request::CreateKey(new) => {
            let (secret, key) = node.keys().create(new).await?;
            Ok(Response::Key { secret, key })
        }
        Request::Keys => Ok(Response::Keys { keys: node.keys().list().await? }),
        Request::RevokeKey { id } => {
            node.keys().revoke(&id).await?;
            Ok(Response::Done)
        }
        Request::RotateKey { id, overlap } => {
            let (secret, key) = node.keys().rotate(&id, Duration::from_secs(overlap)).await?;
            Ok(Response::Key { secret, key })
        }
        Request::Cluster => Ok(Response::Cluster { cluster: cluster(node)?.report().await? }),
        Request::Drain { node: name } => Ok(Response::Drained { left: cluster(node)?.drain(&name).await? }),
        Request::Move { meeting, node: name } => {
            cluster(node)?.move_to(&meeting, &name).await?;
            Ok(Response::Done)
        }
        Request::Forget { meeting } => {
            if node.forget(&meeting).await? {
                Ok(Response::Done)
            } else {
                Err(Error::NoMeeting(meeting))
            }
        }
    }
}

fn cluster(node: &Node) -> Result<Arc<dyn Cluster>, Error> {
    node.cluster().ok_or(Error::NoCluster)
}

async fn must_exist(node: &Node, meeting: &MeetingId) -> Result<(), Error> {
    match node.store().meeting(meeting.clone()).await.map_err(node::Error::Store)? {
        Some(_) => Ok(()),
        None => Err(Error::NoMeeting(meeting.clone())),
    }
}
