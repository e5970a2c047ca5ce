use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use teammy_kernel::{LlmError, LlmMessage, LlmProvider, LlmRequest, MeetingId, Model, NanoUsd, Usage};

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
async fn a_window_begins_anew() {
    let store = MemoryStore::default();
    let budgets = Budgets::new(vec![rule("hourly", Scope::Node, Window::Hour, 10)], now);
    budgets.keep_in(Arc::new(store));
    let one = caller("m", "i", None);
    NOW.store(3_599, Ordering::SeqCst);
    spend(&budgets, &one, 10).await.unwrap();
    assert!(spend(&budgets, &one, 1).await.is_err());
    NOW.store(3_600, Ordering::SeqCst);
    spend(&budgets, &one, 10).await.unwrap();
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

/// 200 calls at once, of which 30 % are called off at a random moment, and money for 50 whole ones.
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
        let limit = Limit { tokens: None, cost: Some(NanoUsd(most)) };
        let rule = Rule { limit, ..rule("b", Scope::Node, Window::Day, 0) };
        let budgets = Budgets::new(vec![rule], fixed);
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
        for task in tasks {
            match task.await.unwrap() {
                Some(Ok(_)) => answered += 1,
                Some(Err(LlmError::BudgetExceeded { name, .. })) if name == "b" => refused += 1,
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
        assert!(refused == 0 || spent == most, "seed {seed}: refused while money was there");
        assert!(answered + refused + called_off == 200 && refused > 50, "seed {seed}");
        let account = store.accounts(vec![AccountId {
            meeting: None,
            key: format!("budget\u{1f}b\u{1f}\u{1f}{}", Window::Day.begin(fixed())),
        }]);
        let account: Account = read(&account.await.unwrap()[0]);
        assert_eq!(account.holds(), 0, "seed {seed}: nothing is set aside at the end");
    }
}

fn question(meeting: &str, most: u64) -> LlmRequest {
    let mut request =
        LlmRequest::new(Model::Default, vec![LlmMessage::user("?")], caller(meeting, "i", None));
    request.max_tokens = Some(most.try_into().unwrap());
    request
}
