//! Leases of nodes, and the meetings that they own.
//!
//! The time of a lease is the database's: every statement that asks whether it is over compares with `time::now()` there, and no
//! time of another machine comes in. A renewal and an end write the same row, so that of two transactions on one snapshot one
//! loses the conflict and starts over. A claim reads its node's lease and doesn't write it, so that claims of a node don't wait
//! for each other; one that is stored just after the lease ended is found by [`OpenDatabase::owned_meetings`].

use std::{sync::Arc, time::Duration};

use surrealdb::types::{Value, Variables};
use teammy_kernel::{
    MeetingId, MeetingMetadata, Name, Seq, Timestamp,
    store::{self, Epoch, Incarnation, LeaseRecord, MeetingRecord},
};
use tokio::time::timeout;

use super::{
    connection::QueryText,
    connection_manager::QueryKind,
    decode::{self, StoredRow},
    error::{Cause, QueryError},
    ids,
    meetings::new_meeting,
    open_database::OpenDatabase,
    values::{by_id, number, text, variables},
};

const TAKE: &QueryText = &["
    LET $is_there = (SELECT VALUE id FROM $id) != [];
    LET $taken = IF !$is_there {
        (CREATE $id SET status = 'held', until = time::now() + duration::from_micros($ttl), document = $document)
    } ELSE { [] };
    LET $renewed = IF $is_there {
        (UPDATE $id SET until = time::now() + duration::from_micros($ttl), document = $document
            WHERE status = 'held' AND until > time::now() RETURN VALUE status)
    } ELSE { [] };
    SELECT VALUE done FROM [{ done: $taken != [] OR $renewed != [] }];
    "];
const RENEW: &QueryText = &["
    LET $renewed = (UPDATE $id SET until = time::now() + duration::from_micros($ttl), document = $document
        WHERE status = 'held' AND until > time::now() RETURN VALUE status);
    SELECT VALUE done FROM [{ done: $renewed != [] }];
    "];
const RELEASE: &QueryText = &["
    LET $released = (UPDATE $id SET status = 'released' WHERE status = 'held' RETURN VALUE status);
    SELECT VALUE done FROM [{ done: true }];
    "];
const END: &QueryText = &["
    LET $ended = (UPDATE $id SET status = 'expired'
        WHERE status = 'held' AND until <= time::now() RETURN VALUE status);
    LET $held = (SELECT VALUE id FROM $id WHERE status = 'held');
    SELECT VALUE done FROM [{ done: $held = [] }];
    "];
const REMOVE: &QueryText = &["
    LET $removed = (DELETE $id WHERE status != 'held' RETURN BEFORE);
    LET $held = (SELECT VALUE id FROM $id);
    SELECT VALUE done FROM [{ done: $held = [] }];
    "];
const ALL: &QueryText = &["SELECT id, status, document,
    IF until > time::now() { duration::micros(until - time::now()) } ELSE { 0 } AS left FROM lease ORDER BY id"];

const CREATE_AS: &QueryText = &["
    LET $live = (SELECT VALUE id FROM $lease WHERE status = 'held' AND until > time::now());
    LET $created = IF $live != [] OR (SELECT VALUE id FROM $id) != [] {
        CREATE $id CONTENT $row RETURN NONE;
        INSERT IGNORE INTO listed { id: $listed } RETURN NONE;
        INSERT IGNORE INTO open { id: $open } RETURN NONE;
        INSERT IGNORE INTO owned { id: $owned } RETURN NONE
    } ELSE { [] };
    SELECT VALUE done FROM [{ done: $live != [] }];
    "];
const CLAIM_AS: &QueryText = &["
    LET $live = (SELECT VALUE id FROM $lease WHERE status = 'held' AND until > time::now());
    LET $before = (SELECT VALUE owner FROM $id WHERE owner != NONE);
    LET $held = (SELECT VALUE id FROM $before.map(|$owner| type::record('lease', $owner))
        WHERE status = 'held' AND id != $lease);
    LET $claimed = IF $live != [] AND $held = [] {
        (UPDATE $id SET epoch += 1, reserved += $reserve, owner = $owner WHERE forgotten != true RETURN AFTER)
    } ELSE { [] };
    LET $noted = IF $claimed != [] {
        FOR $old IN $before { DELETE type::record('owned', array::append($old, $meeting)) RETURN NONE };
        INSERT IGNORE INTO owned { id: $owned } RETURN NONE;
        FOR $row IN $claimed {
            IF $row.place != NONE { INSERT IGNORE INTO open { id: type::record('open', $row.place) } RETURN NONE }
        }
    } ELSE { NONE };
    SELECT * FROM $claimed;
    "];
const PASS_ON: &QueryText = &["
    LET $can = $owner = NONE OR (SELECT VALUE id FROM $lease WHERE status = 'held') != [];
    LET $before = (SELECT VALUE owner FROM $id WHERE owner != NONE AND epoch = $epoch);
    LET $passed = IF $can {
        (UPDATE $id SET owner = $owner WHERE epoch = $epoch AND forgotten != true RETURN VALUE epoch)
    } ELSE { [] };
    LET $noted = IF $passed != [] {
        FOR $old IN $before { DELETE type::record('owned', array::append($old, $meeting)) RETURN NONE };
        IF $owner != NONE { INSERT IGNORE INTO owned { id: $owned } RETURN NONE }
    } ELSE { NONE };
    SELECT VALUE done FROM [{ done: $passed != [] }];
    "];
const OWNED: &QueryText = &["SELECT id FROM
    (SELECT VALUE type::record('meeting', [record::id(id)[2]]) FROM $range)
    WHERE status != 'ended' AND owner = $owner LIMIT $limit"];

fn micros(ttl: Duration) -> Result<Value, Cause> {
    number(u64::try_from(ttl.as_micros()).unwrap_or(u64::MAX))
}

fn doing_renewal(holder: &Incarnation) -> String {
    format!("renewing the lease of node {holder}")
}

impl OpenDatabase {
    /// Runs a transaction that says whether it did something.
    async fn done(
        &self,
        statements: &QueryText,
        doing: impl Fn() -> String,
        values: impl Fn() -> Result<Variables, Cause>,
    ) -> Result<bool, store::Error> {
        self.did(statements, values).await.map_err(|error| error.into_store(doing))
    }

    async fn hold(
        &self,
        statements: &QueryText,
        holder: &Incarnation,
        ttl: Duration,
        document: &Arc<str>,
    ) -> Result<bool, store::Error> {
        let values = || {
            Ok(variables([
                ("id", ids::lease_id(holder)),
                ("ttl", micros(ttl)?),
                ("document", text(document)),
            ]))
        };
        self.done(statements, || doing_renewal(holder), values).await
    }

    pub(super) async fn take_lease(
        &self,
        holder: Incarnation,
        ttl: Duration,
        document: Arc<str>,
    ) -> Result<bool, store::Error> {
        self.hold(TAKE, &holder, ttl, &document).await
    }

    /// A server has a third of the lease to answer, so that there is time for another try over another connection.
    pub(super) async fn renew_lease(
        &self,
        holder: Incarnation,
        ttl: Duration,
        document: Arc<str>,
    ) -> Result<bool, store::Error> {
        let renewal = self.hold(RENEW, &holder, ttl, &document);
        if self.is_embedded() {
            return renewal.await;
        }
        let limit = ttl / 3;
        match timeout(limit, renewal).await {
            Ok(renewed) => renewed,
            Err(_) => Err(QueryError::Timeout(limit).into_store(|| doing_renewal(&holder))),
        }
    }

    pub(super) async fn release_lease(&self, holder: Incarnation) -> Result<(), store::Error> {
        let doing = || format!("giving back the lease of node {holder}");
        self.done(RELEASE, doing, || Ok(by_id(ids::lease_id(&holder)))).await.map(drop)
    }

    pub(super) async fn end_lease(&self, holder: Incarnation) -> Result<bool, store::Error> {
        let doing = || format!("ending the lease of node {holder}");
        self.done(END, doing, || Ok(by_id(ids::lease_id(&holder)))).await
    }

    pub(super) async fn remove_lease(&self, holder: Incarnation) -> Result<bool, store::Error> {
        let doing = || format!("removing the lease of node {holder}");
        self.done(REMOVE, doing, || Ok(by_id(ids::lease_id(&holder)))).await
    }

    pub(super) async fn read_leases(&self) -> Result<Vec<LeaseRecord>, store::Error> {
        let doing = || "reading leases".to_owned();
        let values = || Ok(Variables::new());
        let mut leases = self.rows(QueryKind::Read, ALL, values, doing, StoredRow::lease).await?;
        leases.sort_by(|a, b| a.holder.cmp(&b.holder));
        Ok(leases)
    }

    pub(super) async fn create_owned(
        &self,
        owner: Incarnation,
        metadata: MeetingMetadata,
        instances: Vec<Name>,
        reserve: Seq,
        created: Timestamp,
    ) -> Result<MeetingRecord, store::Error> {
        let mut meeting = MeetingRecord::first(metadata, instances, reserve, created);
        meeting.owner = Some(owner.clone());
        let id = &meeting.metadata.id;
        let values = || {
            let mut values = new_meeting(&meeting)?;
            values.insert("lease", ids::lease_id(&owner));
            values.insert("owned", ids::owned_id(&owner, id));
            Ok(values)
        };
        match self.did(CREATE_AS, values).await {
            Ok(true) => Ok(meeting),
            Ok(false) => Err(store::Error::LeaseEnded(owner)),
            Err(QueryError::Database(error)) if error.is_already_exists() => {
                Err(store::Error::Exists(meeting.metadata.id))
            }
            Err(error) => Err(error.into_store(|| format!("creating meeting {id}"))),
        }
    }

    pub(super) async fn claim_owned(
        &self,
        owner: Incarnation,
        meeting: MeetingId,
        reserve: u64,
    ) -> Result<MeetingRecord, store::Error> {
        let values = || {
            Ok(variables([
                ("id", ids::meeting_id(&meeting)),
                ("meeting", text(meeting.as_str())),
                ("reserve", number(reserve)?),
                ("owner", ids::holder(&owner)),
                ("lease", ids::lease_id(&owner)),
                ("owned", ids::owned_id(&owner, &meeting)),
            ]))
        };
        let results = self.transaction(CLAIM_AS, values).await;
        let claimed = results.and_then(|results| decode::rows(results, StoredRow::meeting));
        let claimed =
            claimed.map_err(|error| error.into_store(|| format!("claiming meeting {meeting}")))?.pop();
        match claimed {
            Some(claimed) => Ok(claimed),
            None => Err(self.why_not_claimed(owner, meeting).await?),
        }
    }

    /// Why a claim had no effect, as far as it is known now.
    async fn why_not_claimed(
        &self,
        owner: Incarnation,
        meeting: MeetingId,
    ) -> Result<store::Error, store::Error> {
        if !self.read_leases().await?.iter().any(|lease| lease.holder == owner && lease.is_live()) {
            return Ok(store::Error::LeaseEnded(owner));
        }
        let row = self.read_meeting(&meeting).await?;
        Ok(match row.and_then(|row| row.owner) {
            Some(owner) => store::Error::Owned { meeting, owner },
            None => store::Error::NotFound(meeting),
        })
    }

    pub(super) async fn pass_meeting_on(
        &self,
        meeting: MeetingId,
        epoch: Epoch,
        to: Option<Incarnation>,
    ) -> Result<bool, store::Error> {
        let values = || {
            Ok(variables([
                ("id", ids::meeting_id(&meeting)),
                ("meeting", text(meeting.as_str())),
                ("epoch", number(epoch.0)?),
                ("owner", to.as_ref().map_or(Value::None, ids::holder)),
                ("lease", to.as_ref().map_or(Value::None, ids::lease_id)),
                ("owned", to.as_ref().map_or(Value::None, |to| ids::owned_id(to, &meeting))),
            ]))
        };
        self.done(PASS_ON, || format!("passing meeting {meeting} on"), values).await
    }

    pub(super) async fn owned_meetings(
        &self,
        owner: Incarnation,
        limit: usize,
    ) -> Result<Vec<MeetingId>, store::Error> {
        let values = || {
            Ok(variables([
                ("range", ids::owned_by(&owner)),
                ("owner", ids::holder(&owner)),
                ("limit", number(limit as u64)?),
            ]))
        };
        let doing = || format!("listing the meetings of node {owner}");
        let mut found = self.rows(QueryKind::Read, OWNED, values, doing, |row| row.meeting_id()).await?;
        found.sort_unstable();
        Ok(found)
    }
}
