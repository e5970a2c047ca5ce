//! The schema's version, and the upgrade of an older database.

use surrealdb::types::{Value, Variables};
use teammy_kernel::Lifecycle;
use tracing::info;

use super::{
    connection::{Connection, QueryText},
    decode,
    error::{OpenError, QueryError},
    ids,
    options::Options,
    values,
};

/// The schema that this crate reads and writes. A database holds its schema's version in `teammy:schema`.
/// Opening an older database upgrades it.
///
/// - 1: the first.
/// - 2: `numbered` and `mark`. They start empty, because version 1 had no numbered packets.
/// - 3: `lifecycle`, into which the upgrade copies the packets of source `meeting`; and `last`, which a
///   meeting gets with its next packet.
/// - 4: `listed` and `open`, and of each meeting `created` and `place`. The upgrade dates a meeting by its first
///   packet of source `meeting`, and gives each meeting that has packets its `last`.
/// - 5: `account`, which starts empty.
/// - 6: `lease` and `owned`, which start empty.
const VERSION: i64 = 6;

const SELECT_MEETING_IDS: &QueryText = &["SELECT id FROM meeting"];

/// Checks the schema's version, and upgrades it if it is older.
pub(super) async fn prepare(connection: &Connection, options: &Options) -> Result<(), OpenError> {
    const READ_VERSION: &QueryText =
        &["DEFINE TABLE IF NOT EXISTS teammy SCHEMALESS; SELECT VALUE version FROM teammy:schema"];
    const TABLES: &str = "
        DEFINE TABLE IF NOT EXISTS meeting SCHEMALESS;
        DEFINE TABLE IF NOT EXISTS packet SCHEMALESS;
        DEFINE TABLE IF NOT EXISTS lifecycle SCHEMALESS;
        DEFINE TABLE IF NOT EXISTS numbered SCHEMALESS;
        DEFINE TABLE IF NOT EXISTS mark SCHEMALESS;
        DEFINE TABLE IF NOT EXISTS state SCHEMALESS;
        DEFINE TABLE IF NOT EXISTS kv SCHEMALESS;
        DEFINE TABLE IF NOT EXISTS dead_letter SCHEMALESS;
        DEFINE TABLE IF NOT EXISTS listed SCHEMALESS;
        DEFINE TABLE IF NOT EXISTS open SCHEMALESS;
        DEFINE TABLE IF NOT EXISTS account SCHEMALESS;
        DEFINE TABLE IF NOT EXISTS lease SCHEMALESS;
        DEFINE TABLE IF NOT EXISTS owned SCHEMALESS;";
    const DEFINE: &QueryText = &["BEGIN;", TABLES, "COMMIT"];
    const FINISH: &QueryText =
        &["BEGIN;", TABLES, "UPSERT teammy:schema SET version = $version RETURN NONE; COMMIT"];
    let url = options.shown_url();
    let failed = |error: QueryError| {
        let url = url.clone();
        if error.is_not_allowed() {
            let (account, database) =
                (options.account().to_string(), format!("{}/{}", options.namespace, options.database));
            OpenError::NotAllowed { url, account, database, cause: error.into_cause() }
        } else {
            OpenError::Failed { url, cause: error.into_cause() }
        }
    };
    let read_version = async || {
        let mut results = connection.query(READ_VERSION, || Ok(Variables::new())).await?;
        Ok(results.take::<Vec<i64>>(1)?.first().copied())
    };
    match read_version().await.map_err(failed)? {
        Some(found) if found > VERSION => {
            return Err(OpenError::NewerSchema { url, found, known: VERSION });
        }
        Some(VERSION) => return Ok(()),
        Some(older) => {
            info!(%url, from = older, to = VERSION, "upgrading the database's schema");
            connection.query(DEFINE, || Ok(Variables::new())).await.map_err(failed)?;
            if older < 3 {
                copy_lifecycle(connection).await.map_err(failed)?;
            }
            if older < 4 {
                list_meetings(connection).await.map_err(failed)?;
            }
        }
        None => {}
    }
    let version = || Ok(values::variables([("version", Value::Number(VERSION.into()))]));
    match connection.query(FINISH, version).await {
        Ok(_) => Ok(()),
        // All conflicts were lost to clients that opened the database at the same time, and one of them did
        // the work.
        Err(error) if error.is_conflict() && read_version().await.map_err(failed)? == Some(VERSION) => Ok(()),
        Err(error) => Err(failed(error)),
    }
}

/// Copies the packets of source `meeting` into their own table, where version 3 reads them. It goes meeting
/// by meeting, so that no transaction is large; after an interruption it can run again.
async fn copy_lifecycle(connection: &Connection) -> Result<(), QueryError> {
    const COPY: &QueryText = &["INSERT IGNORE INTO lifecycle
        (SELECT *, type::record('lifecycle', record::id(id)) AS id FROM $range WHERE source = $source)
        RETURN NONE"];
    let results = connection.query(SELECT_MEETING_IDS, || Ok(Variables::new())).await?;
    for meeting in decode::rows(results, |row| row.meeting_id())? {
        let range = || {
            let range = ids::all_of(ids::PACKETS, &meeting);
            Ok(values::variables([("range", range), ("source", values::text(Lifecycle::SOURCE))]))
        };
        connection.query(COPY, range).await?;
    }
    Ok(())
}

/// Dates each meeting and lists it, where version 4 looks for it. It goes meeting by meeting; after an
/// interruption it can run again.
async fn list_meetings(connection: &Connection) -> Result<(), QueryError> {
    const FIRST: &QueryText = &["SELECT VALUE received_at FROM $range ORDER BY id LIMIT 1"];
    const LIST: &QueryText = &["BEGIN;
        UPDATE $id SET created = $created, place = $place,
            last = last ?? array::last((SELECT VALUE record::id(id)[1] FROM $packets)) RETURN NONE;
        INSERT IGNORE INTO listed { id: $listed } RETURN NONE;
        FOR $open IN (SELECT VALUE type::record('open', place) FROM $id WHERE status != 'ended') {
            INSERT IGNORE INTO open { id: $open } RETURN NONE
        };
        COMMIT"];
    let results = connection.query(SELECT_MEETING_IDS, || Ok(Variables::new())).await?;
    for meeting in decode::rows(results, |row| row.meeting_id())? {
        let lifecycle = || Ok(values::variables([("range", ids::all_of(ids::LIFECYCLE, &meeting))]));
        let mut first = connection.query(FIRST, lifecycle).await?;
        let created = first.take::<Vec<Value>>(0)?.first().and_then(values::as_moment);
        let list = || {
            let place = ids::place(created, &meeting);
            Ok(values::variables([
                ("id", ids::meeting_id(&meeting)),
                ("created", created.map_or(Value::None, values::moment)),
                ("place", Value::Array(place.iter().cloned().collect())),
                ("packets", ids::all_of(ids::PACKETS, &meeting)),
                ("listed", ids::place_id(ids::LISTED, place)),
            ]))
        };
        connection.query(LIST, list).await?;
    }
    Ok(())
}
