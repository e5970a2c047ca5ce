//! Value types: how a value is read and shown, and how the reference describes what to write.
//!
//! One [`ValueType`] does all three, so the reference cannot promise what is not checked.

use std::{
    collections::BTreeMap, fmt::Display, net::SocketAddr, ops::RangeInclusive, path, path::PathBuf,
    str::FromStr, time::Duration,
};

use figment::value::{Dict, Value};
use secrecy::SecretString;

use crate::{show, size::Size};

/// How the values of a layer are written: typed by TOML, or as texts that a value type converts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Toml,
    Text,
}

/// A value as it was found.
pub(crate) struct Raw<'a> {
    pub(crate) value: &'a Value,
    pub(crate) form: Form,
}

impl Raw<'_> {
    pub(crate) fn toml(value: &Value) -> Raw<'_> {
        Raw { value, form: Form::Toml }
    }

    pub(crate) fn text(&self) -> Option<&str> {
        self.value.as_str()
    }

    pub(crate) fn table(&self) -> Result<&Dict, String> {
        let table = self.value.as_dict().filter(|table| show::date(table).is_none());
        table.ok_or_else(|| self.but_takes("a table"))
    }

    fn whole(&self) -> Option<i128> {
        match self.form {
            Form::Toml => self.value.to_i128(),
            Form::Text => self.text()?.trim().parse().ok(),
        }
    }

    /// A message: what was found, and what the key takes.
    pub(crate) fn but_takes(&self, what: impl Display) -> String {
        format!("is {}, but takes {what}", show::found(self.value))
    }
}

/// What is wrong with a value: messages, each with the key inside the value that it is about. That key is
/// empty where the message is about the value itself.
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
    read: Read<T>,
    show: Show<T>,
}

impl<T: 'static> ValueType<T> {
    /// `show` may give `None` for a value that stands for nothing.
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

    /// Texts that `parse` reads; `takes` says what to write if the value is none of them.
    fn of_texts(
        description: &str,
        takes: &'static str,
        show: impl Fn(&T) -> String + 'static,
        parse: impl Fn(&str) -> Option<T> + 'static,
    ) -> Self {
        let show = move |value: &T| show::quoted(&show(value));
        Self::new(description, show, move |raw| {
            raw.text().and_then(&parse).ok_or_else(|| raw.but_takes(takes))
        })
    }

    pub(crate) fn read(&self, raw: &Raw<'_>) -> Result<T, Wrong> {
        (self.read)(raw)
    }

    /// The value as TOML writes it, on one line; `None` if it stands for nothing.
    pub(crate) fn show(&self, value: &T) -> Option<String> {
        (self.show)(value)
    }

    /// The same values under another description.
    pub(crate) fn described(self, description: &str) -> Self {
        Self { description: description.to_owned(), ..self }
    }

    /// The same values as another type. `back` gives `None` for a value that stands for nothing.
    pub(crate) fn map<U: 'static>(
        self,
        to: impl Fn(T) -> U + 'static,
        back: impl Fn(&U) -> Option<&T> + 'static,
    ) -> ValueType<U> {
        let Self { description, read, show } = self;
        ValueType {
            description,
            read: Box::new(move |raw| read(raw).map(&to)),
            show: Box::new(move |value| back(value).and_then(&show)),
        }
    }

    /// The same values, or none where the text is blank: a variable cannot be removed, only set to nothing.
    pub(crate) fn or_blank(self) -> ValueType<Option<T>> {
        let ValueType { description, read, show } = self.map(Some, Option::as_ref);
        let is_blank = |raw: &Raw<'_>| raw.text().is_some_and(|text| text.trim().is_empty());
        ValueType {
            description,
            read: Box::new(move |raw| if is_blank(raw) { Ok(None) } else { read(raw) }),
            show,
        }
    }
}

/// A whole number in a range.
pub(crate) fn count<T: TryFrom<usize> + ToString + 'static>(range: RangeInclusive<usize>) -> ValueType<T> {
    let (first, last) = range.clone().into_inner();
    ValueType::new(format!("whole number, {first} to {last}"), T::to_string, move |raw| {
        let number = raw.whole().and_then(|number| usize::try_from(number).ok());
        let number = number.filter(|number| range.contains(number));
        number
            .and_then(|number| T::try_from(number).ok())
            .ok_or_else(|| raw.but_takes(format_args!("a whole number from {first} to {last}")))
    })
}

/// A duration of at least `least`. The longest is short enough that no clock overflows on it.
pub(crate) fn duration(least: Duration) -> ValueType<Duration> {
    const LONGEST_DAYS: u64 = 365;
    let least_shown = humantime::format_duration(least);
    let show = |duration: &Duration| show::quoted(&humantime::format_duration(*duration).to_string());
    ValueType::new(format!("duration, {least_shown} to {LONGEST_DAYS} days"), show, move |raw| {
        match raw.text().and_then(|text| humantime::parse_duration(text.trim()).ok()) {
            None => Err(raw.but_takes("a duration such as \"200ms\", \"60s\" or \"1m 30s\"")),
            Some(duration) if duration < least => Err(raw.but_takes(format_args!("at least {least_shown}"))),
            Some(duration) if duration > Duration::from_hours(LONGEST_DAYS * 24) => {
                Err(raw.but_takes(format_args!("at most {LONGEST_DAYS} days")))
            }
            Some(duration) => Ok(duration),
        }
    })
}

