//! What serde types make, before and after, and what that is for old callers.

use serde_json::{Value, json};

use super::*;

/// Each change as `impact path what`.
#[track_caller]
fn check(side: Side, old: Value, new: Value, expected: &[&str]) {
    let changes = compare(side, Some(&old), Some(&new));
    let shown: Vec<_> = changes
        .iter()
        .map(|it| format!("{} {it}", it.impact.as_str()))
        .collect();
    assert_eq!(shown, expected, "\nold {old}\nnew {new}");
    // Nothing is new between a schema and itself.
    for schema in [&old, &new] {
        assert_eq!(compare(side, Some(schema), Some(schema)), [], "{schema}");
    }
}

#[track_caller]
fn input(old: Value, new: Value, expected: &[&str]) {
    check(Side::Input, old, new, expected);
}

#[track_caller]
fn output(old: Value, new: Value, expected: &[&str]) {
    check(Side::Output, old, new, expected);
}

fn object(properties: Value, required: &[&str]) -> Value {
    json!({ "type": "object", "properties": properties, "required": required })
}

#[test]
fn an_input_may_take_more_and_not_less() {
    let text = || json!({ "type": "string" });
    for (old, new, expected) in [
        // Properties.
        (
            object(json!({ "a": text() }), &["a"]),
            object(json!({ "a": text(), "b": text() }), &["a"]),
            vec!["fits input.b is new, and may be left out"],
        ),
        (
            object(json!({ "a": text() }), &["a"]),
            object(json!({ "a": text(), "b": text() }), &["a", "b"]),
            vec!["breaks input.b is new, and required"],
        ),
        (
            object(json!({ "a": text() }), &[]),
            object(json!({ "a": text() }), &["a"]),
            vec!["breaks input.a is required now"],
        ),
        (
            object(json!({ "a": text() }), &["a"]),
            object(json!({ "a": text() }), &[]),
            vec!["fits input.a may be left out now"],
        ),
        (
            object(json!({ "a": text(), "b": text() }), &["a", "b"]),
            object(json!({ "a": text() }), &["a"]),
            vec!["fits input.b is gone: it is ignored"],
        ),
        (
            object(json!({ "a": text() }), &[]),
            object(json!({ "a": { "type": "integer" } }), &[]),
            vec![
                "breaks input.a cannot be a text any more",
                "fits input.a can be an integer now",
            ],
        ),
        (
            object(json!({ "a b": text() }), &[]),
            object(json!({ "a b": { "type": "null" } }), &[]),
            vec![
                "breaks input[\"a b\"] cannot be a text any more",
                "fits input[\"a b\"] can be null now",
            ],
        ),
        // Nullable.
        (
            json!({ "type": ["string", "null"] }),
            text(),
            vec!["breaks input cannot be null any more"],
        ),
        (
            text(),
            json!({ "anyOf": [{ "type": "string" }, { "type": "null" }] }),
            vec!["fits input can be null now"],
        ),
        // Anything.
        (
            json!(true),
            text(),
            vec!["breaks input can only be a text now, not anything"],
        ),
        (
            json!({ "type": ["string", "null"] }),
            json!({ "description": "free" }),
            vec!["fits input can be anything now, not only a text or null"],
        ),
        (json!(false), text(), vec!["fits input can be a text now"]),
        (
            text(),
            json!(false),
            vec!["breaks input cannot be a text any more"],
        ),
        // What is only said differs.
        (
            json!({ "type": "string", "title": "A", "description": "b", "default": "c" }),
            text(),
            vec![],
        ),
    ] {
        input(old, new, &expected);
    }
}

