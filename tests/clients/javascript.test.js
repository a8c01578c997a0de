// Dapr's JavaScript client against a running host, as an application uses it: it finds the host by
// DAPR_HTTP_PORT and shows DAPR_API_TOKEN, as under `dapr run`. Started by ./run.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";

import dapr from "@dapr/dapr";

const { CommunicationProtocolEnum, DaprClient, StateConcurrencyEnum } = dapr;
const STORE = "statestore";
const FIRST_WRITE = { concurrency: StateConcurrencyEnum.CONCURRENCY_FIRST_WRITE };
/** How long anything may take, in milliseconds. */
const TIME_MAX = 30_000;

const silent = () => {};
const client = new DaprClient({
  communicationProtocol: CommunicationProtocolEnum.HTTP,
  // What is refused is asserted, not printed.
  logger: { service: { error: silent, warn: silent, info: silent, verbose: silent, debug: silent } },
});

before(() => client.start());

// The last call stops the host, which `run` waits for.
after(async () => {
  await client.sidecar.shutdown();
  await client.stop();
});

/** What the client says of a call that the host refused. */
async function refused(call) {
  const error = await call.then((answer) => answer?.error, (error) => error);
  assert.ok(error, "it was not refused");
  const { status, error_msg } = JSON.parse(error.message);
  return [status, JSON.parse(error_msg).errorCode];
}

/** Watches an instance until it has this status. */
async function reaches(id, status) {
  const deadline = Date.now() + TIME_MAX;
  for (;;) {
    const state = await client.workflow.get(id);
    if (state.runtimeStatus === status) return state;
    assert.ok(Date.now() < deadline, `${id} is ${state.runtimeStatus}, not ${status}`);
    await pause(20);
  }
}

async function etag(key) {
  const [{ etag }] = await client.state.getBulk(STORE, [key]);
  return etag;
}

const cars = (quantity) => ({ name: "Cars", totalCost: 15000, quantity });
const order = (quantity) => ({ Name: "Cars", TotalCost: 15000, Quantity: quantity });
/** An order whose payment takes longer than any test. */
const slow = { ...order(1), SimulatedWorkSeconds: 3600 };

test("the host is well, says what it is, and takes labels", async () => {
  assert.equal(client.getIsInitialized(), true);
  assert.equal(await client.health.isHealthy(), true);
  assert.equal(await client.metadata.set("team", "cars"), true);
  const { id, runtimeVersion, components, extended } = await client.metadata.get();
  assert.equal(id, "wfhost");
  assert.match(runtimeVersion, /^\d+\.\d+\.\d+$/);
  assert.deepEqual(components.map(({ name }) => name), [STORE, "dapr"]);
  assert.equal(extended.team, "cars");
});

test("state is saved, read, read in bulk and deleted", async () => {
  const values = { object: cars(10), list: [1, 2], text: "ten", number: 1.5, no: false };
  const items = Object.entries(values).map(([key, value]) => ({ key, value }));
  assert.deepEqual(await client.state.save(STORE, items), {});
  for (const [key, value] of Object.entries(values)) {
    assert.deepEqual(await client.state.get(STORE, key), value);
  }
  assert.equal(await client.state.get(STORE, "missing"), "");
  const bulk = await client.state.getBulk(STORE, ["text", "missing", "object"], { parallelism: 2 });
  assert.deepEqual(
    bulk.map(({ key, data }) => [key, data]),
    [["text", "ten"], ["missing", undefined], ["object", cars(10)]],
  );
  assert.deepEqual(await client.state.delete(STORE, "text"), {});
  assert.deepEqual(await client.state.delete(STORE, "text"), {});
  assert.equal(await client.state.get(STORE, "text"), "");
});

test("who comes second under first-write is refused", async () => {
  const save = (value, etag, options) => client.state.save(STORE, [{ key: "e", value, etag, options }]);
  assert.deepEqual(await save(1, undefined, FIRST_WRITE), {});
  const first = await etag("e");
  assert.deepEqual(await save(2, first, FIRST_WRITE), {});
  assert.deepEqual(await refused(save(3, first, FIRST_WRITE)), [409, "ERR_STATE_SAVE"]);
  assert.deepEqual(await refused(save(3, undefined, FIRST_WRITE)), [409, "ERR_STATE_SAVE"]);
  assert.deepEqual(await refused(save(3, first)), [409, "ERR_STATE_SAVE"]);
  assert.equal(await client.state.get(STORE, "e"), 2);
  const last = { concurrency: StateConcurrencyEnum.CONCURRENCY_LAST_WRITE };
  assert.deepEqual(await save(4, first, last), {});
  assert.equal(await client.state.get(STORE, "e"), 4);

  const stale = client.state.delete(STORE, "e", { etag: first, ...FIRST_WRITE });
  assert.deepEqual(await refused(stale), [409, "ERR_STATE_DELETE"]);
  assert.deepEqual(await client.state.delete(STORE, "e", { etag: await etag("e"), ...FIRST_WRITE }), {});
  assert.equal(await client.state.get(STORE, "e"), "");
});

