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

/// This process's metrics.
pub(super) struct Recorder {
    #[cfg(feature = "prometheus")]
    handle: metrics_exporter_prometheus::PrometheusHandle,
}

#[cfg(feature = "prometheus")]
impl Recorder {
    /// Must be called before a node starts, because a node registers its metrics when it starts.
    pub(super) fn install() -> Result<Self, Error> {
        Ok(Self { handle: endpoint::install_recorder().map_err(Error::NoRecorder)? })
    }

    /// Serves the metrics at `metrics.listen`, if it is set, on a runtime of its own.
    pub(super) fn serve(&self, metrics: &Metrics) -> Result<MetricsServer, Error> {
        let Some(address) = metrics.listen else { return Ok(MetricsServer { runtime: None }) };
        let failed = |source: Box<dyn std::error::Error + Send + Sync>| Error::Metrics { address, source };
        let listener = endpoint::bind(address).map_err(|error| failed(error.into()))?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .map_err(Error::Runtime)?;
        runtime.spawn(endpoint::serve(listener, self.handle.clone()));
        Ok(MetricsServer { runtime: Some(runtime) })
    }

    /// Has the network API show them.
    #[cfg(feature = "service")]
    pub(super) fn show(&self, service: teammy::service::Service) -> teammy::service::Service {
        let handle = self.handle.clone();
        tokio::spawn(endpoint::keep_up(handle.clone()));
        service.metrics(move || handle.render())
    }
}

#[cfg(not(feature = "prometheus"))]
impl Recorder {
    #[allow(clippy::unnecessary_wraps, reason = "with metrics it may fail")]
    pub(super) fn install() -> Result<Self, Error> {
        Ok(Self {})
    }

    #[allow(clippy::unused_self, reason = "with metrics it is used")]
    pub(super) fn serve(&self, metrics: &Metrics) -> Result<MetricsServer, Error> {
        match metrics.listen {
            None => Ok(MetricsServer {}),
            Some(_) => Err(Error::NoPrometheus),
        }
    }

    #[cfg(feature = "service")]
    #[allow(clippy::unused_self, reason = "with metrics it is used")]
    pub(super) fn show(&self, service: teammy::service::Service) -> teammy::service::Service {
        service
    }
}

/// Serves metrics at `metrics.listen`, if it is set. Must be called before a node starts.
pub(super) fn serve(metrics: &Metrics) -> Result<MetricsServer, Error> {
    // Without it nobody reads them, and to record them takes time.
    if metrics.listen.is_none() {
        return Ok(MetricsServer::none());
    }
    Recorder::install()?.serve(metrics)
}

impl MetricsServer {
    fn none() -> Self {
        Self {
            #[cfg(feature = "prometheus")]
            runtime: None,
        }
    }
}
