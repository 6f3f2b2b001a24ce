// kill -9 at each step of a settlement: a proxy holds a call, the facilitator dies, starts again on the same store,
// and is presented the same payment until it is clear what became of it.
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { startProxy, trap } from '../lib/chaos-rpc.mjs';
import { EVM_RPC, SVM_RPC, svmRpc } from '../lib/config.mjs';
import { newFacilitator, newSqlite, until } from '../lib/facilitators.mjs';
import { codeOf, inWords, isUnclear, newPayment, settle, settleAgain, settlementAt } from '../lib/payments.mjs';

const CAUGHT_MS = 15_000;
// How long a payment on EVM can be settled.
const VALID_SECONDS = 20;
const ASK_MS = 40_000;
// A blockhash is known for 150 slots, which take minutes here: then it is expired by force.
const BEFORE_EXPIRY_MS = 15_000;
// After which a claim that nobody works on any more is given up.
const LEASE_SECONDS = 3;

const isFound = result => (Array.isArray(result?.value) ? result.value.some(Boolean) : result != null);

/** Where each chain is when the facilitator dies. `sent` says whether the transfer is on its way, or made. */
export const STEPS = {
  evm: [
    { name: 'claimed', methods: ['eth_call'], when: 'before' },
    {
      name: 'preparing',
      methods: [
        'eth_getTransactionCount',
        'eth_estimateGas',
        'eth_gasPrice',
        'eth_feeHistory',
        'eth_maxPriorityFeePerGas',
      ],
      when: 'before',
    },
    { name: 'about to send', methods: ['eth_sendRawTransaction'], when: 'before' },
    { name: 'sent', methods: ['eth_sendRawTransaction'], when: 'after', sent: true },
    { name: 'mined', methods: ['eth_getTransactionReceipt'], when: 'after', result: isFound, sent: true },
    { name: 'answered', sent: true },
  ],
  svm: [
    { name: 'claimed', methods: ['simulateTransaction'], when: 'before' },
    { name: 'about to send', methods: ['sendTransaction'], when: 'before' },
    { name: 'sent', methods: ['sendTransaction'], when: 'after', sent: true },
    { name: 'landed', methods: ['getSignatureStatuses', 'getTransaction'], when: 'after', result: isFound, sent: true },
    { name: 'answered', sent: true },
  ],
};

/** All steps of a chain at once, each with a facilitator, a store and a proxy of its own. */
export async function killed(binary, chain) {
  const expiry =
    chain === 'svm' ? setTimeout(() => svmRpc('test_expireBlockhash').catch(() => {}), BEFORE_EXPIRY_MS) : undefined;
  try {
    const results = await Promise.allSettled(STEPS[chain].map(step => killedAt(binary, chain, step)));
    const words = results.map(
      ({ value, reason }, index) => `${STEPS[chain][index].name}: ${value ?? `WRONG: ${reason.message}`}`,
    );
    assert.ok(
      results.every(({ status }) => status === 'fulfilled'),
      words.join('\n'),
    );
    return words.join('; ');
  } finally {
    clearTimeout(expiry);
  }
}

async function killedAt(binary, chain, step) {
  const held = step.methods ? trap(step.methods, step) : undefined;
  const proxies = {
    evm: await startProxy(EVM_RPC, call => (chain === 'evm' ? held?.decide(call) : undefined)),
    svm: await startProxy(SVM_RPC, call => (chain === 'svm' ? held?.decide(call) : undefined)),
  };
  const name = `kill-${chain}-${step.name.replaceAll(' ', '-')}`;
  const facilitator = newFacilitator(binary, name, {
    store: newSqlite(`${name}-${new URL(proxies.evm.url).port}`, { lease_seconds: LEASE_SECONDS }),
    evm: { rpc: [proxies.evm.url] },
    svm: { rpc: [proxies.svm.url] },
  });
  try {
    await facilitator.start();
    const payment = await newPayment(chain, { seconds: VALID_SECONDS });
    held?.set();
    const presented = settle(facilitator.url, payment);
    const first = await (held ? caughtOrAnswered(held, presented) : presented);
    await facilitator.kill();
    // What was held before it went on never does.
    held?.release(false);
    const told = held ? await presented : first;
    assert.equal(Boolean(told.success), !held, `the first answer: ${inWords(told)}`);
    return await clearedUp(facilitator, payment, step, told);
  } finally {
    await facilitator.stop();
    Object.values(proxies).forEach(proxy => proxy.close());
  }
}

/**
 * Slow, not dead: a process is held at each step for longer than its claim lasts, while another one that shares the
 * store is presented the same payment. Then it goes on.
 */
