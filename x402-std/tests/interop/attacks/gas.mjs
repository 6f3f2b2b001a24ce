// What costs a facilitator gas, and brings nobody anything.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { concat, parseGwei, parseTransaction, toHex } from 'viem';
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
import { startProxy } from '../lib/chaos-rpc.mjs';
import { anvil, evmBalance } from '../lib/config.mjs';
import { newFacilitator, newSqlite } from '../lib/facilitators.mjs';
import { blockNumber, newChain, sentBy } from '../lib/own-chain.mjs';
import { briefly, isUnclear, settle } from '../lib/payments.mjs';
import { withShop } from '../lib/shops.mjs';
import { compileContracts } from '../lib/solidity.mjs';

const PRICE = 10_000n;
const ATTEMPTS = 60;
const ACCOUNTS = 5;
const ATTACK_MS = 20_000;
// Of those that share a code.
const MOST_FAILED = 3;
const MINED_MS = 3_000;
const SLOW_BLOCK_SECONDS = 12;
const SPIKE_MS = 90_000;

/** With a sender of its own; `sent` tells what became of its transactions since it started. */
async function withFacilitator(binary, name, { client = anvil, ...settings }, play) {
  const sender = await newSender(client);
  const since = await blockNumber(client);
  const facilitator = newFacilitator(binary, name, { store: newSqlite(name), evmKeys: [sender.key], ...settings });
  const sent = async () => ({
    ...(await sentBy([sender.address], { since, client })),
    all: await client.getTransactionCount({ address: sender.address, blockTag: 'pending' }),
  });
  try {
    await facilitator.start();
    return await play(facilitator, sent);
  } finally {
    await facilitator.stop();
  }
}

const told = ({ mined, failed, gas, wei, all }) =>
  `${all} transactions, ${mined} mined, ${failed} failed: ${gas} gas, ${wei} wei`;

const evil = new Map();
/**
 * Accounts with money, whose code says yes in a simulation, and loops where somebody pays. What is delegated has a key
 * that signs; a wallet's signature is no key's. `Dice` fails in every other block only.
 */
export async function twoFaced(count, { delegated, contract = 'TwoFaced' }) {
  if (!evil.has(contract)) {
    const { runtime } = (await compileContracts())[contract];
    const address = newAddress();
    await anvil.setCode({ address, bytecode: runtime });
    evil.set(contract, { runtime, address });
  }
  const { runtime, address: delegate } = evil.get(contract);
  const buyers = await Promise.all(Array.from({ length: count }, () => newBuyer(PRICE * BigInt(ATTEMPTS))));
  for (const { address } of buyers) {
    const bytecode = delegated ? concat(['0xef0100', delegate]) : runtime;
    await anvil.setCode({ address, bytecode });
  }
  return buyers.map(buyer => (delegated ? buyer : { ...buyer, signTypedData: async () => toHex(randomBytes(68)) }));
}

/** `smart_wallets` not set: nothing is sent for somebody who has code, whatever kind. */
export const codeIsRefused = binary =>
  withFacilitator(binary, 'code-refused', {}, (facilitator, sent) =>
    withShop(binary, 'code-refused-shop', { facilitator: facilitator.url }, async ({ shop }) => {
      const buyers = [...(await twoFaced(2, { delegated: true })), ...(await twoFaced(2, { delegated: false }))];
      const answers = [];
      for (const buyer of buyers) {
        const direct = await settle(facilitator.url, { body: bodyOf(await pay(buyer, offerTo(newAddress()))) });
        const through = await request(`${shop.url}/a`, { payment: await signFor(`${shop.url}/a`, buyer) });
        answers.push(briefly(direct), wordsOf(through));
      }
      await sleep(MINED_MS);
      const total = await sent();
      assert.equal(total.all, 0, `${told(total)}; ${counted(answers)}`);
      assert.equal(await evmBalance(shop.payTo), 0n);
      return counted(answers);
    }),
  );

/** `smart_wallets = true`: a code that made a transaction fail is remembered, whoever has it; keys are served. */
export const codeIsRemembered = (binary, { delegated, contract }) =>
  withFacilitator(
    binary,
    `code-remembered-${contract ?? ''}${delegated ? '7702' : 'wallet'}`,
    { options: { smart_wallets: true } },
    async (facilitator, sent) => {
      const buyers = await twoFaced(ACCOUNTS, { delegated, contract });
      const ends = Date.now() + ATTACK_MS;
      const attack = Array.from({ length: ATTEMPTS }, async (_, index) => {
        await sleep((index * ATTACK_MS) / ATTEMPTS);
        return settle(facilitator.url, { body: bodyOf(await pay(buyers[index % ACCOUNTS], offerTo(newAddress()))) });
      });
      const honest = [];
      while (Date.now() < ends) {
        const buyer = await newBuyer(PRICE);
        const answer = settle(facilitator.url, { body: bodyOf(await pay(buyer, offerTo(newAddress()))) });
        honest.push(briefly(await answer));
        await sleep(500);
      }
      const answers = (await Promise.all(attack)).map(briefly);
      await sleep(MINED_MS);
      const total = await sent();
      const words = `${told(total)}; attackers: ${counted(answers)}; honest: ${counted(honest)}`;
      assert.ok(total.failed <= MOST_FAILED, words);
      assert.ok(
        honest.every(answer => answer === '200 success'),
        words,
      );
      return words;
    },
  );

