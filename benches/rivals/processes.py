"""Processes: started, ended by their own id, and what they use, read from /proc.

Knows nothing of what runs in them.
"""

import os
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

# How long a process may take to end by itself once it is asked to.
END_SECONDS = 10
# Between two looks at memory. A look at half a gigabyte takes a few milliseconds.
SAMPLE_SECONDS = 0.25
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


class TooLong(Exception):
    """Something was not done in the time that it is given."""


class Failed(Exception):
    """Something cannot be measured: what, and what to do."""


class Process:
    """A process that this one started, in a session of its own: Ctrl-C reaches it through `end`."""

    def __init__(self, arguments, log, **options):
        self.log = log
        with open(log, "ab") as errors:
            options = {"stdin": subprocess.DEVNULL, "stdout": errors, **options}
            self._process = subprocess.Popen(
                [str(it) for it in arguments], stderr=errors, start_new_session=True, **options
            )
        self.pid = self._process.pid
        self.stdin, self.stdout = self._process.stdin, self._process.stdout

    def has_ended(self):
        return self._process.poll() is not None

    def kill(self):
        """As `kill -9` does."""
        self._process.kill()
        self._process.wait()

    def end(self, by=signal.SIGTERM):
        """Asks it to end, and kills it if it does not."""
        _end(self._process, by)


class Meter:
    """What processes, and those that they started, use between the begin and the end of a block."""

    def __init__(self, processes):
        self._processes = processes
        self._ended = threading.Event()

    def __enter__(self):
        self._sampler = threading.Thread(target=self._sample)
        self._cpu_seconds = cpu_seconds(self._processes)
        self.peak_bytes = memory_bytes(self._processes)
        self._sampler.start()
        return self

    def __exit__(self, *_):
        self._ended.set()
        self._sampler.join()
        self.peak_bytes = max(self.peak_bytes, memory_bytes(self._processes))
        self.cpu_seconds = cpu_seconds(self._processes) - self._cpu_seconds

    def _sample(self):
        while not self._ended.wait(SAMPLE_SECONDS):
            self.peak_bytes = max(self.peak_bytes, memory_bytes(self._processes))


def memory_bytes(processes):
    """The memory of processes and of those that they started: what they share is counted once (PSS)."""
    return sum(_pss_bytes(pid) for process in processes for pid in _tree(process.pid))


def cpu_seconds(processes):
    """The processor time of processes and of those that they started, also of those that ended."""
    return sum(_cpu_seconds(pid) for process in processes for pid in _tree(process.pid))


def run(arguments, log, **options):
    """Runs a command to its end, with all that it prints in a file.

    Raises `Failed` with the last lines of it if the command does not succeed.
    """
    arguments = [str(it) for it in arguments]
    with open(log, "ab") as output:
        try:
            code = subprocess.call(arguments, stdout=output, stderr=output, **options)
        except FileNotFoundError as missing:
            raise Failed(f"`{arguments[0]}` is not there; install it") from missing
    if code != 0:
        raise Failed(f"`{' '.join(arguments)}` failed with {code}: {last_lines(log)}")


def output(arguments, seconds):
    """What a command prints on stdout.

    Raises `TooLong` if it does not end in so many seconds, `Failed` if it does not succeed. It does
    not run afterwards, however this ends.
    """
    arguments = [str(it) for it in arguments]
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    try:
        process = subprocess.Popen(arguments, text=True, start_new_session=True, **pipes)
    except OSError as error:
        raise Failed(f"cannot run `{arguments[0]}`: {error.strerror}") from error
    try:
        printed, errors = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired as expired:
        raise TooLong from expired
    finally:
        _end(process, signal.SIGTERM)
    if process.returncode != 0:
        raise Failed(f"`{' '.join(arguments)}` failed: {errors.strip()}")
    return printed


def last_lines(log):
    """The end of a file that a process wrote."""
    lines = Path(log).read_text(errors="replace").splitlines()[-5:]
    return "\n".join([f"the end of {log}:", *lines])


def until(is_done, seconds, interval=0.002):
    """Waits until something is so. Raises `TooLong` if that takes longer than so many seconds."""
    end = time.monotonic() + seconds
    while not is_done():
        if time.monotonic() > end:
            raise TooLong
        time.sleep(interval)


def free_ports(count):
    """Ports of the loopback interface that nobody listens on."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [it.getsockname()[1] for it in sockets]
    for it in sockets:
        it.close()
    return ports


def _end(process, by):
    if process.poll() is not None:
        return
    process.send_signal(by)
    try:
        process.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _tree(pid):
    """A process and all that it started."""
    found = [pid]
    for parent in found:
        for children in Path(f"/proc/{parent}/task").glob("*/children"):
            try:
                found.extend(int(it) for it in children.read_text().split())
            except OSError:
                continue  # It has ended meanwhile.
    return found


def _pss_bytes(pid):
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0  # It has ended meanwhile.
    return sum(int(it.split()[1]) * 1024 for it in lines if it.startswith("Pss:"))


def _cpu_seconds(pid):
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    # Its own user and system time, and those of its children that it has seen end.
    return sum(int(it) for it in fields[11:15]) / TICKS_PER_SECOND
