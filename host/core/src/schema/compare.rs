//! Walks two schemas side by side, and says what is new and what it is for old callers.
//!
//! Every value that the writer's schema allows must be allowed by the reader's. Words are always
//! about the new schema against the old one, whichever of them writes.
//!
//! Places are looked at level by level, each pair of them once: so a type that stands in many
//! places, or in itself, is told of where it stands first.

use std::collections::{BTreeSet, VecDeque};

use serde_json::Value;

use super::range::Number;
use super::shape::{Alternative, Document, List, Node, Numbers, Object, Shape, Tag, Text};
use super::{Change, Impact, Side};

/// Most places that one comparison looks at. Types of real workflows have hundreds.
const STEPS_MAX: usize = 20_000;

/// How many untagged enums may lie in each other before it is guessed which variants belong together.
const TRIALS_MAX: usize = 8;

const TOO_COMPLEX: &str = "is too complex to be judged";

/// A pair of places, to know it again.
type Pair = (Vec<usize>, Vec<usize>);

/// One comparison.
pub(super) struct Comparison<'a> {
    side: Side,
    writer: Document<'a>,
    reader: Document<'a>,
    changes: Vec<Change>,
    /// Pairs that are still to be looked at, with their path.
    queue: VecDeque<(String, Node<'a>, Node<'a>)>,
    /// Pairs that are, or were, in the queue.
    seen: BTreeSet<Pair>,
    steps: usize,
    /// Trials that lie in each other just now.
    trials: usize,
}

impl<'a> Comparison<'a> {
    pub(super) fn of(side: Side, old: &'a Value, new: &'a Value) -> Vec<Change> {
        let (writer, reader) = match side {
            Side::Input => (old, new),
            Side::Output => (new, old),
        };
        let mut comparison = Self {
            side,
            writer: Document(writer),
            reader: Document(reader),
            changes: Vec::new(),
            queue: VecDeque::new(),
            seen: BTreeSet::new(),
            steps: 0,
            trials: 0,
        };
        comparison.nodes(side.as_str(), &Node::of(writer), &Node::of(reader));
        comparison.run();
        let mut changes = comparison.changes;
        changes.sort_by(|a, b| a.path.cmp(&b.path));
        changes
    }

    fn note(&mut self, impact: Impact, path: &str, what: impl Into<String>) {
        self.changes.push(Change {
            path: path.to_owned(),
            what: what.into(),
            impact,
        });
    }

    /// What one side has and the other has not: for callers it is new, or gone.
    fn note_only(&mut self, impact: Impact, path: &str, in_new: bool, what: &str) {
        let what = match in_new {
            true => format!("can be {what} now"),
            false => format!("cannot be {what} any more"),
        };
        self.note(impact, path, what);
    }

    /// Whether what only the writer has is in the new schema.
    fn writer_is_new(&self) -> bool {
        self.side == Side::Output
    }

    /// The writer's and the reader's, as the old and the new.
    fn old_and_new<T>(&self, writer: T, reader: T) -> (T, T) {
        match self.side {
            Side::Input => (writer, reader),
            Side::Output => (reader, writer),
        }
    }

    /// Has a pair of places looked at, if it is not known yet.
    fn nodes(&mut self, path: &str, writer: &Node<'a>, reader: &Node<'a>) {
        if self.seen.insert((writer.key(), reader.key())) {
            self.queue
                .push_back((path.to_owned(), writer.clone(), reader.clone()));
        }
    }

    fn run(&mut self) {
        while let Some((path, writer, reader)) = self.queue.pop_front() {
            self.steps += 1;
            if self.steps > STEPS_MAX {
                self.queue.clear();
                return self.note(Impact::Unknown, &path, TOO_COMPLEX);
            }
            let sides = (
                self.writer.alternatives(&writer),
                self.reader.alternatives(&reader),
            );
            match sides {
                (Ok(writer), Ok(reader)) => self.alternatives(&path, &writer, &reader),
                (Err(_), _) | (_, Err(_)) => self.note(Impact::Unknown, &path, TOO_COMPLEX),
            }
        }
    }

