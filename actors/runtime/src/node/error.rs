//! The errors of a node.

use std::time::Duration;

use teammy_kernel::{MeetingId, Name, graph, store};

use crate::meeting::did_you_mean;

/// The error of a function that opens a store or language models.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why a node did not start, or could not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The configured plugins and sources do not fit together.
    #[error(transparent)]
    Graph(#[from] graph::Error),
    /// The database's configuration is invalid.
    #[error(transparent)]
    Config(#[from] teammy_config::Error),
    /// The store could not be opened.
    #[error("cannot open the database")]
    Open(#[source] BoxError),
    /// This build has no database, and the builder was given no store.
    #[error(
        "this build has no database and keeps meetings in memory only: choose that with --db mem:// (or `[database] url = \"mem://\"`), \
         build it with feature `surrealdb`, or give the builder a store"
    )]
    NoStore,
    /// The configured language models cannot be used.
    #[error(transparent)]
    Llm(BoxError),
    /// An instance's plugin needs a language model, and none is configured.
    #[error("plugin instance {0} needs a language model, and none is configured")]
    NeedsLlm(Name),
    /// An instance's plugin did not start.
    #[error("plugin instance {instance} did not start: {cause}")]
    Startup {
        /// The instance.
        instance: Name,
        /// The error of `on_startup`, or that it panicked.
        cause: String,
    },
    /// The threads of the plugins' runtime could not be started.
    #[error("cannot start the plugins' threads")]
    Runtime(#[source] std::io::Error),
    /// The actor of a meeting could not be started.
    #[error("cannot start meeting {meeting}: {cause}")]
    Spawn {
        /// The meeting.
        meeting: MeetingId,
        /// Why.
        cause: String,
    },
    /// The node's own actors could not be started.
    #[error("cannot start the node: {0}")]
    Start(String),
    /// No instance of this name is configured.
    #[error("there is no plugin instance {instance}{}", did_you_mean(suggestion.as_ref()))]
    UnknownInstance {
        /// The name as given.
        instance: String,
        /// The configured name that is closest to it.
        suggestion: Option<Name>,
    },
    /// No meeting of this id is in the store.
    #[error("there is no meeting {0}")]
    NoMeeting(MeetingId),
    /// The meeting already runs on this node.
    #[error("meeting {0} runs on this node already")]
    Running(MeetingId),
    /// The meeting is in the store and has not ended, and this node does not run it.
    #[error("meeting {0} does not run on this node")]
    NotRunning(MeetingId),
    /// The meeting could not do what was asked.
    #[error(transparent)]
    Meeting(#[from] crate::meeting::Error),
    /// The meeting is complete: there is nothing to resume.
    #[error("meeting {0} has ended")]
    Ended(MeetingId),
    /// An instance that has not finished the meeting is not configured here.
    #[error(
        "meeting {meeting} cannot resume without plugin instance {instance}, which is not configured here"
    )]
    MissingInstance {
        /// The meeting.
        meeting: MeetingId,
        /// The instance.
        instance: Name,
    },
    /// A meeting of this id is in the store.
    #[error("meeting {0} exists already")]
    MeetingExists(MeetingId),
    /// The store failed.
    #[error(transparent)]
    Store(store::Error),
    /// The node is shutting down, or has shut down.
    #[error("the node is shutting down or has shut down: it takes no meetings; start another node")]
    ShutDown,
    /// A shutdown cut off work that had not finished by its deadline.
    #[error("the shutdown took longer than {0:?}; unfinished work was cut off")]
    Deadline(Duration),
}
