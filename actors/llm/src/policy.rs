//! The rules about requests to models, each a pure state machine: it is told what happened and when, and says what to do.
//! The tasks that ask models are thin shells around them.

mod account;
mod breaker;
mod deadlines;
mod price;
mod problem;
mod queue;
mod retry;

pub(crate) use account::{Book, Limit, Verdict};
pub(crate) use breaker::{Admission, Breaker, Pass};
pub(crate) use deadlines::{Deadlines, Late, Watch};
pub(crate) use price::{Bound, Prices, Tier};
pub(crate) use problem::{Class, Exhausted, Failures, Problem};
pub(crate) use queue::{Capacity, Queue, Ticket};
pub(crate) use retry::{RetryPolicy, Step};
