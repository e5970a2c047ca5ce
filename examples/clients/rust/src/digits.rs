//! Numbers as the API writes them.

use serde::{Deserialize, Deserializer};
use teammy_kernel::Seq;

/// A number that is a JSON number or a string of its digits: the API writes both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Written")]
pub(crate) struct Digits(pub(crate) u64);

#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Number(u64),
    Text(String),
}

impl TryFrom<Written> for Digits {
    type Error = std::num::ParseIntError;

    fn try_from(written: Written) -> Result<Self, Self::Error> {
        match written {
            Written::Number(number) => Ok(Self(number)),
            Written::Text(text) => text.parse().map(Self),
        }
    }
}

/// A seq as the API writes it.
pub(crate) fn seq<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Seq, D::Error> {
    Digits::deserialize(deserializer).map(|Digits(seq)| Seq(seq))
}
