//! The schema's version, and the upgrade of an older database.
//!
//! # Versions side by side
//! Nodes that share a database are upgraded one after the other, so programs of two adjacent versions work on it
//! at once, and the newer one upgrades it under the older one. Therefore `teammy:schema` holds, beside `version`,
//! `compatible_from`: the oldest version whose programs can work with the database. A program opens a newer
//! database if this allows it. It writes what its own version writes, leaves alone what it doesn't know, and
//! never lowers the version. A row without this column, as the first programs of version 6 wrote it, is compatible
//! with its own version alone. Programs of earlier versions don't know the column: they refuse each newer database,
//! so an upgrade from them is an upgrade with all nodes stopped.
//!
//! What a version may change:
//! - **An addition** leaves `compatible_from` as it was: an optional column, or a table. Rows that an older program
//!   writes lack it, also after the upgrade. An older program does not know a new table when it forgets a meeting,
//!   so the table holds nothing of a meeting.
//! - **Anything else** raises it to the new version or the one before: a column or a table that goes away or means
//!   something else, a new word of a status, a table that each writer has to keep in step (as `lifecycle`, `listed`
//!   and `open`), or one that holds something of a meeting. It takes two versions, so that no node has to stop:
//!   version N+1 adds the new beside the old, writes both and reads either; version N+2 reads only the new, removes
//!   the old and has N+1 as its `compatible_from`. The check is made when a connection is opened, so no node
//!   of version N may run any more when one of N+2 starts.
//! - An upgrade's steps run while older programs write and other programs make the same upgrade, and again after an
//!   interruption: a step is a transaction that does nothing where it was done.

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
const SCHEMA: Schema = Schema { version: 6, compatible_from: 6 };

/// A version of the schema: what a program writes, or what a database holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Schema {
    version: i64,
    /// The oldest version whose programs can work with it.
    compatible_from: i64,
}

impl Schema {
    /// Whether a program of this version can work with a database.
    fn can_use(self, database: Schema) -> bool {
        self.version >= database.version || self.version >= database.compatible_from
    }
}

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
const FINISH: &QueryText = &[
    "BEGIN;",
    TABLES,
    "IF (teammy:schema.version ?? 0) < $version {
        UPSERT teammy:schema SET version = $version, compatible_from = $compatible_from RETURN NONE
    };
    COMMIT",
];

const SELECT_MEETING_IDS: &QueryText = &["SELECT id FROM meeting"];

/// Checks the schema's version, and upgrades it if it is older. Returns the version if it is newer than this program's.
pub(super) async fn prepare(connection: &Connection, options: &Options) -> Result<Option<i64>, OpenError> {
    prepare_for(SCHEMA, connection, options).await
}

async fn prepare_for(
    program: Schema,
    connection: &Connection,
    options: &Options,
) -> Result<Option<i64>, OpenError> {
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
    let found = read_schema(connection).await.map_err(failed)?;
    let database = match found {
        Some(found) if found.version >= program.version => found,
        _ => {
            if let Some(older) = found {
                info!(%url, from = older.version, to = program.version, "upgrading the database's schema");
                connection.query(DEFINE, || Ok(Variables::new())).await.map_err(failed)?;
                upgrade_rows(connection, older.version).await.map_err(failed)?;
            }
            let finished = finish(connection, program).await;
            match (read_schema(connection).await.map_err(failed)?, finished) {
                // If all conflicts were lost to clients that opened the database at the same time, one of them did the
                // work.
                (Some(now), _) if now.version >= program.version => now,
                (_, Err(error)) => return Err(failed(error)),
                (_, Ok(())) => {
                    return Err(failed(QueryError::Value("the schema's version was not stored".into())));
                }
            }
        }
    };
    if !program.can_use(database) {
        return Err(OpenError::NewerSchema {
            url,
            found: database.version,
            compatible_from: database.compatible_from,
            known: program.version,
        });
    }
    Ok((database.version > program.version).then_some(database.version))
}

/// The schema of a database; `None` if it is empty.
async fn read_schema(connection: &Connection) -> Result<Option<Schema>, QueryError> {
    const READ: &QueryText = &["DEFINE TABLE IF NOT EXISTS teammy SCHEMALESS;
        SELECT VALUE [version, compatible_from ?? version] FROM teammy:schema"];
    let mut results = connection.query(READ, || Ok(Variables::new())).await?;
    let row = results.take::<Vec<(i64, i64)>>(1)?.pop();
    Ok(row.map(|(version, compatible_from)| Schema { version, compatible_from }))
}

/// Makes all tables and stores the version, unless a newer program has done so meanwhile.
async fn finish(connection: &Connection, program: Schema) -> Result<(), QueryError> {
    let version = || {
        Ok(values::variables([
            ("version", Value::Number(program.version.into())),
            ("compatible_from", Value::Number(program.compatible_from.into())),
        ]))
    };
    connection.query(FINISH, version).await.map(drop)
}

/// Brings the rows of an older version up to this one.
async fn upgrade_rows(connection: &Connection, from: i64) -> Result<(), QueryError> {
    if from < 3 {
        copy_lifecycle(connection).await?;
    }
    if from < 4 {
        list_meetings(connection).await?;
    }
    Ok(())
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

/// Dates each meeting that is not listed, and lists it, where version 4 looks for it. It goes meeting by meeting; after an
/// interruption it can run again, and while meetings are created.
async fn list_meetings(connection: &Connection) -> Result<(), QueryError> {
    const FIRST: &QueryText = &["SELECT VALUE received_at FROM $range ORDER BY id LIMIT 1"];
    const LIST: &QueryText = &["BEGIN;
        FOR $row IN (UPDATE $id SET created = $created, place = $place,
            last = last ?? array::last((SELECT VALUE record::id(id)[1] FROM $packets))
            WHERE place = NONE RETURN AFTER) {
            INSERT IGNORE INTO listed { id: $listed } RETURN NONE;
            IF $row.status != 'ended' {
                INSERT IGNORE INTO open { id: type::record('open', $row.place) } RETURN NONE
            }
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

#[cfg(test)]
mod tests;
