//! What is counted, for a Prometheus server that asks.

use teammy::config::Metrics;
use tokio::runtime::Runtime;

use super::error::Error;

/// Answers where the configuration says so, on a runtime that lasts as long as the program. Before a node starts: what it counts with
/// is made then.
#[cfg(feature = "prometheus")]
pub(super) fn serve(metrics: &Metrics) -> Result<Option<Runtime>, Error> {
    let Some(address) = metrics.listen else { return Ok(None) };
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
    Ok(Some(runtime))
}

#[cfg(not(feature = "prometheus"))]
pub(super) fn serve(metrics: &Metrics) -> Result<Option<Runtime>, Error> {
    match metrics.listen {
        None => Ok(None),
        Some(_) => Err(Error::NoPrometheus),
    }
}