#[test]
fn an_output_may_give_more_and_not_less() {
    let text = || json!({ "type": "string" });
    for (old, new, expected) in [
        (
            object(json!({ "a": text() }), &["a"]),
            object(json!({ "a": text(), "b": text() }), &["a", "b"]),
            vec!["fits output.b is new: old callers ignore it"],
        ),
        (
            object(json!({ "a": text(), "b": text() }), &["a", "b"]),
            object(json!({ "a": text() }), &["a"]),
            vec!["breaks output.b is gone"],
        ),
        (
            object(json!({ "a": text() }), &["a"]),
            object(json!({ "a": text() }), &[]),
            vec!["breaks output.a may be left out now"],
        ),
        (
            object(json!({ "a": text() }), &[]),
            object(json!({ "a": text() }), &["a"]),
            vec!["fits output.a is always there now"],
        ),
        // Whoever reads null by serde may read nothing as well: the schema does not say.
        (
            object(json!({ "a": { "type": ["string", "null"] } }), &["a"]),
            object(json!({}), &[]),
            vec!["unknown output.a is gone"],
        ),
        (
            object(json!({ "a": { "type": "string", "default": "" } }), &["a"]),
            object(json!({ "a": text() }), &[]),
            vec!["unknown output.a may be left out now"],
        ),
        (
            text(),
            json!({ "type": ["string", "null"] }),
            vec!["breaks output can be null now"],
        ),
        (
            json!({ "type": ["string", "null"] }),
            text(),
            vec!["fits output cannot be null any more"],
        ),
        (
            json!({ "enum": ["a", "b"], "type": "string" }),
            json!({ "enum": ["b", "c"], "type": "string" }),
            vec![
                "breaks output can be `\"c\"` now",
                "fits output cannot be `\"a\"` any more",
            ],
        ),
        (
            json!(true),
            text(),
            vec!["fits output can only be a text now, not anything"],
        ),
        (
            text(),
            json!({}),
            vec!["breaks output can be anything now, not only a text"],
        ),
    ] {
        output(old, new, &expected);
    }
}

#[test]
fn unknown_properties_are_ignored_unless_the_type_says_otherwise() {
    let open = || object(json!({ "a": {} }), &[]);
    let closed = |properties: Value| {
        let mut schema = object(properties, &[]);
        schema["additionalProperties"] = json!(false);
        schema
    };
    input(
        open(),
        closed(json!({ "a": {} })),
        &["unknown input.* is refused now, where it is not known"],
    );
    input(
        closed(json!({ "a": {}, "b": {} })),
        closed(json!({ "a": {} })),
        &["breaks input.b is gone, and refused as unknown"],
    );
    input(
        closed(json!({ "a": {} })),
        open(),
        &["fits input ignores unknown properties now"],
    );
    output(
        closed(json!({ "a": {} })),
        closed(json!({ "a": {}, "b": {} })),
        &["breaks output.b is new, and old callers refuse what is unknown"],
    );
    // A flattened type whose unknown properties are refused.
    let flat = |more: Value| {
        json!({
            "type": "object", "properties": { "a": {} },
            "allOf": [{ "type": "object", "properties": more }],
            "unevaluatedProperties": false,
        })
    };
    input(
        flat(json!({ "b": {}, "c": {} })),
        flat(json!({ "b": {} })),
        &["breaks input.c is gone, and refused as unknown"],
    );
}

#[test]
fn numbers_are_compared_by_kind_and_range() {
    let integer = |format: &str| json!({ "type": "integer", "format": format });
    for (old, new, expected) in [
        (
            integer("int32"),
            integer("int64"),
            vec![
                "fits input is from -9223372036854775808 to 9223372036854775807 now, was from \
                 -2147483648 to 2147483647",
            ],
        ),
        (
            json!({ "type": "integer", "format": "uint32", "minimum": 0 }),
            json!({ "type": "integer", "format": "uint8", "minimum": 0, "maximum": 255 }),
            vec!["breaks input is from 0 to 255 now, was from 0 to 4294967295"],
        ),
        (
            json!({ "type": "integer" }),
            json!({ "type": "number" }),
            vec!["fits input is any number now, not an integer"],
        ),
        (
            json!({ "type": "number", "format": "double" }),
            json!({ "type": "number", "format": "float" }),
            vec![],
        ),
        (
            json!({ "type": "number" }),
            json!({ "type": "integer" }),
            vec!["breaks input is an integer now, not any number"],
        ),
        (
            json!({ "type": "number", "minimum": 0.5 }),
            json!({ "type": "number", "exclusiveMinimum": 0.5 }),
            vec!["breaks input is at least 0.5, that not included now, was at least 0.5"],
        ),
        (
            json!({ "type": "integer", "minimum": 1 }),
            json!({ "type": "integer", "minimum": 1, "maximum": 9 }),
            vec!["breaks input is from 1 to 9 now, was at least 1"],
        ),
    ] {
        input(old, new, &expected);
    }
    // Exactly, where a float would not tell them apart.
    output(
        json!({ "type": "integer", "maximum": 9_007_199_254_740_992_i64 }),
        json!({ "type": "integer", "maximum": 9_007_199_254_740_993_i64 }),
        &["breaks output is at most 9007199254740993 now, was at most 9007199254740992"],
    );
}