/// A size in a range.
pub(crate) fn size(range: RangeInclusive<Size>) -> ValueType<Size> {
    let (first, last) = range.clone().into_inner();
    let show = |size: &Size| show::quoted(&size.to_string());
    ValueType::new(format!("size, {first} to {last}"), show, move |raw| {
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

/// A text that is not blank. Spaces around it are part of it.
pub(crate) fn text() -> ValueType<String> {
    ValueType::of_texts("text, not empty", "a text in quotes, which is not empty", String::clone, |text| {
        Some(text.to_owned()).filter(|text| !text.trim().is_empty())
    })
}

/// A text that is not blank, without the spaces around it.
pub(crate) fn name() -> ValueType<String> {
    text().map(|text| text.trim().to_owned(), |text| Some(text))
}

/// A secret, or none where the text is empty: spaces alone may be a password. No message shows it.
pub(crate) fn secret() -> ValueType<Option<SecretString>> {
    let show = |secret: &Option<SecretString>| secret.as_ref().map(|_| show::MASK.to_owned());
    ValueType::new("text, never shown", show, |raw| {
        let text = raw.text().ok_or_else(|| "takes a text in quotes".to_owned())?;
        Ok::<_, String>(Some(text).filter(|text| !text.is_empty()).map(SecretString::from))
    })
}

/// A URL. `mask` removes what may be a secret from a text that is wrong.
pub(crate) fn url<T: FromStr<Err: Display> + Display + 'static>(
    description: &str,
    example: &'static str,
    mask: fn(&str) -> String,
) -> ValueType<T> {
    ValueType::new(
        description,
        |url: &T| show::quoted(&url.to_string()),
        move |raw| {
            let missing = || raw.but_takes(format_args!("a URL in quotes, such as \"{example}\""));
            let text = raw.text().ok_or_else(missing)?;
            text.parse().map_err(|error| format!("is \"{}\": {error}", show::cut(&mask(text))))
        },
    )
}

/// A file's path.
pub(crate) fn file_path() -> ValueType<PathBuf> {
    ValueType::new(
        "path of a file",
        |path: &PathBuf| show::path(path),
        |raw| {
            let text = raw.text().ok_or_else(|| raw.but_takes("a file's path in quotes"))?;
            let path = PathBuf::from(text);
            if text == "~" || text.starts_with("~/") {
                let problem = "\"~\" is not replaced by the home directory here; write the path out";
                return Err(format!("is \"{}\": {problem}", show::cut(text)));
            }
            if text.contains(char::is_control)
                || text.ends_with(path::is_separator)
                || path.file_name().is_none()
            {
                return Err(raw.but_takes("the path of a file"));
            }
            Ok(path)
        },
    )
}

/// An address and a port to listen on.
pub(crate) fn address() -> ValueType<SocketAddr> {
    let takes = "an address and a port in quotes, such as \"127.0.0.1:9464\"";
    ValueType::of_texts("address and port", takes, SocketAddr::to_string, |text| text.trim().parse().ok())
}

/// True or false.
pub(crate) fn flag() -> ValueType<bool> {
    const TAKES: &str = "true or false";
    ValueType::new(TAKES, bool::to_string, |raw| raw.value.to_bool().ok_or_else(|| raw.but_takes(TAKES)))
}

/// One of these words.
pub(crate) fn one_of<T: Copy + PartialEq>(words: &'static [(&'static str, T)]) -> ValueType<T> {
    let quoted: Vec<String> = words.iter().map(|(word, _)| show::quoted(word)).collect();
    let description = show::either(&quoted);
    let takes = description.clone();
    let show = |value: &T| words.iter().find(|(_, known)| known == value).map(|(word, _)| show::quoted(word));
    ValueType::new(description, show, move |raw| {
        let found = words.iter().find(|(word, _)| raw.text() == Some(word));
        found.map(|(_, value)| *value).ok_or_else(|| raw.but_takes(&takes))
    })
}

/// A table of values under keys of the user's choice; `takes` says what to write if one is wrong.
pub(crate) fn table_of<T: 'static>(
    description: &str,
    takes: &'static str,
    read: fn(&Value) -> Option<T>,
    json: fn(&T) -> serde_json::Value,
) -> ValueType<BTreeMap<String, T>> {
    let show = move |values: &BTreeMap<String, T>| {
        let fields = values.iter().map(|(key, value)| (key.clone(), json(value))).collect();
        (!values.is_empty()).then(|| show::table(&serde_json::Value::Object(fields)))
    };
    ValueType::new(description, show, move |raw| {
        let (mut values, mut wrong) = (BTreeMap::new(), Vec::new());
        for (key, value) in raw.table()? {
            match read(value) {
                Some(value) => drop(values.insert(key.clone(), value)),
                None => wrong.push((key.clone(), Raw::toml(value).but_takes(takes))),
            }
        }
        if wrong.is_empty() { Ok(values) } else { Err(Wrong(wrong)) }
    })
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
            if let Some(date) = show::date(table) {
                return date.into();
            }
            let field = |(key, value): (&String, &Value)| {
                let dot = if path.is_empty() { "" } else { "." };
                (key.clone(), json(&format!("{path}{dot}{}", show::key(key)), value, wrong))
            };
            serde_json::Value::Object(table.iter().map(field).collect())
        }
        Value::Array(_, items) => items.iter().map(|item| json(path, item, wrong)).collect(),
        Value::String(_, text) => text.as_str().into(),
        Value::Char(_, c) => c.to_string().into(),
        Value::Bool(_, value) => (*value).into(),
        Value::Empty(..) => serde_json::Value::Null,
        Value::Num(_, number) => {
            let whole = number.to_i128().and_then(|number| i64::try_from(number).ok());
            let number = match whole {
                Some(number) => Some(number.into()),
                None => number.to_f64().and_then(serde_json::Number::from_f64),
            };
            if number.is_none() {
                wrong.0.push((path.to_owned(), "takes a finite number".to_owned()));
            }
            number.map_or(serde_json::Value::Null, serde_json::Value::Number)
        }
    }
}
