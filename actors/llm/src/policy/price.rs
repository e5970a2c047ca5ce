//! What requests cost, before and after.

use teammy_kernel::{LlmFormat, LlmRequest, NanoUsd, Spend, Usage};

/// A model's prices, by the size of requests; none is free.
#[derive(Debug, Clone, Default)]
pub(crate) struct Prices(Vec<Tier>);

/// Prices for requests above a size, in billionths of a dollar for a token.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tier {
    pub(crate) above: u64,
    pub(crate) input: u64,
    pub(crate) cached_input: u64,
    pub(crate) output: u64,
}

impl Tier {
    fn cost(self, usage: Usage) -> u64 {
        let cached = usage.cached.min(usage.prompt);
        [(usage.prompt - cached, self.input), (cached, self.cached_input), (usage.completion, self.output)]
            .into_iter()
            .fold(0, |sum: u64, (tokens, price)| sum.saturating_add(tokens.saturating_mul(price)))
    }
}

impl Prices {
    /// Prices in the order of their sizes; the first one is above 0.
    pub(crate) fn new(tiers: Vec<Tier>) -> Self {
        Self(tiers)
    }

    /// What a request cost.
    pub(crate) fn cost(&self, usage: Usage) -> NanoUsd {
        let tier = self.0.iter().rev().find(|tier| tier.above == 0 || usage.prompt > tier.above);
        NanoUsd(tier.map_or(0, |tier| tier.cost(usage)))
    }

    /// The most that a request of up to so many tokens can cost: a price may fall with the size.
    fn most(&self, bound: Bound) -> NanoUsd {
        let usage = Usage { prompt: bound.prompt, completion: bound.completion, ..Usage::default() };
        let tiers = self.0.iter().filter(|tier| tier.above == 0 || bound.prompt > tier.above);
        let most = tiers.map(|tier| {
            let dearest = Tier { input: tier.input.max(tier.cached_input), ..*tier };
            dearest.cost(usage)
        });
        NanoUsd(most.max().unwrap_or(0))
    }

    /// What to set aside for a request.
    pub(crate) fn spend(&self, bound: Bound) -> Spend {
        Spend { tokens: bound.prompt.saturating_add(bound.completion), cost: self.most(bound) }
    }

    /// What a request took of a budget.
    pub(crate) fn spent(&self, usage: Usage) -> Spend {
        Spend { tokens: usage.prompt.saturating_add(usage.completion), cost: self.cost(usage) }
    }
}

/// The most tokens of a request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Bound {
    pub(crate) prompt: u64,
    pub(crate) completion: u64,
}

/// What a server puts around each message, and around all, in tokens.
const AROUND_MESSAGE: u64 = 16;
const AROUND_ALL: u64 = 64;

impl Bound {
    /// The tokens of a conversation: no model makes more tokens of a text than it has bytes. `completion` is the most that
    /// the answer may have.
    pub(crate) fn of(request: &LlmRequest, completion: u64) -> Self {
        let messages = request.messages.iter().map(|message| message.content.len() as u64 + AROUND_MESSAGE);
        let json = |schema: &schemars::Schema| schema.as_value().to_string().len() as u64;
        let tools = request.tools.iter().map(|tool| {
            (tool.name.len() + tool.description.len()) as u64 + json(&tool.parameters) + AROUND_MESSAGE
        });
        // The schema stands in the instructions and, for the server, beside them.
        let format = match &request.format {
            LlmFormat::Json { schema, .. } => 2 * json(schema) + AROUND_ALL,
            _ => 0,
        };
        let prompt = messages.chain(tools).fold(AROUND_ALL + format, u64::saturating_add);
        Self { prompt, completion }
    }

    /// The tokens of texts that become vectors.
    pub(crate) fn of_texts(texts: &[String]) -> Self {
        let prompt = texts.iter().map(|text| text.len() as u64 + AROUND_MESSAGE).fold(0, u64::saturating_add);
        Self { prompt, completion: 0 }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn prices() -> Prices {
        let small = Tier { above: 0, input: 1250, cached_input: 125, output: 10_000 };
        Prices::new(vec![small, Tier { above: 200_000, input: 2500, cached_input: 250, output: 15_000 }])
    }

    fn usage(prompt: u64, cached: u64, completion: u64) -> Usage {
        Usage { prompt, cached, completion, reasoning: 0 }
    }

    #[test]
    fn a_request_costs_what_its_size_costs() {
        let cost = |prompt, cached, completion| prices().cost(usage(prompt, cached, completion)).0;
        assert_eq!(cost(1000, 0, 100), 1_250_000 + 1_000_000);
        assert_eq!(cost(1000, 400, 0), 600 * 1250 + 400 * 125);
        assert_eq!(cost(200_000, 0, 1), 250_010_000);
        assert_eq!(cost(200_001, 0, 1), 500_017_500, "the whole request has the other price");
        assert_eq!(cost(5, 9, 0), 5 * 125, "no server read more from its cache than in all");
        assert_eq!(Prices::default().cost(usage(1000, 0, 1000)), NanoUsd(0));
        assert_eq!(cost(u64::MAX, 0, u64::MAX), u64::MAX);
    }

    proptest! {
        /// What is set aside is enough, whatever the answer is.
        #[test]
        fn no_answer_costs_more_than_its_bound(
            prompt in 0..400_000_u64, completion in 0..10_000_u64, prompt_share in 0.0..=1.0_f64,
            cached_share in 0.0..=1.0_f64, completion_share in 0.0..=1.0_f64,
            tiers in prop::collection::vec((1..300_000_u64, 0..9_u64, 0..9_u64, 0..9_u64), 0..4),
        ) {
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
            let of = |whole: u64, share: f64| (whole as f64 * share) as u64;
            let mut tiers: Vec<Tier> = tiers
                .into_iter()
                .map(|(above, input, cached_input, output)| Tier { above, input, cached_input, output })
                .collect();
            tiers.sort_by_key(|tier| tier.above);
            if let Some(first) = tiers.first_mut() {
                first.above = 0;
            }
            let prices = Prices::new(tiers);
            let bound = Bound { prompt, completion };
            let read = of(prompt, prompt_share);
            let real = usage(read, of(read, cached_share), of(completion, completion_share));
            let (most, spent) = (prices.spend(bound), prices.spent(real));
            prop_assert!(spent.tokens <= most.tokens && spent.cost <= most.cost, "{spent:?} of {most:?}");
        }
    }
}
