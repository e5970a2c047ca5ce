use serde_json::json;

use super::*;

/// The table's rows, each as `key | takes | default | meaning`.
fn rows(schema: &Value) -> Vec<String> {
    let table = schema_markdown(schema);
    let mut lines = table.lines();
    assert_eq!(lines.next(), Some("| Key | Takes | Default | Meaning |"));
    assert_eq!(lines.next(), Some("| --- | --- | --- | --- |"));
    lines.map(|line| line.trim_matches('|').trim().to_owned()).collect()
}

/// The row of a key `x` of this schema, without the key.
fn row(field: &Value) -> String {
    let rows = rows(&json!({ "type": "object", "properties": { "x": field } }));
    rows[0].strip_prefix("`x` | ").unwrap().to_owned()
}

#[test]
fn types_are_put_in_words() {
    for (schema, takes) in [
        (json!({ "type": "string" }), "text"),
        (json!({ "type": ["string", "null"] }), "text"),
        (json!({ "type": "string", "minLength": 1 }), "text, not empty"),
        (json!({ "type": "string", "minLength": 2, "maxLength": 9 }), "text, 2 to 9 characters"),
        (json!({ "type": "string", "pattern": "^a|b$" }), "text, matching <code>^a&#124;b&#36;</code>"),
        (json!({ "type": "string", "format": "date-time" }), "text, in the form of date-time"),
        (json!({ "type": "boolean" }), "true or false"),
        (json!({ "type": "integer", "format": "int64" }), "whole number"),
        (json!({ "type": "integer", "format": "uint32", "minimum": 0 }), "whole number, at least 0"),
        (json!({ "type": "integer", "minimum": 0, "maximum": 255 }), "whole number, 0 to 255"),
        (json!({ "type": "integer", "maximum": -1 }), "whole number, at most -1"),
        (json!({ "type": "integer", "multipleOf": 5 }), "whole number, a multiple of 5"),
        (json!({ "type": "number", "minimum": 0.0, "maximum": 0.5 }), "number, 0 to 0.5"),
        (
            json!({ "type": "number", "exclusiveMinimum": 0.0, "maximum": 1.0 }),
            "number, more than 0, at most 1",
        ),
        (json!({ "type": "number", "exclusiveMaximum": 1 }), "number, less than 1"),
        (json!({ "type": ["string", "integer"] }), "text or whole number"),
        (json!({ "type": ["string", "integer"], "minimum": 1 }), "text; or whole number, at least 1"),
        (json!({ "type": "array" }), "list"),
        (json!({ "type": "array", "items": true }), "list"),
        (json!({ "type": "array", "items": { "type": "string" } }), "list of texts"),
        (
            json!({ "type": "array", "items": { "type": "integer", "minimum": 1 }, "minItems": 1, "maxItems": 3 }),
            "list of whole numbers, each at least 1, 1 to 3 of them",
        ),
        (
            json!({ "type": "array", "items": { "type": "string" }, "minItems": 1 }),
            "list of texts, at least 1 of them",
        ),
        (
            json!({ "type": "array", "items": { "type": "string" }, "uniqueItems": true }),
            "list of texts, no two alike",
        ),
        (
            json!({ "type": "array", "prefixItems": [{ "type": "string" }, { "type": "integer" }], "minItems": 2, "maxItems": 2 }),
            "list: text; whole number",
        ),
        (
            json!({ "type": "array", "items": { "type": "array", "items": { "type": "number" } } }),
            "list of lists of numbers",
        ),
        (json!({ "type": "object" }), "table"),
        (json!({ "type": "object", "additionalProperties": { "type": "string" } }), "table of texts"),
        (
            json!({ "type": "object", "additionalProperties": { "type": "array", "items": { "type": "integer", "minimum": 0 } } }),
            "table of lists of whole numbers, each at least 0",
        ),
        (json!({ "enum": ["a|b", "c", null] }), "<code>\"a&#124;b\"</code> or `\"c\"`"),
        (json!({ "type": "string", "enum": ["a", "b", "c"] }), "`\"a\"`, `\"b\"` or `\"c\"`"),
        (json!({ "const": 5 }), "`5`"),
        (
            json!({ "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" } }] }),
            "text or list of texts",
        ),
        (json!({ "anyOf": [{ "type": "string" }, { "type": "null" }] }), "text"),
        (
            json!({ "anyOf": [{ "type": "integer", "minimum": 1 }, { "type": "null" }] }),
            "whole number, at least 1",
        ),
        (json!({ "type": "null" }), "nothing"),
        (json!({}), "anything"),
        (json!(true), "anything"),
    ] {
        assert_eq!(row(&schema), format!("{takes} | none |"), "{schema}");
    }
}

