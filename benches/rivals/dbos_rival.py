"""The workflows of the comparison on DBOS for Python. DATABASE names the system database.

   dbos_rival.py order COUNT LANES | steps COUNT [ID] | recover ID | park COUNT

Prints one JSON object.
"""

import asyncio
import json
import os
import sys
import time

from dbos import DBOS, SetWorkflowID

EFFECTS = open(os.environ.get("EFFECTS", "/dev/null"), "a", buffering=1)
DBOS(
    config={
        "name": "rival",
        "system_database_url": os.environ["DATABASE"],
        "log_level": "ERROR",
        "application_version": "1",
        "executor_id": "local",
    }
)


@DBOS.step()
def notify(number):
    return number


@DBOS.step()
def reserve(stock, quantity):
    return stock - quantity


@DBOS.step()
def payment(number):
    return number


@DBOS.step()
def update(left):
    return left


@DBOS.workflow()
def order(quantity):
    """Five durable steps, one read and two writes of the state."""
    notify(1)
    stock = DBOS.get_event(DBOS.workflow_id, "stock", timeout_seconds=0) or 100
    reserved = reserve(stock, quantity)
    DBOS.set_event("stock", reserved)
    payment(2)
    left = update(reserved)
    DBOS.set_event("stock", left)
    notify(3)
    return left


@DBOS.step()
def step(number):
    EFFECTS.write(f"{number}\n")
    return number


@DBOS.workflow()
def steps(count):
    return sum(step(number) for number in range(count))


@DBOS.workflow()
async def park():
    await DBOS.sleep_async(86_400)


def percentile(latencies, percent):
    return latencies[min(len(latencies) * percent // 100, len(latencies) - 1)] * 1e3


def orders(count, lanes):
    for _ in range(20):
        order(1)
    latencies, begun = [], time.perf_counter()
    if lanes == 1:
        for _ in range(count):
            at = time.perf_counter()
            order(1)
            latencies.append(time.perf_counter() - at)
    else:
        for handle in [DBOS.start_workflow(order, 1) for _ in range(count)]:
            handle.get_result()
    told = {"seconds": time.perf_counter() - begun}
    if latencies:
        latencies.sort()
        told |= {"p50": percentile(latencies, 50), "p99": percentile(latencies, 99)}
    return told


async def parked(count):
    begun, room = time.perf_counter(), asyncio.Semaphore(64)

    async def one():
        async with room:
            await DBOS.start_workflow_async(park)

    await asyncio.gather(*[one() for _ in range(count)])
    return {"seconds": time.perf_counter() - begun}


def main():
    DBOS.launch()
    what, first, *rest = sys.argv[1:]
    told = {}
    if what == "order":
        told = orders(int(first), int(rest[0]))
    elif what == "steps":
        begun = time.perf_counter()
        with SetWorkflowID(rest[0] if rest else f"steps-{time.time():.0f}"):
            steps(int(first))
        told = {"seconds": time.perf_counter() - begun}
    elif what == "recover":
        DBOS.retrieve_workflow(first).get_result()
    elif what == "park":
        told = asyncio.run(parked(int(first)))
    print(json.dumps(told), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
