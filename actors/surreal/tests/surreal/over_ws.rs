//! The store on a real SurrealDB server.

use std::{
    sync::{
        Arc, LazyLock, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use teammy_kernel::{
    Store, chain,
    store::{
        Error, MeetingQuery, Outcome, PacketQuery,
        conformance::{self, Fixture},
    },
};
use teammy_surreal::{self as surreal, OpenError, Options, SurrealStore};

use super::{
    commit, create, meeting,
    server::{ROOT, Server},
};

/// The server that the tests of the conformance suite share. It ends with this process (see `server`).
static SERVER: LazyLock<Option<Server>> = LazyLock::new(Server::start);

/// Options for an empty database.
fn options(server: &Server) -> Options {
    static DATABASES: AtomicU32 = AtomicU32::new(0);
    let mut options = Options::new(server.url());
    options.database = format!("d{}", DATABASES.fetch_add(1, Ordering::Relaxed));
    options.username = Some(ROOT.to_owned());
    options.password = Some(ROOT.to_owned());
    // An unoptimised server on a busy machine is slow.
    options.answer_timeout = Duration::from_mins(10);
    options
}

async fn open(options: Options) -> SurrealStore {
    surreal::open(options).await.unwrap_or_else(|error| panic!("{}", chain(&error)))
}

async fn fixture() -> Option<Fixture> {
    let options = options(SERVER.as_ref()?);
    let store = open(options.clone()).await;
    Some(Fixture::new(store).reopen(move || {
        let options = options.clone();
        async move { Arc::new(open(options).await) as Arc<dyn Store> }
    }))
}

teammy_kernel::store_conformance!(fixture());

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_keeps_what_it_acknowledged() {
    let Some(server) = Server::start() else { return };
    let store = open(options(&server)).await;
    let server = Arc::new(Mutex::new(server));
    let goes_on = store.clone();
    // The store is not reopened: it reconnects to the server by itself.
    let fixture = Fixture::new(store).crash(move || {
        let (server, store) = (server.clone(), goes_on.clone());
        async move {
            let restart = move || {
                let mut server = server.lock().unwrap();
                server.kill();
                server.start_again();
            };
            tokio::task::spawn_blocking(restart).await.unwrap();
            Arc::new(store) as Arc<dyn Store>
        }
    });
    conformance::a_crash_keeps_what_was_acknowledged(fixture).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_hangs_is_unavailable_and_found_again() {
    let Some(server) = Server::start() else { return };
    // The store whose queries must succeed has a long timeout, for any machine; the one whose queries must
    // fail has a short one.
    let mut hasty = options(&server);
    let patient = open(hasty.clone()).await;
    create(&patient, "m").await;
    hasty.answer_timeout = Duration::from_secs(2);
    let store = loop {
        match surreal::open(hasty.clone()).await {
            Ok(store) => break store,
            Err(error) => assert!(matches!(error, OpenError::Unreachable { .. }), "{}", chain(&error)),
        }
    };
    server.freeze(true);
    let next = [commit("m", 1, 1, 1)];
    // The first commit waits for an answer, the second for a new connection.
    for _ in 0..2 {
        let error = store.commit(&next).await.unwrap_err();
        assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
    }
    server.freeze(false);
    loop {
        match store.commit(&next).await {
            Ok(outcomes) => break assert_eq!(outcomes, [Outcome::Applied]),
            Err(error) => assert!(error.is_transient(), "{}", chain(&error)),
        }
    }
    assert_eq!(patient.commit(&[commit("m", 2, 2, 1)]).await.unwrap(), [Outcome::Applied]);
    assert_eq!(patient.packets(meeting("m"), PacketQuery::default()).await.unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_asked_while_a_server_is_away_is_answered_when_it_is_back() {
    let Some(mut server) = Server::start() else { return };
    let store = open(options(&server)).await;
    create(&store, "m").await;
    for number in 1..=3 {
        server.kill();
        let commits = store.clone();
        let asked = tokio::spawn(async move {
            let next = [commit("m", number, number, 1)];
            loop {
                match commits.commit(&next).await {
                    Ok(outcomes) => return outcomes,
                    Err(error) => assert!(error.is_transient(), "{}", chain(&error)),
                }
            }
        });
        server = tokio::task::spawn_blocking(|| {
            server.start_again();
            server
        })
        .await
        .unwrap();
        assert_eq!(asked.await.unwrap(), [Outcome::Applied]);
        assert_eq!(store.meeting(meeting("m")).await.unwrap().unwrap().commit, number);
    }
    assert_eq!(store.packets(meeting("m"), PacketQuery::default()).await.unwrap().len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_may_open_an_empty_database_at_once() {
    let Some(server) = SERVER.as_ref() else { return };
    for _ in 0..5 {
        let options = options(server);
        let opening = (0..8).map(|n| {
            let options = options.clone();
            async move { create(&open(options).await, &n.to_string()).await }
        });
        futures::future::join_all(opening).await;
        assert_eq!(open(options).await.meetings(MeetingQuery::default()).await.unwrap().meetings.len(), 8);
    }
}
