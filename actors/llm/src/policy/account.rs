//! A budget's account: what is spent of it, and what is set aside for requests that run.
//!
//! An account is shared by all nodes of a database and kept there as one document; whoever changes it has read the newest
//! one. A hold that nobody settles, because its owner has died, counts until its time is over and is then spent.

use std::{borrow::Cow, collections::BTreeMap};

use serde::{Deserialize, Serialize};
use teammy_kernel::{NanoUsd, Spend, Timestamp};

/// What may be spent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Limit {
    pub(crate) tokens: Option<u64>,
    pub(crate) cost: Option<NanoUsd>,
}

impl Limit {
    fn holds(self, spend: Spend) -> bool {
        self.tokens.is_none_or(|most| spend.tokens <= most) && self.cost.is_none_or(|most| spend.cost <= most)
    }
}

/// Whether a request can be paid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Yes.
    Fits,
    /// Not while other requests hold what they may not need.
    Later,
    /// No.
    Never,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Hold {
    amount: Spend,
    until: Timestamp,
}

/// One budget's account in one window.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Account {
    spent: Spend,
    holds: BTreeMap<String, Hold>,
}

fn sum(a: Spend, b: Spend) -> Spend {
    Spend { tokens: a.tokens.saturating_add(b.tokens), cost: a.cost + b.cost }
}

impl Account {
    /// What is spent and held.
    pub(crate) fn taken(&self) -> Spend {
        self.holds.values().map(|hold| hold.amount).fold(self.spent, sum)
    }

    /// Whether something runs.
    pub(crate) fn has_holds(&self) -> bool {
        !self.holds.is_empty()
    }

    /// Whether anything is set aside for a request.
    pub(crate) fn has_hold(&self, id: &str) -> bool {
        self.holds.contains_key(id)
    }

    #[cfg(test)]
    pub(crate) fn spent(&self) -> Spend {
        self.spent
    }

    #[cfg(test)]
    pub(crate) fn holds(&self) -> usize {
        self.holds.len()
    }

    /// Whether so much more can be paid.
    pub(crate) fn verdict(&self, limit: Limit, amount: Spend) -> Verdict {
        if limit.holds(sum(self.taken(), amount)) {
            Verdict::Fits
        } else if self.holds.is_empty() || !limit.holds(sum(self.spent, amount)) {
            Verdict::Never
        } else {
            Verdict::Later
        }
    }

    /// Sets an amount aside until it is settled, but no longer than `until`.
    pub(crate) fn hold(&mut self, id: &str, amount: Spend, until: Timestamp) {
        self.holds.insert(id.to_owned(), Hold { amount, until });
    }

    /// A request has ended and cost so much. Nothing happens if it is settled already.
    pub(crate) fn settle(&mut self, id: &str, cost: Spend) {
        if self.holds.remove(id).is_some() {
            self.spent = sum(self.spent, cost);
        }
    }

    /// Counts what was held for too long as spent: its owner is gone.
    pub(crate) fn expire(&mut self, now: Timestamp) {
        let over: Vec<String> =
            self.holds.iter().filter(|(_, hold)| hold.until <= now).map(|(id, _)| id.clone()).collect();
        for id in &over {
            let amount = self.holds[id].amount;
            self.settle(id, amount);
        }
    }
}

/// One budget's accounts, by when their windows began.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Book {
    windows: BTreeMap<String, Account>,
}

