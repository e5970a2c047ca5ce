//! Validated names of meetings, sources and instances.
//!
//! A name is checked once, when its type is made. Code that takes the type need not check again.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Visitor};

use crate::error_classes;

/// Why a name was rejected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The meeting id is empty or too long, holds a control character, or starts or ends with white space.
    #[error(
        "meeting id {shown:?} {problem}; use 1 to {} bytes of text without control characters, neither starting nor ending with a space",
        MeetingId::MAX_BYTES
    )]
    MeetingId {
        /// The id as given, shortened for display.
        shown: String,
        /// What is wrong with the id.
        problem: &'static str,
    },
    /// The source's or instance's name is malformed.
    #[error(
        "name {shown:?} {problem}; use 1 to {} characters of a-z, A-Z, 0-9, '-', '_' and '.', starting with a letter or digit",
        Name::MAX_BYTES
    )]
    Name {
        /// The name as given, shortened for display.
        shown: String,
        /// What is wrong with the name.
        problem: &'static str,
    },
}

error_classes!(Error {
    Self::MeetingId { .. } => "invalid-meeting-id" Invalid,
    Self::Name { .. } => "invalid-name" Invalid,
});

/// The first 40 characters of a text, for an error message.
fn shown(text: &str) -> String {
    const SHOWN_CHARS: usize = 40;
    let mut chars = text.chars();
    let mut shown: String = chars.by_ref().take(SHOWN_CHARS).collect();
    if chars.next().is_some() {
        shown.push('…');
    }
    shown
}

macro_rules! string_type {
    ($type:ident) => {
        impl $type {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }

        impl std::str::FromStr for $type {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self, Error> {
                Self::new(text)
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Checks;
                impl Visitor<'_> for Checks {
                    type Value = $type;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str("a string")
                    }

                    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<$type, E> {
                        $type::new(text).map_err(E::custom)
                    }
                }
                deserializer.deserialize_str(Checks)
            }
        }

        impl TryFrom<String> for $type {
            type Error = Error;

            fn try_from(text: String) -> Result<Self, Error> {
                Self::new(&text)
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> String {
                name.0.as_ref().to_owned()
            }
        }

        impl AsRef<str> for $type {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl std::borrow::Borrow<str> for $type {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl PartialEq<str> for $type {
            fn eq(&self, other: &str) -> bool {
                &*self.0 == other
            }
        }

        impl PartialEq<&str> for $type {
            fn eq(&self, other: &&str) -> bool {
                &*self.0 == *other
            }
        }
    };
}

/// A meeting's identifier: 1 to 255 bytes of any text without control characters.
///
/// # Examples
/// ```
/// use teammy_kernel::MeetingId;
/// let id = MeetingId::new("Weekly sync, Überlingen")?;
/// assert_eq!(id.as_str(), "Weekly sync, Überlingen");
/// assert!(MeetingId::new("two\nlines").is_err());
/// # Ok::<(), teammy_kernel::name::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MeetingId(Arc<str>);

impl MeetingId {
    /// The longest id, in bytes of UTF-8.
    pub const MAX_BYTES: usize = 255;

    /// Checks an id.
    ///
    /// # Errors
    /// [`Error::MeetingId`] if the id is empty, longer than [`MeetingId::MAX_BYTES`], holds a control
    /// character, or starts or ends with white space.
    pub fn new(id: impl AsRef<str>) -> Result<Self, Error> {
        let id = id.as_ref();
        let problem = if id.is_empty() {
            "is empty"
        } else if id.len() > Self::MAX_BYTES {
            "is too long"
        } else if id.chars().any(char::is_control) {
            "holds a control character"
        } else if id.trim() != id {
            "starts or ends with a space"
        } else {
            return Ok(Self(id.into()));
        };
        Err(Error::MeetingId { shown: shown(id), problem })
    }
}

string_type!(MeetingId);

/// The name of a source or of a plugin's instance: 1 to 64 characters of `a-z`, `A-Z`, `0-9`, `-`, `_`, `.`.
///
/// Sources and instances share one type because an instance's output is a source that carries the instance's
/// name.
#[derive(Clone, Eq, PartialOrd, Ord)]
pub struct Name(Arc<str>);

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        // Packets of a source share the text of its name, so most comparisons end here.
        Arc::ptr_eq(&self.0, &other.0) || self.0 == other.0
    }
}

impl std::hash::Hash for Name {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl Name {
    /// The longest name, in bytes (which are characters here).
    pub const MAX_BYTES: usize = 64;

    /// Checks a name.
    ///
    /// # Errors
    /// [`Error::Name`] if the name is empty, longer than [`Name::MAX_BYTES`], holds another character than
    /// those above, or does not start with a letter or digit.
    pub fn new(name: impl AsRef<str>) -> Result<Self, Error> {
        let name = name.as_ref();
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let problem = if name.is_empty() {
            "is empty"
        } else if name.len() > Self::MAX_BYTES {
            "is too long"
        } else if !name.starts_with(|c: char| c.is_ascii_alphanumeric()) {
            "starts with another character"
        } else if !name.chars().all(allowed) {
            "holds another character"
        } else {
            return Ok(Self(name.into()));
        };
        Err(Error::Name { shown: shown(name), problem })
    }
}

string_type!(Name);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meeting_ids_take_what_shows_on_one_line() {
        for good in ["Bed015", "a b", "🚀", "日本語", "../etc/passwd", "a'b\"c`d", &"x".repeat(255)] {
            assert_eq!(MeetingId::new(good).unwrap().as_str(), good);
        }
        for bad in ["", " a", "a ", "a\nb", "a\0b", "\u{7f}", &"x".repeat(256), &"é".repeat(5_000)] {
            assert!(MeetingId::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_long_id_is_shortened_in_its_error() {
        let error = MeetingId::new("x".repeat(10_240)).unwrap_err().to_string();
        assert!(error.contains("is too long"), "{error}");
        assert!(error.len() < 250, "{error}");
    }

    #[test]
    fn names_are_plain() {
        for good in ["transcription", "captions-de", "a.b_c", "7", "Talk"] {
            assert_eq!(Name::new(good).unwrap(), good);
        }
        for bad in ["", "-a", "a b", "ä", "a/b", &"x".repeat(65)] {
            assert!(Name::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn serde_checks_as_new_does() {
        assert!(serde_json::from_str::<Name>("\"a b\"").is_err());
        assert_eq!(serde_json::to_string(&Name::new("chat").unwrap()).unwrap(), "\"chat\"");
    }
}
