// Stores that are filled, and one that forgets.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import {
  bodyOf,
  counted,
  newAddress,
  newBuyer,
  newSender,
  offerTo,
  pay,
  request,
  signFor,
  wordsOf,
} from '../lib/buyers.mjs';
import { claimsIn } from '../lib/claims.mjs';
import { command } from '../lib/clients.mjs';
import { facilitatorCommand, newFacilitator, newSqlite } from '../lib/facilitators.mjs';
import { briefly, codeOf, post, settle } from '../lib/payments.mjs';
import { OUT } from '../lib/processes.mjs';
import { success, withShop } from '../lib/shops.mjs';

const PRICE = 10_000n;
const CAPACITY = 20;
const WHILE_BUSY = 200;
const REASON = 'invalid_exact_evm_payload_authorization_valid_before';
const TEN_YEARS = 10 * 365 * 86_400;
const HOUR = 3_600;

/** Authorizations that never end: refused, and no claim stays. */
export async function endless(binary) {
  const store = newSqlite('endless', { capacity: CAPACITY });
  const facilitator = newFacilitator(binary, 'endless', { store });
  const play = async ({ handler, shop }) => {
    const buyer = await newBuyer(PRICE * 1_000n);
    const ends = [2n ** 64n - 1n, 2n ** 64n, 2n ** 255n, BigInt(Math.floor(Date.now() / 1000) + TEN_YEARS)];
    for (let count = 0; count <= CAPACITY; count += ends.length) {
      for (const end of ends) {
        const validBefore = `${end}`;
        const body = bodyOf(await pay(buyer, offerTo(newAddress()), { validBefore }));
        const verified = await post(`${facilitator.url}/verify`, body);
        assert.equal(codeOf(verified.invalidReason), REASON, `/verify until ${end}`);
        const settled = await settle(facilitator.url, { body });
        assert.equal(codeOf(settled.errorReason), REASON, `/settle until ${end}: ${briefly(settled)}`);
        const payment = await signFor(`${shop.url}/endless`, buyer, { validBefore });
        const answer = await request(`${shop.url}/endless`, { payment });
        assert.equal(answer.reason, REASON, `a shop, until ${end}: ${wordsOf(answer)}`);
      }
    }
    assert.equal(handler.ran('/endless'), 0, 'how often the handler ran');
    const honest = await settle(facilitator.url, { body: bodyOf(await pay(buyer, offerTo(newAddress()))) });
    assert.ok(honest.success, `an honest one afterwards: ${briefly(honest)}`);
  };
  try {
    await facilitator.start();
    await withShop(binary, 'endless-shop', { facilitator: facilitator.url }, play);
  } finally {
    await facilitator.stop();
  }
}

/** A facilitator is busy for a while: what was presented meanwhile is served later, and no store is full of it. */
export function busyForAWhile(binary) {
  let isBusy = true;
  const settle = asked =>
    isBusy ? { status: 503, success: false, errorReason: 'busy', transaction: '', network: '' } : success(asked);
  return withShop(binary, 'busy-shop', { settle, claims: true }, async ({ shop }) => {
    const urls = Array.from({ length: WHILE_BUSY }, (_, index) => `${shop.url}/item/${index}`);
    const payments = [];
    for (const url of urls) {
      payments.push(await signFor(url, await newBuyer(PRICE), { seconds: 300 }));
    }
    const all = () => Promise.all(urls.map((url, index) => request(url, { payment: payments[index] })));
    const before = counted((await all()).map(wordsOf));
    const kept = claimsIn(shop.claims, `kept_until > strftime('%s') + ${HOUR}`);
    assert.equal(kept, 0, `claims that are kept for more than an hour, nothing having been sent; ${before}`);
    isBusy = false;
    const answers = (await all()).map(wordsOf);
    assert.equal(counted(answers), `${WHILE_BUSY} x 200 served`, `busy: ${before}; afterwards`);
    return `busy: ${before}; afterwards: ${counted(answers)}`;
  });
}

/** Transfers that buyers present, with claims that a restart forgets: a mistake in the configuration. */
export async function proofsNeedAStore(binary) {
  const evmKeys = [(await newSender()).key];
  const evm = { max_proof_age_seconds: 600 };
  const check = async (name, settings) => {
    const definition = await facilitatorCommand(binary, { name, port: 0, evmKeys, evm, ...settings });
    return command(definition.command, [...definition.args, '--check'], definition.env);
  };
  const kept = await check('proofs-sqlite', { store: newSqlite('proofs') });
  assert.equal(kept.code, 0, `with SQLite: ${kept.stderr}`);
  const forgotten = await check('proofs-memory', {});
  assert.equal(forgotten.code, 2, `in memory: exit ${forgotten.code}, ${forgotten.stderr}`);
  assert.match(forgotten.stderr, /max_proof_age_seconds/);
  // The default.
  const file = path.join(OUT, 'proofs-memory-0.toml');
  const unset = path.join(OUT, 'proofs-unset.toml');
  fs.writeFileSync(unset, fs.readFileSync(file, 'utf8').replace(/\[store\]\nkind = "memory"\n/, ''));
  const { env } = await facilitatorCommand(binary, { name: 'proofs-memory', port: 0, evmKeys, evm });
  const result = await command(binary, ['facilitator', '--config', unset, '--check'], env);
  assert.equal(result.code, 2, `no store named: exit ${result.code}, ${result.stderr}`);
}
