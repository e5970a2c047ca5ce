//! The errors of a node.

use std::{fmt, time::Duration};

use teammy_kernel::{ErrorClass, ErrorKind, MeetingId, Name, error_classes, graph, store};

use crate::meeting::did_you_mean;

/// Any error.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The error of a function that opens a store or language models, with its code and kind. It shows and passes on
/// the error as it is.
#[derive(Debug)]
pub struct OpeningError {
    class: ErrorClass,
    cause: BoxError,
}

impl OpeningError {
    /// An error of this code and kind.
    pub fn new(class: ErrorClass, cause: impl Into<BoxError>) -> Self {
        Self { class, cause: cause.into() }
    }

    /// Code and kind.
    pub fn class(&self) -> ErrorClass {
        self.class
    }

    /// The error itself, if it is of this type.
    pub fn downcast_ref<E: std::error::Error + 'static>(&self) -> Option<&E> {
        self.cause.downcast_ref()
    }

    /// Whether the error is of this type.
    pub fn is<E: std::error::Error + 'static>(&self) -> bool {
        self.cause.is::<E>()
    }
}

impl fmt::Display for OpeningError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cause.fmt(f)
    }
}

impl std::error::Error for OpeningError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.cause.source()
    }
}

/// An error without a code of its own.
impl From<BoxError> for OpeningError {
    fn from(cause: BoxError) -> Self {
        Self::new(ErrorClass::new("not-opened", ErrorKind::Internal), cause)
    }
}

impl From<teammy_config::Error> for OpeningError {
    fn from(error: teammy_config::Error) -> Self {
        Self::new(ErrorClass::new(error.code(), ErrorKind::Invalid), error)
    }
}

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
    Open(#[source] OpeningError),
    /// This build has no database, and the builder was given no store.
    #[error(
        "this build has no database and keeps meetings in memory only: choose that with --db mem:// (or `[database] url = \"mem://\"`), \
         build it with feature `surrealdb`, or give the builder a store"
    )]
    NoStore,
    /// The configured language models cannot be used.
    #[error(transparent)]
    Llm(OpeningError),
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
    /// No node of this name is live.
    #[error("no live node is named {node}; live nodes: {live}")]
    NoNode {
        /// The name.
        node: Name,
        /// The names of those that are.
        live: String,
    },
    /// Another node was to do something and did not.
    #[error("{0}")]
    NotDone(String),
    /// No node of the cluster takes the meeting now.
    #[error("no node takes meeting {meeting} now: {reason}")]
    NoRoom {
        /// The meeting.
        meeting: MeetingId,
        /// What each node said.
        reason: String,
    },
    /// The node's lease has ended: it may run no meetings any more.
    #[error("this node is no member of its cluster any more: {0}; start it again")]
    NoMember(String),
    /// The node is shutting down, or has shut down.
    #[error("the node is shutting down or has shut down: it takes no meetings; start another node")]
    ShutDown,
    /// A shutdown cut off work that had not finished by its deadline.
    #[error("the shutdown took longer than {0:?}; unfinished work was cut off")]
    Deadline(Duration),
}

error_classes!(Error {
    Self::NoStore => "no-store" Invalid,
    Self::NeedsLlm(_) => "needs-llm" Invalid,
    Self::Startup { .. } => "plugin-not-started" Internal,
    Self::Runtime(_) => "no-threads" Internal,
    Self::Spawn { .. } => "meeting-not-started" Internal,
    Self::Start(_) => "node-not-started" Internal,
    Self::UnknownInstance { .. } => "unknown-instance" NotFound,
    Self::NoMeeting(_) => "no-meeting" NotFound,
    Self::Running(_) => "running" Conflict,
    Self::NotRunning(_) => "not-running" Conflict,
    Self::Ended(_) => "ended" Gone,
    Self::MissingInstance { .. } => "missing-instance" Conflict,
    Self::MeetingExists(_) => "meeting-exists" Conflict,
    Self::NoNode { .. } => "no-such-node" NotFound,
    Self::NotDone(_) => "not-done" Internal,
    Self::NoRoom { .. } => "no-room" Busy,
    Self::NoMember(_) => "no-member" Gone,
    Self::ShutDown => "shut-down" Gone,
    Self::Deadline(_) => "deadline" Internal,
} else {
    Self::Graph(error) => error.class(),
    Self::Config(error) => ErrorClass::new(error.code(), ErrorKind::Invalid),
    Self::Open(error) | Self::Llm(error) => error.class(),
    Self::Meeting(error) => error.class(),
    Self::Store(error) => error.class(),
});
