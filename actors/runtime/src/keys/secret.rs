//! The printed form of a key, and the hash that is stored of it.

use std::{
    fmt::{self, Write as _},
    io,
};

use serde::{Deserialize, Serialize};
use teammy_kernel::Name;

/// The beginning of a key's printed form.
const PREFIX: &str = "tmy_";
const ID_BYTES: usize = 8;
const SECRET_BYTES: usize = 32;

/// A key's public part, which logs and lists show: 16 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyId(Name);

impl KeyId {
    /// The text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    fn new(text: &str) -> Option<Self> {
        let is_hex = text.len() == 2 * ID_BYTES && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_hex.then(|| Name::new(text).ok().map(Self)).flatten()
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::str::FromStr for KeyId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // A whole key is a slip that should not end up in a message.
        Self::new(text).ok_or_else(|| "a key's id is 16 hexadecimal digits".to_owned())
    }
}

/// A key's printed form. Its `Debug` does not show it, so that no log does.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PrintedKey(String);

impl PrintedKey {
    /// The text, to be shown once.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PrintedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrintedKey(…)")
    }
}

/// A key: its id, and the secret, 256 random bits as hexadecimal digits. It has no `Debug`, so that no log shows it.
pub(super) struct Secret<'a> {
    pub(super) id: KeyId,
    secret: std::borrow::Cow<'a, str>,
}

impl<'a> Secret<'a> {
    pub(super) fn random() -> io::Result<Self> {
        let mut random = [0; ID_BYTES + SECRET_BYTES];
        getrandom::fill(&mut random)?;
        let hex = hex(&random);
        let (id, secret) = hex.split_at(2 * ID_BYTES);
        let id = KeyId::new(id).expect("invariant: these are hexadecimal digits");
        Ok(Self { id, secret: secret.to_owned().into() })
    }

    /// Reads the printed form.
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let (id, secret) = text.strip_prefix(PREFIX)?.split_once('_')?;
        let is_secret = secret.len() == 2 * SECRET_BYTES;
        is_secret.then_some(())?;
        Some(Self { id: KeyId::new(id)?, secret: secret.into() })
    }

    /// The printed form.
    pub(super) fn printed(&self) -> PrintedKey {
        PrintedKey(format!("{PREFIX}{}_{}", self.id, self.secret))
    }

    /// What is stored. The secret has 256 random bits, so a fast hash is as hard to invert as a slow one. The pepper keeps
    /// whoever can write to the store, and does not know it, from adding keys.
    pub(super) fn hash(&self, pepper: &Pepper) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new_keyed(&pepper.0);
        hasher.update(self.id.as_str().as_bytes()).update(self.secret.as_bytes());
        hasher.finalize()
    }
}

/// Bytes as hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a text cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// What is hashed with each secret and is not in the store. It has no `Debug`, so that no log shows it.
#[derive(Clone)]
pub(super) struct Pepper([u8; 32]);

impl Pepper {
    pub(super) fn new(text: &str) -> Self {
        Self(blake3::derive_key("teammy 2026 pepper of keys", text.as_bytes()))
    }

    /// Another one, for another use.
    pub(super) fn derive(&self, context: &str) -> [u8; 32] {
        blake3::derive_key(context, &self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_as_it_was_printed() {
        let key = Secret::random().unwrap();
        let printed = key.printed();
        let printed = printed.reveal();
        let read = Secret::parse(printed).unwrap();
        assert_eq!(read.id, key.id);
        let pepper = Pepper::new("p");
        assert!(read.hash(&pepper) == key.hash(&pepper));
        assert!(read.hash(&Pepper::new("q")) != key.hash(&pepper));
        for wrong in
            ["", "tmy_", "tmy__", &printed[1..], &printed[..printed.len() - 1], "tmy_zz_zz", "tmy_é_é"]
        {
            assert!(Secret::parse(wrong).is_none(), "{wrong:?}");
        }
    }
}