#[test]
fn texts_are_compared_by_length_format_and_pattern() {
    for (old, new, expected) in [
        (
            json!({ "type": "string" }),
            json!({ "type": "string", "format": "uuid" }),
            vec!["breaks input is `uuid` now, was any text"],
        ),
        (
            json!({ "type": "string", "format": "uuid" }),
            json!({ "type": "string" }),
            vec!["fits input is any text now, was `uuid`"],
        ),
        (
            json!({ "type": "string", "format": "date" }),
            json!({ "type": "string", "format": "date-time" }),
            vec!["unknown input is `date-time` now, was `date`"],
        ),
        (
            json!({ "type": "string" }),
            json!({ "type": "string", "minLength": 1, "maxLength": 1 }),
            vec!["breaks input has 1 characters now, had any number"],
        ),
        (
            json!({ "type": "string" }),
            json!({ "type": "string", "pattern": "^a" }),
            vec!["unknown input has the pattern `^a` now, had none"],
        ),
        (
            json!({ "type": "string", "enum": ["a"] }),
            json!({ "type": "string" }),
            vec!["fits input can be a text now"],
        ),
        (
            json!({ "type": "string" }),
            json!({ "type": "string", "enum": ["a"] }),
            vec![
                "breaks input cannot be a text any more",
                "fits input can be `\"a\"` now",
            ],
        ),
        (
            json!({ "type": "string", "const": "a" }),
            json!({ "type": "string", "format": "email" }),
            vec![
                "unknown input may not take `\"a\"`: that is not judged",
                "fits input can be a text now",
            ],
        ),
    ] {
        input(old, new, &expected);
    }
}

#[test]
fn lists_tuples_and_maps_are_compared_by_what_they_hold() {
    let text = || json!({ "type": "string" });
    let nullable = || json!({ "type": ["string", "null"] });
    let tuple = |items: &[Value]| {
        json!({
            "type": "array", "prefixItems": items,
            "minItems": items.len(), "maxItems": items.len(),
        })
    };
    for (old, new, expected) in [
        (
            json!({ "type": "array", "items": nullable() }),
            json!({ "type": "array", "items": text() }),
            vec!["breaks input[] cannot be null any more"],
        ),
        (
            tuple(&[text(), nullable()]),
            tuple(&[text(), text()]),
            vec!["breaks input[1] cannot be null any more"],
        ),
        (
            tuple(&[text()]),
            tuple(&[text(), text()]),
            vec!["breaks input has 2 items now, had 1"],
        ),
        (
            tuple(&[text(), text()]),
            json!({ "type": "array", "items": text() }),
            vec!["fits input has any number items now, had 2"],
        ),
        (
            json!({ "type": "array", "items": text() }),
            json!({ "type": "array", "items": text(), "uniqueItems": true }),
            vec![],
        ),
        (
            json!({ "type": "object", "additionalProperties": nullable() }),
            json!({ "type": "object", "additionalProperties": text() }),
            vec!["breaks input.* cannot be null any more"],
        ),
        // From a struct to a map, and back.
        (
            object(json!({ "a": nullable() }), &["a"]),
            json!({ "type": "object", "additionalProperties": text() }),
            vec!["breaks input.a cannot be null any more"],
        ),
        (
            json!({ "type": "object", "additionalProperties": nullable() }),
            object(json!({ "a": text() }), &[]),
            vec![
                "fits input.a is new, and may be left out",
                "breaks input.a cannot be null any more",
            ],
        ),
        (
            json!({ "type": "object" }),
            json!({ "type": "object", "additionalProperties": text() }),
            vec!["breaks input.* can only be a text now, not anything"],
        ),
        // A map whose keys are numbers.
        (
            json!({
                "type": "object", "patternProperties": { "^\\d+$": nullable() },
                "additionalProperties": false,
            }),
            json!({
                "type": "object", "patternProperties": { "^\\d+$": text() },
                "additionalProperties": false,
            }),
            vec!["breaks input.* cannot be null any more"],
        ),
    ] {
        input(old, new, &expected);
    }
}

