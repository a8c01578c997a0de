"""Leads half of the well-formed calls to what is there: chance would find neither an instance nor a
workflow."""

import random

import schemathesis
from schemathesis import GenerationMode

IDS = ["done", "waits", "collects", "nobody"]
WORKFLOWS = ["Script", "OrderProcessingWorkflow"]


@schemathesis.hook
def before_call(context, case, kwargs):
    if case.meta is None or case.meta.generation.mode is not GenerationMode.POSITIVE:
        return
    if random.random() < 0.5:
        return
    if "id" in (case.path_parameters or {}):
        case.path_parameters["id"] = random.choice(IDS)
    if "key" in (case.path_parameters or {}):
        case.path_parameters["key"] = random.choice(["Cars", "a/b"])
    if case.operation.label == "POST /api/v1/instances" and isinstance(case.body, dict):
        case.body["workflow"] = random.choice(WORKFLOWS)
        case.body["input"] = random.choice([[], [{"event": "go"}], {"Name": "Cars"}])
