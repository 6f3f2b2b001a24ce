// One payment, presented to two facilitators by very many at once.
import assert from 'node:assert/strict';
import { newFacilitator, until } from '../lib/facilitators.mjs';
import { codeOf, inWords, newPayment, settle } from '../lib/payments.mjs';

const PRESENTATIONS = 500;
const SETTLED_MS = 30_000;
// So many that the store has to tell them apart, not the limits.
const LIMITS = { at_once: 1_000, per_address: 1_000, per_payer: 1_000, connections: 2_000 };
// What everybody else may be told.
const OPEN = ['settlement_pending', 'unknown_settlement_error', 'busy'];
const OTHERS = ['duplicate_settlement', ...OPEN];

/** On both chains, with two processes that share `store` and have senders of their own. */
export async function storm(binary, store) {
  const facilitators = ['storm-a', 'storm-b'].map(name => newFacilitator(binary, name, { store, limits: LIMITS }));
  try {
    await Promise.all(facilitators.map(facilitator => facilitator.start()));
    const told = [];
    for (const chain of ['evm', 'svm']) {
      told.push(await stormOn(chain, facilitators));
    }
    return told.join('; ');
  } finally {
    await Promise.all(facilitators.map(facilitator => facilitator.stop()));
  }
}

async function stormOn(chain, facilitators) {
  const payment = await newPayment(chain);
  const started = performance.now();
  const answers = await Promise.all(
    Array.from({ length: PRESENTATIONS }, (_, index) => settle(facilitators[index % facilitators.length].url, payment)),
  );
  const took = Math.round(performance.now() - started);
  const counts = {};
  for (const answer of answers) {
    const words = answer.success ? 'success' : inWords({ ...answer, transaction: undefined });
    counts[words] = (counts[words] ?? 0) + 1;
  }
  const told = `${chain}: ${Object.entries(counts)
    .map(([words, count]) => `${count} ${words}`)
    .join(', ')} in ${took} ms`;
  const winners = answers.filter(({ success }) => success);
  assert.ok(winners.length <= 1, `${winners.length} successes; ${told}`);
  const wrong = answers.filter(answer => !answer.success && !OTHERS.includes(codeOf(answer.errorReason)));
  assert.equal(wrong.length, 0, `other answers; ${told}`);
  assert.equal(winners.length, 1, `no success; ${told}`);
  await payment.check(winners[0].transaction);
  assert.equal(await payment.moved(), payment.price, `what moved; ${told}`);
  for (const { url } of facilitators) {
    const again = await until(
      async () => {
        const answer = await settle(url, payment);
        return !OPEN.includes(codeOf(answer.errorReason)) && answer;
      },
      SETTLED_MS,
      'the last answer',
    );
    assert.equal(codeOf(again.errorReason), 'duplicate_settlement', `afterwards: ${inWords(again)}`);
  }
  assert.equal(await payment.moved(), payment.price, 'what moved in the end');
  return told;
}
