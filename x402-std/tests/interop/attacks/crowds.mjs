// One buyer who holds on to a shop: to answers that never end, and with requests that never come.
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { challengeOf, headerOf, hold, newBuyer, pay, request, signFor, wordsOf } from '../lib/buyers.mjs';
import { megabytesOf } from '../lib/processes.mjs';
import { success, withShop } from '../lib/shops.mjs';
import { until } from '../lib/facilitators.mjs';

const PRICE = 10_000n;
const SERVED_MS = 2_000;
const OPEN = 1_100;
// As many as one payer may have at once.
const PER_PAYER = 64;
const HELD = 300;
const UPLOADS = 600;
const ARRIVED_MS = 20_000;
const ENOUGH = 1_000;
const DRIPPING = 40;
const DRIPPING_MS = 8_000;
const MOST_MEGABYTES = 100;
const ADMITTED_MS = 5_000;

const crowded = (binary, name, play) =>
  withShop(binary, name, { settle: success }, async ({ handler, shop }) => {
    const sockets = [];
    const [offer] = (await challengeOf(shop.url)).accepts;
    const holdMany = async (count, payers, path, what) => {
      const buyers = await Promise.all(Array.from({ length: payers }, () => newBuyer(PRICE)));
      for (let index = 0; index < count; index += 1) {
        const payment = headerOf(await pay(buyers[index % payers], offer));
        sockets.push(hold(shop.url + path, { ...what, payment }));
      }
    };
    const honest = async when => {
      const url = `${shop.url}/honest/${encodeURIComponent(when)}`;
      const buyer = await newBuyer(PRICE);
      const payment = await signFor(url, buyer);
      const asked = Date.now();
      const answer = await request(url, { payment, ms: SERVED_MS });
      const took = Date.now() - asked;
      assert.equal(answer.status, 200, `an honest buyer, ${when}: ${wordsOf(answer)} after ${took} ms`);
      return `${when}: served after ${took} ms`;
    };
    try {
      return await play({ handler, holdMany, honest, sockets, shop });
    } finally {
      sockets.forEach(socket => socket.destroy());
    }
  });

/** Very many who pay for an answer that never ends, and go: nothing of theirs stays. */
export const goneStreams = binary =>
  crowded(binary, 'gone-streams', async ({ handler, holdMany, honest, sockets }) => {
    const payers = Math.ceil(OPEN / (PER_PAYER - 4));
    await holdMany(OPEN, payers, '/stream');
    await until(() => handler.ran('/stream') >= ENOUGH, ARRIVED_MS, `${ENOUGH} open answers`).catch(() => {});
    const open = handler.ran('/stream');
    assert.ok(open >= OPEN / 2, `only ${open} were open: nothing is shown`);
    sockets.forEach(socket => socket.destroy());
    // The server sees it, and so does its upstream.
    await sleep(500);
    return `${open} were open; ${await honest('when all are gone')}`;
  });

/** One payer who stays: others are served. */
export const heldStreams = binary =>
  crowded(binary, 'held-streams', async ({ handler, holdMany, honest }) => {
    await holdMany(HELD, 1, '/stream');
    await sleep(1_000);
    const words = await honest(`while one payer asked for ${HELD}`);
    const open = handler.ran('/stream');
    assert.ok(open > 0 && open <= PER_PAYER, `one payer has ${open} answers open; ${words}`);
    return `${open} open; ${words}`;
  });

/** Answers that come in very small parts, withheld until they are paid for: they take no more memory than others. */
export const drops = binary =>
  crowded(binary, 'drops', async ({ holdMany, handler, shop }) => {
    await holdMany(DRIPPING, 1, '/drops');
    await until(() => handler.ran('/drops') === DRIPPING, ARRIVED_MS, 'all of them');
    let most = 0;
    for (const ends = Date.now() + DRIPPING_MS; Date.now() < ends; await sleep(200)) {
      most = Math.max(most, megabytesOf(shop.pid()));
    }
    assert.ok(most <= MOST_MEGABYTES, `${most} MB for ${DRIPPING} answers of some kilobytes`);
    return `${most} MB`;
  });

/** Bodies that are announced and do not come. */
export const missingBodies = binary =>
  crowded(binary, 'missing-bodies', async ({ handler, holdMany, honest }) => {
    await holdMany(UPLOADS, Math.ceil(UPLOADS / (PER_PAYER - 4)), '/upload', {
      method: 'POST',
      length: 1_000,
      sent: 'x',
    });
    await sleep(1_000);
    const one = await honest(`while ${UPLOADS} bodies are awaited`);
    await holdMany(OPEN - UPLOADS, 10, '/upload', { method: 'POST', length: 1_000, sent: 'x' });
    // Where the shop takes them on before their bodies are there.
    await until(() => handler.ran('/upload') >= ENOUGH, ADMITTED_MS, `${ENOUGH} requests`).catch(() => {});
    return `${one}; ${await honest(`while ${OPEN} are`)}`;
  });
