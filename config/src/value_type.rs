//! Value types: how a value is read and shown, and how the reference describes what to write.
//!
//! One [`ValueType`] does all three, so the reference cannot promise what is not checked.

use std::{
    collections::BTreeMap, fmt::Display, net::SocketAddr, ops::RangeInclusive, path, path::PathBuf,
    str::FromStr, time::Duration,
};

use figment::value::{Dict, Value};
use secrecy::SecretString;
use serde::{Serialize, de::DeserializeOwned};

use crate::{show, size::Size};

/// A value as it was found.
pub(crate) struct Raw<'a> {
    pub(crate) value: &'a Value,
    /// Whether it is a variable or an option: a text that stands for a value of any type.
    pub(crate) is_untyped: bool,
}

impl Raw<'_> {
    pub(crate) fn toml(value: &Value) -> Raw<'_> {
        Raw { value, is_untyped: false }
    }

    pub(crate) fn text(&self) -> Option<&str> {
        self.value.as_str()
    }

    pub(crate) fn table(&self) -> Result<&Dict, String> {
        let table = self.value.as_dict().filter(|table| show::date(table).is_none());
        table.ok_or_else(|| self.but_takes("a table"))
    }

    fn whole(&self) -> Option<i128> {
        if self.is_untyped { self.text()?.trim().parse().ok() } else { self.value.to_i128() }
    }

    /// The message that says what was found, and what the key takes.
    pub(crate) fn but_takes(&self, what: impl Display) -> String {
        format!("is {}, but takes {what}", show::found(self.value))
    }
}

/// Messages about a value, each with the path inside the value that it is about: `.transcription`, or empty.
#[derive(Debug)]
pub(crate) struct Wrong(pub(crate) Vec<(String, String)>);

impl From<String> for Wrong {
    fn from(message: String) -> Self {
        Self(vec![(String::new(), message)])
    }
}

type Read<T> = Box<dyn Fn(&Raw<'_>) -> Result<T, Wrong>>;
type Show<T> = Box<dyn Fn(&T) -> Option<String>>;

/// What a key takes.
pub(crate) struct ValueType<T> {
    /// What to write, for the reference.
    pub(crate) description: String,
    pub(crate) read: Read<T>,
    /// A value as TOML writes it, on one line; `None` for a value that stands for nothing.
    pub(crate) show: Show<T>,
}

impl<T: 'static> ValueType<T> {
    pub(crate) fn new<S: Into<Option<String>>, E: Into<Wrong>>(
        description: impl Into<String>,
        show: impl Fn(&T) -> S + 'static,
        read: impl Fn(&Raw<'_>) -> Result<T, E> + 'static,
    ) -> Self {
        Self {
            description: description.into(),
            read: Box::new(move |raw| read(raw).map_err(Into::into)),
            show: Box::new(move |value| show(value).into()),
        }
    }

    /// The same values as another type; `back` gives `None` for a value that stands for nothing.
    pub(crate) fn map<U: 'static>(self, to: fn(T) -> U, back: fn(&U) -> Option<&T>) -> ValueType<U> {
        let Self { description, read, show } = self;
        ValueType::new(description, move |value| back(value).and_then(&show), move |raw| read(raw).map(to))
    }

    /// The same values, or none where the text is blank: a variable can be set to nothing.
    pub(crate) fn or_blank(self) -> ValueType<Option<T>> {
        let ValueType { description, read, show } = self.map(Some, Option::as_ref);
        let is_blank = |raw: &Raw<'_>| raw.text().is_some_and(|text| text.trim().is_empty());
        ValueType::new(description, show, move |raw| if is_blank(raw) { Ok(None) } else { read(raw) })
    }
}

/// A whole number in a range.
pub(crate) fn count<T: TryFrom<usize> + ToString + 'static>(range: RangeInclusive<usize>) -> ValueType<T> {
    let (first, last) = range.clone().into_inner();
    ValueType::new(format!("whole number, {first} to {last}"), T::to_string, move |raw| {
        let number = raw.whole().and_then(|number| usize::try_from(number).ok());
        let number =
            number.filter(|number| range.contains(number)).and_then(|number| T::try_from(number).ok());
        number.ok_or_else(|| raw.but_takes(format_args!("a whole number from {first} to {last}")))
    })
}

