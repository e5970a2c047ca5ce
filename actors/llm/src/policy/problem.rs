//! What can go wrong with one request to one model.

use std::time::Duration;

use teammy_kernel::{LlmError, Spend, Timestamp, Usage};

/// The classes of failures, by what helps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Class {
    /// The server has too much to do, or the account has asked too often: waiting helps.
    Busy,
    /// The server or the way to it failed: another try may help.
    Unavailable,
    /// Nothing useful came for too long.
    Stalled,
    /// What came is no answer: another try may give one.
    Malformed,
    /// The server does not take the request as it is configured: somebody must mend that.
    Misconfigured,
    /// The server or the model refuses this request.
    Refused,
    /// The answer was cut off before it began.
    CutOff,
    /// The time of the request is over.
    TooLate,
    /// No budget has enough left for it.
    OverBudget,
}

impl Class {
    /// Its name in metrics.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Busy => "busy",
            Self::Unavailable => "unavailable",
            Self::Stalled => "stalled",
            Self::Malformed => "malformed",
            Self::Misconfigured => "misconfigured",
            Self::Refused => "refused",
            Self::CutOff => "cut-off",
            Self::TooLate => "too-late",
            Self::OverBudget => "over-budget",
        }
    }
}

/// A failure. Its text holds nothing of the request or the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) class: Class,
    /// What happened, and what to do about it.
    pub(crate) text: String,
    /// How long the server wants to be left alone.
    pub(crate) retry_after: Option<Duration>,
    /// What the failed try cost all the same.
    pub(crate) usage: Usage,
    /// Whether a piece of the answer was passed on, so that there is no other try.
    pub(crate) has_given: bool,
    /// If its server had begun to answer, of how many bytes of the answer that is known; [`u64::MAX`] if it is not known.
    pub(crate) answered: Option<u64>,
}

impl Problem {
    pub(crate) fn new(class: Class, text: impl Into<String>) -> Self {
        Self {
            class,
            text: text.into(),
            retry_after: None,
            usage: Usage::default(),
            has_given: false,
            answered: None,
        }
    }

    /// What a failed request took of a budget. `most` was set aside for it, `known` is what its usage costs, and
    /// `of_answer` what it costs with an answer of so many bytes.
    pub(crate) fn spent(&self, known: Spend, of_answer: impl FnOnce(u64) -> Spend, most: Spend) -> Spend {
        let is_known = self.usage != Usage::default();
        match (self.class, self.answered) {
            (Class::Stalled | Class::TooLate | Class::Malformed | Class::CutOff, _) if !is_known => most,
            // What the server says in the middle of its answer is not the whole.
            (_, Some(bytes)) => {
                let least = of_answer(bytes);
                Spend { tokens: known.tokens.max(least.tokens), cost: known.cost.max(least.cost) }
            }
            _ if self.has_given && !is_known => most,
            // All is known; or it was not let in, or its server had nothing to say yet.
            _ => known,
        }
    }
}

/// A budget that has too little left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Exhausted {
    pub(crate) name: String,
    pub(crate) resets: Option<Timestamp>,
}

/// The failures of the models that were asked for one answer.
#[derive(Debug, Default)]
pub(crate) struct Failures {
    texts: Vec<String>,
    likeliest: Option<Class>,
    exhausted: Option<Exhausted>,
}

impl Failures {
    /// Adds what a model failed with, and the budget if that was it.
    pub(crate) fn add(&mut self, model: &str, problem: &Problem, exhausted: Option<Exhausted>) {
        self.texts.push(format!("{model}: {}", problem.text));
        self.exhausted = self.exhausted.take().or(exhausted);
        let is_better = self.likeliest.is_none_or(|other| hope(problem.class) > hope(other));
        if is_better {
            self.likeliest = Some(problem.class);
        }
    }

