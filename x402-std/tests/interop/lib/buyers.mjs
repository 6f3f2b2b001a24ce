// Buyers who sign for themselves, with whatever they like in it, and who treat connections as they like.
import { randomBytes } from 'node:crypto';
import http from 'node:http';
import net from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { encodeAbiParameters, keccak256, toHex } from 'viem';
import { generatePrivateKey, privateKeyToAccount } from 'viem/accounts';
import { anvil, CHAIN_ID, EVM_NETWORK, USDC, USDC_NAME, USDC_VERSION } from './config.mjs';
import { officialClient } from './payments.mjs';
import { fromBase64Json, toBase64 } from './checks.mjs';

const REQUEST_MS = 60_000;
// Of `balanceOf` in TestUSDC.sol.
const BALANCES_SLOT = 4n;

const domain = { name: USDC_NAME, version: USDC_VERSION, chainId: CHAIN_ID, verifyingContract: USDC };
/** What EIP-3009 signs. */
export const transferTypes = {
  TransferWithAuthorization: [
    { name: 'from', type: 'address' },
    { name: 'to', type: 'address' },
    { name: 'value', type: 'uint256' },
    { name: 'validAfter', type: 'uint256' },
    { name: 'validBefore', type: 'uint256' },
    { name: 'nonce', type: 'bytes32' },
  ],
};

/** Gives an address so many units, without a transaction. */
export async function fund(address, units, client = anvil) {
  const slot = [{ type: 'address' }, { type: 'uint256' }];
  const index = keccak256(encodeAbiParameters(slot, [address, BALANCES_SLOT]));
  await client.setStorageAt({ address: USDC, index, value: toHex(BigInt(units), { size: 32 }) });
}

/** Somebody new with so many units. */
export async function newBuyer(units, client) {
  const account = privateKeyToAccount(generatePrivateKey());
  await fund(account.address, units, client);
  return account;
}

/** Somebody new who has ether and sends for a facilitator: `{ key, address }`. */
export async function newSender(client = anvil) {
  const key = generatePrivateKey();
  const { address } = privateKeyToAccount(key);
  await client.setBalance({ address, value: 10n ** 18n });
  return { key, address };
}

export const newAddress = () => privateKeyToAccount(generatePrivateKey()).address;

/** An offer as a seller makes it. */
export const offerTo = (payTo, { amount = 10_000, seconds = 60 } = {}) => ({
  scheme: 'exact',
  network: EVM_NETWORK,
  amount: `${amount}`,
  asset: USDC,
  payTo,
  maxTimeoutSeconds: seconds,
  extra: { name: USDC_NAME, version: USDC_VERSION },
});

/** A payment of an offer on EVM, signed by an account's key. More can be said of the authorization. */
export async function pay(account, offer, { seconds = offer.maxTimeoutSeconds, resource, ...more } = {}) {
  const authorization = {
    from: account.address,
    to: offer.payTo,
    value: offer.amount,
    validAfter: '0',
    validBefore: `${Math.floor(Date.now() / 1000) + seconds}`,
    nonce: toHex(randomBytes(32)),
    ...more,
  };
  const signature = await account.signTypedData({
    domain,
    types: transferTypes,
    primaryType: 'TransferWithAuthorization',
    message: authorization,
  });
  return { x402Version: 2, ...(resource && { resource }), accepted: offer, payload: { signature, authorization } };
}

/** What `/verify` and `/settle` take. */
export const bodyOf = payment =>
  JSON.stringify({ x402Version: 2, paymentPayload: payment, paymentRequirements: payment.accepted });

export const headerOf = payment => toBase64(JSON.stringify(payment));

/** What a shop asks for a request. */
export async function challengeOf(url, { method = 'GET', body } = {}) {
  const answer = await request(url, { method, body });
  if (answer.status !== 402) {
    throw new Error(`${url}: ${answer.status} instead of a challenge: ${answer.body}`);
  }
  return fromBase64Json(answer.headers['payment-required']);
}

