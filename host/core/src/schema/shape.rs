//! A schema as the alternatives that it allows.
//!
//! `oneOf`, `anyOf`, `enum` and a list of types all say "one of these"; `allOf`, `$ref` and keywords
//! that stand side by side say "all of these". What comes out is a list of alternatives, each of one
//! kind: none is "nothing at all", [`Shape::Any`] is "anything".

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::range::{Lengths, Number, Range};

/// Most alternatives of one place that are judged. Enums of real types have tens.
const ALTERNATIVES_MAX: usize = 1_000;

/// How many references and combinations may lie in each other before a value begins.
const NESTING_MAX: usize = 64;

static NOTHING: Value = Value::Bool(false);

/// Keywords that say nothing about which values are allowed, or that their users deal with.
const NOT_JUDGED_HERE: [&str; 45] = [
    "$anchor",
    "$comment",
    "$defs",
    "$id",
    "$ref",
    "$schema",
    "additionalProperties",
    "allOf",
    "anyOf",
    "const",
    "contentEncoding",
    "contentMediaType",
    "contentSchema",
    "default",
    "definitions",
    "deprecated",
    "description",
    "discriminator",
    "enum",
    "example",
    "examples",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "externalDocs",
    "format",
    "items",
    "maxItems",
    "maxLength",
    "maximum",
    "minItems",
    "minLength",
    "minimum",
    "oneOf",
    "pattern",
    "patternProperties",
    "prefixItems",
    "properties",
    "readOnly",
    "required",
    "title",
    "type",
    "unevaluatedProperties",
    // serde reads a set from a list that repeats itself.
    "uniqueItems",
    "writeOnly",
    "xml",
];

/// A place in a document: the schemas that all hold there. None: anything goes.
#[derive(Debug, Clone, Default)]
pub(super) struct Node<'a>(Vec<&'a Value>);

impl<'a> Node<'a> {
    pub(super) fn of(schema: &'a Value) -> Self {
        Self(vec![schema])
    }

    /// Whether nothing is said of it.
    pub(super) fn is_open(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether it is said that nothing goes.
    pub(super) fn is_closed(&self) -> bool {
        self.0.contains(&&NOTHING)
    }

    /// Whether something stands in for a value that is left out.
    pub(super) fn has_default(&self) -> bool {
        self.0.iter().any(|schema| schema.get("default").is_some())
    }

    /// Names the place, to know it again.
    pub(super) fn key(&self) -> Vec<usize> {
        let address = |schema: &&Value| std::ptr::from_ref(*schema) as usize;
        self.0.iter().map(address).collect()
    }

    /// The one text that a value here must be, if that is plain to see: the tag of a variant.
    fn tag(&self) -> Option<&'a str> {
        let tag = |schema: &&'a Value| {
            let only = schema.get("enum").and_then(Value::as_array);
            let only = only.filter(|values| values.len() == 1);
            let tag = schema.get("const").or(only.and_then(|it| it.first()));
            tag.and_then(Value::as_str)
        };
        self.0.iter().find_map(tag)
    }

    fn and(&mut self, other: &Self) {
        for schema in &other.0 {
            let is_there = self.0.iter().any(|it| std::ptr::eq(*it, *schema));
            if !is_there {
                self.0.push(schema);
            }
        }
    }
}

/// One of the kinds of values that a schema allows.
#[derive(Debug, Clone)]
pub(super) struct Alternative<'a> {
    pub(super) shape: Shape<'a>,
    /// Keywords that are not judged.
    pub(super) unjudged: BTreeMap<&'a str, &'a Value>,
}

/// The kind of a value, and what is said of it.
#[derive(Debug, Clone)]
pub(super) enum Shape<'a> {
    Any,
    Null,
    Boolean,
    Number(Numbers),
    Text(Text<'a>),
    List(List<'a>),
    Object(Object<'a>),
    /// This value alone.
    Const(&'a Value),
}

/// Numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Numbers {
    pub(super) whole: bool,
    pub(super) range: Range,
}

/// Texts; their length is counted in characters.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Text<'a> {
    pub(super) lengths: Lengths,
    pub(super) format: Option<&'a str>,
    pub(super) pattern: Option<&'a str>,
}

/// Lists and tuples.
#[derive(Debug, Clone)]
pub(super) struct List<'a> {
    /// The first items, each with a type of its own.
    prefix: Vec<Node<'a>>,
    /// All that follow.
    pub(super) rest: Node<'a>,
    pub(super) lengths: Lengths,
}

impl<'a> List<'a> {
    pub(super) fn places(&self) -> usize {
        self.prefix.len()
    }

    pub(super) fn at(&self, place: usize) -> &Node<'a> {
        self.prefix.get(place).unwrap_or(&self.rest)
    }
}

