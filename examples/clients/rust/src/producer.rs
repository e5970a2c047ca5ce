//! Publishing whatever happens: packets with numbers, sent again until the meeting has them.

mod lines;
mod window;

use std::{
    collections::VecDeque,
    pin::{Pin, pin},
    time::Duration,
};

use futures::{FutureExt, Stream, StreamExt, stream};
use serde::Deserialize;
use teammy_kernel::{MeetingId, Publish};
use tokio::time::{Instant, sleep, timeout_at};

use crate::{
    digits::Digits,
    error::Error,
    http::{Http, Origin, Request},
    published::{self, Published},
    retry::{Policy, Tries},
};
use lines::Lines;
use window::{Attempt, Outcome, Turn, Window};

/// A publisher whose packets are published once, whatever happens to connections and nodes.
///
/// It numbers them, and sends each again until the meeting has it. Where it is it learns from the meeting, so a program that
/// comes back after its own restart goes on behind its last packet that arrived. A program that must know which one that was
/// asks [`next`](Self::next), or keeps its own numbers and publishes with [`publish_as`](Self::publish_as).
///
/// One program uses an id at a time. Sources that are not stored, such as `audio`, take no numbers.
///
/// # Examples
/// Each line of a file once, however often this runs:
/// ```no_run
/// # use teammy_client::{Client, Publish};
/// # async fn run(client: Client, lines: Vec<String>) -> Result<(), Box<dyn std::error::Error>> {
/// let mut producer = client.meeting("standup".parse()?).producer("transcript.txt").durable();
/// let published = producer.next().await? - 1;
/// for line in lines.iter().skip(published as usize) {
///     producer.publish(Publish::text("notes", line.as_str())?).await?;
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Producer {
    http: Http,
    meeting: MeetingId,
    policy: Policy,
    is_durable: bool,
    window: Window,
    /// Where the last results came from.
    from: Option<Origin>,
}

impl Producer {
    pub(crate) fn new(http: Http, meeting: MeetingId, id: String, policy: Policy) -> Self {
        Self { http, meeting, policy, is_durable: false, window: Window::new(id), from: None }
    }

    /// Waits until each packet is stored. Without it, a packet that was answered is lost if the node dies before it is stored, and
    /// the next packet fails with [`Error::Gap`].
    #[must_use]
    pub fn durable(mut self) -> Self {
        self.is_durable = true;
        self
    }

    /// Sets how long a packet is tried. Otherwise it is tried for ever.
    #[must_use]
    pub fn give_up_after(mut self, limit: Duration) -> Self {
        self.policy.give_up_after = Some(limit);
        self
    }

    /// Asks the meeting which number the next packet gets: one more than the packets of this producer that the meeting has.
    ///
    /// # Errors
    /// As [`publish`](Self::publish).
    pub async fn next(&mut self) -> Result<u64, Error> {
        self.window.abandon();
        self.window.forget();
        let mut tries = Tries::new(self.policy, Instant::now());
        loop {
            if let Some(next) = self.window.next() {
                return Ok(next);
            }
            if let Some(outcome) = self.attempt(&mut tries).await.pop_front() {
                settled(outcome)?;
            }
        }
    }

    /// Publishes a packet, and tries until it is published or must give up.
    ///
    /// # Errors
    /// * [`Error::Problem`]: the meeting refuses the packet. It is not published; the producer goes on.
    /// * [`Error::Unknown`] once it has given up: the packet may be published or not. The producer goes on.
    /// * [`Error::Unreachable`] once it has given up, before it reached a node. The packet is not published.
    /// * [`Error::Gap`], [`Error::Taken`]: the packet is not published. See there.
    ///
    /// # Cancel safety
    /// The packet may be published nevertheless. The producer goes on.
    pub async fn publish(&mut self, packet: Publish) -> Result<Published, Error> {
        self.window.abandon();
        self.window.push(packet);
        self.one().await
    }

    /// Publishes a packet under a number that the caller keeps with it, from 1 without a gap, whether or not an earlier call
    /// did. If the meeting has the number already, that is a success and [`duplicate`](Published::duplicate): the packet is
    /// taken for the same.
    ///
    /// # Errors
    /// As [`publish`](Self::publish); [`Error::Gap`] if the numbers before are not there.
    ///
    /// # Cancel safety
    /// The packet may be published nevertheless.
    pub async fn publish_as(&mut self, number: u64, packet: Publish) -> Result<Published, Error> {
        self.window.abandon();
        self.window.push_as(number, packet);
        let published = self.one().await;
        if published.as_ref().is_ok_and(|published| published.duplicate) {
            // There may be more behind it.
            self.window.forget();
        }
        published
    }

    /// Publishes packets in their order, many at a time, and gives the result of each. A packet that the meeting refuses has an
    /// error, and those after it are published. Any other error is the last item: none of the packets after it has a result.
    ///
    /// How long a packet is tried counts from the last result.
    ///
    /// # Cancel safety
    /// Packets without a result may be published nevertheless. The producer goes on.
    pub fn publish_all<'a>(&'a mut self, packets: impl Stream<Item = Publish> + Send + 'a) -> Results<'a> {
        self.window.abandon();
        let all = All {
            packets: Some(Box::pin(packets)),
            tries: Tries::new(self.policy, Instant::now()),
            outcomes: VecDeque::new(),
            producer: self,
        };
        Results(Box::pin(stream::unfold(Some(all), |all| async move { all?.next().await })))
    }

