//! The rules about requests to models, each a pure state machine: it is told what happened and when, and says what to do.
//! The tasks that ask models are thin shells around them.

mod breaker;
mod deadlines;
mod problem;
mod queue;
mod retry;

pub(crate) use breaker::{Admission, Breaker};
pub(crate) use deadlines::{Deadlines, Late, Watch};
pub(crate) use problem::{Class, Problem};
pub(crate) use queue::{Queue, Ticket};
pub(crate) use retry::{RetryPolicy, Step};
