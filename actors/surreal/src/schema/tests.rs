use futures::future::join_all;
use parking_lot::Mutex;
use surrealdb::{Surreal, engine::local::Db};

use super::*;
use crate::connection;

const NEXT: Schema = Schema { version: SCHEMA.version + 1, compatible_from: SCHEMA.version };
const BREAKING: Schema = Schema { version: SCHEMA.version + 2, compatible_from: SCHEMA.version + 1 };

#[test]
fn a_program_can_use_what_is_older_and_what_allows_it() {
    let program = Schema { version: 6, compatible_from: 6 };
    for (version, compatible_from, expected) in
        [(1, 1, true), (6, 6, true), (7, 6, true), (7, 5, true), (7, 7, false), (8, 7, false), (9, 6, true)]
    {
        assert_eq!(
            program.can_use(Schema { version, compatible_from }),
            expected,
            "{version} {compatible_from}"
        );
    }
}

/// An engine, and the databases in it.
struct Engine {
    options: Options,
    connection: Connection,
    /// The engine shuts down when the last handle of a connection is dropped, so all are kept.
    handles: Mutex<Vec<Surreal<Db>>>,
    _directory: tempfile::TempDir,
}

impl Engine {
    async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let options = Options::new(format!("surrealkv://{}", directory.path().join("db").display()));
        let Ok(connection) = connection::open(&options).await else { panic!("the directory is writable") };
        Self { options, connection, handles: Mutex::default(), _directory: directory }
    }

    /// A program's own connection to a database.
    async fn connect(&self, database: &str) -> Connection {
        let Connection::Embedded { datastore, .. } = &self.connection else { unreachable!() };
        let db = Surreal::<Db>::unstable_from_datastore(datastore.clone(), None).await.unwrap();
        db.use_ns(&self.options.namespace).use_db(database).await.unwrap();
        self.handles.lock().push(db.clone());
        Connection::Embedded { db, datastore: datastore.clone() }
    }
}

async fn stored(connection: &Connection) -> Option<Schema> {
    let Ok(stored) = read_schema(connection).await else { panic!("the schema is read") };
    stored
}

async fn set_up(connection: &Connection, program: Schema) {
    assert!(finish(connection, program).await.is_ok());
}

#[tokio::test]
async fn an_upgrade_that_is_overtaken_by_a_newer_one_lowers_nothing() {
    let engine = Engine::start().await;
    let connection = engine.connect("d").await;
    for program in [SCHEMA, NEXT, SCHEMA, NEXT, BREAKING, NEXT] {
        let newest =
            stored(&connection).await.map_or(program.version, |found| found.version.max(program.version));
        set_up(&connection, program).await;
        assert_eq!(stored(&connection).await.unwrap().version, newest);
    }
    assert_eq!(stored(&connection).await, Some(BREAKING));
}

#[tokio::test]
async fn programs_of_adjacent_versions_may_open_a_database_at_once() {
    let engine = Engine::start().await;
    for (database, before) in [("empty", None), ("old", Some(1)), ("previous", Some(5)), ("this", Some(6))] {
        let programs = [SCHEMA, NEXT, SCHEMA, NEXT, SCHEMA];
        let connections = join_all(programs.iter().map(|_| engine.connect(database))).await;
        if let Some(version) = before {
            set_up(&connections[0], Schema { version, compatible_from: version }).await;
        }
        let opening = programs.iter().zip(&connections);
        let opening = opening.map(|(program, connection)| prepare_for(*program, connection, &engine.options));
        for (program, opened) in programs.iter().zip(join_all(opening).await) {
            let newer = opened.unwrap();
            assert!(newer.is_none() || (newer, *program) == (Some(NEXT.version), SCHEMA), "{newer:?}");
        }
        assert_eq!(stored(&connections[0]).await, Some(NEXT), "{database}");
        let again = prepare_for(SCHEMA, &connections[0], &engine.options).await;
        assert_eq!(again.unwrap(), Some(NEXT.version));
    }
}

#[tokio::test]
async fn a_program_that_is_two_versions_older_is_refused_whenever_it_comes() {
    let engine = Engine::start().await;
    for database in ["a", "b", "c"] {
        let (old, new) = (engine.connect(database).await, engine.connect(database).await);
        let (at_once, newest) = tokio::join!(
            prepare_for(SCHEMA, &old, &engine.options),
            prepare_for(BREAKING, &new, &engine.options)
        );
        assert_eq!(newest.unwrap(), None);
        let later = prepare_for(SCHEMA, &old, &engine.options).await;
        // The first one may have come before the upgrade.
        for refused in at_once.err().into_iter().chain([later.unwrap_err()]) {
            assert!(
                matches!(refused, OpenError::NewerSchema { found: 8, compatible_from: 7, known: 6, .. }),
                "{refused:?}"
            );
        }
        assert_eq!(stored(&new).await, Some(BREAKING));
    }
}