    async fn one(&mut self) -> Result<Published, Error> {
        let mut tries = Tries::new(self.policy, Instant::now());
        loop {
            if let Some(outcome) = self.attempt(&mut tries).await.pop_front() {
                return settled(outcome);
            }
        }
    }

    /// Sends once what is to be sent, and waits before the next time if need be.
    async fn attempt(&mut self, tries: &mut Tries) -> VecDeque<Outcome> {
        let mut outcomes = VecDeque::new();
        self.from = None;
        let turn = match self.window.attempt() {
            Attempt::Ask => {
                let answer = self.ask(tries.deadline()).await;
                self.window.asked(answer)
            }
            Attempt::Send(packets) => {
                let cut = self.send(&packets, tries.deadline(), &mut outcomes).await.err();
                let is_stopped = matches!(outcomes.back(), Some(Outcome::Stopped(_)));
                if is_stopped { Turn::On } else { self.window.over(cut) }
            }
        };
        if !outcomes.is_empty() {
            tries.progress(Instant::now());
        }
        match turn {
            Turn::On => {}
            Turn::Came(outcome) => outcomes.push_back(outcome),
            // What came is handed over first, and then it goes on at once.
            Turn::Wait(error) if !outcomes.is_empty() => self.leave(&error),
            Turn::Wait(error) => {
                self.leave(&error);
                match tries.after(&error, Instant::now(), fastrand::f64()) {
                    Some(wait) => sleep(wait).await,
                    None => outcomes.push_back(self.window.give_up(error)),
                }
            }
        }
        outcomes
    }

    /// The node that gave the last results, each of which may be a problem, may not be the one to ask again.
    fn leave(&mut self, error: &Error) {
        if let Some(from) = self.from.take() {
            from.failed(error);
        }
    }

    fn durably(&self, request: Request) -> Request {
        if self.is_durable { request.query("durable", "true") } else { request }
    }

    /// Asks which number is next.
    async fn ask(&self, deadline: Option<Instant>) -> Result<u64, Error> {
        #[derive(Deserialize)]
        struct Place {
            next: Digits,
        }
        let path = ["meetings", self.meeting.as_str(), "producers", self.window.producer()];
        let request = self.durably(Request::get(path));
        let Place { next: Digits(next) } =
            before(deadline, self.http.json(request, "how far a producer is")).await?;
        Ok(next)
    }

    /// Sends packets as lines, and hands their results over as they come.
    async fn send(
        &mut self,
        packets: &[Publish],
        deadline: Option<Instant>,
        outcomes: &mut VecDeque<Outcome>,
    ) -> Result<(), Error> {
        let request = Request::post(["meetings", self.meeting.as_str(), "packets"]);
        let request = self.durably(request).body("application/x-ndjson", lines::write(packets));
        let mut answer = before(deadline, self.http.send(request)).await?;
        self.from = Some(answer.origin());
        let mut lines = Lines::default();
        while let Some(chunk) = before(deadline, answer.chunk()).await? {
            lines.push(&chunk);
            while let Some(line) = lines.next() {
                let outcome = self.window.line(published::read(&line));
                let is_last = matches!(outcome, Some(Outcome::Stopped(_)));
                outcomes.extend(outcome);
                if is_last {
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

/// Waits, but not beyond the time when the packets are given up.
async fn before<T>(
    deadline: Option<Instant>,
    coming: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    match deadline {
        None => coming.await,
        Some(at) => timeout_at(at, coming).await.unwrap_or_else(|late| Err(Error::Unknown(Box::new(late)))),
    }
}

fn settled(outcome: Outcome) -> Result<Published, Error> {
    match outcome {
        Outcome::Published(published) => Ok(published),
        Outcome::Refused(error) | Outcome::Stopped(error) => Err(error),
    }
}

/// The results of [`Producer::publish_all`], in the order of the packets.
#[must_use = "nothing is published unless the results are read"]
pub struct Results<'a>(Pin<Box<dyn Stream<Item = Result<Published, Error>> + Send + 'a>>);

impl std::fmt::Debug for Results<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Results").finish_non_exhaustive()
    }
}

impl Stream for Results<'_> {
    type Item = Result<Published, Error>;

    fn poll_next(
        mut self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        self.0.as_mut().poll_next(cx)
    }
}

/// Publishes a stream.
struct All<'a> {
    producer: &'a mut Producer,
    /// None once it has ended.
    packets: Option<Pin<Box<dyn Stream<Item = Publish> + Send + 'a>>>,
    tries: Tries,
    outcomes: VecDeque<Outcome>,
}

impl All<'_> {
    async fn next(mut self) -> Option<(Result<Published, Error>, Option<Self>)> {
        loop {
            match self.outcomes.pop_front() {
                Some(Outcome::Stopped(error)) => return Some((Err(error), None)),
                Some(outcome) => return Some((settled(outcome), Some(self))),
                None => {}
            }
            self.fill().await;
            if self.producer.window.len() == 0 {
                return None;
            }
            self.outcomes = self.producer.attempt(&mut self.tries).await;
        }
    }

    /// Takes the packets that are there, and waits for one if none is to be sent.
    async fn fill(&mut self) {
        let window = &mut self.producer.window;
        while let Some(packets) = self.packets.as_mut().filter(|_| window.has_room()) {
            let coming = pin!(packets.next());
            let came = if window.len() == 0 {
                let came = coming.await;
                self.tries.progress(Instant::now());
                came
            } else {
                let Some(came) = coming.now_or_never() else { return };
                came
            };
            match came {
                Some(packet) => window.push(packet),
                None => self.packets = None,
            }
        }
    }
}
