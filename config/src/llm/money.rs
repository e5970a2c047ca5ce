//! Prices and sums, in US dollars.
//!
//! A sum is kept as a whole number of billionths of a dollar: a price of $0.001 for a million tokens is one of them for
//! a token.

use std::fmt;

use serde_json::{Value, json};

use crate::{
    show,
    value_type::{Raw, ValueType, Wrong, from_serde},
};

/// A sum of money.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Usd {
    /// Billionths of a dollar.
    pub nanos: u64,
}

impl Usd {
    const NANOS: f64 = 1e9;
    /// Sums up to a billion dollars are exact to a billionth in what adds them up.
    const MOST: f64 = 1e9;

    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range is checked")]
    fn of(dollars: f64) -> Option<Self> {
        (0.0..=Self::MOST).contains(&dollars).then(|| Self { nanos: (dollars * Self::NANOS).round() as u64 })
    }

    #[allow(clippy::cast_precision_loss, reason = "what was written had no more digits")]
    fn dollars(self) -> f64 {
        self.nanos as f64 / Self::NANOS
    }
}

impl fmt::Display for Usd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.dollars().fmt(f)
    }
}

/// What a model costs from a size of requests on, in billionths of a dollar for a token.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Price {
    /// It applies to requests of more than so many tokens of input.
    pub above: u64,
    /// For a token read.
    pub input: u64,
    /// For a token read that the server had in a cache.
    pub cached_input: u64,
    /// For a token written.
    pub output: u64,
}

impl Price {
    const KEYS: [&str; 4] = ["above", "input", "cached_input", "output"];
    /// From dollars for a million tokens to billionths for one.
    const PER_TOKEN: f64 = 1e3;

    fn read(value: &Value) -> Result<Self, String> {
        let table = value.as_object().ok_or("takes a table such as { input = 0.4, output = 1.6 }")?;
        if let Some(key) = table.keys().find(|key| !Self::KEYS.contains(&key.as_str())) {
            return Err(format!("has {}, but takes {}", show::cut(key), Self::KEYS.join(", ")));
        }
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range is checked")]
        let price = |key: &str| -> Result<Option<u64>, String> {
            let Some(value) = table.get(key) else { return Ok(None) };
            let dollars = value.as_f64().filter(|dollars| (0.0..=1e6).contains(dollars));
            let dollars =
                dollars.ok_or_else(|| format!("has a {key} that is no price from 0 to 1000000 dollars"))?;
            Ok(Some((dollars * Self::PER_TOKEN).round() as u64))
        };
        let above = match table.get("above") {
            None => 0,
            Some(above) => above.as_u64().ok_or("has an above that is no number of tokens")?,
        };
        let input = price("input")?.ok_or("has no input, the price of a million tokens read")?;
        Ok(Self {
            above,
            input,
            cached_input: price("cached_input")?.unwrap_or(input),
            output: price("output")?.unwrap_or(0),
        })
    }

    fn show(self) -> Value {
        #[allow(clippy::cast_precision_loss, reason = "what was written had no more digits")]
        let dollars = |nanos: u64| nanos as f64 / Self::PER_TOKEN;
        let (input, cached_input, output) =
            (dollars(self.input), dollars(self.cached_input), dollars(self.output));
        let mut price = json!({"input": input, "cached_input": cached_input, "output": output});
        if self.above > 0 {
            price["above"] = json!(self.above);
        }
        price
    }
}

/// A model's prices, by the size of requests.
pub(super) fn prices() -> ValueType<Vec<Price>> {
    let show = |prices: &Vec<Price>| {
        let all: Vec<String> = prices.iter().map(|price| show::plain(&price.show())).collect();
        (!prices.is_empty()).then(|| format!("[{}]", all.join(", ")))
    };
    ValueType::new("list of tables of prices", show, |raw: &Raw<'_>| {
        let entries: Option<Vec<Value>> = from_serde(raw.value);
        let entries = entries.ok_or_else(|| {
            Wrong::from(raw.but_takes("a list of tables such as [{ input = 0.4, output = 1.6 }]"))
        })?;
        let mut prices = Vec::new();
        for (at, entry) in entries.iter().enumerate() {
            prices.push(Price::read(entry).map_err(|problem| Wrong(vec![(format!("[{at}]"), problem)]))?);
        }
        prices.sort_by_key(|price| price.above);
        let is_wrong = |pair: &[Price]| pair[0].above == pair[1].above;
        if prices.first().is_some_and(|first| first.above > 0) || prices.windows(2).any(is_wrong) {
            let problem = "needs one price without above, and each other one a different above";
            return Err(Wrong::from(problem.to_owned()));
        }
        Ok(prices)
    })
}

/// A sum in dollars.
pub(super) fn dollars() -> ValueType<Usd> {
    ValueType::new("dollars", Usd::to_string, |raw: &Raw<'_>| {
        from_serde::<f64>(raw.value)
            .and_then(Usd::of)
            .ok_or_else(|| raw.but_takes("a sum in dollars, such as 2.5"))
    })
}
