// node soak.mjs PATH_TO_x402 [SECONDS] : honest buyers at a steady rate on both chains beside hostile ones, for ten
// minutes or so many seconds, at `x402 serve --claims` and `x402 facilitator` with SQLite. The exit code is 0 only if
// every honest buyer was served, nothing was served twice or unpaid, and memory stayed bounded.
//   SEED (402)  what hostile buyers do is drawn from it     EVM_RATE (2), SVM_RATE (1), HOSTILE_RATE (4)  a second
import fs from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { claimsIn } from './lib/claims.mjs';
import { installIfMissing } from './lib/install.mjs';

installIfMissing();
const { up } = await import('./chains.mjs');
const { hostileKinds } = await import('./attacks/hostile.mjs');
const { challengeOf, newBuyer, newSender, requestAgain, signFor, wordsOf } = await import('./lib/buyers.mjs');
const { random } = await import('./lib/chaos.mjs');
const { evmBalance, SVM_NETWORK } = await import('./lib/config.mjs');
const { newFacilitator, newSqlite } = await import('./lib/facilitators.mjs');
const { blockNumber, sentBy } = await import('./lib/own-chain.mjs');
const { CHAINS } = await import('./lib/payments.mjs');
const { logOf, megabytesOf, stopChildren } = await import('./lib/processes.mjs');
const { newHandler, newShop } = await import('./lib/shops.mjs');

const PRICE = 10_000n;
const EVM_RATE = Number(process.env.EVM_RATE ?? 2);
const SVM_RATE = Number(process.env.SVM_RATE ?? 1);
const HOSTILE_RATE = Number(process.env.HOSTILE_RATE ?? 4);
const MOST_MEGABYTES = 300;
// Who was told that a payment is pending asks again for so long.
const PATIENCE_MS = 30_000;
const REPORT_MS = 60_000;

const [binary, seconds = '600'] = process.argv.slice(2);
if (!binary) {
  console.error('usage: node soak.mjs PATH_TO_x402 [SECONDS]');
  process.exit(2);
}
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
  process.once(signal, () => stopChildren().then(() => process.exit(1)));
}

const draw = random(Number(process.env.SEED ?? 402));
const wrong = [];
// By kind: how many were to be served and were, and how long that took.
const honest = new Map();
const hostile = new Map();
// Paths that somebody was served at, by chain.
const served = { evm: new Set(), svm: new Set() };
// Where somebody left: before anything was sent for the payment, perhaps, and then the work is done again.
const leftAt = new Set();
const paid = [];
let given = 0;
const newPath = below => `${below}/${(given += 1)}`;

function record(kind, path, answer, took) {
  const row = honest.get(kind) ?? { attempted: 0, served: 0, took: [] };
  honest.set(kind, row);
  row.attempted += 1;
  if (answer.status === 200) {
    row.served += 1;
    row.took.push(took);
  } else {
    wrong.push(`${kind}, ${path}: ${wordsOf(answer)}`);
  }
}

async function buyHonestly(shop, chain) {
  const path = newPath('/item');
  const payment = await signFor(shop.url + path, chain === 'evm' ? await newBuyer(PRICE) : undefined);
  const started = performance.now();
  const answer = await requestAgain(shop.url + path, { payment }, { ms: PATIENCE_MS });
  record(chain, path, answer, performance.now() - started);
  if (answer.status === 200) {
    served[chain].add(path);
    paid.push({ path, payment });
  }
}

async function attack(kinds) {
  const names = Object.keys(kinds);
  const name = names[Math.floor(draw() * names.length)];
  hostile.set(name, (hostile.get(name) ?? 0) + 1);
  for (const { path, answer, chain = 'evm', honest: isOwed } of [await kinds[name]()].flat().filter(Boolean)) {
    if (isOwed) {
      record(name, path, answer, 0);
      leftAt.add(path);
    }
    if (answer.status === 200 && /^\/(broken|replay)/.test(path)) {
      wrong.push(`${name}: ${path} was served`);
    }
    // A replay may be of the other chain; what it pays for is counted already.
    if (answer.status === 200 && name !== 'replays') {
      served[chain].add(path);
    }
  }
}

