//! Whose commit is next: start-time fair queueing over meetings.
//!
//! Goyal, Vin, Cheng, "Start-time Fair Queuing" (1996). Time is virtual and counted in bytes. A commit starts at
//! the present, or at the end of its meeting's last commit if that is later, and ends as many bytes later.
//! Commits are served in the order of their starts, and the present is the latest start that was served. So
//! meetings that always write get the same bytes each, however many commits they make of them, and a meeting
//! that wrote less than its share lately starts before all of them.

use std::collections::{BTreeMap, HashMap, VecDeque};

use teammy_kernel::MeetingId;

/// How a commit is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// A small commit of a meeting that wrote less than its share lately.
    Light,
    /// Any other commit.
    Bulk,
}

/// A commit's place in the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    start: u64,
    /// Of commits with one start, the first to arrive is the first to be served.
    arrival: u64,
    is_bulk: bool,
}

impl Place {
    pub(super) fn class(self) -> Class {
        if self.is_bulk { Class::Bulk } else { Class::Light }
    }
}

/// Commits that wait, each with its place. `T` is a commit.
#[derive(Debug)]
pub(super) struct FairQueue<T> {
    /// First in, first out: none of them starts later than the present.
    light: VecDeque<(Place, T)>,
    bulk: BTreeMap<Place, T>,
    /// The present, in bytes.
    now: u64,
    /// Where the last commit of each meeting ends. A meeting whose last commit ended in the past may be missing.
    ends: HashMap<MeetingId, u64>,
    /// The number of `ends` at which those in the past are removed.
    sweep_at: usize,
    arrivals: u64,
}

impl<T> Default for FairQueue<T> {
    fn default() -> Self {
        Self {
            light: VecDeque::new(),
            bulk: BTreeMap::new(),
            now: 0,
            ends: HashMap::new(),
            sweep_at: Self::LEAST_SWEPT,
            arrivals: 0,
        }
    }
}

impl<T> FairQueue<T> {
    /// The most bytes of a light commit.
    pub(super) const LIGHT_BYTES: usize = 64 << 10;
    const LEAST_SWEPT: usize = 64;

    pub(super) fn is_empty(&self) -> bool {
        self.light.is_empty() && self.bulk.is_empty()
    }

    /// Adds a meeting's commit of so many bytes.
    pub(super) fn add(&mut self, meeting: &MeetingId, bytes: usize, commit: T) {
        let end = self.ends.get(meeting).copied();
        let start = end.unwrap_or(0).max(self.now);
        let is_bulk = bytes > Self::LIGHT_BYTES || end.is_some_and(|end| end >= self.now);
        self.ends.insert(meeting.clone(), start.saturating_add(bytes as u64));
        let place = Place { start, arrival: self.arrivals, is_bulk };
        self.arrivals += 1;
        self.insert(place, commit);
    }

    fn insert(&mut self, place: Place, commit: T) {
        match place.class() {
            Class::Light => self.light.push_back((place, commit)),
            Class::Bulk => {
                self.bulk.insert(place, commit);
            }
        }
    }

    /// Adds a commit that was taken before, in its old place.
    pub(super) fn put_back(&mut self, place: Place, commit: T) {
        self.insert(place, commit);
        self.light.make_contiguous().sort_unstable_by_key(|(place, _)| *place);
    }

    /// Takes commits of a class in the order of their places. `choose` sees each and says what to do with it.
    pub(super) fn take(&mut self, class: Class, mut choose: impl FnMut(&T) -> Choice) -> Vec<(Place, T)> {
        let (mut taken, mut left) = (Vec::new(), Vec::new());
        loop {
            let first = match class {
                Class::Light => self.light.pop_front(),
                Class::Bulk => self.bulk.pop_first(),
            };
            let Some((place, commit)) = first else { break };
            match choose(&commit) {
                Choice::Take => taken.push((place, commit)),
                Choice::Skip => left.push((place, commit)),
                Choice::Stop => {
                    left.push((place, commit));
                    break;
                }
            }
        }
        for (place, commit) in left.into_iter().rev() {
            match class {
                Class::Light => self.light.push_front((place, commit)),
                Class::Bulk => {
                    self.bulk.insert(place, commit);
                }
            }
        }
        if let Some(latest) = taken.iter().map(|(place, _)| place.start).max() {
            self.now = self.now.max(latest);
            self.sweep();
        }
        taken
    }

    /// Nothing waits and nothing is being served: from here on all meetings are equal again.
    pub(super) fn idle(&mut self) {
        self.ends.clear();
        self.sweep_at = Self::LEAST_SWEPT;
    }

    fn sweep(&mut self) {
        if self.ends.len() >= self.sweep_at {
            self.ends.retain(|_, end| *end >= self.now);
            self.sweep_at = Self::LEAST_SWEPT.max(2 * self.ends.len());
        }
    }
}

/// What [`FairQueue::take`] does with a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Choice {
    Take,
    /// It keeps its place, and the next one is looked at.
    Skip,
    /// It and all after it keep their places.
    Stop,
}
