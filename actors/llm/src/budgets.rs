//! What requests may cost: before a request is sent, money is set aside for it in each budget that it is paid from, and
//! what it did not need goes back when it has ended.
//!
//! The accounts are in the store, so that they outlast a node and are shared by all of them. One task a node changes them:
//! it takes all requests and endings that have come meanwhile together, decides by the newest accounts it knows, and
//! writes the changed ones if nobody else has changed them; otherwise it reads them again. A request that does not fit now,
//! but would if others took less than was set aside for them, waits.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};

use parking_lot::Mutex;
use teammy_kernel::{
    Budget, Budgets as BudgetReport, Caller, Name, Spend, Timestamp, chain,
    store::{AccountId, AccountRecord, Error, MemoryStore, Store},
};
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};
use tracing::warn;

use crate::{
    policy::{Book, Limit, Verdict},
    windows::{Window, after},
};

/// How long other nodes' accounts are believed.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// How long a hold outlasts the time of its request.
const GRACE: Duration = Duration::from_mins(1);
/// How long a request without a deadline may take.
const WITHOUT_DEADLINE: Duration = Duration::from_mins(15);
/// How long the store is left alone when it failed.
const STORE_AWAY: Duration = Duration::from_millis(500);

/// What has an account of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    Node,
    Tenant,
    Meeting,
    Instance,
}

/// A budget, as it is configured.
#[derive(Debug, Clone)]
pub(crate) struct Rule {
    pub(crate) name: String,
    pub(crate) scope: Scope,
    pub(crate) window: Window,
    pub(crate) tenant: Option<String>,
    pub(crate) instance: Option<String>,
    pub(crate) limit: Limit,
}

impl Rule {
    /// The account from which a caller's requests are paid; none if the budget is for others. It has all windows: no store
    /// forgets accounts of no meeting.
    fn account(&self, caller: &Caller) -> Option<AccountId> {
        let tenant = caller.tenant.as_deref();
        if self.tenant.as_deref().is_some_and(|only| tenant != Some(only))
            || self.instance.as_deref().is_some_and(|only| caller.instance.as_str() != only)
        {
            return None;
        }
        let is_of_meeting = matches!(self.scope, Scope::Meeting | Scope::Instance);
        // One account for all that shuts down would never begin anew.
        if is_of_meeting && !caller.is_in_meeting() {
            return None;
        }
        let meeting = is_of_meeting.then(|| caller.meeting.clone());
        let of = match self.scope {
            Scope::Node | Scope::Meeting => "",
            Scope::Tenant => tenant?,
            Scope::Instance => Name::as_str(&caller.instance),
        };
        // The parts are told apart by a character that no name has.
        let key = format!("budget\u{1f}{}\u{1f}{of}", self.name);
        Some(AccountId { meeting, key })
    }
}

/// A budget that a request is paid from.
#[derive(Debug, Clone)]
struct Paying {
    rule: usize,
    account: AccountId,
    /// When its window began.
    window: String,
}

impl Paying {
    /// What requests stand in line for.
    fn place(&self) -> (AccountId, String) {
        (self.account.clone(), self.window.clone())
    }
}

/// Why a request is not paid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unpaid {
    /// A budget has too little left.
    Exceeded { name: String, resets: Option<Timestamp> },
    /// What is left is not known now.
    Unknown(String),
    /// It was not paid in the time of the request.
    TooLate(String),
}

enum Command {
    Hold {
        id: String,
        paying: Vec<Paying>,
        amount: Spend,
        until: Timestamp,
        reply: oneshot::Sender<Result<(), Unpaid>>,
    },
    Settle {
        id: String,
        accounts: Vec<AccountId>,
        cost: Spend,
    },
    /// Answers once all endings that came before are written.
    Flush(oneshot::Sender<()>),
}

type Clock = fn() -> Timestamp;

/// Why the store does not take or give accounts now; none if it does.
type Trouble = Arc<Mutex<Option<String>>>;

/// The budgets of a node.
pub(crate) struct Budgets {
    rules: Arc<[Rule]>,
    /// Where the accounts are; in memory, if no node has said where.
    store: OnceLock<Arc<dyn Store>>,
    clock: Clock,
    /// Where commands go; the task runs from the first one on.
    task: OnceLock<mpsc::UnboundedSender<Command>>,
    trouble: Trouble,
}

impl fmt::Debug for Budgets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Budgets").field("rules", &self.rules).finish_non_exhaustive()
    }
}

impl Budgets {
    /// Budgets by these rules. `clock` is the wall clock.
    pub(crate) fn new(rules: Vec<Rule>, clock: Clock) -> Self {
        Self {
            rules: rules.into(),
            store: OnceLock::new(),
            clock,
            task: OnceLock::new(),
            trouble: Trouble::default(),
        }
    }

