//! Participants' names in one form, so that names that look alike are equal.
//!
//! Programs write the same person's name with or without white space around it, and `é` as one character or
//! as two (Unicode's normal forms C and D). A packet holds the name trimmed and in normal form C
//! ([UAX #15](https://www.unicode.org/reports/tr15/)), so that names can be compared as text. A blank name
//! stands for no participant.

use std::{borrow::Cow, sync::Arc};

use serde::{Deserialize, Deserializer};
use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

/// A name as packets hold it; `None` for a blank one.
pub(crate) fn normalized(name: Arc<str>) -> Option<Arc<str>> {
    let normal = match normalize(&name) {
        Cow::Borrowed(same) if same.len() == name.len() => None,
        other => Some(Arc::from(other)),
    };
    Some(normal.unwrap_or(name)).filter(|name| !name.is_empty())
}

fn normalize(name: &str) -> Cow<'_, str> {
    let name = name.trim();
    if name.is_ascii() || is_nfc_quick(name.chars()) == IsNormalized::Yes {
        Cow::Borrowed(name)
    } else {
        Cow::Owned(name.nfc().collect())
    }
}

/// Reads a name inside a packet's data.
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let name = String::deserialize(deserializer)?;
    Ok(normalize(&name).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_alike_are_one() {
        let name = |name: &str| normalized(name.into());
        assert_eq!(name("Jose\u{301}"), name("José"));
        assert_eq!(name(" Ada\t"), name("Ada"));
        assert_eq!(name("\u{1112}\u{1161}\u{11ab}"), name("한"));
        for nobody in ["", " ", "\u{a0}\n"] {
            assert_eq!(name(nobody), None, "{nobody:?}");
        }
        for same in ["Ada", "José", "田中", "Ada L"] {
            let given: Arc<str> = same.into();
            assert!(Arc::ptr_eq(&given, &normalized(given.clone()).unwrap()), "{same}");
        }
        assert_ne!(name("ada"), name("Ada"));
    }
}
