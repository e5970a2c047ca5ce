//! What requests to language models have cost.

use std::{collections::BTreeMap, sync::Arc};

use futures::{StreamExt, TryStreamExt, stream};
use teammy_kernel::{
    Charges, MeetingId, Name, Store, Timestamp,
    ledger::{PREFIX, UsageRow},
    store::{Error, MeetingQuery},
};

/// How many meetings are read at once.
const AT_ONCE: usize = 16;

/// What the requests of a meeting's instances have cost, by instance, hour and model, oldest first; or those of all
/// meetings, added up. With `since` only hours that end later.
///
/// The cost of reading all meetings grows with their number.
///
/// # Errors
/// The store's.
pub async fn usage(
    store: &dyn Store,
    meeting: Option<&MeetingId>,
    since: Option<Timestamp>,
) -> Result<Vec<UsageRow>, Error> {
    let mut rows = match meeting {
        Some(meeting) => of_meeting(store, meeting.clone(), since).await?,
        None => of_all(store, MeetingQuery::default(), since).await?,
    };
    sort(&mut rows);
    Ok(rows)
}

/// What the requests of all meetings that match a query have cost, added up. With `since` only hours that end later.
///
/// # Errors
/// The store's.
pub async fn usage_of(
    store: &dyn Store,
    query: MeetingQuery,
    since: Option<Timestamp>,
) -> Result<Vec<UsageRow>, Error> {
    let mut rows = of_all(store, query, since).await?;
    sort(&mut rows);
    Ok(rows)
}

fn sort(rows: &mut [UsageRow]) {
    rows.sort_by(|a, b| (a.hour, &a.instance, &a.model).cmp(&(b.hour, &b.instance, &b.model)));
}

async fn of_meeting(
    store: &dyn Store,
    meeting: MeetingId,
    since: Option<Timestamp>,
) -> Result<Vec<UsageRow>, Error> {
    const HOUR: i64 = 3_600;
    let is_in = |row: &UsageRow| since.is_none_or(|since| row.hour.as_second() + HOUR > since.as_second());
    let mut rows = Vec::new();
    for instance in store.instances(meeting.clone()).await? {
        let keys = store.list(meeting.clone(), instance.instance.clone(), PREFIX.to_owned()).await?;
        let read =
            |(key, value): (String, Arc<str>)| UsageRow::read(&meeting, &instance.instance, &key, &value);
        rows.extend(keys.into_iter().filter_map(read).filter(is_in));
    }
    Ok(rows)
}

async fn of_all(
    store: &dyn Store,
    mut query: MeetingQuery,
    since: Option<Timestamp>,
) -> Result<Vec<UsageRow>, Error> {
    let mut sums: BTreeMap<(Timestamp, Name, String), Charges> = BTreeMap::new();
    loop {
        let page = store.meetings(query.clone()).await?;
        let read = page.meetings.into_iter().map(|record| of_meeting(store, record.metadata.id, since));
        let mut read = stream::iter(read).buffer_unordered(AT_ONCE);
        while let Some(rows) = read.try_next().await? {
            for row in rows {
                *sums.entry((row.hour, row.instance, row.model)).or_default() += row.charges;
            }
        }
        let Some(next) = page.next else { break };
        query.after = Some(next);
    }
    let row = |((hour, instance, model), charges)| UsageRow::sum(instance, hour, model, charges);
    Ok(sums.into_iter().map(row).collect())
}