/// Objects: structs, maps, variants of enums.
#[derive(Debug, Clone)]
pub(super) struct Object<'a> {
    pub(super) properties: BTreeMap<&'a str, Node<'a>>,
    pub(super) required: BTreeSet<&'a str>,
    /// Of properties whose names fit a pattern.
    pub(super) patterns: BTreeMap<&'a str, Node<'a>>,
    /// Of all other properties.
    pub(super) additional: Node<'a>,
    /// Of those that no part of the schema knows.
    unevaluated: Node<'a>,
}

impl Object<'_> {
    /// Whether nothing is said of any property.
    pub(super) fn is_free(&self) -> bool {
        self.properties.is_empty() && self.patterns.is_empty() && self.additional.is_open()
    }
}

/// What makes an object one variant of an enum and not another.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Tag<'a> {
    /// The texts that some properties always have.
    Inside(BTreeMap<&'a str, &'a str>),
    /// The one property that it has.
    Outside(&'a str),
}

impl Tag<'_> {
    /// The variant's name.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Inside(tags) => {
                let names: Vec<_> = tags.values().copied().collect();
                names.join(", ")
            }
            Self::Outside(name) => (*name).to_owned(),
        }
    }
}

impl<'a> Alternative<'a> {
    fn of(shape: Shape<'a>) -> Self {
        Self {
            shape,
            unjudged: BTreeMap::new(),
        }
    }

    /// Its tag, if it looks like a variant of an enum.
    pub(super) fn tag(&self) -> Option<Tag<'a>> {
        let Shape::Object(object) = &self.shape else {
            return None;
        };
        let required = object.properties.iter();
        let required = required.filter(|(name, _)| object.required.contains(*name));
        let tags = required.filter_map(|(name, node)| Some((*name, node.tag()?)));
        let tags: BTreeMap<_, _> = tags.collect();
        if !tags.is_empty() {
            return Some(Tag::Inside(tags));
        }
        let mut names = object.properties.keys();
        match (names.next(), names.next()) {
            (Some(name), None)
                if object.required.contains(name) && object.additional.is_closed() =>
            {
                Some(Tag::Outside(name))
            }
            _ => None,
        }
    }

    /// What it is, in words that follow "can be".
    pub(super) fn describe(&self) -> String {
        match &self.shape {
            Shape::Any => "anything".into(),
            Shape::Null => "null".into(),
            Shape::Boolean => "true or false".into(),
            Shape::Number(Numbers { whole: true, .. }) => "an integer".into(),
            Shape::Number(_) => "a number".into(),
            Shape::Text(_) => "a text".into(),
            Shape::List(_) => "a list".into(),
            Shape::Object(_) => match self.tag() {
                Some(tag) => format!("the variant `{}`", tag.name()),
                None => "an object".into(),
            },
            Shape::Const(value) => format!("`{value}`"),
        }
    }

    /// What both allow, if anything.
    fn and(self, other: &Self) -> Option<Self> {
        let mut unjudged = self.unjudged;
        unjudged.extend(other.unjudged.iter().map(|(key, value)| (*key, *value)));
        let shape = match (self.shape, &other.shape) {
            (Shape::Any, other) => other.clone(),
            (shape, Shape::Any) => shape,
            (Shape::Null, Shape::Null) => Shape::Null,
            (Shape::Boolean, Shape::Boolean) => Shape::Boolean,
            (Shape::Number(a), Shape::Number(b)) => Shape::Number(Numbers {
                whole: a.whole || b.whole,
                range: a.range.and(b.range),
            }),
            (Shape::Text(a), Shape::Text(b)) => Shape::Text(Text {
                lengths: a.lengths.and(b.lengths),
                format: a.format.or(b.format),
                pattern: a.pattern.or(b.pattern),
            }),
            (Shape::List(a), Shape::List(b)) => Shape::List(a.and(b)),
            (Shape::Object(a), Shape::Object(b)) => Shape::Object(a.and(b)),
            (Shape::Const(a), Shape::Const(b)) if a == *b => Shape::Const(a),
            (Shape::Const(value), shape) if shape.is_kind_of(value) => Shape::Const(value),
            (shape, Shape::Const(value)) if shape.is_kind_of(value) => Shape::Const(value),
            _ => return None,
        };
        Some(Self { shape, unjudged })
    }
}

impl Shape<'_> {
    /// Whether a value is of this kind; not whether it is allowed.
    fn is_kind_of(&self, value: &Value) -> bool {
        match self {
            Self::Any => true,
            Self::Null => value.is_null(),
            Self::Boolean => value.is_boolean(),
            Self::Number(numbers) => {
                Number::of(value).is_some_and(|it| it.is_whole() || !numbers.whole)
            }
            Self::Text(_) => value.is_string(),
            Self::List(_) => value.is_array(),
            Self::Object(_) => value.is_object(),
            Self::Const(other) => *other == value,
        }
    }
}

