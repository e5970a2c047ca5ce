//! Leases, and which node owns a meeting.

use std::{sync::Arc, time::Duration};

use futures::future::join_all;

use super::{
    fixture::Fixture,
    samples::{ODD_IDS, at, commit, commit_one, create, meeting, name, row},
};
use crate::{
    MeetingId, MeetingMetadata, Seq,
    store::{Error, Incarnation, LeaseRecord, LeaseStatus, MeetingRecord, MeetingStatus, Outcome, Store},
};

/// Longer than any case takes.
const LONG: Duration = Duration::from_hours(10);
/// Over before a case asks for it a second time or a few times later.
const SHORT: Duration = Duration::from_millis(1);

fn node(node: &str, boot: u64) -> Incarnation {
    Incarnation { node: name(node), boot }
}

async fn take(store: &dyn Store, holder: &Incarnation, ttl: Duration) -> bool {
    store.leases().take_lease(holder.clone(), ttl, "{}".into()).await.expect("a lease is taken")
}

async fn renew(store: &dyn Store, holder: &Incarnation) -> bool {
    store.leases().renew_lease(holder.clone(), LONG, r#"{"a":1}"#.into()).await.expect("a lease is renewed")
}

async fn end(store: &dyn Store, holder: &Incarnation) -> bool {
    store.leases().end_lease(holder.clone()).await.expect("a lease is ended")
}

/// Ends a lease whose time is nearly over.
async fn end_soon(store: &dyn Store, holder: &Incarnation) {
    while !end(store, holder).await {
        tokio::task::yield_now().await;
    }
}

async fn release(store: &dyn Store, holder: &Incarnation) {
    store.leases().release_lease(holder.clone()).await.expect("a lease is released");
}

async fn leases(store: &dyn Store) -> Vec<LeaseRecord> {
    store.leases().all_leases().await.expect("leases are read")
}

async fn claim(store: &dyn Store, owner: &Incarnation, id: &MeetingId) -> Result<MeetingRecord, Error> {
    store.leases().claim_as(owner.clone(), id.clone(), 10).await
}

async fn create_as(store: &dyn Store, owner: &Incarnation, id: &str) -> Result<MeetingRecord, Error> {
    let metadata = MeetingMetadata::new(meeting(id));
    store.leases().create_as(owner.clone(), metadata, vec![name("minutes")], Seq(100), at(0)).await
}

async fn owned(store: &dyn Store, owner: &Incarnation) -> Vec<MeetingId> {
    store.leases().owned(owner.clone(), 100).await.expect("meetings are listed by owner")
}

/// A lease shows what its holder says, and how long it lasts by the store's clock.
pub async fn a_lease_is_renewed_until_it_ends(fixture: Fixture) {
    let store = &*fixture.store;
    let (a, b) = (node("a", 1), node("b", u64::MAX));
    assert!(leases(store).await.is_empty() && !renew(store, &a).await, "there is none");
    let document: Arc<str> = r#"{"links":"127.0.0.1:7700","quote":"it's \"⟩\""}"#.into();
    assert!(store.leases().take_lease(b.clone(), LONG, document.clone()).await.expect("a lease is taken"));
    assert!(take(store, &a, LONG / 2).await && take(store, &a, LONG / 2).await, "its answer was lost");
    let shown = leases(store).await;
    assert_eq!(shown.iter().map(|lease| &lease.holder).collect::<Vec<_>>(), [&a, &b], "by holder");
    assert_eq!(shown[1].document, document);
    assert!(shown.iter().all(LeaseRecord::is_live), "{shown:?}");
    assert!(shown[0].left <= LONG / 2 && shown[1].left > LONG / 2 && shown[1].left <= LONG, "{shown:?}");
    assert!(renew(store, &a).await);
    let renewed = &leases(store).await[0];
    assert!(renewed.left > LONG / 2 && &*renewed.document == r#"{"a":1}"#, "{renewed:?}");
    // Nobody ends a lease whose time is not over.
    assert!(!end(store, &a).await && renew(store, &a).await);
    let removed = store.leases().remove_lease(a.clone()).await.expect("a lease is removed");
    assert!(!removed && renew(store, &a).await);
    release(store, &a).await;
    assert!(!renew(store, &a).await && end(store, &a).await);
    assert_eq!(leases(store).await[0].status, LeaseStatus::Released);
    assert!(store.leases().remove_lease(a.clone()).await.expect("a lease is removed"));
    assert!(store.leases().remove_lease(a).await.expect("it is gone already"));
    assert_eq!(leases(store).await.len(), 1);
}

/// Neither its holder nor anybody else revives a lease: its time was over, or it was given back.
pub async fn a_lease_that_ended_never_comes_back(fixture: Fixture) {
    let store = &*fixture.store;
    let (late, gone, other) = (node("a", 1), node("a", 2), node("a", 3));
    assert!(
        take(store, &late, SHORT).await && take(store, &gone, LONG).await && take(store, &other, LONG).await
    );
    release(store, &gone).await;
    while leases(store).await[0].is_live() {
        tokio::task::yield_now().await;
    }
    // Its time is over, though nobody has ended it.
    assert_eq!(leases(store).await[0].status, LeaseStatus::Held);
    assert!(!renew(store, &late).await && !take(store, &late, LONG).await);
    assert!(end(store, &late).await);
    for ended in [&late, &gone] {
        assert!(!renew(store, ended).await && !take(store, ended, LONG).await && end(store, ended).await);
        release(store, ended).await;
        release(store, ended).await;
    }
    let statuses: Vec<LeaseStatus> = leases(store).await.iter().map(|lease| lease.status).collect();
    assert_eq!(statuses, [LeaseStatus::Expired, LeaseStatus::Released, LeaseStatus::Held]);
    // Another run of the node has nothing to do with them.
    assert!(renew(store, &other).await && !end(store, &other).await);
    assert!(end(store, &node("nobody", 1)).await, "what is not there has ended");
}

/// Of a renewal and an end that come at once one wins, and the other knows it.
pub async fn a_renewal_and_an_end_race(fixture: Fixture) {
    let store = &*fixture.store;
    for boot in 0..20 {
        let holder = node("a", boot);
        if !take(store, &holder, SHORT * 2).await {
            continue;
        }
        let (renewed, ended) = futures::join!(renew(store, &holder), async {
            let enders = [&holder; 3].map(|holder| end(store, holder));
            join_all(enders).await.contains(&true)
        });
        assert!(!(renewed && ended), "boot {boot}: it was renewed and ended");
        assert_eq!(end(store, &holder).await, !renewed || ended, "boot {boot}");
    }
}

/// A node owns what it creates and claims, and another one gets it when its lease has ended, or when it lets go.
pub async fn a_meeting_is_owned_as_long_as_its_owners_lease_holds(fixture: Fixture) {
    let store = &*fixture.store;
    let (a, b, c) = (node("a", 1), node("b", 1), node("c", 1));
    assert!(take(store, &a, LONG).await && take(store, &b, SHORT).await && take(store, &c, LONG).await);
    let m = create_as(store, &a, "m").await.expect("a meeting is created");
    assert_eq!((m.epoch.0, m.owner.as_ref()), (1, Some(&a)));
    let refused = create_as(store, &c, "m").await;
    assert!(matches!(refused, Err(Error::Exists(_))), "{refused:?}");
    let refused = claim(store, &c, &meeting("m")).await;
    assert!(matches!(&refused, Err(Error::Owned { owner, .. }) if *owner == a), "{refused:?}");
    assert_eq!(row(store, &meeting("m")).await, m, "nothing has changed");
    let again = claim(store, &a, &meeting("m")).await.expect("its owner claims it again");
    assert_eq!((again.epoch.0, again.reserved, again.owner.as_ref()), (2, Seq(110), Some(&a)));
    release(store, &a).await;
    let taken = claim(store, &c, &meeting("m")).await.expect("its owner's lease was given back");
    assert_eq!((taken.epoch.0, taken.owner.as_ref()), (3, Some(&c)));
    assert_eq!(commit_one(store, commit(&meeting("m"), 2, 1)).await, Outcome::Fenced);
    assert_eq!(commit_one(store, commit(&meeting("m"), 3, 1)).await, Outcome::Applied);
    assert_eq!(row(store, &meeting("m")).await.owner.as_ref(), Some(&c), "a commit leaves the owner alone");

    // One that nobody owns is free, and a program without a lease takes any.
    create(store, "free").await;
    assert_eq!(claim(store, &c, &meeting("free")).await.expect("it is free").owner.as_ref(), Some(&c));
    let taken = store.claim(meeting("free"), 10).await.expect("a meeting is claimed");
    assert_eq!((taken.epoch.0, taken.owner), (3, None));
    assert!(!end(store, &c).await);
    let missing = claim(store, &c, &meeting("missing")).await;
    assert!(matches!(missing, Err(Error::NotFound(_))), "{missing:?}");
    end_soon(store, &b).await;
}

/// A node whose lease has ended, or never was, gets nothing; and what it had is free when its lease has ended.
pub async fn meetings_are_owned_by_live_nodes_alone(fixture: Fixture) {
    let store = &*fixture.store;
    let (short, next) = (node("a", 1), node("b", 1));
    create(store, "free").await;
    for nobody in [&short, &node("a", 2)] {
        let refused = claim(store, nobody, &meeting("free")).await;
        assert!(matches!(&refused, Err(Error::LeaseEnded(holder)) if holder == nobody), "{refused:?}");
        let refused = create_as(store, nobody, "new").await;
        assert!(matches!(&refused, Err(Error::LeaseEnded(_))), "{refused:?}");
    }
    assert!(store.meeting(meeting("new")).await.expect("a row is read").is_none());
    assert!(take(store, &next, LONG).await);
    // Made by a node whose time is over soon, if it comes so far.
    assert!(take(store, &short, SHORT * 200).await);
    match create_as(store, &short, "m").await {
        Ok(made) => assert_eq!(made.owner.as_ref(), Some(&short)),
        Err(error) => assert!(matches!(error, Error::LeaseEnded(_)), "{error}"),
    }
    end_soon(store, &short).await;
    let refused = claim(store, &short, &meeting("free")).await;
    assert!(matches!(refused, Err(Error::LeaseEnded(_))), "{refused:?}");
    for id in owned(store, &short).await {
        assert_eq!(claim(store, &next, &id).await.expect("its owner is gone").owner.as_ref(), Some(&next));
    }
    assert!(owned(store, &short).await.is_empty());
}

/// Meetings are found by their owner, until they end, are let go or forgotten.
pub async fn only_the_present_owner_lets_a_meeting_go(fixture: Fixture) {
    let store = &*fixture.store;
    let (a, b) = (node("a", 1), node("a", 2));
    assert!(take(store, &a, LONG).await && take(store, &b, LONG).await);
    let mut ids: Vec<MeetingId> = ODD_IDS.map(meeting).into();
    for id in &ids {
        create_as(store, &a, id.as_str()).await.expect("a meeting is created");
    }
    ids.sort_unstable();
    assert_eq!(owned(store, &a).await, ids);
    assert!(owned(store, &b).await.is_empty());
    assert_eq!(store.leases().owned(a.clone(), 3).await.expect("some are listed"), ids[..3]);
    let pass_on = async |id: &MeetingId, epoch: u64, to: Option<&Incarnation>| {
        let passed = store.leases().pass_on(id.clone(), crate::store::Epoch(epoch), to.cloned()).await;
        passed.expect("a meeting is let go")
    };
    let disown = async |id: &MeetingId, epoch: u64| pass_on(id, epoch, None).await;
    assert!(!disown(&ids[0], 2).await && !disown(&ids[0], 0).await && !disown(&meeting("missing"), 1).await);
    assert_eq!(owned(store, &a).await, ids);
    assert!(disown(&ids[0], 1).await && disown(&ids[0], 1).await);
    assert_eq!(row(store, &ids[0]).await.owner, None);
    assert_eq!(claim(store, &b, &ids[0]).await.expect("it is free").owner.as_ref(), Some(&b));
    assert!(!disown(&ids[0], 1).await, "another node owns it");
    assert_eq!(owned(store, &b).await, ids[..1]);
    // To a node, which then owns it and is to claim it; not to one without a lease.
    assert!(!pass_on(&ids[0], 2, Some(&node("missing", 1))).await && !pass_on(&ids[0], 1, Some(&a)).await);
    assert_eq!(row(store, &ids[0]).await.owner.as_ref(), Some(&b));
    assert!(pass_on(&ids[0], 2, Some(&a)).await);
    assert_eq!(row(store, &ids[0]).await.owner.as_ref(), Some(&a));
    assert!(owned(store, &b).await.is_empty());
    assert_eq!(owned(store, &a).await, ids);
    let refused = claim(store, &b, &ids[0]).await;
    assert!(matches!(&refused, Err(Error::Owned { owner, .. }) if *owner == a), "{refused:?}");
    assert_eq!(claim(store, &a, &ids[0]).await.expect("it was passed on").epoch.0, 3);
    assert!(pass_on(&ids[0], 3, Some(&b)).await);
    assert_eq!(owned(store, &b).await, ids[..1]);
    let mut last = commit(&ids[1], 1, 1);
    last.status = MeetingStatus::Ended;
    assert_eq!(commit_one(store, last).await, Outcome::Applied);
    assert!(store.forget(ids[2].clone()).await.expect("a meeting is forgotten"));
    assert_eq!(owned(store, &a).await, ids[3..]);
    store.claim(ids[3].clone(), 10).await.expect("a program without a lease takes any");
    assert_eq!(owned(store, &a).await, ids[4..]);
}

/// A claim that was under way while its node's lease ended is found under that node, whenever it arrives.
pub async fn a_late_claim_of_a_lost_owner_is_found(fixture: Fixture) {
    let store = &*fixture.store;
    let (lost, next) = (node("a", 1), node("b", 1));
    let ids: Vec<MeetingId> = (0..8).map(|number| meeting(&format!("m{number}"))).collect();
    for id in &ids {
        create(store, id.as_str()).await;
    }
    assert!(take(store, &next, LONG).await && take(store, &lost, SHORT * 5).await);
    let claims = ids.iter().map(|id| claim(store, &lost, id));
    let (claimed, ()) = futures::join!(join_all(claims), end_soon(store, &lost));
    let mut claimed: Vec<MeetingId> = claimed.into_iter().flatten().map(|row| row.metadata.id).collect();
    claimed.sort_unstable();
    assert_eq!(owned(store, &lost).await, claimed);
    for id in &ids {
        assert_eq!(claim(store, &next, id).await.expect("its owner is gone").owner.as_ref(), Some(&next));
    }
    assert!(owned(store, &lost).await.is_empty());
}
