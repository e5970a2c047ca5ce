//! The rules that a history keeps.

use std::collections::{BTreeMap, BTreeSet};

use teammy_kernel::Lifecycle;

use super::{
    Outcome, Record, Violation,
    meeting::{Found, Meeting},
    outputs,
};

/// Checks a history. Returns what must not be, by meeting; nothing if all is well.
pub fn check(history: &[Record]) -> Vec<Violation> {
    let mut meetings: BTreeMap<&str, Meeting<'_>> = BTreeMap::new();
    let mut violations = Vec::new();
    for record in history {
        let empty = || Meeting { records: Vec::new(), stored: BTreeMap::new() };
        let meeting = meetings.entry(record.meeting()).or_insert_with(empty);
        meeting.records.push(record);
        if let Record::Stored(stored) = record
            && meeting.stored.insert(stored.seq, stored).is_some()
        {
            let text = format!("two packets have seq {}", stored.seq);
            violations.push(Violation { rule: "one packet a seq", meeting: stored.meeting.clone(), text });
        }
    }
    for (name, meeting) in &meetings {
        let rules = [told, numbers, subscribers, lifecycle, owners, runs, outputs::outputs];
        for (rule, text) in rules.iter().flat_map(|rule| rule(meeting)) {
            violations.push(Violation { rule, meeting: (*name).to_owned(), text });
        }
    }
    violations
}

/// What a publisher was told is so, and no packet is stored twice.
fn told(meeting: &Meeting<'_>) -> Found {
    const RULE: &str = "acknowledged once";
    let mut found = Vec::new();
    let mut seqs: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    for stored in meeting.stored.values().filter(|stored| stored.count.is_none()) {
        if let Some(key) = &stored.key {
            seqs.entry(key).or_default().push(stored.seq);
        }
    }
    for (key, seqs) in seqs.iter().filter(|(_, seqs)| seqs.len() > 1) {
        found.push((RULE, format!("packet {key} is stored as seqs {seqs:?}")));
    }
    for record in &meeting.records {
        let Record::Told { publisher, key, outcome, seq, .. } = record else { continue };
        let at = seqs.get(key.as_str()).map(Vec::as_slice).unwrap_or_default();
        match outcome {
            Outcome::Stored if at.is_empty() => {
                found.push((
                    RULE,
                    format!("{publisher} was told that {key} is stored as {seq:?}, and it is not"),
                ));
            }
            Outcome::Stored if seq.is_some_and(|seq| !at.contains(&seq)) => {
                found.push((
                    RULE,
                    format!("{publisher} was told that {key} is seq {seq:?}, and it is {at:?}"),
                ));
            }
            Outcome::Refused if !at.is_empty() => {
                found.push((
                    RULE,
                    format!("{publisher} was told that {key} was refused, and it is seq {at:?}"),
                ));
            }
            _ => {}
        }
    }
    found
}

/// A producer's numbers are stored in their order, without a hole.
fn numbers(meeting: &Meeting<'_>) -> Found {
    let mut found = Vec::new();
    let mut next: BTreeMap<&str, u64> = BTreeMap::new();
    for stored in meeting.stored.values() {
        let (Some(publisher), Some(number)) = (&stored.publisher, stored.number) else { continue };
        let next = next.entry(publisher).or_insert(1);
        if number != *next {
            let text = format!("seq {} is number {number} of {publisher}, after {}", stored.seq, *next - 1);
            found.push(("a producer's order", text));
        }
        *next = number + 1;
    }
    found
}

#[derive(Default)]
struct Subscriber<'a> {
    sources: BTreeSet<&'a str>,
    after: u64,
    seen: Vec<u64>,
    saw_end: bool,
}

/// A subscriber sees what is stored of its sources, in order, each once.
fn subscribers(meeting: &Meeting<'_>) -> Found {
    const RULE: &str = "seen as stored";
    let mut found = Vec::new();
    let mut subscribers: BTreeMap<&str, Subscriber<'_>> = BTreeMap::new();
    for record in &meeting.records {
        match record {
            Record::Subscribed { subscriber, sources, after, .. } => {
                let state = subscribers.entry(subscriber).or_default();
                state.sources = sources.iter().map(String::as_str).collect();
                state.after = *after;
            }
            Record::Seen { subscriber, seq, source, .. } => {
                let state = subscribers.entry(subscriber).or_default();
                let last = state.seen.last().copied().unwrap_or(state.after);
                if *seq <= last {
                    found.push((RULE, format!("{subscriber} saw seq {seq} after {last}")));
                }
                if meeting.stored.get(seq).is_none_or(|stored| stored.source != *source) {
                    found
                        .push((RULE, format!("{subscriber} saw seq {seq} of {source}, which is not stored")));
                }
                state.seen.push(*seq);
            }
            Record::SawEnd { subscriber, .. } => subscribers.entry(subscriber).or_default().saw_end = true,
            _ => {}
        }
    }
    for (name, Subscriber { sources, after, seen, saw_end }) in subscribers {
        let to = if saw_end { u64::MAX } else { seen.last().copied().unwrap_or(after) };
        let seen: BTreeSet<u64> = seen.into_iter().collect();
        let wanted = meeting.stored.values().filter(|stored| {
            stored.seq > after && stored.seq <= to && sources.contains(stored.source.as_str())
        });
        let missed: Vec<u64> = wanted.map(|stored| stored.seq).filter(|seq| !seen.contains(seq)).collect();
        if !missed.is_empty() {
            found.push((RULE, format!("{name} did not see seqs {missed:?}")));
        }
    }
    found
}