/** Does it so often a second until `ends`, without waiting for the last one; tells all of them. */
async function steadily(rate, ends, act) {
  const begun = [];
  for (let next = Date.now(); rate > 0 && Date.now() < ends; next += 1000 / rate) {
    await sleep(Math.max(0, next - Date.now()));
    begun.push(act().catch(error => wrong.push(`the script itself: ${error.stack}`)));
  }
  return Promise.all(begun);
}

const at = (took, share) => {
  const sorted = took.toSorted((a, b) => a - b);
  return sorted.length > 0 ? Math.round(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))]) : 0;
};

async function soak() {
  await up();
  const senders = [await newSender(), await newSender()];
  const store = newSqlite('soak-facilitator');
  const facilitator = newFacilitator(binary, 'soak-facilitator', { store, evmKeys: senders.map(({ key }) => key) });
  const handler = await newHandler();
  const svmPayTo = await CHAINS.svm.recipient();
  await facilitator.start();
  const networks = [[SVM_NETWORK, svmPayTo]];
  const settings = { facilitator: facilitator.url, upstream: handler.url, claims: true, networks };
  const shop = newShop(binary, 'soak-shop', settings);
  await shop.start();
  const since = await blockNumber();
  const offer = (await challengeOf(shop.url)).accepts.find(({ network }) => network.startsWith('eip155:'));
  const kinds = hostileKinds({ shop: shop.url, facilitator: facilitator.url, offer, newPath, paid, draw });
  let most = 0;

  const report = async () => {
    const memory = [shop, facilitator].map(service => megabytesOf(service.pid()));
    most = Math.max(most, ...memory);
    const { mined, failed, gas } = await sentBy(
      senders.map(({ address }) => address),
      { since },
    );
    const rows = [...honest].map(([kind, { attempted, served, took }]) => {
      const times = took.some(Boolean) ? `, p50 ${at(took, 0.5)} ms, p99 ${at(took, 0.99)} ms` : '';
      return `${kind} ${served}/${attempted}${times}`;
    });
    console.log(
      `${Math.round((Date.now() - started) / 1000)} s: ${rows.join('; ')}; MB ${memory.join(' and ')}; ` +
        `${mined} transactions, ${failed} failed (${gas} gas); claims ${claimsIn(shop.claims)} and ${claimsIn(store.path)}`,
    );
  };

  const started = Date.now();
  const ends = started + Number(seconds) * 1000;
  const reporting = setInterval(() => report().catch(error => wrong.push(`${error}`)), REPORT_MS);
  await Promise.all([
    steadily(EVM_RATE, ends, () => buyHonestly(shop, 'evm')),
    steadily(SVM_RATE, ends, () => buyHonestly(shop, 'svm')),
    steadily(HOSTILE_RATE, ends, () => attack(kinds)),
  ]);
  clearInterval(reporting);
  await report();

  for (const path of [...served.evm, ...served.svm]) {
    const runs = handler.ran(path);
    if (runs < 1 || runs > (leftAt.has(path) ? 2 : 1)) {
      wrong.push(`the handler ran ${runs} times for ${path}`);
    }
  }
  const got = { evm: await evmBalance(shop.payTo), svm: await CHAINS.svm.balance(svmPayTo) };
  for (const chain of ['evm', 'svm']) {
    if (got[chain] < PRICE * BigInt(served[chain].size)) {
      wrong.push(`${chain}: served ${served[chain].size}, and paid ${got[chain] / PRICE}`);
    }
  }
  if (most > MOST_MEGABYTES) {
    wrong.push(`${most} MB`);
  }
  for (const service of [shop, facilitator]) {
    if (!service.isRunning()) {
      wrong.push(`${service.name} has ended`);
    }
    if (/panicked/.test(fs.readFileSync(logOf(service), 'utf8'))) {
      wrong.push(`${service.name} panicked, see ${logOf(service)}`);
    }
  }
  console.table(Object.fromEntries([...hostile].map(([name, count]) => [name, { tried: count }])));
  const total = [...honest.values()].reduce((sum, row) => sum + row.served, 0);
  const attacks = [...hostile.values()].reduce((sum, count) => sum + count, 0);
  const last = `served ${total} who paid, ${attacks} attacks, ${wrong.length} wrong`;
  console.log([...wrong.slice(0, 20), last].join('\n'));
}

try {
  await soak();
} catch (error) {
  wrong.push(error.message);
  console.log(error.stack);
} finally {
  await stopChildren();
}
process.exit(wrong.length === 0 ? 0 : 1);
