//! What is counted, for a Prometheus server that asks.

use teammy::config::Metrics;
#[cfg(feature = "prometheus")]
use tokio::runtime::Runtime;

use super::error::Error;

/// What answers, for as long as it is kept.
pub(super) struct Serving {
    #[cfg(feature = "prometheus")]
    runtime: Option<Runtime>,
}

#[cfg(feature = "prometheus")]
impl Drop for Serving {
    fn drop(&mut self) {
        // It may be dropped where nothing may block.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Answers where the configuration says so, on a runtime of its own. Before a node starts: what it counts
/// with is made then.
#[cfg(feature = "prometheus")]
pub(super) fn serve(metrics: &Metrics) -> Result<Serving, Error> {
    let Some(address) = metrics.listen else { return Ok(Serving { runtime: None }) };
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
    Ok(Serving { runtime: Some(runtime) })
}

#[cfg(not(feature = "prometheus"))]
pub(super) fn serve(metrics: &Metrics) -> Result<Serving, Error> {
    match metrics.listen {
        None => Ok(Serving {}),
        Some(_) => Err(Error::NoPrometheus),
    }
}
