//! Makes connections with a peer, again and again.

use std::{sync::Arc, time::Duration};

use teammy_kernel::{backoff::Backoff, error::chain};
use tokio::time::{Instant, sleep};
use tracing::debug;

use crate::{
    link::{
        peer::{Link, Peer},
        registry::{Registry, run},
        session::Session,
        state::Broken,
    },
    transport::Connection,
};

/// The delay after the first failure.
const FIRST: Duration = Duration::from_millis(100);

/// Makes a connection whenever there is none, until it is aborted: at once after a link that held, later and later after failures.
pub(crate) async fn dial(registry: Arc<Registry>, peer: Arc<Peer>, address: String) {
    let backoff = Backoff::new(FIRST, registry.settings.longest_backoff);
    let mut link = peer.link();
    let mut failures = 0_u32;
    loop {
        match link.wait_for(|link| !matches!(link, Link::Up(_))).await.map(|link| link.clone()) {
            Ok(Link::Down(_)) => {}
            Ok(Link::Up(_) | Link::Closed(_)) | Err(_) => return,
        }
        if let Some(delays) = failures.checked_sub(1) {
            sleep(backoff.delay(delays).mul_f64(0.5 + 0.5 * fastrand::f64())).await;
            if peer.session().is_some() {
                continue;
            }
        }
        let began = Instant::now();
        match connect(&registry, &peer, &address).await {
            Ok(session) => {
                let is_over = |link: &Link| !matches!(link, Link::Up(held) if Arc::ptr_eq(held, &session));
                let _ = link.wait_for(is_over).await;
                // One that breaks at once, each time, must not be made without a pause.
                let held = began.elapsed() >= registry.settings.patience();
                failures = if held { 0 } else { failures.saturating_add(1) };
            }
            Err(reason) => {
                failures = failures.saturating_add(1);
                debug!(peer = %peer.incarnation, failures, reason = &*reason, "there is no link yet");
                peer.failed(&reason);
            }
        }
    }
}

/// Makes a connection and the peer's acquaintance.
async fn connect(registry: &Arc<Registry>, peer: &Arc<Peer>, address: &str) -> Result<Arc<Session>, Broken> {
    let made = registry.transport.connect(&peer.incarnation, address).await;
    let Connection { sender, receiver: mut frames, .. } =
        made.map_err(|error| Broken::from(chain(&error)))?;
    let session = Session::new(&registry.me, peer.incarnation.clone(), sender, &registry.settings, true);
    session.greet();
    let greeted = session.greeted(&mut frames).await.and_then(|met| {
        if met != peer.incarnation {
            return Err(Broken::from(format!("{met} answers at {address}")));
        }
        registry.attach(peer, &session)
    });
    if let Err(reason) = greeted {
        session.close(&reason);
        return Err(reason);
    }
    registry.spawn(run(Arc::clone(peer), Arc::clone(&session), frames));
    Ok(session)
}
