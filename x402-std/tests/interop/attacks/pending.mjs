// Payments that are pending when a process dies, or a node does not answer: they end, though nobody asks.
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { counted } from '../lib/buyers.mjs';
import { startProxy } from '../lib/chaos-rpc.mjs';
import { EVM_RPC, SVM_RPC } from '../lib/config.mjs';
import { newFacilitator, newSenders, newSqlite, until } from '../lib/facilitators.mjs';
import { briefly, isUnclear, newPayment, settle, settleAgain, settlementAt } from '../lib/payments.mjs';

const PAYMENTS = 60;
const CONFIRMATIONS = 3;
// Too short for any settlement: then the answer is that it is pending.
const CONFIRM_SECONDS = 1;
// Before which every claim has ended.
const ENDED_MS = 30_000;
const CAUGHT_MS = 15_000;
const AGAIN_MS = 10_000;
const OTHERS = 10;
const OTHERS_MS = 20_000;
// A claim that nobody works on is free after it.
const LEASE_SECONDS = 5;
// Not before everything else is over.
const VALID_SECONDS = 120;

const hasEnded = record => ['settled', 'failed'].includes(record?.state);

/** One of three that share a store dies; some of its answers were given by then (pending), some get lost. */
export async function oneOfThreeDies(binary, store) {
  const names = ['a', 'b', 'c'].map(name => `three-${store.kind}-${name}`);
  const facilitators = names.map(name =>
    newFacilitator(binary, name, {
      store: { ...store, lease_seconds: LEASE_SECONDS },
      evm: { confirmations: CONFIRMATIONS, confirm_seconds: CONFIRM_SECONDS },
      evmKeys: newSenders(2),
    }),
  );
  const [killed, ...others] = facilitators;
  try {
    await Promise.all(facilitators.map(facilitator => facilitator.start()));
    const payments = await Promise.all(
      Array.from({ length: PAYMENTS }, () => newPayment('evm', { seconds: VALID_SECONDS })),
    );
    const present = (payment, index) => settle(facilitators[index % facilitators.length].url, payment);
    // Both presented to all three.
    const early = payments.slice(0, PAYMENTS / 2).map(present);
    await sleep(CONFIRM_SECONDS * 1000 - 300);
    const late = payments.slice(PAYMENTS / 2).map(present);
    await Promise.all(early);
    await sleep(200);
    await killed.kill();
    const [died, ended] = [Date.now(), Date.now() + ENDED_MS];
    const answers = await Promise.all([...early, ...late]);
    const lost = answers.filter(answer => answer.lost).length;
    const known = answers.map(answer => answer.location).filter(Boolean);
    const open = async () => {
      const records = await Promise.all(known.map(location => settlementAt(others[0].url, location)));
      return records.filter(record => !hasEnded(record)).map(record => record?.state ?? 'unknown');
    };
    let left = await open();
    while (left.length > 0 && Date.now() < ended) {
      await sleep(500);
      left = await open();
    }
    const took = Math.round((Date.now() - died) / 1000);
    const told = counted(answers.map(briefly));
    const words = `told ${told}; ${known.length} looked up`;
    assert.ok(lost > 0, `no answer was lost: ${words}`);
    assert.equal(left.length, 0, `${words}: not ended after ${took} s, nobody having asked: ${counted(left)}`);
    await sleep(ended - Date.now());
    const moved = await Promise.all(payments.map(payment => payment.moved()));
    const wrong = [];
    // Only now somebody asks again, for those that nobody could look up too.
    const again = await Promise.all(payments.map(payment => settle(others[1].url, payment)));
    for (const [index, answer] of again.entries()) {
      const record = answer.location && (await settlementAt(others[0].url, answer.location));
      if (moved[index] > 0n && (isUnclear(answer) || record?.state !== 'settled')) {
        wrong.push(`moved ${moved[index]}, asked again: ${briefly(answer)}, state ${record?.state}`);
      } else if (moved[index] === 0n) {
        // Nothing was sent: it is made only now, or never.
        const last = (await settleAgain(others[1].url, payments[index], { ms: AGAIN_MS })).at(-1);
        if (isUnclear(last)) {
          wrong.push(`moved nothing, asked again: ${briefly(last)}`);
        }
      }
      const now = await payments[index].moved();
      assert.ok([0n, payments[index].price].includes(now), `moved ${now}`);
    }
    assert.equal(wrong.length, 0, `${words}: ${counted(wrong)}`);
    return `${words}, ended within ${took} s; ${moved.filter(Boolean).length} of ${PAYMENTS} moved`;
  } finally {
    await Promise.all(facilitators.map(facilitator => facilitator.stop()));
  }
}

