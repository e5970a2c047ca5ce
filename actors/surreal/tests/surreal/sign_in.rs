//! Signing in to a real server: as users of each level, with each role, and with a token.

use std::{
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use surrealdb::{
    engine::any,
    opt::auth::{Database, Root},
};
use teammy_config::{Config, database::AuthLevel};
use teammy_kernel::{
    Store, chain,
    store::{
        Error, Outcome, PacketQuery,
        conformance::{self, Fixture},
    },
};
use teammy_surreal::{self as surreal, OpenError, Options, SurrealStore};

use super::{
    commit, create, meeting,
    server::{ROOT, Server},
};

/// The server that these tests share. It ends with this process (see `server`).
static SERVER: LazyLock<Option<Server>> = LazyLock::new(Server::start);

const PASSWORD: &str = "hunter2";

/// Options for a namespace and a database of their own, which root has made, without a user.
async fn options() -> Option<Options> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let mut options = Options::new(SERVER.as_ref()?.url());
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    (options.namespace, options.database) = (format!("n{number}"), format!("d{number}"));
    // An unoptimised server on a busy machine is slow.
    options.answer_timeout = Duration::from_mins(10);
    as_root(&options, "RETURN 1").await;
    Some(options)
}

/// Runs statements as root.
async fn as_root(options: &Options, statements: &str) {
    let db = any::connect(&options.url).await.unwrap();
    db.signin(Root { username: ROOT.to_owned(), password: ROOT.to_owned() }).await.unwrap();
    db.use_ns(&options.namespace).use_db(&options.database).await.unwrap();
    db.query(statements).await.unwrap().check().unwrap();
}

async fn define_user(options: &Options, name: &str, on: &str, rest: &str) {
    as_root(options, &format!("DEFINE USER {name} ON {on} PASSWORD '{PASSWORD}' {rest}")).await;
}

fn signed_in(options: &Options, name: &str, level: AuthLevel) -> Options {
    Options {
        username: Some(name.to_owned()),
        password: Some(PASSWORD.to_owned()),
        auth_level: level,
        ..options.clone()
    }
}

async fn open(options: Options) -> SurrealStore {
    surreal::open(options).await.unwrap_or_else(|error| panic!("{}", chain(&error)))
}

