use std::sync::atomic::{AtomicUsize, Ordering};

use teammy_kernel::{Charges, LlmMessage, MeetingId, Model, Name, Usage};

use super::*;

/// A model that takes a second and says how often it was asked.
#[derive(Clone)]
struct Slow {
    asked: Arc<AtomicUsize>,
    fails: bool,
}

impl LlmProvider for Slow {
    async fn complete(&self, request: LlmRequest) -> Result<LlmResponse, LlmError> {
        let _charged = Charged(request.caller.meter.clone());
        let number = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
        tokio::time::sleep(Duration::from_secs(1)).await;
        if self.fails {
            return Err(LlmError::BudgetExceeded { name: request.caller.meeting.to_string(), resets: None });
        }
        let mut response = LlmResponse::new(format!("answer {number}"));
        response.usage = Some(Usage { prompt: 7, ..Usage::default() });
        Ok(response)
    }
}

/// Charges a call when it is over, also when it was given up.
struct Charged(Meter);

impl Drop for Charged {
    fn drop(&mut self) {
        let mut charges = Charges::default();
        charges.calls = 1;
        self.0.charge("slow", charges);
    }
}

fn calls(request: &LlmRequest) -> u64 {
    request.caller.meter.take().values().map(|charges| charges.calls).sum()
}

fn request(meeting: &str, text: &str) -> LlmRequest {
    let caller = Caller::new(MeetingId::new(meeting).unwrap(), Name::new("i").unwrap());
    let mut request = LlmRequest::new(Model::Default, vec![LlmMessage::user(text)], caller);
    request.temperature = Some(0.0);
    request
}

fn shared(keep: Duration, fails: bool) -> (Slow, Arc<Shared<Slow>>) {
    let slow = Slow { asked: Arc::default(), fails };
    (slow.clone(), Arc::new(Shared::new(slow, keep, 10_000, false)))
}

#[tokio::test(start_paused = true)]
async fn equal_requests_at_one_time_are_one() {
    let (slow, shared) = shared(Duration::ZERO, false);
    let both = [shared.complete(request("a", "?")), shared.complete(request("b", "?"))];
    let [one, other] = futures::future::join_all(both).await.try_into().unwrap();
    let (one, other) = (one.unwrap(), other.unwrap());
    assert_eq!((one.text.as_str(), other.text.as_str()), ("answer 1", "answer 1"));
    assert_eq!((one.usage.unwrap().prompt, other.usage), (7, None), "it is paid once");
    assert_eq!(shared.complete(request("a", "?")).await.unwrap().text, "answer 2", "nothing is kept");
    let mut warm = request("a", "?");
    warm.temperature = Some(0.1);
    let mut of_tenant = request("a", "?");
    of_tenant.caller.tenant = Some("acme".into());
    let mut fast = request("a", "?");
    fast.model = Model::Fast;
    let different = [request("a", "?"), request("a", "!"), warm.clone(), warm, of_tenant, fast];
    let answers = futures::future::join_all(different.map(|request| shared.complete(request))).await;
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(slow.asked.load(Ordering::SeqCst), 8);
}