test("a transaction is done whole or not at all", async () => {
  await client.state.save(STORE, [{ key: "t1", value: 1 }, { key: "t2", value: 1 }]);
  const [stale, now] = [await etag("t1"), await etag("t2")];
  await client.state.save(STORE, [{ key: "t1", value: 2 }]);
  const both = (etag) => [
    { operation: "upsert", request: { key: "t3", value: { new: true } } },
    { operation: "upsert", request: { key: "t1", value: 3, etag: { value: etag }, options: FIRST_WRITE } },
    { operation: "delete", request: { key: "t2", etag: { value: now } } },
  ];
  const keys = async () => (await client.state.getBulk(STORE, ["t1", "t2", "t3"])).map(({ data }) => data);
  assert.deepEqual(
    await refused(client.state.transaction(STORE, both(stale))),
    [409, "ERR_STATE_TRANSACTION"],
  );
  assert.deepEqual(await keys(), [2, 1, undefined]);
  await client.state.transaction(STORE, both(await etag("t1")), { source: "test" });
  assert.deepEqual(await keys(), [3, undefined, { new: true }]);
  assert.deepEqual(
    await refused(client.state.transaction(STORE, [{ operation: "add", request: { key: "t1" } }])),
    [400, "ERR_NOT_SUPPORTED_STATE_OPERATION"],
  );
});

test("a value with a time to live is gone after it", async () => {
  await client.state.save(STORE, [{ key: "short", value: 1 }], { metadata: { ttlInSeconds: "1" } });
  await client.state.save(STORE, [{ key: "own", value: 1, metadata: { ttlInSeconds: "1" } }]);
  await client.state.save(STORE, [{ key: "long", value: 1 }], { metadata: { ttlInSeconds: "600" } });
  const deadline = Date.now() + TIME_MAX;
  for (const key of ["short", "own"]) {
    while ((await client.state.get(STORE, key)) !== "") {
      assert.ok(Date.now() < deadline, `${key} is still there`);
      await pause(50);
    }
  }
  assert.equal(await client.state.get(STORE, "long"), 1);
});

test("what the state store cannot do is refused in Dapr's words", async () => {
  assert.deepEqual(await refused(client.state.get("redis", "a")), [400, "ERR_STATE_STORE_NOT_FOUND"]);
  assert.deepEqual(
    await refused(client.state.save("redis", [{ key: "a", value: 1 }])),
    [400, "ERR_STATE_STORE_NOT_FOUND"],
  );
  assert.deepEqual(
    await refused(client.state.query(STORE, { filter: {}, sort: [], page: { limit: 1 } })),
    [500, "ERR_STATE_STORE_NOT_SUPPORTED"],
  );
  assert.deepEqual(
    await refused(client.secret.get("secrets", "a")),
    [404, "ERR_NOT_FOUND"],
  );
});

test("an order is sold from stock", async () => {
  await client.state.save(STORE, [{ key: "Cars", value: cars(10) }]);
  const started = new Date();
  const id = await client.workflow.start("OrderProcessingWorkflow", order(3));
  assert.match(id, /^[0-9a-f-]{36}$/);
  const state = await reaches(id, "COMPLETED");
  assert.equal(state.instanceID, id);
  assert.equal(state.workflowName, "OrderProcessingWorkflow");
  assert.deepEqual(JSON.parse(state.properties["dapr.workflow.input"]), order(3));
  assert.deepEqual(JSON.parse(state.properties["dapr.workflow.output"]), { Processed: true });
  assert.ok(state.createdAt >= started.setMilliseconds(0) && state.lastUpdatedAt >= state.createdAt);
  assert.equal((await client.state.get(STORE, "Cars")).quantity, 7);

  const much = await client.workflow.start("OrderProcessingWorkflow", order(8), "too-many");
  assert.equal(much, "too-many");
  const { properties } = await reaches(much, "COMPLETED");
  assert.equal(properties["dapr.workflow.output"], '{"Processed":false}');
});

