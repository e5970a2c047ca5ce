//! Finds what is wrong with JSON, by reading it once more.
//!
//! A type's visitors report mismatches through `serde::de::Error`. Here [`Refused`] implements that trait,
//! and keeps the kind of a value but not the value. The parser has an error type of its own, so a visitor's
//! error is stored in [`Trace`] while the parser's error propagates.
//!
//! The parser must not refuse a value before a visitor sees it. So most values are read by `deserialize_any`,
//! which works because JSON is self-describing.

use std::{
    cell::{Cell, RefCell},
    fmt::{self, Write as _},
};

use serde::{
    Deserialize, Deserializer,
    de::{
        DeserializeSeed, EnumAccess, Error, Expected, MapAccess, SeqAccess, Unexpected, VariantAccess,
        Visitor,
    },
    forward_to_deserialize_any,
};

use crate::shortened::shortened;

/// What is wrong with a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Problem {
    /// Another type or value than expected.
    Invalid {
        what: &'static str,
        found: &'static str,
        expected: String,
    },
    Length {
        length: usize,
        expected: String,
    },
    Unknown {
        what: &'static str,
        expected: String,
    },
    Missing(&'static str),
    Duplicate(&'static str),
    /// The type's own `Deserialize` refuses the value.
    Other,
    /// The text is no JSON.
    Syntax(String),
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid { what, found, expected } => write!(f, "{what}: {found}, expected {expected}"),
            Self::Length { length, expected } => write!(f, "invalid length {length}, expected {expected}"),
            Self::Unknown { what, expected } => write!(f, "{what}, {expected}"),
            Self::Missing(field) => write!(f, "missing field `{field}`"),
            Self::Duplicate(field) => write!(f, "duplicate field `{field}`"),
            Self::Other => f.write_str("a value that the type doesn't take"),
            Self::Syntax(message) => f.write_str(message),
        }
    }
}

/// The longest description of what was expected, in bytes.
const MAX_EXPECTED: usize = 200;

/// Explains why a text is not a `T`; `error` is the parser's.
pub(super) fn why_not<'de, T: Deserialize<'de>>(
    text: &'de str,
    error: &serde_json::Error,
) -> (String, Problem) {
    if !error.is_data() {
        return (String::new(), syntax(error));
    }
    let trace = Trace::default();
    let mut parser = serde_json::Deserializer::from_str(text);
    let refused = T::deserialize(Traced { inner: &mut parser, trace: &trace }).err();
    let problem = trace.problem.take().or(refused.and_then(|refused| refused.0));
    (trace.deepest.take(), problem.unwrap_or(Problem::Other))
}

/// The parser's message; its texts are fixed and quote nothing.
fn syntax(error: &serde_json::Error) -> Problem {
    let message = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    let message = message.strip_suffix(&place).unwrap_or(&message).to_owned();
    Problem::Syntax(message)
}

/// An error that holds no value. `None` if the trace has the problem.
#[derive(Debug)]
pub(super) struct Refused(Option<Problem>);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("refused")
    }
}

impl std::error::Error for Refused {}

impl Error for Refused {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self(Some(Problem::Other))
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self(Some(Problem::Invalid { what: "invalid type", found: kind(found), expected: cut(expected) }))
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self(Some(Problem::Invalid { what: "invalid value", found: kind(found), expected: cut(expected) }))
    }

    fn invalid_length(length: usize, expected: &dyn Expected) -> Self {
        Self(Some(Problem::Length { length, expected: cut(expected) }))
    }

    fn unknown_variant(_: &str, expected: &'static [&'static str]) -> Self {
        Self(Some(Problem::Unknown { what: "unknown variant", expected: one_of(expected) }))
    }

    fn unknown_field(_: &str, expected: &'static [&'static str]) -> Self {
        Self(Some(Problem::Unknown { what: "unknown field", expected: one_of(expected) }))
    }

    fn missing_field(field: &'static str) -> Self {
        Self(Some(Problem::Missing(field)))
    }

    fn duplicate_field(field: &'static str) -> Self {
        Self(Some(Problem::Duplicate(field)))
    }
}

