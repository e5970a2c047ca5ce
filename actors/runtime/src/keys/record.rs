//! What is stored of a key.

use std::{collections::BTreeSet, fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use teammy_kernel::{Name, Timestamp};

use super::secret::KeyId;

/// What a key allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Scope {
    /// To open meetings, publish, and end them.
    Publish,
    /// To list and read meetings, and to make tokens that read one.
    Read,
    /// To change who takes part, to deliver again, to forget, to see what models cost.
    Admin,
    /// To see what concerns the whole node, beyond the tenant: its status and metrics.
    Node,
}

impl Scope {
    const ALL: [Self; 4] = [Self::Publish, Self::Read, Self::Admin, Self::Node];

    /// The scope in a word: `publish`, `read`, `admin` or `node`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Read => "read",
            Self::Admin => "admin",
            Self::Node => "node",
        }
    }
}

impl FromStr for Scope {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|scope| scope.as_str() == text);
        found.ok_or_else(|| format!("{text:?} is no scope; give publish, read, admin or node"))
    }
}

/// A key's scopes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Scopes(BTreeSet<Scope>);

impl Scopes {
    /// Whether the scope is one of these.
    pub fn has(&self, scope: Scope) -> bool {
        self.0.contains(&scope)
    }

    /// Whether these allow nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self(scopes.into_iter().collect())
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.0.iter().map(|scope| scope.as_str()).collect();
        f.write_str(&names.join(","))
    }
}

/// What everybody who manages keys may see of one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct KeyInfo {
    /// The public part.
    pub id: KeyId,
    /// Whose key it is.
    pub tenant: Name,
    /// What it allows.
    pub scopes: Scopes,
    /// When it was made.
    pub created: Timestamp,
    /// From when on it is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
    /// From when on it is refused because another key replaces it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaced: Option<Timestamp>,
    /// When it was revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked: Option<Timestamp>,
}

impl KeyInfo {
    /// Whether the key is accepted at a time.
    pub fn is_valid(&self, now: Timestamp) -> bool {
        self.revoked.is_none() && self.ends().is_none_or(|ends| now < ends)
    }

    /// From when on it is refused, as far as that is known.
    pub fn ends(&self) -> Option<Timestamp> {
        self.expires.into_iter().chain(self.replaced).min()
    }
}

/// A key as the store has it.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct KeyRecord {
    #[serde(flatten)]
    pub(super) info: KeyInfo,
    /// The hash of its secret, in hexadecimal digits.
    hash: String,
}

impl KeyRecord {
    pub(super) fn new(info: KeyInfo, hash: blake3::Hash) -> Self {
        Self { info, hash: hash.to_hex().to_string() }
    }

    /// The hash; one that no secret has if it is not a hash.
    pub(super) fn hash(&self) -> blake3::Hash {
        blake3::Hash::from_hex(&self.hash).unwrap_or(blake3::Hash::from_bytes([0; 32]))
    }
}
