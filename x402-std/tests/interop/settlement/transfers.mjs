// Transfers that buyers sent themselves and present by their hash: taken where they are switched on, from who sent
// them, once.
import assert from 'node:assert/strict';
import { encodeFunctionData, parseAbi } from 'viem';
import { accounts, CHAIN_ID, PORTS, publicClient, USDC, walletOf } from '../lib/config.mjs';
import { newFacilitator, newSqlite } from '../lib/facilitators.mjs';
import { codeOf, inWords, settle } from '../lib/payments.mjs';
import { evmOffer, signTyped } from './typed.mjs';

const MAX_AGE_SECONDS = 600;
const MISMATCH = 'invalid_exact_evm_transfer_event_mismatch';

const domain = { name: 'x402 transfer proof', version: '1', chainId: CHAIN_ID };
const types = {
  TransferProof: [
    { name: 'txHash', type: 'bytes32' },
    { name: 'from', type: 'address' },
    { name: 'payTo', type: 'address' },
    { name: 'asset', type: 'address' },
    { name: 'amount', type: 'uint256' },
    { name: 'resource', type: 'string' },
    { name: 'reference', type: 'string' },
  ],
};
const erc20 = parseAbi(['function transfer(address to, uint256 value) returns (bool)']);

const offerOf = reference => evmOffer({ assetTransferMethod: 'transaction-proof', paymentFlow: 'upfront', reference });

/** Sends a transfer as a buyer does; tells its hash. */
async function transferred(offer, value) {
  const data = encodeFunctionData({ abi: erc20, functionName: 'transfer', args: [offer.payTo, value] });
  // More than there is fails on chain, not before.
  const hash = await walletOf('client').sendTransaction({ to: USDC, data, gas: 200_000n });
  await publicClient.waitForTransactionReceipt({ hash });
  return hash;
}

async function proof(offer, txHash, account = 'client') {
  const { payTo, asset, amount } = offer;
  const { reference } = offer.extra;
  const from = accounts[account].address;
  const message = { txHash, from, payTo, asset, amount, resource: '', reference };
  const signature = await signTyped(account, types, message, domain);
  return { body: offer.pay({ txHash, from, reference, signature }) };
}

export async function transfersPay(binary) {
  const taking = newFacilitator(binary, 'transfers', {
    store: newSqlite(`transfers-${PORTS.evm}`),
    evm: { max_proof_age_seconds: MAX_AGE_SECONDS },
  });
  const refusing = newFacilitator(binary, 'transfers-none');
  try {
    await Promise.all([taking.start(), refusing.start()]);
    const [first, second] = [offerOf('order 1'), offerOf('order 2')];
    const exact = await transferred(first, 10_000n);
    const more = await transferred(first, 20_000n);
    const less = await transferred(first, 9_999n);
    const failed = await transferred(first, 10n ** 30n);
    const steps = [
      ['switched off', refusing, await proof(first, exact), 'invalid_payload'],
      ['by somebody else', taking, await proof(first, exact, 'poor'), MISMATCH],
      ['unsigned', taking, { body: first.pay({ txHash: exact, from: accounts.client.address }) }, 'invalid_payload'],
      ['by who sent it', taking, await proof(first, exact), undefined],
      ['again', taking, await proof(first, exact), 'duplicate_settlement'],
      ['for another order', taking, await proof(second, exact), 'duplicate_settlement'],
      ['too little', taking, await proof(first, less), MISMATCH],
      ['failed', taking, await proof(first, failed), 'invalid_exact_evm_transaction_failed'],
      ['more than asked for', taking, await proof(first, more), undefined],
    ];
    for (const [name, facilitator, presented, reason] of steps) {
      const answer = await settle(facilitator.url, presented);
      assert.equal(codeOf(answer.errorReason), reason, `${name}: ${inWords(answer)}`);
      assert.equal(answer.success, reason === undefined, `${name}: ${inWords(answer)}`);
    }
    return `${steps.length} presented`;
  } finally {
    await Promise.all([taking.stop(), refusing.stop()]);
  }
}
