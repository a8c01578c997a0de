// The workflows of the comparison for DBOS TypeScript: `node runner.mjs DATABASE OUTSIDE`.
//
// A command a line on stdin, an answer a line on stdout, as JSON; the first line says that it is
// launched, and that what it had not ended is going on.

import fs from 'node:fs';
import readline from 'node:readline';
import { DBOS } from '@dbos-inc/dbos-sdk';

const STOCK = 100;
const PARKED_MS = 24 * 60 * 60 * 1000;

const [database, outsideFile] = process.argv.slice(2);
// The file that stands for the world outside: what was done appears there as a line.
const outside = fs.openSync(outsideFile, 'a');
const tell = (number) => fs.writeSync(outside, `${number}\n`);
const step = (name, action) => DBOS.runStep(async () => action(), { name });
const answer = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);

// Five steps, one read of the state, two writes.
const order = DBOS.registerWorkflow(async (quantity) => {
  await step('notify', () => 1);
  const stock = (await DBOS.getEvent(DBOS.workflowID, 'stock', 0)) ?? STOCK;
  const left = await step('reserve', () => stock - quantity);
  await DBOS.setEvent('stock', left);
  await step('pay', () => 2);
  const sold = await step('update', () => left);
  await DBOS.setEvent('stock', sold);
  await step('notify', () => 3);
  return sold;
}, { name: 'order' });

// So many steps, one after the other.
const steps = DBOS.registerWorkflow(async (count) => {
  let sum = 0;
  for (let number = 0; number < count; number++) {
    sum += await step('step', () => { tell(number); return number; });
  }
  return sum;
}, { name: 'steps' });

// Waits for a day.
const park = DBOS.registerWorkflow(async () => {
  tell(0);
  await DBOS.sleep(PARKED_MS);
}, { name: 'park' });

// A closed loop: each of so many lanes goes on when its last one has ended.
async function inLanes(count, concurrency, action) {
  const latencies_ms = [];
  const begun = performance.now();
  let next = 0;
  const lane = async () => {
    while (next++ < count) {
      const begun = performance.now();
      await action();
      latencies_ms.push(performance.now() - begun);
    }
  };
  await Promise.all(Array.from({ length: concurrency }, lane));
  return { seconds: (performance.now() - begun) / 1000, latencies_ms };
}

const commands = {
  orders: (count, concurrency) => inLanes(count, concurrency, () => order(1)),
  steps: (count) => inLanes(1, 1, () => steps(count)),
  park: (count, concurrency) => inLanes(count, concurrency, () => DBOS.startWorkflow(park)()),
};

DBOS.setConfig({ name: 'rivals', systemDatabaseUrl: database, logLevel: 'error', applicationVersion: '1', runAdminServer: false });
await DBOS.launch();
answer({ launched: true });
for await (const line of readline.createInterface({ input: process.stdin })) {
  const [command, ...numbers] = line.split(' ');
  answer(await commands[command](...numbers.map(Number)));
}
// Nobody is there to be answered any more; what is parked is not waited for.
process.exit(0);
