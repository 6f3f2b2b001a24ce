// Many payments through a facilitator whose nodes fail and lie; then its answers are held against the chains.
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { schedule } from '../lib/chaos.mjs';
import { startProxy } from '../lib/chaos-rpc.mjs';
import { EVM_RPC, SVM_RPC, svmRpc } from '../lib/config.mjs';
import { newFacilitator, newSqlite } from '../lib/facilitators.mjs';
import { codeOf, inWords, isUnclear, newPayment, settleAgain } from '../lib/payments.mjs';

const CHAINS = ['evm', 'svm'];
const PAYMENTS = Number(process.env.CHAOS_PAYMENTS ?? 20);
const SEED = Number(process.env.CHAOS_SEED ?? 402);
// How long a payment on EVM can be settled, and how long its buyer asks.
const VALID_SECONDS = 20;
const ASK_MS = 30_000;
// How long those ask again, after everything has expired, who were not told what became of their payment.
const LAST_MS = 5_000;
const AT_ONCE = 5;
const LEASE_SECONDS = 3;
// How long the facilitator waits for certainty before it says that there is none.
const CONFIRM_SECONDS = 10;

/**
 * With `killEvery`, in milliseconds, the facilitator is killed so often, and starts again on its store.
 * With `honest`, a second node that tells the truth stands beside the one that fails, both are asked, and the first
 * one tells lies that could not be seen through otherwise.
 */
export async function chaos(binary, { honest, killEvery }) {
  const schedules = { evm: schedule(SEED, { isLiar: honest }), svm: schedule(SEED + 1, { isLiar: honest }) };
  const proxies = {
    evm: await startProxy(EVM_RPC, schedules.evm.decide),
    svm: await startProxy(SVM_RPC, schedules.svm.decide),
  };
  const nodes = (proxy, node) => ({
    ...(honest ? { rpc: [proxy.url, node], witnesses: 2 } : { rpc: [proxy.url] }),
    confirm_seconds: CONFIRM_SECONDS,
  });
  const name = `chaos${honest ? '-two-nodes' : ''}${killEvery ? '-kill' : ''}`;
  const facilitator = newFacilitator(binary, name, {
    store: newSqlite(`${name}-${new URL(proxies.evm.url).port}`, { lease_seconds: LEASE_SECONDS }),
    evm: nodes(proxies.evm, EVM_RPC),
    svm: nodes(proxies.svm, SVM_RPC),
  });
  try {
    await facilitator.start();
    const paid = Promise.all(CHAINS.map(chain => payAll(chain, facilitator.url)));
    const kills = killEvery ? await killedMeanwhile(facilitator, killEvery, paid) : 0;
    const results = (await paid).flat();
    // What can still be settled now is waited for, or expires.
    await svmRpc('test_expireBlockhash');
    await sleep(Math.max(0, Math.max(...results.map(({ payment }) => payment.expires)) + 3_000 - Date.now()));
    await Promise.all(
      results
        .filter(({ answers }) => isUnclear(answers.at(-1)))
        .map(async ({ payment, answers }) => {
          answers.push(...(await settleAgain(facilitator.url, payment, { ms: LAST_MS })));
        }),
    );
    const faults = [];
    for (const result of results) {
      const fault = await faultOf(result);
      if (fault) {
        faults.push(`${result.payment.chain}: ${fault} (${result.answers.map(inWords).join(', ')})`);
      }
    }
    assert.ok(facilitator.isRunning(), 'the facilitator died');
    assert.deepEqual(faults, []);
    for (const chain of CHAINS) {
      const successes = results.filter(
        ({ payment, answers }) => payment.chain === chain && answers.at(-1).success,
      ).length;
      assert.ok(successes >= PAYMENTS / 2, `only ${summary(chain, results)}`);
    }
    const words = CHAINS.map(chain => summary(chain, results)).join('; ');
    const met = [...Object.values(schedules).flatMap(({ met }) => [...met.values()])].reduce((sum, n) => sum + n, 0);
    return `${words}; ${met} misfortunes, ${kills} kills, seed ${SEED}`;
  } catch (error) {
    error.message += `\nseed ${SEED}; ${Object.entries(schedules)
      .map(([chain, { met }]) => `${chain} ${JSON.stringify(Object.fromEntries(met))}`)
      .join('\n')}`;
    throw error;
  } finally {
    await facilitator.stop();
    Object.values(proxies).forEach(proxy => proxy.close());
  }
}

/** Kills it now and then until `paid`; tells how often. */
async function killedMeanwhile(facilitator, killEvery, paid) {
  let isPaid = false;
  const done = () => {
    isPaid = true;
  };
  paid.then(done, done);
  for (let kills = 0; ; kills += 1) {
    await Promise.race([sleep(killEvery), paid]);
    if (isPaid) {
      return kills;
    }
    await facilitator.kill();
    await facilitator.startAgain();
  }
}

/** Some at once, each presented until the answer is clear. */
async function payAll(chain, url) {
  const results = [];
  let left = PAYMENTS;
  const deadline = Date.now() + ASK_MS;
  async function buyer() {
    while (left > 0 && Date.now() < deadline) {
      left -= 1;
      const payment = await newPayment(chain, { seconds: VALID_SECONDS });
      const answers = await settleAgain(url, payment, { ms: deadline - Date.now() });
      results.push({ payment, answers });
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, buyer));
  return results;
}

/** What is wrong with the answers about a payment, if anything is. */
async function faultOf({ payment, answers }) {
  const last = answers.at(-1);
  const moved = await payment.moved();
  if (moved !== 0n && moved !== payment.price) {
    return `${moved} moved instead of ${payment.price}`;
  }
  if (answers.filter(({ success }) => success).length > 1) {
    return 'two successes';
  }
  if (last.success) {
    const absent = await payment.check(last.transaction).then(
      () => undefined,
      error => error.message.split('\n')[0],
    );
    return moved === payment.price ? absent : 'success, and nothing moved';
  }
  if (isUnclear(last)) {
    return undefined;
  }
  // Nobody heard of the success: the process was killed after it wrote it down.
  if (codeOf(last.errorReason) === 'duplicate_settlement' && answers.some(({ lost }) => lost)) {
    await payment.check(last.transaction);
    return moved === payment.price ? undefined : 'a duplicate of nothing';
  }
  return moved === 0n ? undefined : `${codeOf(last.errorReason)}, and the money moved`;
}

function summary(chain, results) {
  const counts = {};
  for (const { answers } of results.filter(({ payment }) => payment.chain === chain)) {
    const last = answers.at(-1);
    const words = last.success ? 'success' : (codeOf(last.errorReason) ?? 'no answer');
    counts[words] = (counts[words] ?? 0) + 1;
  }
  return `${chain} ${Object.entries(counts)
    .map(([words, count]) => `${count} ${words}`)
    .join(', ')}`;
}
