//! Named places where a test can make the process die, as if it were killed there.
//!
//! They stand where a crash is worst: between the steps that a meeting's promise ties together. They are
//! there only with the feature `kill-points`, which is for tests; without it passing one is nothing at all.
//! With it the variable `KILL_POINT` names a place and a passage: `KILL_POINT=commit-after:3` ends the
//! process at the third time that it comes by there. It ends by `abort`: nothing is flushed, nothing is
//! dropped, and nobody is told but on stderr.

use std::fmt;

/// A place where a process may die.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum KillPoint {
    /// The meeting's row is made; nothing of it is stored yet.
    MeetingCreated,
    /// A packet from outside is in the log; nothing was stored of it.
    Appended,
    /// A hook has ended; the meeting has not been told.
    HookEnded,
    /// The meeting has what a hook made; nothing was stored of it.
    EffectsApplied,
    /// A batch is about to go to the store.
    CommitBefore,
    /// The store has the batch; nobody has been told.
    CommitAfter,
    /// The meeting knows that its commit is stored, and has told whoever waited.
    CommitHeard,
    /// The meeting is claimed; what is stored has not been read.
    Claimed,
    /// The meeting is about to go on under its new owner.
    Resumed,
    /// The meeting's end has begun; nothing was stored of it.
    Ending,
    /// An instance has finished with the meeting's end; nothing was stored of it.
    InstanceEnded,
    /// Every instance has finished, and the log is complete; that was not stored.
    Ended,
    /// The whole meeting is stored; nobody has been told.
    EndStored,
}

impl KillPoint {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::MeetingCreated,
        Self::Appended,
        Self::HookEnded,
        Self::EffectsApplied,
        Self::CommitBefore,
        Self::CommitAfter,
        Self::CommitHeard,
        Self::Claimed,
        Self::Resumed,
        Self::Ending,
        Self::InstanceEnded,
        Self::Ended,
        Self::EndStored,
    ];

    /// What `KILL_POINT` calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::MeetingCreated => "meeting-created",
            Self::Appended => "appended",
            Self::HookEnded => "hook-ended",
            Self::EffectsApplied => "effects-applied",
            Self::CommitBefore => "commit-before",
            Self::CommitAfter => "commit-after",
            Self::CommitHeard => "commit-heard",
            Self::Claimed => "claimed",
            Self::Resumed => "resumed",
            Self::Ending => "ending",
            Self::InstanceEnded => "instance-ended",
            Self::Ended => "ended",
            Self::EndStored => "end-stored",
        }
    }
}

impl fmt::Display for KillPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The process comes by here.
#[cfg(not(feature = "kill-points"))]
#[inline(always)]
pub(crate) fn pass(_: KillPoint) {}

#[cfg(feature = "kill-points")]
pub(crate) use armed::pass;

#[cfg(feature = "kill-points")]
mod armed {
    use std::sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    };

    use super::KillPoint;

    struct Armed {
        point: KillPoint,
        /// How many passages are left.
        passages: AtomicU64,
    }

    static ARMED: LazyLock<Option<Armed>> = LazyLock::new(|| {
        let value = std::env::var("KILL_POINT").ok()?;
        let (name, passage) = value.split_once(':').unwrap_or((&value, "1"));
        let point = KillPoint::ALL.into_iter().find(|point| point.name() == name);
        let (Some(point), Ok(passage @ 1..)) = (point, passage.parse()) else {
            panic!("KILL_POINT={value} names no place and passage, such as commit-after:3");
        };
        Some(Armed { point, passages: AtomicU64::new(passage) })
    });

    pub(crate) fn pass(point: KillPoint) {
        if let Some(armed) = &*ARMED
            && armed.point == point
            && armed.passages.fetch_sub(1, Ordering::AcqRel) == 1
        {
            eprintln!("killed at {point}");
            std::process::abort();
        }
    }
}
