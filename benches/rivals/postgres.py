"""A PostgreSQL for one run, with its default settings: every commit is synced."""

import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

from processes import Failed, Process, free_ports, last_lines, run, until

READY_SECONDS = 60


class Postgres:
    """A server on loopback, with a data folder of its own."""

    def __init__(self, folder):
        self._data = folder / "postgres"
        self._log = folder / "postgres-log"
        self._binaries = _binaries()
        self.process = None
        told = subprocess.check_output([self._binaries / "postgres", "--version"], text=True)
        self.version = re.search(r"[\d.]+", told)[0]
        # It refuses to run as root. Debian's package brings a user for it.
        self._user = {"user": "postgres", "group": "postgres"} if os.getuid() == 0 else {}

    def start(self):
        shutil.rmtree(self._data, ignore_errors=True)
        self._data.mkdir(mode=0o700)
        if self._user:
            shutil.chown(self._data, **self._user)
        initdb = [self._binaries / "initdb", "--pgdata=.", "--username=postgres", "--auth=trust"]
        run(initdb, self._log, cwd=self._data, **self._user)
        (port,) = free_ports(1)
        self.url = f"postgresql://postgres@127.0.0.1:{port}"
        listens = [f"--port={port}", "--listen_addresses=127.0.0.1", "--unix_socket_directories="]
        server = [self._binaries / "postgres", "-D", ".", *listens]
        self.process = Process(server, self._log, cwd=self._data, **self._user)
        until(self._is_ready, READY_SECONDS, interval=0.05)

    def end(self):
        if self.process:
            # It disconnects who is there and ends: its fast shutdown.
            self.process.end(signal.SIGINT)

    def _is_ready(self):
        if self.process.has_ended():
            raise Failed(f"PostgreSQL does not run; {last_lines(self._log)}")
        ready = [self._binaries / "pg_isready", "--quiet", f"--dbname={self.url}"]
        return subprocess.call(ready) == 0


def _binaries():
    """Where the newest server is: on the path, or where Debian puts it."""
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    folders = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda it: int(it.parts[-3])
    )
    if not folders:
        raise Failed("PostgreSQL's server is not there; `apt-get install postgresql`")
    return folders[-1].parent
