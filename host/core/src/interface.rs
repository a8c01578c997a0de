//! What a deployment changes for those who call, and what it wants of the operator.

use std::collections::BTreeSet;
use std::fmt;

use crate::schema::{Change, Impact, Side, compare};
use crate::{Definition, Digest, ModuleInfo, Name, Role};

/// A name, and the module that it means now.
#[derive(Debug, Clone, Copy)]
pub struct Bound<'a> {
    /// What the name is for.
    pub role: Role,
    /// The name.
    pub name: &'a Name,
    /// The module.
    pub module: &'a ModuleInfo,
}

/// What modules to be deployed change of the interfaces that names have now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InterfaceDiff {
    /// One for each module to be deployed, in their order.
    pub modules: Vec<ModuleDiff>,
}

/// What one module changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModuleDiff {
    /// The module to be deployed.
    pub module: Digest,
    /// Its label.
    pub label: String,
    /// The modules that its names mean now, with their labels; itself is not among them.
    pub replaces: Vec<(Digest, String)>,
    /// Its definitions, workflows first, and those that the replaced modules keep.
    pub definitions: Vec<DefinitionDiff>,
    /// Interfaces of the outside that its activities can reach and could not before, without
    /// versions: `wasi:http/outgoing-handler`. Of a module that replaces none: all that it wants.
    pub gained: Vec<String>,
    /// Those that the replaced modules could reach, and it cannot.
    pub lost: Vec<String>,
    /// Whether nothing of the outside can be linked to its activities.
    pub contained: bool,
    /// Whether that held for all the modules that it replaces; `None` if it replaces none.
    pub was_contained: Option<bool>,
}

/// What changes of one name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DefinitionDiff {
    /// What the name is for.
    pub role: Role,
    /// The name.
    pub name: Name,
    /// What becomes of it.
    pub fate: Fate,
    /// What changes of its input and its output; nothing unless it is [`Fate::Replaced`].
    pub changes: Vec<Change>,
}

/// What becomes of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It means a module for the first time.
    Added,
    /// It means the new module instead of this one.
    Replaced {
        /// The module that it means now.
        from: Digest,
    },
    /// It means the new module already.
    Unmoved,
    /// The new module does not offer it: it goes on meaning this one, which loses others.
    Removed {
        /// The module that it means now, and then.
        stays_on: Digest,
    },
}

impl InterfaceDiff {
    /// Compares two modules, as if the names that the first offers meant it.
    #[must_use]
    pub fn between(
        from: &ModuleInfo,
        to: &ModuleInfo,
        reaches_outside: impl Fn(&str) -> bool,
    ) -> Self {
        let bound = from.offers().map(|(role, name)| Bound {
            role,
            name,
            module: from,
        });
        Self::of(&bound.collect::<Vec<_>>(), &[to], reaches_outside)
    }

