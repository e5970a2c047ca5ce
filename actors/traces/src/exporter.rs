//! Sends spans to the collector, from a thread of its own.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use http::HeaderValue;
use hyper_rustls::HttpsConnectorBuilder;
use opentelemetry_http::hyper::HyperClient;
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::{
    Resource,
    trace::{SpanData, SpanExporter as _},
};
use rustls::crypto::ring;
use teammy_config::{ExposeSecret, Traces};
use tokio::{
    sync::{mpsc::Receiver, oneshot},
    time::{Instant, timeout, timeout_at},
};
use tracing::warn;

/// The most spans of one request.
const BATCH: usize = 512;
/// How long a request waits for more spans.
const LINGER: Duration = Duration::from_secs(1);
/// How long a request may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long the last spans may take when the program ends.
const LAST: Duration = Duration::from_secs(3);
/// How often a failure is logged at most.
const WARNING_EVERY: Duration = Duration::from_mins(1);

/// Why spans cannot be exported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The header cannot be sent.
    #[error(
        "traces.authorization cannot be sent as a header: it has a line end or another control character"
    )]
    Authorization,
    /// The client could not be made.
    #[error("cannot make a client for the collector (traces.endpoint)")]
    Client(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The thread could not be started.
    #[error("cannot start the thread that exports traces")]
    Thread(#[source] io::Error),
}

/// Exports spans until it is dropped, which waits a short time for the last ones.
#[derive(Debug)]
pub struct Exporter {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Exporter {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Exporter {
    pub(crate) fn start(
        endpoint: &str,
        config: &Traces,
        spans: Receiver<SpanData>,
        dropped: Arc<AtomicU64>,
    ) -> Result<Self, Error> {
        let authorization = config.authorization.as_ref().map(|secret| {
            let value = HeaderValue::from_str(secret.expose_secret());
            let mut value = value.map_err(|_| Error::Authorization)?;
            value.set_sensitive(true);
            Ok(value)
        });
        let builder = HttpsConnectorBuilder::new;
        // Mozilla's certificate authorities if the machine has none, as in a bare container.
        let tls = builder()
            .with_provider_and_native_roots(ring::default_provider())
            .or_else(|_| builder().with_provider_and_webpki_roots(ring::default_provider()));
        let connector =
            tls.map_err(|error| Error::Client(error.into()))?.https_or_http().enable_http1().build();
        let client = HyperClient::new(connector, TIMEOUT, authorization.transpose()?);
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(client)
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(endpoint)
            .with_timeout(TIMEOUT)
            .build();
        let mut exporter = exporter.map_err(|error| Error::Client(error.into()))?;
        exporter.set_resource(&Resource::builder().with_service_name(config.service_name.clone()).build());
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::Thread)?;
        let (stop, stopped) = oneshot::channel();
        let run = move || runtime.block_on(Sending { exporter, spans, dropped, warned: None }.run(stopped));
        let thread =
            std::thread::Builder::new().name("traces".to_owned()).spawn(run).map_err(Error::Thread)?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

struct Sending {
    exporter: SpanExporter,
    spans: Receiver<SpanData>,
    dropped: Arc<AtomicU64>,
    warned: Option<Instant>,
}

impl Sending {
    async fn run(mut self, mut stopped: oneshot::Receiver<()>) {
        let mut batch = Vec::new();
        loop {
            tokio::select! {
                biased;
                _ = &mut stopped => break,
                count = self.spans.recv_many(&mut batch, BATCH) => if count == 0 { break },
            }
            let until = Instant::now() + LINGER;
            while batch.len() < BATCH {
                let room = BATCH - batch.len();
                tokio::select! {
                    biased;
                    _ = &mut stopped => return self.last(batch).await,
                    more = timeout_at(until, self.spans.recv_many(&mut batch, room)) => {
                        if !more.is_ok_and(|count| count > 0) {
                            break;
                        }
                    }
                }
            }
            self.send(std::mem::take(&mut batch)).await;
        }
        self.last(batch).await;
    }

    /// Sends what is in the queue, in a short time.
    async fn last(mut self, mut batch: Vec<SpanData>) {
        self.spans.close();
        let sent = timeout(LAST, async {
            loop {
                if batch.is_empty() && self.spans.recv_many(&mut batch, BATCH).await == 0 {
                    break;
                }
                self.send(std::mem::take(&mut batch)).await;
            }
        });
        if sent.await.is_err() {
            warn!("the collector did not take the last spans in time");
        }
    }

    async fn send(&mut self, batch: Vec<SpanData>) {
        let count = batch.len() as u64;
        let failed = self.exporter.export(batch).await.err();
        if failed.is_some() {
            self.dropped.fetch_add(count, Ordering::Relaxed);
        }
        if self.dropped.load(Ordering::Relaxed) == 0
            || self.warned.is_some_and(|at| at.elapsed() < WARNING_EVERY)
        {
            return;
        }
        self.warned = Some(Instant::now());
        let lost = self.dropped.swap(0, Ordering::Relaxed);
        let error = failed.map(|error| teammy_kernel::chain(&error));
        warn!(lost, error, "spans were not exported");
    }
}
