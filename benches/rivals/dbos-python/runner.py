"""The workflows of the comparison for DBOS Python: `python runner.py DATABASE OUTSIDE`.

A command a line on stdin, an answer a line on stdout, as JSON; the first line says that it is
launched, and that what it had not ended is going on.
"""

import itertools
import json
import os
import sys
import threading
import time

from dbos import DBOS

STOCK = 100
PARKED_SECONDS = 24 * 60 * 60

database, outside_file = sys.argv[1:]
# The file that stands for the world outside: what was done appears there as a line.
outside = os.open(outside_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
DBOS(
    config={
        "name": "rivals",
        "system_database_url": database,
        "log_level": "ERROR",
        "application_version": "1",
        "executor_id": "local",
        "run_admin_server": False,
    }
)


def tell(number):
    os.write(outside, f"{number}\n".encode())


@DBOS.step()
def notify(number):
    return number


@DBOS.step()
def reserve(stock, quantity):
    return stock - quantity


@DBOS.step()
def pay(number):
    return number


@DBOS.step()
def update(left):
    return left


@DBOS.step()
def take_step(number):
    tell(number)
    return number


@DBOS.workflow()
def order(quantity):
    """Five steps, one read of the state, two writes."""
    notify(1)
    stock = DBOS.get_event(DBOS.workflow_id, "stock", timeout_seconds=0)
    left = reserve(STOCK if stock is None else stock, quantity)
    DBOS.set_event("stock", left)
    pay(2)
    sold = update(left)
    DBOS.set_event("stock", sold)
    notify(3)
    return sold


@DBOS.workflow()
def steps(count):
    """So many steps, one after the other."""
    return sum(take_step(number) for number in range(count))


@DBOS.workflow()
async def park():
    """Waits for a day. It is async, since a thread each is not meant for so many."""
    tell(0)
    await DBOS.sleep_async(PARKED_SECONDS)


def in_lanes(count, concurrency, action):
    """A closed loop: each of so many lanes goes on when its last one has ended."""
    numbers = itertools.count()
    latencies_ms, failures = [], []

    def lane():
        try:
            while next(numbers) < count:
                begun = time.perf_counter()
                action()
                latencies_ms.append((time.perf_counter() - begun) * 1000)
        except Exception as failure:
            failures.append(failure)

    begun = time.perf_counter()
    lanes = [threading.Thread(target=lane) for _ in range(concurrency)]
    for thread in lanes:
        thread.start()
    for thread in lanes:
        thread.join()
    if failures:
        raise failures[0]
    return {"seconds": time.perf_counter() - begun, "latencies_ms": latencies_ms}


COMMANDS = {
    "orders": lambda count, concurrency: in_lanes(count, concurrency, lambda: order(1)),
    "steps": lambda count: in_lanes(1, 1, lambda: steps(count)),
    "park": lambda count, concurrency: in_lanes(count, concurrency, lambda: DBOS.start_workflow(park)),
}


def answer(value):
    print(json.dumps(value), flush=True)


DBOS.launch()
answer({"launched": True})
for line in sys.stdin:
    command, *numbers = line.split()
    answer(COMMANDS[command](*map(int, numbers)))
# Nobody is there to be answered any more; what is parked is not waited for.
os._exit(0)