/// A duration of at least `least`. The longest is short enough that no clock overflows on it.
pub(crate) fn duration(least: Duration) -> ValueType<Duration> {
    const LONGEST_DAYS: u64 = 365;
    duration_in(least, Duration::from_hours(LONGEST_DAYS * 24), format!("{LONGEST_DAYS} days"))
}

/// A duration from `least` to `most`.
pub(crate) fn short_duration(least: Duration, most: Duration) -> ValueType<Duration> {
    duration_in(least, most, humantime::format_duration(most).to_string())
}

fn duration_in(least: Duration, most: Duration, most_shown: String) -> ValueType<Duration> {
    let least_shown = humantime::format_duration(least);
    let show = |duration: &Duration| show::quoted(&humantime::format_duration(*duration));
    ValueType::new(format!("duration, {least_shown} to {most_shown}"), show, move |raw| {
        match raw.text().and_then(|text| humantime::parse_duration(text.trim()).ok()) {
            None => Err(raw.but_takes("a duration such as \"200ms\", \"60s\" or \"1m 30s\"")),
            Some(duration) if duration < least => Err(raw.but_takes(format_args!("at least {least_shown}"))),
            Some(duration) if duration > most => Err(raw.but_takes(format_args!("at most {most_shown}"))),
            Some(duration) => Ok(duration),
        }
    })
}

/// A size in a range.
pub(crate) fn size(range: RangeInclusive<Size>) -> ValueType<Size> {
    let (first, last) = range.clone().into_inner();
    ValueType::new(format!("size, {first} to {last}"), show::quoted, move |raw| {
        let size = match raw.text() {
            Some(text) => text.parse().ok(),
            None => raw.whole().and_then(|bytes| u64::try_from(bytes).ok()).map(Size::from_bytes),
        };
        match size {
            None => Err(raw.but_takes("a size such as \"64KiB\" or \"1MiB\", or a number of bytes")),
            Some(size) if range.contains(&size) => Ok(size),
            Some(_) => Err(raw.but_takes(format_args!("{first} to {last}"))),
        }
    })
}

/// A text that is not blank.
pub(crate) fn text() -> ValueType<String> {
    ValueType::new("text, not empty", show::quoted, |raw| {
        let text = raw.text().filter(|text| !text.trim().is_empty()).map(str::to_owned);
        text.ok_or_else(|| raw.but_takes("a text in quotes, which is not empty"))
    })
}

/// A text that is not blank, without the spaces around it.
pub(crate) fn name() -> ValueType<String> {
    text().map(|text| text.trim().to_owned(), |name| Some(name))
}

/// A secret, or none where the text is empty: spaces alone may be a password. No message shows it.
pub(crate) fn secret() -> ValueType<Option<SecretString>> {
    let show = |secret: &Option<SecretString>| secret.as_ref().map(|_| show::MASK.to_owned());
    ValueType::new("text, never shown", show, |raw| match raw.text() {
        Some(text) => Ok((!text.is_empty()).then(|| text.into())),
        None => Err("takes a text in quotes".to_owned()),
    })
}

/// A URL. `mask` removes what may be a secret from a wrong text.
pub(crate) fn url<T: FromStr<Err: Display> + Display + 'static>(
    description: &str,
    example: &'static str,
    mask: fn(&str) -> String,
) -> ValueType<T> {
    ValueType::new(description, show::quoted, move |raw| match raw.text() {
        None => Err(raw.but_takes(format_args!("a URL in quotes, such as \"{example}\""))),
        Some(text) => text.parse().map_err(|error| format!("is \"{}\": {error}", show::cut(&mask(text)))),
    })
}

