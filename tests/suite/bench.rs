//! `wfhost bench`: that it measures each scenario, says what it documents, and leaves nothing behind.
//! How fast anything is, no test says.

use std::process::Stdio;

use serde_json::Value;

use crate::support::Shell;

/// Few instances, so that a run takes little more than the look at the disk.
const TINY: [(&str, &[&str]); 7] = [
    ("order", &["--instances=6", "--concurrency=3", "--steps=5"]),
    (
        "steps",
        &["--instances=2", "--steps=3", "--payload-bytes=100"],
    ),
    ("fan-out", &["--instances=2", "--steps=3"]),
    (
        "events",
        &["--instances=2", "--steps=3", "--payload-bytes=100"],
    ),
    ("timers", &["--instances=2", "--steps=3"]),
    ("park", &["--instances=20", "--payload-bytes=100"]),
    (
        "recover",
        &[
            "--instances=20",
            "--steps=50",
            "--rounds=1",
            "--fill=1500000",
        ],
    ),
];

/// The one object of a scenario, from a folder that is empty again afterwards.
#[track_caller]
fn measure(scenario: &str, args: &[&str]) -> Value {
    let shell = Shell::new();
    let all = [&["bench", "--json", "--scenario", scenario][..], args].concat();
    let mut rows = shell.run(&all).rows(0);
    assert_eq!(shell.files(), [""; 0], "{scenario}");
    assert_eq!(rows.len(), 1, "{scenario}");
    rows.remove(0)
}

/// The keys of an object, with those of the objects in it, in order.
fn keys(object: &Value) -> Vec<String> {
    let mut keys = Vec::new();
    for (key, value) in object.as_object().into_iter().flatten() {
        keys.push(key.clone());
        keys.extend(
            self::keys(value)
                .iter()
                .map(|inner| format!("{key}.{inner}")),
        );
    }
    keys
}

/// Numbers in this order, each at least the one before.
#[track_caller]
fn assert_ascending(what: &str, numbers: &[&Value]) {
    let numbers: Vec<f64> = numbers.iter().map(|it| it.as_f64().expect(what)).collect();
    assert!(
        numbers[0] > 0.0 && numbers.is_sorted(),
        "{what}: {numbers:?}"
    );
}

#[test]
fn each_scenario_prints_what_is_documented_and_leaves_no_file() {
    const KEYS: [&str; 17] = [
        "bytes_written",
        "commits",
        "cpu_ms_per_instance",
        "disk",
        "disk.append_fdatasync_per_second",
        "disk.group_commit_per_second",
        "fsyncs",
        "instances_per_second",
        "latency_ms",
        "latency_ms.max",
        "latency_ms.p50",
        "latency_ms.p90",
        "latency_ms.p99",
        "rss_bytes",
        "rss_bytes.idle",
        "rss_bytes.peak",
        "steps_per_second",
    ];
    for (scenario, args) in TINY {
        let found = measure(scenario, args);
        let mut found_keys = keys(&found);
        found_keys.retain(|key| key.split('.').next() != Some(scenario));
        found_keys.sort();
        assert_eq!(found_keys, KEYS, "{scenario}");
        let latency = &found["latency_ms"];
        let latency = ["p50", "p90", "p99", "max"].map(|key| &latency[key]);
        assert_ascending(scenario, &latency);
        let disk = &found["disk"];
        assert_ascending(scenario, &[&disk["append_fdatasync_per_second"]]);
        assert_ascending(scenario, &[&disk["group_commit_per_second"]]);
        if scenario == "recover" {
            assert!(found["commits"].is_null(), "what another process did");
            continue;
        }
        assert_ascending(
            scenario,
            &[&found["commits"], &found["fsyncs"], &found["bytes_written"]],
        );
        let rates = [&found["instances_per_second"], &found["steps_per_second"]];
        match scenario {
            "park" => assert!(rates[1].is_null(), "nothing is done"),
            _ => assert_ascending(scenario, &rates),
        }
        if cfg!(target_os = "linux") {
            let rss = &found["rss_bytes"];
            assert_ascending(scenario, &[&rss["idle"], &rss["peak"]]);
            assert!(found["cpu_ms_per_instance"].is_number(), "{scenario}");
        }
    }
}

#[test]
fn contained_steps_cost_no_commit_of_their_own_and_effectful_ones_do() {
    let commits = |kind| {
        let args = ["--instances=5", "--concurrency=1", "--kind", kind];
        measure("order", &args)["commits"].as_u64().unwrap()
    };
    let (contained, effectful) = (commits("contained"), commits("effectful"));
    // Nothing of an effectful attempt begins before all that leads to it is durable.
    assert!(effectful >= 5 * 5, "{effectful}");
    assert!((5..5 * 5).contains(&contained), "{contained}");
}

#[test]
fn parked_instances_are_found_by_another_process_and_wake() {
    let found = measure("park", &["--instances=20", "--concurrency=3"]);
    let park = &found["park"];
    assert_eq!(park["woken"]["instances"], 20, "{park}");
    assert_ascending("woken", &[&park["woken"]["latency_ms"]["p50"]]);
    assert_ascending("ready", &[&park["reopened"]["ready_ms"]]);
    let (file, each) = (&park["file_bytes"], &park["file_bytes_per_instance"]);
    assert_eq!(file.as_u64().unwrap() / 20, each.as_u64().unwrap());
}

