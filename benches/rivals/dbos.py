"""DBOS: a library in the process that runs the workflows, and a database."""

import json
import select
import shutil
import subprocess
import sys
from pathlib import Path

from postgres import Postgres
from processes import Failed, Process, TooLong, last_lines, run
from rival import Rival

HERE = Path(__file__).parent
TYPESCRIPT_VERSION = json.loads((HERE / "dbos-typescript/package.json").read_text())[
    "dependencies"
]["@dbos-inc/dbos-sdk"]
PYTHON_VERSION = (HERE / "dbos-python/requirements.txt").read_text().strip().rpartition("=")[2]
# For the library to be loaded and its tables to be made.
LAUNCH_SECONDS = 60


class Dbos(Rival):
    """A process with DBOS in it that does what it is told on its stdin."""

    def __init__(self, folder):
        super().__init__(folder)
        self._runner = None

    def processes(self):
        return [self._runner]

    def launch(self):
        self._start_runner()

    def end(self):
        if self._runner:
            self._runner.end()

    def run_orders(self, count, concurrency, seconds):
        return self._ask(f"orders {count} {concurrency}", seconds)

    def run_steps(self, count, seconds):
        return self._ask(f"steps {count}", seconds)["seconds"]

    def begin_steps(self, count):
        self._tell(f"steps {count}")

    def begin_parked(self, count, seconds):
        self._ask(f"park {count} 64", seconds)

    def crash(self):
        """The process with DBOS in it; a database of its own goes on."""
        self._runner.kill()

    def recover(self):
        self._start_runner()

    def _start_runner(self):
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        arguments = [*self._command(), self._database(), self.outside.file]
        self._runner = Process(arguments, self.log, **pipes)
        self._answer(LAUNCH_SECONDS)

    def _ask(self, command, seconds):
        self._tell(command)
        return self._answer(seconds)

    def _tell(self, command):
        try:
            self._runner.stdin.write(f"{command}\n".encode())
            self._runner.stdin.flush()
        except BrokenPipeError as broken:
            raise self._has_ended() from broken

    def _answer(self, seconds):
        readable, _, _ = select.select([self._runner.stdout], [], [], seconds)
        if not readable:
            raise TooLong
        line = self._runner.stdout.readline()
        if not line:
            raise self._has_ended()
        return json.loads(line)

    def _has_ended(self):
        return Failed(f"the process with DBOS has ended; {last_lines(self.log)}")


class DbosTypeScript(Dbos):
    """On PostgreSQL, which is measured with it."""

    title = f"DBOS TypeScript {TYPESCRIPT_VERSION}, PostgreSQL"
    orders_together = {"full": 1_000, "quick": 100}

    def __init__(self, scratch):
        super().__init__(scratch / "dbos-typescript")
        self._postgres = Postgres(self.folder)
        self.title += f" {self._postgres.version}"

    def install(self):
        # Beside its packages, where Node looks for them.
        shutil.copytree(HERE / "dbos-typescript", self.folder, dirs_exist_ok=True)
        npm = ["npm", "install", "--no-package-lock", "--no-audit", "--no-fund"]
        run([*npm, "--prefix", self.folder], self.log)

    def processes(self):
        return [self._runner, self._postgres.process]

    def launch(self):
        self._postgres.start()
        super().launch()

    def end(self):
        super().end()
        self._postgres.end()

    def _command(self):
        return ["node", self.folder / "runner.mjs"]

    def _database(self):
        return f"{self._postgres.url}/rivals"


class DbosPython(Dbos):
    """On SQLite, in its own process."""

    title = f"DBOS Python {PYTHON_VERSION}, SQLite"
    orders_together = {"full": 300, "quick": 50}

    def __init__(self, scratch):
        super().__init__(scratch / "dbos-python")
        self._python = self.folder / "venv" / "bin" / "python"

    def install(self):
        run([sys.executable, "-m", "venv", self.folder / "venv"], self.log)
        requirements = HERE / "dbos-python" / "requirements.txt"
        run([self._python, "-m", "pip", "install", "-r", requirements], self.log)

    def launch(self):
        for file in self.folder.glob("data.sqlite*"):
            file.unlink()
        super().launch()

    def _command(self):
        return [self._python, HERE / "dbos-python" / "runner.py"]

    def _database(self):
        return f"sqlite:///{self.folder / 'data.sqlite'}"
