//! What a key takes: how a value is read, how it is shown, and how people are told what to write.
//!
//! One type says all three, so that the reference cannot promise what is not checked.

use std::{fmt, net::SocketAddr, ops::RangeInclusive, path, path::PathBuf, time::Duration};

use figment::value::Value;
use secrecy::SecretString;

use crate::{Size, database, layer::Form, show};

/// A value and the form in which it came.
pub(crate) struct Raw {
    pub(crate) value: Value,
    pub(crate) form: Form,
}

impl Raw {
    pub(crate) fn text(&self) -> Option<&str> {
        self.value.as_str()
    }

    fn whole(&self) -> Option<i128> {
        match self.form {
            Form::Toml => self.value.to_i128(),
            Form::Text => self.text()?.trim().parse().ok(),
        }
    }

    /// The complaint that it is not what the key takes.
    pub(crate) fn but_takes(&self, what: impl fmt::Display) -> String {
        format!("is {}, but takes {what}", show::found(&self.value))
    }
}

pub(crate) trait Takes {
    type Value;

    /// The value, or what is wrong with it.
    fn read(&self, raw: &Raw) -> Result<Self::Value, String>;

    /// A value as TOML writes it, on one line.
    fn show(&self, value: &Self::Value) -> String;

    /// What to write, for the reference.
    fn describe(&self) -> String;

    /// Whether this stands for no value, where there may be none.
    fn is_none(&self, raw: &Raw) -> bool {
        raw.text().is_some_and(|text| text.trim().is_empty())
    }
}

/// A whole number in a range.
pub(crate) struct Whole(pub(crate) RangeInclusive<u32>);

impl Takes for Whole {
    type Value = u32;

    fn read(&self, raw: &Raw) -> Result<u32, String> {
        let number = raw.whole().and_then(|number| u32::try_from(number).ok());
        number.filter(|number| self.0.contains(number)).ok_or_else(|| {
            raw.but_takes(format_args!("a whole number from {} to {}", self.0.start(), self.0.end()))
        })
    }

    fn show(&self, value: &u32) -> String {
        value.to_string()
    }

    fn describe(&self) -> String {
        format!("whole number, {} to {}", self.0.start(), self.0.end())
    }
}

/// A duration of at least so much.
pub(crate) struct Lasting(pub(crate) Duration);

/// The longest duration: no clock overflows on it.
const LONGEST_DAYS: u64 = 365;
pub(crate) const MILLISECOND: Duration = Duration::from_millis(1);

impl Takes for Lasting {
    type Value = Duration;

    fn read(&self, raw: &Raw) -> Result<Duration, String> {
        let parsed = raw.text().and_then(|text| humantime::parse_duration(text.trim()).ok());
        match parsed {
            None => Err(raw.but_takes("a duration such as \"200ms\", \"60s\" or \"1m 30s\"")),
            Some(duration) if duration < self.0 => {
                Err(raw.but_takes(format_args!("at least {}", humantime::format_duration(self.0))))
            }
            Some(duration) if duration > Duration::from_hours(LONGEST_DAYS * 24) => {
                Err(raw.but_takes(format_args!("at most {LONGEST_DAYS} days")))
            }
            Some(duration) => Ok(duration),
        }
    }

    fn show(&self, value: &Duration) -> String {
        show::quoted(&humantime::format_duration(*value).to_string())
    }

    fn describe(&self) -> String {
        format!("duration, {} to {LONGEST_DAYS} days", humantime::format_duration(self.0))
    }
}

/// A size in a range.
pub(crate) struct Bytes(pub(crate) RangeInclusive<Size>);

impl Takes for Bytes {
    type Value = Size;

    fn read(&self, raw: &Raw) -> Result<Size, String> {
        let parsed = match raw.form {
            Form::Toml if raw.text().is_none() => {
                raw.whole().and_then(|bytes| u64::try_from(bytes).ok()).map(Size::from_bytes)
            }
            _ => raw.text().and_then(|text| text.parse().ok()),
        };
        match parsed {
            None => Err(raw.but_takes("a size such as \"64KiB\" or \"1MiB\", or a number of bytes")),
            Some(size) if self.0.contains(&size) => Ok(size),
            Some(_) => Err(raw.but_takes(format_args!("{} to {}", self.0.start(), self.0.end()))),
        }
    }

    fn show(&self, value: &Size) -> String {
        show::quoted(&value.to_string())
    }

    fn describe(&self) -> String {
        format!("size, {} to {}", self.0.start(), self.0.end())
    }
}

/// A text that is not blank, as it stands.
pub(crate) struct Text;

impl Takes for Text {
    type Value = String;

    fn read(&self, raw: &Raw) -> Result<String, String> {
        match raw.text() {
            Some(text) if !text.trim().is_empty() => Ok(text.to_owned()),
            _ => Err(raw.but_takes("a text in quotes, which is not empty")),
        }
    }