    fn alternatives(&mut self, path: &str, writer: &[Alternative<'a>], reader: &[Alternative<'a>]) {
        if self.anything(path, writer, reader) {
            return;
        }
        let several = writer.len() > 1 || reader.len() > 1;
        let mut met = vec![false; reader.len()];
        for written in writer {
            if let Shape::Const(value) = &written.shape
                && self.constant(path, written, value, reader, &mut met)
            {
                continue;
            }
            let tag = written.tag().filter(|_| several);
            match self.partner(path, written, tag.as_ref(), reader) {
                Some(at) => {
                    met[at] = true;
                    self.pair(&variant_path(path, tag.as_ref()), written, &reader[at]);
                }
                None => {
                    let (in_new, what) = (self.writer_is_new(), written.describe());
                    self.note_only(Impact::Breaks, path, in_new, &what);
                }
            }
        }
        for (read, _) in reader.iter().zip(met).filter(|(_, met)| !met) {
            let (in_new, what) = (!self.writer_is_new(), read.describe());
            self.note_only(Impact::Fits, path, in_new, &what);
        }
    }

    /// Compares where one side takes anything at all. `false`: neither does.
    fn anything(
        &mut self,
        path: &str,
        writer: &[Alternative<'a>],
        reader: &[Alternative<'a>],
    ) -> bool {
        fn any<'b, 'a>(all: &'b [Alternative<'a>]) -> Option<&'b Alternative<'a>> {
            all.iter().find(|it| matches!(it.shape, Shape::Any))
        }
        let impact = match (any(writer), any(reader)) {
            (None, None) => return false,
            (Some(written), Some(read)) => {
                self.unjudged(path, written, read);
                return true;
            }
            (None, Some(read)) => {
                for written in writer {
                    self.unjudged(path, written, read);
                }
                Impact::Fits
            }
            (Some(_), None) => Impact::Breaks,
        };
        let (old, new) = self.old_and_new(writer, reader);
        let what = match any(new) {
            Some(_) => format!("can be anything now, not only {}", described(old)),
            None => format!("can only be {} now, not anything", described(new)),
        };
        self.note(impact, path, what);
        true
    }

    /// Finds who reads one certain value. `false`: nobody does.
    fn constant(
        &mut self,
        path: &str,
        written: &Alternative<'a>,
        value: &Value,
        reader: &[Alternative<'a>],
        met: &mut [bool],
    ) -> bool {
        let same =
            |it: &Alternative<'a>| matches!(&it.shape, Shape::Const(other) if *other == value);
        if let Some(at) = reader.iter().position(same) {
            met[at] = true;
            self.unjudged(path, written, &reader[at]);
            return true;
        }
        // Only those that take more than this value: they stay new, or gone.
        let answers: Vec<_> = reader.iter().map(|it| accepts(it, value)).collect();
        if answers.contains(&Some(true)) {
            return true;
        }
        let is_unknown = answers.contains(&None);
        if is_unknown {
            let what = format!("may not take `{value}`: that is not judged");
            self.note(Impact::Unknown, path, what);
        }
        is_unknown
    }

    /// The reader's alternative that a writer's one is to be compared with. Variants are found by
    /// their tags.
    fn partner(
        &mut self,
        path: &str,
        written: &Alternative<'a>,
        tag: Option<&Tag<'a>>,
        reader: &[Alternative<'a>],
    ) -> Option<usize> {
        let fits = |read: &Alternative<'a>| {
            same_kind(&written.shape, &read.shape)
                && match (tag, read.tag()) {
                    (Some(written), Some(read)) => same_variant(written, &read),
                    (Some(_), None) | (None, _) => true,
                }
        };
        let candidates = reader.iter().enumerate().filter(|(_, read)| fits(read));
        let candidates: Vec<usize> = candidates.map(|(at, _)| at).collect();
        if let [only] = candidates[..] {
            return Some(only);
        }
        // Untagged: the one that it fits best.
        let weights = candidates.into_iter().map(|at| {
            let weight = self.try_pair(path, written, &reader[at]);
            (weight, at)
        });
        let mut weights: Vec<_> = weights.collect();
        weights.sort();
        weights.first().map(|(_, at)| *at)
    }

    /// How badly a pair fits: breaks, what is unknown, all changes.
    fn try_pair(
        &mut self,
        path: &str,
        written: &Alternative<'a>,
        read: &Alternative<'a>,
    ) -> (usize, usize, usize) {
        if self.trials == TRIALS_MAX {
            return (0, 1, 1);
        }
        let changes = std::mem::take(&mut self.changes);
        let queue = std::mem::take(&mut self.queue);
        let seen = self.seen.clone();
        self.trials += 1;
        self.pair(path, written, read);
        self.run();
        self.trials -= 1;
        (self.queue, self.seen) = (queue, seen);
        let tried = std::mem::replace(&mut self.changes, changes);
        let count = |impact| tried.iter().filter(|it| it.impact == impact).count();
        (count(Impact::Breaks), count(Impact::Unknown), tried.len())
    }

    fn pair(&mut self, path: &str, written: &Alternative<'a>, read: &Alternative<'a>) {
        self.unjudged(path, written, read);
        match (&written.shape, &read.shape) {
            (Shape::Number(written), Shape::Number(read)) => self.numbers(path, *written, *read),
            (Shape::Text(written), Shape::Text(read)) => self.texts(path, written, read),
            (Shape::List(written), Shape::List(read)) => self.lists(path, written, read),
            (Shape::Object(written), Shape::Object(read)) => self.objects(path, written, read),
            _ => {}
        }
    }

    /// Keywords that are not judged must be the same.
    fn unjudged(&mut self, path: &str, written: &Alternative<'a>, read: &Alternative<'a>) {
        for (keyword, value) in &read.unjudged {
            if written.unjudged.get(keyword) != Some(value) {
                let what = format!("has another `{keyword}`, which is not judged");
                self.note(Impact::Unknown, path, what);
            }
        }
    }

    fn numbers(&mut self, path: &str, written: Numbers, read: Numbers) {
        if written.whole != read.whole {
            let impact = match read.whole {
                true => Impact::Breaks,
                false => Impact::Fits,
            };
            let (_, new) = self.old_and_new(written.whole, read.whole);
            let what = match new {
                true => "is an integer now, not any number",
                false => "is any number now, not an integer",
            };
            self.note(impact, path, what);
        }
        if written.range != read.range {
            let impact = within(written.range.within(read.range));
            let (old, new) = self.old_and_new(written.range, read.range);
            self.note(impact, path, format!("is {new} now, was {old}"));
        }
    }

    fn texts(&mut self, path: &str, written: &Text<'a>, read: &Text<'a>) {
        if written.lengths != read.lengths {
            let impact = within(written.lengths.within(read.lengths));
            let (old, new) = self.old_and_new(written.lengths, read.lengths);
            self.note(impact, path, format!("has {new} characters now, had {old}"));
        }
        if written.format != read.format {
            let impact = match (written.format, read.format) {
                (_, None) => Impact::Fits,
                (None, Some(_)) => Impact::Breaks,
                (Some(_), Some(_)) => Impact::Unknown,
            };
            let (old, new) = self.old_and_new(written.format, read.format);
            let named = |it: Option<&str>| it.map_or("any text".into(), |it| format!("`{it}`"));
            let what = format!("is {} now, was {}", named(new), named(old));
            self.note(impact, path, what);
        }
        if written.pattern != read.pattern {
            let impact = match read.pattern {
                None => Impact::Fits,
                Some(_) => Impact::Unknown,
            };
            let (old, new) = self.old_and_new(written.pattern, read.pattern);
            let named = |it: Option<&str>| it.map_or("none".into(), |it| format!("`{it}`"));
            let what = format!("has the pattern {} now, had {}", named(new), named(old));
            self.note(impact, path, what);
        }
    }

    fn lists(&mut self, path: &str, written: &List<'a>, read: &List<'a>) {
        if written.lengths != read.lengths {
            let impact = within(written.lengths.within(read.lengths));
            let (old, new) = self.old_and_new(written.lengths, read.lengths);
            self.note(impact, path, format!("has {new} items now, had {old}"));
        }
        // Places that the writer never fills do not matter.
        let filled = |place: usize| written.lengths.most.is_none_or(|most| most > place as u64);
        let places = written.places().max(read.places());
        for place in (0..places).filter(|place| filled(*place)) {
            let path = format!("{path}[{place}]");
            self.nodes(&path, written.at(place), read.at(place));
        }
        if filled(places) {
            self.nodes(&format!("{path}[]"), &written.rest, &read.rest);
        }
    }

    fn objects(&mut self, path: &str, written: &Object<'a>, read: &Object<'a>) {
        for (name, node) in &read.properties {
            let path = property_path(path, name);
            let (always, needed) = (
                written.required.contains(name),
                read.required.contains(name),
            );
            match written.properties.get(name) {
                Some(given) => {
                    self.presence(&path, always, needed, node);
                    self.nodes(&path, given, node);
                }
                None => self.not_named(&path, written, node, needed),
            }
        }
        // Names that are required and not described.
        let bare = |name: &&&str| {
            !read.properties.contains_key(**name) && !written.required.contains(**name)
        };
        let bare: Vec<_> = read.required.iter().filter(bare).copied().collect();
        for name in bare {
            self.presence(&property_path(path, name), false, true, &Node::default());
        }
        for (name, node) in &written.properties {
            if !read.properties.contains_key(name) {
                self.not_read(&property_path(path, name), node, read);
            }
        }
        self.patterns(path, written, read);
        self.additional(path, written, read);
    }

    /// Whether a property that both know may be left out.
    fn presence(&mut self, path: &str, always: bool, needed: bool, read: &Node<'a>) {
        let what = match (always, needed) {
            (true, true) | (false, false) => return,
            (false, true) => match self.side {
                Side::Input => "is required now",
                Side::Output => "may be left out now",
            },
            (true, false) => match self.side {
                Side::Input => "may be left out now",
                Side::Output => "is always there now",
            },
        };
        let impact = match needed {
            true => self.left_out(read),
            false => Impact::Fits,
        };
        self.note(impact, path, what);
    }

    /// What it is for a reader that something it requires is left out. Schemas of outputs require
    /// whatever serde writes; one who reads by serde may do without what can be null or has a
    /// default.
    fn left_out(&self, read: &Node<'a>) -> Impact {
        let takes_null = || {
            let alternatives = self.reader.alternatives(read);
            alternatives.is_ok_and(|all| {
                all.iter()
                    .any(|it| matches!(it.shape, Shape::Null | Shape::Any))
            })
        };
        match self.side {
            Side::Output if read.has_default() || takes_null() => Impact::Unknown,
            Side::Input | Side::Output => Impact::Breaks,
        }
    }

    /// The reader names a property that the writer does not.
    fn not_named(&mut self, path: &str, written: &Object<'a>, node: &Node<'a>, needed: bool) {
        let is_map = !written.additional.is_open() && !written.additional.is_closed();
        if is_map {
            self.nodes(path, &written.additional, node);
        }
        let what = match (self.side, needed) {
            (Side::Input, true) => "is new, and required",
            (Side::Input, false) => "is new, and may be left out",
            (Side::Output, _) => "is gone",
        };
        let impact = match needed {
            true => self.left_out(node),
            false => Impact::Fits,
        };
        self.note(impact, path, what);
    }

    /// The writer names a property that the reader does not.
    fn not_read(&mut self, path: &str, node: &Node<'a>, read: &Object<'a>) {
        if !read.patterns.is_empty() {
            let what = "may be one of those whose names fit a pattern: that is not judged";
            return self.note(Impact::Unknown, path, what);
        }
        if read.additional.is_closed() {
            let what = match self.side {
                Side::Input => "is gone, and refused as unknown",
                Side::Output => "is new, and old callers refuse what is unknown",
            };
            return self.note(Impact::Breaks, path, what);
        }
        if read.additional.is_open() {
            let what = match self.side {
                Side::Input => "is gone: it is ignored",
                Side::Output => "is new: old callers ignore it",
            };
            return self.note(Impact::Fits, path, what);
        }
        self.nodes(path, node, &read.additional);
    }

    fn patterns(&mut self, path: &str, written: &Object<'a>, read: &Object<'a>) {
        let same = written.patterns.keys().eq(read.patterns.keys());
        if same {
            for (pattern, node) in &written.patterns {
                let path = format!("{path}.*");
                self.nodes(&path, node, &read.patterns[pattern]);
            }
        } else if !read.is_free() {
            let what = "has other patterns for the names of its properties: that is not judged";
            self.note(Impact::Unknown, path, what);
        }
    }

    /// All properties that are not named.
    fn additional(&mut self, path: &str, written: &Object<'a>, read: &Object<'a>) {
        let (from, to) = (&written.additional, &read.additional);
        if to.is_open() || from.is_closed() {
            let opened = to.is_open() && from.is_closed() && self.side == Side::Input;
            if opened {
                self.note(Impact::Fits, path, "ignores unknown properties now");
            }
            return;
        }
        let path = format!("{path}.*");
        if !from.is_open() {
            if to.is_closed() {
                return self.note(Impact::Breaks, &path, self.refused());
            }
            return self.nodes(&path, from, to);
        }
        // A struct writes what it names, and serde's ignore all else.
        if written.is_free() {
            if to.is_closed() {
                return self.note(Impact::Breaks, &path, self.refused());
            }
            return self.nodes(&path, from, to);
        }
        if to.is_closed() && self.side == Side::Input {
            self.note(
                Impact::Unknown,
                &path,
                "is refused now, where it is not known",
            );
        }
    }

    fn refused(&self) -> &'static str {
        match self.side {
            Side::Input => "is refused now",
            Side::Output => "can be anything now, and old callers refuse what is unknown",
        }
    }
}

fn within(is_within: bool) -> Impact {
    match is_within {
        true => Impact::Fits,
        false => Impact::Breaks,
    }
}

fn property_path(path: &str, name: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
    if !name.is_empty() && name.chars().all(plain) {
        return format!("{path}.{name}");
    }
    format!("{path}[{}]", Value::from(name))
}

/// The path into one of several variants.
fn variant_path(path: &str, tag: Option<&Tag<'_>>) -> String {
    match tag {
        Some(tag) => format!("{path}({})", tag.name()),
        None => path.to_owned(),
    }
}

fn same_kind(written: &Shape<'_>, read: &Shape<'_>) -> bool {
    matches!(
        (written, read),
        (Shape::Null, Shape::Null)
            | (Shape::Boolean, Shape::Boolean)
            | (Shape::Number(_), Shape::Number(_))
            | (Shape::Text(_), Shape::Text(_))
            | (Shape::List(_), Shape::List(_))
            | (Shape::Object(_), Shape::Object(_))
    )
}

fn described(all: &[Alternative<'_>]) -> String {
    let words: Vec<_> = all.iter().map(Alternative::describe).collect();
    match words.is_empty() {
        true => "nothing".to_owned(),
        false => words.join(" or "),
    }
}

fn same_variant(written: &Tag<'_>, read: &Tag<'_>) -> bool {
    match (written, read) {
        (Tag::Inside(written), Tag::Inside(read)) => {
            let mut shared = written
                .iter()
                .filter_map(|(name, tag)| Some(*tag == *read.get(name)?))
                .peekable();
            shared.peek().is_none() || shared.all(|same| same)
        }
        (Tag::Outside(written), Tag::Outside(read)) => written == read,
        (Tag::Inside(_), Tag::Outside(_)) | (Tag::Outside(_), Tag::Inside(_)) => true,
    }
}

/// Whether an alternative takes this one value; `None` if that is not judged.
fn accepts(read: &Alternative<'_>, value: &Value) -> Option<bool> {
    let accepted = match &read.shape {
        Shape::Any => Some(true),
        Shape::Null => Some(value.is_null()),
        Shape::Boolean => Some(value.is_boolean()),
        Shape::Const(other) => Some(*other == value),
        Shape::Number(numbers) => Some(Number::of(value).is_some_and(|number| {
            (number.is_whole() || !numbers.whole) && numbers.range.holds(number)
        })),
        Shape::Text(text) => match value.as_str() {
            None => Some(false),
            Some(it) if !text.lengths.holds(it.chars().count() as u64) => Some(false),
            Some(_) => (text.format.is_none() && text.pattern.is_none()).then_some(true),
        },
        Shape::List(_) => (!value.is_array()).then_some(false),
        Shape::Object(_) => (!value.is_object()).then_some(false),
    };
    match accepted {
        Some(true) if !read.unjudged.is_empty() => None,
        accepted => accepted,
    }
}
