// Answers that get lost after the payment: the buyer hangs up, or the shop dies. What was paid is served, once.
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { OPEN, counted, newBuyer, request, requestAgain, signFor, wordsOf } from '../lib/buyers.mjs';
import { evmBalance, SVM_NETWORK } from '../lib/config.mjs';
import { newFacilitator, newSqlite, until } from '../lib/facilitators.mjs';
import { CHAINS } from '../lib/payments.mjs';
import { newHandler, newRelay, newShop } from '../lib/shops.mjs';

const PRICE = 10_000n;
// So many blocks of a second are waited for before a payment counts as settled.
const CONFIRMATIONS = 4;
const LEAVE_MS = 1_500;
const SETTLED_MS = 20_000;
const RECORDED_MS = 1_000;
const SEEN_MS = 300;
const BUYERS = 60;
const BUYING_MS = 12_000;
const KILLS = 6;

async function withShop(binary, name, play) {
  const facilitator = newFacilitator(binary, `${name}-facilitator`, {
    store: newSqlite(`${name}-facilitator`),
    evm: { confirmations: CONFIRMATIONS },
  });
  const handler = await newHandler();
  const relay = await newRelay(facilitator.url);
  const svmPayTo = await CHAINS.svm.recipient();
  const shop = newShop(binary, `${name}-shop`, {
    facilitator: relay.url,
    upstream: handler.url,
    claims: true,
    networks: [[SVM_NETWORK, svmPayTo]],
  });
  try {
    await facilitator.start();
    await shop.start();
    return await play({ handler, relay, shop, svmPayTo, url: shop.url });
  } finally {
    await Promise.all([shop.stop(), facilitator.stop()]);
    relay.close();
    handler.close();
  }
}

const isSettled = ({ relay }) =>
  until(async () => relay.settled.some(({ success }) => success), SETTLED_MS, 'a settlement');
const paidOnce = async ({ shop, svmPayTo }, chain = 'evm') =>
  assert.equal(await CHAINS[chain].balance(chain === 'evm' ? shop.payTo : svmPayTo), PRICE, 'what the shop was paid');

/** Served what the handler made in its run number `run`, and it ran no more than that. */
function servedThat(answer, { handler }, path, run) {
  assert.equal(answer.status, 200, `the payment again: ${wordsOf(answer)}`);
  assert.equal(handler.ran(path), run, 'how often the handler ran');
  assert.ok(answer.body.equals(handler.answers(path)[run - 1]), 'another answer than the one it made');
}

/** The buyer hangs up while its payment is settled. */
export const hangsUp = (binary, chain = 'evm') =>
  withShop(binary, `hangs-up-${chain}`, async all => {
    const path = '/item/1';
    const url = all.url + path;
    const buyer = chain === 'evm' ? await newBuyer(PRICE) : undefined;
    const what = { method: 'POST', body: 'one' };
    // All is final at once on Solana here.
    all.relay.before.answer = chain === 'svm' ? () => sleep(2 * LEAVE_MS) : undefined;
    const payment = await signFor(url, buyer, what);
    const first = await request(url, { ...what, payment, leaveAfter: LEAVE_MS });
    assert.ok(first.lost, `before it left: ${wordsOf(first)}`);
    const early = await request(url, { ...what, payment });
    assert.ok(OPEN.includes(early.reason), `before the settlement ended: ${wordsOf(early)}`);
    await isSettled(all);
    await sleep(RECORDED_MS + (chain === 'svm' ? 2 * LEAVE_MS : 0));
    const elsewhere = {
      'another URL': [`${all.url}/item/2`, what],
      'another query': [`${url}?more=1`, what],
      'another method': [url, { ...what, method: 'PUT' }],
      'another body': [url, { ...what, body: 'two' }],
    };
    for (const [name, [otherUrl, other]] of Object.entries(elsewhere)) {
      const answer = await request(otherUrl, { ...other, payment });
      assert.ok(answer.status >= 400 && answer.status < 500, `${name}: ${wordsOf(answer)}`);
    }
    servedThat(await requestAgain(url, { ...what, payment }), all, path, 1);
    assert.equal(all.handler.ran('/item/2'), 0, 'what was made for another URL');
    await paidOnce(all, chain);
  });

