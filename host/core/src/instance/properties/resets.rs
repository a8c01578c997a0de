//! A reset puts an instance back to where it stood, and loses nothing that came from outside.

use super::super::Instance;
use super::in_every_story;
use super::reruns::{fold, open_tasks, turns_of};
use super::world::Story;
use crate::record::{Command, Happening, Record};
use crate::reset::{Cut, Parted};
use crate::{RunId, TaskId, Timestamp};

/// A story up to a moment at which its instance lives, and the instance.
struct Living<'a> {
    /// The records of its generation.
    records: &'a [Record],
    stands: &'a Instance,
}

/// Looks at each reset that can be made of the generation in which a story ends: at the instance
/// before, at how it stood before the turn, and at what the reset makes of it.
fn in_every_reset(holds: impl Fn(&Living<'_>, &Instance, Parted)) {
    in_every_story(|story| {
        let Some(living) = living(story) else {
            return;
        };
        let from = living.stands.generation_from() as usize;
        for (index, record) in living.records.iter().enumerate() {
            if let Record::Turn(_) = record {
                let before = &story.stood[from + index - 1];
                let parted = cut(living.records, before.turns() + 1);
                holds(&living, before, parted);
            }
        }
    });
}

fn living(story: &Story) -> Option<Living<'_>> {
    let lives = |it: &Instance| !it.status().has_ended();
    let last = story.stood.iter().rposition(lives)?;
    let stands = &story.stood[last];
    Some(Living {
        records: &story.history[stands.generation_from() as usize..=last],
        stands,
    })
}

fn cut(records: &[Record], turn: u64) -> Parted {
    let Record::Started(original) = &records[0] else {
        panic!("it begins with {:?}", records[0]);
    };
    let mut cut = Cut::new(original.as_ref().clone(), turn);
    records[1..].iter().cloned().for_each(|it| cut.take(it));
    let parted = cut.part(RunId(77), 9, Timestamp(9_000));
    parted.expect("what is kept can be applied")
}

fn all_records(parted: &Parted) -> Vec<Record> {
    let start = Record::Started(Box::new(parted.started.clone()));
    [start].into_iter().chain(parted.records.clone()).collect()
}

#[test]
fn what_is_left_is_a_history_and_its_turns_are_those_before() {
    in_every_reset(|living, before, parted| {
        let records = all_records(&parted);
        assert_eq!(fold(&records), parted.instance);
        let (kept, all) = (turns_of(&records), turns_of(living.records));
        assert_eq!(kept, all[..kept.len()]);
        assert_eq!(parted.instance.turns(), before.turns());
        assert_eq!(parted.lost.turns as usize, all.len() - kept.len());
    });
}

#[test]
fn it_stays_the_same_instance_with_another_run() {
    in_every_reset(|living, before, parted| {
        let is = |it: &Instance| {
            let started = it.started();
            (
                (started.id.clone(), started.parent.clone()),
                (
                    started.tags.clone(),
                    started.created_at,
                    started.key.clone(),
                ),
                (started.generation, it.first_input().clone()),
                (it.suspended().cloned(), it.keys.clone()),
                (it.updates(), it.cancel_requested()),
            )
        };
        assert_eq!(is(&parted.instance), is(living.stands));
        assert_eq!(parted.instance.module(), before.module());
        assert_ne!(parted.instance.started().run, before.started().run);
    });
}

#[test]
fn what_came_from_outside_is_kept_and_nothing_else_that_is_new() {
    let from_outside = |records: &[Record]| {
        let outside = |record: &Record| match record.original() {
            Record::Accepted(accepted) => match &accepted.what {
                Happening::TimerFired { .. }
                | Happening::TaskEnded { .. }
                | Happening::ChildFailed { .. } => None,
                asked => Some(asked.clone()),
            },
            _ => None,
        };
        records.iter().filter_map(outside).collect::<Vec<_>>()
    };
    in_every_reset(|living, _, parted| {
        assert_eq!(from_outside(&parted.records), from_outside(living.records));
    });
}

/// What was open then is open now or has come to its end since, and nothing else is.
#[test]
fn the_open_tasks_are_those_before_but_for_those_that_have_ended() {
    in_every_reset(|_, before, parted| {
        let (then, now) = (open_tasks(before), open_tasks(&parted.instance));
        for task in now.keys() {
            assert!(then.contains_key(task), "{task:?}");
        }
        let unread = parted.instance.deliver_first(usize::MAX).inputs;
        for task in then.keys().filter(|task| !now.contains_key(task)) {
            let ended = unread.iter().any(
                |input| matches!(input, crate::Input::Completed { task: of, .. } if of == task),
            );
            assert!(ended, "{task:?} is gone and nobody is told");
        }
    });
}

#[test]
fn the_run_before_has_the_tasks_that_are_kept_and_no_others() {
    in_every_reset(|_, before, parted| {
        let (run, generation) = (before.started().run, before.started().generation);
        let commands = parted.records.iter().filter_map(|it| match it.original() {
            Record::Turn(turn) => Some(turn.commands.clone()),
            _ => None,
        });
        let opens = |it: &Command| !matches!(it, Command::Cancel { .. });
        let asked = commands.flatten().filter(opens);
        let kept = asked.filter_map(|it| it.task()).max();
        let kept = kept.unwrap_or(TaskId(0));
        let has = |task: u32| parted.instance.has_task_of(run, generation, TaskId(task));
        assert!((1..=kept.0).all(has));
        assert!(!has(kept.0 + 1));
        let told = parted.records.iter().filter_map(|it| match it.original() {
            Record::Accepted(accepted) => match &accepted.what {
                Happening::TimerFired { task }
                | Happening::TaskEnded { task, .. }
                | Happening::ChildFailed { task, .. } => Some(*task),
                _ => None,
            },
            Record::Attempt(attempt) => Some(attempt.task),
            Record::AttemptStarted(started) => Some(started.task),
            Record::AttemptStopped(stopped) => Some(stopped.task),
            _ => None,
        });
        assert!(told.max() <= Some(kept));
        let of_another_generation = parted.instance.has_task_of(run, generation + 1, TaskId(1));
        assert!(!of_another_generation);
    });
}
