//! A table of the configuration as a Rust type.
//!
//! [`table!`] is the one place that states a key: its name, type, range, default, example and description.
//! Reading, `teammy config`, the reference and `default.toml` follow from that. Derives of serde and schemars
//! could not carry this: reading would stop at the first mistake of a table, and a range and a default would
//! each be stated twice, for the check and for the schema.

use figment::value::{Dict, Value};

use crate::{
    known_keys,
    reader::Reader,
    section::{Fallback, Key, Section},
    show,
    value_type::{Raw, ValueType},
};

/// A table, or the tables of a list.
pub(crate) trait Table: Sized {
    fn section() -> Section;

    /// Reads every key. A wrong value is noted as a problem, and the default stands in for it.
    fn read(fields: &mut Fields<'_>) -> Self;
}

/// Defines a table: its description, its header as TOML writes it, and a struct with a field for each key.
///
/// A key is written `name: Type = spec;` with a [`Spec<Type>`](Spec), or `field as name: Type = spec;` where
/// the field has another name. The fields after `and` are no keys; they start as `Default::default()`.
macro_rules! table {
    (
        $(#[doc = $about:literal])+
        $header:literal
        $(#[$attribute:meta])*
        pub struct $table:ident {
            $( $(#[doc = $doc:literal])+ $field:ident $(as $name:ident)? : $type:ty = $spec:expr; )+
        }
        $(and { $( $(#[$other_attribute:meta])* $other:ident : $other_type:ty; )+ })?
    ) => {
        $(#[doc = $about])+
        #[doc = concat!("\n\n`", $header, "`")]
        $(#[$attribute])*
        #[non_exhaustive]
        pub struct $table {
            $( $(#[doc = $doc])+ pub $field: $type, )+
            $( $( $(#[$other_attribute])* pub $other: $other_type, )+ )?
        }

        impl crate::table::Table for $table {
            fn section() -> crate::section::Section {
                let keys = vec![$( {
                    let spec: crate::table::Spec<$type> = $spec;
                    spec.key([$(stringify!($name),)? stringify!($field)][0], &[$($doc),+])
                } ),+];
                crate::section::Section::new($header, &[$($about),+], keys)
            }

            fn read(fields: &mut crate::table::Fields<'_>) -> Self {
                Self {
                    $( $field: fields.take([$(stringify!($name),)? stringify!($field)][0], &$spec), )+
                    $( $( $other: Default::default(), )+ )?
                }
            }
        }
    };
}
pub(crate) use table;

/// What a key takes, and what holds where it is not given.
pub(crate) struct Spec<T> {
    value_type: ValueType<T>,
    fallback: Fallback,
    example: Option<String>,
    missing: Missing<T>,
}

/// Finds the value of a missing key, from the other keys of its table.
type Missing<T> = Box<dyn Fn(&ValueType<T>, &Dict) -> T>;

impl<T: 'static> ValueType<T> {
    fn or(self, fallback: Fallback, missing: impl Fn(&Self, &Dict) -> T + 'static) -> Spec<T> {
        Spec { value_type: self, fallback, example: None, missing: Box::new(missing) }
    }

    /// A key with a fixed default.
    pub(crate) fn default(self, value: impl Into<Value>) -> Spec<T> {
        let value = value.into();
        let default = move |value_type: &Self| {
            let default = value_type.read(&Raw::toml(&value));
            default.unwrap_or_else(|wrong| panic!("invariant: a default is one of its type: {wrong:?}"))
        };
        let shown = self.show(&default(&self)).unwrap_or_default();
        self.or(Fallback::Value(shown), move |value_type, _| default(value_type))
    }

    /// A key whose default is found at run time; `words` say how.
    pub(crate) fn otherwise(self, words: impl Into<String>, find: fn() -> T) -> Spec<T> {
        self.or(Fallback::Words(words.into()), move |_, _| find())
    }
}

impl<T: Default + 'static> ValueType<T> {
    /// A key that must be given.
    pub(crate) fn required(self) -> Spec<T> {
        self.or(Fallback::Required, |_, _| T::default())
    }

    /// A key that may be missing.
    pub(crate) fn optional(self) -> Spec<T> {
        self.or(Fallback::None, |_, _| T::default())
    }

    /// A key whose default is another key of the same table; `words` say which.
    pub(crate) fn same_as(self, key: &'static str, words: &str) -> Spec<T> {
        self.or(Fallback::Words(words.to_owned()), move |value_type, fields| {
            let other = fields.get(key).and_then(|value| value_type.read(&Raw::toml(value)).ok());
            other.unwrap_or_default()
        })
    }
}

impl<T: 'static> Spec<T> {
    /// Says in words what holds where the key is missing.
    pub(crate) fn words(self, words: &str) -> Self {
        Self { fallback: Fallback::Words(words.to_owned()), ..self }
    }

    /// Gives an example, for a key without a fixed default.
    pub(crate) fn example(self, value: impl Into<serde_json::Value>) -> Self {
        Self { example: Some(show::plain(&value.into())), ..self }
    }

    pub(crate) fn key(self, name: &str, description: &[&str]) -> Key {
        Key::new(name, self.value_type.description, self.fallback, self.example, description)
    }
}

/// One table, while it is read.
pub(crate) struct Fields<'r> {
    reader: &'r mut Reader,
    /// How messages and settings name the table: `hooks`, `plugin.minutes`, or `plugin[0]`.
    path: String,
    /// The header and the origin of a list's table.
    list: Option<(String, String)>,
    values: Dict,
}

impl Fields<'_> {
    pub(crate) fn take<T: 'static>(&mut self, name: &str, spec: &Spec<T>) -> T {
        let Spec { value_type, fallback, missing, .. } = spec;
        let path = format!("{}.{name}", self.path);
        let (read, origin) = match self.values.get(name) {
            Some(value) => {
                let (origin, form) = self.reader.origin(value);
                (Some(value_type.read(&Raw { value, form })), origin)
            }
            None => (None, "default".to_owned()),
        };
        let value = match read {
            Some(Ok(value)) => value,
            Some(Err(wrong)) => {
                for (inner, message) in wrong.0 {
                    let dot = if inner.is_empty() { "" } else { "." };
                    self.reader.complain(&origin, format!("{path}{dot}{}", show::cut(&inner)), message);
                }
                missing(value_type, &self.values)
            }
            None => {
                if let (Fallback::Required, Some((header, origin))) = (fallback, &self.list) {
                    self.reader.complain(
                        origin,
                        path.as_str(),
                        format!("is missing; each {header} needs one"),
                    );
                }
                missing(value_type, &self.values)
            }
        };
        // A list shows the keys that have a value; a table shows all of its keys.
        match value_type.show(&value) {
            Some(shown) => self.reader.set(path, shown, &origin),
            None if self.list.is_none() => self.reader.set(path, show::quoted(""), &origin),
            None => {}
        }
        value
    }

    /// What an environment variable holds. The setting `key` shows whether it is set, and not its value.
    pub(crate) fn secret(&mut self, key: &str, variable: &str) -> Option<secrecy::SecretString> {
        let secret = self.reader.variable(variable);
        let origin = format!("environment variable {variable}");
        let (shown, origin) = match secret {
            Some(_) => (show::MASK.to_owned(), origin),
            None => (show::quoted(""), format!("{origin}, which is not set")),
        };
        self.reader.set(format!("{}.{key}", self.path), shown, &origin);
        secret
    }

    /// Notes a mistake about a key of a list's table.
    pub(crate) fn complain(&mut self, key: &str, problem: impl Into<String>) {
        if let Some((_, origin)) = &self.list {
            self.reader.complain(origin, format!("{}.{}", self.path, show::cut(key)), problem);
        }
    }
}

pub(crate) fn read<T: Table>(reader: &mut Reader) -> T {
    let path = T::section().path().to_owned();
    let values = reader.find(&path).and_then(Value::as_dict).cloned().unwrap_or_default();
    T::read(&mut Fields { reader, path, list: None, values })
}

/// Reads each table of a list; `None` if the list is not given at all. `finish` sees each table when its keys
/// are read.
pub(crate) fn read_list<T: Table>(
    reader: &mut Reader,
    mut finish: impl FnMut(&mut T, &mut Fields<'_>),
) -> Option<Vec<T>> {
    let section = T::section();
    let (path, header) = (section.path(), &section.header);
    let list = reader.find(path)?.clone();
    let (origin, form) = reader.origin(&list);
    let Value::Array(_, entries) = &list else {
        let problem = Raw { value: &list, form }.but_takes(format_args!("a list of tables: {header}"));
        reader.complain(&origin, path, problem);
        return None;
    };
    let mut tables = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        let Value::Dict(_, values) = entry else {
            let problem = Raw::toml(entry).but_takes(format_args!("a table: {header}"));
            reader.complain(&origin, format!("{path}[{index}]"), problem);
            continue;
        };
        let path = entry_path(reader, path, index, values.get("name").and_then(Value::as_str));
        for key in values.keys().filter(|key| section.names().all(|known| known != *key)) {
            let problem = known_keys::unknown_in(&section, key);
            reader.complain(&origin, format!("{path}.{}", show::cut(key)), problem);
        }
        let list = Some((header.clone(), origin.clone()));
        let mut fields = Fields { reader, path, list, values: values.clone() };
        let mut table = T::read(&mut fields);
        finish(&mut table, &mut fields);
        tables.push(table);
    }
    Some(tables)
}

/// How a table of a list is named: by its name if that is short and no earlier table has it, else by its
/// index.
fn entry_path(reader: &Reader, list: &str, index: usize, name: Option<&str>) -> String {
    let by_index = format!("{list}[{index}]");
    let name = name.map(str::trim).filter(|name| !name.is_empty() && name.len() <= 64);
    let Some(name) = name.filter(|name| !name.contains(char::is_control)) else { return by_index };
    let by_name = format!("{list}.{}", show::key(name));
    let name_key = format!("{by_name}.name");
    if reader.settings.iter().any(|setting| setting.key == name_key) { by_index } else { by_name }
}
