//! The type of a value in words: `whole number, 1 to 10`, `list of texts`.

use std::fmt;

use serde_json::{Number, Value};

use super::view::{Root, View};
use crate::{reference::markdown, show};

/// The type of a value, in Markdown.
pub(super) struct Kind {
    words: String,
    /// Further limits, such as a range.
    limits: Vec<String>,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words)?;
        self.limits.iter().try_for_each(|limit| write!(f, ", {limit}"))
    }
}

/// The deepest lists of lists, so that a type that is a list of itself ends.
const DEEPEST: usize = 8;

impl Kind {
    pub(super) fn of<'a>(root: Root<'a>, view: &View<'a>) -> Self {
        Self::within(root, view, 0)
    }

    fn within<'a>(root: Root<'a>, view: &View<'a>, depth: usize) -> Self {
        let inner = |schema: &'a Value| Self::within(root, &root.view(schema), depth + 1);
        if depth > DEEPEST {
            return Self::new("anything");
        }
        if let Some(words) = words(view) {
            return Self::new(show::either(&words));
        }
        let types = view.types();
        let is_table = types.contains(&"object") || view.properties().next().is_some();
        if is_table && types.len() < 2 {
            return Self::table(view.others().map(inner));
        }
        if let [name] = types.as_slice() {
            return Self::typed(name, view, &inner);
        }
        let of_form = |form| words(&root.view(form)).unwrap_or_else(|| vec![inner(form).to_string()]);
        let of_type = |name: &&str| Self::typed(name, view, &inner).to_string();
        let kinds: Vec<String> = if types.is_empty() {
            view.alternatives().into_iter().flat_map(of_form).collect()
        } else {
            types.iter().map(of_type).collect()
        };
        match (kinds.is_empty(), view.text("type")) {
            (false, _) => Self::new(either(&kinds)),
            (true, Some("null")) => Self::new("nothing"),
            (true, _) => Self::new("anything"),
        }
    }

    fn typed<'a>(name: &str, view: &View<'a>, inner: &impl Fn(&'a Value) -> Self) -> Self {
        match name {
            "string" => Self { limits: text_limits(view), ..Self::new("text") },
            "integer" => Self { limits: number_limits(view), ..Self::new("whole number") },
            "number" => Self { limits: number_limits(view), ..Self::new("number") },
            "boolean" => Self::new("true or false"),
            "array" => Self::list(view, inner),
            "object" => Self::table(view.others().map(inner)),
            other => Self::new(markdown::text(other)),
        }
    }

    fn table(others: Option<Self>) -> Self {
        others.map_or_else(|| Self::new("table"), |others| others.in_a("table"))
    }

    fn list<'a>(view: &View<'a>, inner: &impl Fn(&'a Value) -> Self) -> Self {
        let items: Vec<String> = view.list("prefixItems").map(|item| inner(item).to_string()).collect();
        let mut list = match view.keyword("items").filter(|items| items.is_object()) {
            Some(of) => inner(of).in_a("list"),
            None if items.is_empty() => Self::new("list"),
            None => Self::new(format!("list: {}", items.join("; "))),
        };
        let length = counted(view, "minItems", "maxItems").filter(|_| items.is_empty());
        list.limits.extend(length.map(|range| format!("{range} of them")));
        if view.keyword("uniqueItems") == Some(&Value::Bool(true)) {
            list.limits.push("no two alike".to_owned());
        }
        list
    }

    fn new(words: impl Into<String>) -> Self {
        Self { words: words.into(), limits: Vec::new() }
    }

    /// A container of such values. A limit holds for each of them.
    fn in_a(self, container: &str) -> Self {
        const NOUNS: [&str; 5] = ["text", "whole number", "number", "table", "list"];
        let Self { words, limits } = self;
        let many = NOUNS.into_iter().find_map(|noun| {
            let rest = words.strip_prefix(noun)?;
            let is_noun = rest.is_empty() || rest.starts_with(" of ") || rest.starts_with(": ");
            is_noun.then(|| format!("{noun}s{rest}"))
        });
        let many = many.unwrap_or(words);
        let each = |limit: String| if limit.starts_with("each ") { limit } else { format!("each {limit}") };
        let limits = limits.into_iter().map(each).collect();
        Self { words: format!("{container} of {many}"), limits }
    }
}

/// The allowed values, if the schema lists them.
fn words(view: &View<'_>) -> Option<Vec<String>> {
    let values = view.list("enum").filter(|value| !value.is_null());
    let words: Vec<String> = view
        .keyword("const")
        .into_iter()
        .chain(values)
        .map(|value| markdown::code(&show::plain(value)))
        .collect();
    (!words.is_empty()).then_some(words)
}

/// Alternatives without duplicates. If one holds a comma, semicolons separate them.
pub(super) fn either(kinds: &[String]) -> String {
    let mut different: Vec<String> = Vec::new();
    for kind in kinds {
        if !different.contains(kind) {
            different.push(kind.clone());
        }
    }
    if different.iter().any(|kind| kind.contains(", ")) {
        different.join("; or ")
    } else {
        show::either(&different)
    }
}

fn text_limits(view: &View<'_>) -> Vec<String> {
    let length = match counted(view, "minLength", "maxLength") {
        Some(range) if range == "at least 1" => Some("not empty".to_owned()),
        Some(range) => Some(format!("{range} characters")),
        None => None,
    };
    let pattern = view.text("pattern").map(|pattern| format!("matching {}", markdown::code(pattern)));
    let format = view.text("format").map(|format| format!("in the form of {}", markdown::text(format)));
    [length, pattern, format].into_iter().flatten().collect()
}

fn number_limits(view: &View<'_>) -> Vec<String> {
    let limit = |words: &str, keyword| Some(format!("{words} {}", plain(view.number(keyword)?)));
    let limits = [
        limit("more than", "exclusiveMinimum"),
        counted(view, "minimum", "maximum"),
        limit("less than", "exclusiveMaximum"),
        limit("a multiple of", "multipleOf"),
    ];
    limits.into_iter().flatten().collect()
}

/// A range whose ends may be open.
fn counted(view: &View<'_>, least: &str, most: &str) -> Option<String> {
    match (view.number(least).map(plain), view.number(most).map(plain)) {
        (Some(least), Some(most)) if least == most => Some(format!("exactly {least}")),
        (Some(least), Some(most)) => Some(format!("{least} to {most}")),
        (Some(least), None) => Some(format!("at least {least}")),
        (None, Some(most)) => Some(format!("at most {most}")),
        (None, None) => None,
    }
}

/// A number without a fraction of zero.
fn plain(number: &Number) -> String {
    let text = number.to_string();
    text.strip_suffix(".0").map_or_else(|| text.clone(), str::to_owned)
}
