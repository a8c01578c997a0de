"""wfhost, which measures itself: `wfhost bench --json`."""

import json

from measure import Load
from processes import output

# Of these the median is taken.
KILLS = 5


class Wfhost:
    """A binary that is measured with one kind of activities."""

    orders_together = {"full": 20_000, "quick": 2_000}

    def __init__(self, binary, kind, folder):
        self.title = f"wfhost, {kind}"
        # No activity runs while instances only wait: once is enough.
        self.parks = kind == "contained"
        self._binary = binary
        self._kind = kind
        self._folder = folder

    def start(self):
        """Nothing: each bench is a process of its own, on a new data file."""
        self._folder.mkdir(parents=True, exist_ok=True)

    def end(self):
        """Nothing: see `start`."""

    def orders(self, count, concurrency, seconds):
        told = self._bench("order", seconds, instances=count, concurrency=concurrency)
        return Load(
            p50_ms=told["latency_ms"]["p50"],
            p99_ms=told["latency_ms"]["p99"],
            per_second=told["instances_per_second"],
            cpu_ms_each=told["cpu_ms_per_instance"],
            idle_bytes=told["rss_bytes"]["idle"],
            peak_bytes=told["rss_bytes"]["peak"],
        )

    def steps(self, count, seconds):
        told = self._bench("steps", seconds, instances=1, concurrency=1, steps=count)
        return told["latency_ms"]["max"] / 1000

    def recovery(self, count, seconds):
        done = {"steps": count * 2 // 5, "rounds": KILLS}
        told = self._bench("recover", seconds, instances=1, concurrency=1, **done)
        return told["latency_ms"]["p50"] / 1000

    def park(self, count, seconds):
        told = self._bench("park", seconds, instances=count, concurrency=64)
        return count / told["instances_per_second"], told["park"]["rss_growth_bytes"]

    def _bench(self, scenario, seconds, **options):
        if scenario != "park":
            options["kind"] = self._kind
        options = [f"--{name}={value}" for name, value in options.items()]
        command = [self._binary, "bench", f"--scenario={scenario}", *options]
        command += [f"--dir={self._folder}", "--json"]
        return json.loads(output(command, seconds))
