//! The load generator, in a process of its own. It shares the machine with the server, so it does as little as can be: frames
//! are built once, a publisher's socket is written and read without being waited for, and only what is timed is waited for.

use std::{
    collections::VecDeque,
    io::{self, Read as _, Write as _},
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use cpu_time::ProcessTime;
use hdrhistogram::Histogram;
use parking_lot::Mutex;
use tokio::{
    io::AsyncReadExt as _,
    task::JoinSet,
    time::{Instant, MissedTickBehavior},
};

use crate::{
    frames::{self, Opened, Received, number_of},
    meetings,
    plan::{FRAME, FRAME_BYTES, Measured, Plan, Protocol, TRANSCRIPTION, times},
    plugins::TIMED,
    process,
};

/// A meeting sends in one of so many slots of a millisecond.
const SLOTS: usize = FRAME.as_millis() as usize;
/// The threads that send; as many as the machine of the documented figures has cores.
const SENDERS: usize = 2;
/// A publisher's socket is read each so many frames.
const READ_EACH: u64 = 8;
/// How long answers are awaited at the end.
const LAST_ANSWERS: Duration = Duration::from_secs(5);

/// What readers have seen of one meeting.
#[derive(Default)]
struct Awaited {
    /// When transcriptions were due whose outputs have not come.
    due: Mutex<VecDeque<Instant>>,
}

/// What all tasks count.
struct Counts {
    began: Instant,
    ends: Instant,
    latency: Mutex<Histogram<u64>>,
    sent: AtomicU64,
    /// Those of them within the time that is measured.
    measured: AtomicU64,
    acks: AtomicU64,
    problems: AtomicU64,
}

impl Counts {
    fn is_measured(&self, due: Instant) -> bool {
        (self.began..self.ends).contains(&due)
    }

    fn took(&self, due: Instant, until: Instant) {
        if self.is_measured(due) {
            let took = until.saturating_duration_since(due).as_micros() as u64;
            self.latency.lock().record(took).expect("the histogram grows");
        }
    }
}

/// One meeting's publisher.
struct Publisher {
    stream: TcpStream,
    /// What the socket had no room for.
    backlog: Vec<u8>,
    received: Received,
    awaited: Arc<Awaited>,
    sent: u64,
    answered: u64,
}

impl Publisher {
    fn write(&mut self, frame: &[u8]) -> io::Result<()> {
        self.sent += 1;
        if self.backlog.is_empty() {
            match self.stream.write(frame) {
                Ok(count) => self.backlog.extend_from_slice(&frame[count..]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.backlog.extend_from_slice(frame);
                }
                Err(error) => return Err(error),
            }
            return Ok(());
        }
        self.backlog.extend_from_slice(frame);
        self.write_backlog()
    }

    fn write_backlog(&mut self) -> io::Result<()> {
        match self.stream.write(&self.backlog) {
            Ok(count) => drop(self.backlog.drain(..count)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Reads answers, as many as there are.
    fn read(&mut self, protocol: Protocol, counts: &Counts, piece: &mut [u8]) -> io::Result<()> {
        loop {
            let count = match self.stream.read(piece) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            let answered = &mut self.answered;
            self.received.take(&piece[..count], |message| match protocol {
                Protocol::Echo | Protocol::Pipecat => *answered += 1,
                Protocol::Teammy if message.starts_with(b"{\"type\":\"ack\"") => {
                    counts.acks.fetch_add(1, Ordering::Relaxed);
                    *answered = number_of(message, b"\"number\":").unwrap_or_default();
                }
                Protocol::Teammy if message.starts_with(b"{\"type\":\"problem\"") => {
                    counts.problems.fetch_add(1, Ordering::Relaxed);
                }
                Protocol::Teammy => {}
            });
            if count < piece.len() {
                return Ok(());
            }
        }
    }
}

/// The frames that all meetings send.
struct Frames {
    audio: Vec<u8>,
    transcription: Option<Vec<u8>>,
}

impl Frames {
    fn new(plan: &Plan) -> Self {
        // A tone, which is loud enough to count as speech.
        let sound: Vec<u8> =
            (0..FRAME_BYTES / 2).flat_map(|at| ((at % 32) as i16 * 500).to_le_bytes()).collect();
        let text = "So what do we do about the deadline? I would say that we move it by a week.";
        let payload = format!("{{\"text\":\"{text}\",\"start_ms\":1000,\"end_ms\":2800,\"is_final\":true}}");
        let packet =
            format!("{{\"source\":\"transcription\",\"participant\":\"Ada\",\"payload\":{payload}}}");
        let (audio, said) = match plan.protocol {
            Protocol::Pipecat => (frames::frame(frames::Opcode::Binary, &sound), packet),
            Protocol::Teammy | Protocol::Echo => {
                let publish = format!("{{\"type\":\"publish\",\"packet\":{packet}}}");
                (frames::audio("Ada", &sound), publish)
            }
        };
        Self { audio, transcription: plan.plugins.are_any().then(|| frames::text(&said)) }
    }
}

/// Sends the frames of some meetings, each at its time, and returns how late it was.
async fn send(
    plan: Arc<Plan>,
    counts: Arc<Counts>,
    mut slots: Vec<Vec<Publisher>>,
    origin: Instant,
) -> (Vec<Publisher>, Histogram<u64>) {
    let (frames, mut late, mut piece) = (Frames::new(&plan), times(), vec![0; 16 << 10]);
    let mut clock = tokio::time::interval_at(origin, Duration::from_millis(1));
    // A tick that is missed is made up for: what was due is sent, only later.
    clock.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut tick = 0_u64;
    loop {
        let due = clock.tick().await;
        if due >= counts.ends {
            break;
        }
        let is_measured = counts.is_measured(due);
        let (slot, round) = (tick as usize % SLOTS, tick / SLOTS as u64);
        let mut sent = 0;
        for (index, publisher) in slots[slot].iter_mut().enumerate() {
            publisher.write(&frames.audio).expect("the server keeps the connection");
            sent += 1;
            // Transcriptions are spread as well.
            let turn = round + (index * SLOTS + slot) as u64 * 7;
            if let Some(transcription) = &frames.transcription
                && turn.is_multiple_of(TRANSCRIPTION)
            {
                publisher.awaited.due.lock().push_back(due);
                publisher.write(transcription).expect("the server keeps the connection");
                sent += 1;
            }
            if plan.protocol != Protocol::Pipecat && (round + index as u64).is_multiple_of(READ_EACH) {
                publisher.read(plan.protocol, &counts, &mut piece).expect("the server keeps the connection");
            }
        }
        counts.sent.fetch_add(sent, Ordering::Relaxed);
        if is_measured {
            counts.measured.fetch_add(sent, Ordering::Relaxed);
            let after = due.elapsed().as_micros() as u64;
            late.record(after).expect("the histogram grows");
        }
        tick += 1;
    }
    (slots.into_iter().flatten().collect(), late)
}

/// Reads outputs until the connection ends.
async fn receive(
    plan: Arc<Plan>,
    (stream, mut received): Opened,
    awaited: Arc<Awaited>,
    counts: Arc<Counts>,
) {
    stream.set_nonblocking(true).expect("a stream takes the option");
    let mut stream = tokio::net::TcpStream::from_std(stream).expect("the runtime takes the stream");
    let mut piece = vec![0; 2 << 10];
    let source = format!("\"source\":\"{TIMED}\"");
    let is_output = |message: &[u8]| {
        message.first() == Some(&b'{') && message.windows(source.len()).any(|part| part == source.as_bytes())
    };
    loop {
        let count = match stream.read(&mut piece).await {
            Ok(0) | Err(_) => return,
            Ok(count) => count,
        };
        let now = Instant::now();
        received.take(&piece[..count], |message| {
            if plan.protocol == Protocol::Teammy && message.starts_with(b"{\"type\":\"problem\"") {
                counts.problems.fetch_add(1, Ordering::Relaxed);
            } else if is_output(message)
                && let Some(due) = awaited.due.lock().pop_front()
            {
                counts.took(due, now);
            }
        });
    }
}

/// Opens the connections of a meeting: the publisher's, and what reads its outputs.
fn open(plan: &Plan, meeting: usize) -> io::Result<(Publisher, Option<Opened>)> {
    let path = match plan.protocol {
        Protocol::Teammy => {
            let ack_ms = plan.ack_ms.map_or(String::new(), |ack_ms| format!("?ack_ms={ack_ms}"));
            format!("/v1/meetings/{}/ws{ack_ms}", meetings::id(meeting))
        }
        Protocol::Echo => "/".to_owned(),
        Protocol::Pipecat => "/ws".to_owned(),
    };
    let (stream, received) = frames::connect(plan.address, &path)?;
    let reader = match plan.protocol {
        Protocol::Teammy if plan.plugins.are_any() => {
            let (mut reader, received) = frames::connect(plan.address, &path)?;
            let subscribe = format!("{{\"type\":\"subscribe\",\"outputs\":true,\"sources\":[\"{TIMED}\"]}}");
            reader.write_all(&frames::text(&subscribe))?;
            Some((reader, received))
        }
        Protocol::Pipecat => Some((stream.try_clone()?, Received::default())),
        Protocol::Teammy | Protocol::Echo => None,
    };
    stream.set_nonblocking(true)?;
    let awaited = Arc::default();
    Ok((Publisher { stream, backlog: Vec::new(), received, awaited, sent: 0, answered: 0 }, reader))
}

/// Does what a plan says, and prints what came of it.
pub fn run(plan: &str) {
    let plan: Plan = serde_json::from_str(plan).expect("the plan is JSON");
    let threads = SENDERS;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build();
    let measured = runtime.expect("a runtime starts").block_on(load(Arc::new(plan)));
    println!("{}", serde_json::to_string(&measured).expect("it has a JSON form"));
}

async fn load(plan: Arc<Plan>) -> Measured {
    if plan.protocol == Protocol::Teammy {
        meetings::open(plan.address, plan.meetings, plan.plugins.instances()).await;
    }
    let mut slots: Vec<Vec<Vec<Publisher>>> = Vec::new();
    slots.resize_with(SENDERS, || (0..SLOTS).map(|_| Vec::new()).collect());
    let mut readers = Vec::new();
    for meeting in 0..plan.meetings {
        let (publisher, reader) = open(&plan, meeting).expect("the server takes the connection");
        readers.extend(reader.map(|reader| (reader, publisher.awaited.clone())));
        slots[meeting % SENDERS][meeting / SENDERS % SLOTS].push(publisher);
    }
    let origin = Instant::now() + Duration::from_millis(500);
    let began = origin + plan.warm_up;
    let ends = began + plan.lasts;
    let counts = Arc::new(Counts {
        began,
        ends,
        latency: Mutex::new(times()),
        sent: AtomicU64::default(),
        measured: AtomicU64::default(),
        acks: AtomicU64::default(),
        problems: AtomicU64::default(),
    });
    let mut reading = JoinSet::new();
    let awaited: Vec<_> = readers.iter().map(|(_, awaited)| awaited.clone()).collect();
    for (reader, awaited) in readers {
        reading.spawn(receive(plan.clone(), reader, awaited, counts.clone()));
    }
    let mut sending = JoinSet::new();
    for slots in slots {
        sending.spawn(send(plan.clone(), counts.clone(), slots, origin));
    }
    tokio::time::sleep_until(began).await;
    let (server_before, own_before, busy_before) =
        (process::cpu(plan.server), ProcessTime::now(), process::busy());
    let (acks_before, sent_before) =
        (counts.acks.load(Ordering::Relaxed), counts.sent.load(Ordering::Relaxed));
    tokio::time::sleep_until(ends).await;
    let server = process::cpu(plan.server).saturating_sub(server_before);
    let (own, sent) = (own_before.elapsed(), counts.sent.load(Ordering::Relaxed) - sent_before);
    let acks = counts.acks.load(Ordering::Relaxed) - acks_before;
    let busy = process::busy().saturating_sub(busy_before);
    let took = began.elapsed().as_secs_f64();
    let resident = process::resident(plan.server) as f64 / f64::from(1 << 20);

    let (mut late, mut publishers) = (times(), Vec::new());
    while let Some(sent) = sending.join_next().await {
        let (of_sender, its) = sent.expect("a sender sends");
        publishers.extend(of_sender);
        late.add(&its).expect("the histogram grows");
    }
    let unanswered = last_answers(&plan, &counts, &mut publishers, &awaited).await;
    let mut missing = 0;
    for awaited in &awaited {
        for due in awaited.due.lock().drain(..).filter(|due| counts.is_measured(*due)) {
            missing += 1;
            counts.took(due, Instant::now());
        }
    }
    let lost = match plan.protocol {
        Protocol::Teammy if plan.plugins.are_any() => meetings::lost(plan.address).await,
        _ => 0,
    };
    let latency = counts.latency.lock();
    let ms = |micros: u64| micros as f64 / 1e3;
    Measured {
        meetings: plan.meetings,
        frames: sent as f64 / took,
        p50: ms(latency.value_at_quantile(0.5)),
        p99: ms(latency.value_at_quantile(0.99)),
        max: ms(latency.max()),
        outputs: latency.len(),
        missing,
        late_p99: ms(late.value_at_quantile(0.99)),
        cpu_each: server.as_secs_f64() * 1e6 / sent as f64,
        server_cores: server.as_secs_f64() / took,
        own_cores: own.as_secs_f64() / took,
        other_cores: busy.saturating_sub(server + own).as_secs_f64() / took,
        resident,
        unanswered,
        problems: counts.problems.load(Ordering::Relaxed),
        acks_each: acks as f64 / sent as f64,
        lost,
    }
}

/// Waits until all is answered, for a while, and returns how many frames are not.
async fn last_answers(
    plan: &Plan,
    counts: &Counts,
    publishers: &mut [Publisher],
    awaited: &[Arc<Awaited>],
) -> u64 {
    let until = Instant::now() + LAST_ANSWERS;
    let mut piece = vec![0; 16 << 10];
    loop {
        let mut unanswered = 0;
        for publisher in &mut *publishers {
            if !publisher.backlog.is_empty() {
                publisher.write_backlog().expect("the server keeps the connection");
            }
            if plan.protocol != Protocol::Pipecat {
                publisher.read(plan.protocol, counts, &mut piece).expect("the server keeps the connection");
                unanswered += publisher.sent - publisher.answered;
            }
        }
        let waits = awaited.iter().any(|awaited| !awaited.due.lock().is_empty());
        if (unanswered == 0 && !waits) || Instant::now() >= until {
            return unanswered;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
