//! Tokens: a key's permission to read one meeting for a short time, for a browser that should not see the key.
//!
//! `tmt_<key's id>_<until>_<code>_<meeting>`: seconds since 1970, and a code that only who knows the key's stored hash and the
//! pepper can make. So a token needs no place in the store, every node knows it, and it ends with its key.

use teammy_kernel::{MeetingId, Timestamp};

use super::secret::{KeyId, Pepper, hex};

const PREFIX: &str = "tmt_";
const CONTEXT: &str = "teammy 2026 token of a meeting";

/// A token's parts.
pub(super) struct Token<'a> {
    pub(super) key: KeyId,
    until: i64,
    code: &'a str,
    meeting: MeetingId,
}

impl<'a> Token<'a> {
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.strip_prefix(PREFIX)?.splitn(4, '_');
        let key = parts.next()?.parse().ok()?;
        let until = parts.next()?.parse().ok()?;
        let code = parts.next()?;
        let meeting = MeetingId::new(unescape(parts.next()?)?).ok()?;
        Some(Self { key, until, code, meeting })
    }

    /// The meeting and the token's end, if it was made of a key with this hash and has not ended.
    pub(super) fn check(
        &self,
        hash: &blake3::Hash,
        pepper: &Pepper,
        now: Timestamp,
    ) -> Option<(MeetingId, Timestamp)> {
        let expected = code(hash, pepper, self.until, &self.meeting);
        // A comparison of hashes takes the same time wherever they differ.
        let is_right = blake3::Hash::from_hex(self.code).is_ok_and(|code| code == expected);
        let until = Timestamp::from_second(self.until).ok()?;
        (is_right && now < until).then(|| (self.meeting.clone(), until))
    }
}

/// Makes a token.
pub(super) fn make(
    key: &KeyId,
    hash: &blake3::Hash,
    pepper: &Pepper,
    meeting: &MeetingId,
    until: Timestamp,
) -> String {
    let until = until.as_second();
    let code = code(hash, pepper, until, meeting);
    format!("{PREFIX}{key}_{until}_{}_{}", code.to_hex(), hex(meeting.as_str().as_bytes()))
}

fn code(hash: &blake3::Hash, pepper: &Pepper, until: i64, meeting: &MeetingId) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new_keyed(&pepper.derive(CONTEXT));
    hasher.update(hash.as_bytes()).update(&until.to_be_bytes()).update(meeting.as_str().as_bytes());
    hasher.finalize()
}

/// Reads a text from hexadecimal digits, which a URL and a header take as they are.
fn unescape(text: &str) -> Option<String> {
    let digits = text.as_bytes();
    let pairs = digits.chunks(2).map(|pair| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok());
    digits.len().is_multiple_of(2).then_some(())?;
    String::from_utf8(pairs.collect::<Option<Vec<_>>>()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_holds_for_its_meeting_and_its_time_alone() {
        let key: KeyId = "0123456789abcdef".parse().unwrap();
        let (hash, pepper) = (blake3::hash(b"secret"), Pepper::new("p"));
        let at = |second| Timestamp::from_second(second).unwrap();
        let meeting = MeetingId::new("Überlingen _/ 1").unwrap();
        let text = make(&key, &hash, &pepper, &meeting, at(100));
        assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'), "{text}");
        let check =
            |text: &str, now| Token::parse(text)?.check(&hash, &pepper, at(now)).map(|(meeting, _)| meeting);
        assert_eq!(check(&text, 99), Some(meeting.clone()));
        assert_eq!(check(&text, 100), None);
        let other = make(&key, &hash, &pepper, &MeetingId::new("other").unwrap(), at(100));
        let (head, _) = text.rsplit_once('_').unwrap();
        let (_, tail) = other.rsplit_once('_').unwrap();
        assert_eq!(check(&format!("{head}_{tail}"), 99), None, "another meeting's name");
        assert_eq!(check(&text.replace("_100_", "_900_"), 99), None, "a longer time");
        assert!(Token::parse(&text).unwrap().check(&blake3::hash(b"other"), &pepper, at(99)).is_none());
        for wrong in
            ["", "tmt_", "tmt___", &text[..30], "tmt_0123456789abcdef_1_x_6", "tmt_0123456789abcdef_1_x_é"]
        {
            assert_eq!(check(wrong, 0), None, "{wrong:?}");
        }
    }
}