fn kind(found: Unexpected<'_>) -> &'static str {
    match found {
        Unexpected::Bool(_) => "boolean",
        Unexpected::Unsigned(_) | Unexpected::Signed(_) => "integer",
        Unexpected::Float(_) => "floating point",
        Unexpected::Char(_) | Unexpected::Str(_) => "string",
        Unexpected::Bytes(_) => "byte array",
        Unexpected::Unit | Unexpected::Option => "null",
        Unexpected::Seq => "sequence",
        Unexpected::Map => "map",
        _ => "another value",
    }
}

fn cut(expected: &dyn Expected) -> String {
    shortened(&expected.to_string(), MAX_EXPECTED)
}

fn one_of(names: &[&str]) -> String {
    let mut list = String::new();
    for name in names {
        list.push_str(if list.is_empty() { "" } else { ", " });
        let _ = write!(list, "`{name}`");
    }
    match names {
        [] => "there are none".to_owned(),
        [_] => format!("expected {list}"),
        _ => format!("expected one of {}", shortened(&list, MAX_EXPECTED)),
    }
}

/// The current path, and the first refusal.
#[derive(Default)]
struct Trace {
    path: RefCell<String>,
    problem: Cell<Option<Problem>>,
    /// The path of the first refusal.
    deepest: Cell<String>,
}

impl Trace {
    /// Runs `inner` one step further down.
    fn within<T>(&self, step: Step, inner: impl FnOnce() -> Result<T, Refused>) -> Result<T, Refused> {
        let before = self.path.borrow().len();
        step.push(&mut self.path.borrow_mut());
        let result = inner();
        if let Err(refused) = &result {
            self.note(refused);
        }
        self.path.borrow_mut().truncate(before);
        result
    }

    /// Keeps the first refusal, and its path.
    fn note(&self, refused: &Refused) {
        let first = self.problem.take();
        if first.is_none() {
            self.deepest.set(self.path.borrow().clone());
        }
        self.problem.set(first.or_else(|| refused.0.clone()));
    }

    /// Turns a refusal into the parser's error, and keeps the refusal.
    fn aside<T, E: Error>(&self, result: Result<T, Refused>) -> Result<T, E> {
        result.map_err(|refused| {
            self.note(&refused);
            E::custom("refused")
        })
    }
}

/// A step into a value.
#[derive(Clone, Copy)]
enum Step {
    Index(usize),
    /// A key that the type declares.
    Field(&'static str),
    /// A key that is data.
    Key,
}

impl Step {
    fn push(self, path: &mut String) {
        let name = match self {
            Self::Index(index) => {
                let _ = write!(path, "[{index}]");
                return;
            }
            Self::Field(name) => name,
            Self::Key => "*",
        };
        if !path.is_empty() {
            path.push('.');
        }
        path.push_str(name);
    }
}

struct Traced<'t, D> {
    inner: D,
    trace: &'t Trace,
}

struct Watch<'t, V> {
    inner: V,
    trace: &'t Trace,
    /// The keys that the type declares, if it is a struct.
    fields: &'static [&'static str],
}

/// The parser's own error; a visitor's refusal is in the trace already.
fn parsers<E: Error>(_: E) -> Refused {
    Refused(None)
}

impl<'t, 'de, D: Deserializer<'de>> Traced<'t, D> {
    fn watch<V>(&self, inner: V, fields: &'static [&'static str]) -> Watch<'t, V> {
        Watch { inner, trace: self.trace, fields }
    }
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Traced<'_, D> {
    type Error = Refused;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        let visitor = self.watch(visitor, &[]);
        self.inner.deserialize_any(visitor).map_err(parsers)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refused> {
        let visitor = self.watch(visitor, fields);
        self.inner.deserialize_any(visitor).map_err(parsers)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        let visitor = self.watch(visitor, &[]);
        self.inner.deserialize_option(visitor).map_err(parsers)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Refused> {
        let visitor = self.watch(visitor, &[]);
        self.inner.deserialize_newtype_struct(name, visitor).map_err(parsers)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refused> {
        let visitor = self.watch(visitor, variants);
        self.inner.deserialize_enum(name, variants, visitor).map_err(parsers)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        self.inner.deserialize_ignored_any(visitor).map_err(parsers)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map identifier
    }
}

/// Passes a scalar to the visitor.
macro_rules! scalars {
    ($($method:ident: $type:ty),+) => {
        $(fn $method<E: Error>(self, value: $type) -> Result<V::Value, E> {
            self.trace.aside(self.inner.$method::<Refused>(value))
        })+
    };
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Watch<'_, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.expecting(f)
    }

    scalars! {
        visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_i128: i128, visit_u128: u128, visit_f64: f64,
        visit_str: &str, visit_borrowed_str: &'de str, visit_string: String, visit_bytes: &[u8]
    }

    fn visit_unit<E: Error>(self) -> Result<V::Value, E> {
        self.trace.aside(self.inner.visit_unit::<Refused>())
    }

    fn visit_none<E: Error>(self) -> Result<V::Value, E> {
        self.trace.aside(self.inner.visit_none::<Refused>())
    }

    fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        let trace = self.trace;
        trace.aside(self.inner.visit_some(Traced { inner, trace }))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        let trace = self.trace;
        trace.aside(self.inner.visit_newtype_struct(Traced { inner, trace }))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        let trace = self.trace;
        trace.aside(self.inner.visit_seq(Items { inner, trace, index: 0 }))
    }

    fn visit_map<A: MapAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        let (trace, fields) = (self.trace, self.fields);
        trace.aside(self.inner.visit_map(Entries { inner, trace, fields, step: None }))
    }

    fn visit_enum<A: EnumAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        let (trace, variants) = (self.trace, self.fields);
        trace.aside(self.inner.visit_enum(Variant { inner, trace, variants }))
    }
}