#[test]
fn variants_of_enums_are_found_by_their_tags() {
    let inside = |variants: &[(&str, Value)]| {
        let variants = variants.iter().map(|(tag, properties)| {
            let mut schema = object(properties.clone(), &["type"]);
            schema["properties"]["type"] = json!({ "type": "string", "const": tag });
            schema
        });
        json!({ "oneOf": variants.collect::<Vec<_>>() })
    };
    let outside = |variants: &[(&str, Value)]| {
        let variants = variants.iter().map(|(tag, schema)| match schema {
            Value::Null => json!({ "type": "string", "const": tag }),
            schema => json!({
                "type": "object", "properties": { *tag: schema }, "required": [tag],
                "additionalProperties": false,
            }),
        });
        json!({ "oneOf": variants.collect::<Vec<_>>() })
    };
    let amount = || json!({ "amount": { "type": "integer", "format": "uint8", "minimum": 0 } });
    let large = || json!({ "amount": { "type": "integer", "format": "uint32", "minimum": 0 } });
    input(
        inside(&[("card", large()), ("cash", json!({}))]),
        inside(&[("cash", json!({})), ("card", amount()), ("bank", json!({}))]),
        &[
            "fits input can be the variant `bank` now",
            "breaks input(card).amount is from 0 to 255 now, was from 0 to 4294967295",
        ],
    );
    input(
        inside(&[("card", json!({})), ("cash", json!({}))]),
        inside(&[("card", json!({}))]),
        &["breaks input cannot be the variant `cash` any more"],
    );
    output(
        inside(&[("card", json!({}))]),
        inside(&[("card", json!({})), ("cash", json!({}))]),
        &["breaks output can be the variant `cash` now"],
    );
    input(
        outside(&[("Card", large()["amount"].clone()), ("Cash", Value::Null)]),
        outside(&[("Card", amount()["amount"].clone())]),
        &[
            "breaks input cannot be `\"Cash\"` any more",
            "breaks input(Card).Card is from 0 to 255 now, was from 0 to 4294967295",
        ],
    );
    // Untagged: what fits best is compared.
    let untagged = |first: Value, second: Value| json!({ "anyOf": [object(first, &["a"]), object(second, &["b"]), { "type": "null" }] });
    input(
        untagged(
            json!({ "a": {} }),
            json!({ "b": { "type": ["string", "null"] } }),
        ),
        untagged(json!({ "a": {} }), json!({ "b": { "type": "string" } })),
        &["breaks input.b cannot be null any more"],
    );
    // A struct of one property that refuses others is no variant.
    let strict = |name: &str| {
        json!({
            "type": "object", "properties": { name: {} }, "required": [name],
            "additionalProperties": false,
        })
    };
    input(
        strict("old"),
        strict("new"),
        &[
            "breaks input.new is new, and required",
            "breaks input.old is gone, and refused as unknown",
        ],
    );
}