    /// Compares the modules to be deployed with those that the names mean now. `reaches_outside`
    /// says whether an import leads out of the sandbox.
    #[must_use]
    pub fn of(
        bound: &[Bound<'_>],
        new: &[&ModuleInfo],
        reaches_outside: impl Fn(&str) -> bool,
    ) -> Self {
        let offered: BTreeSet<_> = new.iter().flat_map(|module| module.offers()).collect();
        let mut left = BTreeSet::new();
        let modules = new.iter().map(|module| {
            let replaced = replaced(bound, module);
            let mut definitions: Vec<_> = module
                .offers()
                .map(|(role, name)| definition(bound, module, role, name))
                .collect();
            let stays = bound.iter().filter(|it| {
                replaced.iter().any(|old| old.digest == it.module.digest)
                    && !offered.contains(&(it.role, it.name))
                    && left.insert((it.role, it.name))
            });
            definitions.extend(stays.map(|it| DefinitionDiff {
                role: it.role,
                name: it.name.clone(),
                fate: Fate::Removed {
                    stays_on: it.module.digest,
                },
                changes: Vec::new(),
            }));
            let (gained, lost) = capabilities(bound, module, &replaced, &reaches_outside);
            ModuleDiff {
                module: module.digest,
                label: module.label.clone(),
                definitions,
                gained,
                lost,
                contained: module.contained,
                was_contained: (!replaced.is_empty())
                    .then(|| replaced.iter().all(|old| old.contained)),
                replaces: replaced
                    .iter()
                    .map(|old| (old.digest, old.label.clone()))
                    .collect(),
            }
        });
        Self {
            modules: modules.collect(),
        }
    }

    /// Every change of an input or an output, with the definition that it is of.
    pub fn changes(&self) -> impl Iterator<Item = (&DefinitionDiff, &Change)> {
        let definitions = self.modules.iter().flat_map(|it| &it.definitions);
        definitions.flat_map(|it| it.changes.iter().map(move |change| (it, change)))
    }

    /// The changes that old callers may not be able to meet.
    pub fn breaks(&self) -> impl Iterator<Item = (&DefinitionDiff, &Change)> {
        self.changes()
            .filter(|(_, change)| change.impact == Impact::Breaks)
    }

    /// The modules that can reach what was not reached before, by the names that they take over or
    /// add; what they want of the operator is in [`ModuleDiff::gained`].
    pub fn gains(&self) -> impl Iterator<Item = &ModuleDiff> {
        self.modules.iter().filter(|it| !it.gained.is_empty())
    }
}

impl InterfaceDiff {
    /// Why the operator has to say a word before this is deployed: `force` is the word for what
    /// callers of today cannot meet, `allow_capabilities` for what could not be reached before. A
    /// module that takes nothing over needs no word: what it may reach it is given when it is
    /// hosted.
    #[must_use]
    pub fn refusal(&self, force: bool, allow_capabilities: bool) -> Option<Refusal> {
        let gains = || self.gains().any(|module| !module.replaces.is_empty());
        if !force && self.breaks().next().is_some() {
            return Some(Refusal::Breaks);
        }
        (!allow_capabilities && gains()).then_some(Refusal::Gains)
    }
}

/// What is not deployed without a word of the operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Callers of today could not meet it.
    Breaks,
    /// It could reach what was not reached before.
    Gains,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Breaks => {
                "callers of today could not meet it any more; deploy it under other names, or force it"
            }
            Self::Gains => {
                "it wants to reach more of the outside than what it takes over from; if it may, allow its capabilities"
            }
        })
    }
}

fn bound_to<'a>(bound: &[Bound<'a>], role: Role, name: &Name) -> Option<&'a ModuleInfo> {
    let mut bound = bound.iter();
    let found = bound.find(|it| it.role == role && it.name == name);
    found.map(|it| it.module)
}

/// The modules that names of this one mean now, each once, in the order of its names.
fn replaced<'a>(bound: &[Bound<'a>], module: &ModuleInfo) -> Vec<&'a ModuleInfo> {
    let mut seen = BTreeSet::from([module.digest]);
    let old = module.offers();
    old.filter_map(|(role, name)| bound_to(bound, role, name))
        .filter(|old| seen.insert(old.digest))
        .collect()
}

fn definition(bound: &[Bound<'_>], module: &ModuleInfo, role: Role, name: &Name) -> DefinitionDiff {
    let old = bound_to(bound, role, name);
    let (fate, changes) = match old {
        None => (Fate::Added, Vec::new()),
        Some(old) if old.digest == module.digest => (Fate::Unmoved, Vec::new()),
        Some(old) => {
            let sides = find(old, role, name).zip(find(module, role, name));
            let changes = sides.map(|(old, new)| changes(old, new));
            let from = old.digest;
            (Fate::Replaced { from }, changes.unwrap_or_default())
        }
    };
    DefinitionDiff {
        role,
        name: name.clone(),
        fate,
        changes,
    }
}

fn find<'a>(module: &'a ModuleInfo, role: Role, name: &Name) -> Option<&'a Definition> {
    let definitions = match role {
        Role::Workflow => &module.workflows,
        Role::Activity => &module.activities,
    };
    definitions.iter().find(|it| it.name == *name)
}

fn changes(old: &Definition, new: &Definition) -> Vec<Change> {
    let input = (old.input_schema.as_ref(), new.input_schema.as_ref());
    let output = (old.output_schema.as_ref(), new.output_schema.as_ref());
    let mut changes = compare(Side::Input, input.0, input.1);
    changes.extend(compare(Side::Output, output.0, output.1));
    changes
}

