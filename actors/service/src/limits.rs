//! What a key and a tenant may use at once, and in a second.

use std::{
    collections::HashMap,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use axum::body::{Body, Bytes, HttpBody};
use hyper::body::{Frame, SizeHint};
use parking_lot::Mutex;
use teammy_config::Quota;
use teammy_kernel::{ErrorClass, ErrorKind, MeetingId};
use teammy_runtime::keys::{Access, KeyId};
use tokio::time::{Duration, Instant};

use crate::{access::Caller, problem::Problem};

/// Counts what is in use, by owner.
#[derive(Debug)]
pub(crate) struct Slots<K> {
    code: &'static str,
    what: &'static str,
    used: Counts<K>,
}

/// How many an owner uses; owners that use none are not there.
type Counts<K> = Arc<Mutex<HashMap<K, usize>>>;

/// One of an owner's; it is free again when it is dropped.
pub(crate) struct Slot<K: std::hash::Hash + Eq>(Option<(K, Counts<K>)>);

impl<K: std::hash::Hash + Eq> Drop for Slot<K> {
    fn drop(&mut self) {
        let Some((owner, used)) = self.0.take() else { return };
        let mut used = used.lock();
        if let Some(count) = used.get_mut(&owner) {
            *count -= 1;
            if *count == 0 {
                used.remove(&owner);
            }
        }
    }
}

fn exceeded(code: &'static str, title: impl Into<String>) -> Problem {
    Problem::new(ErrorClass::new(code, ErrorKind::Busy), title)
}

impl<K: std::hash::Hash + Eq + Clone> Slots<K> {
    fn new(code: &'static str, what: &'static str) -> Self {
        Self { code, what, used: Arc::default() }
    }

    fn of(&self, owner: &K, most: usize) -> Result<Slot<K>, Problem> {
        let mut used = self.used.lock();
        let count = used.entry(owner.clone()).or_default();
        if *count >= most {
            return Err(exceeded(self.code, format!("{} {} are the most", most, self.what)));
        }
        *count += 1;
        Ok(Slot(Some((owner.clone(), self.used.clone()))))
    }
}

/// Whose requests are counted together: a key's, or those of its tokens for one meeting, so that no viewer uses up what a backend
/// needs.
pub(crate) type Owner = (KeyId, Option<MeetingId>);

impl Slots<Owner> {
    pub(crate) fn of_keys() -> Self {
        Self::new("too-many-requests", "requests of one key at once")
    }

    /// A slot among the most that one owner may have.
    pub(crate) fn take(&self, access: Option<&Access>, most: usize) -> Result<Slot<Owner>, Problem> {
        let Some(access) = access else { return Ok(Slot(None)) };
        self.of(&(access.key.clone(), access.meeting.clone()), most)
    }
}

/// Keeps a slot until a body is gone.
pub(crate) fn held_by(slot: Arc<Slot<Owner>>, body: Body) -> Body {
    if slot.0.is_none() { body } else { Body::new(Holding { body, _slot: slot }) }
}

struct Holding {
    body: Body,
    _slot: Arc<Slot<Owner>>,
}

impl HttpBody for Holding {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// So many units a second, and as many at once after a pause. It may go into debt by one request, which the next ones wait for.
#[derive(Debug)]
struct Bucket {
    a_second: f64,
    left: f64,
    at: Instant,
}

impl Bucket {
    fn new(a_second: f64, now: Instant) -> Self {
        Self { a_second, left: a_second, at: now }
    }

    /// How long to wait until something can be taken; nothing if it can be now.
    fn wait(&mut self, now: Instant) -> Duration {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.left = (self.left + passed * self.a_second).min(self.a_second);
        self.at = now;
        if self.left > 0.0 {
            Duration::ZERO
        } else {
            Duration::from_secs_f64((1e-3 - self.left) / self.a_second)
        }
    }

    fn take(&mut self, units: f64) {
        self.left -= units;
    }
}

#[derive(Debug, Default)]
struct Rates {
    packets: Option<Bucket>,
    bytes: Option<Bucket>,
}

/// What tenants may use.
#[derive(Debug)]
pub(crate) struct Quotas {
    configured: Vec<Quota>,
    rates: Mutex<HashMap<String, Rates>>,
    streams: Slots<String>,
    /// One opening of a meeting at a time for each tenant, so that its meetings are counted rightly.
    openings: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
}

impl Quotas {
    pub(crate) fn new(quotas: Vec<Quota>) -> Self {
        let streams = Slots::new("too-many-streams", "streams at once");
        Self { configured: quotas, rates: Mutex::default(), streams, openings: Mutex::default() }
    }

    fn of<'a>(&'a self, caller: &'a Caller) -> Option<(&'a str, &'a Quota)> {
        let tenant = caller.tenant()?;
        let own = self.configured.iter().find(|quota| quota.tenant.as_deref() == Some(tenant));
        let quota = own.or_else(|| self.configured.iter().find(|quota| quota.tenant.is_none()))?;
        Some((tenant, quota))
    }

    /// The most meetings of the caller that have not ended.
    pub(crate) fn meetings(&self, caller: &Caller) -> Option<usize> {
        self.of(caller)?.1.meetings
    }

    /// Waits for the caller's turn to open a meeting.
    pub(crate) async fn opening(&self, tenant: &str) -> tokio::sync::OwnedMutexGuard<()> {
        let turn = self.openings.lock().entry(tenant.to_owned()).or_default().clone();
        turn.lock_owned().await
    }

    pub(crate) fn too_many_meetings(most: usize) -> Problem {
        exceeded("too-many-meetings", format!("{most} meetings that have not ended are the most; end one"))
    }

    /// A stream of the caller, for as long as the slot is kept.
    pub(crate) fn stream(&self, caller: &Caller) -> Result<Slot<String>, Problem> {
        match self.of(caller) {
            Some((tenant, Quota { streams: Some(most), .. })) => self.streams.of(&tenant.to_owned(), *most),
            _ => Ok(Slot(None)),
        }
    }

    /// How long the caller's next packet must wait; nothing if it need not, and is then counted.
    pub(crate) fn packet(&self, caller: &Caller, bytes: usize) -> Duration {
        let Some((tenant, quota)) = self.of(caller) else { return Duration::ZERO };
        if quota.packets_per_second.is_none() && quota.bytes_per_second.is_none() {
            return Duration::ZERO;
        }
        let now = Instant::now();
        let mut all = self.rates.lock();
        let rates = all.entry(tenant.to_owned()).or_insert_with(|| {
            let bucket = |a_second: usize| {
                #[allow(clippy::cast_precision_loss, reason = "both are far below 2^52")]
                Bucket::new(a_second as f64, now)
            };
            Rates {
                packets: quota.packets_per_second.map(bucket),
                bytes: quota.bytes_per_second.map(|size| bucket(size.as_usize())),
            }
        });
        let wait = |bucket: &mut Option<Bucket>| bucket.as_mut().map_or(Duration::ZERO, |it| it.wait(now));
        let wait = wait(&mut rates.packets).max(wait(&mut rates.bytes));
        if wait.is_zero() {
            #[allow(clippy::cast_precision_loss, reason = "a packet has at most 4 MiB")]
            for (bucket, units) in [(&mut rates.packets, 1.0), (&mut rates.bytes, bytes as f64)] {
                if let Some(bucket) = bucket {
                    bucket.take(units);
                }
            }
        }
        wait
    }

    pub(crate) fn too_fast(wait: Duration) -> Problem {
        exceeded("too-many-packets", "the tenant publishes more than its quota allows").after(wait)
    }
}

#[cfg(test)]
mod tests {
    use teammy_kernel::{Name, store::MemoryStore};
    use teammy_runtime::keys::{Keys, NewKey, Scope};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_bucket_gives_its_rate_and_a_burst_of_a_second() {
        let mut bucket = Bucket::new(10.0, Instant::now());
        let mut taken = 0;
        for _ in 0..5 {
            while bucket.wait(Instant::now()).is_zero() {
                bucket.take(1.0);
                taken += 1;
            }
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        assert_eq!(taken, 10 + 4 * 10);
        tokio::time::advance(Duration::from_mins(10)).await;
        assert!(bucket.wait(Instant::now()).is_zero());
        bucket.take(35.0);
        let wait = bucket.wait(Instant::now());
        assert!((2.4..2.6).contains(&wait.as_secs_f64()), "{wait:?}");
    }

    #[test]
    fn a_slot_is_free_again_when_it_is_dropped() {
        let slots = Slots::new("full", "things");
        let first = slots.of(&1, 2).ok();
        let _second = slots.of(&1, 2).ok().unwrap();
        assert!(slots.of(&1, 2).is_err() && slots.of(&2, 2).is_ok());
        drop(first);
        assert!(slots.of(&1, 2).is_ok());
        assert_eq!(slots.used.lock().len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_tenant_publishes_as_fast_as_its_quota_allows() {
        let config =
            "[[quota]]\npackets_per_second = 5\nbytes_per_second = \"1KiB\"\n[[quota]]\ntenant = \"big\"";
        let quotas = Quotas::new(teammy_config::Config::from_toml(config).unwrap().quotas);
        let keys = Keys::new(Arc::new(MemoryStore::default()), "");
        let mut callers = Vec::new();
        for tenant in ["small", "other", "big"] {
            let new = NewKey::new(Name::new(tenant).unwrap(), [Scope::Publish]);
            let (secret, _) = keys.create(new).await.unwrap();
            callers.push(Caller::of(keys.access(secret.reveal()).unwrap()));
        }
        let burst =
            |caller: &Caller, bytes| (0..20).filter(|_| quotas.packet(caller, bytes).is_zero()).count();
        assert_eq!([burst(&callers[0], 1), burst(&callers[1], 1), burst(&callers[2], 1)], [5, 5, 20]);
        assert_eq!(burst(&Caller::default(), 1), 20, "without keys there are no tenants");
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(burst(&callers[0], 600), 2, "the second one goes into debt");
        let wait = quotas.packet(&callers[0], 1);
        assert!(wait > Duration::ZERO && wait < Duration::from_secs(1), "{wait:?}");
    }
}