/** One cent, and many payments of a cent at once through a shop. */
export const overdraft = binary =>
  withFacilitator(binary, 'overdraft', {}, (facilitator, sent) =>
    withShop(binary, 'overdraft-shop', { facilitator: facilitator.url }, async ({ shop }) => {
      const buyer = await newBuyer(PRICE);
      const url = `${shop.url}/a`;
      const payments = await Promise.all(Array.from({ length: ATTEMPTS }, () => signFor(url, buyer)));
      const answers = await Promise.all(payments.map(payment => request(url, { payment })));
      await sleep(MINED_MS);
      const total = await sent();
      const words = `${told(total)}; ${counted(answers.map(wordsOf))}`;
      assert.equal(answers.filter(({ status }) => status === 200).length, 1, `served; ${words}`);
      assert.equal(await evmBalance(shop.payTo), PRICE, 'what the shop was paid');
      assert.ok(total.failed <= 1, words);
      return words;
    }),
  );

/** Blocks come seldom, and authorizations end before the next one. */
export async function shortAuthorizations(binary) {
  const blocks = 10;
  const genesis = Math.floor(Date.now() / 1000) - blocks * SLOW_BLOCK_SECONDS;
  const chain = await newChain('slow-chain', { args: ['--timestamp', `${genesis}`] });
  try {
    await chain.client.mine({ blocks, interval: SLOW_BLOCK_SECONDS });
    await chain.client.setIntervalMining({ interval: SLOW_BLOCK_SECONDS });
    const settings = { client: chain.client, evm: { rpc: [chain.url] } };
    return await withFacilitator(binary, 'short', settings, async (facilitator, sent) => {
      const buyer = await newBuyer(PRICE * 100n, chain.client);
      const offers = Array.from({ length: 10 }, () => offerTo(newAddress()));
      const presented = offers.map(async offer =>
        settle(facilitator.url, { body: bodyOf(await pay(buyer, offer, { seconds: 8 })) }),
      );
      await sleep(SLOW_BLOCK_SECONDS * 1000 + MINED_MS);
      const total = await sent();
      assert.equal(total.failed, 0, told(total));
      const answers = (await Promise.all(presented)).map(briefly);
      assert.equal(total.all, 0, `${told(total)}; ${counted(answers)}`);
      const long = await settle(facilitator.url, { body: bodyOf(await pay(buyer, offerTo(newAddress()))) });
      assert.ok(long.success, `valid for a minute: ${briefly(long)}`);
      return counted(answers);
    });
  } finally {
    await chain.stop();
  }
}

/** The base fee rises while a transaction waits, and the process dies: the account goes on. */
export async function restartInSpike(binary) {
  const chain = await newChain('spike-chain');
  // anvil counts no transaction as pending that the next block would not take; other nodes do.
  let next = 0;
  const proxy = await startProxy(chain.url, ({ method, params }) => {
    if (method === 'eth_sendRawTransaction') {
      next = Math.max(next, parseTransaction(params[0]).nonce + 1);
    }
    if (method === 'eth_getTransactionCount' && params[1] === 'pending') {
      const change = answer => ({ ...answer, result: `0x${Math.max(Number(answer.result), next).toString(16)}` });
      return { change };
    }
    return undefined;
  });
  const setFee = gwei => chain.client.setNextBlockBaseFeePerGas({ baseFeePerGas: parseGwei(gwei) });
  // It would fall by an eighth with each block.
  let keeper;
  try {
    await setFee('1');
    await chain.client.mine({ blocks: 1 });
    await setFee('1');
    const settings = {
      client: chain.client,
      evm: { rpc: [proxy.url], max_fee_gwei: 200, confirm_seconds: 15 },
    };
    return await withFacilitator(binary, 'spike', settings, async facilitator => {
      await chain.client.setAutomine(false);
      const buyer = await newBuyer(PRICE * 100n, chain.client);
      const body = async () => bodyOf(await pay(buyer, offerTo(newAddress(), { seconds: 300 })));
      const waiting = settle(facilitator.url, { body: await body() });
      while (next === 0) {
        await sleep(50);
      }
      await facilitator.kill();
      await waiting;
      await setFee('30');
      keeper = setInterval(() => setFee('30').catch(() => {}), 300);
      await chain.client.setIntervalMining({ interval: 1 });
      await sleep(2_000);
      await facilitator.startAgain();
      const started = Date.now();
      const answers = [];
      const payment = { body: await body() };
      do {
        answers.push(await settle(facilitator.url, payment));
        await sleep(500);
      } while (isUnclear(answers.at(-1)) && Date.now() - started < SPIKE_MS);
      const took = Math.round((Date.now() - started) / 1000);
      const words = counted(answers.map(briefly));
      assert.ok(answers.at(-1).success, `a new payment after ${took} s: ${words}`);
      return `${words} within ${took} s`;
    });
  } finally {
    clearInterval(keeper);
    proxy.close();
    await chain.stop();
  }
}
