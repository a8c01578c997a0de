//! What may be done to the instance of a story, at random.

use proptest::bool::weighted;
use proptest::collection::vec;
use proptest::prelude::*;

use super::super::tests::json;
use crate::decide::ParentStands;
use crate::record::Step;
use crate::{Failure, Json, RetryPolicy, kind};

/// How the instance is started.
#[derive(Debug, Clone)]
pub(super) struct Birth {
    pub(super) events: Vec<u8>,
    pub(super) delayed: bool,
    pub(super) key: Option<u8>,
}

/// What somebody does.
#[derive(Debug, Clone)]
pub(super) enum Deed {
    /// The clock goes on, or back.
    Clock(i16),
    Event(u8, Option<u8>),
    Cancel(Option<u8>),
    Update(Option<u8>),
    Suspend(Option<u8>),
    Resume(Option<u8>),
    Terminate(bool, Option<u8>),
    Parent(ParentStands),
    FireTimer(u8),
    EndOther(u8, Outcome),
    TimeOut(u8),
    StartAttempt(u8),
    EndAttempt(u8, Outcome),
    StopAttempt(u8, bool),
    HostDies,
    Stall(Option<u8>),
    Unstall(u8),
    /// To the module of that number.
    Move(u8),
    BeginTurn,
    EndTurn(Vec<Ask>, End),
}

/// What comes of a piece of work.
#[derive(Debug, Clone, Copy)]
pub(super) enum Outcome {
    Done,
    Retryable,
    Last,
    Cancelled,
}

/// What the guest asks in a turn.
#[derive(Debug, Clone)]
pub(super) enum Ask {
    Call(u8),
    Child(u8),
    Timer(u8),
    Await(u8),
    Raise(u8),
    /// Of any task that was or was not asked.
    Cancel(u8),
    Answer(u8),
    Status(u8),
    Patched,
}

/// How the guest comes back from a turn.
#[derive(Debug, Clone, Copy)]
pub(super) enum End {
    Wait,
    Again(bool),
    Complete,
    Fail,
    Cancel,
}

pub(super) fn births() -> impl Strategy<Value = Birth> {
    let parts = (vec(any::<u8>(), 0..3), weighted(0.2), keys());
    parts.prop_map(|(events, delayed, key)| Birth {
        events,
        delayed,
        key,
    })
}

pub(super) fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    vec(deed(), 1..100)
}

fn deed() -> impl Strategy<Value = Deed> {
    use Deed::*;
    let which = 0..4_u8;
    prop_oneof![
        6 => (-50..300_i16).prop_map(Clock),
        10 => (any::<u8>(), keys()).prop_map(|(name, key)| Event(name, key)),
        1 => keys().prop_map(Cancel),
        6 => keys().prop_map(Update),
        2 => keys().prop_map(Suspend),
        5 => keys().prop_map(Resume),
        1 => stands().prop_map(Parent),
        8 => which.clone().prop_map(FireTimer),
        10 => (which.clone(), outcome()).prop_map(|(task, how)| EndOther(task, how)),
        2 => which.clone().prop_map(TimeOut),
        8 => which.clone().prop_map(StartAttempt),
        8 => (which.clone(), outcome()).prop_map(|(task, how)| EndAttempt(task, how)),
        2 => (which.clone(), any::<bool>()).prop_map(|(task, begun)| StopAttempt(task, begun)),
        1 => Just(HostDies),
        2 => proptest::option::of(which.clone()).prop_map(Stall),
        5 => which.clone().prop_map(Unstall),
        3 => which.prop_map(Move),
        12 => Just(BeginTurn),
        35 => (vec(ask(), 0..6), end()).prop_map(|(asks, end)| EndTurn(asks, end)),
        1 => (weighted(0.2), any::<bool>(), keys()).prop_map(|(ends, all, key)| {
            if ends { Terminate(all, key) } else { HostDies }
        }),
    ]
}

fn keys() -> impl Strategy<Value = Option<u8>> {
    proptest::option::weighted(0.2, 0..6_u8)
}

fn stands() -> impl Strategy<Value = ParentStands> {
    prop_oneof![
        Just(ParentStands::Waits),
        Just(ParentStands::GaveUp),
        Just(ParentStands::Ended),
        Just(ParentStands::Terminated { recursive: false }),
    ]
}

fn outcome() -> impl Strategy<Value = Outcome> {
    use Outcome::*;
    prop_oneof![3 => Just(Done), 3 => Just(Retryable), 1 => Just(Last), 1 => Just(Cancelled)]
}

fn ask() -> impl Strategy<Value = Ask> {
    use Ask::*;
    prop_oneof![
        3 => any::<u8>().prop_map(Call),
        2 => any::<u8>().prop_map(Child),
        2 => any::<u8>().prop_map(Timer),
        6 => any::<u8>().prop_map(Await),
        1 => any::<u8>().prop_map(Raise),
        4 => any::<u8>().prop_map(Cancel),
        2 => any::<u8>().prop_map(Answer),
        1 => any::<u8>().prop_map(Status),
        1 => Just(Patched),
    ]
}

fn end() -> impl Strategy<Value = End> {
    prop_oneof![
        60 => Just(End::Wait),
        14 => any::<bool>().prop_map(End::Again),
        1 => Just(End::Complete),
        1 => Just(End::Fail),
        1 => Just(End::Cancel),
    ]
}

impl Outcome {
    pub(super) fn of(self) -> Result<Json, Failure> {
        match self {
            Self::Done => Ok(json("7")),
            Self::Retryable => Err(Failure::retryable("busy", "try later")),
            Self::Last => Err(Failure::last("broken", "no use")),
            Self::Cancelled => Err(Failure::retryable(kind::CANCELLED, "it was asked to")),
        }
    }
}

impl End {
    pub(super) fn step(self) -> Step {
        match self {
            Self::Wait => Step::Waiting,
            Self::Again(current_module) => Step::ContinuedAsNew {
                input: json("5"),
                current_module,
            },
            Self::Complete => Step::Completed(json("6")),
            Self::Fail => Step::Failed(Failure::last("broken", "no use")),
            Self::Cancel => Step::Cancelled,
        }
    }
}

/// Whether a failure is followed by another attempt.
pub(super) fn retry(policy: u8) -> Option<RetryPolicy> {
    (policy & 1 == 0).then(|| RetryPolicy {
        max_attempts: 3,
        first_delay: 20,
        backoff: 2.0,
        max_delay: 100,
        jitter: 0.5,
        final_kinds: Vec::new(),
    })
}