#[test]
fn what_must_be_given_is_first_and_the_order_is_the_same_in_every_build() {
    let schema = json!({
        "type": "object",
        "properties": {
            "b": { "type": "string" },
            "c": { "type": "string", "default": "x" },
            "z": { "type": "string" },
            "a": { "type": ["string", "null"], "default": null },
        },
        "required": ["z", "b"],
    });
    let expected = [
        "`b` | text | required |",
        "`z` | text | required |",
        "`a` | text | none |",
        "`c` | text | `\"x\"` |",
    ];
    assert_eq!(rows(&schema), expected);
}

#[test]
fn defaults_are_shown_as_toml() {
    for (default, shown) in [
        (json!(20), "`20`"),
        (json!(0.5), "`0.5`"),
        (json!(false), "`false`"),
        (json!(""), "`\"\"`"),
        (json!("a|b"), "<code>\"a&#124;b\"</code>"),
        (json!(["x", "y"]), "`[\"x\", \"y\"]`"),
        (json!({}), "`{}`"),
        (json!({ "z": 1, "api_key": "OPENAI", "none": null }), "`{ api_key = \"OPENAI\", z = 1 }`"),
        (json!(null), "none"),
    ] {
        assert_eq!(row(&json!({ "default": default })), format!("anything | {shown} |"), "{default}");
    }
}

#[test]
fn meanings_fit_into_a_cell() {
    let row = |description: &str| row(&json!({ "type": "string", "description": description }));
    assert_eq!(row("One\nline | with `a|b`."), "text | none | One line \\| with <code>a&#124;b</code>.");
    assert_eq!(row("Of <x>.\n\nThese:\n- a\n- b"), "text | none | Of &lt;x&gt;.<br>These:<br>- a<br>- b");
    let old = json!({ "type": "string", "description": "Old.", "deprecated": true });
    assert_eq!(super::tests::row(&old), "text | none | Old.<br>Deprecated.");
}

#[test]
fn tables_within_have_rows_below_their_own() {
    let schema = json!({
        "type": "object",
        "properties": {
            "actions": {
                "description": "What may be done.",
                "type": "array",
                "items": { "$ref": "#/$defs/Action" },
                "default": [{ "name": "web-search", "parameters": {} }],
            },
            "main": { "anyOf": [{ "$ref": "#/$defs/Action" }, { "type": "null" }], "default": null },
            "pair": { "type": "array", "prefixItems": [{ "type": "string" }, { "$ref": "#/$defs/A%20b" }] },
        },
        "$defs": {
            "Action": {
                "description": "An action.",
                "type": "object",
                "properties": {
                    "name": { "description": "Its name.", "type": "string" },
                    "parameters": {
                        "type": "object",
                        "additionalProperties": { "$ref": "#/$defs/A%20b" },
                        "default": {},
                    },
                },
                "required": ["name"],
            },
            "A b": { "type": "object", "properties": { "a b": { "type": "boolean" } } },
        },
    });
    assert_eq!(
        rows(&schema),
        [
            "`actions` | list of tables | `[{ name = \"web-search\", parameters = {} }]` | What may be done.",
            "`actions[].name` | text | required | Its name.",
            "`actions[].parameters` | table of tables | `{}` |",
            "`actions[].parameters.*.\"a b\"` | true or false | none |",
            "`main` | table | none | An action.",
            "`main.name` | text | required | Its name.",
            "`main.parameters` | table of tables | `{}` |",
            "`main.parameters.*.\"a b\"` | true or false | none |",
            "`pair` | list: text; table | none |",
            "`pair[1].\"a b\"` | true or false | none |",
        ]
    );
}

#[test]
fn words_with_a_meaning_each_are_explained() {
    let schema = json!({
        "type": "object",
        "properties": { "mode": { "$ref": "#/$defs/Mode", "default": "slow" } },
        "$defs": {
            "Mode": {
                "description": "How.",
                "oneOf": [
                    { "type": "string", "enum": ["other", "none"] },
                    { "description": "With\ncare.", "type": "string", "const": "slow" },
                ],
            },
        },
    });
    assert_eq!(
        rows(&schema),
        ["`mode` | `\"other\"`, `\"none\"` or `\"slow\"` | `\"slow\"` | How.<br>`\"slow\"`: With care."]
    );
}

