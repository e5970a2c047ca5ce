//! Documents that several owners change.

use futures::future::join_all;

use super::{
    fixture::Fixture,
    samples::{ODD_IDS, create, meeting},
};
use crate::store::{AccountId, AccountRecord, Store};

fn id(of: Option<&str>, key: &str) -> AccountId {
    AccountId { meeting: of.map(meeting), key: key.to_owned() }
}

async fn read(store: &dyn Store, ids: &[AccountId]) -> Vec<AccountRecord> {
    store.accounts(ids.to_vec()).await.expect("accounts are read")
}

async fn replace(store: &dyn Store, accounts: Vec<AccountRecord>) -> bool {
    store.replace_accounts(accounts).await.expect("accounts are replaced")
}

/// Accounts are changed together, and only by who has read the newest version of each.
pub async fn accounts_change_together_or_not_at_all(fixture: Fixture) {
    let store = &*fixture.store;
    let keys: Vec<&str> = ODD_IDS.into_iter().chain(["a", "b", "a/b", ""]).collect();
    let ids: Vec<AccountId> =
        keys.iter().flat_map(|key| [id(None, key), id(Some("m"), key), id(Some("n"), key)]).collect();
    let absent: Vec<AccountRecord> = ids.iter().cloned().map(AccountRecord::absent).collect();
    assert_eq!(read(store, &ids).await, absent);
    assert!(read(store, &[]).await.is_empty() && replace(store, Vec::new()).await);
    let written = |version: u64, tag: &str| -> Vec<AccountRecord> {
        let record = |id: &AccountId| AccountRecord {
            id: id.clone(),
            version,
            document: format!("{tag} {:?} {}", id.meeting, id.key).into(),
        };
        ids.iter().map(record).collect()
    };
    assert!(replace(store, written(0, "first")).await);
    assert_eq!(read(store, &ids).await, written(1, "first"));
    assert!(!replace(store, written(0, "late")).await, "they are there");
    let mut one_is_old = written(1, "second");
    one_is_old[2].version = 0;
    assert!(!replace(store, one_is_old).await);
    assert_eq!(read(store, &ids).await, written(1, "first"), "none of them was changed");
    let mut one_is_ahead = written(1, "second");
    one_is_ahead[0].version = 2;
    assert!(!replace(store, one_is_ahead).await);
    assert!(replace(store, written(1, "second")).await);
    let backwards: Vec<AccountId> = ids.iter().rev().cloned().collect();
    let mut expected = written(2, "second");
    expected.reverse();
    assert_eq!(read(store, &backwards).await, expected, "in the order that was asked for");
}

/// Of owners that change an account at the same time none is lost.
pub async fn owners_count_on_one_account(fixture: Fixture) {
    const OWNERS: usize = 8;
    const EACH: usize = 5;
    let store = &*fixture.store;
    let (shared, other) = (id(None, "shared"), id(Some("m"), "other"));
    let count = async |_| {
        for _ in 0..EACH {
            loop {
                let mut accounts = read(store, &[shared.clone(), other.clone()]).await;
                for account in &mut accounts {
                    let count: usize = account.document.parse().unwrap_or(0);
                    account.document = (count + 1).to_string().into();
                }
                // A store may report a conflict that it lost too often as unavailable.
                if store.replace_accounts(accounts).await.unwrap_or(false) {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
    };
    join_all((0..OWNERS).map(count)).await;
    for account in read(store, &[shared.clone(), other.clone()]).await {
        assert_eq!(account.document.parse(), Ok(OWNERS * EACH), "{:?}", account.id);
        assert_eq!(account.version, (OWNERS * EACH) as u64);
    }
}

/// A forgotten meeting's accounts are gone; those of others and of no meeting stay.
pub async fn accounts_are_forgotten_with_their_meeting(fixture: Fixture) {
    let store = &*fixture.store;
    for id in ["m", "mm"] {
        create(store, id).await;
    }
    let ids = [id(Some("m"), "k"), id(Some("mm"), "k"), id(None, "k"), id(None, "m")];
    let records =
        ids.iter().map(|id| AccountRecord { document: "1".into(), ..AccountRecord::absent(id.clone()) });
    assert!(replace(store, records.collect()).await);
    assert!(store.forget(meeting("m")).await.expect("a meeting is forgotten"));
    let versions: Vec<u64> = read(store, &ids).await.iter().map(|account| account.version).collect();
    assert_eq!(versions, [0, 1, 1, 1]);
}