    /// The error that a plugin gets: that of the failure which is likeliest to pass. What one model refuses, another one
    /// that was away may answer later.
    pub(crate) fn into_error(self) -> LlmError {
        let text = self.texts.join("; then ");
        match (self.likeliest, self.exhausted) {
            (Some(Class::Misconfigured), _) => LlmError::Misconfigured(text),
            (Some(Class::OverBudget), Some(Exhausted { name, resets })) => {
                LlmError::BudgetExceeded { name, resets }
            }
            (Some(Class::CutOff), _) => LlmError::CutOff { text: String::new() },
            (Some(Class::Refused), _) => LlmError::Refused(text),
            _ => LlmError::Failed(text),
        }
    }
}

/// How likely a failure is to pass, if nothing but time does.
fn hope(class: Class) -> u8 {
    match class {
        Class::Busy | Class::Unavailable | Class::Stalled | Class::Malformed | Class::TooLate => 4,
        Class::Misconfigured => 3,
        Class::OverBudget => 2,
        Class::CutOff => 1,
        Class::Refused => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error_of(classes: &[Class]) -> LlmError {
        let mut failures = Failures::default();
        for class in classes {
            let exhausted = Exhausted { name: "daily".to_owned(), resets: None };
            let exhausted = Some(exhausted).filter(|_| *class == Class::OverBudget);
            failures.add("m", &Problem::new(*class, "p"), exhausted);
        }
        failures.into_error()
    }

    #[test]
    fn the_failure_that_may_pass_is_the_error() {
        use Class::{Busy, CutOff, Misconfigured, OverBudget, Refused, TooLate, Unavailable};
        assert!(
            matches!(error_of(&[Unavailable, Refused]), LlmError::Failed(text) if text == "m: p; then m: p")
        );
        assert!(matches!(error_of(&[Refused, Busy]), LlmError::Failed(_)));
        assert!(matches!(error_of(&[OverBudget, TooLate]), LlmError::Failed(_)));
        assert!(matches!(error_of(&[Misconfigured, OverBudget]), LlmError::Misconfigured(_)));
        assert!(
            matches!(error_of(&[OverBudget, Refused]), LlmError::BudgetExceeded { name, .. } if name == "daily")
        );
        assert!(matches!(error_of(&[Refused, CutOff]), LlmError::CutOff { .. }));
        assert!(matches!(error_of(&[Refused]), LlmError::Refused(_)));
        assert!(matches!(error_of(&[]), LlmError::Failed(_)));
    }

    #[test]
    fn what_may_have_been_worked_for_is_paid() {
        let tokens = |tokens| Spend { tokens, ..Spend::default() };
        let of_answer = |bytes: u64| tokens(bytes.min(80) + 20);
        let spent = |problem: Problem| {
            let known = tokens(problem.usage.prompt + problem.usage.completion);
            problem.spent(known, of_answer, tokens(100)).tokens
        };
        let of = |class| Problem::new(class, "");
        let (usage, begun) = (Usage { prompt: 5, ..Usage::default() }, [Some(0), Some(30), Some(u64::MAX)]);
        for class in [Class::Busy, Class::Misconfigured, Class::Refused, Class::Unavailable] {
            assert_eq!(spent(of(class)), 0, "{class:?}");
            assert_eq!(spent(Problem { usage, ..of(class) }), 5, "{class:?}");
            let costs = begun.map(|answered| spent(Problem { answered, ..of(class) }));
            assert_eq!(costs, [20, 50, 100], "{class:?}: it had begun to answer");
            let usage = Usage { prompt: 40, completion: 1, ..Usage::default() };
            let costs = begun.map(|answered| spent(Problem { usage, answered, ..of(class) }));
            assert_eq!(costs, [41, 50, 100], "{class:?}: usage in the middle is not all");
        }
        for class in [Class::Stalled, Class::TooLate, Class::Malformed, Class::CutOff] {
            assert_eq!(spent(of(class)), 100, "{class:?}");
            assert_eq!(spent(Problem { answered: Some(1), ..of(class) }), 100, "{class:?}");
            assert_eq!(spent(Problem { usage, ..of(class) }), 5, "{class:?}");
        }
        assert_eq!(spent(Problem { has_given: true, ..of(Class::Unavailable) }), 100);
    }
}
