// Payments that the official client signs, with nobody's server in between, and what became of them.
import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { getAddress, toHex } from 'viem';
import { getAddressDecoder } from '@solana/kit';
import { x402Client } from '@x402/core/client';
import { ExactEvmScheme } from '@x402/evm/exact/client';
import { ExactSvmScheme } from '@x402/svm/exact/client';
import { toClientEvmSigner } from '@x402/evm';
import {
  accounts,
  EVM_NETWORK,
  evmBalance,
  publicClient,
  SVM_NETWORK,
  SVM_RPC,
  SVM_USDC,
  svmSigner,
  USDC as EVM_USDC,
  USDC_NAME,
  USDC_VERSION,
} from './config.mjs';
import { evmLedger, svmLedger } from './ledgers.mjs';
import { openTokenAccount, svmBalance, USDC } from './setup-svm.mjs';

const feePayer = (await svmSigner('facilitator')).address;
/** The official client, with the keys of `client`. */
export const officialClient = new x402Client()
  .register('eip155:*', new ExactEvmScheme(toClientEvmSigner(accounts.client, publicClient)))
  .register('solana:*', new ExactSvmScheme(await svmSigner('client'), { rpcUrl: SVM_RPC }));

/** The two chains, as far as a payment goes: an offer to somebody new, and what they have. */
export const CHAINS = {
  evm: {
    price: 10_000n,
    async recipient() {
      return getAddress(toHex(randomBytes(20)));
    },
    offer: {
      network: EVM_NETWORK,
      asset: EVM_USDC,
      extra: { name: USDC_NAME, version: USDC_VERSION },
    },
    balance: evmBalance,
    check: evmLedger().check,
  },
  svm: {
    price: 1_000n,
    async recipient() {
      const owner = getAddressDecoder().decode(randomBytes(32));
      await openTokenAccount(owner, USDC);
      return owner;
    },
    offer: { network: SVM_NETWORK, asset: SVM_USDC, extra: { feePayer } },
    balance: owner => svmBalance(owner, USDC),
    check: svmLedger(USDC).check,
  },
};

/**
 * A signed payment, as the body that `/verify` and `/settle` take. Its recipient is nobody else's, so what it moved is
 * the recipient's balance. On EVM it can be settled for `seconds`.
 */
export async function newPayment(name, { seconds = 60 } = {}) {
  const chain = CHAINS[name];
  const payTo = await chain.recipient();
  const offer = { scheme: 'exact', ...chain.offer, amount: `${chain.price}`, payTo, maxTimeoutSeconds: seconds };
  const resource = { url: 'http://127.0.0.1/', description: '', mimeType: '' };
  const paymentPayload = await officialClient.createPaymentPayload({ x402Version: 2, resource, accepts: [offer] });
  return {
    chain: name,
    payTo,
    price: chain.price,
    body: JSON.stringify({ x402Version: 2, paymentPayload, paymentRequirements: offer }),
    expires: Date.now() + seconds * 1000,
    moved: () => chain.balance(payTo),
    /** Throws unless the transaction is on chain and did not fail. */
    check: chain.check,
  };
}

/**
 * One `POST /settle`: `{ status, success, errorReason, transaction, location }`, or `{ lost }` if there was no answer.
 * Who has the same `key` is told the same.
 */
export async function settle(url, { body }, { key } = {}) {
  return post(`${url}/settle`, body, key && { 'idempotency-key': key });
}

export async function post(url, body, headers) {
  try {
    const response = await fetch(url, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body,
      signal: AbortSignal.timeout(120_000),
    });
    const text = await response.text();
    const location = response.headers.get('content-location') ?? undefined;
    try {
      return { status: response.status, location, ...JSON.parse(text) };
    } catch {
      return { status: response.status, location, text };
    }
  } catch (error) {
    return { lost: error.cause?.code ?? error.message };
  }
}

/** The code, without an explanation behind it. */
export const codeOf = reason => reason?.split(/[:\n]/)[0].trim();

const UNCLEAR = [
  'settlement_pending',
  'busy',
  'facilitator_unavailable',
  'unexpected_settle_error',
  'unexpected_verify_error',
  'unknown_settlement_error',
];

/** Whether an answer leaves open what becomes of the payment: it is to be presented again. */
export const isUnclear = ({ lost, status, success, errorReason }) =>
  Boolean(lost) ||
  (success !== true && (status >= 500 || status === 429 || UNCLEAR.includes(codeOf(errorReason)) || !errorReason));

/** Presents a payment until the answer is final, or for `ms`; tells every answer. */
export async function settleAgain(url, payment, { ms, pause = 500, onAnswer = () => {} }) {
  const deadline = Date.now() + ms;
  const answers = [];
  for (;;) {
    const answer = await settle(url, payment);
    answers.push(answer);
    onAnswer(answer);
    if (!isUnclear(answer) || Date.now() > deadline) {
      return answers;
    }
    await sleep(pause);
  }
}

/** What the facilitator says about a settlement by its `Content-Location`, or undefined if it does not know it. */
export async function settlementAt(url, location) {
  const response = await fetch(new URL(location, `${url}/settle`));
  return response.ok ? response.json() : undefined;
}

/** An answer in a few words. */
export const inWords = ({ lost, status, success, errorReason, transaction }) =>
  lost
    ? `no answer (${lost})`
    : `${status} ${success ? 'success' : codeOf(errorReason)}${transaction ? ` ${transaction.slice(0, 10)}…` : ''}`;

/** The same without the transaction: to count equal ones. */
export const briefly = answer => inWords({ ...answer, transaction: undefined });