/** Written down and not sent, when the process dies; it starts again, and nobody asks. */
export async function killedUnsent(binary, chain) {
  const [method, node] = { evm: ['eth_sendRawTransaction', EVM_RPC], svm: ['sendTransaction', SVM_RPC] }[chain];
  let held = 0;
  let isHolding = true;
  const proxy = await startProxy(node, call => {
    if (call.method !== method || !isHolding) {
      return undefined;
    }
    held += 1;
    return { before: new Promise(() => {}) };
  });
  const name = `unsent-${chain}`;
  const facilitator = newFacilitator(binary, name, {
    store: newSqlite(name, { lease_seconds: LEASE_SECONDS }),
    [chain]: { rpc: [proxy.url], confirm_seconds: CONFIRM_SECONDS },
  });
  try {
    await facilitator.start();
    const payment = await newPayment(chain, { seconds: VALID_SECONDS });
    const presented = settle(facilitator.url, payment);
    await until(() => held > 0, CAUGHT_MS, 'a transaction');
    // Its answer says where to look it up, if there is one that soon.
    await Promise.race([presented, sleep(CONFIRM_SECONDS * 1000 + 2_000)]);
    await facilitator.kill();
    isHolding = false;
    const first = await presented;
    assert.ok(isUnclear(first), `the first answer: ${briefly(first)}`);
    await facilitator.startAgain();
    const started = Date.now();
    const { location } = first;
    const record = () => location && settlementAt(facilitator.url, location);
    const isOver = async () => (location ? hasEnded(await record()) : (await payment.moved()) > 0n);
    await until(isOver, ENDED_MS, 'an end of what was written down and not sent, nobody having asked');
    const { state } = (await record()) ?? { state: 'moved' };
    assert.equal(await payment.moved(), state === 'failed' ? 0n : payment.price, `${state}, and what moved`);
    const took = Math.round((Date.now() - started) / 1000);
    return `${state} within ${took} s, the first answer having been ${briefly(first)}`;
  } finally {
    await facilitator.stop();
    proxy.close();
  }
}

/** A node that takes one transaction, or does not, and never says so: `passes` says which. */
export async function neverAnswered(binary, { passes }) {
  let victim;
  let hung = 0;
  const never = new Promise(() => {});
  const proxy = await startProxy(EVM_RPC, ({ method, params }) => {
    if (method !== 'eth_sendRawTransaction' || !victim || !params[0].toLowerCase().includes(victim) || hung > 0) {
      return undefined;
    }
    hung += 1;
    return passes ? { after: () => never } : { before: never };
  });
  const name = `never-${passes ? 'passed' : 'lost'}`;
  const facilitator = newFacilitator(binary, name, { store: newSqlite(name), evm: { rpc: [proxy.url] } });
  try {
    await facilitator.start();
    const payment = await newPayment('evm', { seconds: VALID_SECONDS });
    victim = payment.payTo.slice(2).toLowerCase();
    settle(facilitator.url, payment);
    await until(() => hung > 0, CAUGHT_MS, 'a transaction');
    const others = await Promise.all(
      Array.from({ length: OTHERS }, () => newPayment('evm', { seconds: VALID_SECONDS })),
    );
    const started = Date.now();
    const late = sleep(OTHERS_MS).then(() => ({ errorReason: `nothing after ${OTHERS_MS / 1000} s` }));
    const answers = await Promise.all(others.map(other => Promise.race([settle(facilitator.url, other), late])));
    const words = counted(answers.map(briefly));
    assert.ok(
      answers.every(({ success }) => success),
      `the others: ${words}`,
    );
    return `the others: ${words} within ${Math.round((Date.now() - started) / 1000)} s`;
  } finally {
    await facilitator.stop();
    proxy.close();
  }
}
