mod faulty_store;

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use teammy_kernel::{LlmError, LlmMessage, LlmProvider, LlmRequest, MeetingId, Model, NanoUsd, Usage};

use self::faulty_store::{Fault, FaultyStore};
use super::*;
use crate::{
    models::{Answer, ModelClient, Models, Question, Roles, Terms},
    policy::{Prices, Problem, RetryPolicy, Tier},
};

fn caller(meeting: &str, instance: &str, tenant: Option<&str>) -> Caller {
    let mut caller = Caller::new(MeetingId::new(meeting).unwrap(), Name::new(instance).unwrap());
    caller.tenant = tenant.map(Into::into);
    caller
}

fn tokens(tokens: u64) -> Spend {
    Spend { tokens, ..Spend::default() }
}

fn rule(name: &str, scope: Scope, window: Window, most: u64) -> Rule {
    let limit = Limit { tokens: Some(most), cost: None };
    Rule { name: name.to_owned(), scope, window, tenant: None, instance: None, limit }
}

/// A wall clock that a test sets, in seconds.
static NOW: AtomicU64 = AtomicU64::new(0);

fn now() -> Timestamp {
    Timestamp::from_second(NOW.load(Ordering::SeqCst).try_into().unwrap()).unwrap()
}

fn fixed() -> Timestamp {
    Timestamp::UNIX_EPOCH
}

fn budgets(rules: Vec<Rule>, store: &MemoryStore) -> Arc<Budgets> {
    let budgets = Budgets::new(rules, fixed);
    budgets.keep_in(Arc::new(store.clone()));
    Arc::new(budgets)
}

async fn spend(budgets: &Budgets, caller: &Caller, amount: u64) -> Result<(), Unpaid> {
    let mut reservation = budgets.hold(caller, tokens(amount)).await?;
    reservation.sent();
    reservation.cost(tokens(amount));
    Ok(())
}

fn exceeded(name: &str) -> Result<(), Unpaid> {
    Err(Unpaid::Exceeded { name: name.to_owned(), resets: None })
}

