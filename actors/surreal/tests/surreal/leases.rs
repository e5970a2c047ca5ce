//! The connection for leases, to a real server.

use std::time::Duration;

use futures::FutureExt;
use teammy_kernel::{
    Name, Store, chain,
    store::{Error, Incarnation},
};
use teammy_surreal::{self as surreal, Options, SurrealStore};

use super::{
    create, meeting,
    proxy::Proxy,
    server::{ROOT, Server},
};

/// Longer than any test.
const LONG: Duration = Duration::from_hours(24);
/// A lease of which a third has certainly passed while nothing is answered.
const SHORT: Duration = Duration::from_millis(30);

/// The connection over which a store sends all that isn't about leases.
const MAIN: usize = 0;
const FOR_LEASES: usize = 1;

/// A store on a server behind a proxy, with a lease, and a meeting `m`.
struct Setup {
    proxy: Proxy,
    store: SurrealStore,
    node: Incarnation,
    _server: Server,
}

async fn setup() -> Option<Setup> {
    let server = Server::start()?;
    let proxy = Proxy::to(server.port()).await;
    let mut options = Options::new(proxy.url());
    options.username = Some(ROOT.to_owned());
    options.password = Some(ROOT.to_owned());
    // An unoptimised server on a busy machine is slow.
    options.answer_timeout = Duration::from_mins(10);
    let store = surreal::open(options).await.unwrap_or_else(|error| panic!("{}", chain(&error)));
    create(&store, "m").await;
    assert_eq!(proxy.accepted(), 1, "a node without a lease needs one connection");
    let node = Incarnation { node: Name::new("north").unwrap(), boot: 1 };
    assert!(store.leases().take_lease(node.clone(), LONG, "{}".into()).await.unwrap());
    assert_eq!(proxy.accepted(), 2, "a lease has a connection of its own");
    Some(Setup { proxy, store, node, _server: server })
}

impl Setup {
    async fn renew(&self, ttl: Duration) -> Result<bool, Error> {
        self.store.leases().renew_lease(self.node.clone(), ttl, "{}".into()).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renewal_does_not_wait_for_other_queries() {
    let Some(setup) = setup().await else { return };
    setup.proxy.stall(MAIN, true);
    let store = setup.store.clone();
    let slow = tokio::spawn(async move { store.meeting(meeting("m")).await });
    for _ in 0..3 {
        assert!(setup.renew(LONG).await.unwrap());
    }
    assert_eq!(setup.store.leases().all_leases().await.unwrap().len(), 1);
    setup.store.leases().release_lease(setup.node.clone()).await.unwrap();
    assert!(setup.store.leases().remove_lease(setup.node.clone()).await.unwrap());
    assert!(!slow.is_finished());
    setup.proxy.stall(MAIN, false);
    assert!(slow.await.unwrap().unwrap().is_some());
    assert_eq!(setup.proxy.accepted(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renewal_that_is_not_answered_fails_within_the_lease_and_the_next_one_connects_anew() {
    let Some(setup) = setup().await else { return };
    setup.proxy.stall(FOR_LEASES, true);
    let error = setup.renew(SHORT).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
    assert!(chain(&error).contains("did not answer within 10ms"), "{}", chain(&error));
    assert!(setup.renew(LONG).await.unwrap());
    assert_eq!(setup.proxy.accepted(), 3);
    assert!(setup.store.meeting(meeting("m")).await.unwrap().is_some());
    assert_eq!(setup.proxy.accepted(), 3, "other queries keep their connection");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_renewal_that_was_given_up_the_next_one_connects_anew() {
    let Some(setup) = setup().await else { return };
    setup.proxy.stall(FOR_LEASES, true);
    assert!(setup.renew(LONG).now_or_never().is_none());
    assert!(setup.renew(LONG).await.unwrap());
    assert_eq!(setup.proxy.accepted(), 3);
    // One that is given up while a connection is opened does not open another one.
    setup.proxy.stall(FOR_LEASES + 1, true);
    setup.proxy.stall_new_ones(true);
    for _ in 0..3 {
        assert!(setup.renew(LONG).now_or_never().is_none());
    }
    setup.proxy.stall_new_ones(false);
    while setup.proxy.accepted() < 4 {
        tokio::task::yield_now().await;
    }
    setup.proxy.stall(3, false);
    assert!(setup.renew(LONG).await.unwrap());
    assert_eq!(setup.proxy.accepted(), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_store_answers_nothing_about_leases() {
    let Some(setup) = setup().await else { return };
    setup.store.close().await.unwrap();
    let error = setup.renew(LONG).await.unwrap_err();
    assert!(chain(&error).ends_with("the store is closed"), "{}", chain(&error));
    assert_eq!(setup.proxy.accepted(), 2);
}