    /// Keeps the accounts in this store, unless there is one already.
    pub(crate) fn keep_in(&self, store: Arc<dyn Store>) {
        let _ = self.store.set(store);
    }

    fn store(&self) -> &Arc<dyn Store> {
        self.store.get_or_init(|| Arc::new(MemoryStore::default()))
    }

    fn paying(&self, caller: &Caller, now: Timestamp) -> Vec<Paying> {
        let rules = self.rules.iter().enumerate();
        let paying = |(rule, of): (usize, &Rule)| {
            Some(Paying { rule, account: of.account(caller)?, window: of.window.begin(now) })
        };
        rules.filter_map(paying).collect()
    }

    /// Whether a caller's requests are paid from any.
    pub(crate) fn apply_to(&self, caller: &Caller) -> bool {
        self.rules.iter().any(|rule| rule.account(caller).is_some())
    }

    /// Sets an amount aside for a request, in each budget that it is paid from. Waits while others hold what they may not
    /// need, and while the store is away, until the caller's deadline at most.
    ///
    /// # Cancel safety
    /// What was set aside for a call that is dropped goes back.
    pub(crate) async fn hold(&self, caller: &Caller, amount: Spend) -> Result<Reservation, Unpaid> {
        let now = (self.clock)();
        let paying = self.paying(caller, now);
        if paying.is_empty() {
            return Ok(Reservation(None));
        }
        let began = Instant::now();
        let left = caller.deadline.map(|deadline| deadline.saturating_duration_since(began));
        let left = left.unwrap_or(WITHOUT_DEADLINE);
        let until = after(now, left.saturating_add(GRACE));
        let id = format!("{:032x}", fastrand::u128(..));
        let task = self.task();
        let accounts = paying.iter().map(|paying| paying.account.clone()).collect();
        // From here on it settles when it is dropped: at nothing, until the request is sent.
        let reservation = Reservation(Some(Held {
            id: id.clone(),
            accounts,
            amount,
            cost: Spend::default(),
            task: task.clone(),
        }));
        let (reply, held) = oneshot::channel();
        let gone = || Unpaid::Unknown("the node is shutting down".to_owned());
        task.send(Command::Hold { id, paying, amount, until, reply }).map_err(|_| gone())?;
        let held = tokio::time::timeout(left, held).await;
        held.map_err(|_| self.too_late())?.map_err(|_| gone())??;
        Ok(reservation)
    }

    fn too_late(&self) -> Unpaid {
        Unpaid::TooLate(match &*self.trouble.lock() {
            Some(trouble) => {
                format!("what is left of the budgets was not known in the time of the request: {trouble}")
            }
            None => "what others hold of the budgets did not come back in the time of the request".to_owned(),
        })
    }

    /// What is left for a caller.
    pub(crate) async fn report(&self, caller: &Caller) -> Result<BudgetReport, Unpaid> {
        let now = (self.clock)();
        let paying = self.paying(caller, now);
        let ids = paying.iter().map(|paying| paying.account.clone()).collect();
        let accounts = self.store().accounts(ids).await.map_err(|error| Unpaid::Unknown(chain(&error)))?;
        let budgets = paying.iter().zip(accounts).map(|(paying, record)| {
            let rule = &self.rules[paying.rule];
            let mut budget = Budget::new(rule.name.clone(), rule.limit.tokens, rule.limit.cost);
            budget.spent = read(&record).account(&paying.window).taken();
            budget.resets = rule.window.end(now);
            budget
        });
        Ok(BudgetReport(budgets.collect()))
    }

    /// Waits until all requests that have ended are accounted for, or the store does not take it.
    pub(crate) async fn flush(&self) {
        if let Some(task) = self.task.get() {
            let (reply, flushed) = oneshot::channel();
            if task.send(Command::Flush(reply)).is_ok() {
                let _ = flushed.await;
            }
        }
    }

    fn task(&self) -> &mpsc::UnboundedSender<Command> {
        self.task.get_or_init(|| {
            let (sender, commands) = mpsc::unbounded_channel();
            let keeper = Keeper {
                rules: self.rules.clone(),
                store: self.store().clone(),
                clock: self.clock,
                known: BTreeMap::new(),
                waiting: Vec::new(),
                ended: Vec::new(),
                trouble: self.trouble.clone(),
                away_until: None,
            };
            tokio::spawn(keeper.run(commands));
            sender
        })
    }
}

struct Held {
    id: String,
    accounts: Vec<AccountId>,
    amount: Spend,
    cost: Spend,
    task: mpsc::UnboundedSender<Command>,
}

/// An amount that is set aside for a request. It is settled when it is dropped, however that comes: at nothing before the
/// request is [sent](Self::sent), at the whole amount until what it [cost](Self::cost) is known, and then at that.
pub(crate) struct Reservation(Option<Held>);

