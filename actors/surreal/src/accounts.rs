//! Documents that several owners change.

use std::{collections::HashMap, sync::Arc};

use surrealdb::types::{Array, Value};
use teammy_kernel::store::{self, AccountId, AccountRecord};

use super::{
    connection::QueryText,
    connection_manager::QueryKind,
    decode::StoredRow,
    error::Cause,
    ids,
    open_database::{OpenDatabase, SELECT},
    values::{self, number, text, variables},
};

/// Writes all accounts if each has the version that was read, and says whether it did. What reads a row here also writes
/// it, so of two transactions on one snapshot one loses the conflict and starts over.
const REPLACE: &QueryText = &["
    LET $fits = $parts.map(|$part| $part.id.version ?? 0) = $versions;
    IF $fits {
        FOR $part IN $parts {
            UPSERT $part.id SET version = $part.version + 1, document = $part.document RETURN NONE
        }
    };
    SELECT VALUE fits FROM [{ fits: $fits }];
    "];

fn doing() -> String {
    "reading accounts".to_owned()
}

impl OpenDatabase {
    pub(super) async fn read_accounts(
        &self,
        ids: Vec<AccountId>,
    ) -> Result<Vec<AccountRecord>, store::Error> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let all = || {
            let records: Vec<Value> = ids.iter().map(ids::account_id).collect();
            Ok(values::by_id(Value::Array(Array::from(records))))
        };
        let rows = self.rows(QueryKind::Read, SELECT, all, doing, StoredRow::account).await?;
        let mut found: HashMap<(String, String), (u64, Arc<str>)> = rows
            .into_iter()
            .map(|(meeting, key, version, document)| ((meeting, key), (version, document)))
            .collect();
        let read = |id: AccountId| {
            let meeting = id.meeting.as_ref().map_or_else(String::new, |meeting| meeting.as_str().to_owned());
            match found.remove(&(meeting, id.key.clone())) {
                Some((version, document)) => AccountRecord { id, version, document },
                None => AccountRecord::absent(id),
            }
        };
        Ok(ids.into_iter().map(read).collect())
    }

    pub(super) async fn write_accounts(&self, accounts: &[AccountRecord]) -> Result<bool, store::Error> {
        if accounts.is_empty() {
            return Ok(true);
        }
        let parts = || {
            let part = |account: &AccountRecord| -> Result<Value, Cause> {
                let part = [
                    ("id", ids::account_id(&account.id)),
                    ("version", number(account.version)?),
                    ("document", text(&account.document)),
                ];
                Ok(Value::Object(values::object(part)))
            };
            let versions = accounts.iter().map(|account| number(account.version));
            let (parts, versions): (Result<Vec<_>, _>, Result<Vec<_>, _>) =
                (accounts.iter().map(part).collect(), versions.collect());
            Ok(variables([
                ("parts", Value::Array(Array::from(parts?))),
                ("versions", Value::Array(Array::from(versions?))),
            ]))
        };
        let doing = || "changing accounts".to_owned();
        self.did(REPLACE, parts).await.map_err(|error| error.into_store(doing))
    }
}