/** Signs for what a shop asks: the value of the payment header. The official client pays on Solana if nobody does. */
export async function signFor(url, account, { method, body, ...settings } = {}) {
  const challenge = await challengeOf(url, { method, body });
  if (!account) {
    const accepts = challenge.accepts.filter(({ network }) => network.startsWith('solana:'));
    return headerOf(await officialClient.createPaymentPayload({ ...challenge, accepts }));
  }
  const offer = challenge.accepts.find(({ network }) => network.startsWith('eip155:'));
  return headerOf(await pay(account, offer, { resource: challenge.resource, ...settings }));
}

/**
 * One request: `{ status, headers, body, reason }`, or `{ lost, arrived }`, `arrived` in bytes. With `leaveAfter` it ends after so many
 * milliseconds, with `leaveAt` when so many bytes of the answer are there. `closes` says `Connection: close`.
 */
export function request(
  url,
  { method = 'GET', payment, body, headers = {}, closes, leaveAfter, leaveAt, ms = REQUEST_MS } = {},
) {
  return new Promise(resolve => {
    let socket;
    const lost = error =>
      resolve({ lost: error?.code ?? error?.message ?? 'closed', arrived: socket?.bytesRead ?? 0 });
    // A connection of its own, kept open or not, as the client says.
    const agent = closes ? false : new http.Agent({ keepAlive: true });
    const paid = payment ? { 'PAYMENT-SIGNATURE': payment } : {};
    const asked = http.request(url, { method, agent, headers: { ...paid, ...headers } }, answer => {
      const chunks = [];
      let length = 0;
      answer.on('data', chunk => {
        chunks.push(chunk);
        length += chunk.length;
        if (leaveAt && length >= leaveAt) {
          asked.destroy();
          lost({ code: 'left' });
        }
      });
      answer.on('error', lost);
      answer.on('end', () => {
        setImmediate(() => agent && agent.destroy());
        const { statusCode: status, headers } = answer;
        const told = { status, headers, body: Buffer.concat(chunks) };
        resolve({ ...told, reason: status === 200 ? undefined : reasonOf(told) });
      });
    });
    const timer = setTimeout(() => asked.destroy(new Error('late')), leaveAfter ?? ms);
    asked.on('socket', its => (socket = its));
    asked.on('close', () => clearTimeout(timer));
    asked.on('error', lost);
    asked.end(body);
  });
}

function reasonOf({ headers, body }) {
  try {
    const { error } = headers['payment-required'] ? fromBase64Json(headers['payment-required']) : JSON.parse(body);
    return `${error}`.split(/[:\n]/)[0].trim();
  } catch {
    return body.toString().slice(0, 100);
  }
}

// The same payment, again in a moment, may be served.
export const OPEN = ['settlement_pending', 'unknown_settlement_error', 'busy'];

/** Presents a payment until the answer is another one than that it is open, or for `ms`; tells the last answer. */
export async function requestAgain(url, what, { ms = 20_000, pause = 300 } = {}) {
  const deadline = Date.now() + ms;
  for (;;) {
    const answer = await request(url, what);
    if ((!answer.lost && !OPEN.includes(answer.reason)) || Date.now() > deadline) {
      return answer;
    }
    await sleep(pause);
  }
}

/** In a few words. */
export const wordsOf = ({ lost, status, reason }) => (lost ? `no answer (${lost})` : `${status} ${reason ?? 'served'}`);

/** How often each: `3 x 200 served, 1 x 402 busy`. */
export function counted(words) {
  const counts = new Map();
  for (const word of words) {
    counts.set(word, (counts.get(word) ?? 0) + 1);
  }
  return [...counts].map(([word, count]) => `${count} x ${word}`).join(', ');
}

/** Sends the beginning of a request and holds the connection; tells the socket. */
export function hold(url, { method = 'GET', payment, length, sent = '' }) {
  const { hostname, port, pathname } = new URL(url);
  const socket = net.connect({ host: hostname, port });
  socket.on('error', () => {});
  socket.resume();
  const lines = [`${method} ${pathname} HTTP/1.1`, `Host: ${hostname}:${port}`, `PAYMENT-SIGNATURE: ${payment}`];
  if (length) {
    lines.push(`Content-Length: ${length}`);
  }
  socket.write(`${lines.join('\r\n')}\r\n\r\n${sent}`);
  return socket;
}
