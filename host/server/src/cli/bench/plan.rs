//! What is to be measured, once the arguments make sense together.

use serde_json::json;
use wfhost_core::record::Event;
use wfhost_core::{InstanceId, Json, Name};
use wfhost_sandbox::Limits;

use super::super::Failure;
use super::{Bench, Kind, Scenario};
use crate::start::StartRequest;

/// Most instances of a run: each leaves a latency of 16 bytes in memory.
pub(super) const INSTANCES_MAX: u64 = 10_000_000;

/// Most steps of an instance.
pub(super) const STEPS_MAX: u64 = 1_000_000;

/// The steps of an order.
const ORDER_STEPS: u64 = 5;

/// Most instances that run before it counts, and most steps of each: by then modules are compiled
/// and what is allocated once is there.
const WARM_INSTANCES_MAX: u64 = 200;
const WARM_STEPS_MAX: u64 = 10;

/// What is to be measured.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) scenario: Scenario,
    pub(super) kind: Kind,
    pub(super) instances: u64,
    /// Instances at a time.
    pub(super) concurrency: usize,
    /// Steps of one instance.
    pub(super) steps: u64,
    pub(super) payload_bytes: usize,
    items: Option<u64>,
    /// What the ids of the instances begin with.
    label: &'static str,
    /// The number of the first.
    first: u64,
}

impl Plan {
    /// Reads the arguments.
    ///
    /// # Errors
    /// If one is not for the scenario, or the host would refuse what it asks.
    pub(super) fn new(bench: &Bench) -> Result<Self, Failure> {
        let scenario = bench.scenario;
        check(bench)?;
        let instances = match scenario {
            Scenario::Order | Scenario::Park => 10_000,
            _ => 100,
        };
        let steps = match scenario {
            Scenario::Order => ORDER_STEPS,
            Scenario::Steps | Scenario::FanOut | Scenario::Recover => 100,
            Scenario::Events | Scenario::Timers => 10,
            Scenario::Park => 0,
        };
        Ok(Self {
            scenario,
            kind: bench.kind,
            instances: bench.instances.unwrap_or(instances),
            concurrency: bench.concurrency.into(),
            steps: bench.steps.unwrap_or(steps),
            payload_bytes: bench.payload_bytes.unwrap_or(0),
            items: bench.items,
            label: scenario.as_str(),
            first: 0,
        })
    }

    /// A few instances beforehand.
    pub(super) fn warm_up(&self) -> Self {
        let instances = (2 * self.concurrency as u64).min(WARM_INSTANCES_MAX);
        Self {
            instances: instances.min(self.instances),
            steps: self.steps.min(WARM_STEPS_MAX),
            label: "warm",
            ..self.clone()
        }
    }

    /// So many other instances, from this number on, with so many steps of this size.
    pub(super) fn filling(
        &self,
        first: u64,
        instances: u64,
        steps: u64,
        payload_bytes: usize,
    ) -> Self {
        Self {
            scenario: Scenario::Steps,
            instances,
            steps,
            payload_bytes,
            label: "fill",
            first,
            ..self.clone()
        }
    }

    /// The arguments that say the same.
    pub(super) fn arguments(&self) -> Vec<String> {
        let mut arguments = vec![
            format!("--scenario={}", self.scenario.as_str()),
            format!("--kind={}", self.kind.as_str()),
            format!("--instances={}", self.instances),
            format!("--concurrency={}", self.concurrency),
        ];
        if self.scenario == Scenario::Recover {
            arguments.push(format!("--steps={}", self.steps));
            arguments.push(format!("--payload-bytes={}", self.payload_bytes));
        }
        arguments
    }

    /// Steps of all instances.
    pub(super) fn steps_in_all(&self) -> u64 {
        self.instances * self.steps
    }

    /// The id of an instance.
    pub(super) fn id(&self, number: u64) -> InstanceId {
        let id = format!("{}-{}", self.label, self.first + number);
        id.parse().expect("a word and a number make an id")
    }