impl<'a> List<'a> {
    fn and(self, other: &Self) -> Self {
        let places = self.places().max(other.places());
        let at = |place| {
            let mut node = self.at(place).clone();
            node.and(other.at(place));
            node
        };
        let mut rest = self.rest.clone();
        rest.and(&other.rest);
        Self {
            prefix: (0..places).map(at).collect(),
            rest,
            lengths: self.lengths.and(other.lengths),
        }
    }
}

impl<'a> Object<'a> {
    fn and(mut self, other: &Self) -> Self {
        // What one part names, the other part takes as one of its additional ones.
        for (name, node) in &mut self.properties {
            node.and(other.properties.get(name).unwrap_or(&other.additional));
        }
        for (name, node) in &other.properties {
            let ours = self.properties.entry(name);
            ours.or_insert_with(|| {
                let mut node = node.clone();
                node.and(&self.additional);
                node
            });
        }
        for (pattern, node) in &other.patterns {
            self.patterns.entry(pattern).or_default().and(node);
        }
        self.required.extend(&other.required);
        self.additional.and(&other.additional);
        self.unevaluated.and(&other.unevaluated);
        self
    }
}

/// A place that is too large, or refers to itself without end, to be judged.
#[derive(Debug)]
pub(super) struct TooComplex;

type Alternatives<'a> = Vec<Alternative<'a>>;

/// A whole schema, to which its references refer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Document<'a>(pub(super) &'a Value);

impl<'a> Document<'a> {
    /// The alternatives of a place.
    pub(super) fn alternatives(self, node: &Node<'a>) -> Result<Alternatives<'a>, TooComplex> {
        let mut all = anything();
        for schema in &node.0 {
            all = intersect(all, &self.of_schema(schema, 0)?)?;
        }
        for alternative in &mut all {
            if let Shape::Object(object) = &mut alternative.shape {
                object.additional.and(&object.unevaluated);
            }
        }
        Ok(one_for_both_booleans(all))
    }

    fn of_schema(self, schema: &'a Value, nesting: usize) -> Result<Alternatives<'a>, TooComplex> {
        if nesting > NESTING_MAX {
            return Err(TooComplex);
        }
        let Some(keywords) = schema.as_object() else {
            return match schema.as_bool() {
                Some(false) => Ok(Vec::new()),
                Some(true) | None => Ok(anything()),
            };
        };
        let mut all = own(keywords);
        if let Some(target) = keywords.get("$ref") {
            let target = target.as_str().and_then(|it| self.target(it));
            let target = target.ok_or(TooComplex)?;
            all = intersect(all, &self.of_schema(target, nesting + 1)?)?;
        }
        for part in list(keywords.get("allOf")) {
            all = intersect(all, &self.of_schema(part, nesting + 1)?)?;
        }
        for keyword in ["anyOf", "oneOf"] {
            let Some(choices) = keywords.get(keyword) else {
                continue;
            };
            let mut any = Vec::new();
            for choice in list(Some(choices)) {
                any.extend(self.of_schema(choice, nesting + 1)?);
                if any.len() > ALTERNATIVES_MAX {
                    return Err(TooComplex);
                }
            }
            all = intersect(all, &any)?;
        }
        Ok(all)
    }

    /// What a reference within the document refers to.
    fn target(self, reference: &str) -> Option<&'a Value> {
        self.0.pointer(reference.strip_prefix('#')?)
    }
}

fn anything<'a>() -> Alternatives<'a> {
    vec![Alternative::of(Shape::Any)]
}

/// All that is in one of the first and in one of the second.
fn intersect<'a>(
    first: Alternatives<'a>,
    second: &[Alternative<'a>],
) -> Result<Alternatives<'a>, TooComplex> {
    if first.len().saturating_mul(second.len()) > ALTERNATIVES_MAX {
        return Err(TooComplex);
    }
    let pairs = first
        .iter()
        .flat_map(|a| second.iter().filter_map(move |b| a.clone().and(b)));
    Ok(pairs.collect())
}

/// What the keywords of one schema say by themselves, without those that lead to others.
fn own(keywords: &Map<String, Value>) -> Alternatives<'_> {
    let mut all: Alternatives<'_> = match (keywords.get("const"), keywords.get("enum")) {
        (Some(only), _) => vec![constant(only)],
        (None, Some(values)) => list(Some(values)).map(constant).collect(),
        (None, None) => anything(),
    };
    let types = types(keywords);
    if !types.is_empty() {
        let shapes = types.into_iter().map(|it| shape(it, keywords));
        let typed: Vec<_> = shapes.map(Alternative::of).collect();
        let pairs = all
            .iter()
            .flat_map(|a| typed.iter().filter_map(move |b| a.clone().and(b)));
        all = pairs.collect();
    }
    let unjudged = keywords
        .iter()
        .filter(|(keyword, _)| !NOT_JUDGED_HERE.contains(&keyword.as_str()));
    for (keyword, value) in unjudged.filter(|(keyword, _)| !keyword.starts_with("x-")) {
        for alternative in &mut all {
            alternative.unjudged.insert(keyword, value);
        }
    }
    all
}