const LEVELS: [(AuthLevel, &str); 3] =
    [(AuthLevel::Root, "ROOT"), (AuthLevel::Namespace, "NAMESPACE"), (AuthLevel::Database, "DATABASE")];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_editor_of_each_level_is_enough() {
    for (level, on) in LEVELS {
        let Some(options) = options().await else { return };
        define_user(&options, "editor", on, "ROLES EDITOR").await;
        let options = signed_in(&options, "editor", level);
        let store = open(options.clone()).await;
        let reopened = options.clone();
        let fixture = Fixture::new(store).reopen(move || {
            let options = reopened.clone();
            async move { Arc::new(open(options).await) as Arc<dyn Store> }
        });
        conformance::packets_come_back_equal(fixture).await;
        // An existing database is opened as well as an empty one.
        let store = open(options).await;
        create(&store, "forgotten").await;
        assert_eq!(store.commit(&[commit("forgotten", 1, 1, 3)]).await.unwrap(), [Outcome::Applied]);
        assert!(store.forget(meeting("forgotten")).await.unwrap());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_without_the_rights_is_told_so() {
    for (level, on) in LEVELS {
        let Some(options) = options().await else { return };
        define_user(&options, "viewer", on, "ROLES VIEWER").await;
        // A viewer can change nothing, whether the tables are there or not.
        for _ in 0..2 {
            let error = surreal::open(signed_in(&options, "viewer", level)).await.unwrap_err();
            assert!(matches!(error, OpenError::NotAllowed { .. }), "{error:?}");
            let error = chain(&error);
            assert!(error.contains("does not let user \"viewer\" of "), "{error}");
            assert!(error.contains("give a user with the role EDITOR or OWNER"), "{error}");
            assert!(!error.contains(PASSWORD), "{error}");
            define_user(&options, "editor", "DATABASE", "ROLES EDITOR").await;
            open(signed_in(&options, "editor", AuthLevel::Database)).await;
            as_root(&options, "REMOVE USER editor ON DATABASE").await;
        }
    }
    let Some(options) = options().await else { return };
    let error = surreal::open(options).await.unwrap_err();
    assert!(matches!(error, OpenError::NotAllowed { .. }), "{error:?}");
    assert!(error.to_string().contains("does not let a client without a user define tables"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password_and_a_wrong_level_are_rejected() {
    let Some(options) = options().await else { return };
    define_user(&options, "clerk", "NAMESPACE", "ROLES EDITOR").await;
    let mut wrong = signed_in(&options, "clerk", AuthLevel::Namespace);
    wrong.password = Some("hunter3".to_owned());
    let of_root = signed_in(&options, "clerk", AuthLevel::Root);
    let of_database = signed_in(&options, "clerk", AuthLevel::Database);
    let token = Options { token: Some("eyJhbGciOiJIUzUxMiJ9.e30.aGk".to_owned()), ..options.clone() };
    for (options, account) in [
        (wrong, format!("user \"clerk\" of namespace {}", options.namespace)),
        (of_root, "user \"clerk\" of root".to_owned()),
        (of_database, format!("user \"clerk\" of database {}/{}", options.namespace, options.database)),
        (token, "the token".to_owned()),
    ] {
        let error = surreal::open(options).await.unwrap_err();
        assert!(matches!(error, OpenError::SignIn { .. }), "{error:?}");
        let error = chain(&error);
        assert!(error.contains(&format!("rejected the sign-in of {account};")), "{error}");
        assert!(!error.contains("hunter") && !error.contains("eyJ"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_signs_in() {
    let Some(options) = options().await else { return };
    define_user(&options, "editor", "DATABASE", "ROLES EDITOR").await;
    let db = any::connect(&options.url).await.unwrap();
    let signed_in = Database {
        namespace: options.namespace.clone(),
        database: options.database.clone(),
        username: "editor".to_owned(),
        password: PASSWORD.to_owned(),
    };
    let token = db.signin(signed_in).await.unwrap().access.as_insecure_token().to_owned();
    // As a configuration gives it.
    let toml = format!(
        "[database]\nurl = {:?}\nnamespace = {:?}\ndatabase = {:?}\ntoken = {token:?}",
        options.url, options.namespace, options.database
    );
    let config = Config::from_toml(&toml).unwrap().database;
    let configured = Options::configured(&config, config.url.as_ref().unwrap());
    assert!(!format!("{config:?} {configured:?}").contains(&token));
    let store = open(configured).await;
    create(&store, "m").await;
    assert_eq!(store.commit(&[commit("m", 1, 1, 1)]).await.unwrap(), [Outcome::Applied]);
}

/// A store with the meeting m, whose session expires in a second.
async fn open_for_a_second(options: &Options) -> SurrealStore {
    let root =
        Options { username: Some(ROOT.to_owned()), password: Some(ROOT.to_owned()), ..options.clone() };
    create(&open(root).await, "m").await;
    define_user(options, "editor", "DATABASE", "ROLES EDITOR DURATION FOR SESSION 1s").await;
    loop {
        match surreal::open(signed_in(options, "editor", AuthLevel::Database)).await {
            Ok(store) => return store,
            // The machine is so slow that the session has expired already.
            Err(error) => assert!(matches!(error, OpenError::NotAllowed { .. }), "{}", chain(&error)),
        }
    }
}

/// Commits until the session has expired. Returns the number of the commit that failed for that.
async fn commit_until_refused(store: &SurrealStore, mut number: u64) -> u64 {
    loop {
        match store.commit(&[commit("m", number, number, 1)]).await {
            Ok(outcomes) => assert_eq!(outcomes, [Outcome::Applied]),
            Err(error) => {
                // Not `Failed`: such a commit would end its meeting.
                assert!(matches!(error, Error::Unavailable { .. }), "{}", chain(&error));
                return number;
            }
        }
        number += 1;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_expires_delays_a_commit_and_loses_none() {
    let Some(options) = options().await else { return };
    let store = open_for_a_second(&options).await;
    let number = commit_until_refused(&store, 1).await;
    as_root(&options, "REMOVE USER editor ON DATABASE").await;
    define_user(&options, "editor", "DATABASE", "ROLES EDITOR").await;
    // The next query signs in again.
    let repeated = store.commit(&[commit("m", number, number, 1)]).await;
    assert_eq!(repeated.unwrap_or_else(|error| panic!("{}", chain(&error))), [Outcome::Applied]);
    let stored = store.packets(meeting("m"), PacketQuery::default()).await.unwrap();
    assert_eq!(stored.len() as u64, number, "each was stored once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_that_is_removed_delays_commits_until_it_is_back() {
    let Some(options) = options().await else { return };
    let store = open_for_a_second(&options).await;
    as_root(&options, "REMOVE USER editor ON DATABASE").await;
    let number = commit_until_refused(&store, 1).await;
    for _ in 0..3 {
        assert_eq!(commit_until_refused(&store, number).await, number);
    }
    define_user(&options, "editor", "DATABASE", "ROLES EDITOR").await;
    let repeated = store.commit(&[commit("m", number, number, 1)]).await;
    assert_eq!(repeated.unwrap_or_else(|error| panic!("{}", chain(&error))), [Outcome::Applied]);
    let stored = store.packets(meeting("m"), PacketQuery::default()).await.unwrap();
    assert_eq!(stored.len() as u64, number, "each was stored once");
}
