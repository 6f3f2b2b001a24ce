// The two chains as the checks see them: who has what, and whether a transaction is in and did not fail.
import assert from 'node:assert/strict';
import { accounts, evmBalance, MEMO_PROGRAM, publicClient, svmRpc, svmSigner } from './config.mjs';
import kit from './litesvm-kit.mjs';
import { svmBalance } from './setup-svm.mjs';

const facilitator = (await svmSigner('facilitator')).address;
const svmPayTo = (await svmSigner('payTo')).address;

/** `balances` are those of payTo and of the payer, `check` looks at the transaction of a receipt. */
export const evmLedger = (payer = 'client') => ({
  balances: () => Promise.all([accounts.payTo, accounts[payer]].map(({ address }) => evmBalance(address))),
  async check(hash) {
    const { status } = await publicClient.getTransactionReceipt({ hash });
    assert.equal(status, 'success', `${hash} reverted`);
  },
});

/** `memo` is what the transaction must say: a text, or a pattern. */
export const svmLedger = (token, { payer = 'client', memo } = {}) => ({
  async balances() {
    const owners = [svmPayTo, (await svmSigner(payer)).address];
    return Promise.all(owners.map(owner => svmBalance(owner, token)));
  },
  async check(signature) {
    const landed = await landedTransaction(signature);
    assert.equal(landed.err, null, `${signature} failed: ${JSON.stringify(landed.err)}`);
    assert.equal(landed.feePayer, facilitator, 'who paid the fee');
    assert.equal(landed.feePayerSignature, signature, "the receipt must have the fee payer's signature");
    if (memo instanceof RegExp) {
      assert.match(landed.memo ?? '', memo);
    } else if (memo) {
      assert.equal(landed.memo, memo);
    }
    return `${landed.units} units`;
  },
});

/** A transaction that is on the Solana chain, with its parts. */
export async function landedTransaction(signature) {
  const found = await svmRpc('getTransaction', signature, { encoding: 'base64' });
  assert.ok(found, `not on chain: ${signature}`);
  const transaction = kit.getTransactionDecoder().decode(Buffer.from(found.transaction[0], 'base64'));
  const message = kit.getCompiledTransactionMessageDecoder().decode(transaction.messageBytes);
  const [[feePayer, bytes]] = Object.entries(transaction.signatures);
  return {
    err: found.meta.err,
    units: found.meta.computeUnitsConsumed,
    feePayer,
    feePayerSignature: kit.getBase58Decoder().decode(bytes),
    version: message.version,
    memo: memoOf(message),
  };
}

function memoOf(message) {
  const { staticAccounts } = message;
  const isMemo = ({ programAddressIndex, programAccountIndex }) =>
    staticAccounts[programAddressIndex ?? programAccountIndex] === MEMO_PROGRAM;
  // In a v1 message the data stands apart from the rest of the instruction.
  const headers = message.instructions ?? message.instructionHeaders;
  const index = headers.findIndex(isMemo);
  const data = headers[index]?.data ?? message.instructionPayloads?.[index]?.instructionData;
  return data && Buffer.from(data).toString();
}
