//! Takes keys out of the merged layers, one by one, as what they must be.
//!
//! A value that is wrong is noted and the default stands in for it, so that one run finds every mistake; the caller
//! throws the result away if there were any.

use std::{fmt, ops::RangeInclusive, time::Duration};

use figment::{Figment, value::Value};
use secrecy::SecretString;

use crate::{
    Size, database,
    error::Problem,
    layer::{Form, Layer},
    show,
};

/// A key as it stands, for people.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct Setting {
    /// The key, such as `hooks.tries`; for an instance `plugin.NAME.KEY`.
    pub key: String,
    /// Its value as TOML writes it, on one line; a secret is `"********"`.
    pub value: String,
    /// Where it comes from: `default`, a file, or `environment variable NAME`.
    pub origin: String,
}

/// A value and the form in which it came.
pub(crate) struct Raw {
    pub(crate) value: Value,
    pub(crate) form: Form,
}

impl Raw {
    fn text(&self) -> Option<&str> {
        self.value.as_str()
    }

    fn whole(&self) -> Option<i128> {
        match self.form {
            Form::Toml => self.value.to_i128(),
            Form::Text => self.text()?.trim().parse().ok(),
        }
    }

    fn is_blank(&self) -> bool {
        self.text().is_some_and(|text| text.trim().is_empty())
    }

    /// The complaint that it is not what the key takes.
    pub(crate) fn but_takes(&self, what: impl fmt::Display) -> String {
        format!("is {}, but takes {what}", show::found(&self.value))
    }
}

/// The longest duration: no clock overflows on it.
const LONGEST: Duration = Duration::from_hours(365 * 24);
pub(crate) const MILLISECOND: Duration = Duration::from_millis(1);

pub(crate) struct Reader {
    defaults: Figment,
    merged: Figment,
    pub(crate) problems: Vec<Problem>,
    pub(crate) settings: Vec<Setting>,
}

impl Reader {
    pub(crate) fn new(defaults: Figment, merged: Figment, problems: Vec<Problem>) -> Self {
        Self { defaults, merged, problems, settings: Vec::new() }
    }

    pub(crate) fn whole(&mut self, key: &str, range: RangeInclusive<u32>) -> u32 {
        let read = whole(range);
        self.value(key, read, ToString::to_string).unwrap_or_else(|| no_default(key))
    }

    pub(crate) fn whole_or(&mut self, key: &str, range: RangeInclusive<u32>, default: u32) -> u32 {
        let read = whole(range);
        self.value(key, read, ToString::to_string).unwrap_or_else(|| {
            self.set(key, default.to_string(), "default");
            default
        })
    }

    pub(crate) fn duration(&mut self, key: &str, least: Duration) -> Duration {
        let read = |raw: &Raw| {
            let parsed = raw.text().and_then(|text| humantime::parse_duration(text.trim()).ok());
            match parsed {
                None => Err(raw.but_takes("a duration such as \"200ms\", \"60s\" or \"1m 30s\"")),
                Some(duration) if duration < least => {
                    Err(raw.but_takes(format_args!("at least {}", humantime::format_duration(least))))
                }
                Some(duration) if duration > LONGEST => Err(raw.but_takes("at most 365 days")),
                Some(duration) => Ok(duration),
            }
        };
        let show = |duration: &Duration| show::quoted(&humantime::format_duration(*duration).to_string());
        self.value(key, read, show).unwrap_or_else(|| no_default(key))
    }

    pub(crate) fn size(&mut self, key: &str, range: RangeInclusive<Size>) -> Size {
        let read = |raw: &Raw| {
            let parsed = match raw.form {
                Form::Toml if raw.text().is_none() => {
                    raw.whole().and_then(|bytes| u64::try_from(bytes).ok()).map(Size::from_bytes)
                }
                _ => raw.text().and_then(|text| text.parse().ok()),
            };
            match parsed {
                None => Err(raw.but_takes("a size such as \"64KiB\" or \"1MiB\", or a number of bytes")),
                Some(size) if range.contains(&size) => Ok(size),
                Some(_) => Err(raw.but_takes(format_args!("{} to {}", range.start(), range.end()))),
            }
        };
        self.value(key, read, |size| show::quoted(&size.to_string())).unwrap_or_else(|| no_default(key))
    }

    /// A text that is not blank.
    pub(crate) fn text(&mut self, key: &str) -> String {
        let read = |raw: &Raw| match raw.text() {
            Some(text) if !raw.is_blank() => Ok(text.to_owned()),
            _ => Err(raw.but_takes("a text in quotes, which is not empty")),
        };
        self.value(key, read, |text| show::quoted(text)).unwrap_or_else(|| no_default(key))
    }