/// What the activities of a module gain and lose of the outside. One that is new gains what no
/// module had that this one replaces.
fn capabilities(
    bound: &[Bound<'_>],
    module: &ModuleInfo,
    replaced: &[&ModuleInfo],
    reaches_outside: &impl Fn(&str) -> bool,
) -> (Vec<String>, Vec<String>) {
    let wants = |module: &ModuleInfo| -> BTreeSet<String> {
        let outside = module.imports.iter().filter(|it| reaches_outside(it));
        outside.map(|it| without_version(it).to_owned()).collect()
    };
    let wanted = wants(module);
    let had: BTreeSet<_> = replaced.iter().flat_map(|old| wants(old)).collect();
    let mut gained = BTreeSet::new();
    for definition in &module.activities {
        let before = match bound_to(bound, Role::Activity, &definition.name) {
            Some(old) => wants(old),
            None => had.clone(),
        };
        gained.extend(wanted.difference(&before).cloned());
    }
    let lost = had.difference(&wanted).cloned();
    (gained.into_iter().collect(), lost.collect())
}

/// An interface is the same capability in each of its versions.
fn without_version(import: &str) -> &str {
    import.split_once('@').map_or(import, |(name, _)| name)
}

impl fmt::Display for InterfaceDiff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, module) in self.modules.iter().enumerate() {
            if number > 0 {
                f.write_str("\n")?;
            }
            module.fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for ModuleDiff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.label, self.module)?;
        for (number, (digest, label)) in self.replaces.iter().enumerate() {
            let word = if number == 0 { ", in place of" } else { " and" };
            write!(f, "{word} {label} ({digest})")?;
        }
        for definition in &self.definitions {
            write!(f, "\n  {definition}")?;
        }
        for gained in &self.gained {
            write!(f, "\n  wants     {gained}: it could not be reached before")?;
        }
        for lost in &self.lost {
            write!(f, "\n  gives up  {lost}")?;
        }
        match (self.was_contained, self.contained) {
            (Some(true), false) => f.write_str(
                "\n  its activities are contained no more: an attempt may have effects outside, \
                 and may run more than once",
            ),
            (Some(false), true) => f.write_str(
                "\n  its activities are contained now: an attempt takes effect exactly once",
            ),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for DefinitionDiff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<8}  {}", self.role.as_str(), self.name)?;
        match self.fate {
            Fate::Added => f.write_str("  new"),
            Fate::Unmoved => f.write_str("  on this module already"),
            Fate::Removed { stays_on } => write!(f, "  not offered: it stays on {stays_on}"),
            Fate::Replaced { .. } if self.changes.is_empty() => f.write_str("  same interface"),
            Fate::Replaced { .. } => {
                for change in &self.changes {
                    write!(f, "\n    {:<7}  {change}", change.impact.as_str())?;
                }
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::Timestamp;

    const HTTP: &str = "wasi:http/outgoing-handler";

    fn module(
        label: &str,
        workflows: &[&str],
        activities: &[&str],
        imports: &[&str],
    ) -> ModuleInfo {
        let definitions = |names: &[&str]| {
            let one = |name: &&str| Definition {
                name: name.parse().unwrap(),
                description: String::new(),
                input_schema: Some(json!({ "type": "string" })),
                output_schema: None,
            };
            names.iter().map(one).collect()
        };
        ModuleInfo {
            digest: Digest::of(label.as_bytes()),
            bytes: 1,
            label: label.to_owned(),
            deployed_at: Timestamp(0),
            deployed_by: None,
            component: Digest::of(label.as_bytes()),
            encoder: None,
            contract: "0.1.0".to_owned(),
            imports: imports.iter().map(|it| (*it).to_owned()).collect(),
            contained: imports.is_empty(),
            deployed_with: Vec::new(),
            workflows: definitions(workflows),
            activities: definitions(activities),
        }
    }

    fn bound(modules: &[ModuleInfo]) -> Vec<Bound<'_>> {
        let all = modules.iter().flat_map(|module| {
            let offers = module.offers();
            offers.map(move |(role, name)| Bound { role, name, module })
        });
        all.collect()
    }

    fn diff(old: &[ModuleInfo], new: &[&ModuleInfo]) -> InterfaceDiff {
        InterfaceDiff::of(&bound(old), new, |import| import.starts_with("wasi:http/"))
    }

    #[test]
    fn the_operator_is_asked_for_a_word_where_something_is_taken_over() {
        let http = "wasi:http/outgoing-handler@0.2.0";
        let plain = module("plain", &[], &["Pay"], &[]);
        let reaching = module("reaching", &[], &["Pay"], &[http]);
        let mut other = plain.clone();
        other.digest = Digest::of(b"other");
        other.activities[0].input_schema = Some(json!({ "type": "integer" }));
        for (old, new, force, allow, refused) in [
            (&plain, &plain, false, false, None),
            (&plain, &reaching, false, false, Some(Refusal::Gains)),
            (&plain, &reaching, true, false, Some(Refusal::Gains)),
            (&plain, &reaching, false, true, None),
            (&reaching, &plain, false, false, None),
            (&plain, &other, false, true, Some(Refusal::Breaks)),
            (&plain, &other, true, false, None),
        ] {
            let diff = diff(std::slice::from_ref(old), &[new]);
            assert_eq!(
                diff.refusal(force, allow),
                refused,
                "{} {}",
                old.label,
                new.label
            );
        }
        let first = diff(&[], &[&reaching]);
        assert_eq!(first.refusal(false, false), None);
    }

    fn fates(module: &ModuleDiff) -> Vec<(String, Fate)> {
        let fates = module.definitions.iter();
        fates.map(|it| (it.name.to_string(), it.fate)).collect()
    }

    #[test]
    fn each_name_is_added_replaced_unmoved_or_stays_behind() {
        let old = [
            module("a", &["order"], &["pay", "notify"], &[]),
            module("b", &[], &["pack"], &[]),
        ];
        let new = module("new", &["order", "refund"], &["pay"], &[]);
        let shown = diff(&old, &[&new, &old[1]]);
        let (a, b) = (old[0].digest, old[1].digest);
        assert_eq!(
            fates(&shown.modules[0]),
            [
                ("order".to_owned(), Fate::Replaced { from: a }),
                ("refund".to_owned(), Fate::Added),
                ("pay".to_owned(), Fate::Replaced { from: a }),
                ("notify".to_owned(), Fate::Removed { stays_on: a }),
            ]
        );
        assert_eq!(shown.modules[0].replaces, [(a, "a".to_owned())]);
        assert_eq!(
            fates(&shown.modules[1]),
            [("pack".to_owned(), Fate::Unmoved)]
        );
        assert_eq!(shown.modules[1].module, b);
        assert_eq!(shown.breaks().count(), 0);
    }

    #[test]
    fn a_change_of_an_input_is_told_with_its_definition() {
        let old = [module("a", &["order"], &[], &[])];
        let mut new = module("new", &["order"], &[], &[]);
        new.workflows[0].input_schema = Some(json!({ "type": "null" }));
        new.workflows[0].output_schema = Some(json!(true));
        let shown = diff(&old, &[&new]);
        let breaks: Vec<_> = shown.breaks().collect();
        assert_eq!(breaks.len(), 1);
        assert_eq!(breaks[0].0.name.as_str(), "order");
        assert_eq!(
            shown.to_string(),
            format!(
                "new ({}), in place of a ({})\n  workflow  order\
                 \n    breaks   input cannot be a text any more\
                 \n    fits     input can be null now\
                 \n    unknown  output has a schema now, so that nothing can be compared yet",
                new.digest, old[0].digest
            )
        );
    }

    #[test]
    fn what_can_be_reached_is_compared_without_versions() {
        let http = |version: &str| format!("{HTTP}@{version}");
        let plain = module("plain", &[], &["get", "log"], &["wfhost:durable/log@0.1.0"]);
        let old = module("old", &[], &["get"], &[&http("0.2.4")]);
        let new = module("new", &[], &["get"], &[&http("0.2.6")]);
        let both = module("both", &[], &["get", "log"], &[&http("0.2.6")]);

        let gained = |old: &[ModuleInfo], new: &ModuleInfo| {
            let shown = diff(old, &[new]);
            (
                shown.modules[0].gained.clone(),
                shown.modules[0].lost.clone(),
            )
        };
        let http = || vec![HTTP.to_owned()];
        assert_eq!(gained(std::slice::from_ref(&old), &new), (vec![], vec![]));
        assert_eq!(gained(&[], &new), (http(), vec![]));
        assert_eq!(gained(std::slice::from_ref(&plain), &new), (http(), vec![]));
        assert_eq!(gained(std::slice::from_ref(&new), &plain), (vec![], http()));
        // A new activity of a module that could reach it before.
        assert_eq!(gained(std::slice::from_ref(&old), &both), (vec![], vec![]));
        // One that moves to a module that can.
        let apart = [old.clone(), module("logs", &[], &["log"], &[])];
        assert_eq!(gained(&apart, &both), (http(), vec![]));
    }

    #[test]
    fn it_is_told_when_activities_are_contained_no_more() {
        let old = [module("a", &[], &["get"], &[])];
        let new = module("new", &[], &["get"], &[HTTP]);
        let shown = diff(&old, &[&new]);
        assert_eq!(shown.gains().count(), 1);
        let text = shown.to_string();
        assert!(text.contains(&format!("wants     {HTTP}")), "{text}");
        assert!(text.contains("contained no more"), "{text}");
        let text = diff(&[new], &[&old[0]]).to_string();
        assert!(text.contains("contained now"), "{text}");
    }
}