impl Reservation {
    /// The request goes out: from here on nobody knows what it costs until its answer says so.
    pub(crate) fn sent(&mut self) {
        if let Some(held) = &mut self.0 {
            held.cost = held.amount;
        }
    }

    /// The request cost this.
    pub(crate) fn cost(&mut self, cost: Spend) {
        if let Some(held) = &mut self.0 {
            held.cost = cost;
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if let Some(Held { id, accounts, cost, task, .. }) = self.0.take() {
            // Without the task the hold's time ends, and it is spent.
            let _ = task.send(Command::Settle { id, accounts, cost });
        }
    }
}

struct Waiting {
    id: String,
    paying: Vec<Paying>,
    amount: Spend,
    until: Timestamp,
    reply: oneshot::Sender<Result<(), Unpaid>>,
}

struct Ended {
    id: String,
    accounts: Vec<AccountId>,
    cost: Spend,
}

/// Changes the accounts.
struct Keeper {
    rules: Arc<[Rule]>,
    store: Arc<dyn Store>,
    clock: Clock,
    /// The newest accounts that this node knows, of those that something runs or waits in.
    known: BTreeMap<AccountId, Known>,
    waiting: Vec<Waiting>,
    ended: Vec<Ended>,
    trouble: Trouble,
    /// Until when the store is left alone.
    away_until: Option<Instant>,
}

/// An account as it is stored.
struct Known {
    record: AccountRecord,
    account: Book,
    /// When it was so.
    at: Instant,
}

/// An account that cannot be read is one that another version wrote: it counts as empty, and is not lost to this version.
fn read(record: &AccountRecord) -> Book {
    serde_json::from_str(&record.document).unwrap_or_default()
}

impl Keeper {
    async fn run(mut self, mut commands: mpsc::UnboundedReceiver<Command>) {
        let mut flushes = Vec::new();
        let mut is_last = false;
        while !is_last {
            let mut next = match self.next_look() {
                None => {
                    let Some(command) = commands.recv().await else { return };
                    Some(command)
                }
                Some(at) => match tokio::time::timeout_at(at, commands.recv()).await {
                    // The node is gone. What cannot be settled now is spent when its time is over.
                    Ok(None) => {
                        is_last = true;
                        None
                    }
                    Ok(command) => command,
                    Err(_) => None,
                },
            };
            while let Some(command) = next {
                match command {
                    Command::Hold { id, paying, amount, until, reply } => {
                        self.waiting.push(Waiting { id, paying, amount, until, reply });
                    }
                    Command::Settle { id, accounts, cost } => {
                        self.waiting.retain(|waiting| waiting.id != id);
                        self.ended.push(Ended { id, accounts, cost });
                    }
                    Command::Flush(reply) => flushes.push(reply),
                }
                next = commands.try_recv().ok();
            }
            let is_away = self.away_until.is_some_and(|at| Instant::now() < at);
            if is_away && flushes.is_empty() && !is_last {
                continue;
            }
            match self.round().await {
                Ok(()) => {
                    self.away_until = None;
                    self.trouble.lock().take();
                }
                // Those that wait go on doing so, each until its deadline: nothing is sent that is not set aside.
                Err(error) => {
                    self.known.clear();
                    self.waiting.retain(|waiting| !waiting.reply.is_closed());
                    self.away_until = Some(Instant::now() + STORE_AWAY);
                    let error = chain(&error);
                    if self.trouble.lock().replace(error.clone()).is_none() {
                        warn!(error, "budgets' accounts cannot be changed now");
                    }
                }
            }
            for flush in flushes.drain(..) {
                let _ = flush.send(());
            }
        }
    }

    /// When there is something to do, if no command comes.
    fn next_look(&self) -> Option<Instant> {
        if self.ended.is_empty() && self.waiting.is_empty() {
            return None;
        }
        // Other nodes change the accounts that something waits for.
        let oldest = || self.known.values().map(|known| known.at + LOOK_AGAIN).min();
        self.away_until.or_else(oldest).or_else(|| Some(Instant::now()))
    }