/// A meeting starts once and ends once, after which it has nothing; nobody is told of an end that nobody asked for.
fn lifecycle(meeting: &Meeting<'_>) -> Found {
    const RULE: &str = "starts and ends once";
    let mut found = Vec::new();
    let of = |wanted: fn(&Lifecycle) -> bool| -> Vec<u64> {
        let events = meeting.stored.values().filter(|stored| stored.lifecycle.as_ref().is_some_and(wanted));
        events.map(|stored| stored.seq).collect()
    };
    let starts = of(|event| matches!(event, Lifecycle::Start { .. }));
    let (ending, ended) = (of(|event| *event == Lifecycle::Ending), of(|event| *event == Lifecycle::Ended));
    if starts.len() > 1 || ending.len() > 1 || ended.len() > 1 {
        found.push((RULE, format!("it starts at {starts:?}, ends at {ending:?} and has ended at {ended:?}")));
    }
    if let (Some(ended), Some((last, _))) = (ended.first(), meeting.stored.last_key_value())
        && last != ended
    {
        found.push((RULE, format!("it has ended at {ended}, and its last seq is {last}")));
    }
    if let Some(ending) = ending.first() {
        let late = meeting.stored.range(ending..).filter(|(_, stored)| stored.publisher.is_some());
        for (seq, _) in late {
            found.push((RULE, format!("it ends at {ending}, and seq {seq} was published later")));
        }
    }
    let asked = meeting.records.iter().find_map(|record| match record {
        Record::EndAsked { at, .. } => Some(*at),
        _ => None,
    });
    for record in &meeting.records {
        let Record::SaidEnded { by, at, .. } = record else { continue };
        if asked.is_none_or(|asked| *at < asked) {
            found.push((
                RULE,
                format!("{by} was told at {at} ms that it has ended, before that was asked for"),
            ));
        } else if ended.is_empty() && !meeting.stored.is_empty() {
            found.push((
                RULE,
                format!("{by} was told at {at} ms that it has ended, and its end is not stored"),
            ));
        }
    }
    found
}

/// Epochs rise with each claim; only the node that claimed last commits, one commit after the other.
fn owners(meeting: &Meeting<'_>) -> Found {
    const RULE: &str = "one writer an epoch";
    let mut found = Vec::new();
    let mut owner: Option<(u64, &str)> = None;
    let (mut commits, mut last_seq) = (0, 0);
    for record in &meeting.records {
        match record {
            Record::Claimed { node, epoch, .. } => {
                if let Some((before, earlier)) = owner.filter(|(before, _)| before >= epoch) {
                    found.push((RULE, format!("{node} claimed epoch {epoch} after {earlier} had {before}")));
                }
                owner = Some((*epoch, node));
            }
            Record::Committed { node, epoch, number, first, last, .. } => {
                if owner.is_some_and(|owner| owner != (*epoch, node)) {
                    let text =
                        format!("{node} committed {number} (seqs {first:?} to {last:?}) in epoch {epoch}");
                    found.push((RULE, format!("{text}, and the owner was {owner:?}")));
                }
                // An answer was lost, and it was sent again.
                if *number == commits {
                    continue;
                }
                if *number != commits + 1 || first.is_some_and(|first| first <= last_seq) {
                    let text = format!("{node} committed {number} (seqs {first:?} to {last:?})");
                    found.push((RULE, format!("{text} after {commits} (up to {last_seq})")));
                }
                commits = *number;
                last_seq = last.unwrap_or(last_seq);
            }
            _ => {}
        }
    }
    found
}

/// No two nodes run it at the same time.
fn runs(meeting: &Meeting<'_>) -> Found {
    let mut runs: Vec<(u64, u64, &str)> = Vec::new();
    for record in &meeting.records {
        if let Record::Ran { node, from, until, .. } = record {
            runs.push((*from, *until, node));
        }
    }
    runs.sort_unstable();
    let both = runs.windows(2).filter(|pair| pair[1].0 <= pair[0].1 && pair[0].2 != pair[1].2);
    both.map(|pair| ("one owner at a time", format!("{:?} and {:?} overlap (ms, node)", pair[0], pair[1])))
        .collect()
}