impl Book {
    /// A window's account.
    pub(crate) fn account(&self, window: &str) -> Cow<'_, Account> {
        self.windows.get(window).map_or_else(Cow::default, Cow::Borrowed)
    }

    /// Whether something runs.
    pub(crate) fn has_holds(&self) -> bool {
        self.windows.values().any(Account::has_holds)
    }

    /// Sets an amount aside in a window. Windows that are over leave, but not while something runs in them, nor the last
    /// one: by another node's clock it may not be over.
    pub(crate) fn hold(&mut self, window: &str, id: &str, amount: Spend, until: Timestamp) {
        self.windows.entry(window.to_owned()).or_default().hold(id, amount, until);
        let last = self.windows.keys().rev().nth(1).cloned();
        self.windows
            .retain(|begin, account| account.has_holds() || last.as_ref().is_none_or(|last| begin >= last));
    }

    /// A request has ended, in whichever window it was paid.
    pub(crate) fn settle(&mut self, id: &str, cost: Spend) {
        self.windows.values_mut().for_each(|account| account.settle(id, cost));
    }

    /// Counts what was held for too long as spent.
    pub(crate) fn expire(&mut self, now: Timestamp) {
        self.windows.values_mut().for_each(|account| account.expire(now));
    }

    #[cfg(test)]
    pub(crate) fn windows(&self) -> Vec<&str> {
        self.windows.keys().map(String::as_str).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tokens(tokens: u64) -> Spend {
        Spend { tokens, ..Spend::default() }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn what_runs_may_still_leave_room() {
        let limit = Limit { tokens: Some(100), cost: None };
        let mut account = Account::default();
        account.hold("a", tokens(60), at(10));
        assert_eq!(account.verdict(limit, tokens(40)), Verdict::Fits);
        assert_eq!(account.verdict(limit, tokens(41)), Verdict::Later);
        assert_eq!(account.verdict(limit, tokens(101)), Verdict::Never);
        account.settle("a", tokens(30));
        account.settle("a", tokens(30));
        assert_eq!((account.spent(), account.holds()), (tokens(30), 0), "settled once");
        assert_eq!(account.verdict(limit, tokens(70)), Verdict::Fits);
        assert_eq!(account.verdict(limit, tokens(71)), Verdict::Never);
    }

    #[test]
    fn a_dead_owners_hold_counts_until_it_is_spent() {
        let mut account = Account::default();
        account.hold("dead", tokens(60), at(10));
        account.hold("alive", tokens(5), at(20));
        account.expire(at(9));
        assert_eq!((account.spent(), account.taken()), (tokens(0), tokens(65)));
        account.expire(at(10));
        account.expire(at(10));
        assert_eq!((account.spent(), account.taken()), (tokens(60), tokens(65)));
        account.settle("dead", tokens(1));
        assert_eq!(account.spent(), tokens(60), "what is late changes nothing");
    }

    #[test]
    fn windows_that_are_over_leave() {
        let mut book = Book::default();
        book.hold("day 1", "long", tokens(1), at(100));
        for day in 2..=5 {
            let id = format!("of {day}");
            book.hold(&format!("day {day}"), &id, tokens(day), at(100));
            book.settle(&id, tokens(day));
        }
        assert_eq!(book.windows(), ["day 1", "day 4", "day 5"], "something runs in the first one");
        assert_eq!(book.account("day 4").spent(), tokens(4));
        book.settle("long", tokens(1));
        // A clock that is late.
        book.hold("day 4", "late", tokens(1), at(100));
        assert_eq!(book.account("day 4").taken(), tokens(5));
        assert_eq!(book.windows(), ["day 4", "day 5"]);
        assert_eq!(*book.account("day 1"), Account::default());
        assert!(book.has_holds());
        book.expire(at(100));
        assert!(!book.has_holds());
    }

    #[test]
    fn money_and_tokens_each_have_a_limit() {
        let limit = Limit { tokens: Some(100), cost: Some(NanoUsd(5)) };
        let dear = Spend { tokens: 1, cost: NanoUsd(6) };
        assert_eq!(Account::default().verdict(limit, dear), Verdict::Never);
        assert_eq!(Account::default().verdict(Limit::default(), dear), Verdict::Fits);
    }

    proptest! {
        /// Whatever is held, settled and forgotten: what is spent stays within the limit, and nothing is held at the end.
        #[test]
        fn nothing_is_overspent_and_nothing_leaks(
            limit in 0..200_u64, steps in prop::collection::vec((0..3_u8, 0..8_u8, 0..60_u64), 0..100),
        ) {
            let limit = Limit { tokens: Some(limit), cost: None };
            let mut account = Account::default();
            let mut now = 0;
            for (step, which, amount) in steps {
                let id = which.to_string();
                match step {
                    0 if account.verdict(limit, tokens(amount)) == Verdict::Fits && !account.holds.contains_key(&id) => {
                        account.hold(&id, tokens(amount), at(now + 5));
                    }
                    1 => {
                        let held = account.holds.get(&id).map_or(0, |hold| hold.amount.tokens);
                        account.settle(&id, tokens(held * amount / 60));
                    }
                    _ => {
                        now += i64::from(which);
                        account.expire(at(now));
                    }
                }
                prop_assert!(limit.holds(account.taken()));
            }
            account.expire(at(now + 5));
            prop_assert_eq!((account.holds(), account.taken()), (0, account.spent()));
        }
    }
}