#[tokio::test(start_paused = true)]
async fn a_shared_request_outlives_the_one_that_began_it() {
    let (slow, shared) = shared(Duration::ZERO, false);
    let first = tokio::spawn({
        let shared = shared.clone();
        async move { shared.complete(request("a", "?")).await }
    });
    tokio::time::sleep(Duration::from_millis(500)).await;
    let second = tokio::spawn({
        let shared = shared.clone();
        async move { shared.complete(request("b", "?")).await }
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    first.abort();
    assert_eq!(second.await.unwrap().unwrap().text, "answer 1");
    // One that has more time than the running one does not depend on it.
    let mut hurried = request("a", "?");
    hurried.caller.deadline = Some(Instant::now() + Duration::from_millis(1));
    let both = [shared.complete(hurried), shared.complete(request("b", "?"))];
    futures::future::join_all(both).await;
    assert_eq!(slow.asked.load(Ordering::SeqCst), 3);
}

#[tokio::test(start_paused = true)]
async fn whoever_is_still_there_pays() {
    /// Asks, and gives up after so long.
    async fn ask(shared: &Shared<Slow>, request: &LlmRequest, millis: u64) -> bool {
        let time = Duration::from_millis(millis);
        tokio::time::timeout(time, shared.complete(request.clone())).await.is_ok()
    }
    let cases = [
        // How long each of two waits, and what each pays.
        ([2_000, 2_000], [1, 0]),
        ([500, 2_000], [0, 1]),
        ([2_000, 500], [1, 0]),
        ([500, 700], [0, 1]),
        ([700, 500], [1, 0]),
    ];
    for (waits, expected) in cases {
        let (slow, shared) = shared(Duration::ZERO, false);
        let [first, second] = [request("a", "?"), request("b", "?")];
        tokio::join!(ask(&shared, &first, waits[0]), ask(&shared, &second, waits[1]));
        assert_eq!(slow.asked.load(Ordering::SeqCst), 1);
        assert_eq!([calls(&first), calls(&second)], expected, "{waits:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_in_the_place_of_somebody_less_urgent() {
    let (slow, shared) = shared(Duration::ZERO, false);
    let [low, high] = [Priority::Low, Priority::High].map(|priority| {
        let mut request = request("a", "?");
        request.caller.priority = priority;
        request
    });
    let (low, high) = (shared.complete(low), shared.complete(high.clone()));
    tokio::join!(low, high, shared.complete(request("b", "?"))).0.unwrap();
    assert_eq!(slow.asked.load(Ordering::SeqCst), 2, "the third joins the second");
}

#[tokio::test(start_paused = true)]
async fn budgets_of_meetings_are_kept_apart() {
    let slow = Slow { asked: Arc::default(), fails: false };
    let shared = Shared::new(slow.clone(), Duration::ZERO, 10_000, true);
    let asked = [request("a", "?"), request("b", "?"), request("a", "?")];
    futures::future::join_all(asked.map(|request| shared.complete(request))).await;
    assert_eq!(slow.asked.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn a_budget_that_is_used_up_is_not_shared() {
    let (slow, shared) = shared(Duration::ZERO, true);
    let both = [shared.complete(request("a", "?")), shared.complete(request("b", "?"))];
    let errors: Vec<_> = futures::future::join_all(both).await.into_iter().map(Result::unwrap_err).collect();
    let names: Vec<_> = errors
        .iter()
        .map(|error| match error {
            LlmError::BudgetExceeded { name, .. } => name.as_str(),
            _ => "",
        })
        .collect();
    assert_eq!((names, slow.asked.load(Ordering::SeqCst)), (vec!["a", "b"], 2));
}

#[tokio::test(start_paused = true)]
async fn answers_are_kept_for_a_time_and_within_a_size() {
    let (slow, shared) = shared(Duration::from_mins(1), false);
    assert_eq!(shared.complete(request("a", "?")).await.unwrap().text, "answer 1");
    let again = shared.complete(request("b", "?")).await.unwrap();
    assert_eq!((again.text.as_str(), again.usage), ("answer 1", None));
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert_eq!(shared.complete(request("a", "?")).await.unwrap().text, "answer 2");
    for text in ["x".repeat(5_000), "y".repeat(5_000)] {
        shared.complete(request("a", &text)).await.unwrap();
        shared.complete(request("a", "?")).await.unwrap();
    }
    assert_eq!(slow.asked.load(Ordering::SeqCst), 4, "the one in use is kept");
    shared.complete(request("a", &"x".repeat(5_000))).await.unwrap();
    assert_eq!(slow.asked.load(Ordering::SeqCst), 5, "another one made room");
    assert!(shared.state.cache.lock().bytes <= 10_000);
    shared.complete(request("a", &"z".repeat(20_000))).await.unwrap();
    assert_eq!(
        shared.complete(request("a", &"z".repeat(20_000))).await.unwrap().text,
        "answer 7",
        "too large to keep"
    );
}
