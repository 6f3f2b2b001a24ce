// What hostile and unlucky buyers do to a shop and its facilitator, one at a time: for soak.mjs.
import { randomBytes } from 'node:crypto';
import net from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  bodyOf,
  headerOf,
  hold,
  newAddress,
  newBuyer,
  offerTo,
  pay,
  request,
  requestAgain,
  signFor,
} from '../lib/buyers.mjs';
import { fromBase64Json, toBase64 } from '../lib/checks.mjs';
import { post, settle } from '../lib/payments.mjs';
import { twoFaced } from './gas.mjs';

const PRICE = 10_000n;
const HOLD_MS = 10_000;
const MOST_REPLAYS = 200;

/**
 * Each kind by its name. `shop` and `facilitator` are URLs; `newPath` gives a path that nobody else has; `offer` is the
 * shop's on EVM; `paid` are headers of payments that were served, with their paths; `draw` gives numbers from 0 to 1.
 * What comes back tells `{ path, answer }` for each answer, the `chain` if it is Solana, and with `honest` that the
 * buyer is owed an answer.
 */
export function hostileKinds({ shop, facilitator, offer, newPath, paid, draw }) {
  const among = list => list[Math.floor(draw() * list.length)];
  const signed = async (path, units = PRICE, settings) => signFor(shop + path, await newBuyer(units), settings);
  const tried = async (path, payment, more) => ({ path, answer: await request(shop + path, { payment, ...more }) });

  /** Leaves, and comes back for what was paid. */
  const returns = async (path, leaving, isOnSolana = false) => {
    const payment = isOnSolana ? await signFor(shop + path) : await signed(path);
    const chain = isOnSolana ? 'svm' : 'evm';
    const first = await request(shop + path, { payment, ...leaving });
    // Short answers come whole: what arrived before it left is not lost.
    if (first.status === 200 || (leaving.leaveAfter && first.arrived > 0)) {
      return { honest: true, chain, path, answer: { status: 200 } };
    }
    await sleep(draw() * 8_000);
    return { honest: true, chain, path, answer: await requestAgain(shop + path, { payment }) };
  };

  const corruptions = {
    bytes: payment => randomly(payment, bytes => bytes.map(byte => (draw() < 0.01 ? Math.floor(draw() * 256) : byte))),
    half: payment => payment.slice(0, payment.length / 2),
    amount: payment => changed(payment, authorization => ({ ...authorization, value: '1' })),
    payee: payment => changed(payment, authorization => ({ ...authorization, to: newAddress() })),
    nonce: payment => changed(payment, authorization => ({ ...authorization, nonce: `0x${'00'.repeat(32)}` })),
    payer: payment => changed(payment, authorization => ({ ...authorization, from: newAddress() })),
  };

  return {
    'hangs up': () => returns(newPath('/item'), { leaveAfter: 100 + draw() * 1_500 }),
    'hangs up, Solana': () => returns(newPath('/item'), { leaveAfter: 1 + draw() * 30 }, true),
    'half of a body': () => returns(newPath('/large'), { leaveAt: 100_000, closes: draw() < 0.5 }),
    async 'slow bodies'() {
      const payment = await signed(newPath('/upload'));
      const socket = hold(`${shop}/upload`, { method: 'POST', payment, length: 1_000, sent: 'x' });
      await sleep(draw() * HOLD_MS);
      socket.destroy();
    },
    async 'held streams'() {
      const buyer = await newBuyer(PRICE);
      const sockets = [];
      for (let count = 0; count < 10; count += 1) {
        sockets.push(hold(`${shop}/stream`, { payment: headerOf(await pay(buyer, offer)) }));
      }
      await sleep(draw() * HOLD_MS);
      sockets.forEach(socket => socket.destroy());
    },
    async overdrafts() {
      const buyer = await newBuyer(PRICE);
      const paths = Array.from({ length: 5 }, () => newPath('/item'));
      const payments = await Promise.all(paths.map(path => signFor(shop + path, buyer)));
      return Promise.all(paths.map((path, index) => tried(path, payments[index])));
    },
    async 'short authorizations'() {
      const path = newPath('/item');
      return tried(path, await signed(path, PRICE, { seconds: Math.floor(4 + draw() * 6) }));
    },
    async 'endless authorizations'() {
      const path = newPath('/item');
      const validBefore = `${2n ** BigInt(Math.floor(40 + draw() * 215))}`;
      return tried(path, await signed(path, PRICE, { validBefore }));
    },
    async 'two-faced code'() {
      const [buyer] = await twoFaced(1, { delegated: draw() < 0.5 });
      const path = newPath('/item');
      await settle(facilitator, { body: bodyOf(await pay(buyer, offerTo(newAddress()))) });
      return tried(path, await signFor(shop + path, buyer));
    },
    async 'broken payments'() {
      const path = newPath('/broken');
      return tried(path, among(Object.values(corruptions))(await signed(path)));
    },
    async 'broken payments, Solana'() {
      const path = newPath('/broken');
      const header = await signFor(shop + path);
      const payment = fromBase64Json(header);
      // The first signature is the facilitator's to make: whatever stands there is no part of the payment.
      const flip = (byte, at) => (at <= 64 ? byte : byte ^ (draw() < 0.01));
      const transaction = randomly(payment.payload.transaction, bytes => bytes.map(flip));
      return transaction === payment.payload.transaction
        ? undefined
        : tried(path, headerOf({ ...payment, payload: { ...payment.payload, transaction } }));
    },
    async replays() {
      if (paid.length === 0) {
        return undefined;
      }
      const { path, payment } = among(paid.slice(-MOST_REPLAYS));
      return Promise.all([
        tried(path, payment),
        tried(newPath('/replay'), payment),
        tried(path, payment, { method: 'PUT' }),
      ]);
    },
    async 'nobody has money'() {
      const path = newPath('/item');
      return tried(path, await signed(path, 0n));
    },
    async 'garbage headers'() {
      const path = newPath('/broken');
      const text = among([
        randomBytes(300)
          .toString('latin1')
          .replace(/[^\x20-\x7e]/g, '?'),
        'e30=',
        toBase64('[]'),
        '{',
        'A'.repeat(60_000),
      ]);
      return tried(path, text);
    },
    async 'garbage bytes'() {
      const { hostname, port } = new URL(among([shop, facilitator]));
      const socket = net.connect({ host: hostname, port }).on('error', () => {});
      socket.end(randomBytes(500));
      await sleep(1_000);
      socket.destroy();
    },
    async 'junk to the facilitator'() {
      const body = among([
        randomBytes(200),
        '['.repeat(10_000),
        '{"x402Version":2}',
        bodyOf(await pay(await newBuyer(0n), offer)),
      ]);
      await post(facilitator + among(['/settle', '/verify']), body);
      await fetch(`${facilitator}/settlements/${randomBytes(32).toString('hex')}`);
    },
  };
}

function randomly(header, change) {
  return Buffer.from(change(Buffer.from(header, 'base64'))).toString('base64');
}

function changed(header, change) {
  const payment = fromBase64Json(header);
  const { authorization } = payment.payload;
  return headerOf({ ...payment, payload: { ...payment.payload, authorization: change(authorization) } });
}