export async function slow(binary, chain) {
  const steps = STEPS[chain].filter(({ when }) => when === 'before');
  const results = await Promise.allSettled(steps.map(step => slowAt(binary, chain, step)));
  const words = results.map(
    ({ value, reason }, index) => `${steps[index].name}: ${value ?? `WRONG: ${reason.message}`}`,
  );
  assert.ok(
    results.every(({ status }) => status === 'fulfilled'),
    words.join('\n'),
  );
  return words.join('; ');
}

async function slowAt(binary, chain, step) {
  const held = trap(step.methods, step);
  const proxy = await startProxy({ evm: EVM_RPC, svm: SVM_RPC }[chain], call => held.decide(call));
  const name = `slow-${chain}-${step.name.replaceAll(' ', '-')}`;
  const store = newSqlite(`${name}-${new URL(proxy.url).port}`, { lease_seconds: LEASE_SECONDS });
  const first = newFacilitator(binary, `${name}-a`, { store, [chain]: { rpc: [proxy.url] } });
  const second = newFacilitator(binary, `${name}-b`, { store });
  try {
    await Promise.all([first.start(), second.start()]);
    const payment = await newPayment(chain, { seconds: VALID_SECONDS });
    held.set();
    const presented = settle(first.url, payment);
    await caughtOrAnswered(held, presented);
    const others = settleAgain(second.url, payment, { ms: ASK_MS });
    await sleep(LEASE_SECONDS * 1000 + 3_000);
    held.release();
    const answers = [await presented, ...(await others)];
    const last = isUnclear(answers[0]) ? (await settleAgain(first.url, payment, { ms: ASK_MS })).at(-1) : answers[0];
    const all = last === answers[0] ? answers : [...answers, last];
    const words = all
      .map(inWords)
      .filter((text, index, all) => text !== all[index - 1])
      .join(', ');
    const successes = all.filter(({ success }) => success).length;
    assert.equal(await payment.moved(), payment.price, `what moved: ${words}`);
    assert.equal(successes, 1, `successes: ${words}`);
    return words;
  } finally {
    await Promise.all([first.stop(), second.stop()]);
    proxy.close();
  }
}

function caughtOrAnswered(held, presented) {
  const late = sleep(CAUGHT_MS).then(() => {
    throw new Error('no such call was made');
  });
  const answered = presented.then(answer => {
    throw new Error(`answered without such a call: ${inWords(answer)}`);
  });
  return Promise.race([held.caught, answered, late]);
}

async function clearedUp(facilitator, payment, step, told) {
  if (step.sent) {
    // It was sent; nothing that happens to the facilitator stops it.
    await until(async () => (await payment.moved()) > 0n, 10_000, 'the transfer');
  }
  await facilitator.startAgain();
  let { location } = told;
  const answers = await settleAgain(facilitator.url, payment, {
    ms: ASK_MS,
    onAnswer: answer => {
      location ??= answer.location;
    },
  });
  const last = answers.at(-1);
  const words = answers
    .map(inWords)
    .filter((text, index, all) => text !== all[index - 1])
    .join(', ');
  const moved = await payment.moved();
  assert.ok([0n, payment.price].includes(moved), `${moved} moved instead of ${payment.price}`);
  assert.ok(!isUnclear(last), `not clear after ${ASK_MS / 1000} s: ${words}`);
  if (told.success) {
    assert.equal(codeOf(last.errorReason), 'duplicate_settlement', `after a success: ${words}`);
  } else if (step.sent) {
    assert.ok(last.success, `made, and not told so: ${words}`);
  }
  if (last.success) {
    assert.equal(moved, payment.price, `success, and nothing moved: ${words}`);
    await payment.check(last.transaction);
  } else if (!told.success) {
    assert.equal(moved, 0n, `${words}, and the money moved`);
  }
  assert.ok(location, `no answer had a Content-Location: ${words}`);
  const record = await settlementAt(facilitator.url, location);
  const expected = moved > 0n ? ['settled'] : ['failed', undefined];
  assert.ok(expected.includes(record?.state), `the store says ${JSON.stringify(record)} after ${words}`);
  if (moved > 0n) {
    assert.equal(
      record.transaction,
      told.success ? told.transaction : last.transaction,
      'the transaction in the store',
    );
  }
  // Whatever was said stays so, and nothing moves any more.
  const again = await settle(facilitator.url, payment);
  assert.ok(!again.success, `a second success: ${inWords(again)}`);
  assert.equal(await payment.moved(), moved, 'what moved in the end');
  return words;
}
