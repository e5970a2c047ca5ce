//! Named points in the code at which a test can kill the process.
//!
//! They are where a crash would do most harm: between steps that must take effect together. They exist only
//! with the feature `kill-points`, which is for tests; without it they compile to nothing. The variable
//! `KILL_POINT` names a point and a count: `KILL_POINT=commit-after:3` aborts the process when it reaches
//! that point for the third time. Nothing is flushed or dropped; a line on stderr names the point.

use std::fmt;

/// A point at which the process may die.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum KillPoint {
    /// The meeting's row is stored, and no commit yet.
    MeetingCreated,
    /// A packet from a publisher is in the log, and is not stored.
    Appended,
    /// A model has answered a hook, and the answer is not stored.
    ModelAnswered,
    /// A model's answer is stored, and its hook has not seen it.
    AnswerStored,
    /// A hook has ended, and its effects are not submitted.
    HookEnded,
    /// The effects of a hook are in the log, and are not stored.
    EffectsApplied,
    /// The persistence actor is about to send a batch of commits to the store.
    CommitBefore,
    /// The batch is stored, and no meeting knows.
    CommitAfter,
    /// The meeting knows that its commit is stored, and its waiters have their replies.
    CommitHeard,
    /// The meeting is claimed. What the earlier owner stored shortly before is not read yet.
    Claimed,
    /// The new owner has read the meeting, and is about to run it.
    Resumed,
    /// The meeting's end has begun, and that is not stored.
    Ending,
    /// An instance has finished with the meeting's end, and that is not stored.
    InstanceEnded,
    /// Every instance has finished and the log is complete, and that is not stored.
    Ended,
    /// The whole meeting is stored, and the waiters for its end have no reply yet.
    EndStored,
}

impl KillPoint {
    /// All points.
    pub const ALL: [Self; 15] = [
        Self::MeetingCreated,
        Self::Appended,
        Self::ModelAnswered,
        Self::AnswerStored,
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

    /// The name that the variable `KILL_POINT` uses.
    pub fn name(self) -> &'static str {
        match self {
            Self::MeetingCreated => "meeting-created",
            Self::Appended => "appended",
            Self::ModelAnswered => "model-answered",
            Self::AnswerStored => "answer-stored",
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

/// The process has reached a point.
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
        /// How often the point must still be reached.
        left: AtomicU64,
    }

    static ARMED: LazyLock<Option<Armed>> = LazyLock::new(|| {
        let value = std::env::var("KILL_POINT").ok()?;
        let (name, count) = value.split_once(':').unwrap_or((&value, "1"));
        let point = KillPoint::ALL.into_iter().find(|point| point.name() == name);
        let (Some(point), Ok(count @ 1..)) = (point, count.parse()) else {
            panic!("KILL_POINT={value} is not a point and a count, such as commit-after:3");
        };
        Some(Armed { point, left: AtomicU64::new(count) })
    });

    pub(crate) fn pass(point: KillPoint) {
        if let Some(armed) = &*ARMED
            && armed.point == point
            && armed.left.fetch_sub(1, Ordering::AcqRel) == 1
        {
            eprintln!("killed at {point}");
            std::process::abort();
        }
    }
}
