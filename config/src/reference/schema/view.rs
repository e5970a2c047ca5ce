//! A schema together with the schemas that it refers to.

use serde_json::Value;

use crate::show;

/// The whole schema, in which references are found.
#[derive(Clone, Copy)]
pub(super) struct Root<'a>(pub(super) &'a Value);

/// A schema and the schemas that apply with it: the target of its `$ref`, the members of its `allOf`, its
/// only form beside null, and in turn those of each.
pub(super) struct View<'a> {
    pub(super) parts: Vec<&'a Value>,
}

impl<'a> Root<'a> {
    pub(super) fn view(self, schema: &'a Value) -> View<'a> {
        let mut parts: Vec<&Value> = Vec::new();
        let mut rest = vec![schema];
        while let Some(part) = rest.pop() {
            if parts.iter().any(|known| std::ptr::eq(*known, part)) {
                continue;
            }
            parts.push(part);
            rest.extend(part.get("allOf").and_then(Value::as_array).into_iter().flatten().rev());
            rest.extend(["oneOf", "anyOf"].iter().filter_map(|name| match forms(part, name).as_slice() {
                [only] => Some(*only),
                _ => None,
            }));
            rest.extend(part.get("$ref").and_then(Value::as_str).and_then(|to| self.target(to)));
        }
        View { parts }
    }

    /// The target of a reference within the schema.
    fn target(self, reference: &str) -> Option<&'a Value> {
        self.0.pointer(&decoded(reference.strip_prefix('#')?))
    }
}

/// Removes percent-encoding, which schemars uses for type names with characters that URLs cannot hold.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let encoded = after.get(..2).filter(|_| *first == b'%').and_then(|hex| str::from_utf8(hex).ok());
        if let Some(byte) = encoded.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            bytes.push(byte);
            rest = &after[2..];
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

impl<'a> View<'a> {
    /// The value of a keyword in the first schema that has it.
    pub(super) fn keyword(&self, name: &str) -> Option<&'a Value> {
        self.parts.iter().find_map(|part| part.get(name))
    }

    pub(super) fn text(&self, name: &str) -> Option<&'a str> {
        self.keyword(name).and_then(Value::as_str)
    }

    pub(super) fn number(&self, name: &str) -> Option<&'a serde_json::Number> {
        self.keyword(name).and_then(Value::as_number)
    }

    /// The items of a keyword's lists in all schemas.
    pub(super) fn list(&self, name: &str) -> impl Iterator<Item = &'a Value> {
        self.parts.iter().filter_map(move |part| part.get(name)?.as_array()).flatten()
    }

    /// The JSON types that a value may have, without null.
    pub(super) fn types(&self) -> Vec<&'a str> {
        let types = match self.keyword("type") {
            Some(Value::Array(types)) => types.iter().filter_map(Value::as_str).collect(),
            Some(Value::String(only)) => vec![only.as_str()],
            _ => Vec::new(),
        };
        types.into_iter().filter(|name| *name != "null").collect()
    }

    pub(super) fn properties(&self) -> impl Iterator<Item = (&'a String, &'a Value)> {
        self.parts.iter().filter_map(|part| part.get("properties")?.as_object()).flatten()
    }

    pub(super) fn requires(&self, name: &str) -> bool {
        self.list("required").any(|required| required.as_str() == Some(name))
    }

    /// The schema of keys that have no name in the schema, if it says anything about them.
    pub(super) fn others(&self) -> Option<&'a Value> {
        self.keyword("additionalProperties").filter(|schema| schema.is_object())
    }

    /// Whether a table may have keys that the schema doesn't name.
    pub(super) fn takes_any_key(&self) -> bool {
        let is_anything = |part: &&Value| {
            part.get("type").is_none() && part.get("properties").is_none() && **part != Value::Bool(false)
        };
        self.parts.iter().all(is_anything) || self.keyword("additionalProperties") == Some(&Value::Bool(true))
    }

    /// The forms that a value may have, without null, if there are several.
    pub(super) fn alternatives(&self) -> Vec<&'a Value> {
        let lists = self.parts.iter().flat_map(|part| ["oneOf", "anyOf"].map(|name| forms(part, name)));
        lists.filter(|forms| forms.len() > 1).flatten().collect()
    }

    /// The required key with a constant value, and that value. It tells this form of a table from others.
    pub(super) fn tag(&self) -> Option<(String, String)> {
        let constant = |(name, field): (&String, &Value)| {
            let value = field.get("const").filter(|_| self.requires(name))?;
            Some((name.clone(), show::plain(value)))
        };
        self.properties().find_map(constant)
    }
}

/// The forms in a list of a schema, without null.
fn forms<'a>(schema: &'a Value, list: &str) -> Vec<&'a Value> {
    let forms = schema.get(list).and_then(Value::as_array).into_iter().flatten();
    forms.filter(|form| form.get("type").and_then(Value::as_str) != Some("null")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_decoded() {
        for (encoded, name) in
            [("a", "a"), ("a%20b", "a b"), ("%F0%9F%9A%80", "🚀"), ("100%", "100%"), ("%zz%é", "%zz%é")]
        {
            assert_eq!(decoded(encoded), name);
        }
    }
}
