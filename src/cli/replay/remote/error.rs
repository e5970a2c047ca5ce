//! Why a recording cannot be played into nodes.

use teammy_client::AddressFailure;

use crate::cli::recording::Place;

/// The cause of an error of the network API.
type Cause = teammy_client::Error;

/// Why a recording cannot be played into nodes.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("--db has no effect with --cluster: the nodes keep the meeting in their own database")]
    Database,
    #[error("--update has no effect with --cluster: the times of outputs at nodes are of the nodes' clock")]
    Update,
    #[error("cannot use the addresses of --cluster or the key in TEAMMY_KEY")]
    Setup(#[source] Cause),
    #[error("cannot {what}: no node answers{}", listed(.tried))]
    Unanswered { what: String, tried: Vec<AddressFailure> },
    #[error("cannot {what} at {address}")]
    Refused { what: String, address: String, source: Box<Cause> },
    #[error("cannot publish {recording}, {place}{}", listed(.tried))]
    Publish { recording: String, place: Place, tried: Vec<AddressFailure>, source: Box<Cause> },
}

fn listed(tried: &[AddressFailure]) -> String {
    let lines: Vec<String> = tried
        .iter()
        .map(|AddressFailure { address, why, .. }| format!("\n  tried {address}: {why}"))
        .collect();
    lines.concat()
}

impl Error {
    /// What could not be done, with each address if none answered.
    pub(super) fn of(what: impl Into<String>, client: &teammy_client::Client, source: Cause) -> Self {
        let (what, tried) = (what.into(), client.failures());
        if source.can_retry() && !tried.is_empty() {
            return Self::Unanswered { what, tried };
        }
        Self::Refused { what, address: client.address().to_owned(), source: Box::new(source) }
    }

    /// The status and the code with which a node refuses what was asked for.
    fn refusal(&self) -> Option<(u16, &str)> {
        let Self::Refused { source, .. } = self else { return None };
        match &**source {
            Cause::Problem { status, code, .. } => Some((*status, code)),
            _ => None,
        }
    }

    /// The exit code.
    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::Database | Self::Update | Self::Setup(_) => 2,
            // What was asked for cannot be done by trying again.
            _ if matches!(self.refusal(), Some((400 | 401 | 403 | 413 | 422, _))) => 2,
            Self::Unanswered { .. } | Self::Refused { .. } | Self::Publish { .. } => 1,
        }
    }

    /// What to do about it.
    pub(crate) fn hint(&self) -> Option<&'static str> {
        const AGAIN: &str =
            "check that the nodes run and serve these addresses; the same command goes on from where it was";
        match (self, self.refusal()) {
            (Self::Database, _) => {
                Some("leave --db out; `teammy config` on a node's machine shows its database.url")
            }
            (Self::Update, _) => Some("write the file with a replay here: leave --cluster out"),
            (Self::Unanswered { .. }, _) => Some(AGAIN),
            (Self::Publish { source, .. }, _) => source.can_retry().then_some(AGAIN),
            (_, Some((401, _))) => {
                Some("set a key in the variable TEAMMY_KEY; `teammy key create` makes one")
            }
            (_, Some((403, _))) => Some(
                "a replay needs a key with the scopes publish and read; `teammy key list` shows what keys have",
            ),
            (_, Some((_, "unknown-instance"))) => Some(
                "--plugins takes names of instances that the nodes have; without it all of them take part",
            ),
            (Self::Setup(_) | Self::Refused { .. }, _) => None,
        }
    }
}
