//! What can go wrong with a node.

use std::time::Duration;

use teammy_kernel::{MeetingId, Name, graph, store};

use crate::meeting::did_you_mean;

/// An error of whatever opens a store or language models.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why a node did not start, or did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The configured plugins and sources do not fit together.
    #[error(transparent)]
    Graph(#[from] graph::Error),
    /// The configuration names no database that can be used.
    #[error(transparent)]
    Config(#[from] teammy_config::Error),
    /// The store could not be opened.
    #[error("cannot open the database")]
    Open(#[source] BoxError),
    /// This build has no database in it and no store was given.
    #[error(
        "this build has no database and keeps meetings in memory only: say so with --db mem:// (or `[database] url = \"mem://\"`), \
         build it with feature `surrealdb`, or give the builder a store"
    )]
    NoStore,
    /// The configured language models cannot be used.
    #[error(transparent)]
    Llm(BoxError),
    /// A plugin of an instance needs a language model, and there is none.
    #[error("plugin instance {0} needs a language model, and none is configured")]
    NeedsLlm(Name),
    /// An instance's plugin did not start.
    #[error("plugin instance {instance} did not start: {cause}")]
    Startup {
        /// The instance.
        instance: Name,
        /// What `on_startup` returned.
        cause: String,
    },
    /// The plugins' runtime could not be built.
    #[error("cannot start the plugins' threads")]
    Runtime(#[source] std::io::Error),
    /// An actor could not be started.
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
    /// The meeting runs on this node already.
    #[error("meeting {0} runs on this node already")]
    Running(MeetingId),
    /// The meeting did not do what it was asked.
    #[error(transparent)]
    Meeting(#[from] crate::meeting::Error),
    /// The meeting is complete: there is nothing to go on with.
    #[error("meeting {0} has ended")]
    Ended(MeetingId),
    /// An instance that the meeting is not done with is not configured here.
    #[error(
        "meeting {meeting} cannot go on without plugin instance {instance}, which is not configured here"
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
    /// A shutdown cut something off.
    #[error("the shutdown took longer than {0:?}; what was left was cut off")]
    Deadline(Duration),
}
