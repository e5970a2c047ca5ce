//! The meetings that a node runs, and those that it is about to.

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;
use teammy_kernel::MeetingId;
use tokio::sync;

use crate::meeting::LocalMeeting;

/// The meetings that a node runs, by id.
pub(super) type Meetings = Arc<Mutex<HashMap<MeetingId, LocalMeeting>>>;

/// The meetings that a node is starting, taking over or forgetting. Who wants to do so with a meeting waits for
/// whoever is at it: two claims at once would only fence one another.
#[derive(Default)]
pub(super) struct Reserved {
    meetings: Mutex<HashMap<MeetingId, Turn>>,
}

/// Whose turn it is. Turns come in the order in which they were asked for.
type Turn = Arc<sync::Mutex<()>>;

impl Reserved {
    /// Waits for the turn to do something with a meeting, which lasts until the guard is dropped.
    ///
    /// # Cancel safety
    /// A dropped call loses its place among those that wait, and delays none of them.
    pub(super) async fn reserve(&self, id: &MeetingId) -> ReservedGuard<'_> {
        let turn = self.meetings.lock().entry(id.clone()).or_default().clone();
        let place = Place { reserved: self, id: id.clone(), turn };
        let held = place.turn.clone().lock_owned().await;
        ReservedGuard { _held: held, _place: place }
    }
}

/// A meeting that only the holder starts, takes over or forgets.
pub(crate) struct ReservedGuard<'a> {
    // Dropped first: the place counts who else holds the turn.
    _held: sync::OwnedMutexGuard<()>,
    _place: Place<'a>,
}

/// One that has the turn or waits for it. The last one removes the entry.
struct Place<'a> {
    reserved: &'a Reserved,
    id: MeetingId,
    turn: Turn,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut meetings = self.reserved.meetings.lock();
        // The entry's and this one's own: clones are made under the lock that is held here.
        if Arc::strong_count(&self.turn) == 2 {
            meetings.remove(&self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::{FutureExt, future::join_all};

    use super::*;

    fn id(id: &str) -> MeetingId {
        MeetingId::new(id).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn turns_come_in_order_and_nothing_is_left_behind() {
        let reserved = Reserved::default();
        let order = Mutex::new(Vec::new());
        let turns = (0..20).map(|number| {
            let (reserved, order) = (&reserved, &order);
            async move {
                let turn = async {
                    let _guard = reserved.reserve(&id("m")).await;
                    order.lock().push(number);
                    tokio::time::sleep(Duration::from_secs(1)).await;
                };
                // Some give up: before their turn, or in it.
                let patience = if number % 3 == 0 { Duration::from_millis(2500) } else { Duration::MAX };
                let _ = tokio::time::timeout(patience, turn).await;
            }
        });
        join_all(turns).await;
        let order = order.into_inner();
        assert!(order.is_sorted(), "{order:?}");
        assert!((0..20).filter(|number| number % 3 > 0).all(|number| order.contains(&number)), "{order:?}");
        assert!(!order.contains(&18), "it had given up: {order:?}");
        assert!(reserved.meetings.lock().is_empty());
    }

    #[tokio::test]
    async fn meetings_do_not_wait_for_one_another() {
        let reserved = Reserved::default();
        let held = reserved.reserve(&id("m")).await;
        assert!(reserved.reserve(&id("n")).now_or_never().is_some());
        assert!(reserved.reserve(&id("m")).now_or_never().is_none());
        drop(held);
        assert!(reserved.reserve(&id("m")).now_or_never().is_some());
        assert!(reserved.meetings.lock().is_empty());
    }
}
