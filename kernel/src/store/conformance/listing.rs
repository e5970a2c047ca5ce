//! Which meetings are listed, in which order, and page by page.

use std::collections::BTreeSet;

use super::{
    fixture::Fixture,
    samples::{Numbers, ODD_IDS, at, commit, commit_one, create, list, meeting, row},
};
use crate::{
    MeetingId, MeetingMetadata, Seq, Timestamp,
    store::{MeetingQuery, MeetingRecord, MeetingStatus, Outcome, Store},
};

async fn create_at(store: &dyn Store, metadata: MeetingMetadata, created: Timestamp) -> MeetingRecord {
    store.create(metadata, vec![], Seq(100), created).await.expect("a new meeting is created")
}

/// Writes the next commit, with this status.
async fn set_status(store: &dyn Store, id: &MeetingId, status: MeetingStatus) {
    let row = row(store, id).await;
    let mut next = commit(id, row.epoch.0, row.commit + 1);
    next.status = status;
    assert_eq!(commit_one(store, next).await, Outcome::Applied);
}

/// The ids of rows that match, in the order of a listing.
fn expected(rows: &[MeetingRecord], query: &MeetingQuery) -> Vec<MeetingId> {
    let mut matching: Vec<_> =
        rows.iter().filter(|row| query.matches(row)).map(MeetingRecord::cursor).collect();
    matching.sort();
    matching.into_iter().map(|cursor| cursor.id).collect()
}

/// The newest comes first; of one time the lowest id. Odd ids, long ones, and times before 1970 included.
pub async fn meetings_are_listed_newest_first(fixture: Fixture) {
    let store = &*fixture.store;
    assert_eq!(list(store, MeetingQuery::default()).await, Vec::<MeetingId>::new());
    let long = "é".repeat(127) + "x";
    let ids = ODD_IDS.iter().copied().chain([long.as_str(), "B", "a", "ä", "aa", "a a"]);
    let times =
        [at(0), at(-1), "1969-12-31T23:59:59.5Z".parse().expect("invariant: a time")].into_iter().chain(
            ["0001-01-01T00:00:00Z", "9999-12-30T00:00:00Z"]
                .map(|time| time.parse::<Timestamp>().expect("invariant: a time")),
        );
    let mut rows = Vec::new();
    for (id, created) in ids.zip(times.cycle()) {
        rows.push(create_at(store, MeetingMetadata::new(meeting(id)), created).await);
    }
    let ordered = expected(&rows, &MeetingQuery::default());
    for limit in [1, 2, 5, 17, 18, 100, usize::MAX] {
        let query = MeetingQuery::default().limit(limit);
        assert_eq!(list(store, query.clone()).await, ordered, "in pages of {limit}");
        let page = store.meetings(query).await.expect("meetings are listed");
        assert_eq!(page.meetings.len(), limit.min(rows.len()));
        assert_eq!(page.next.is_some(), limit < rows.len(), "{limit}");
        for listed in page.meetings {
            assert_eq!(listed, row(store, &listed.metadata.id).await, "a listed row is the row");
        }
    }
    let none = store.meetings(MeetingQuery::default().limit(0)).await.expect("meetings are listed");
    assert_eq!(none.meetings.len(), 1, "a page has at least one, so that a reader gets on");
}

/// Statuses, labels, times and pages, in all combinations, give what [`MeetingQuery::matches`] says.
pub async fn listings_answer_as_the_model_does(fixture: Fixture) {
    const MEETINGS: u64 = 60;
    let store = &*fixture.store;
    let statuses = [MeetingStatus::Running, MeetingStatus::Ending, MeetingStatus::Ended];
    let mut numbers = Numbers::new(0x7ea);
    let mut rows = Vec::new();
    for index in 0..MEETINGS {
        let id = meeting(&format!("meeting {}", numbers.below(1_000_000) * MEETINGS + index));
        let mut metadata = MeetingMetadata::new(id.clone()).title("a title");
        for key in ["team", "it's `odd` $key"] {
            if numbers.below(3) > 0 {
                metadata = metadata.label(key, ["maps", ""][index_below(&mut numbers, 2)]);
            }
        }
        create_at(store, metadata, at(index_below(&mut numbers, 12).try_into().unwrap_or(0))).await;
        match statuses[index_below(&mut numbers, 3)] {
            MeetingStatus::Running if numbers.below(2) == 0 => {}
            status => set_status(store, &id, status).await,
        }
        rows.push(row(store, &id).await);
    }
    for _ in 0..80 {
        let mut query = MeetingQuery::default().limit(1 + index_below(&mut numbers, 25));
        if numbers.below(3) > 0 {
            query = query.statuses(statuses.into_iter().filter(|_| numbers.below(2) == 0));
        }
        if numbers.below(3) == 0 {
            query = query.label("team", ["maps", "", "none"][index_below(&mut numbers, 3)]);
        }
        if numbers.below(3) == 0 {
            query = query.label("it's `odd` $key", "maps");
        }
        if numbers.below(3) == 0 {
            query = query.from(at(index_below(&mut numbers, 13).try_into().unwrap_or(0)));
        }
        if numbers.below(3) == 0 {
            query = query.to(at(index_below(&mut numbers, 13).try_into().unwrap_or(0)));
        }
        if numbers.below(3) == 0 {
            query = query.after(rows[index_below(&mut numbers, rows.len())].cursor());
        }
        assert_eq!(list(store, query.clone()).await, expected(&rows, &query), "{query:?}");
        let page = store.meetings(query.clone()).await.expect("meetings are listed");
        let full = expected(&rows, &query);
        assert_eq!(page.meetings.len(), full.len().min(query.limit), "{query:?}");
        assert_eq!(page.next.is_some(), full.len() > query.limit, "{query:?}");
    }
}

