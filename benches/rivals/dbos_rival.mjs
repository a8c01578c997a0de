// The workflows of the comparison on DBOS for TypeScript. DATABASE names the system database.
//   node dbos_rival.mjs order COUNT LANES | steps COUNT [ID] | recover ID | park COUNT
// Prints one JSON object.
import { DBOS } from '@dbos-inc/dbos-sdk';
import fs from 'node:fs';

const effects = fs.openSync(process.env.EFFECTS ?? '/dev/null', 'a');
const step = (name, run) => DBOS.runStep(run, { name });

// Five durable steps, one read and two writes of the state.
const order = DBOS.registerWorkflow(async (quantity) => {
  await step('notify', async () => 1);
  const stock = (await DBOS.getEvent(DBOS.workflowID, 'stock', 0)) ?? 100;
  const reserved = await step('reserve', async () => stock - quantity);
  await DBOS.setEvent('stock', reserved);
  await step('payment', async () => 2);
  const left = await step('update', async () => reserved);
  await DBOS.setEvent('stock', left);
  await step('notify', async () => 3);
  return left;
}, { name: 'order' });

const steps = DBOS.registerWorkflow(async (count) => {
  let sum = 0;
  for (let number = 0; number < count; number++) {
    sum += await step('step', async () => {
      fs.writeSync(effects, `${number}\n`);
      return number;
    });
  }
  return sum;
}, { name: 'steps' });

const park = DBOS.registerWorkflow(async () => {
  await DBOS.sleep(86_400_000);
}, { name: 'park' });

// Keeps so many runs under way until all are done; latencies in milliseconds, sorted.
async function lanes(count, atOnce, run) {
  const latencies = [];
  let next = 0;
  await Promise.all(Array.from({ length: atOnce }, async () => {
    while (next++ < count) {
      const begun = performance.now();
      await run();
      latencies.push(performance.now() - begun);
    }
  }));
  return latencies.sort((a, b) => a - b);
}

const seconds = async (run) => {
  const begun = performance.now();
  await run();
  return (performance.now() - begun) / 1_000;
};

DBOS.setConfig({
  name: 'rival', systemDatabaseUrl: process.env.DATABASE, logLevel: 'error', applicationVersion: '1', runAdminServer: false,
});
await DBOS.launch();
const [what, first, second] = process.argv.slice(2);
const told = {};
if (what === 'order') {
  await lanes(20, 1, () => order(1));
  let latencies;
  told.seconds = await seconds(async () => { latencies = await lanes(+first, +second, () => order(1)); });
  told.p50 = latencies[Math.floor(latencies.length * 0.5)];
  told.p99 = latencies[Math.floor(latencies.length * 0.99)];
} else if (what === 'steps') {
  const workflowID = second ?? `steps-${Date.now()}`;
  told.seconds = await seconds(async () => {
    await (await DBOS.startWorkflow(steps, { workflowID })(+first)).getResult();
  });
} else if (what === 'recover') {
  await DBOS.retrieveWorkflow(first).getResult();
} else if (what === 'park') {
  told.seconds = await seconds(() => lanes(+first, 64, () => DBOS.startWorkflow(park)()));
}
console.log(JSON.stringify(told));
process.exit(0);
