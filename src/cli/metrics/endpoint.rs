//! The endpoint that a Prometheus server scrapes: `GET /metrics`, and nothing else.
//!
//! The exporter has a server of its own, but that answers every path with the metrics.

use std::{convert::Infallible, error::Error, io, net::SocketAddr, net::TcpListener, sync::Arc};

use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{ALLOW, CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use teammy::{
    llm::HISTOGRAMS,
    metrics::{DESCRIPTIONS, facade},
};
use tokio::{
    sync::Semaphore,
    time::{Duration, interval, sleep},
};
use tracing::{debug, info, warn};

/// The only path.
const PATH: &str = "/metrics";

/// The content type of Prometheus's text format.
const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// How often durations that were measured are added to their buckets. Until then each takes some memory.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// How many clients are served at once. A scrape takes milliseconds.
const MOST_CLIENTS: usize = 32;

/// How long a client may take to send a request's head.
const HEADER_DEADLINE: Duration = Duration::from_secs(10);

/// How long to wait if a connection cannot be accepted, for example because there are too many files open.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(500);

/// Binds the address, so that a mistake is reported before anything starts.
pub(super) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Installs the recorder for this process's metrics. Histograms have buckets, which can be added up over nodes.
pub(super) fn install_recorder() -> Result<PrometheusHandle, Box<dyn Error + Send + Sync>> {
    let mut builder = PrometheusBuilder::new();
    for metric in DESCRIPTIONS.iter().filter(|metric| !metric.buckets.is_empty()) {
        builder = builder.set_buckets_for_metric(Matcher::Full(metric.name.to_owned()), metric.buckets)?;
    }
    for (name, buckets) in HISTOGRAMS {
        builder = builder.set_buckets_for_metric(Matcher::Full((*name).to_owned()), buckets)?;
    }
    let recorder = builder.build_recorder();
    let handle = recorder.handle();
    facade::set_global_recorder(recorder)?;
    Ok(handle)
}

/// Adds what was measured to its buckets, for ever.
pub(super) async fn keep_up(metrics: PrometheusHandle) {
    let mut clock = interval(UPKEEP_INTERVAL);
    loop {
        clock.tick().await;
        metrics.run_upkeep();
    }
}

/// Answers requests for ever.
pub(super) async fn serve(listener: TcpListener, metrics: PrometheusHandle) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return warn!(%error, "cannot serve metrics"),
    };
    if let Ok(address) = listener.local_addr() {
        info!(%address, path = PATH, "serving metrics");
    }
    tokio::spawn(keep_up(metrics.clone()));
    let clients = Arc::new(Semaphore::new(MOST_CLIENTS));
    loop {
        let client = clients.clone().acquire_owned().await.expect("invariant: the semaphore stays open");
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                warn!(%error, "cannot accept a connection for metrics");
                sleep(ACCEPT_BACKOFF).await;
                continue;
            }
        };
        let metrics = metrics.clone();
        tokio::spawn(async move {
            let _client = client;
            let service = service_fn(|request| answer(request, metrics.clone()));
            let served = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_DEADLINE)
                .serve_connection(TokioIo::new(stream), service);
            if let Err(error) = served.await {
                debug!(error = teammy::chain(&error), "a client of the metrics went away");
            }
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    metrics: PrometheusHandle,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let plain = "text/plain; charset=utf-8";
    if request.uri().path() != PATH {
        return Ok(response(StatusCode::NOT_FOUND, plain, format!("metrics are at {PATH}\n")));
    }
    // The server sends no body in answer to HEAD.
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut refused = response(StatusCode::METHOD_NOT_ALLOWED, plain, "use GET\n".to_owned());
        refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return Ok(refused);
    }
    Ok(match tokio::task::spawn_blocking(move || metrics.render()).await {
        Ok(text) => response(StatusCode::OK, TEXT_FORMAT, text),
        Err(_) => {
            response(StatusCode::INTERNAL_SERVER_ERROR, plain, "cannot render the metrics\n".to_owned())
        }
    })
}

fn response(status: StatusCode, content_type: &'static str, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
