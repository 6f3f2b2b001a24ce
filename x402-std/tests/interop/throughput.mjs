// node throughput.mjs FACILITATOR_URL|PATH_TO_x402|--official : how many payments a second a facilitator verifies and
// settles, and whose processor time that takes. With a URL, the chains must be up (node chains.mjs up) and the
// facilitator must use them; otherwise both are started, with a store in SQLite.
//   CLIENTS (16)  how many ask at once     VERIFY_SECONDS (5)     SETTLEMENTS (200) on each chain
//   STORE (sqlite) or memory              CHAINS (evm,svm)       SENDERS (4) accounts that send on EVM
import { execFileSync } from 'node:child_process';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { up } from './chains.mjs';
import { PORTS } from './lib/config.mjs';
import { newFacilitator, newSenders, newSqlite } from './lib/facilitators.mjs';
import { inWords, isUnclear, newPayment, post } from './lib/payments.mjs';
import { stopChildren } from './lib/processes.mjs';

const CLIENTS = Number(process.env.CLIENTS ?? 16);
const VERIFY_SECONDS = Number(process.env.VERIFY_SECONDS ?? 5);
const SENDERS = Number(process.env.SENDERS ?? 4);
const SETTLEMENTS = Number(process.env.SETTLEMENTS ?? 200);
// A payment on Solana names a blockhash, which is known for 150 transactions here.
const SIGNED_AHEAD = 100;
const VALID_SECONDS = 3_600;
// Who is told `busy`, or anything else that is not certain, asks again.
const PAUSE_MS = 100;
const GIVE_UP_MS = 60_000;

/** Milliseconds of processor time that whoever listens on `port` has used; undefined where that cannot be told. */
function cpuOf(port) {
  try {
    const [, pid] = execFileSync('ss', ['-Hltnp', `sport = :${port}`], { encoding: 'utf8' }).match(/pid=(\d+)/);
    const time = execFileSync('ps', ['-o', 'cputimes=', '-p', pid], { encoding: 'utf8' });
    const [, user, system] = execFileSync('cat', [`/proc/${pid}/stat`], { encoding: 'utf8' }).match(
      /\) (?:\S+ ){11}(\d+) (\d+) /,
    ) ?? [undefined, Number(time) * 100, 0];
    return (Number(user) + Number(system)) * 10;
  } catch {
    return undefined;
  }
}

/** The processor time that each part uses while `work` runs. */
async function measured(url, work) {
  const ports = { facilitator: new URL(url).port, anvil: PORTS.evm, 'svm-rpc': PORTS.svm };
  const times = () => ({
    ...Object.fromEntries(Object.entries(ports).map(([name, port]) => [name, cpuOf(port)])),
    'this script': process.cpuUsage().user / 1000 + process.cpuUsage().system / 1000,
  });
  const before = times();
  const started = performance.now();
  const result = await work();
  const seconds = (performance.now() - started) / 1000;
  const after = times();
  const cpu = Object.fromEntries(Object.keys(after).map(name => [name, after[name] - before[name]]));
  return { ...result, seconds, cpu };
}

/** Both answers have a reason, by different names. */
const forSettle = answer => ({ errorReason: answer.invalidReason, ...answer });

/** `CLIENTS` at once ask until there is no next; how long each took that was answered as it should be. */
async function asked(url, next, isRight) {
  const latencies = [];
  const failures = [];
  let again = 0;
  async function client() {
    for (let body = next(); body; body = next()) {
      const started = performance.now();
      let answer = await post(url, body);
      while (!isRight(answer) && isUnclear(forSettle(answer)) && performance.now() - started < GIVE_UP_MS) {
        again += 1;
        await sleep(PAUSE_MS);
        answer = await post(url, body);
      }
      if (isRight(answer)) {
        latencies.push(performance.now() - started);
      } else {
        failures.push(inWords({ ...answer, transaction: undefined }));
      }
    }
  }
  await Promise.all(Array.from({ length: CLIENTS }, client));
  return { latencies, failures, again };
}

async function signed(chain, count) {
  const bodies = [];
  for (let index = 0; index < count; index += 1) {
    bodies.push((await newPayment(chain, { seconds: VALID_SECONDS })).body);
  }
  return bodies;
}

async function verifies(url, chain) {
  const bodies = await signed(chain, 50);
  const deadline = performance.now() + VERIFY_SECONDS * 1000;
  let index = 0;
  const next = () => (performance.now() < deadline ? bodies[index++ % bodies.length] : undefined);
  return measured(url, () => asked(`${url}/verify`, next, ({ isValid }) => isValid));
}

async function settles(url, chain) {
  const total = { latencies: [], failures: [], again: 0, seconds: 0, cpu: {} };
  for (let left = SETTLEMENTS; left > 0; left -= SIGNED_AHEAD) {
    const bodies = await signed(chain, Math.min(left, SIGNED_AHEAD));
    const part = await measured(url, () =>
      asked(
        `${url}/settle`,
        () => bodies.pop(),
        ({ success }) => success,
      ),
    );
    total.latencies.push(...part.latencies);
    total.failures.push(...part.failures);
    total.again += part.again;
    total.seconds += part.seconds;
    for (const [name, time] of Object.entries(part.cpu)) {
      total.cpu[name] = (total.cpu[name] ?? 0) + time;
    }
  }
  return total;
}

function row(what, { latencies, failures, again, seconds, cpu }) {
  if (failures.length > 0) {
    console.log(`${what}: ${failures.length} failed, the first with ${failures[0]}`);
  }
  const sorted = latencies.toSorted((a, b) => a - b);
  const at = share => `${Math.round(sorted[Math.floor((sorted.length - 1) * share)] ?? Number.NaN)} ms`;
  const busy = time => (Number.isNaN(time) ? '?' : `${Math.round(time / seconds / 10)} %`);
  return {
    '': what,
    payments: sorted.length,
    failed: failures.length,
    again,
    'a second': Number((sorted.length / seconds).toFixed(1)),
    median: at(0.5),
    '95 %': at(0.95),
    ...Object.fromEntries(Object.entries(cpu).map(([name, time]) => [name, busy(time)])),
  };
}

async function report(url) {
  const rows = [];
  for (const chain of (process.env.CHAINS ?? 'evm,svm').split(',')) {
    rows.push(row(`verify, ${chain}`, await verifies(url, chain)));
    rows.push(row(`settle, ${chain}`, await settles(url, chain)));
  }
  console.log(`${CLIENTS} clients at once; the last columns are shares of one processor`);
  console.table(Object.fromEntries(rows.map(({ '': name, ...rest }) => [name, rest])));
}

const [what] = process.argv.slice(2);
if (!what) {
  console.error('usage: node throughput.mjs FACILITATOR_URL|PATH_TO_x402|--official');
  process.exit(2);
}
if (what.startsWith('http')) {
  await report(what.replace(/\/$/, ''));
} else {
  try {
    await up();
    const binary = what === '--official' ? undefined : path.resolve(what);
    const store = process.env.STORE === 'memory' ? { kind: 'memory' } : newSqlite('throughput');
    const facilitator = newFacilitator(binary, 'throughput', { store, evmKeys: newSenders(SENDERS) });
    await facilitator.start();
    await report(facilitator.url);
  } finally {
    await stopChildren();
  }
}
process.exit(0);
