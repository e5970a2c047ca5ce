//! Serves metrics to a Prometheus server.

#[cfg(feature = "prometheus")]
mod endpoint;

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
    let failed = |source: Box<dyn std::error::Error + Send + Sync>| Error::Metrics { address, source };
    let listener = endpoint::bind(address).map_err(|error| failed(error.into()))?;
    let rendering = endpoint::install_recorder().map_err(failed)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(Error::Runtime)?;
    runtime.spawn(endpoint::serve(listener, rendering));
    Ok(MetricsServer { runtime: Some(runtime) })
}

#[cfg(not(feature = "prometheus"))]
pub(super) fn serve(metrics: &Metrics) -> Result<MetricsServer, Error> {
    match metrics.listen {
        None => Ok(MetricsServer {}),
        Some(_) => Err(Error::NoPrometheus),
    }
}
