"""What is common to rivals: they are started, told to work, killed, and looked at from outside."""

import time
from abc import ABC, abstractmethod

from measure import Load, percentile
from outside import Outside
from processes import Meter, memory_bytes

# What runs beforehand and is not counted.
WARM_ORDERS = 64
WARM_CONCURRENCY = 16
# What the work of a killed server may still do in another process.
SETTLE_SECONDS = 0.2


class Rival(ABC):
    """A system that runs beside this process."""

    parks = True

    def __init__(self, folder):
        self.folder = folder
        self.folder.mkdir(parents=True, exist_ok=True)
        self.log = folder / "log"
        self.outside = Outside(folder / "outside")

    @abstractmethod
    def install(self):
        """Makes all that it needs be there, in its folder."""

    @abstractmethod
    def launch(self):
        """Starts it on loopback, with data of its own and nothing in it."""

    @abstractmethod
    def end(self):
        """Ends what runs of it. Does nothing where nothing runs."""

    @abstractmethod
    def processes(self):
        """Those whose processor time and memory are its own."""

    @abstractmethod
    def run_orders(self, count, concurrency, seconds):
        """Runs orders in a closed loop: `seconds` in all, and `latencies_ms` of each."""

    @abstractmethod
    def run_steps(self, count, seconds):
        """Runs one workflow of so many steps, and tells in how many seconds."""

    @abstractmethod
    def begin_steps(self, count):
        """Starts the same and does not wait for its end."""

    @abstractmethod
    def begin_parked(self, count, seconds):
        """Starts workflows that wait for a day."""

    @abstractmethod
    def crash(self):
        """Kills what keeps the workflows."""

    @abstractmethod
    def recover(self):
        """Starts it again on the same data."""

    def start(self):
        self.launch()
        self.idle_bytes = memory_bytes(self.processes())
        self.run_orders(WARM_ORDERS, WARM_CONCURRENCY, seconds=60)

    def orders(self, count, concurrency, seconds):
        with Meter(self.processes()) as meter:
            told = self.run_orders(count, concurrency, seconds)
        return Load(
            p50_ms=percentile(told["latencies_ms"], 50),
            p99_ms=percentile(told["latencies_ms"], 99),
            per_second=count / told["seconds"],
            cpu_ms_each=meter.cpu_seconds * 1000 / count,
            idle_bytes=self.idle_bytes,
            peak_bytes=meter.peak_bytes,
        )

    def steps(self, count, seconds):
        return self.run_steps(count, seconds)

    def recovery(self, count, seconds):
        """From the start of a new process to the first step that had not been done before."""
        self.outside.clear()
        self.begin_steps(count)
        self.outside.wait_for_number(count * 2 // 5, seconds)
        self.crash()
        time.sleep(SETTLE_SECONDS)
        first_new = self.outside.last() + 1
        begun = time.monotonic()
        self.recover()
        self.outside.wait_for_number(first_new, seconds)
        recovered = time.monotonic() - begun
        # What is left of the steps is not to be in the way of what is measured next.
        self.end()
        self.start()
        return recovered

    def park(self, count, seconds):
        """Until all of them wait, in seconds; and the bytes of memory that they take."""
        self.outside.clear()
        before_bytes = memory_bytes(self.processes())
        begun = time.monotonic()
        self.begin_parked(count, seconds)
        self.outside.wait_for_lines(count, seconds)
        parked = time.monotonic() - begun
        return parked, memory_bytes(self.processes()) - before_bytes
