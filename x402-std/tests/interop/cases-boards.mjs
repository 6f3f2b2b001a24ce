// The firmware of x402-core/examples/boards in an emulator: buys from the official server, sells to the official
// client through the official facilitator.
import assert from 'node:assert/strict';
import http from 'node:http';
import https from 'node:https';
import net from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { privateKeyToAccount, sign } from 'viem/accounts';
import { TARGETS } from './lib/boards.mjs';
import { isRoute, refuses, settles, testCase, told, watched } from './lib/checks.mjs';
import { payWithBoard, payWithOurs, payWithTypeScript } from './lib/clients.mjs';
import { EVM_KEYS, EVM_NETWORK, HOST, PORTS, SVM_NETWORK, urlOf } from './lib/config.mjs';
import { evmLedger, svmLedger } from './lib/ledgers.mjs';
import { USDC } from './lib/setup-svm.mjs';
import { certificates, SERVER_NAME } from './lib/tls.mjs';

const EIP3009 = '/evm/eip3009';
const READING = '/reading';
const HOSTILE_REQUESTS = 10_000;
const AT_ONCE = 16;

const evm = evmLedger();
const svm = svmLedger(USDC, { memo: /^[0-9a-f]{32}$/ });
const official = ['facilitator', 'server'];
const isReading = body => Number.isInteger(body?.uptimeMs);

export const boardCases = binary => TARGETS.flatMap(target => casesOn(target, binary));

function casesOn(target, binary) {
  const [board] = target.split('-');
  const seller = `seller-${board}`;
  const buys = (name, ledger, amount, path, settings) =>
    testCase(`${board} buyer -> official server, ${name}`, official, () =>
      settles(ledger, amount, () => payWithBoard(target, 'server', path, settings), isRoute(path)));
  return [
    buys('eip3009', evm, 10_000n, EIP3009),
    buys('Solana', svm, 1_000n, '/svm/blockhash'),
    buys('one of both', evm, 10_000n, '/multi', { networks: [EVM_NETWORK] }),
    buys('over the serial line', evm, 10_000n, EIP3009, { serial: PORTS.server, options: ['uart'] }),
    testCase(`${board} buyer -> official server, secure element signs`, official, () =>
      withElement(EVM_KEYS.client, serial =>
        settles(
          evm,
          10_000n,
          () => payWithBoard(target, 'server', EIP3009, { serial, firmware: 'buyer_element' }),
          isRoute(EIP3009),
        ))),
    testCase(`${board} buyer -> official server, another's secure element`, official, () =>
      withElement(EVM_KEYS.client, serial =>
        refuses(evm, () => payWithBoard(target, 'server', EIP3009, { serial, firmware: 'buyer_element' })),
      EVM_KEYS.poor)),
    testCase(`${board} buyer -> official server over TLS`, official, () =>
      withTls(async authority => {
        const tls = name => ({ firmware: 'buyer_tls', networks: [EVM_NETWORK], options: ['tls', name, authority] });
        await refuses(evm, () => payWithBoard(target, 'upstream', EIP3009, tls('other.test')));
        await settles(evm, 10_000n, () => payWithBoard(target, 'upstream', EIP3009, tls(SERVER_NAME)), isRoute(EIP3009));
      })),
    testCase(`${board} buyer -> official server, other network wanted`, official, async () => {
      const result = await refuses(evm, () => payWithBoard(target, 'server', EIP3009, { networks: [SVM_NETWORK] }));
      assert.match(result.text, /no offer/);
    }),
    testCase(`official client -> ${board} seller`, [seller], () =>
      settles(evm, 10_000n, () => payWithTypeScript(urlOf(seller) + READING), isReading)),
    testCase(`ours -> ${board} seller, our facilitator`, [`${seller}-simulated`], async () => {
      const result = await payWithOurs(binary, `${urlOf(`${seller}-simulated`)}${READING}`);
      assert.ok(result.served && isReading(result.body), told(result));
    }),
    testCase(`official client -> ${board} seller, header shown twice`, [seller], () => servesOnce(seller)),
    testCase(`official client -> ${board} seller, no money`, [seller], () =>
      refuses(evm, () => payWithTypeScript(urlOf(seller) + READING, { evm: 'poor' }))),
    testCase(`official client -> ${board} seller, facilitator falls silent`, [`${seller}-unclear`], () =>
      staysPending(`${seller}-unclear`)),
    testCase(`${HOSTILE_REQUESTS} hostile requests -> ${board} seller`, [seller], () => survives(seller)),
  ];
}

/** A chip on the serial line that tells the address of one key, and signs with that key or with another. */
async function withElement(key, run, signingKey = key) {
  const chip = net.createServer(socket => {
    let received = Buffer.alloc(0);
    socket.on('error', () => {});
    socket.on('data', async data => {
      received = Buffer.concat([received, data]);
      if (received[0] === 1) {
        received = received.subarray(1);
        socket.write(Buffer.from(privateKeyToAccount(key).address.slice(2), 'hex'));
      }
      if (received[0] === 2 && received.length >= 33) {
        const hash = `0x${received.subarray(1, 33).toString('hex')}`;
        received = received.subarray(33);
        const { r, s } = await sign({ hash, privateKey: signingKey });
        socket.write(Buffer.from(r.slice(2) + s.slice(2), 'hex'));
      }
    });
  });
  await new Promise(resolve => chip.listen(PORTS.element, HOST, resolve));
  try {
    return await run(PORTS.element);
  } finally {
    chip.close();
  }
}

