//! How a command hosts: what activities may do, and how time passes.

use std::time::Duration;

use clap::{Args, value_parser};
use wfhost_core::Name;
use wfhost_sandbox::AllowedHost;

use super::{Failure, args, code_cache, say};
use crate::engine::{Bounds, Clock};
use crate::host::Options;

/// For every command that drives instances.
#[derive(Args, Clone, Default)]
pub(super) struct Hosting {
    /// Let activities send HTTP requests there, [scheme://]host[:port]; may be repeated
    #[arg(long, value_name = "PATTERN", help_heading = "Hosting")]
    allow_host: Vec<AllowedHost>,
    /// Do not wait for timers: days of a workflow pass in milliseconds. The history then has times
    /// that are still to come
    #[arg(long, help_heading = "Hosting")]
    skip_time: bool,
    /// Attempts of activities that run at once; the others wait [default: 256]
    #[arg(long, value_name = "N", value_parser = value_parser!(u16).range(1..), help_heading = "Hosting")]
    running_max: Option<u16>,
    /// The same, of one instance
    #[arg(long, value_name = "N", value_parser = value_parser!(u16).range(1..), help_heading = "Hosting")]
    running_max_per_instance: Option<u16>,
    /// The same, of one activity; may be repeated
    #[arg(long, value_name = "NAME=N", value_parser = args::bound, help_heading = "Hosting")]
    running_max_of: Vec<(Name, usize)>,
}

impl Hosting {
    /// What is given here is for a host of the command's own.
    pub(super) fn check_served(&self) -> Result<(), Failure> {
        let flags = [
            ("--allow-host", !self.allow_host.is_empty()),
            ("--skip-time", self.skip_time),
            ("--running-max", self.running_max.is_some()),
            (
                "--running-max-per-instance",
                self.running_max_per_instance.is_some(),
            ),
            ("--running-max-of", !self.running_max_of.is_empty()),
        ];
        match flags.iter().find(|(_, given)| *given) {
            None => Ok(()),
            Some((flag, _)) => Err(Failure::usage(format!(
                "{flag} is for a host that the command starts itself; a running host has what \
                 `wfhost serve` was given"
            ))),
        }
    }

    /// The options of the host, and what time it is there.
    pub(super) fn options(&self) -> (Options, Skipping) {
        self.options_over(Options::default())
    }

    /// The same, where something is said already, by a configuration file; flags win over it.
    pub(super) fn options_over(&self, mut options: Options) -> (Options, Skipping) {
        let clock = Clock::wall();
        clock.set_skips(self.skip_time);
        let Bounds {
            running_max,
            running_per_instance_max,
            running_by_name_max,
        } = &mut options.bounds;
        let put = |flag: Option<u16>, place: &mut usize| *place = flag.map_or(*place, usize::from);
        put(self.running_max, running_max);
        put(self.running_max_per_instance, running_per_instance_max);
        running_by_name_max.extend(self.running_max_of.iter().cloned());
        options
            .allowed_hosts
            .extend(self.allow_host.iter().cloned());
        options.clock = clock.clone();
        options.code_cache = code_cache::folder();
        (options, Skipping { clock })
    }
}

/// The time on a host, beside the time outside.
pub(super) struct Skipping {
    clock: Clock,
}

impl Skipping {
    /// Says how much time was skipped, if any was.
    pub(super) fn say(&self) {
        let ahead_ms = self.clock.now().since(args::now());
        if ahead_ms > 0 {
            // To the second: nobody cares for the milliseconds of days.
            let seconds = ahead_ms.saturating_add(500) / 1_000;
            let shown = humantime::format_duration(Duration::from_secs(seconds.max(1)));
            say(format_args!(
                "time was skipped by {shown}; it is {} for the workflow",
                self.clock.now()
            ));
        }
    }
}

/// A host that writes down what it is told and runs no activity: whoever drives the instances may
/// allow them more.
pub(super) fn at_rest() -> Options {
    Options {
        bounds: Bounds {
            running_max: 0,
            ..Bounds::default()
        },
        code_cache: code_cache::folder(),
        ..Options::default()
    }
}
