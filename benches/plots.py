#!/usr/bin/env python3
"""Draws how cost grows, into docs/performance: with instances, with steps, with the payload.

    python3 benches/plots.py [--dir FOLDER]

Needs matplotlib, and `wfhost` as `cargo build --release` makes it. FOLDER is on the disk that is
measured; the target folder if absent. Each point is one `wfhost bench`; nothing else should run.
"""

import argparse
import json
import subprocess
from pathlib import Path

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "docs" / "performance"


def bench(folder, *words):
    command = [ROOT / "target/release/wfhost", "bench", "--dir", folder, "--json", *words]
    ran = subprocess.run([str(word) for word in command], check=True, stdout=subprocess.PIPE)
    return json.loads(ran.stdout)


def draw(name, title, x, y, lines):
    """`lines`: by their label, the points."""
    plt.rcParams["svg.hashsalt"] = name
    figure, axes = plt.subplots(figsize=(6.4, 3.6))
    for label, points in lines.items():
        axes.plot(*zip(*points), marker="o", label=label)
    axes.set(title=title, xlabel=x, ylabel=y, xscale="log", yscale="log")
    axes.grid(True, which="both", linewidth=0.3)
    axes.legend()
    figure.tight_layout()
    figure.savefig(OUT / f"{name}.svg", metadata={"Date": None})
    print(name, lines)


def instances(folder):
    seconds, parked = [], []
    for count in (1_000, 3_000, 10_000, 30_000, 100_000):
        told = bench(folder, "--scenario", "order", "--instances", count, "--concurrency", 64)
        seconds.append((count, count / told["instances_per_second"]))
        told = bench(folder, "--scenario", "park", "--instances", count, "--concurrency", 64)
        parked.append((count, told["park"]["reopened"]["ready_ms"] / 1_000))
    lines = {"orders, 64 at a time": seconds, "opening a file with so many parked": parked}
    draw("instances", "Cost by instances", "instances", "seconds", lines)


def steps(folder):
    taken = []
    for count in (100, 1_000, 10_000, 100_000, 1_000_000):
        told = bench(
            folder, "--scenario", "steps", "--instances", 1, "--concurrency", 1, "--steps", count
        )
        taken.append((count, told["latency_ms"]["max"] / 1_000))
    draw("steps", "Cost by steps of one instance", "steps", "seconds", {"contained steps": taken})


def payload(folder):
    lines = {}
    for kind in ("contained", "effectful"):
        points = []
        for size in (10, 100, 1_000, 10_000, 100_000, 1_000_000):
            count = 50 if size >= 100_000 else 500
            told = bench(
                folder, "--scenario", "steps", "--kind", kind, "--instances", 1, "--concurrency", 1,
                "--steps", count, "--payload-bytes", size,
            )
            points.append((size, told["latency_ms"]["max"] / count))
        lines[kind] = points
    draw("payload", "Cost of a step by its payload", "bytes in and out", "milliseconds", lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dir", type=Path, default=ROOT / "target")
    folder = parser.parse_args().dir
    OUT.mkdir(parents=True, exist_ok=True)
    instances(folder)
    steps(folder)
    payload(folder)


if __name__ == "__main__":
    main()