#[test]
fn references_are_followed_and_types_that_hold_themselves_end() {
    let tree = |leaf: Value| {
        json!({
            "$ref": "#/$defs/Node",
            "$defs": {
                "Node": object(
                    json!({
                        "leaf": leaf,
                        "next": { "anyOf": [{ "$ref": "#/$defs/Node" }, { "type": "null" }] },
                        "all": { "type": "array", "items": { "$ref": "#/$defs/Node" } },
                    }),
                    &["all"],
                ),
            },
        })
    };
    input(
        tree(json!({ "type": ["string", "null"] })),
        tree(json!({ "type": "string" })),
        &["breaks input.leaf cannot be null any more"],
    );
    // Beside a reference more may be said, as schemars does.
    let with = |tag: &str| {
        json!({
            "type": "object", "properties": { "kind": { "const": tag } }, "required": ["kind"],
            "$ref": "#/$defs/Body",
            "$defs": { "Body": object(json!({ "x": { "type": "integer" } }), &["x"]) },
        })
    };
    input(
        with("a"),
        with("b"),
        &[
            "breaks input.kind cannot be `\"a\"` any more",
            "fits input.kind can be `\"b\"` now",
        ],
    );
    // What refers to nothing, or to itself without a value between, is not judged.
    for odd in [
        json!({ "$ref": "#/$defs/Missing" }),
        json!({ "$ref": "#" }),
        json!({ "$ref": "https://example.com/schema" }),
    ] {
        let changes = compare(Side::Input, Some(&odd), Some(&json!(true)));
        assert_eq!(changes.len(), 1);
        assert_eq!(changes[0].impact, Impact::Unknown, "{odd}");
    }
}

#[test]
fn what_is_not_judged_is_unknown_and_never_a_break() {
    input(
        json!({ "type": "integer" }),
        json!({ "type": "integer", "multipleOf": 2 }),
        &["unknown input has another `multipleOf`, which is not judged"],
    );
    input(
        json!({ "type": "integer", "multipleOf": 2 }),
        json!({ "type": "integer" }),
        &[],
    );
    input(
        json!({ "not": { "type": "null" } }),
        json!({ "not": { "type": "string" } }),
        &["unknown input has another `not`, which is not judged"],
    );
    let schema = json!({ "type": "string" });
    assert_eq!(compare(Side::Output, None, None), []);
    for (old, new) in [(None, Some(&schema)), (Some(&schema), None)] {
        let changes = compare(Side::Output, old, new);
        assert_eq!(changes.len(), 1);
        assert_eq!(changes[0].impact, Impact::Unknown);
    }
}

#[test]
fn hostile_schemas_end_as_unknown() {
    // Each level holds the one below twice: 2⁴⁰ places.
    let doubling = |leaf: &str| {
        let mut levels = serde_json::Map::new();
        levels.insert("L0".into(), json!({ "type": leaf }));
        for level in 1..=40 {
            let below = json!({ "$ref": format!("#/$defs/L{}", level - 1) });
            levels.insert(
                format!("L{level}"),
                object(json!({ "a": below, "b": below }), &[]),
            );
        }
        json!({ "$ref": "#/$defs/L40", "$defs": levels })
    };
    let changes = compare(
        Side::Input,
        Some(&doubling("string")),
        Some(&doubling("null")),
    );
    assert_eq!(
        changes.len(),
        4,
        "two of each of the last two places: {changes:?}"
    );
    assert_eq!(
        compare(
            Side::Input,
            Some(&doubling("string")),
            Some(&doubling("string"))
        ),
        []
    );
    // Untagged enums in each other: each level is tried in all ways.
    let untagged = |leaf: &str| {
        let mut levels = serde_json::Map::new();
        levels.insert("L0".into(), json!({ "type": leaf }));
        for level in 1..=40 {
            let below = json!({ "$ref": format!("#/$defs/L{}", level - 1) });
            let variant = |name: &str| object(json!({ name: below }), &[]);
            levels.insert(
                format!("L{level}"),
                json!({ "anyOf": [variant("a"), variant("b"), variant("c")] }),
            );
        }
        json!({ "$ref": "#/$defs/L40", "$defs": levels })
    };
    let changes = compare(
        Side::Input,
        Some(&untagged("string")),
        Some(&untagged("null")),
    );
    assert_ne!(changes, []);
    // All ways to combine these: 2²⁰ alternatives.
    let pair = json!({ "anyOf": [{ "type": "string" }, { "type": "null" }, { "const": 1 }] });
    let wide = json!({ "allOf": vec![json!({ "anyOf": vec![pair; 40] }); 20] });
    let changes = compare(Side::Input, Some(&wide), Some(&json!({ "type": "null" })));
    assert_eq!(changes[0].impact, Impact::Unknown);
}
