//! The server: `cargo run --manifest-path examples/http-backend/Cargo.toml -- 127.0.0.1:8080`. `teammy.toml` and variables
//! such as `TEAMMY_DATABASE__URL` configure it.

use std::{sync::Arc, time::Duration};

use teammy::{Node, config::Loader};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::oneshot,
};

/// How many meetings are resumed at a time.
const RESUMED_AT_ONCE: usize = 32;

#[tokio::main]
async fn main() -> Result<(), teammy::Report> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".to_owned());
    let mut loader = Loader::default().env(std::env::vars());
    if cfg!(not(feature = "surrealdb")) {
        loader = loader.set("database.url", "mem://", "this build");
    }
    let config = loader.load()?.config;
    let node = Arc::new(Node::builder(config).plugins(teammy::plugins::bundle()).start().await?);
    let report = node.resume_all(RESUMED_AT_ONCE, |_| true).await;
    for (meeting, error) in report.failures() {
        eprintln!("meeting {meeting} was not resumed: {}", teammy::chain(error));
    }

    let listener = TcpListener::bind(&address).await?;
    eprintln!("listening on http://{}", listener.local_addr()?);
    let (stop, stopped) = oneshot::channel::<()>();
    let server = axum::serve(listener, teammy_http_backend::router(node.clone()));
    let server = tokio::spawn(server.with_graceful_shutdown(async { drop(stopped.await) }).into_future());
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted?,
        _ = terminate.recv() => {}
    }
    // First no more requests, then the meetings: their streams end with them, and so does the server.
    drop(stop);
    node.shutdown(Duration::from_secs(30)).await?;
    server.await??;
    Ok(())
}
