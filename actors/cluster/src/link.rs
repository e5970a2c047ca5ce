//! One link: the rules of a connection, and the tasks around them.

pub(crate) mod dialler;
pub(crate) mod fault;
pub(crate) mod lanes;
pub(crate) mod outbox;
pub(crate) mod peer;
pub(crate) mod registry;
pub(crate) mod said;
pub(crate) mod serve;
pub(crate) mod session;
pub(crate) mod settings;
pub(crate) mod state;
pub(crate) mod stream;
