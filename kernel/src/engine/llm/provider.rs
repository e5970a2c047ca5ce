//! What answers requests: the models' actor, a client of a model's API, or a script in a test.

use std::{fmt, future::Future, sync::Arc};

use futures::{FutureExt, future::BoxFuture};
use serde_json::Value;
use tokio::sync::mpsc;

use super::{
    audio::{EmbedRequest, Embeddings, TranscribeRequest, Transcript},
    budget::Budgets,
    caller::Caller,
    error::Error,
    request::Request,
    response::Response,
};
#[cfg(any(test, feature = "runtime"))]
use crate::store::Store;

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

    /// Turns texts into vectors. Without more the provider cannot.
    ///
    /// # Errors
    /// As [`complete`](Self::complete).
    fn embed(&self, request: EmbedRequest) -> impl Future<Output = Result<Embeddings, Error>> + Send {
        let _ = request;
        async { Err(Error::Misconfigured("its provider makes no vectors of texts".to_owned())) }
    }

    /// Turns sound into text. Without more the provider cannot.
    ///
    /// # Errors
    /// As [`complete`](Self::complete).
    fn transcribe(
        &self,
        request: TranscribeRequest,
    ) -> impl Future<Output = Result<Transcript, Error>> + Send {
        let _ = request;
        async { Err(Error::Misconfigured("its provider takes no sound".to_owned())) }
    }

    /// The budgets that a caller's requests are paid from. Without more there are none.
    ///
    /// # Errors
    /// [`Error::Failed`] if what is spent is unknown now.
    fn budgets(&self, caller: Caller) -> impl Future<Output = Result<Budgets, Error>> + Send {
        let _ = caller;
        async { Ok(Budgets::default()) }
    }

    /// A node has opened its store, for a provider that keeps accounts there. This comes before any request of a meeting.
    /// Without more nothing happens.
    #[cfg(any(test, feature = "runtime"))]
    fn opened(&self, store: Arc<dyn Store>) {
        let _ = store;
    }

    /// The node closes its store next: what is to be kept there must be. Without more nothing happens.
    #[cfg(any(test, feature = "runtime"))]
    fn close(&self) -> impl Future<Output = ()> + Send {
        async {}
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
    fn embed(&self, request: EmbedRequest) -> BoxFuture<'_, Result<Embeddings, Error>>;
    fn transcribe(&self, request: TranscribeRequest) -> BoxFuture<'_, Result<Transcript, Error>>;
    fn budgets(&self, caller: Caller) -> BoxFuture<'_, Result<Budgets, Error>>;
    #[cfg(any(test, feature = "runtime"))]
    fn opened(&self, store: Arc<dyn Store>);
    #[cfg(any(test, feature = "runtime"))]
    fn close(&self) -> BoxFuture<'_, ()>;
    fn check(&self, schema: &Value, value: &Value) -> Result<(), String>;
}

impl<P: LlmProvider> DynProvider for P {
    fn complete(&self, request: Request) -> BoxFuture<'_, Result<Response, Error>> {
        LlmProvider::complete(self, request).boxed()
    }

    fn stream(&self, request: Request, deltas: Deltas) -> BoxFuture<'_, Result<Response, Error>> {
        LlmProvider::stream(self, request, deltas).boxed()
    }

    fn embed(&self, request: EmbedRequest) -> BoxFuture<'_, Result<Embeddings, Error>> {
        LlmProvider::embed(self, request).boxed()
    }

    fn transcribe(&self, request: TranscribeRequest) -> BoxFuture<'_, Result<Transcript, Error>> {
        LlmProvider::transcribe(self, request).boxed()
    }

    fn budgets(&self, caller: Caller) -> BoxFuture<'_, Result<Budgets, Error>> {
        LlmProvider::budgets(self, caller).boxed()
    }

    #[cfg(any(test, feature = "runtime"))]
    fn opened(&self, store: Arc<dyn Store>) {
        LlmProvider::opened(self, store);
    }

    #[cfg(any(test, feature = "runtime"))]
    fn close(&self) -> BoxFuture<'_, ()> {
        LlmProvider::close(self).boxed()
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

    /// Asks the provider for the vectors of texts.
    ///
    /// # Errors
    /// As [`complete`](Self::complete).
    pub async fn embed(&self, request: EmbedRequest) -> Result<Embeddings, Error> {
        let provider = self.0.as_ref().ok_or(Error::NotConfigured)?;
        provider.embed(request).await
    }

    /// Asks the provider for the text of sound.
    ///
    /// # Errors
    /// As [`complete`](Self::complete).
    pub async fn transcribe(&self, request: TranscribeRequest) -> Result<Transcript, Error> {
        let provider = self.0.as_ref().ok_or(Error::NotConfigured)?;
        provider.transcribe(request).await
    }

    /// The budgets that a caller's requests are paid from.
    ///
    /// # Errors
    /// As [`complete`](Self::complete).
    pub async fn budgets(&self, caller: Caller) -> Result<Budgets, Error> {
        match &self.0 {
            Some(provider) => provider.budgets(caller).await,
            None => Ok(Budgets::default()),
        }
    }

    /// Tells the provider of the node's store.
    #[cfg(any(test, feature = "runtime"))]
    pub fn opened(&self, store: Arc<dyn Store>) {
        if let Some(provider) = &self.0 {
            provider.opened(store);
        }
    }

    /// Tells the provider that the store is closed next, and waits until it is done with it.
    #[cfg(any(test, feature = "runtime"))]
    pub async fn close(&self) {
        if let Some(provider) = &self.0 {
            provider.close().await;
        }
    }

    /// What the provider finds wrong with a value of a schema.
    ///
    /// # Errors
    /// What is wrong.
    pub fn check(&self, schema: &Value, value: &Value) -> Result<(), String> {
        self.0.as_ref().map_or(Ok(()), |provider| provider.check(schema, value))
    }
}

/// So that what wraps a provider can wrap a shared one.
impl LlmProvider for SharedLlm {
    async fn complete(&self, request: Request) -> Result<Response, Error> {
        Self::complete(self, request).await
    }

    async fn stream(&self, request: Request, deltas: Deltas) -> Result<Response, Error> {
        Self::stream(self, request, deltas).await
    }

    async fn embed(&self, request: EmbedRequest) -> Result<Embeddings, Error> {
        Self::embed(self, request).await
    }

    async fn transcribe(&self, request: TranscribeRequest) -> Result<Transcript, Error> {
        Self::transcribe(self, request).await
    }

    async fn budgets(&self, caller: Caller) -> Result<Budgets, Error> {
        Self::budgets(self, caller).await
    }

    #[cfg(any(test, feature = "runtime"))]
    fn opened(&self, store: Arc<dyn Store>) {
        Self::opened(self, store);
    }

    #[cfg(any(test, feature = "runtime"))]
    async fn close(&self) {
        Self::close(self).await;
    }

    fn check(&self, schema: &Value, value: &Value) -> Result<(), String> {
        Self::check(self, schema, value)
    }
}

impl fmt::Debug for SharedLlm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = if self.0.is_some() { "SharedLlm" } else { "SharedLlm(none)" };
        f.write_str(name)
    }
}