/** Speaks TLS for the official server. */
async function withTls(run) {
  const { key, cert, authority } = certificates();
  const front = https.createServer({ key, cert }, passTo('server'));
  front.on('tlsClientError', () => {});
  await new Promise(resolve => front.listen(PORTS.upstream, HOST, resolve));
  try {
    return await run(authority);
  } finally {
    front.closeAllConnections();
    front.close();
  }
}

/** Passes requests on, as they are but for the host, which `service` does not need to know. */
function passTo(service) {
  return (request, response) => {
    const { host: _, ...headers } = request.headers;
    const onward = http.request(urlOf(service) + request.url, { headers: { ...headers, connection: 'close' } });
    onward.on('response', answer => {
      response.writeHead(answer.statusCode, answer.headers);
      answer.pipe(response);
    });
    onward.on('error', () => response.destroy());
    onward.end();
  };
}

const get = (url, headers) => fetch(url, { headers: { connection: 'close', ...headers } });

/** What the official client sends to `service`, which answers through a server that listens in. */
async function paidThrough(service) {
  let header;
  const listener = http.createServer((request, response) => {
    header = request.headers['payment-signature'] ?? header;
    passTo(service)(request, response);
  });
  await new Promise(resolve => listener.listen(PORTS.upstream, HOST, resolve));
  try {
    const result = await payWithTypeScript(urlOf('upstream') + READING);
    return { result, header };
  } finally {
    listener.closeAllConnections();
    listener.close();
  }
}

async function servesOnce(seller) {
  const paid = await watched(evm, () => paidThrough(seller));
  const { result, header } = paid.result;
  assert.ok(result.served, told(result));
  assert.deepEqual(paid.moved, [10_000n, -10_000n]);
  const again = await watched(evm, () => get(urlOf(seller) + READING, { 'payment-signature': header }));
  assert.equal(again.result.status, 402);
  const receipt = Buffer.from(again.result.headers.get('payment-response'), 'base64').toString();
  assert.equal(JSON.parse(receipt).errorReason, 'duplicate_settlement');
  assert.deepEqual(again.moved, [0n, 0n]);
}

/** The facilitator settles and its answer is lost: the buyer is told so, again and again, and pays once. */
async function staysPending(seller) {
  const { result, moved } = await watched(evm, async () => {
    const { result, header } = await paidThrough(seller);
    assert.ok(!result.served, told(result));
    assert.equal(result.receipt?.errorReason, 'unknown_settlement_error', told(result));
    for (let i = 0; i < 3; i += 1) {
      const again = await get(urlOf(seller) + READING, { 'payment-signature': header });
      const receipt = Buffer.from(again.headers.get('payment-response'), 'base64').toString();
      assert.equal(JSON.parse(receipt).errorReason, 'unknown_settlement_error', receipt);
    }
    return result;
  });
  assert.deepEqual(moved, [10_000n, -10_000n], told(result));
}

/** Garbage of every kind, many at a time; then it sells. */
async function survives(seller) {
  const port = PORTS[seller];
  const from = performance.now();
  let next = 0;
  const worker = async () => {
    while (next < HOSTILE_REQUESTS) {
      next += 1;
      await hostile(port, next);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  const seconds = (performance.now() - from) / 1000;
  await settles(evm, 10_000n, () => payWithTypeScript(urlOf(seller) + READING), isReading);
  return `${Math.round(HOSTILE_REQUESTS / seconds)} a second`;
}

const payment = json => `PAYMENT-SIGNATURE: ${Buffer.from(json).toString('base64')}`;
const request = (...headers) => `GET ${READING} HTTP/1.1\r\n${headers.map(header => `${header}\r\n`).join('')}\r\n`;
const HOSTILE = [
  () => '',
  () => '\0'.repeat(300),
  () => 'GET / HTTP/1.1\r\n\r\n',
  () => request(),
  () => request('PAYMENT-SIGNATURE: %%%'),
  () => request(payment('{}')),
  () => request(payment('['.repeat(1000))),
  () => request(payment('{"x402Version":2,"accepted":{},"payload":{}}')),
  () => request(payment('{}'), payment('{}')),
  () => request(`X: ${'a'.repeat(9000)}`),
  () => request(...Array(100).fill('X: y')),
  () => request('Content-Length: 99999999'),
  () => request('Content-Length: 5'),
  () => request('Transfer-Encoding: chunked'),
  () => `${request().slice(0, -9)}`,
  i => Buffer.from(Array.from({ length: i % 700 }, (_, at) => (at * 2654435761 * i) >>> 13)),
];

/** One connection: sends garbage, and leaves politely, rudely or late. */
function hostile(port, number) {
  return new Promise(resolve => {
    const socket = net.connect({ host: HOST, port });
    const late = setTimeout(() => socket.destroy(), 3_000);
    socket.on('close', () => {
      clearTimeout(late);
      resolve();
    });
    socket.on('error', () => {});
    socket.on('data', () => {});
    socket.on('connect', () => {
      socket.write(HOSTILE[number % HOSTILE.length](number));
      const how = Math.floor(number / HOSTILE.length) % 4;
      if (how === 0) {
        socket.resetAndDestroy();
      } else if (how === 1) {
        socket.end();
      } else if (how === 2) {
        sleep(5).then(() => socket.destroy());
      }
      // Otherwise it waits for the answer, or for the other side to lose patience.
      if (how === 3 && number % 3 !== 0) {
        socket.end();
      }
    });
  });
}
