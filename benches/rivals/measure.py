"""The same measurements of every system, in the same order, each figure with the same key."""

import os
import sys
from dataclasses import dataclass, field

import disk
from processes import Failed, TooLong

# How long one measurement may take.
PATIENCE_SECONDS = 120
# Orders at once: what does better counts.
CONCURRENCIES = (64, 256)


@dataclass(frozen=True)
class Sizes:
    """How much is measured. How many orders run at once to their end is each system's own number: of
    those for the fastest the slowest would take an hour."""

    name: str
    alone: int
    few_steps: int
    many_steps: int
    killed_steps: int
    parked: int


FULL = Sizes("full", alone=200, few_steps=1_000, many_steps=10_000, killed_steps=1_000, parked=10_000)
QUICK = Sizes("quick", alone=50, few_steps=100, many_steps=1_000, killed_steps=250, parked=1_000)


@dataclass(frozen=True)
class Load:
    """What orders took: latencies of each, the rate and the processor time of all."""

    p50_ms: float
    p99_ms: float
    per_second: float
    cpu_ms_each: float
    idle_bytes: int
    peak_bytes: int


@dataclass
class Part:
    """What was measured of one system in one go: figures, and a word where there is none."""

    title: str
    figures: dict = field(default_factory=dict)
    notes: dict = field(default_factory=dict)


def measure(system, sizes, folder):
    """Measures one system, and what the disk of a folder and the machine's load are before and after.

    Whatever happens, the system does not run afterwards.
    """
    part = Part(system.title)
    _surroundings(part, folder)
    try:
        system.start()
        for key, take in _measurements(system, sizes, part.figures):
            _attempt(system, part, key, take)
    except (Failed, TooLong) as failed:
        why = str(failed) or "it does not start in time"
        _say(f"{system.title} is not measured any further: {why}")
        part.notes["failed"] = why
    finally:
        system.end()
    _surroundings(part, folder)
    return part


def percentile(values, percent):
    """The value below which so many of a hundred are."""
    values = sorted(values)
    return values[min(len(values) * percent // 100, len(values) - 1)]


def _measurements(system, sizes, figures):
    """Each measurement: under which key its absence is told, and what takes it."""

    def alone():
        load = system.orders(sizes.alone, 1, PATIENCE_SECONDS)
        figures["latency_p50_ms"], figures["latency_p99_ms"] = load.p50_ms, load.p99_ms
        figures["memory_idle_bytes"] = load.idle_bytes

    def together(concurrency):
        load = system.orders(system.orders_together[sizes.name], concurrency, PATIENCE_SECONDS)
        figures["memory_peak_bytes"] = max(figures.get("memory_peak_bytes", 0), load.peak_bytes)
        if load.per_second > figures.get("orders_per_second", 0):
            figures["orders_per_second"] = load.per_second
            figures["orders_concurrency"] = concurrency
            figures["cpu_ms_per_order"] = load.cpu_ms_each

    def few_steps():
        figures["few_steps_seconds"] = system.steps(sizes.few_steps, PATIENCE_SECONDS)

    def many_steps():
        few = figures.get("few_steps_seconds", PATIENCE_SECONDS)
        if few * sizes.many_steps / sizes.few_steps > PATIENCE_SECONDS:
            raise TooLong
        figures["many_steps_seconds"] = system.steps(sizes.many_steps, PATIENCE_SECONDS)

    def recovery():
        figures["recovery_seconds"] = system.recovery(sizes.killed_steps, PATIENCE_SECONDS)

    def parked():
        seconds, grown_bytes = system.park(sizes.parked, PATIENCE_SECONDS)
        figures["parked_seconds"], figures["parked_bytes"] = seconds, grown_bytes

    yield "latency_p50_ms", alone
    for concurrency in CONCURRENCIES:
        yield "orders_per_second", lambda: together(concurrency)
    yield "few_steps_seconds", few_steps
    yield "many_steps_seconds", many_steps
    yield "recovery_seconds", recovery
    if system.parks:
        yield "parked_seconds", parked


def _attempt(system, part, key, take):
    """Takes a measurement; the one after it begins on a system with nothing left to do."""
    try:
        take()
        _say(f"{part.title}: {key} {part.figures[key]:.6g}")
    except TooLong:
        _say(f"{part.title}: {key} takes longer than {PATIENCE_SECONDS} s")
        # Another concurrency may have had its figure already.
        if key not in part.figures:
            part.notes[key] = f"> {PATIENCE_SECONDS} s"
        system.end()
        system.start()


def _surroundings(part, folder):
    appends = part.figures.setdefault("disk_appends_per_second", [])
    appends.append(disk.appends_per_second(folder))
    part.figures.setdefault("load_average", []).append(os.getloadavg()[0])


def _say(text):
    print(text, file=sys.stderr, flush=True)
