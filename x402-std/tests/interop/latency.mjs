// node latency.mjs PATH_TO_x402 [PAYMENTS] : how long a paid request takes from the buyer's signature to the answer, and how many
// requests its payment costs the node, at blocks of 0.4, 1 and 2 seconds. Our facilitator and the official one take
// turns on one chain, behind the same shop.
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { up } from './chains.mjs';
import { newBuyer, newSender, request, signFor } from './lib/buyers.mjs';
import { startProxy } from './lib/chaos-rpc.mjs';
import { newFacilitator, newSqlite } from './lib/facilitators.mjs';
import { newChain } from './lib/own-chain.mjs';
import { stopChildren } from './lib/processes.mjs';
import { newHandler, newShop } from './lib/shops.mjs';

const BLOCKS = [0.4, 1, 2];
const binary = path.resolve(process.argv[2]);
const payments = Number(process.argv[3] ?? 15);

const median = list => [...list].sort((one, other) => one - other)[Math.floor(list.length / 2)];

/** Paid requests one after the other, at any phase of a block: milliseconds and requests of each. */
async function paid(shop, chain, counted, seconds) {
  const buyer = await newBuyer(1_000_000_000n, chain.client);
  const times = [];
  let before;
  for (let i = -1; i < payments; i += 1) {
    const payment = await signFor(`${shop.url}/goods`, buyer);
    await sleep(Math.random() * seconds * 1000);
    before = counted.requests;
    const started = performance.now();
    const answer = await request(`${shop.url}/goods`, { payment });
    if (answer.status !== 200) {
      throw new Error(`${answer.status} ${answer.reason} ${answer.body}`);
    }
    // The first one warms up.
    if (i >= 0) {
      times.push({ ms: performance.now() - started, requests: counted.requests - before });
    }
  }
  return times;
}

const rows = [];
try {
  await up();
  const handler = await newHandler();
  for (const seconds of BLOCKS) {
    const chain = await newChain(`latency-${seconds}`, { args: ['--block-time', `${seconds}`] });
    const sides = [];
    for (const [name, command] of [['ours', binary], ['official', undefined]]) {
      const counted = { requests: 0 };
      const proxy = await startProxy(chain.url, () => {
        counted.requests += 1;
      });
      const sender = await newSender(chain.client);
      const settings = { evm: { rpc: [proxy.url] }, evmKeys: [sender.key], store: newSqlite(`latency-${name}-${seconds}`) };
      const facilitator = newFacilitator(command, `latency-${name}`, settings);
      await facilitator.start();
      const shop = newShop(binary, `latency-shop-${name}`, { facilitator: facilitator.url, upstream: handler.url });
      await shop.start();
      sides.push({ name, shop, counted, facilitator });
    }
    for (const { name, shop, counted, facilitator } of sides) {
      const times = await paid(shop, chain, counted, seconds);
      rows.push({ seconds, name, ms: median(times.map(({ ms }) => ms)), requests: median(times.map(it => it.requests)) });
      console.log(rows.at(-1));
      await shop.stop();
      await facilitator.stop();
    }
    await chain.stop();
  }
  handler.close();
  const of = (seconds, name) => rows.find(row => row.seconds === seconds && row.name === name);
  for (const seconds of BLOCKS) {
    const [ours, official] = [of(seconds, 'ours'), of(seconds, 'official')];
    const most = seconds * 500 + 30;
    console.log(
      `| ${seconds} s | ${Math.round(ours.ms)} ms | ${Math.round(official.ms)} ms | ${most} ms | ${ours.requests} | ${official.requests} |`,
    );
  }
} finally {
  await stopChildren();
}
process.exit(0);