    /// A text that may be missing; blank is missing.
    pub(crate) fn optional_text(&mut self, key: &str) -> Option<String> {
        let read = |raw: &Raw| match raw.text() {
            Some(_) if raw.is_blank() => Ok(None),
            Some(text) => Ok(Some(text.to_owned())),
            None => Err(raw.but_takes("a text in quotes")),
        };
        let show = |text: &Option<String>| show::quoted(text.as_deref().unwrap_or_default());
        self.optional(key, read, show)
    }

    /// A secret that may be missing; empty is missing. No message shows it, whatever it is.
    pub(crate) fn secret(&mut self, key: &str) -> Option<SecretString> {
        let read = |raw: &Raw| match raw.text() {
            Some("") => Ok(None),
            Some(text) => Ok(Some(SecretString::from(text))),
            None => Err("takes a text in quotes".to_owned()),
        };
        let show = |secret: &Option<SecretString>| match secret {
            Some(_) => show::MASK.to_owned(),
            None => show::quoted(""),
        };
        self.optional(key, read, show)
    }

    /// A database that may be missing; blank is missing.
    pub(crate) fn database_url(&mut self, key: &str) -> Option<database::Url> {
        let read = |raw: &Raw| match raw.text() {
            Some(_) if raw.is_blank() => Ok(None),
            Some(text) => match text.parse() {
                Ok(url) => Ok(Some(url)),
                Err(error) => Err(format!("is \"{}\": {error}", show::cut(&database::masked(text)))),
            },
            None => Err(raw.but_takes("a URL in quotes, such as \"mem://\"")),
        };
        let show = |url: &Option<database::Url>| {
            show::quoted(&url.as_ref().map_or_else(String::new, ToString::to_string))
        };
        self.optional(key, read, show)
    }

    /// The entries of a list of tables, each with its origin; `None` if the list is not there at all.
    pub(crate) fn list(&mut self, key: &str) -> Option<Vec<(Value, String)>> {
        let (raw, origin) = find(&self.merged, key)?;
        let Value::Array(_, entries) = raw.value else {
            let problem = raw.but_takes(format_args!("a list of tables: [[{key}]]"));
            self.complain(&origin, key, problem);
            return None;
        };
        Some(entries.into_iter().map(|entry| (entry, origin.clone())).collect())
    }

    pub(crate) fn complain(&mut self, origin: &str, key: impl Into<String>, problem: impl Into<String>) {
        self.problems.push(Problem::new(origin, key, problem));
    }

    /// Complains about a key by what is merged, where it is wrong beside another.
    pub(crate) fn complain_about(&mut self, key: &str, problem: impl Into<String>) {
        let origin = find(&self.merged, key).map_or_else(|| "default".to_owned(), |(_, origin)| origin);
        self.complain(&origin, key, problem);
    }

    /// Notes a key as it stands, in the place of what was noted before.
    pub(crate) fn set(&mut self, key: impl Into<String>, value: String, origin: &str) {
        let setting = Setting { key: key.into(), value, origin: origin.to_owned() };
        match self.settings.iter_mut().find(|noted| noted.key == setting.key) {
            Some(noted) => *noted = setting,
            None => self.settings.push(setting),
        }
    }

    fn optional<T>(
        &mut self,
        key: &str,
        read: impl Fn(&Raw) -> Result<Option<T>, String>,
        show: impl Fn(&Option<T>) -> String,
    ) -> Option<T> {
        let found = self.value(key, read, &show);
        if found.is_none() {
            self.set(key, show(&None), "default");
        }
        found.flatten()
    }

    /// The key's value, or its default's where it is wrong or missing.
    fn value<T>(
        &mut self,
        key: &str,
        read: impl Fn(&Raw) -> Result<T, String>,
        show: impl Fn(&T) -> String,
    ) -> Option<T> {
        if let Some((raw, origin)) = find(&self.merged, key) {
            match read(&raw) {
                Ok(value) => {
                    self.set(key, show(&value), &origin);
                    return Some(value);
                }
                Err(problem) => self.complain(&origin, key, problem),
            }
        }
        let (raw, _) = find(&self.defaults, key)?;
        read(&raw).ok()
    }
}

fn whole(range: RangeInclusive<u32>) -> impl Fn(&Raw) -> Result<u32, String> {
    move |raw| {
        let number = raw.whole().and_then(|number| u32::try_from(number).ok());
        number.filter(|number| range.contains(number)).ok_or_else(|| {
            raw.but_takes(format_args!("a whole number from {} to {}", range.start(), range.end()))
        })
    }
}

fn find(figment: &Figment, key: &str) -> Option<(Raw, String)> {
    let value = figment.find_value(key).ok()?;
    let (origin, form) = Layer::origin(figment.get_metadata(value.tag()));
    Some((Raw { value, form }, origin))
}

fn no_default(key: &str) -> ! {
    unreachable!("invariant: default.toml holds a value for {key}")
}
