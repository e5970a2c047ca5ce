//! What a plugin has when its node stops.

use crate::engine::llm::Llm;

/// What [`on_shutdown`](crate::InCallPlugin::on_shutdown) is given. No meeting is left, so it has the
/// language models only.
#[derive(Debug, Clone)]
pub struct ShutdownCx {
    pub(super) llm: Llm,
}

impl ShutdownCx {
    /// The language models.
    pub fn llm(&self) -> &Llm {
        &self.llm
    }
}