test("a workflow waits for events, is held, and goes on", async () => {
  const program = [{ status: { stage: "waiting" } }, { event: "Approval" }, { event: "Number" }];
  await client.workflow.start("Script", program, "waits");
  const waiting = await reaches("waits", "RUNNING");
  assert.equal(waiting.properties["dapr.workflow.custom_status"], '{"stage":"waiting"}');
  await client.workflow.pause("waits");
  await reaches("waits", "SUSPENDED");
  await client.workflow.raise("waits", "approval", { IsApproved: true });
  await client.workflow.raise("waits", "Number", 7);
  assert.equal((await client.workflow.get("waits")).runtimeStatus, "SUSPENDED");
  await client.workflow.resume("waits");
  const { properties } = await reaches("waits", "COMPLETED");
  assert.deepEqual(JSON.parse(properties["dapr.workflow.output"]).slice(1), [{ IsApproved: true }, 7]);
});

test("an order under way is terminated and purged", async () => {
  await client.state.save(STORE, [{ key: "Cars", value: cars(10) }]);
  await client.workflow.start("OrderProcessingWorkflow", slow, "given-up");
  await reaches("given-up", "RUNNING");
  assert.deepEqual(await refused(client.workflow.purge("given-up")), [500, "ERR_PURGE_WORKFLOW"]);
  assert.deepEqual(
    await refused(client.workflow.start("OrderProcessingWorkflow", order(1), "given-up")),
    [500, "ERR_START_WORKFLOW"],
  );
  await client.workflow.terminate("given-up");
  await reaches("given-up", "TERMINATED");
  await client.workflow.purge("given-up");
  assert.deepEqual(await refused(client.workflow.get("given-up")), [404, "ERR_INSTANCE_ID_NOT_FOUND"]);
  assert.equal((await client.state.get(STORE, "Cars")).quantity, 10);
});

test("a text reaches a workflow, as an input and as an event", async () => {
  await client.state.save(STORE, [{ key: "Cars", value: cars(10) }]);
  await client.workflow.start("OrderProcessingWorkflow", JSON.stringify(order(1)), "as-text");
  await reaches("as-text", "COMPLETED");
  const odd = client.workflow.start("OrderProcessingWorkflow", "ten cars, please");
  assert.deepEqual(await refused(odd), [500, "ERR_START_WORKFLOW"], "it reads no text");

  await client.workflow.start("Script", [{ event: "Said" }, { event: "Said" }], "hears");
  await client.workflow.raise("hears", "Said", "ten cars, please");
  await client.workflow.raise("hears", "Said", true);
  const { properties } = await reaches("hears", "COMPLETED");
  assert.equal(properties["dapr.workflow.output"], '["ten cars, please",true]');
});

test("a workflow that fails says why", async () => {
  await client.workflow.start("Script", [{ call: { name: "Fails", input: { kind: "odd" } } }], "fails");
  const { properties } = await reaches("fails", "FAILED");
  assert.equal(properties["dapr.workflow.failure.error_type"], "odd");
  assert.match(properties["dapr.workflow.failure.error_message"], /as it was told/);
  assert.equal("dapr.workflow.output" in properties, false);
});

test("what workflows cannot do is refused in Dapr's words", async () => {
  const { workflow } = client;
  assert.deepEqual(await refused(workflow.start("Nobody", {})), [500, "ERR_START_WORKFLOW"]);
  assert.deepEqual(await refused(workflow.start("Nobody", {}, "a b")), [400, "ERR_INSTANCE_ID_INVALID"]);
  assert.deepEqual(
    await refused(workflow.start("Nobody", {}, "x".repeat(65))),
    [400, "ERR_INSTANCE_ID_TOO_LONG"],
  );
  assert.deepEqual(await refused(workflow.raise("nobody", "go", 1)), [500, "ERR_RAISE_EVENT_WORKFLOW"]);
  assert.deepEqual(await refused(workflow.pause("nobody")), [500, "ERR_PAUSE_WORKFLOW"]);
  assert.deepEqual(await refused(workflow.resume("nobody")), [500, "ERR_RESUME_WORKFLOW"]);
  assert.deepEqual(await refused(workflow.terminate("nobody")), [404, "ERR_INSTANCE_ID_NOT_FOUND"]);
  assert.deepEqual(await refused(workflow.purge("nobody")), [404, "ERR_INSTANCE_ID_NOT_FOUND"]);
});

test("without its token nothing is answered but health", { skip: !process.env.DAPR_API_TOKEN }, async () => {
  const status = async (path) => {
    const answer = await fetch(`http://127.0.0.1:${process.env.DAPR_HTTP_PORT}/v1.0/${path}`);
    return answer.status;
  };
  assert.equal(await status("metadata"), 401);
  assert.equal(await status("healthz"), 204);
});