#[tokio::test(start_paused = true)]
async fn each_scope_has_its_own_accounts() {
    let (ada, other) = (caller("m", "i", Some("ada")), caller("m", "i", Some("zoe")));
    let (instance, meeting) = (caller("m", "j", Some("ada")), caller("n", "i", Some("ada")));
    let none = caller("m", "i", None);
    for (scope, shared, apart) in [
        (Scope::Node, vec![&other, &instance, &meeting, &none], vec![]),
        (Scope::Tenant, vec![&instance, &meeting], vec![&other, &none]),
        (Scope::Meeting, vec![&other, &instance, &none], vec![&meeting]),
        (Scope::Instance, vec![&other, &none], vec![&instance, &meeting]),
    ] {
        let store = MemoryStore::default();
        let budgets = budgets(vec![rule("b", scope, Window::Meeting, 10)], &store);
        spend(&budgets, &ada, 10).await.unwrap();
        budgets.flush().await;
        for caller in shared {
            assert_eq!(spend(&budgets, caller, 1).await, exceeded("b"), "{scope:?} {caller:?}");
        }
        for caller in apart {
            assert_eq!(spend(&budgets, caller, 1).await, Ok(()), "{scope:?} {caller:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_budget_is_for_whom_it_names() {
    let store = MemoryStore::default();
    let mut only = rule("only", Scope::Node, Window::Day, 10);
    only.tenant = Some("ada".to_owned());
    only.instance = Some("minutes".to_owned());
    let budgets = budgets(vec![only], &store);
    let ada = caller("m", "minutes", Some("ada"));
    assert!(budgets.apply_to(&ada));
    for other in
        [caller("m", "minutes", None), caller("m", "minutes", Some("zoe")), caller("m", "i", Some("ada"))]
    {
        assert!(!budgets.apply_to(&other));
        spend(&budgets, &other, 1_000).await.unwrap();
    }
    spend(&budgets, &ada, 10).await.unwrap();
    let day = Timestamp::from_second(86_400).unwrap();
    let expected = Err(Unpaid::Exceeded { name: "only".to_owned(), resets: Some(day) });
    assert_eq!(spend(&budgets, &ada, 1).await, expected);
    let report = budgets.report(&ada).await.unwrap();
    assert_eq!((report.left(), report.tightest().unwrap().spent), (0.0, tokens(10)));
    assert_eq!(budgets.report(&caller("m", "i", None)).await.unwrap(), BudgetReport::default());
}

#[tokio::test(start_paused = true)]
async fn what_asks_at_shutdown_pays_from_no_budget_of_a_meeting() {
    let one = caller(Caller::NO_MEETING, "i", Some("ada"));
    for (scope, is_paid) in
        [(Scope::Node, true), (Scope::Tenant, true), (Scope::Meeting, false), (Scope::Instance, false)]
    {
        let budgets = budgets(vec![rule("b", scope, Window::Day, 10)], &MemoryStore::default());
        assert_eq!(budgets.apply_to(&one), is_paid, "{scope:?}");
        assert_eq!(spend(&budgets, &one, 11).await.is_err(), is_paid, "{scope:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_window_begins_anew() {
    let store = MemoryStore::default();
    let budgets = Budgets::new(vec![rule("hourly", Scope::Node, Window::Hour, 10)], now);
    budgets.keep_in(Arc::new(store.clone()));
    let one = caller("m", "i", None);
    NOW.store(3_599, Ordering::SeqCst);
    spend(&budgets, &one, 10).await.unwrap();
    assert!(spend(&budgets, &one, 1).await.is_err());
    for hour in 1..10 {
        NOW.store(hour * 3_600, Ordering::SeqCst);
        spend(&budgets, &one, 10).await.unwrap();
        assert!(spend(&budgets, &one, 1).await.is_err());
    }
    budgets.flush().await;
    // All windows are in one account, which keeps the last two.
    let key = "budget\u{1f}hourly\u{1f}".to_owned();
    let records = store.accounts(vec![AccountId { meeting: None, key }]).await.unwrap();
    assert_eq!(read(&records[0]).windows(), ["1970-01-01T08:00:00Z", "1970-01-01T09:00:00Z"]);
}

#[tokio::test(start_paused = true)]
async fn what_others_may_not_need_is_waited_for() {
    let store = MemoryStore::default();
    let budgets = budgets(vec![rule("b", Scope::Node, Window::Day, 10)], &store);
    let one = caller("m", "i", None);
    let mut running = budgets.hold(&one, tokens(8)).await.unwrap();
    running.sent();
    let waiting = tokio::spawn({
        let (budgets, one) = (budgets.clone(), one.clone());
        async move { spend(&budgets, &one, 5).await }
    });
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert!(!waiting.is_finished());
    assert!(matches!(spend(&budgets, &one, 11).await, Err(Unpaid::Exceeded { .. })), "it never fits");
    running.cost(tokens(3));
    drop(running);
    waiting.await.unwrap().unwrap();
    budgets.flush().await;
    assert_eq!(budgets.report(&one).await.unwrap().0[0].spent, tokens(8));
}

#[tokio::test(start_paused = true)]
async fn two_nodes_share_a_budget_and_a_dead_ones_hold_is_spent() {
    let store = MemoryStore::default();
    let of_node = || {
        let budgets = Budgets::new(vec![rule("b", Scope::Node, Window::Meeting, 10)], two_nodes_now);
        budgets.keep_in(Arc::new(store.clone()));
        budgets
    };
    let (dead, alive, one) = (of_node(), of_node(), caller("m", "i", None));
    // The owner dies with its task: what it held is never settled.
    let mut held = dead.hold(&one, tokens(6)).await.unwrap();
    held.sent();
    std::mem::forget(held);
    let waiting = tokio::spawn(async move {
        let result = spend(&alive, &caller("m", "i", None), 5).await;
        (alive, result)
    });
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(!waiting.is_finished(), "the hold may be settled at less");
    TWO_NODES.store(20 * 60, Ordering::SeqCst);
    let (alive, result) = waiting.await.unwrap();
    assert!(matches!(result, Err(Unpaid::Exceeded { .. })), "its time is over, so it is spent: {result:?}");
    spend(&alive, &one, 4).await.unwrap();
}

static TWO_NODES: AtomicU64 = AtomicU64::new(0);

fn two_nodes_now() -> Timestamp {
    Timestamp::from_second(TWO_NODES.load(Ordering::SeqCst).try_into().unwrap()).unwrap()
}

/// A model that takes some time, tokens and money.
struct Worker {
    takes: Mutex<fastrand::Rng>,
    cost: u64,
    asked: AtomicU64,
}

impl ModelClient for Arc<Worker> {
    fn name(&self) -> &'static str {
        "big"
    }

    async fn ask(&self, _: Question<'_>) -> Result<Answer, Problem> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let takes = self.takes.lock().u64(1..200);
        tokio::time::sleep(Duration::from_millis(takes)).await;
        let mut response = teammy_kernel::LlmResponse::new("yes");
        response.usage = Some(Usage { completion: self.cost, ..Usage::default() });
        Ok(Answer::Chat(response))
    }
}

/// 200 calls at once, of which 30 % are called off at a random moment, and money for 50 whole ones, 7 of each meeting.
#[tokio::test(start_paused = true)]
async fn concurrent_calls_overspend_by_nothing_and_nothing_leaks() {
    for seed in 0..10 {
        let mut random = fastrand::Rng::with_seed(seed);
        let store = MemoryStore::default();
        // An answer costs what is set aside for it.
        let cost = 100;
        let bound = {
            let request = question("m", cost);
            crate::policy::Bound::of(&request, cost).prompt
        };
        let most = 50 * cost;
        let tier = Tier { above: 0, input: 0, cached_input: 0, output: 1 };
        let money = |most| Limit { tokens: None, cost: Some(NanoUsd(most)) };
        let own = 7 * cost;
        let paid_from = vec![
            Rule { limit: money(most), ..rule("b", Scope::Node, Window::Day, 0) },
            Rule { limit: money(own), ..rule("own", Scope::Meeting, Window::Meeting, 0) },
        ];
        let budgets = Budgets::new(paid_from, fixed);
        budgets.keep_in(Arc::new(store.clone()));
        let worker = Arc::new(Worker { takes: Mutex::new(random.fork()), cost, asked: AtomicU64::new(0) });
        let terms = Terms { prices: Prices::new(vec![tier]), ..Terms::default() };
        let roles = Roles { default: "big".to_owned(), fast: "big".to_owned(), ..Roles::default() };
        let models = Arc::new(
            Models::new(vec![(worker.clone(), terms)], &roles, RetryPolicy { tries: 1 }, Some(budgets))
                .unwrap(),
        );
        assert!(bound > 0);
        let tasks: Vec<_> = (0..200)
            .map(|index| {
                let models = models.clone();
                let time = (random.f64() < 0.3).then(|| Duration::from_millis(random.u64(0..400)));
                tokio::spawn(async move {
                    let answer = models.complete(question(&format!("m{}", index % 9), cost));
                    match time {
                        Some(time) => tokio::time::timeout(time, answer).await.ok(),
                        None => Some(answer.await),
                    }
                })
            })
            .collect();
        let (mut answered, mut refused, mut called_off) = (0, 0, 0);
        let (mut is_refused, mut refused_own) = (false, BTreeSet::new());
        for (index, task) in tasks.into_iter().enumerate() {
            match task.await.unwrap() {
                Some(Ok(_)) => answered += 1,
                Some(Err(LlmError::BudgetExceeded { name, .. })) => {
                    refused += 1;
                    if name == "b" {
                        is_refused = true;
                    } else {
                        refused_own.insert(index % 9);
                    }
                }
                Some(Err(error)) => panic!("seed {seed}: {error}"),
                None => called_off += 1,
            }
        }
        models.close().await;
        let report = models.budgets(caller("m", "i", None)).await.unwrap();
        let spent = report.0[0].spent.cost.0;
        assert!(spent <= most, "seed {seed}: {spent} of {most}");
        // A call that was sent and called off counts as if it had been answered, since the server worked for it.
        assert_eq!(spent, worker.asked.load(Ordering::SeqCst) * cost, "seed {seed}");
        assert!(!is_refused || spent == most, "seed {seed}: refused while money was there");
        assert!(answered + refused + called_off == 200 && refused > 50, "seed {seed}");
        let mut accounts = vec![AccountId { meeting: None, key: "budget\u{1f}b\u{1f}".to_owned() }];
        for index in 0..9 {
            let meeting = format!("m{index}");
            let report = models.budgets(caller(&meeting, "i", None)).await.unwrap();
            let spent = report.0[1].spent.cost.0;
            assert!(spent <= own, "seed {seed}, {meeting}: {spent} of {own}");
            assert!(
                !refused_own.contains(&index) || spent == own,
                "seed {seed}, {meeting}: refused with money"
            );
            accounts.push(AccountId {
                meeting: MeetingId::new(meeting).ok(),
                key: "budget\u{1f}own\u{1f}".to_owned(),
            });
        }
        for record in store.accounts(accounts).await.unwrap() {
            assert!(record.version > 0, "{:?}", record.id);
            assert!(!read(&record).has_holds(), "seed {seed}: nothing is set aside at the end");
        }
    }
}

fn question(meeting: &str, most: u64) -> LlmRequest {
    let mut request =
        LlmRequest::new(Model::Default, vec![LlmMessage::user("?")], caller(meeting, "i", None));
    request.max_tokens = Some(most.try_into().unwrap());
    request
}

fn asks(budgets: &Arc<Budgets>, meeting: &str, amount: u64) -> tokio::task::JoinHandle<Result<(), Unpaid>> {
    let (budgets, one) = (budgets.clone(), caller(meeting, "i", None));
    tokio::spawn(async move { spend(&budgets, &one, amount).await })
}

#[tokio::test(start_paused = true)]
async fn a_meeting_that_waits_for_its_own_budget_holds_up_no_other() {
    let store = MemoryStore::default();
    let rules =
        vec![rule("all", Scope::Node, Window::Day, 1_000), rule("own", Scope::Meeting, Window::Meeting, 10)];
    let budgets = budgets(rules, &store);
    let mut running = budgets.hold(&caller("busy", "i", None), tokens(8)).await.unwrap();
    running.sent();
    let waits: Vec<_> = [5, 1].into_iter().map(|amount| asks(&budgets, "busy", amount)).collect();
    tokio::task::yield_now().await;
    let began = Instant::now();
    for meeting in ["a", "b"] {
        let asked = tokio::time::timeout(Duration::from_secs(5), asks(&budgets, meeting, 5));
        asked.await.expect("it goes at once").unwrap().unwrap();
    }
    assert_eq!(began.elapsed(), Duration::ZERO, "they pay from the node's budget, which has enough");
    assert!(waits.iter().all(|waits| !waits.is_finished()), "those behind a larger one wait for it");
    running.cost(tokens(2));
    drop(running);
    for waits in waits {
        waits.await.unwrap().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_large_request_is_not_passed_by_small_ones_where_it_does_not_fit() {
    let store = MemoryStore::default();
    let budgets = budgets(vec![rule("all", Scope::Node, Window::Day, 1_000)], &store);
    let mut running = Vec::new();
    for amount in [500, 400] {
        let mut one = budgets.hold(&caller("m", "i", None), tokens(amount)).await.unwrap();
        one.sent();
        one.cost(tokens(0));
        running.push(one);
    }
    let large = asks(&budgets, "large", 700);
    tokio::task::yield_now().await;
    let small = asks(&budgets, "small", 50);
    tokio::time::sleep(Duration::from_secs(5)).await;
    running.pop();
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(!large.is_finished() && !small.is_finished());
    running.pop();
    large.await.unwrap().unwrap();
    small.await.unwrap().unwrap();
}

/// Another node's hold is waited for, whatever else this node does meanwhile.
#[tokio::test(start_paused = true)]
async fn what_another_node_settles_is_seen_beside_other_traffic() {
    let store = MemoryStore::default();
    let rules = vec![rule("own", Scope::Meeting, Window::Meeting, 10)];
    let (ours, theirs) = (budgets(rules.clone(), &store), budgets(rules, &store));
    let mut running = theirs.hold(&caller("m", "i", None), tokens(8)).await.unwrap();
    running.sent();
    running.cost(tokens(2));
    let waiting = asks(&ours, "m", 5);
    let traffic = tokio::spawn({
        let ours = ours.clone();
        async move {
            loop {
                spend(&ours, &caller("other", "i", None), 0).await.unwrap();
                tokio::time::sleep(LOOK_AGAIN / 3).await;
            }
        }
    });
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(!waiting.is_finished());
    drop(running);
    let settled = Instant::now();
    tokio::time::timeout(Duration::from_mins(1), waiting).await.expect("it looks again").unwrap().unwrap();
    assert!(settled.elapsed() <= LOOK_AGAIN + Duration::from_millis(10), "{:?}", settled.elapsed());
    traffic.abort();
}

/// The store in which a test's budget of 10 tokens is kept.
fn with_faults() -> (FaultyStore, Arc<Budgets>) {
    let store = FaultyStore::new(MemoryStore::default());
    let budgets = Budgets::new(vec![rule("b", Scope::Node, Window::Day, 10)], fixed);
    budgets.keep_in(Arc::new(store.clone()));
    (store, Arc::new(budgets))
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_away_for_a_moment_fails_no_request() {
    for fault in [Fault::Away, Fault::LosesAnswers] {
        let (store, budgets) = with_faults();
        let mut running = budgets.hold(&caller("m", "i", None), tokens(8)).await.unwrap();
        running.sent();
        running.cost(tokens(2));
        let waits = asks(&budgets, "m", 8);
        tokio::task::yield_now().await;
        store.set(fault);
        drop(running);
        let calls = store.calls();
        let mut also: Vec<_> = Vec::new();
        for _ in 0..30 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            also.push(asks(&budgets, "m", 0));
        }
        assert!(!waits.is_finished() && also.iter().all(|also| !also.is_finished()), "{fault:?}");
        assert!(store.calls() - calls <= 15, "{fault:?}: it is left alone when it failed");
        store.set(Fault::None);
        let came_back = Instant::now();
        for waits in std::iter::once(waits).chain(also) {
            waits.await.unwrap().unwrap();
        }
        assert!(came_back.elapsed() <= STORE_AWAY, "{fault:?}: {:?}", came_back.elapsed());
        budgets.flush().await;
        let spent = budgets.report(&caller("m", "i", None)).await.unwrap().0[0].spent;
        assert_eq!(spent, tokens(10), "{fault:?}: each is set aside and settled once");
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_stays_away_keeps_nobody_beyond_his_deadline() {
    for (fault, says) in [(Fault::Away, "no connection"), (Fault::Hangs, "come back")] {
        let (store, budgets) = with_faults();
        store.set(fault);
        let began = Instant::now();
        let mut hurried = caller("m", "i", None);
        hurried.deadline = Some(began + Duration::from_secs(5));
        match budgets.hold(&hurried, tokens(8)).await {
            Err(Unpaid::TooLate(text)) => assert!(text.contains(says), "{fault:?}: {text}"),
            Err(other) => panic!("{fault:?}: {other:?}"),
            Ok(_) => panic!("{fault:?}: it would be sent without anything set aside"),
        }
        assert_eq!(began.elapsed(), Duration::from_secs(5), "{fault:?}");
        let without = tokio::time::timeout(WITHOUT_DEADLINE * 2, asks(&budgets, "m", 1));
        assert!(matches!(without.await.unwrap().unwrap(), Err(Unpaid::TooLate(_))), "{fault:?}");
        if fault != Fault::Hangs {
            // What they may have set aside goes back.
            store.set(Fault::None);
            spend(&budgets, &caller("m", "i", None), 10).await.unwrap();
        }
    }
}

static LATE: AtomicU64 = AtomicU64::new(0);

fn late_now() -> Timestamp {
    Timestamp::from_second(LATE.load(Ordering::SeqCst).try_into().unwrap()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn what_is_settled_late_costs_what_it_cost() {
    let budgets = Budgets::new(vec![rule("b", Scope::Node, Window::Day, 10)], late_now);
    budgets.keep_in(Arc::new(MemoryStore::default()));
    let one = caller("m", "i", None);
    let mut running = budgets.hold(&one, tokens(8)).await.unwrap();
    running.sent();
    running.cost(tokens(3));
    LATE.store(20 * 60, Ordering::SeqCst);
    drop(running);
    budgets.flush().await;
    assert_eq!(budgets.report(&one).await.unwrap().0[0].spent, tokens(3));
}

/// A keeper that knows these accounts.
fn keeper(rules: Vec<Rule>, known: BTreeMap<AccountId, Known>) -> Keeper {
    Keeper {
        rules: rules.into(),
        store: Arc::new(MemoryStore::default()),
        clock: fixed,
        known,
        waiting: Vec::new(),
        ended: Vec::new(),
        trouble: Trouble::default(),
        away_until: None,
    }
}

proptest::proptest! {
    /// Whatever runs and waits: nobody waits but for money that runs in an account of his own, or for someone before him
    /// whom that account keeps waiting.
    #[test]
    fn nobody_waits_for_a_budget_that_is_not_his(
        limits in proptest::array::uniform3(1..60_u64),
        running in proptest::collection::vec((0..4_usize, 0..20_u64), 0..6),
        waiting in proptest::collection::vec((0..4_usize, 1..40_u64), 1..12),
    ) {
        let rules = vec![
            rule("all", Scope::Node, Window::Day, limits[0]),
            rule("whose", Scope::Tenant, Window::Day, limits[1]),
            rule("own", Scope::Meeting, Window::Meeting, limits[2]),
        ];
        let budgets = Budgets::new(rules.clone(), fixed);
        let paying = |who: usize| {
            let tenant = ["ada", "zoe"][who / 2];
            budgets.paying(&caller(&format!("m{who}"), "i", Some(tenant)), fixed())
        };
        let mut known: BTreeMap<AccountId, Known> = BTreeMap::new();
        for who in 0..4 {
            for Paying { account: id, .. } in paying(who) {
                let record = AccountRecord::absent(id.clone());
                known.insert(id, Known { record, account: Book::default(), at: Instant::now() });
            }
        }
        let limit = |rule: usize| rules[rule].limit;
        for (at, (who, amount)) in running.into_iter().enumerate() {
            let paying = paying(who);
            let fits = |paying: &Paying| {
                known[&paying.account].account.account(&paying.window).verdict(limit(paying.rule), tokens(amount)) == Verdict::Fits
            };
            if paying.iter().all(fits) {
                for Paying { account, window, .. } in paying {
                    known.get_mut(&account).unwrap().account.hold(&window, &format!("running {at}"), tokens(amount), Timestamp::MAX);
                }
            }
        }
        let keeper = keeper(rules.clone(), known);
        let (mut changed, mut blocked) = (BTreeMap::new(), BTreeSet::new());
        let mut full: BTreeSet<(AccountId, String)> = BTreeSet::new();
        for (at, (who, amount)) in waiting.into_iter().enumerate() {
            let (paying, id) = (paying(who), format!("waiting {at}"));
            let verdicts: Vec<Verdict> = paying
                .iter()
                .map(|paying| keeper.newest(&changed, &paying.account).account(&paying.window).verdict(limit(paying.rule), tokens(amount)))
                .collect();
            let request = Waiting {
                id,
                paying: paying.clone(),
                amount: tokens(amount),
                until: Timestamp::MAX,
                reply: oneshot::channel().0,
            };
            let decided = keeper.decide(&request, &mut changed, &mut blocked, fixed());
            let accounts = || paying.iter().map(Paying::place).zip(&verdicts);
            let is_held_up =
                accounts().any(|(account, verdict)| *verdict == Verdict::Later || full.contains(&account));
            let expected = match decided {
                Some(Err(_)) => verdicts.contains(&Verdict::Never),
                Some(Ok(())) => !is_held_up && verdicts.iter().all(|verdict| *verdict == Verdict::Fits),
                None => is_held_up && !verdicts.contains(&Verdict::Never),
            };
            proptest::prop_assert!(expected, "{at}: {decided:?} although {verdicts:?}");
            if decided.is_none() {
                let later = accounts().filter(|(_, verdict)| **verdict == Verdict::Later);
                full.extend(later.map(|(account, _)| account));
            }
        }
        for (id, book) in &changed {
            let rule = rules.iter().find(|rule| id.key.contains(&rule.name)).unwrap();
            proptest::prop_assert_ne!(book.account(&rule.window.begin(fixed())).verdict(rule.limit, tokens(0)), Verdict::Never);
            proptest::prop_assert_ne!(book.account(&rule.window.begin(fixed())).verdict(rule.limit, tokens(0)), Verdict::Later);
        }
    }
}