    /// How an instance is started.
    pub(super) fn request(&self, number: u64) -> StartRequest {
        StartRequest {
            id: Some(self.id(number)),
            ..StartRequest::new(self.workflow(), self.input(number))
        }
    }

    /// An event for one that waits for it.
    pub(super) fn event(&self, number: u64) -> Event {
        Event {
            name: name("next"),
            payload: Json::of(&self.text(number).into()),
        }
    }

    /// A text of the size that is asked. Each is another one where there is room for that, since the
    /// host keeps a large text once, however often it is used.
    fn text(&self, number: u64) -> String {
        let mut text = format!("{number} ");
        let missing = self.payload_bytes.saturating_sub(text.len());
        text.extend(std::iter::repeat_n('x', missing));
        text.truncate(self.payload_bytes);
        text
    }

    fn workflow(&self) -> Name {
        name(match self.scenario {
            Scenario::Order => "Order",
            Scenario::Steps | Scenario::Recover => "Steps",
            Scenario::FanOut => "FanOut",
            Scenario::Events => "Events",
            Scenario::Timers => "Timers",
            Scenario::Park => "Park",
        })
    }

    fn input(&self, number: u64) -> Json {
        let input = match self.scenario {
            Scenario::Order => {
                let item = number % self.items.unwrap_or(u64::MAX);
                let note = self.text(number);
                json!({ "item": format!("{}-{item}", self.label), "quantity": 1, "note": note })
            }
            Scenario::Park => json!(self.text(number)),
            // They are killed before their end.
            Scenario::Recover => json!({ "steps": u64::MAX, "payload_bytes": self.payload_bytes }),
            _ => json!({ "steps": self.steps, "payload_bytes": self.payload_bytes }),
        };
        Json::of(&input)
    }
}

/// The event that wakes a parked instance.
pub(super) fn waking() -> Event {
    Event {
        name: name("go"),
        payload: Json::of(&true.into()),
    }
}

fn name(text: &str) -> Name {
    text.parse().expect("a word is a name")
}

/// Refuses what makes no sense together.
fn check(bench: &Bench) -> Result<(), Failure> {
    use Scenario::{Events, FanOut, Order, Park, Recover, Steps, Timers};
    let rules: [(&str, bool, &[Scenario]); 6] = [
        (
            "--steps",
            bench
                .steps
                .is_some_and(|steps| steps != ORDER_STEPS || bench.scenario != Order),
            &[Steps, FanOut, Events, Timers, Recover],
        ),
        (
            "--payload-bytes",
            bench.payload_bytes.is_some(),
            &[Order, Steps, FanOut, Events, Park, Recover],
        ),
        ("--items", bench.items.is_some(), &[Order]),
        (
            "--kind effectful",
            bench.kind == Kind::Effectful,
            &[Order, Steps, FanOut, Recover],
        ),
        ("--rounds", bench.rounds.is_some(), &[Recover]),
        ("--fill", bench.fill.is_some(), &[Recover]),
    ];
    for (flag, given, scenarios) in rules {
        if given && !scenarios.contains(&bench.scenario) {
            let names: Vec<_> = scenarios.iter().map(|it| it.as_str()).collect();
            return Err(Failure::usage(format!(
                "{flag} is for the scenario {}; `{}` has no use for it",
                names.join(", "),
                bench.scenario.as_str()
            )));
        }
    }
    let limits = Limits::default();
    let (steps, most) = (
        bench.steps.unwrap_or(0),
        limits.commands_per_turn_max as u64,
    );
    if bench.scenario == FanOut && steps > most {
        return Err(Failure::usage(format!(
            "--steps {steps}: a workflow may ask for {most} activities at once, no more"
        )));
    }
    // What is around the text counts: the quotes, and what else an order has.
    let around = if bench.scenario == Order { 1_024 } else { 2 };
    let (bytes, most) = (
        bench.payload_bytes.unwrap_or(0),
        limits.payload_bytes_max - around,
    );
    if bytes > most {
        return Err(Failure::usage(format!(
            "--payload-bytes {bytes}: the host takes {most} at most"
        )));
    }
    Ok(())
}