/** The buyer hangs up in the middle of a large answer; with `closes` it said that it sends no other request. */
export const readsHalf = (binary, { closes }) =>
  withShop(binary, `reads-half${closes ? '-closes' : ''}`, async all => {
    const path = '/large/1';
    const buyer = await newBuyer(PRICE);
    const payment = await signFor(all.url + path, buyer);
    const first = await request(all.url + path, { payment, closes, leaveAt: 100_000 });
    assert.equal(first.lost, 'left', wordsOf(first));
    // Until the shop has seen it.
    await sleep(SEEN_MS);
    servedThat(await requestAgain(all.url + path, { payment }), all, path, 1);
    await paidOnce(all);
  });

/** The shop dies with the payment settled and nobody served: `die` tells when. */
const shopDies = (binary, name, die) =>
  withShop(binary, name, async all => {
    const path = '/item/1';
    const buyer = await newBuyer(PRICE);
    const payment = await signFor(all.url + path, buyer);
    await die(all, payment, all.url + path);
    await all.shop.startAgain();
    const answers = await Promise.all(Array.from({ length: 5 }, () => requestAgain(all.url + path, { payment })));
    answers.push(await request(all.url + path, { payment }));
    const served = answers.filter(({ status }) => status === 200);
    assert.ok(served.length > 0, `paid, and not served after the restart: ${counted(answers.map(wordsOf))}`);
    const last = all.handler.answers(path).at(-1);
    assert.ok(
      served.every(({ body }) => body.equals(last)),
      'served twice: two different answers',
    );
    assert.ok(all.handler.ran(path) <= 2, `the handler ran ${all.handler.ran(path)} times`);
    await paidOnce(all);
    return `${all.handler.ran(path)} runs, ${counted(answers.map(wordsOf))}`;
  });

export const killedUnheard = binary =>
  shopDies(binary, 'unheard', async ({ relay, shop }, payment, url) => {
    relay.before.answer = () => new Promise(() => {});
    const first = request(url, { payment });
    await isSettled({ relay });
    await shop.kill();
    relay.before.answer = undefined;
    assert.ok((await first).lost, 'an answer of a shop that heard nothing');
  });

export const killedUntold = binary =>
  shopDies(binary, 'untold', async ({ relay, shop }, payment, url) => {
    await request(url, { payment, leaveAfter: LEAVE_MS });
    await isSettled({ relay });
    await sleep(RECORDED_MS);
    await shop.kill();
  });

export const terminated = binary =>
  shopDies(binary, 'terminated', async ({ relay, shop }, payment, url) => {
    await request(url, { payment, leaveAfter: LEAVE_MS });
    const gone = shop.kill('SIGTERM');
    const late = sleep(SETTLED_MS).then(() => assert.fail('not gone after SIGTERM'));
    await Promise.race([gone, late]);
    assert.equal(relay.settled.length, 1, 'answers to /settle when it was gone');
  });

/** The shop dies now and then while many buy: all are served, each one thing, and it is paid once for each. */
export const killedNowAndThen = binary =>
  withShop(binary, 'now-and-then', async all => {
    const paths = Array.from({ length: BUYERS }, (_, index) => `/item/${index}`);
    const payments = [];
    for (const path of paths) {
      payments.push(await signFor(all.url + path, await newBuyer(PRICE), { seconds: 90 }));
    }
    const buys = paths.map(async (path, index) => {
      await sleep((index * BUYING_MS) / BUYERS);
      return requestAgain(all.url + path, { payment: payments[index] }, { ms: 2 * SETTLED_MS });
    });
    for (let kills = 0; kills < KILLS; kills += 1) {
      await sleep(BUYING_MS / KILLS);
      await all.shop.kill();
      await all.shop.startAgain();
    }
    const answers = await Promise.all(buys);
    const words = counted(answers.map(wordsOf));
    assert.equal(words, `${BUYERS} x 200 served`);
    for (const [index, path] of paths.entries()) {
      const again = await request(all.url + path, { payment: payments[index] });
      const isSame = again.status !== 200 || again.body.equals(answers[index].body);
      assert.ok(isSame, `${path}: the payment bought a second thing`);
    }
    assert.equal(await evmBalance(all.shop.payTo), PRICE * BigInt(BUYERS), 'what the shop was paid');
    return `${words}, ${KILLS} kills`;
  });
