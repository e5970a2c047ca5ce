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
    section::{Fallback, Key, Section, variable},
    show,
    value_type::{Raw, ValueType, Wrong},
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
                let mut section = crate::table::empty_section($header, &[$($about),+]);
                $( {
                    let spec: crate::table::Spec<$type> = $spec;
                    spec.describe([$(stringify!($name),)? stringify!($field)][0], &[$($doc),+], &mut section);
                } )+
                section
            }

            fn read(fields: &mut crate::table::Fields<'_>) -> Self {
                Self {
                    $( $field: fields.take([$(stringify!($name),)? stringify!($field)][0], $spec), )+
                    $( $( $other: Default::default(), )+ )?
                }
            }
        }
    };
}
pub(crate) use table;

/// `about` is a doc comment, by line.
pub(crate) fn empty_section(header: &str, about: &[&str]) -> Section {
    Section { header: header.to_owned(), description: text(about), keys: Vec::new() }
}

/// The text of a doc comment: its lines without the space that each starts with.
fn text(lines: &[&str]) -> String {
    lines.iter().map(|line| line.strip_prefix(' ').unwrap_or(line)).collect::<Vec<_>>().join("\n")
}

/// What a key takes, and what holds where it is not given.
pub(crate) struct Spec<T> {
    value_type: ValueType<T>,
    fallback: Fallback,
    example: Option<String>,
    default: T,
    /// Another key of the same table whose value comes before the default.
    same_as: Option<&'static str>,
}

impl<T: 'static> ValueType<T> {
    /// A key with a fixed default.
    pub(crate) fn default(self, value: impl Into<Value>) -> Spec<T> {
        let default = (self.read)(&Raw::toml(&value.into()));
        let default = default.expect("invariant: a default is a value of its type");
        let fallback = Fallback::Value((self.show)(&default).unwrap_or_default());
        Spec { value_type: self, fallback, example: None, default, same_as: None }
    }

    /// A key whose default depends on the machine; `words` say how.
    pub(crate) fn otherwise(self, words: impl Into<String>, default: T) -> Spec<T> {
        let fallback = Fallback::Words(words.into());
        Spec { value_type: self, fallback, example: None, default, same_as: None }
    }
}

impl<T: Default + 'static> ValueType<T> {
    pub(crate) fn optional(self) -> Spec<T> {
        Spec { fallback: Fallback::None, ..self.otherwise("", T::default()) }
    }

    pub(crate) fn required(self) -> Spec<T> {
        Spec { fallback: Fallback::Required, ..self.optional() }
    }

    /// A key whose default is another key of the same table; `words` say which.
    pub(crate) fn same_as(self, key: &'static str, words: &str) -> Spec<T> {
        Spec { same_as: Some(key), ..self.otherwise(words, T::default()) }
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

    /// Adds the key to its section. `about` is a doc comment, by line.
    pub(crate) fn describe(self, name: &str, about: &[&str], section: &mut Section) {
        let Self { value_type: ValueType { description: takes, .. }, fallback, example, .. } = self;
        let variable = (!section.is_list()).then(|| variable(&format!("{}.{name}", section.path())));
        let name = name.to_owned();
        section.keys.push(Key { name, variable, takes, fallback, example, description: text(about) });
    }
}

/// One table, while it is read.
pub(crate) struct Fields<'r> {
    pub(crate) reader: &'r mut Reader,
    /// How messages and settings name the table: `hooks`, `plugin.minutes`, or `plugin[0]`.
    pub(crate) path: String,
    /// Where the table of a list comes from.
    pub(crate) origin: String,
    section: Section,
    values: Dict,
}

impl Fields<'_> {
    pub(crate) fn take<T: 'static>(&mut self, name: &str, spec: Spec<T>) -> T {
        let Spec { value_type: ValueType { read, show, .. }, fallback, default, same_as, .. } = spec;
        let path = format!("{}.{name}", self.path);
        let mut origin = "default".to_owned();
        let value = if let Some(value) = self.values.get(name) {
            let is_untyped;
            (origin, is_untyped) = self.reader.origin(value);
            let note = |Wrong(messages)| {
                for (inner, message) in messages {
                    self.reader.complain(&origin, format!("{path}{}", show::cut(&inner)), message);
                }
            };
            read(&Raw { value, is_untyped }).map_err(note).ok()
        } else {
            if fallback == Fallback::Required {
                let problem = format!("is missing; each {} needs one", self.section.header);
                self.reader.complain(&self.origin, &path, problem);
            }
            same_as.and_then(|key| read(&Raw::toml(self.values.get(key)?)).ok())
        };
        let value = value.unwrap_or(default);
        // A table shows all of its keys; a table of a list shows those that have a value.
        let nothing = (!self.section.is_list()).then(|| show::quoted(""));
        if let Some(shown) = show(&value).or(nothing) {
            self.reader.set(path, shown, &origin);
        }
        value
    }
}

pub(crate) fn read<T: Table>(reader: &mut Reader) -> T {
    let section = T::section();
    let values = reader.find(section.path()).and_then(Value::as_dict).cloned().unwrap_or_default();
    let (path, origin) = (section.path().to_owned(), String::new());
    T::read(&mut Fields { reader, path, origin, section, values })
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
    let (origin, _) = reader.origin(&list);
    let Value::Array(_, entries) = &list else {
        let problem = Raw::toml(&list).but_takes(format_args!("a list of tables: {header}"));
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
        let (section, origin, values) = (section.clone(), origin.clone(), values.clone());
        let mut fields = Fields { reader, path, origin, section, values };
        let mut table = T::read(&mut fields);
        finish(&mut table, &mut fields);
        tables.push(table);
    }
    Some(tables)
}

/// How a table of a list is named: by its name if that is short and no earlier table has it, else by its
/// index.
fn entry_path(reader: &Reader, list: &str, index: usize, name: Option<&str>) -> String {
    let name = name.map(str::trim).filter(|name| !name.is_empty() && name.len() <= 64);
    let by_name = name
        .filter(|name| !name.contains(char::is_control))
        .map(|name| format!("{list}.{}", show::key(name)))
        .filter(|path| reader.settings.iter().all(|setting| setting.key != format!("{path}.name")));
    by_name.unwrap_or_else(|| format!("{list}[{index}]"))
}
