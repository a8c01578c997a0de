"""Restate: its server from npm, and a handler in Rust. Both are measured, the client is not."""

import json
import os
import shutil
import urllib.error
import urllib.request
from pathlib import Path

from processes import Failed, Process, free_ports, last_lines, output, run, until
from rival import Rival

VERSION = "1.7.12"
HANDLER = Path(__file__).parent / "restate-handler"
PARKED_SECONDS = 24 * 60 * 60
# For the server to be ready, also after a crash on many partitions.
READY_SECONDS = 120
# Loopback is reached directly, whatever proxy the environment names.
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Restate(Rival):
    """One server and one handler, on data of their own."""

    title = f"Restate {VERSION}"
    orders_together = {"full": 5_000, "quick": 500}

    def __init__(self, scratch):
        super().__init__(scratch / "restate")
        self._target = scratch / "cargo"
        self._server = self._handler = None
        self._loads = 0

    def install(self):
        package = f"@restatedev/restate-server@{VERSION}"
        npm = ["npm", "install", "--no-save", "--no-package-lock", "--no-audit", "--no-fund"]
        run([*npm, "--prefix", self.folder, package], self.log)
        manifest = HANDLER / "Cargo.toml"
        cargo = ["cargo", "build", "--release", "--locked", "--manifest-path", manifest]
        run([*cargo, "--target-dir", self._target], self.log)

    def processes(self):
        return [self._server, self._handler]

    def launch(self):
        shutil.rmtree(self.folder / "data", ignore_errors=True)
        self._ingress, self._admin, self._fabric, handler = free_ports(4)
        address = f"127.0.0.1:{handler}"
        binary = self._target / "release" / "restate-handler"
        self._handler = Process([binary, address, self.outside.file], self.log)
        self._start_server()
        deployment = {"uri": f"http://{address}"}
        until(lambda: self._is_answered(self._admin, "/deployments", deployment), READY_SECONDS)
        until(lambda: self._is_answered(self._ingress, "/restate/health"), READY_SECONDS)

    def end(self):
        for process in self.processes():
            if process:
                process.end()

    def run_orders(self, count, concurrency, seconds):
        return self._load("OrderWorkflow", "run", {"quantity": 1}, count, concurrency, seconds)

    def run_steps(self, count, seconds):
        return self._load("StepsWorkflow", "run", count, 1, 1, seconds)["seconds"]

    def begin_steps(self, count):
        self._load("StepsWorkflow", "run/send", count, 1, 1, READY_SECONDS)

    def begin_parked(self, count, seconds):
        self._load("ParkWorkflow", "run/send", PARKED_SECONDS, count, 64, seconds)

    def crash(self):
        """The server alone: it is what keeps the workflows. The handler knows nothing."""
        self._server.kill()

    def recover(self):
        self._start_server()

    def _start_server(self):
        binaries = self.folder.glob("node_modules/@restatedev/restate-server-*/bin/restate-server")
        binary = next(binaries, None)
        if binary is None:
            raise Failed("Restate has no package with a server for this system")
        # No durable setting is among these: where it listens, and that it calls nobody.
        settings = {
            "RESTATE_LISTEN_MODE": "tcp",
            "RESTATE_BIND_IP": "127.0.0.1",
            "RESTATE_ADVERTISED_HOST": "127.0.0.1",
            "RESTATE_BIND_PORT": self._fabric,
            "RESTATE_ADMIN__BIND_PORT": self._admin,
            "RESTATE_INGRESS__BIND_PORT": self._ingress,
            "RESTATE_DISABLE_TELEMETRY": "true",
            "RESTATE_LOG_FILTER": "warn",
            "RESTATE_NODE_NAME": "rivals",
        }
        environment = os.environ | {name: str(value) for name, value in settings.items()}
        arguments = [binary, "--no-logo", "--base-dir", self.folder / "data"]
        self._server = Process(arguments, self.log, env=environment)

    def _is_answered(self, port, path, body=None):
        for process in self.processes():
            if process.has_ended():
                raise Failed(f"Restate does not run; {last_lines(self.log)}")
        data = None if body is None else json.dumps(body).encode()
        headers = {"content-type": "application/json"}
        request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data, headers)
        try:
            with DIRECT.open(request, timeout=10) as answer:
                return answer.status < 300
        except (OSError, urllib.error.URLError):
            return False

    def _load(self, workflow, handler, body, count, concurrency, seconds):
        """What `load` prints of so many calls, each of a workflow of its own."""
        # A key of a workflow is used once.
        self._loads += 1
        path = f"/{workflow}/{self._loads}-{{id}}/{handler}"
        load = [self._target / "release" / "load", f"127.0.0.1:{self._ingress}", path]
        arguments = [*load, json.dumps(body), str(count), str(concurrency)]
        return json.loads(output(arguments, seconds))
