//! What answers requests: the models' actor, a client of a model's API, or a script in a test.

use std::{fmt, future::Future, sync::Arc};

use futures::{FutureExt, future::BoxFuture};
use serde_json::Value;
use tokio::sync::mpsc;

use super::{error::Error, request::Request, response::Response};

/// Where a provider puts the pieces of an answer as they come.
#[derive(Debug, Clone)]
pub struct Deltas(mpsc::UnboundedSender<String>);

impl Deltas {
    /// Where to put pieces, and where they come out, in their order.
    pub fn channel() -> (Self, mpsc::UnboundedReceiver<String>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Self(sender), receiver)
    }

    /// Puts a piece. Nothing happens if nobody reads them any more.
    pub fn put(&self, text: impl Into<String>) {
        let text = text.into();
        if !text.is_empty() {
            // The reader may be gone.
            let _ = self.0.send(text);
        }
    }
}

/// Answers requests: a client of a model's API, or a script in a test.
pub trait LlmProvider: Send + Sync + 'static {
    /// Answers a request.
    ///
    /// # Errors
    /// [`Error::Failed`] if another try may succeed, [`Error::Refused`] if none will.
    ///
    /// # Cancel safety
    /// A hook that passes its deadline drops the future at an await point.
    fn complete(&self, request: Request) -> impl Future<Output = Result<Response, Error>> + Send;

    /// Answers a request, and puts the pieces of the text as they come. Without more the whole text is one piece.
    ///
    /// # Errors
    /// As [`complete`](Self::complete). After the first piece there is no other try: no piece is put twice.
    fn stream(
        &self,
        request: Request,
        deltas: Deltas,
    ) -> impl Future<Output = Result<Response, Error>> + Send {
        async move {
            let response = self.complete(request).await?;
            deltas.put(response.text.clone());
            Ok(response)
        }
    }

    /// Says what is wrong with a value that should be of a JSON Schema. Without more nothing is, and the type that is
    /// read from the value decides.
    ///
    /// # Errors
    /// What is wrong, for the model.
    fn check(&self, schema: &Value, value: &Value) -> Result<(), String> {
        let _ = (schema, value);
        Ok(())
    }
}

trait DynProvider: Send + Sync {
    fn complete(&self, request: Request) -> BoxFuture<'_, Result<Response, Error>>;
    fn stream(&self, request: Request, deltas: Deltas) -> BoxFuture<'_, Result<Response, Error>>;
    fn check(&self, schema: &Value, value: &Value) -> Result<(), String>;
}

impl<P: LlmProvider> DynProvider for P {
    fn complete(&self, request: Request) -> BoxFuture<'_, Result<Response, Error>> {
        LlmProvider::complete(self, request).boxed()
    }

    fn stream(&self, request: Request, deltas: Deltas) -> BoxFuture<'_, Result<Response, Error>> {
        LlmProvider::stream(self, request, deltas).boxed()
    }

    fn check(&self, schema: &Value, value: &Value) -> Result<(), String> {
        LlmProvider::check(self, schema, value)
    }
}

/// A provider behind a shared pointer, with its type erased. A node gives it to every engine.
#[derive(Clone)]
pub struct SharedLlm(Option<Arc<dyn DynProvider>>);

impl SharedLlm {
    /// Shares a provider.
    pub fn new(provider: impl LlmProvider) -> Self {
        Self(Some(Arc::new(provider)))
    }

    /// No provider: every request fails with [`Error::NotConfigured`].
    pub fn none() -> Self {
        Self(None)
    }

    /// Whether there is a provider.
    pub fn is_configured(&self) -> bool {
        self.0.is_some()
    }

    /// Asks the provider.
    ///
    /// # Errors
    /// The provider's error, and [`Error::NotConfigured`] if there is no provider.
    pub async fn complete(&self, request: Request) -> Result<Response, Error> {
        let provider = self.0.as_ref().ok_or(Error::NotConfigured)?;
        provider.complete(request).await
    }

    /// Asks the provider for the pieces of an answer as they come.
    ///
    /// # Errors
    /// As [`complete`](Self::complete).
    pub async fn stream(&self, request: Request, deltas: Deltas) -> Result<Response, Error> {
        let provider = self.0.as_ref().ok_or(Error::NotConfigured)?;
        provider.stream(request, deltas).await
    }

    /// What the provider finds wrong with a value of a schema.
    ///
    /// # Errors
    /// What is wrong.
    pub fn check(&self, schema: &Value, value: &Value) -> Result<(), String> {
        self.0.as_ref().map_or(Ok(()), |provider| provider.check(schema, value))
    }
}

impl fmt::Debug for SharedLlm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = if self.0.is_some() { "SharedLlm" } else { "SharedLlm(none)" };
        f.write_str(name)
    }
}