    fn show(&self, value: &String) -> String {
        show::quoted(value)
    }

    fn describe(&self) -> String {
        "text, not empty".to_owned()
    }
}

/// A text that is not blank, without the blanks around it.
pub(crate) struct Trimmed;

impl Takes for Trimmed {
    type Value = String;

    fn read(&self, raw: &Raw) -> Result<String, String> {
        Text.read(raw).map(|text| text.trim().to_owned())
    }

    fn show(&self, value: &String) -> String {
        Text.show(value)
    }

    fn describe(&self) -> String {
        Text.describe()
    }
}

/// A secret. No message shows it, whatever it is.
pub(crate) struct Secret;

impl Takes for Secret {
    type Value = SecretString;

    fn read(&self, raw: &Raw) -> Result<SecretString, String> {
        raw.text().map(SecretString::from).ok_or_else(|| "takes a text in quotes".to_owned())
    }

    fn show(&self, _: &SecretString) -> String {
        show::MASK.to_owned()
    }

    fn describe(&self) -> String {
        "text, never shown".to_owned()
    }

    /// Blanks may be someone's password.
    fn is_none(&self, raw: &Raw) -> bool {
        raw.text() == Some("")
    }
}

/// A database's URL.
pub(crate) struct DatabaseUrl;

impl Takes for DatabaseUrl {
    type Value = database::Url;

    fn read(&self, raw: &Raw) -> Result<database::Url, String> {
        let Some(text) = raw.text() else {
            return Err(raw.but_takes("a URL in quotes, such as \"mem://\""));
        };
        text.parse().map_err(|error| format!("is \"{}\": {error}", show::cut(&database::masked(text))))
    }

    fn show(&self, value: &database::Url) -> String {
        show::quoted(&value.to_string())
    }

    fn describe(&self) -> String {
        "URL that starts with surrealkv://, mem://, ws:// or wss://".to_owned()
    }
}

/// A file's path.
pub(crate) struct FilePath;

impl Takes for FilePath {
    type Value = PathBuf;

    fn read(&self, raw: &Raw) -> Result<PathBuf, String> {
        let Some(text) = raw.text() else { return Err(raw.but_takes("a file's path in quotes")) };
        let path = PathBuf::from(text);
        if text == "~" || text.starts_with("~/") {
            let problem = "\"~\" is not replaced by the home directory here; write the path out";
            return Err(format!("is \"{}\": {problem}", show::cut(text)));
        }
        if text.contains(char::is_control) || text.ends_with(path::is_separator) || path.file_name().is_none()
        {
            return Err(raw.but_takes("the path of a file"));
        }
        Ok(path)
    }

    fn show(&self, value: &PathBuf) -> String {
        show::quoted(&value.display().to_string())
    }

    fn describe(&self) -> String {
        "path of a file".to_owned()
    }
}

/// An address and a port to listen on.
pub(crate) struct Address;

impl Takes for Address {
    type Value = SocketAddr;

    fn read(&self, raw: &Raw) -> Result<SocketAddr, String> {
        let parsed = raw.text().and_then(|text| text.trim().parse().ok());
        parsed.ok_or_else(|| raw.but_takes("an address and a port in quotes, such as \"127.0.0.1:9464\""))
    }

    fn show(&self, value: &SocketAddr) -> String {
        show::quoted(&value.to_string())
    }

    fn describe(&self) -> String {
        "address and port".to_owned()
    }
}

/// True or false.
pub(crate) struct Flag;

impl Takes for Flag {
    type Value = bool;

    fn read(&self, raw: &Raw) -> Result<bool, String> {
        raw.value.to_bool().ok_or_else(|| raw.but_takes(self.describe()))
    }

    fn show(&self, value: &bool) -> String {
        value.to_string()
    }

    fn describe(&self) -> String {
        "true or false".to_owned()
    }
}

/// One of these words.
pub(crate) struct OneOf<T: 'static>(pub(crate) &'static [(&'static str, T)]);

impl<T: Copy + PartialEq> Takes for OneOf<T> {
    type Value = T;

    fn read(&self, raw: &Raw) -> Result<T, String> {
        let text = raw.text();
        let found = self.0.iter().find(|(word, _)| text == Some(word));
        found.map(|(_, value)| *value).ok_or_else(|| raw.but_takes(self.describe()))
    }

    fn show(&self, value: &T) -> String {
        let word = self.0.iter().find(|(_, candidate)| candidate == value).map(|(word, _)| *word);
        show::quoted(word.unwrap_or_default())
    }

    fn describe(&self) -> String {
        let words: Vec<String> = self.0.iter().map(|(word, _)| show::quoted(word)).collect();
        show::either(&words)
    }
}