    /// Applies what has ended, and sets aside for those that wait, until the store has taken it.
    async fn round(&mut self) -> Result<(), Error> {
        if !self.waiting.is_empty() {
            self.known.retain(|_, known| known.at.elapsed() < LOOK_AGAIN);
        }
        loop {
            self.learn().await?;
            let now = (self.clock)();
            let mut changed: BTreeMap<AccountId, Book> = BTreeMap::new();
            // Before holds expire: what is settled late costs what it cost, and not all that was set aside.
            for ended in &self.ended {
                for id in &ended.accounts {
                    self.change(&mut changed, id, |book| book.settle(&ended.id, ended.cost));
                }
            }
            for id in self.known.keys() {
                self.change(&mut changed, id, |book| book.expire(now));
            }
            let mut blocked = BTreeSet::new();
            let verdicts: Vec<Option<Result<(), Unpaid>>> = self
                .waiting
                .iter()
                .map(|waiting| self.decide(waiting, &mut changed, &mut blocked, now))
                .collect();
            if !changed.is_empty() {
                let records = changed.iter().map(|(id, account)| {
                    let document = serde_json::to_string(account).expect("invariant: an account is JSON");
                    AccountRecord { document: document.into(), ..self.known[id].record.clone() }
                });
                let records: Vec<AccountRecord> = records.collect();
                let at = Instant::now();
                if !self.store.replace_accounts(records.clone()).await? {
                    for record in records {
                        self.known.remove(&record.id);
                    }
                    continue;
                }
                for mut record in records {
                    record.version += 1;
                    let account =
                        changed.remove(&record.id).expect("invariant: each record is of an account");
                    self.known.insert(record.id.clone(), Known { record, account, at });
                }
            }
            self.ended.clear();
            let mut verdicts = verdicts.into_iter();
            let mut still = Vec::new();
            for waiting in self.waiting.drain(..) {
                match verdicts.next().flatten() {
                    // Whoever is gone has settled, or is about to.
                    Some(verdict) => drop(waiting.reply.send(verdict)),
                    None => still.push(waiting),
                }
            }
            self.waiting = still;
            self.forget();
            return Ok(());
        }
    }

    /// Reads the accounts that are not known.
    async fn learn(&mut self) -> Result<(), Error> {
        let waiting =
            self.waiting.iter().flat_map(|waiting| waiting.paying.iter().map(|paying| &paying.account));
        let ended = self.ended.iter().flat_map(|ended| &ended.accounts);
        let unknown: BTreeSet<&AccountId> =
            waiting.chain(ended).filter(|id| !self.known.contains_key(id)).collect();
        if unknown.is_empty() {
            return Ok(());
        }
        let ids: Vec<AccountId> = unknown.into_iter().cloned().collect();
        let at = Instant::now();
        for record in self.store.accounts(ids).await? {
            let account = read(&record);
            self.known.insert(record.id.clone(), Known { record, account, at });
        }
        Ok(())
    }

    /// Keeps in mind only accounts that something runs in.
    fn forget(&mut self) {
        let waited: BTreeSet<&AccountId> = self
            .waiting
            .iter()
            .flat_map(|waiting| waiting.paying.iter().map(|paying| &paying.account))
            .collect();
        self.known.retain(|id, known| known.account.has_holds() || waited.contains(id));
    }

    fn newest<'a>(&'a self, changed: &'a BTreeMap<AccountId, Book>, id: &AccountId) -> &'a Book {
        changed.get(id).unwrap_or_else(|| &self.known[id].account)
    }

    fn change(
        &self,
        changed: &mut BTreeMap<AccountId, Book>,
        id: &AccountId,
        change: impl FnOnce(&mut Book),
    ) {
        let mut account = self.newest(changed, id).clone();
        change(&mut account);
        if account != self.known[id].account || changed.contains_key(id) {
            changed.insert(id.clone(), account);
        }
    }

    /// Whether a request is paid; none if it waits. Then those behind it wait, too, in the accounts where it does not fit,
    /// so that small ones do not pass it for ever. Where it fits they go on.
    fn decide(
        &self,
        waiting: &Waiting,
        changed: &mut BTreeMap<AccountId, Book>,
        blocked: &mut BTreeSet<(AccountId, String)>,
        now: Timestamp,
    ) -> Option<Result<(), Unpaid>> {
        // A write of which nobody knew whether it was done has set it aside already.
        let has_hold = |paying: &Paying| {
            self.newest(changed, &paying.account).account(&paying.window).has_hold(&waiting.id)
        };
        if waiting.paying.iter().all(has_hold) {
            return Some(Ok(()));
        }
        let mut fits = waiting.paying.iter().all(|paying| !blocked.contains(&paying.place()));
        let mut full = Vec::new();
        for paying in &waiting.paying {
            let rule = &self.rules[paying.rule];
            let book = self.newest(changed, &paying.account);
            match book.account(&paying.window).verdict(rule.limit, waiting.amount) {
                Verdict::Fits => {}
                Verdict::Later => {
                    fits = false;
                    full.push(paying.place());
                }
                Verdict::Never => {
                    let (name, resets) = (rule.name.clone(), rule.window.end(now));
                    return Some(Err(Unpaid::Exceeded { name, resets }));
                }
            }
        }
        if !fits {
            blocked.extend(full);
            return None;
        }
        for Paying { account, window, .. } in &waiting.paying {
            self.change(changed, account, |book| {
                book.hold(window, &waiting.id, waiting.amount, waiting.until);
            });
        }
        Some(Ok(()))
    }
}

#[cfg(test)]
mod tests;
