use std::{collections::VecDeque, time::Duration};

use teammy_kernel::{Caller, LlmMessage, MeetingId, Name};

use super::*;

type Outcome = Result<&'static str, Problem>;

/// A model that follows a list, and then answers.
#[derive(Clone)]
struct Scripted {
    name: &'static str,
    script: Arc<Mutex<VecDeque<(Duration, Outcome)>>>,
    asked: Arc<Mutex<Vec<Instant>>>,
    running: Arc<Mutex<(usize, usize)>>,
    takes: Duration,
    /// What each answer reports.
    usage: Option<Usage>,
    /// The most tokens that each request asked for.
    bounds: Arc<Mutex<Vec<Option<u32>>>>,
}

impl Scripted {
    fn new(name: &'static str, script: impl IntoIterator<Item = Outcome>) -> Self {
        let script = script.into_iter().map(|outcome| (Duration::ZERO, outcome)).collect();
        Self {
            name,
            script: Arc::new(Mutex::new(script)),
            asked: Arc::default(),
            running: Arc::default(),
            takes: Duration::ZERO,
            usage: None,
            bounds: Arc::default(),
        }
    }

    fn asked(&self) -> usize {
        self.asked.lock().len()
    }

    /// The most requests that ran at once.
    fn at_once(&self) -> usize {
        self.running.lock().1
    }
}

struct Running(Arc<Mutex<(usize, usize)>>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.lock().0 -= 1;
    }
}

impl ModelClient for Scripted {
    fn name(&self) -> &str {
        self.name
    }

    async fn ask(&self, question: Question<'_>) -> Result<Answer, Problem> {
        if let Question::Chat(request, _) = question {
            self.bounds.lock().push(request.max_tokens);
        }
        self.asked.lock().push(Instant::now());
        {
            let mut running = self.running.lock();
            running.0 += 1;
            running.1 = running.1.max(running.0);
        }
        let _running = Running(self.running.clone());
        let (takes, outcome) = self.script.lock().pop_front().unwrap_or((self.takes, Ok("yes")));
        tokio::time::sleep(takes).await;
        outcome.map(|text| {
            let mut response = LlmResponse::new(text);
            response.usage = self.usage;
            Answer::Chat(response)
        })
    }
}

fn failed(class: Class) -> Outcome {
    Err(Problem { usage: Usage { prompt: 3, ..Usage::default() }, ..Problem::new(class, "it fails") })
}

fn request(meeting: &str) -> LlmRequest {
    let (meeting, instance) = (MeetingId::new(meeting).unwrap(), Name::new("i").unwrap());
    LlmRequest::new(Model::Default, vec![LlmMessage::user("?")], Caller::new(meeting, instance))
}

fn roles(first: &str) -> Roles {
    Roles { default: first.to_owned(), fast: first.to_owned(), ..Roles::default() }
}

fn with_terms(models: &[(&Scripted, Terms)], budgets: Option<Budgets>) -> Arc<Models<Scripted>> {
    let first = models[0].0.name;
    let models = models.iter().map(|(client, terms)| ((*client).clone(), terms.clone())).collect();
    Arc::new(Models::new(models, &roles(first), RetryPolicy { tries: 3 }, budgets).unwrap())
}

fn models(models: &[(&Scripted, &[&str])], at_once: Option<usize>) -> Arc<Models<Scripted>> {
    let terms = models.iter().map(|(client, fallback)| {
        let fallback = fallback.iter().map(|name| (*name).to_owned()).collect();
        let capacity = Capacity { at_once, ..Capacity::default() };
        (*client, Terms { fallback, capacity, ..Terms::default() })
    });
    with_terms(&terms.collect::<Vec<_>>(), None)
}

#[tokio::test(start_paused = true)]
async fn a_failed_try_costs_and_the_answer_says_so() {
    let big = Scripted::new("big", [failed(Class::Unavailable), failed(Class::Malformed)]);
    let response = models(&[(&big, &[])], None).complete(request("m")).await.unwrap();
    assert_eq!((response.usage.unwrap().prompt, big.asked(), response.model.as_deref()), (6, 3, Some("big")));
}

#[tokio::test(start_paused = true)]
async fn an_error_names_every_model_that_was_asked() {
    let big = Scripted::new("big", (0..9).map(|_| failed(Class::Refused)));
    let small = Scripted::new("small", (0..9).map(|_| failed(Class::Unavailable)));
    let error = models(&[(&big, &["small"]), (&small, &[])], None).complete(request("m")).await.unwrap_err();
    assert_eq!(error.to_string(), "the language model failed: big: it fails; then small: it fails");
    assert_eq!((big.asked(), small.asked()), (1, 3));
}

