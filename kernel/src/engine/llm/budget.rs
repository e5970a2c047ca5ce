//! What is left to spend.

use serde::{Deserialize, Serialize};

use super::meter::NanoUsd;
use crate::Timestamp;

/// An amount of tokens and money.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Spend {
    /// Tokens read and written.
    pub tokens: u64,
    /// Money.
    pub cost: NanoUsd,
}

/// A budget that the running hook's requests are paid from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Budget {
    /// Its name in the configuration.
    pub name: String,
    /// The most tokens; `None` is no limit.
    pub tokens: Option<u64>,
    /// The most money; `None` is no limit.
    pub cost: Option<NanoUsd>,
    /// What is spent, and set aside for requests that run.
    pub spent: Spend,
    /// When it begins anew; `None` for one of a whole meeting.
    pub resets: Option<Timestamp>,
}

impl Budget {
    /// A budget of which nothing is spent.
    pub fn new(name: impl Into<String>, tokens: Option<u64>, cost: Option<NanoUsd>) -> Self {
        Self { name: name.into(), tokens, cost, spent: Spend::default(), resets: None }
    }

    /// The share that is left, from 0 to 1: the lower one of tokens and money.
    pub fn left(&self) -> f64 {
        #[allow(clippy::cast_precision_loss, reason = "a share needs no more")]
        let left = |limit: u64, spent: u64| match limit {
            0 => 0.0,
            limit => limit.saturating_sub(spent) as f64 / limit as f64,
        };
        let tokens = self.tokens.map_or(1.0, |limit| left(limit, self.spent.tokens));
        let cost = self.cost.map_or(1.0, |limit| left(limit.0, self.spent.cost.0));
        tokens.min(cost)
    }
}

/// The budgets that the running hook's requests are paid from; none if none is configured.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Budgets(pub Vec<Budget>);

impl Budgets {
    /// The share that is left of the one that has least, from 0 to 1; 1 if there is none.
    ///
    /// A plugin can save with it: ask the fast model below a half, ask more seldom below a fifth, and say that it stops
    /// before nothing is left.
    pub fn left(&self) -> f64 {
        self.0.iter().map(Budget::left).fold(1.0, f64::min)
    }

    /// The one that has least left.
    pub fn tightest(&self) -> Option<&Budget> {
        self.0.iter().min_by(|a, b| a.left().total_cmp(&b.left()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scarcest_budget_says_what_is_left() {
        assert!((Budgets::default().left() - 1.0).abs() < f64::EPSILON);
        let spent = Spend { tokens: 75, cost: NanoUsd(10) };
        let node = Budget { spent, ..Budget::new("node", Some(100), Some(NanoUsd(100))) };
        let meeting = Budget { spent, ..Budget::new("meeting", Some(50), None) };
        let free = Budget { spent, ..Budget::new("free", None, None) };
        let budgets = Budgets(vec![free, node.clone(), meeting]);
        assert!((node.left() - 0.25).abs() < f64::EPSILON);
        assert_eq!((budgets.left(), budgets.tightest().unwrap().name.as_str()), (0.0, "meeting"));
    }
}