struct Items<'t, A> {
    inner: A,
    trace: &'t Trace,
    index: usize,
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Items<'_, A> {
    type Error = Refused;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Refused> {
        let (trace, index) = (self.trace, self.index);
        self.index += 1;
        let seed = Seed { inner: seed, trace };
        trace.within(Step::Index(index), || self.inner.next_element_seed(seed).map_err(parsers))
    }
}

struct Entries<'t, A> {
    inner: A,
    trace: &'t Trace,
    fields: &'static [&'static str],
    /// The declared key that was read last.
    step: Option<&'static str>,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Entries<'_, A> {
    type Error = Refused;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Refused> {
        let (key, field) = (Cell::new(None), &self.fields);
        let seed = KeySeed { inner: seed, trace: self.trace, fields: field, found: &key };
        let read = self.inner.next_key_seed(seed).map_err(parsers);
        self.step = key.get();
        read
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Refused> {
        let trace = self.trace;
        let seed = Seed { inner: seed, trace };
        let step = self.step.take().map_or(Step::Key, Step::Field);
        trace.within(step, || self.inner.next_value_seed(seed).map_err(parsers))
    }
}

struct Variant<'t, A> {
    inner: A,
    trace: &'t Trace,
    variants: &'static [&'static str],
}

impl<'de, 't, A: EnumAccess<'de>> EnumAccess<'de> for Variant<'t, A> {
    type Error = Refused;
    type Variant = Content<'t, A::Variant>;

    fn variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<(T::Value, Self::Variant), Refused> {
        let (trace, name) = (self.trace, Cell::new(None));
        let seed = KeySeed { inner: seed, trace, fields: &self.variants, found: &name };
        let (value, inner) = self.inner.variant_seed(seed).map_err(parsers)?;
        Ok((value, Content { inner, trace, name: name.get() }))
    }
}

struct Content<'t, A> {
    inner: A,
    trace: &'t Trace,
    name: Option<&'static str>,
}

impl<A> Content<'_, A> {
    fn step(&self) -> Step {
        self.name.map_or(Step::Key, Step::Field)
    }
}

impl<'de, A: VariantAccess<'de>> VariantAccess<'de> for Content<'_, A> {
    type Error = Refused;

    fn unit_variant(self) -> Result<(), Refused> {
        let (trace, step) = (self.trace, self.step());
        let unit = || Refused::invalid_type(Unexpected::Map, &"a variant without content");
        trace.within(step, || self.inner.unit_variant().map_err(|_| unit()))
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Refused> {
        let (trace, step) = (self.trace, self.step());
        let seed = Seed { inner: seed, trace };
        trace.within(step, || self.inner.newtype_variant_seed(seed).map_err(parsers))
    }

    fn tuple_variant<V: Visitor<'de>>(self, length: usize, inner: V) -> Result<V::Value, Refused> {
        let (trace, step) = (self.trace, self.step());
        let visitor = Watch { inner, trace, fields: &[] };
        trace.within(step, || self.inner.tuple_variant(length, visitor).map_err(parsers))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        inner: V,
    ) -> Result<V::Value, Refused> {
        let (trace, step) = (self.trace, self.step());
        let visitor = Watch { inner, trace, fields };
        trace.within(step, || self.inner.struct_variant(fields, visitor).map_err(parsers))
    }
}

struct Seed<'t, T> {
    inner: T,
    trace: &'t Trace,
}

impl<'de, T: DeserializeSeed<'de>> DeserializeSeed<'de> for Seed<'_, T> {
    type Value = T::Value;

    fn deserialize<D: Deserializer<'de>>(self, inner: D) -> Result<T::Value, D::Error> {
        let trace = self.trace;
        trace.aside(self.inner.deserialize(Traced { inner, trace }))
    }
}

/// Reads a key, and finds it among those that the type declares.
struct KeySeed<'t, 'k, T> {
    inner: T,
    trace: &'t Trace,
    fields: &'k &'static [&'static str],
    found: &'k Cell<Option<&'static str>>,
}

impl<'de, T: DeserializeSeed<'de>> DeserializeSeed<'de> for KeySeed<'_, '_, T> {
    type Value = T::Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<T::Value, D::Error> {
        // JSON's keys are text. A type may read them as numbers, which only the parser can do.
        let Self { inner, trace, fields, found } = self;
        if fields.is_empty() {
            return inner
                .deserialize(deserializer)
                .inspect_err(|_| trace.note(&Refused(Some(Problem::Other))));
        }
        let key = <std::borrow::Cow<'de, str> as serde::Deserialize>::deserialize(deserializer)?;
        found.set(fields.iter().copied().find(|field| *field == key));
        trace.aside(inner.deserialize(serde::de::value::CowStrDeserializer::<Refused>::new(key)))
    }
}