#[tokio::test(start_paused = true)]
async fn a_model_that_fails_again_and_again_is_left_alone() {
    let big = Scripted::new("big", (0..100).map(|_| failed(Class::Unavailable)));
    let small = Scripted::new("small", []);
    let models = models(&[(&big, &["small"]), (&small, &[])], None);
    for _ in 0..10 {
        assert_eq!(models.complete(request("m")).await.unwrap().model.as_deref(), Some("small"));
    }
    assert_eq!((big.asked(), small.asked()), (5, 10), "after five failures it is not asked");
    tokio::time::sleep(Duration::from_secs(10)).await;
    big.script.lock().clear();
    assert_eq!(models.complete(request("m")).await.unwrap().model.as_deref(), Some("big"), "the probe");
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_is_longer_than_the_time_left_is_not_waited() {
    let told = Problem { retry_after: Some(Duration::from_secs(30)), ..Problem::new(Class::Busy, "busy") };
    let big = Scripted::new("big", [Err(told)]);
    let models = models(&[(&big, &[])], None);
    let began = Instant::now();
    let mut hurried = request("m");
    hurried.caller.deadline = Some(began + Duration::from_secs(20));
    assert!(matches!(models.complete(hurried).await, Err(LlmError::Failed(_))));
    assert_eq!(began.elapsed(), Duration::ZERO);
    models.complete(request("m")).await.unwrap();
    assert!((30..=33).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn requests_wait_together_for_a_server_that_says_when_to_come_back() {
    let told = |seconds| {
        let retry_after = Some(Duration::from_secs(seconds));
        Err(Problem { retry_after, ..Problem::new(Class::Busy, "too many requests") })
    };
    let big = Scripted::new("big", []);
    // All of them ask before the first is answered.
    *big.script.lock() = (0..8).map(|_| (Duration::from_millis(1), told(2))).collect();
    let models = models(&[(&big, &[])], None);
    let began = Instant::now();
    let hurried = |meeting: &str| {
        let mut request = request(meeting);
        request.caller.deadline = Some(began + Duration::from_secs(57));
        request
    };
    let all = (0..8).map(|number| models.complete(hurried(&format!("m{number}"))));
    let answers = futures::future::join_all(all).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    assert_eq!((big.asked(), began.elapsed().as_secs()), (16, 2), "no breaker opened");

    // Who comes meanwhile does not ask.
    *big.script.lock() = [(Duration::ZERO, told(3))].into();
    let (first, second) = tokio::join!(models.complete(hurried("a")), models.complete(hurried("b")));
    assert!(first.is_ok() && second.is_ok());
    assert_eq!((big.asked(), began.elapsed().as_secs()), (16 + 3, 5));
}

#[tokio::test(start_paused = true)]
async fn meetings_take_turns_at_a_model_that_takes_few_requests() {
    let mut big = Scripted::new("big", []);
    big.takes = Duration::from_secs(1);
    let models = models(&[(&big, &[])], Some(2));
    let ask = |meeting: String| {
        let models = models.clone();
        tokio::spawn(async move {
            models.complete(request(&meeting)).await.unwrap();
            Instant::now()
        })
    };
    let began = Instant::now();
    let busy: Vec<_> = (0..1000).map(|_| ask("busy".to_owned())).collect();
    tokio::time::sleep(Duration::from_millis(1)).await;
    let quiet: Vec<_> = (0..20).map(|index| ask(format!("quiet-{index}"))).collect();
    for (index, quiet) in quiet.into_iter().enumerate() {
        let waited = quiet.await.unwrap() - began;
        // Two at once, of which the busy meeting has its turn among twenty-one.
        assert!(waited <= Duration::from_secs(13), "{index}: {waited:?}");
    }
    for busy in busy {
        busy.await.unwrap();
    }
    assert_eq!((big.asked(), big.at_once()), (1020, 2));
}

#[tokio::test(start_paused = true)]
async fn requests_that_are_called_off_at_any_moment_leave_their_place() {
    for seed in 0..30 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut big = Scripted::new("big", (0..20).map(|_| failed(Class::Malformed)));
        big.takes = Duration::from_millis(100);
        let models = models(&[(&big, &[])], Some(3));
        let mut tasks = Vec::new();
        for index in 0..60 {
            let (models, time) = (models.clone(), Duration::from_millis(random.u64(0..2_000)));
            let is_called_off = random.f64() < 0.5;
            tasks.push(tokio::spawn(async move {
                let answer = models.complete(request(&format!("m{}", index % 7)));
                if is_called_off {
                    drop(tokio::time::timeout(time, answer).await);
                } else {
                    drop(answer.await);
                }
            }));
        }
        for task in tasks {
            task.await.unwrap();
        }
        assert!(big.at_once() <= 3, "seed {seed}");
        // All places are free again: three run at once.
        let began = Instant::now();
        let last = futures::future::join_all((0..3).map(|_| models.complete(request("last")))).await;
        assert!(last.iter().all(Result::is_ok), "seed {seed}");
        assert_eq!(began.elapsed(), Duration::from_millis(100), "seed {seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_does_not_come_in_time_is_an_error() {
    let mut big = Scripted::new("big", []);
    big.takes = Duration::from_mins(1);
    let models = models(&[(&big, &[])], Some(1));
    let (first, began) = (models.clone(), Instant::now());
    let first = tokio::spawn(async move { first.complete(request("m")).await });
    tokio::task::yield_now().await;
    let mut hurried = request("m");
    hurried.caller.deadline = Some(began + Duration::from_secs(5));
    let error = models.complete(hurried).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the language model failed: big: its turn did not come in the time of the request"
    );
    assert_eq!(began.elapsed(), Duration::from_secs(5));
    first.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_place_that_is_freed_before_the_rate_lets_anyone_go_is_taken_in_time() {
    let mut big = Scripted::new("big", []);
    big.takes = Duration::from_secs(2);
    let capacity = Capacity { at_once: Some(1), requests_per_minute: Some(6), tokens_per_minute: None };
    let models = with_terms(&[(&big, Terms { capacity, ..Terms::default() })], None);
    let began = Instant::now();
    let first = tokio::spawn({
        let models = models.clone();
        async move { models.complete(request("a")).await }
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    models.complete(request("b")).await.unwrap();
    assert_eq!(began.elapsed(), Duration::from_secs(12), "it went after ten seconds");
    first.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_model_that_stalls_leaves_its_time_to_the_next_one() {
    let big = Scripted::new("big", (0..9).map(|_| failed(Class::Stalled)));
    let small = Scripted::new("small", []);
    let models = models(&[(&big, &["small"]), (&small, &[])], None);
    assert_eq!(models.complete(request("m")).await.unwrap().model.as_deref(), Some("small"));
    assert_eq!(big.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_open_breaker_is_not_waited_for() {
    let big = Scripted::new("big", (0..5).map(|_| failed(Class::Unavailable)));
    let small = Scripted::new("small", []);
    let capacity = Capacity { requests_per_minute: Some(6), ..Capacity::default() };
    let fallback = vec!["small".to_owned()];
    let terms = Terms { fallback, capacity, ..Terms::default() };
    let models = with_terms(&[(&big, terms), (&small, Terms::default())], None);
    for _ in 0..2 {
        models.complete(request("m")).await.unwrap();
    }
    assert_eq!(big.asked(), 5);
    let began = Instant::now();
    models.complete(request("m")).await.unwrap();
    assert_eq!(began.elapsed(), Duration::ZERO, "neither the rate nor the breaker is waited for");
}

#[tokio::test(start_paused = true)]
async fn the_meter_tells_what_each_model_cost() {
    let big = Scripted::new("big", (0..9).map(|_| failed(Class::Unavailable)));
    let mut small = Scripted::new("small", [failed(Class::Malformed)]);
    small.takes = Duration::from_secs(1);
    small.usage = Some(Usage { prompt: 10, completion: 5, ..Usage::default() });
    let tier = crate::policy::Tier { above: 0, input: 2, cached_input: 1, output: 7 };
    let priced = Terms { prices: Prices::new(vec![tier]), ..Terms::default() };
    let terms = Terms { fallback: vec!["small".to_owned()], ..priced.clone() };
    let models = with_terms(&[(&big, terms), (&small, priced)], None);
    let request = request("m");
    let meter = request.caller.meter.clone();
    models.complete(request).await.unwrap();
    let charged = meter.take();
    let of = |name: &str| {
        let of_model = charged[name];
        (
            of_model.calls,
            of_model.failures,
            of_model.retries,
            of_model.fallbacks,
            of_model.usage.prompt,
            of_model.cost.0,
        )
    };
    assert_eq!(of("big"), (1, 1, 2, 0, 9, 18));
    assert_eq!(of("small"), (1, 0, 1, 1, 13, 26 + 35));
    assert_eq!(charged["small"].took_ms, 1_000);
    // One that is called off counts, too.
    let big = Scripted { takes: Duration::from_mins(1), ..Scripted::new("big", []) };
    let models = with_terms(&[(&big, Terms::default())], None);
    let (request, meter) = {
        let request = self::request("m");
        let meter = request.caller.meter.clone();
        (request, meter)
    };
    tokio::time::timeout(Duration::from_secs(5), models.complete(request)).await.unwrap_err();
    assert_eq!((meter.take()["big"].calls, big.asked()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn an_answers_length_is_bounded_by_the_smaller_limit() {
    let big = Scripted::new("big", []);
    let models = with_terms(&[(&big, Terms { max_tokens: Some(100), ..Terms::default() })], None);
    for asked in [None, Some(50), Some(500)] {
        let mut request = request("m");
        request.max_tokens = asked;
        models.complete(request).await.unwrap();
    }
    assert_eq!(*big.bounds.lock(), [Some(100), Some(50), Some(100)]);
}

#[tokio::test(start_paused = true)]
async fn no_model_is_asked_for_what_it_is_not_named_for() {
    let big = Scripted::new("big", []);
    let models = models(&[(&big, &[])], None);
    let caller = request("m").caller;
    let error = models.embed(EmbedRequest::new(vec!["text".to_owned()], caller)).await.unwrap_err();
    assert!(matches!(&error, LlmError::Misconfigured(text) if text.contains("`embedding`")), "{error}");
    assert_eq!(big.asked(), 0);
}
