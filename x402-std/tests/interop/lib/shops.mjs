// `x402 serve` in front of a handler that counts, and facilitators that are no more than what a case makes them say.
import { randomBytes } from 'node:crypto';
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { newAddress } from './buyers.mjs';
import { EVM_NETWORK, freePort, HOST } from './config.mjs';
import { isRunning, kill, OUT, pidOf, start, stop } from './processes.mjs';

const LARGE_BYTES = 1_000_000;
const EVENT_MS = 1_000;
const DROPS = 3_000;

/** A shop of the case's own, paid at an address of its own on EVM unless `evm` is false. It is not started yet. */
export function newShop(binary, name, settings) {
  const { facilitator, upstream, claims = false, price = '$0.01', evm = true, networks = [], options = [] } = settings;
  const port = freePort();
  const address = { name, port };
  const payTo = newAddress();
  const own = evm ? [[EVM_NETWORK, payTo]] : [];
  const offers = [...own, ...networks].flatMap(([network, to]) => ['--network', network, '--pay-to', to]);
  const args = ['serve', ...offers, '--price', price, '--facilitator', facilitator, '--listen', `${HOST}:${port}`, ...options];
  if (upstream) {
    args.push('--upstream', upstream);
  }
  const file = path.join(OUT, `${name}-${port}.claims`);
  if (claims) {
    for (const suffix of ['', '-wal', '-shm', '-journal', '.secret']) {
      fs.rmSync(file + suffix, { force: true });
    }
    args.push('--claims', file);
  }
  const launch = again => () => start({ ...address, command: binary, args, again });
  return {
    ...address,
    url: `http://${HOST}:${port}`,
    payTo,
    claims: file,
    start: launch(false),
    startAgain: launch(true),
    kill: signal => kill(address, signal),
    stop: () => stop(address),
    pid: () => pidOf(address),
    isRunning: () => isRunning(address),
  };
}

async function listen(answer) {
  const server = http.createServer(answer);
  const port = freePort();
  await new Promise((resolve, reject) => server.once('error', reject).listen(port, HOST, resolve));
  return {
    url: `http://${HOST}:${port}`,
    close() {
      server.closeAllConnections();
      server.close();
    },
  };
}

/**
 * What is sold: an answer that is another one each time; a large one below `/large`, events without an end below
 * `/stream`, and one in small drops below `/drops`. `ran` counts by path, `answers` has what was said, for those that end.
 */
export async function newHandler() {
  const runs = new Map();
  const answers = new Map();
  const say = (response, path, type, body) => {
    answers.set(path, [...(answers.get(path) ?? []), body]);
    response.writeHead(200, { 'content-type': type }).end(body);
  };
  const server = await listen(async (request, response) => {
    const [path] = request.url.split('?');
    runs.set(path, (runs.get(path) ?? 0) + 1);
    request.on('error', () => {});
    if (path.startsWith('/stream')) {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.write('data: on\n\n');
      const timer = setInterval(() => response.write('data: on\n\n'), EVENT_MS);
      response.on('close', () => clearInterval(timer));
      return;
    }
    if (path.startsWith('/drops')) {
      response.writeHead(200, { 'content-type': 'text/plain' });
      request.socket.setNoDelay(true);
      for (let drop = 0; drop < DROPS && !response.destroyed; drop += 1) {
        response.write('a drop\n');
        await sleep(1);
      }
      response.end();
      return;
    }
    await request.toArray().catch(() => {});
    const once = randomBytes(16).toString('hex');
    if (path.startsWith('/large')) {
      say(
        response,
        path,
        'application/octet-stream',
        Buffer.concat([Buffer.from(once), Buffer.alloc(LARGE_BYTES, '.')]),
      );
      return;
    }
    say(response, path, 'application/json', Buffer.from(JSON.stringify({ path, once })));
  });
  return { ...server, runs, ran: path => runs.get(path) ?? 0, answers: path => answers.get(path) ?? [] };
}

/** A facilitator that takes every payment for good. `settle` gives its answers to `/settle`: `{ status, ...body }`. */
export async function newStub(settle) {
  const reply = (response, body, status = 200) =>
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
  return listen(async (request, response) => {
    try {
      if (request.url.endsWith('/supported')) {
        const kinds = [{ x402Version: 2, scheme: 'exact', network: EVM_NETWORK }];
        reply(response, { kinds, extensions: [], signers: {} });
        return;
      }
      const asked = JSON.parse(Buffer.concat(await request.toArray()).toString());
      const { from, value } = asked.paymentPayload.payload.authorization;
      if (request.url.endsWith('/verify')) {
        reply(response, { isValid: true, payer: from });
        return;
      }
      const { status, ...body } = await settle({ payer: from, amount: value, asked });
      reply(response, body, status);
    } catch {
      response.destroy();
    }
  });
}

/**
 * Passes on what a shop asks its facilitator. `settled` has the answers to `/settle`; each goes back when what
 * `before.answer`, if it is set, promises of it is there.
 */
export async function newRelay(target) {
  const settled = [];
  const before = { answer: undefined };
  const server = await listen(async (request, response) => {
    try {
      const { host, connection, 'content-length': length, 'transfer-encoding': coding, ...headers } = request.headers;
      const body = request.method === 'POST' ? Buffer.concat(await request.toArray()) : undefined;
      const answer = await fetch(target + request.url, { method: request.method, headers, body });
      const text = await answer.text();
      if (request.url.endsWith('/settle')) {
        settled.push(JSON.parse(text));
        await before.answer?.(settled.at(-1));
      }
      response.writeHead(answer.status, { 'content-type': 'application/json' }).end(text);
    } catch {
      response.destroy();
    }
  });
  return { ...server, settled, before };
}

/** Plays with a shop in front of a handler of its own. With `settle`, its facilitator is a stub that answers so. */
export async function withShop(binary, name, { settle, ...settings }, play) {
  const stub = settle && (await newStub(settle));
  const handler = await newHandler();
  const facilitator = stub?.url;
  const shop = newShop(binary, name, { facilitator, upstream: handler.url, ...settings });
  try {
    await shop.start();
    return await play({ handler, shop });
  } finally {
    await shop.stop();
    stub?.close();
    handler.close();
  }
}

/** What a facilitator says of a payment that it settled. */
export const success = ({ payer, amount }) => ({
  success: true,
  payer,
  amount,
  transaction: `0x${randomBytes(32).toString('hex')}`,
  network: EVM_NETWORK,
});
