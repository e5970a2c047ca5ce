//! Sizes in bytes, as people write them: `64KiB`.

use std::{fmt, str::FromStr};

/// A number of bytes. Written as `1MiB` (units B, KiB, MiB, GiB, TiB, kB, MB, GB, TB in any case) or as a
/// number.
///
/// # Examples
/// ```
/// use teammy_config::Size;
/// let size: Size = "64 KiB".parse()?;
/// assert_eq!(size.bytes(), 65_536);
/// assert_eq!(size.to_string(), "64KiB");
/// # Ok::<(), teammy_config::ParseSizeError>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Size(u64);

/// The error for a text that is not a size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a size; write a whole number and a unit, such as \"64KiB\" or \"1MiB\"")]
#[non_exhaustive]
pub struct ParseSizeError;

const BINARY: [(&str, u32); 4] = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
const DECIMAL: [(&str, u32); 4] = [("TB", 12), ("GB", 9), ("MB", 6), ("kB", 3)];

/// The largest buffer that can be configured.
pub(crate) const LARGEST_BUFFER: Size = Size::mib(1 << 10);

impl Size {
    /// A size of `bytes` bytes.
    pub const fn from_bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    /// A size of `count` kibibytes.
    pub(crate) const fn kib(count: u64) -> Self {
        Self(count << 10)
    }

    /// A size of `count` mebibytes.
    pub(crate) const fn mib(count: u64) -> Self {
        Self(count << 20)
    }

    /// The size in bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }

    /// The size in bytes; `usize::MAX` if it is larger than that.
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exact = BINARY.iter().find(|(_, shift)| self.0 != 0 && self.0.trailing_zeros() >= *shift);
        match exact {
            Some((unit, shift)) => write!(f, "{}{unit}", self.0 >> shift),
            None => write!(f, "{}B", self.0),
        }
    }
}

impl FromStr for Size {
    type Err = ParseSizeError;

    fn from_str(text: &str) -> Result<Self, ParseSizeError> {
        let text = text.trim();
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let number: u64 = number.parse().map_err(|_| ParseSizeError)?;
        let factor = factor(unit.trim_start()).ok_or(ParseSizeError)?;
        number.checked_mul(factor).map(Self).ok_or(ParseSizeError)
    }
}

fn factor(unit: &str) -> Option<u64> {
    if unit.is_empty() || unit.eq_ignore_ascii_case("B") {
        return Some(1);
    }
    let binary = BINARY.iter().find(|(name, _)| unit.eq_ignore_ascii_case(name)).map(|(_, shift)| 1 << shift);
    let decimal = || DECIMAL.iter().find(|(name, _)| unit.eq_ignore_ascii_case(name));
    binary.or_else(|| decimal().map(|(_, power)| 10_u64.pow(*power)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_as_they_are_written() {
        for (text, bytes) in [
            ("0", 0),
            ("17", 17),
            ("17B", 17),
            ("1KiB", 1024),
            ("1 kib", 1024),
            ("3kB", 3_000),
            ("2MiB", 2 << 20),
            ("2mb", 2_000_000),
            ("1GiB", 1 << 30),
            ("1GB", 1_000_000_000),
            ("1TiB", 1 << 40),
            ("1TB", 1_000_000_000_000),
        ] {
            assert_eq!(text.parse(), Ok(Size(bytes)), "{text}");
        }
        let far = u64::MAX.to_string() + "KiB";
        for bad in ["", "MiB", "1.5MiB", "-1", "1 M", "1 MiBs", "1e6", "99999999999999999999", &far] {
            assert_eq!(bad.parse::<Size>(), Err(ParseSizeError), "{bad}");
        }
    }

    #[test]
    fn sizes_are_shown_as_they_would_be_written() {
        for (bytes, shown) in
            [(0, "0B"), (1, "1B"), (1000, "1000B"), (1536, "1536B"), (2048, "2KiB"), (5 << 40, "5TiB")]
        {
            assert_eq!(Size(bytes).to_string(), shown);
            assert_eq!(shown.parse(), Ok(Size(bytes)));
        }
    }
}