#[test]
fn forms_with_a_tag_say_which_keys_are_whose() {
    let form = |kind: &str, fields: Value| {
        let mut properties = json!({ "kind": { "type": "string", "const": kind } });
        let mut required = vec!["kind".to_owned()];
        for (name, field) in fields.as_object().unwrap() {
            properties[name] = field.clone();
            required.push(name.clone());
        }
        json!({ "type": "object", "properties": properties, "required": required })
    };
    let mut by_reference = form("d", json!({}));
    by_reference["$ref"] = json!("#/$defs/Of");
    let schema = json!({
        "type": "object",
        "properties": { "rule": { "oneOf": [
            form("a", json!({ "x": { "type": "integer" }, "y": { "type": "boolean" } })),
            form("b", json!({ "x": { "type": "string" } })),
            form("c", json!({})),
            by_reference,
        ] } },
        "$defs": { "Of": { "type": "object", "properties": { "x": { "type": "string" } } } },
    });
    assert_eq!(
        rows(&schema),
        [
            "`rule` | table | none |",
            "`rule.kind` | `\"a\"`, `\"b\"`, `\"c\"` or `\"d\"` | required |",
            "`rule.x` | whole number or text; where `kind` is `\"a\"`, `\"b\"` or `\"d\"` | required |",
            "`rule.y` | true or false; where `kind` is `\"a\"` | required |",
        ]
    );
}

#[test]
fn of_forms_without_a_tag_one_is_taken() {
    let form = |name: &str, field: Value| json!({ "type": "object", "properties": { name: field }, "required": [name], "additionalProperties": false });
    let circle = json!({ "type": "object", "properties": { "r": { "type": "number" } }, "required": ["r"] });
    let schema = json!({
        "type": "object",
        "properties": { "shape": { "oneOf": [
            { "type": "string", "enum": ["none"] },
            form("circle", circle),
            form("name", json!({ "type": "string" })),
        ] } },
        "required": ["shape"],
    });
    assert_eq!(
        rows(&schema),
        [
            "`shape` | `\"none\"` or table | required |",
            "`shape.circle` | table | one of these |",
            "`shape.circle.r` | number | required |",
            "`shape.name` | text | one of these |",
        ]
    );
}

#[test]
fn what_is_flattened_in_is_there_too() {
    let schema = json!({
        "type": "object",
        "properties": { "d": { "type": "string" } },
        "allOf": [
            { "$ref": "#/$defs/More" },
            { "properties": { "c": { "type": "string" } }, "required": ["c"] },
        ],
        "$defs": { "More": { "type": "object", "properties": { "b": { "type": "boolean", "default": true } } } },
    });
    assert_eq!(
        rows(&schema),
        ["`c` | text | required |", "`b` | true or false | `true` |", "`d` | text | none |"]
    );
}

#[test]
fn types_that_hold_themselves_have_an_end() {
    let node = json!({ "type": "object", "properties": { "children": { "type": "array", "items": { "$ref": "#" } } } });
    assert_eq!(rows(&node), ["`children` | list of tables | none |"]);
    let loops = json!({
        "type": "object",
        "properties": { "x": { "$ref": "#/$defs/A" }, "y": { "$ref": "#/$defs/B" }, "z": { "$ref": "#/$defs/Gone" } },
        "$defs": { "A": { "$ref": "#/$defs/A" }, "B": { "type": "array", "items": { "$ref": "#/$defs/B" } } },
    });
    let rows = rows(&loops);
    assert_eq!((rows[0].as_str(), rows[2].as_str()), ("`x` | anything | none |", "`z` | anything | none |"));
    assert!(rows[1].starts_with("`y` | list of lists of lists"), "{}", rows[1]);
    assert_eq!(rows.len(), 3);
}

#[test]
fn a_table_of_any_keys_has_a_row_for_them() {
    let of_texts =
        json!({ "type": "object", "additionalProperties": { "type": "string", "description": "A word." } });
    assert_eq!(rows(&of_texts), ["`*` | text | none | A word."]);
    for (schema, says) in [
        (json!({ "type": "null" }), "It takes no keys of its own.\n"),
        (json!({ "type": "object" }), "It takes no keys of its own.\n"),
        (
            json!({ "type": "object", "properties": {}, "additionalProperties": false }),
            "It takes no keys of its own.\n",
        ),
        (json!({ "type": "object", "additionalProperties": true }), "It takes any keys.\n"),
        (json!({ "title": "AnyValue" }), "It takes any keys.\n"),
        (json!(true), "It takes any keys.\n"),
        (json!(false), "It takes no keys of its own.\n"),
    ] {
        assert_eq!(schema_markdown(&schema), says, "{schema}");
    }
}
