#!/usr/bin/env python3
"""Runs wfhost and its rivals on the same disk, one after the other, and prints one table.

    python3 benches/rivals/run.py [--only wfhost,restate,dbos-ts,dbos-py] [--quick] [--json FILE]

What is compared and how stands in README.md beside this file.
"""

import argparse
import atexit
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
SCRATCH = ROOT / "target" / "rivals"
TICKS = os.sysconf("SC_CLK_TCK")
PORTS = {"restate": 8080, "restate_admin": 9070, "handler": 9080, "postgres": 5544}

# What the table shows: the key, its name, its unit, and whether more is better.
ROWS = [
    ("p50", "latency of one order, p50", "ms", False),
    ("p99", "latency of one order, p99", "ms", False),
    ("orders", "orders a second", "/s", True),
    ("cpu", "processor an order", "ms", False),
    ("steps_1000", "1,000 steps, one after the other", "s", False),
    ("steps_10000", "10,000 steps, one after the other", "s", False),
    ("recovery", "`kill -9` to the first new step", "s", False),
    ("idle", "memory, idle", "MiB", False),
    ("peak", "memory, at most under load", "MiB", False),
    ("park", "10,000 parked on a timer", "s", False),
]


class Sizes:
    """How much of each is measured."""

    def __init__(self, quick):
        self.singles = 50 if quick else 300
        self.orders = 300 if quick else 3_000
        self.orders_wfhost = 2_000 if quick else 30_000
        self.lanes = [64] if quick else [64, 256]
        self.steps = [200, 1_000] if quick else [1_000, 10_000]
        self.recover_steps = 500 if quick else 2_000
        self.parked = 500 if quick else 10_000


def say(*words):
    print(*words, file=sys.stderr, flush=True)


def sh(*words, **options):
    return subprocess.run([str(word) for word in words], check=True, **options)


def told(*words, env=None, timeout=900):
    """The JSON object that a command prints on its last line; absent if it takes too long."""
    words = [str(word) for word in words]
    try:
        ran = subprocess.run(
            words, check=True, stdout=subprocess.PIPE, env={**os.environ, **(env or {})}, timeout=timeout
        )
    except subprocess.TimeoutExpired:
        return None
    return json.loads(ran.stdout.decode().strip().splitlines()[-1])


class Server:
    """A process that is stopped with this script, whatever happens."""

    def __init__(self, words, log, env=None):
        self.process = subprocess.Popen(
            [str(word) for word in words],
            stdout=open(log, "ab"),
            stderr=subprocess.STDOUT,
            env={**os.environ, **(env or {})},
            start_new_session=True,
        )
        atexit.register(self.kill)

    def kill(self):
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


def tree(pid):
    """A process and all that it has started."""
    pids = [pid]
    for pid in pids:
        try:
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        except OSError:
            continue
        pids.extend(int(child) for child in children)
    return pids


def cpu_seconds(pids):
    total = 0
    for top in pids:
        for pid in tree(top):
            try:
                fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            # Its own, and of children that have ended: a database ends its processes now and then.
            total += sum(int(fields[at]) for at in (11, 12, 13, 14))
    return total / TICKS


