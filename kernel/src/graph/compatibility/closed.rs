//! A source's schema with the declared fields and no others.
//!
//! Fields that are declared for the same value in several schemas belong together: none of these may exclude
//! the fields of the others. A schema is closed only where it alone describes its value. A definition is
//! closed only if each reference to it is such a place. Conditions (`not`, `if`, `contains`) stay as they
//! are, because a source carries more values if one of its conditions applies to fewer.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

/// The keywords whose schemas apply to the same value as the schema they stand in.
const COMBINING: [&str; 10] = [
    "$ref",
    "$dynamicRef",
    "$recursiveRef",
    "allOf",
    "anyOf",
    "oneOf",
    "then",
    "else",
    "dependentSchemas",
    "dependencies",
];

/// The keywords whose schemas are conditions.
const CONDITIONS: [&str; 3] = ["not", "if", "contains"];

/// The keywords that may stand beside others without saying anything of a value's fields or items.
const SILENT: [&str; 15] = [
    "$anchor",
    "$comment",
    "$defs",
    "$dynamicAnchor",
    "$id",
    "$schema",
    "default",
    "definitions",
    "deprecated",
    "description",
    "examples",
    "readOnly",
    "title",
    "type",
    "writeOnly",
];

/// The keywords that hold a value or a name, not a schema.
const WITHOUT_SCHEMAS: [&str; 6] = ["const", "default", "enum", "examples", "required", "title"];

/// The keywords that hold schemas by name.
const BY_NAME: [&str; 6] =
    ["properties", "patternProperties", "$defs", "definitions", "dependentSchemas", "dependencies"];

/// A schema whose objects have no other fields than the declared ones, and whether that could be said of each
/// object.
pub(super) fn closed(schema: &Value) -> (Value, bool) {
    let mut closing = Closing::default();
    // What a definition refers to that stays open stays open too, so the walk is repeated until nothing is
    // added.
    loop {
        let known = closing.clone();
        let mut schema = schema.clone();
        let is_closed = closing.close(&mut schema, "", true);
        if closing == known {
            return (schema, is_closed);
        }
    }
}

/// What has to stay open.
#[derive(Clone, Default, PartialEq)]
struct Closing {
    /// The schemas, as JSON pointers, that are referred to from a place that they don't describe alone.
    open: BTreeSet<String>,
    /// Whether there is a reference whose target is not known.
    all_open: bool,
}

impl Closing {
    /// Closes the schema at a pointer, and those in it. `is_alone` says whether nothing else describes the
    /// same value. Returns whether all of them could be closed.
    fn close(&mut self, schema: &mut Value, at: &str, is_alone: bool) -> bool {
        let Some(object) = schema.as_object_mut() else { return true };
        // References in a schema with an id of its own are not relative to the document.
        self.all_open |= !at.is_empty() && object.contains_key("$id");
        let is_alone = is_alone && !self.all_open && !self.open.contains(at);
        for keyword in ["$ref", "$dynamicRef", "$recursiveRef"] {
            if let Some(target) = object.get(keyword).and_then(Value::as_str)
                && !(is_alone && keyword == "$ref" && stands_alone(object, keyword))
            {
                self.leave_open(target);
            }
        }
        let combined = COMBINING.iter().any(|keyword| object.contains_key(*keyword));
        let mut is_closed = true;
        if has_more_fields(object) {
            if is_alone && !combined && declares_what_it_requires(object) {
                object.insert("additionalProperties".to_owned(), json!(false));
            } else {
                is_closed = false;
            }
        }
        let parts_are_alone = is_alone && !combined && !describes_parts_twice(object);
        let alternatives = ["allOf", "anyOf", "oneOf"].into_iter().find(|keyword| {
            // Of several schemas in `allOf` none is alone.
            let one = *keyword != "allOf" || object.get("allOf").is_some_and(|all| all[1].is_null());
            is_alone && one && object.contains_key(*keyword) && stands_alone(object, keyword)
        });
        for (keyword, inner) in object.iter_mut() {
            let keyword = keyword.as_str();
            if WITHOUT_SCHEMAS.contains(&keyword) {
                continue;
            }
            let at = format!("{at}/{}", escaped(keyword));
            if CONDITIONS.contains(&keyword) {
                self.close(inner, &at, false);
                continue;
            }
            let is_alone = match keyword {
                "$defs" | "definitions" => true,
                _ if COMBINING.contains(&keyword) => alternatives == Some(keyword),
                _ => parts_are_alone,
            };
            is_closed &= match inner {
                Value::Object(schemas) if BY_NAME.contains(&keyword) => {
                    let schemas = schemas.iter_mut().map(|(name, schema)| (escaped(name), schema));
                    self.close_all(schemas, &at, is_alone)
                }
                Value::Array(schemas) => {
                    let schemas = schemas.iter_mut().enumerate();
                    self.close_all(schemas.map(|(index, schema)| (index.to_string(), schema)), &at, is_alone)
                }
                inner => self.close(inner, &at, is_alone),
            };
        }
        is_closed
    }

    /// Closes each of these schemas; returns whether all could be.
    fn close_all<'a>(
        &mut self,
        schemas: impl Iterator<Item = (String, &'a mut Value)>,
        at: &str,
        is_alone: bool,
    ) -> bool {
        let mut is_closed = true;
        for (name, schema) in schemas {
            is_closed &= self.close(schema, &format!("{at}/{name}"), is_alone);
        }
        is_closed
    }

    fn leave_open(&mut self, target: &str) {
        match target.strip_prefix('#') {
            Some(pointer) if (pointer.is_empty() || pointer.starts_with('/')) && !pointer.contains('%') => {
                self.open.insert(pointer.to_owned());
            }
            _ => self.all_open = true,
        }
    }
}

/// A name as a JSON pointer writes it.
fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// Whether nothing beside a keyword says anything of the value.
fn stands_alone(object: &Map<String, Value>, keyword: &str) -> bool {
    object.keys().all(|other| other == keyword || SILENT.contains(&other.as_str()))
}

/// Whether an object declares fields, and may have others.
fn has_more_fields(object: &Map<String, Value>) -> bool {
    let others = ["additionalProperties", "unevaluatedProperties"];
    object.contains_key("properties")
        && others.iter().all(|keyword| object.get(*keyword).is_none_or(|rest| *rest == json!(true)))
}

/// Whether an object declares each field that it must have.
fn declares_what_it_requires(object: &Map<String, Value>) -> bool {
    let required = object.get("required").and_then(Value::as_array).into_iter().flatten();
    let declared = |name: &str| object.get("properties").is_some_and(|fields| fields.get(name).is_some());
    required.filter_map(Value::as_str).all(declared)
}

/// Whether several schemas of an object may describe the same field or item.
fn describes_parts_twice(object: &Map<String, Value>) -> bool {
    let count = |keyword: &str| object.get(keyword).and_then(Value::as_object).map_or(0, Map::len);
    let patterns = count("patternProperties");
    patterns > 1 || patterns == 1 && count("properties") > 0 || object.contains_key("contains")
}