fn constant(value: &Value) -> Alternative<'_> {
    Alternative::of(match value {
        Value::Null => Shape::Null,
        Value::Bool(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::Array(_)
        | Value::Object(_) => Shape::Const(value),
    })
}

/// The types that a schema names; where it names none, those that its keywords are about.
fn types(keywords: &Map<String, Value>) -> Vec<&str> {
    /// Keywords by the type that they are about.
    const ABOUT: [(&str, &[&str]); 4] = [
        (
            "object",
            &[
                "properties",
                "required",
                "additionalProperties",
                "patternProperties",
                "unevaluatedProperties",
            ],
        ),
        ("array", &["items", "prefixItems", "minItems", "maxItems"]),
        ("string", &["minLength", "maxLength", "pattern"]),
        (
            "number",
            &["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"],
        ),
    ];
    if let Some(named) = keywords.get("type") {
        let several = list(Some(named)).filter_map(Value::as_str);
        return named.as_str().into_iter().chain(several).collect();
    }
    let is_there = |about: &&(&str, &[&str])| about.1.iter().any(|it| keywords.contains_key(*it));
    ABOUT.iter().filter(is_there).map(|about| about.0).collect()
}

fn shape<'a>(named: &str, keywords: &'a Map<String, Value>) -> Shape<'a> {
    match named {
        "null" => Shape::Null,
        "boolean" => Shape::Boolean,
        "integer" | "number" => Shape::Number(numbers(named == "integer", keywords)),
        "string" => Shape::Text(Text {
            lengths: Lengths::of(keywords, "minLength", "maxLength"),
            format: keywords.get("format").and_then(Value::as_str),
            pattern: keywords.get("pattern").and_then(Value::as_str),
        }),
        "array" => Shape::List(List {
            prefix: list(keywords.get("prefixItems")).map(Node::of).collect(),
            rest: node(keywords.get("items")),
            lengths: Lengths::of(keywords, "minItems", "maxItems"),
        }),
        "object" => Shape::Object(Object {
            properties: nodes(keywords.get("properties")),
            required: list(keywords.get("required"))
                .filter_map(Value::as_str)
                .collect(),
            patterns: nodes(keywords.get("patternProperties")),
            additional: node(keywords.get("additionalProperties")),
            unevaluated: node(keywords.get("unevaluatedProperties")),
        }),
        // No type of JSON; nothing is known of it.
        _ => Shape::Any,
    }
}

fn numbers(whole: bool, keywords: &Map<String, Value>) -> Numbers {
    let format = keywords.get("format").and_then(Value::as_str);
    let by_format = format.filter(|_| whole).map(Range::of_format);
    Numbers {
        whole,
        range: Range::of(keywords).and(by_format.unwrap_or_default()),
    }
}

/// A schema that may be left out, and says nothing if it is `true` or empty.
fn node(schema: Option<&Value>) -> Node<'_> {
    let says_nothing = |it: &&Value| {
        it.as_bool() == Some(true) || it.as_object().is_some_and(serde_json::Map::is_empty)
    };
    match schema.filter(|it| !says_nothing(it)) {
        None => Node::default(),
        Some(schema) if schema.as_bool() == Some(false) => Node::of(&NOTHING),
        Some(schema) => Node::of(schema),
    }
}

fn nodes(schemas: Option<&Value>) -> BTreeMap<&str, Node<'_>> {
    let schemas = schemas.and_then(Value::as_object).into_iter().flatten();
    schemas
        .map(|(name, schema)| (name.as_str(), node(Some(schema))))
        .collect()
}

fn list(values: Option<&Value>) -> impl Iterator<Item = &Value> {
    values.and_then(Value::as_array).into_iter().flatten()
}

/// `true` and `false`, each for itself, are a boolean.
fn one_for_both_booleans(mut all: Alternatives<'_>) -> Alternatives<'_> {
    let is = |it: &Alternative<'_>, value: bool| {
        it.unjudged.is_empty()
            && matches!(it.shape, Shape::Const(it) if it.as_bool() == Some(value))
    };
    let has = |value| all.iter().any(|it| is(it, value));
    if has(true) && has(false) {
        all.retain(|it| !is(it, true) && !is(it, false));
        all.push(Alternative::of(Shape::Boolean));
    }
    all
}