/// A file's path.
pub(crate) fn file_path() -> ValueType<PathBuf> {
    ValueType::new(
        "path of a file",
        |path: &PathBuf| show::quoted(&path.display()),
        |raw| {
            let text = raw.text().ok_or_else(|| raw.but_takes("a file's path in quotes"))?;
            if text == "~" || text.starts_with("~/") {
                let problem = "\"~\" is not replaced by the home directory here; write the path out";
                return Err(format!("is \"{}\": {problem}", show::cut(text)));
            }
            let is_odd = text.contains(char::is_control) || text.ends_with(path::is_separator);
            let path = Some(PathBuf::from(text)).filter(|path| !is_odd && path.file_name().is_some());
            path.ok_or_else(|| raw.but_takes("the path of a file"))
        },
    )
}

/// An address and a port to listen on.
pub(crate) fn address() -> ValueType<SocketAddr> {
    ValueType::new("address and port", show::quoted, |raw| {
        let address = raw.text().and_then(|text| text.trim().parse().ok());
        address.ok_or_else(|| raw.but_takes("an address and a port in quotes, such as \"127.0.0.1:9464\""))
    })
}

/// True or false, of a variable too.
pub(crate) fn flag() -> ValueType<bool> {
    const TAKES: &str = "true or false";
    ValueType::new(TAKES, bool::to_string, |raw| {
        let text = raw.text().filter(|_| raw.is_untyped);
        let flag = text.map_or_else(|| raw.value.to_bool(), |text| text.trim().parse().ok());
        flag.ok_or_else(|| raw.but_takes(TAKES))
    })
}

/// A value of a file that serde reads and writes. `takes` says what to write in place of a wrong one.
pub(crate) fn serde_value<T: Serialize + DeserializeOwned + 'static>(takes: &'static str) -> ValueType<T> {
    let show = |value: &T| show::plain(&serde_json::to_value(value).unwrap_or_default());
    ValueType::new(takes, show, move |raw| from_serde(raw.value).ok_or_else(|| raw.but_takes(takes)))
}

/// A table of such values under keys of the user's choice.
pub(crate) fn table_of<T: Serialize + DeserializeOwned + 'static>(
    description: &str,
    takes: &'static str,
) -> ValueType<BTreeMap<String, T>> {
    let json = |table: &BTreeMap<String, T>| serde_json::to_value(table).unwrap_or_default();
    let show = move |table: &BTreeMap<String, T>| (!table.is_empty()).then(|| show::table(&json(table)));
    ValueType::new(description, show, move |raw| {
        let (mut table, mut wrong) = (BTreeMap::new(), Vec::new());
        for (key, value) in raw.table()? {
            match from_serde(value) {
                Some(value) => drop(table.insert(key.clone(), value)),
                None => wrong.push((format!(".{key}"), Raw::toml(value).but_takes(takes))),
            }
        }
        if wrong.is_empty() { Ok(table) } else { Err(Wrong(wrong)) }
    })
}

pub(crate) fn from_serde<T: DeserializeOwned>(value: &Value) -> Option<T> {
    serde_json::from_value(serde_json::to_value(value).ok()?).ok()
}

/// A table of anything, as JSON; null where there is none. A date becomes its text.
pub(crate) fn json_table(description: &str) -> ValueType<serde_json::Value> {
    let show = |table: &serde_json::Value| (!table.is_null()).then(|| show::table(table));
    ValueType::new(description, show, |raw| {
        raw.table()?;
        let mut wrong = Wrong(Vec::new());
        let table = json("", raw.value, &mut wrong);
        if wrong.0.is_empty() { Ok(table) } else { Err(wrong) }
    })
}

fn json(path: &str, value: &Value, wrong: &mut Wrong) -> serde_json::Value {
    match value {
        Value::Dict(_, table) => {
            let field = |(key, value): (&String, &Value)| {
                (key.clone(), json(&format!("{path}.{}", show::key(key)), value, wrong))
            };
            show::date(table).map_or_else(|| table.iter().map(field).collect(), Into::into)
        }
        Value::Array(_, items) => items.iter().map(|item| json(path, item, wrong)).collect(),
        other => {
            if other.to_num().and_then(|number| number.to_f64()).is_some_and(|number| !number.is_finite()) {
                wrong.0.push((path.to_owned(), "takes a finite number".to_owned()));
            }
            serde_json::to_value(other).unwrap_or_default()
        }
    }
}
