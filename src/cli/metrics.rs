//! Serves metrics to a Prometheus server.

use teammy::config::Metrics;
#[cfg(feature = "prometheus")]
use tokio::runtime::Runtime;

use super::error::Error;

/// Serves metrics until it is dropped.
pub(super) struct MetricsServer {
    #[cfg(feature = "prometheus")]
    runtime: Option<Runtime>,
}

#[cfg(feature = "prometheus")]
impl Drop for MetricsServer {
    fn drop(&mut self) {
        // A runtime must not block in its drop on another runtime's thread.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Serves metrics at `metrics.listen`, if it is set, on a runtime of its own. Must be called before a node
/// starts, because a node registers its metrics when it starts.
#[cfg(feature = "prometheus")]
pub(super) fn serve(metrics: &Metrics) -> Result<MetricsServer, Error> {
    let Some(address) = metrics.listen else { return Ok(MetricsServer { runtime: None }) };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(Error::Runtime)?;
    let exporter = metrics_exporter_prometheus::PrometheusBuilder::new().with_http_listener(address);
    let guard = runtime.enter();
    let failed =
        |cause: metrics_exporter_prometheus::BuildError| Error::Metrics { address, source: cause.into() };
    exporter.install().map_err(failed)?;
    drop(guard);
    Ok(MetricsServer { runtime: Some(runtime) })
}

#[cfg(not(feature = "prometheus"))]
pub(super) fn serve(metrics: &Metrics) -> Result<MetricsServer, Error> {
    match metrics.listen {
        None => Ok(MetricsServer {}),
        Some(_) => Err(Error::NoPrometheus),
    }
}
