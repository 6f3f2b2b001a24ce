// A facilitator whose success contradicts itself: a mix-up, of a cache or of tenants. Nobody is served on it.
import assert from 'node:assert/strict';
import { OPEN, newAddress, newBuyer, request, signFor, wordsOf } from '../lib/buyers.mjs';
import { success, withShop } from '../lib/shops.mjs';

const PRICE = 10_000n;
const SOLANA_ID = '5VERv8NMvzbJMEkV8xnrLkEaWRtSz9CosKDYjCJjBRnbJLgp8uirBgmQpjKhoR4tjF3ZpRzrFmBV6UjKdiSZkQUW';

const LIES = {
  'another payer': () => ({ payer: newAddress() }),
  'amount 0': () => ({ amount: '0' }),
  'amount 1': () => ({ amount: '1' }),
  'a transaction that is none': () => ({ transaction: 'lol' }),
  'a short transaction': () => ({ transaction: '0x0' }),
  'no transaction': () => ({ transaction: '' }),
  'a transaction of Solana': () => ({ transaction: SOLANA_ID }),
  'another network': () => ({ network: 'eip155:1' }),
  'a reason beside success': () => ({ errorReason: 'insufficient_funds' }),
};

/** With claims in a file, and in memory. */
export function contradictions(binary, { claims }) {
  let lie = {};
  const settle = asked => ({ ...success(asked), ...lie });
  return withShop(binary, 'lies-shop', { settle, claims }, async ({ shop }) => {
    const served = async name => {
      const url = `${shop.url}/item/${encodeURIComponent(name)}`;
      const payment = await signFor(url, await newBuyer(PRICE));
      return request(url, { payment });
    };
    const wrong = [];
    const pending = (name, answer) => {
      if (!OPEN.includes(answer.reason)) {
        wrong.push(`${name}: ${wordsOf(answer)}`);
      }
    };
    for (const [name, make] of Object.entries(LIES)) {
      lie = make();
      pending(name, await served(name));
    }
    lie = { transaction: `0x${'ab'.repeat(32)}` };
    const first = await served('first');
    assert.equal(first.status, 200, `the first with a transaction: ${wordsOf(first)}`);
    for (const name of ['second', 'third']) {
      pending(`${name} with the same transaction`, await served(name));
    }
    lie = {};
    const honest = await served('honest');
    assert.equal(honest.status, 200, `afterwards: ${wordsOf(honest)}`);
    assert.equal(wrong.length, 0, wrong.join('\n'));
    return `${Object.keys(LIES).length + 2} not served`;
  });
}
