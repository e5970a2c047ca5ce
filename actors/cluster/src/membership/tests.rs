use teammy_kernel::{MeetingId, MeetingMetadata, Name, Seq, Timestamp, store::MemoryStore};
use tokio::time::{Duration, advance, sleep};

use super::*;

const TTL: Duration = Duration::from_secs(6);

fn incarnation(node: &str, boot: u64) -> Incarnation {
    Incarnation { node: Name::new(node).unwrap(), boot }
}

async fn join(store: &MemoryStore, node: &str, boot: u64) -> Membership {
    let document = NodeDocument { link: Some(format!("{node}:7700")), ..NodeDocument::default() };
    Membership::join(Arc::new(store.clone()), incarnation(node, boot), document, Timing::of(TTL))
        .await
        .unwrap()
}

fn names(view: &View) -> Vec<String> {
    view.members.iter().map(|member| member.incarnation.to_string()).collect()
}

/// Waits until a view is as wanted; paused time goes on meanwhile.
async fn until(membership: &Membership, wanted: impl FnMut(&View) -> bool) -> View {
    let mut view = membership.view();
    tokio::time::timeout(100 * TTL, view.wait_for(wanted)).await.expect("it never comes").unwrap().clone()
}

const A: &str = "a.0000000000000001";
const B: &str = "b.0000000000000001";

#[tokio::test(start_paused = true)]
async fn members_see_each_other_and_what_they_tell() {
    let store = MemoryStore::default();
    let a = join(&store, "a", 1).await;
    assert_eq!(names(&a.view().borrow()), [A]);
    let b = join(&store, "b", 1).await;
    assert_eq!(names(&b.view().borrow()), [A, B], "at once");
    let began = Instant::now();
    until(&a, |view| names(view) == [A, B]).await;
    assert!(began.elapsed() <= TTL / 6);
    b.tell(NodeDocument { reserved: 7, ..NodeDocument::default() }).await;
    let view = until(&a, |view| view.members[1].document.reserved == 7).await;
    assert_eq!((view.members[0].document.link.as_deref(), view.is_member), (Some("a:7700"), true));
    // As long as they renew, nobody ends.
    sleep(20 * TTL).await;
    assert_eq!(names(&a.view().borrow()), [A, B]);
    assert_eq!(store.leases().all_leases().await.unwrap().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_dies_is_ended_by_another_one_when_its_time_is_over() {
    let store = MemoryStore::default();
    let (a, b) = (join(&store, "a", 1).await, join(&store, "b", 1).await);
    let owner = b.incarnation().clone();
    let meeting = MeetingId::new("m").unwrap();
    let metadata = MeetingMetadata::new(meeting.clone());
    let created = store.leases().create_as(owner.clone(), metadata, vec![], Seq(10), Timestamp::UNIX_EPOCH);
    created.await.unwrap();
    let refused = store.leases().claim_as(a.incarnation().clone(), meeting.clone(), 1).await;
    assert!(matches!(refused, Err(store::Error::Owned { .. })), "{refused:?}");
    let died = Instant::now();
    drop(b);
    let view = until(&a, |view| view.ended.contains(&owner)).await;
    assert_eq!((names(&view), view.is_member), (vec![A.to_owned()], true));
    let after = died.elapsed();
    // Its last renewal was up to a sixth before, and the end is looked for when it is due.
    assert!(after >= TTL * 5 / 6 && after <= TTL + TTL / 100, "{after:?}");
    assert_eq!(store.leases().owned(owner, 10).await.unwrap(), std::slice::from_ref(&meeting));
    store.leases().claim_as(a.incarnation().clone(), meeting, 1).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_node_that_leaves_is_not_waited_for() {
    let store = MemoryStore::default();
    let (a, b) = (join(&store, "a", 1).await, join(&store, "b", 1).await);
    let mut of_b = b.view();
    let left = Instant::now();
    b.leave().await;
    assert!(!of_b.borrow_and_update().is_member);
    until(&a, |view| view.ended == [incarnation("b", 1)]).await;
    assert!(left.elapsed() <= TTL / 6);
    // Started again, it is another member.
    let again = join(&store, "b", 2).await;
    assert_eq!(names(&again.view().borrow()), [A, "b.0000000000000002"]);
    let late =
        Membership::join(Arc::new(store), incarnation("b", 1), NodeDocument::default(), Timing::of(TTL))
            .await;
    assert!(matches!(late, Err(Error::Ended(_))), "{late:?}");
}

/// A process that is stopped and goes on later finds that its time is over before it can be told so.
#[tokio::test(start_paused = true)]
async fn a_frozen_node_lets_go_as_soon_as_it_runs_again() {
    let store = MemoryStore::default();
    let a = join(&store, "a", 1).await;
    // Nothing of it runs meanwhile.
    advance(2 * TTL).await;
    let view = until(&a, |view| !view.is_member).await;
    assert!(!view.is_member);
    // Nobody has ended the lease: it did so by its own clock.
    assert_eq!(store.leases().all_leases().await.unwrap()[0].status, LeaseStatus::Held);
    assert!(!store.leases().renew_lease(incarnation("a", 1), TTL, "{}".into()).await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_document_of_another_version_is_read_as_far_as_it_is_known() {
    let store = MemoryStore::default();
    let a = join(&store, "a", 1).await;
    let later = incarnation("b", 1);
    for (document, capacity) in
        [(r#"{"capacity":5,"something":{"new":1}}"#, 5), ("{}", 0), ("what is this", 0)]
    {
        assert!(store.leases().take_lease(later.clone(), TTL, document.into()).await.unwrap());
        let view =
            until(&a, |view| view.members.len() == 2 && view.members[1].document.capacity == capacity).await;
        assert_eq!(view.members[1].incarnation, later);
    }
}