fn index_below(numbers: &mut Numbers, bound: usize) -> usize {
    usize::try_from(numbers.below(bound as u64)).unwrap_or(0)
}

/// While meetings are created, end and are forgotten, a reader gets every meeting that stays once, and none
/// twice.
pub async fn pages_go_on_while_meetings_come_and_go(fixture: Fixture) {
    let store = &*fixture.store;
    for number in 0..30 {
        create_at(store, MeetingMetadata::new(meeting(&format!("m {number:02}"))), at(number)).await;
    }
    let mut query = MeetingQuery::default().limit(4);
    let mut listed = Vec::new();
    for round in 0.. {
        let page = store.meetings(query.clone()).await.expect("meetings are listed");
        listed.extend(page.meetings.into_iter().map(|row| row.metadata.id));
        let Some(next) = page.next else { break };
        // The meeting where the next page begins is gone, and so is one that was not listed yet; others come
        // before that place; one that was listed ends.
        assert!(store.forget(next.id.clone()).await.expect("a meeting is forgotten"));
        let ahead = meeting(&format!("m {round:02}"));
        if !listed.contains(&ahead) {
            assert!(store.forget(ahead).await.expect("a meeting is forgotten"));
        }
        create_at(store, MeetingMetadata::new(meeting(&format!("new {round}"))), at(100 + round)).await;
        let present = listed[listed.len() - 2].clone();
        set_status(store, &present, MeetingStatus::Ended).await;
        query.after = Some(next);
    }
    let once: BTreeSet<_> = listed.iter().collect();
    assert_eq!(once.len(), listed.len(), "none is listed twice: {listed:?}");
    let stayed = list(store, MeetingQuery::default().to(at(50))).await;
    assert!(stayed.len() > 10);
    for id in stayed {
        assert!(once.contains(&id), "{id} was there all the time");
    }
    assert!(listed.iter().all(|id| id.as_str().starts_with("m ")), "newer ones come before the reader");
}

/// A listing of open meetings follows a meeting's status: to its end, through a reopening, to the next end.
pub async fn open_meetings_are_listed_until_they_end(fixture: Fixture) {
    let store = &*fixture.store;
    for id in ["a", "b", "c"] {
        create(store, id).await;
    }
    let (a, b, c) = (meeting("a"), meeting("b"), meeting("c"));
    let open = async || list(store, MeetingQuery::open()).await;
    let ended = async || list(store, MeetingQuery::default().statuses([MeetingStatus::Ended]).limit(1)).await;
    set_status(store, &a, MeetingStatus::Ending).await;
    assert_eq!((open().await, ended().await), (vec![a.clone(), b.clone(), c.clone()], vec![]));
    set_status(store, &a, MeetingStatus::Ended).await;
    set_status(store, &b, MeetingStatus::Ended).await;
    assert_eq!((open().await, ended().await), (vec![c.clone()], vec![a.clone(), b.clone()]));
    // An ended meeting may be claimed: it is open only once a commit says so.
    for round in 0..2 {
        store.claim(a.clone(), 10).await.expect("a meeting is claimed");
        assert_eq!((open().await, ended().await), (vec![c.clone()], vec![a.clone(), b.clone()]), "{round}");
    }
    set_status(store, &a, MeetingStatus::Running).await;
    assert_eq!((open().await, ended().await), (vec![a.clone(), c.clone()], vec![b.clone()]));
    set_status(store, &a, MeetingStatus::Ended).await;
    assert_eq!((open().await, ended().await), (vec![c.clone()], vec![a.clone(), b.clone()]));
    // A fenced end changes nothing.
    store.claim(c.clone(), 10).await.expect("a meeting is claimed");
    let mut late = commit(&c, 1, 1);
    late.status = MeetingStatus::Ended;
    assert_eq!(commit_one(store, late).await, Outcome::Fenced);
    assert_eq!(open().await, vec![c.clone()]);
    // In a batch each commit says it for its own meeting.
    create(store, "d").await;
    let mut ends = commit(&c, 2, 1);
    ends.status = MeetingStatus::Ended;
    let outcomes = store.commit(&[ends, commit(&meeting("d"), 1, 1)]).await;
    assert_eq!(outcomes.expect("a batch is committed"), [Outcome::Applied; 2]);
    assert_eq!(open().await, [meeting("d")]);
    assert!(store.forget(meeting("d")).await.expect("a meeting is forgotten"));
    assert!(store.forget(b).await.expect("a meeting is forgotten"));
    assert_eq!((open().await, ended().await), (vec![], vec![a, c]));
}