def memory_mib(pids):
    """Proportional memory, so that what processes share counts once."""
    total = 0
    for top in pids:
        for pid in tree(top):
            try:
                rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
            except OSError:
                continue
            total += sum(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
    return total / 1024


class Watch:
    """Processor time and the highest memory of processes while something runs."""

    def __init__(self, pids):
        self.pids, self.peak, self.over = pids, 0.0, threading.Event()
        self.before = cpu_seconds(pids)
        self.thread = threading.Thread(target=self.look, daemon=True)
        self.thread.start()

    def look(self):
        while not self.over.wait(0.1):
            self.peak = max(self.peak, memory_mib(self.pids))

    def end(self):
        self.over.set()
        self.thread.join()
        return cpu_seconds(self.pids) - self.before


def until(ready, seconds=60):
    end = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > end:
            raise SystemExit("a server does not answer; see the logs in " + str(SCRATCH))
        time.sleep(0.005)


def lines(path):
    try:
        return path.read_bytes().count(b"\n")
    except FileNotFoundError:
        return 0


# ---------------------------------------------------------------------------------------- wfhost


def wfhost(sizes, kind):
    binary = ROOT / "target" / "release" / "wfhost"
    common = ["--kind", kind, "--dir", SCRATCH, "--json"]

    def bench(*words, options=common):
        return told(binary, "bench", *words, *options)

    one = bench("--scenario", "order", "--instances", sizes.singles, "--concurrency", 1)
    rates = [
        bench("--scenario", "order", "--instances", sizes.orders_wfhost, "--concurrency", lanes)
        for lanes in sizes.lanes
    ]
    best = max(rates, key=lambda it: it["instances_per_second"])
    steps = [
        bench("--scenario", "steps", "--instances", 1, "--concurrency", 1, "--steps", count)
        for count in sizes.steps
    ]
    figures = {
        "p50": one["latency_ms"]["p50"],
        "p99": one["latency_ms"]["p99"],
        "orders": best["instances_per_second"],
        "cpu": best["cpu_ms_per_instance"],
        "steps_1000": steps[0]["latency_ms"]["max"] / 1e3,
        "steps_10000": steps[1]["latency_ms"]["max"] / 1e3,
        "idle": best["rss_bytes"]["idle"] / 2**20,
        "peak": best["rss_bytes"]["peak"] / 2**20,
        "disk": best["disk"],
        "commits_per_order": best["commits"] / sizes.orders_wfhost,
        "fsyncs_per_order": best["fsyncs"] / sizes.orders_wfhost,
    }
    recovered = bench("--scenario", "recover", "--steps", sizes.recover_steps)
    figures["recovery"] = recovered["latency_ms"]["p50"] / 1e3
    if kind == "contained":
        parked = bench(
            "--scenario", "park", "--instances", sizes.parked, "--concurrency", 64,
            options=["--dir", SCRATCH, "--json"],
        )
        figures["park"] = sizes.parked / parked["instances_per_second"]
    return figures


# --------------------------------------------------------------------------------------- Restate


def restate(sizes):
    folder = SCRATCH / "restate"
    if not (folder / "node_modules/@restatedev/restate-server").exists():
        folder.mkdir(parents=True, exist_ok=True)
        sh("npm", "install", "--silent", "--prefix", folder, "@restatedev/restate-server@1.7")
    sh(
        "cargo", "build", "--release", "--locked", "--quiet",
        "--manifest-path", HERE / "restate/Cargo.toml", "--target-dir", SCRATCH / "build",
    )
    server_binary = next(folder.glob("node_modules/@restatedev/restate-server-linux-*/bin/restate-server"))
    base = SCRATCH / "restate-data"
    shutil.rmtree(base, ignore_errors=True)
    effects = SCRATCH / "restate-effects"
    effects.unlink(missing_ok=True)
    ingress = f"127.0.0.1:{PORTS['restate']}"
    env = {
        "RESTATE_BIND_IP": "127.0.0.1",
        "RESTATE_ADVERTISED_HOST": "127.0.0.1",
        "RESTATE_LISTEN_MODE": "tcp",
        "RESTATE_DISABLE_TELEMETRY": "true",
        "RESTATE_LOG_FILTER": "warn",
        "DO_NOT_TRACK": "1",
    }

    def serve():
        return Server([server_binary, "--no-logo", "--base-dir", base], SCRATCH / "restate.log", env)

    def answers(url):
        try:
            return urllib.request.urlopen(url, timeout=1).status == 200
        except (urllib.error.URLError, OSError):
            return False

    def post(url, body):
        request = urllib.request.Request(
            url, data=json.dumps(body).encode(), headers={"content-type": "application/json"}
        )
        return urllib.request.urlopen(request, timeout=600).read()

    def healthy():
        admin = f"http://127.0.0.1:{PORTS['restate_admin']}/health"
        return answers(admin) and answers(f"http://{ingress}/restate/health")

    server = serve()
    handler_address = f"127.0.0.1:{PORTS['handler']}"
    handler = Server([SCRATCH / "build/release/restate-rival", handler_address, effects], SCRATCH / "handler.log")
    until(healthy)
    time.sleep(0.5)
    post(f"http://127.0.0.1:{PORTS['restate_admin']}/deployments", {"uri": f"http://{handler_address}"})
    pids = [server.process.pid, handler.process.pid]
    load = SCRATCH / "build/release/load"

    def run(path, body, count, lanes, prefix):
        return told(load, ingress, path, json.dumps(body), count, lanes, prefix)

    order = ("/OrderWorkflow/{id}/run", {"quantity": 1})
    run(*order, 50, 1, "warm")
    figures = {"idle": memory_mib(pids)}
    one = run(*order, sizes.singles, 1, "one")
    figures |= {"p50": one["p50"], "p99": one["p99"]}
    for lanes in sizes.lanes:
        watch = Watch(pids)
        many = run(*order, sizes.orders, lanes, f"many{lanes}-")
        cpu, rate = watch.end(), sizes.orders / many["seconds"]
        figures["peak"] = max(figures.get("peak", 0), watch.peak)
        if rate > figures.get("orders", 0):
            figures |= {"orders": rate, "cpu": cpu * 1e3 / sizes.orders}
    for key, count in zip(("steps_1000", "steps_10000"), sizes.steps):
        figures[key] = run("/StepsWorkflow/{id}/run", count, 1, 1, key)["seconds"]
    begun = time.monotonic()
    run("/ParkWorkflow/{id}/run/send", 86_400, sizes.parked, 64, "park")
    figures["park"] = time.monotonic() - begun
    seen = lines(effects)
    post(f"http://{ingress}/StepsWorkflow/crash/run/send", sizes.recover_steps)
    until(lambda: lines(effects) >= seen + sizes.recover_steps * 2 // 5)
    server.kill()
    time.sleep(0.5)
    seen, begun = lines(effects), time.monotonic()
    server = serve()
    until(lambda: lines(effects) > seen, 120)
    figures["recovery"] = time.monotonic() - begun
    server.kill()
    handler.kill()
    return figures


# ------------------------------------------------------------------------------------------ DBOS


class Postgres:
    """A throwaway PostgreSQL with its default settings: fsync and synchronous_commit are on."""

    def __init__(self):
        binaries = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
        if not binaries:
            raise SystemExit("PostgreSQL is missing: apt-get install postgresql")
        self.bin = binaries[-1].parent
        # A server does not run as root; the scratch folder may be closed to others.
        self.user = ["su", "postgres", "-s", "/bin/sh", "-c"] if os.geteuid() == 0 else ["/bin/sh", "-c"]
        self.folder = Path(tempfile.mkdtemp(prefix="rivals-postgres-", dir=os.environ.get("RIVALS_POSTGRES_DIR")))
        if os.geteuid() == 0:
            shutil.chown(self.folder, "postgres")
        data, port = self.folder / "data", PORTS["postgres"]
        self.sh(f"{self.bin}/initdb -D {data} -U postgres -A trust > {self.folder}/log")
        options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={self.folder} -c max_connections=300"
        self.sh(f"{self.bin}/pg_ctl -D {data} -w -l {self.folder}/log -o '{options}' start > /dev/null")
        atexit.register(self.stop)
        self.pid = int((data / "postmaster.pid").read_text().split()[0])
        self.url = f"postgresql://postgres@127.0.0.1:{port}/rival"
        self.stopped = False

    def sh(self, command):
        sh(*self.user, command)

    def stop(self):
        if not self.stopped:
            self.stopped = True
            self.sh(f"{self.bin}/pg_ctl -D {self.folder}/data -m fast stop > /dev/null")
            shutil.rmtree(self.folder, ignore_errors=True)


def dbos(sizes, command, database, server):
    """`server`: the processes beside the program that count, if there are any."""
    effects = SCRATCH / "dbos-effects"
    effects.unlink(missing_ok=True)
    env = {"DATABASE": database, "EFFECTS": str(effects), "NODE_NO_WARNINGS": "1"}

    def run(*words, timeout=900):
        return told(*command, *words, env=env, timeout=timeout)

    run("order", 20, 1)
    one = run("order", sizes.singles, 1)
    figures = {"p50": one["p50"], "p99": one["p99"]}
    # The program is a child of this process, so that its time is counted when it has ended.
    watch = Watch([os.getpid(), *server])
    many = run("order", sizes.orders, sizes.lanes[0])
    figures |= {
        "orders": sizes.orders / many["seconds"],
        "cpu": watch.end() * 1e3 / sizes.orders,
        "peak": watch.peak - memory_mib([os.getpid()]),
    }
    for key, count in zip(("steps_1000", "steps_10000"), sizes.steps):
        ran = run("steps", count)
        figures[key] = ran["seconds"] if ran else None
    figures["park"] = run("park", sizes.parked)["seconds"]
    seen = lines(effects)
    process = Server([*command, "steps", sizes.recover_steps, "crash"], SCRATCH / "dbos.log", env)
    until(lambda: lines(effects) >= seen + sizes.recover_steps * 2 // 5, 120)
    process.kill()
    seen, begun = lines(effects), time.monotonic()
    process = Server([*command, "recover", "crash"], SCRATCH / "dbos.log", env)
    until(lambda: lines(effects) > seen, 120)
    figures["recovery"] = time.monotonic() - begun
    process.kill()
    return figures


def dbos_typescript(sizes):
    folder = SCRATCH / "dbos"
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "node_modules/@dbos-inc/dbos-sdk").exists():
        sh("npm", "install", "--silent", "--prefix", folder, "@dbos-inc/dbos-sdk")
    # Node looks for packages beside the program.
    program = shutil.copy(HERE / "dbos_rival.mjs", folder)
    postgres = Postgres()
    try:
        return dbos(sizes, ["node", program], postgres.url, [postgres.pid])
    finally:
        postgres.stop()


def dbos_python(sizes):
    folder = SCRATCH / "dbos"
    python = folder / "venv/bin/python"
    if not python.exists():
        sh(sys.executable, "-m", "venv", folder / "venv")
        sh(python, "-m", "pip", "install", "--quiet", "dbos")
    for file in folder.glob("rival.sqlite*"):
        file.unlink()
    return dbos(sizes, [python, HERE / "dbos_rival.py"], f"sqlite:///{folder}/rival.sqlite", [])


# ------------------------------------------------------------------------------------- the table

SYSTEMS = {
    "wfhost": ("wfhost, contained", lambda sizes: wfhost(sizes, "contained")),
    "wfhost-effectful": ("wfhost, effectful", lambda sizes: wfhost(sizes, "effectful")),
    "restate": ("Restate (Rust)", restate),
    "dbos-ts": ("DBOS TypeScript + PostgreSQL", dbos_typescript),
    "dbos-py": ("DBOS Python + SQLite", dbos_python),
    "wfhost-again": ("wfhost, contained, again", lambda sizes: wfhost(sizes, "contained")),
}


def shown(value, unit, base, more):
    if value is None:
        return "–"
    text = f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
    text = f"{text} {unit}" if unit != "/s" else text
    if base and value:
        ratio = base / value if more else value / base
        text += f" ({ratio:,.0f} x)" if ratio >= 10 else f" ({ratio:.2g} x)"
    return text


def table(results):
    names = [SYSTEMS[system][0] for system in results]
    out = ["| | " + " | ".join(names) + " |", "|---|" + "---|" * len(names)]
    base = results.get("wfhost", {})
    for key, name, unit, more in ROWS:
        cells = [
            shown(figures.get(key), unit, base.get(key) if system != "wfhost" else None, more)
            for system, figures in results.items()
        ]
        out.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(out)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", help="systems, with commas between: " + ", ".join(SYSTEMS))
    parser.add_argument("--quick", action="store_true", help="a tenth of everything, to try it out")
    parser.add_argument("--json", metavar="FILE", help="write the figures there as well")
    arguments = parser.parse_args()
    chosen = arguments.only.split(",") if arguments.only else list(SYSTEMS)
    unknown = [system for system in chosen if system not in SYSTEMS]
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; there are {', '.join(SYSTEMS)}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    SCRATCH.mkdir(parents=True, exist_ok=True)
    sh("cargo", "build", "--release", "--locked", "--quiet", cwd=ROOT)
    sizes, results = Sizes(arguments.quick), {}
    for system in chosen:
        name, measure = SYSTEMS[system]
        say(f"{name} (load {os.getloadavg()[0]:.1f})")
        results[system] = measure(sizes)
        results[system]["load"] = os.getloadavg()[0]
    print(table(results))
    print("\nIn brackets: how many times better wfhost with contained activities is, in this run.")
    for system, figures in results.items():
        if "disk" in figures:
            disk = figures["disk"]["append_fdatasync_per_second"]
            print(
                f"{SYSTEMS[system][0]}: the disk alone {disk:,.0f} syncs/s; "
                f"{figures['commits_per_order']:.2f} commits, {figures['fsyncs_per_order']:.2f} syncs an order"
            )
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