#[test]
fn a_host_that_was_killed_goes_on_with_and_without_quick_repair() {
    for kind in ["contained", "effectful"] {
        let args = [
            "--instances=20",
            "--steps=50",
            "--rounds=2",
            "--fill=1500000",
            "--kind",
            kind,
        ];
        let found = measure("recover", &args);
        let settings = found["recover"].as_array().unwrap();
        let quick = settings
            .iter()
            .map(|it| it["quick_repair"].as_bool().unwrap());
        assert_eq!(quick.collect::<Vec<_>>(), [true, false]);
        for setting in settings {
            // The file is open before the first step is taken.
            let (open, step) = (&setting["open_ms"], &setting["first_step_ms"]);
            assert_ascending(kind, &[&open["p50"], &step["max"]]);
            assert!(
                setting["file_bytes"].as_u64().unwrap() >= 1_500_000,
                "{setting}"
            );
        }
        // So small a file is kept without.
        assert_eq!(found["latency_ms"], settings[1]["first_step_ms"]);
    }
}

#[test]
fn people_are_told_each_figure_beside_its_limit() {
    let shell = Shell::new();
    // All contend, and each is taken once all the same: else it fails.
    let args = ["bench", "--instances=20", "--concurrency=10", "--items=1"];
    let out = shell.run(&args).ok(0);
    let title = "order, contained: 20 instances, 10 at a time, 5 steps each";
    assert_eq!(out.lines().next(), Some(title), "{out}");
    for name in [
        "instances ",
        "steps ",
        "latency ",
        "commits ",
        "fsyncs ",
        "written ",
        "data file ",
    ] {
        assert!(
            out.lines().any(|line| line.starts_with(name)),
            "no {name}in\n{out}"
        );
    }
    for name in ["steps ", "latency ", "fsyncs "] {
        let line = out.lines().find(|line| line.starts_with(name)).unwrap();
        assert!(line.contains("; the disk alone "), "{line}");
    }
}

#[test]
fn nonsense_is_refused_in_a_sentence_before_anything_is_written() {
    let shell = Shell::new();
    for (args, says) in [
        ("--instances 0", "0 is not in 1.."),
        ("--concurrency 0", "0 is not in 1.."),
        ("--scenario steps --steps 0", "0 is not in 1.."),
        ("--scenario nothing", "fan-out"),
        (
            "--scenario steps --payload-bytes 16777215",
            "the host takes 16777214 at most",
        ),
        (
            "--scenario fan-out --steps 10001",
            "10000 activities at once",
        ),
        (
            "--scenario park --kind effectful",
            "--kind effectful is for the scenario order, steps",
        ),
        ("--scenario order --steps 7", "`order` has no use for it"),
        (
            "--scenario order --payload-bytes 16777000",
            "the host takes 16776192 at most",
        ),
        (
            "--scenario timers --payload-bytes 1",
            "`timers` has no use for it",
        ),
        (
            "--scenario steps --items 1",
            "--items is for the scenario order;",
        ),
        (
            "--scenario order --fill 1",
            "--fill is for the scenario recover;",
        ),
        (
            "--scenario order --rounds 1",
            "--rounds is for the scenario recover;",
        ),
        ("--dir nowhere", "name another with --dir"),
    ] {
        let all: Vec<_> = ["bench"].into_iter().chain(args.split(' ')).collect();
        let ran = shell.run(&all);
        assert_eq!((ran.code, ran.out.as_str()), (Some(2), ""), "{args}");
        assert!(ran.err.contains(says), "{args}: {}", ran.err);
        assert_eq!(shell.files(), [""; 0], "{args}");
    }
}

#[test]
fn ctrl_c_ends_it_and_leaves_no_file() {
    for args in [
        &["--scenario=order", "--instances=10000000"][..],
        &["--scenario=recover", "--instances=100000", "--steps=1000"][..],
    ] {
        let shell = Shell::new();
        let mut command = shell.command(&[&["bench"], args].concat());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().unwrap();
        let data = |name: &str| {
            let folders = shell.files();
            let folder = folders.first().map(|it| shell.dir.path().join(it));
            folder.is_some_and(|it| it.join(name).exists())
        };
        while !data("data.redb") {
            std::thread::yield_now();
        }
        let killed = std::process::Command::new("kill")
            .args(["-INT", &child.id().to_string()])
            .status();
        assert!(killed.unwrap().success());
        let output = child.wait_with_output().unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(130), "{errors}");
        assert!(errors.contains("nothing was measured"), "{errors}");
        assert!(output.stdout.is_empty());
        assert_eq!(shell.files(), [""; 0]);
    }
}

#[test]
fn what_a_step_carries_is_written_down() {
    let written = |bytes: &str| {
        let args = [
            "--instances=20",
            "--concurrency=1",
            "--payload-bytes",
            bytes,
        ];
        measure("order", &args)["bytes_written"].as_u64().unwrap()
    };
    // Each of five steps has it as its input, and the instance as well.
    let more = written("10000").saturating_sub(written("0"));
    assert!(more >= 20 * 6 * 10_000, "{more}");
}

/// Its processes would go on for ever, since nothing of what they run ends.
#[cfg(target_os = "linux")]
#[test]
fn a_bench_that_is_killed_takes_its_processes_with_it() {
    let shell = Shell::new();
    let mut command = shell.command(&["bench", "--scenario=recover", "--rounds=1000"]);
    let mut bench = command.stderr(Stdio::piped()).spawn().unwrap();
    let tasks = format!("/proc/{}/task", bench.id());
    let has_children = || {
        let tasks = std::fs::read_dir(&tasks).unwrap();
        let children = tasks.map(|task| task.unwrap().path().join("children"));
        children
            .filter_map(|children| std::fs::read_to_string(children).ok())
            .any(|children| !children.is_empty())
    };
    while !has_children() {
        std::thread::yield_now();
    }
    bench.kill().unwrap();
    // They have their stderr from it: it is closed when the last of them has ended.
    bench.wait_with_output().unwrap();
}
