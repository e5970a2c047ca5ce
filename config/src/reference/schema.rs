//! A plugin's own table, from its JSON Schema (draft 2020-12, as schemars writes it).
//!
//! Each key is a row, and the keys of inner tables follow below: `a.b` is a key of the table `a`, `a[].b` a
//! key of each table in a list, and `a.*.b` a key of each table under a key of the user's choice.

mod kind;
#[cfg(test)]
mod tests;
mod view;

use std::collections::BTreeMap;

use serde_json::Value;

use crate::{reference::markdown, section::Fallback, show};
use kind::Kind;
use view::{Root, View};

/// The keys of a plugin's own table as a table in Markdown, from the table's JSON Schema.
///
/// Where there are no keys, a sentence says so. The text ends with a line break.
///
/// # Examples
/// ```
/// use teammy_config::reference::schema_markdown;
/// let schema = serde_json::json!({
///     "type": "object",
///     "properties": { "every": { "type": "integer", "minimum": 1, "default": 20, "description": "How often." } },
/// });
/// assert!(schema_markdown(&schema).contains("| `every` | whole number, at least 1 | `20` | How often. |"));
/// ```
pub fn schema_markdown(schema: &Value) -> String {
    let mut writer = Writer { root: Root(schema), within: Vec::new(), rows: Vec::new() };
    writer.descend(&Place::default(), schema);
    if !writer.rows.is_empty() {
        let rows = writer.rows.into_iter().map(Row::cells);
        return markdown::table(&["Key", "Takes", "Default", "Meaning"], rows);
    }
    let is_open = Root(schema).view(schema).takes_any_key();
    if is_open { "It takes any keys.\n" } else { "It takes no keys of its own.\n" }.to_owned()
}

/// A place in the table.
#[derive(Clone, Default)]
struct Place {
    path: String,
    /// The key and its value that tell this form of the table from its other forms.
    tag: Option<(String, String)>,
    /// Whether the table has several forms without such a key.
    is_one_of: bool,
}

impl Place {
    fn at(path: String) -> Self {
        Self { path, ..Self::default() }
    }
}

struct Row {
    key: String,
    takes: Vec<String>,
    fallback: Fallback,
    /// The forms of the table that have this key, each as the key and the value that tell it from others.
    tags: Vec<(String, String)>,
    meaning: String,
}

impl Row {
    fn cells(self) -> Vec<String> {
        let mut takes = kind::either(&self.takes);
        let mut tags: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (key, value) in self.tags {
            tags.entry(key).or_default().push(markdown::code(&value));
        }
        for (key, values) in tags {
            takes.extend(["; where ", &markdown::code(&key), " is ", &show::either(&values)]);
        }
        vec![markdown::code(&self.key), takes, markdown::fallback(&self.fallback), self.meaning]
    }
}

struct Writer<'a> {
    root: Root<'a>,
    /// The schemas around the current one, so that a type that holds itself ends.
    within: Vec<&'a Value>,
    rows: Vec<Row>,
}

impl<'a> Writer<'a> {
    /// Adds rows for the keys of a value of this schema, at any depth.
    fn descend(&mut self, place: &Place, schema: &'a Value) {
        let view = self.root.view(schema);
        if view.parts.iter().any(|part| self.within.iter().any(|outer| std::ptr::eq(*outer, *part))) {
            return;
        }
        let depth = self.within.len();
        self.within.extend(&view.parts);
        self.fields(place, &view);
        let path = &place.path;
        if let Some(items) = view.keyword("items") {
            self.descend(&Place::at(format!("{path}[]")), items);
        }
        for (index, item) in view.list("prefixItems").enumerate() {
            self.descend(&Place::at(format!("{path}[{index}]")), item);
        }
        if let Some(others) = view.others() {
            let any = if path.is_empty() { "*".to_owned() } else { format!("{path}.*") };
            if path.is_empty() {
                self.row(any.clone(), others, None, Fallback::None);
            }
            self.descend(&Place::at(any), others);
        }
        for form in view.alternatives() {
            let tag = self.root.view(form).tag();
            let is_one_of = tag.is_none();
            self.descend(&Place { path: path.clone(), tag, is_one_of }, form);
        }
        self.within.truncate(depth);
    }

    fn fields(&mut self, place: &Place, view: &View<'a>) {
        let mut fields: Vec<_> =
            view.properties().map(|(name, field)| (!view.requires(name), name, field)).collect();
        // Required keys come first. The order in the schema depends on the build's features.
        fields.sort_by_key(|(is_optional, name, _)| (*is_optional, *name));
        for (is_optional, name, field) in fields {
            let key = show::key(name);
            let path = if place.path.is_empty() { key } else { format!("{}.{key}", place.path) };
            let missing = match (is_optional, place.is_one_of) {
                (true, _) => Fallback::None,
                (false, true) => Fallback::Words("one of these".to_owned()),
                (false, false) => Fallback::Required,
            };
            // Every form has the key that tells the forms apart.
            let tag = place.tag.clone().filter(|(tag, _)| tag != name);
            self.row(path.clone(), field, tag, missing);
            self.descend(&Place::at(path), field);
        }
    }

    fn row(&mut self, key: String, schema: &'a Value, tag: Option<(String, String)>, missing: Fallback) {
        let view = self.root.view(schema);
        let takes = Kind::of(self.root, &view).to_string();
        let fallback = match view.keyword("default") {
            Some(Value::Null) => Fallback::None,
            Some(value) => Fallback::Value(show::plain(value)),
            None => missing,
        };
        let meaning = self.meaning(&view);
        let Some(row) = self.rows.iter_mut().find(|row| row.key == key) else {
            let tags = tag.into_iter().collect();
            self.rows.push(Row { key, takes: vec![takes], fallback, tags, meaning });
            return;
        };
        // Another form of the table has this key too.
        row.takes.push(takes);
        if row.meaning.is_empty() {
            row.meaning = meaning;
        }
        row.tags.extend(tag);
    }

    /// The description of the schema and of each of its alternatives.
    fn meaning(&self, view: &View<'a>) -> String {
        let said = |view: &View<'_>| view.text("description").map(markdown::flattened);
        let mut lines: Vec<String> = said(view).into_iter().collect();
        for form in view.alternatives() {
            let form = self.root.view(form);
            if let (Some(word), Some(said)) = (form.keyword("const"), said(&form)) {
                lines.push(format!("{}: {said}", markdown::code(&show::plain(word))));
            }
        }
        if view.keyword("deprecated") == Some(&Value::Bool(true)) {
            lines.push("Deprecated.".to_owned());
        }
        lines.join("<br>")
    }
}
