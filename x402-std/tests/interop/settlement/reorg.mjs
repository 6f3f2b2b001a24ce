// A settlement whose block the chain takes back.
import assert from 'node:assert/strict';
import { parseAbiItem } from 'viem';
import { anvil, PORTS, publicClient, USDC } from '../lib/config.mjs';
import { newFacilitator, newSqlite, until } from '../lib/facilitators.mjs';
import { codeOf, inWords, isUnclear, newPayment, settle, settleAgain } from '../lib/payments.mjs';

const CONFIRMATIONS = 3;
const MINED_MS = 15_000;
const VALID_SECONDS = 30;
const ASK_MS = 45_000;

const transfer = parseAbiItem('event Transfer(address indexed from, address indexed to, uint256 value)');

/** What the chain makes of the block of a settlement; each tells whether the transfer is gone. */
const REORGANISATIONS = {
  'in another block': async ({ depth, hash }) => {
    const raw = await anvil.request({ method: 'eth_getRawTransactionByHash', params: [hash] });
    await anvil.request({ method: 'anvil_reorg', params: [depth + 1, [[raw, depth]]] });
    return false;
  },
  gone: async ({ depth }) => {
    await anvil.request({ method: 'anvil_reorg', params: [depth, []] });
    return true;
  },
};

export async function reorganised(binary) {
  const facilitator = newFacilitator(binary, 'reorg', {
    store: newSqlite(`reorg-${PORTS.evm}`),
    evm: { confirmations: CONFIRMATIONS },
  });
  try {
    await facilitator.start();
    const told = [];
    for (const [name, reorganise] of Object.entries(REORGANISATIONS)) {
      told.push(`${name}: ${await withReorganisation(facilitator.url, reorganise)}`);
    }
    return told.join('; ');
  } finally {
    await facilitator.stop();
  }
}

async function withReorganisation(url, reorganise) {
  const payment = await newPayment('evm', { seconds: VALID_SECONDS });
  const presented = settle(url, payment);
  const [log] = await until(() => transfersOf(payment), MINED_MS, 'the transfer');
  // No block may come in between.
  await anvil.setIntervalMining({ interval: 0 });
  let isGone;
  try {
    const depth = Number((await publicClient.getBlockNumber({ cacheTime: 0 })) - log.blockNumber) + 1;
    isGone = await reorganise({ depth, hash: log.transactionHash });
    const moved = await payment.moved();
    assert.equal(moved, isGone ? 0n : payment.price, `the chain made of the transfer, ${depth} blocks deep: ${moved}`);
  } finally {
    await anvil.setIntervalMining({ interval: 1 });
  }
  const answers = [await presented];
  await heldAgainst(payment, answers[0]);
  if (isUnclear(answers[0])) {
    answers.push(...(await settleAgain(url, payment, { ms: ASK_MS })));
  }
  const last = answers.at(-1);
  await heldAgainst(payment, last);
  const words = answers
    .map(inWords)
    .filter((text, index, all) => text !== all[index - 1])
    .join(', ');
  assert.ok(!isUnclear(last), `not clear after ${ASK_MS / 1000} s: ${words}`);
  assert.ok(isGone || last.success, `made, and not told so: ${words}`);
  const again = await settle(url, payment);
  assert.ok(!again.success, `a second success: ${inWords(again)}`);
  return words;
}

async function transfersOf({ payTo }) {
  const logs = await publicClient.getLogs({ address: USDC, event: transfer, args: { to: payTo }, fromBlock: 0n });
  return logs.length > 0 && logs;
}

/** A success is deep enough in the chain, a failure moved nothing. */
async function heldAgainst(payment, answer) {
  const moved = await payment.moved();
  if (answer.success) {
    assert.equal(moved, payment.price, 'success, and what moved');
    const { blockNumber, status } = await publicClient.getTransactionReceipt({ hash: answer.transaction });
    const depth = (await publicClient.getBlockNumber({ cacheTime: 0 })) - blockNumber + 1n;
    assert.equal(status, 'success');
    assert.ok(depth >= CONFIRMATIONS, `success with ${depth} confirmations`);
  } else if (!isUnclear(answer)) {
    assert.equal(moved, 0n, `${codeOf(answer.errorReason)}, and the money moved`);
  }
}
