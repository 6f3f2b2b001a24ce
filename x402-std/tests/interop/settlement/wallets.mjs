// Wallets that are contracts pay by EIP-3009: one that is there (ERC-1271), and one that is made by the payment's own
// transaction (ERC-6492).
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { concat, encodeAbiParameters, encodeFunctionData, toHex } from 'viem';
import { accounts, evmBalance, publicClient, tokenAbi, USDC, walletOf } from '../lib/config.mjs';
import { newFacilitator } from '../lib/facilitators.mjs';
import { codeOf, inWords, post, settle } from '../lib/payments.mjs';
import { compileContracts } from '../lib/solidity.mjs';
import { EVM_OFFER, signTyped } from './typed.mjs';

const PRICE = 10_000n;
const VALID_SECONDS = 300;
const OPTIONS = { smart_wallets: true };
const INVALID = 'invalid_exact_evm_signature';
const ERC6492_SUFFIX = `0x${'6492'.repeat(16)}`;

const transferTypes = {
  TransferWithAuthorization: [
    { name: 'from', type: 'address' },
    { name: 'to', type: 'address' },
    { name: 'value', type: 'uint256' },
    { name: 'validAfter', type: 'uint256' },
    { name: 'validBefore', type: 'uint256' },
    { name: 'nonce', type: 'bytes32' },
  ],
};

/** As the wallet's owner signs for it. */
const owned = signature => concat(['0x616263', signature]);

const wrapped = (factory, call, signature) =>
  concat([
    encodeAbiParameters([{ type: 'address' }, { type: 'bytes' }, { type: 'bytes' }], [factory, call, signature]),
    ERC6492_SUFFIX,
  ]);

export async function walletsPay(binary) {
  const { SmartWalletFactory: contract } = await compileContracts();
  const mined = async hash => publicClient.waitForTransactionReceipt({ hash: await hash });
  const deployer = walletOf('deployer');
  const { contractAddress: factory } = await mined(deployer.sendTransaction({ data: contract.bytecode }));
  const owner = accounts.client.address;
  const call = (functionName, args) => encodeFunctionData({ abi: contract.abi, functionName, args });

  /** A wallet with money, where there may be no code yet. */
  const newWallet = async ({ money = PRICE } = {}) => {
    const args = [owner, toHex(randomBytes(32))];
    const address = await publicClient.readContract({ address: factory, abi: contract.abi, functionName: 'addressOf', args });
    await mined(deployer.writeContract({ address: USDC, abi: tokenAbi, functionName: 'mint', args: [address, money] }));
    return { address, make: call('make', args) };
  };
  const isThere = async ({ address }) => Boolean(await publicClient.getCode({ address }));

  const payment = async (from, dress) => {
    const authorization = {
      from,
      to: EVM_OFFER.payTo,
      value: `${PRICE}`,
      validAfter: '0',
      validBefore: `${Math.floor(Date.now() / 1000) + VALID_SECONDS}`,
      nonce: toHex(randomBytes(32)),
    };
    const signature = dress(await signTyped('client', transferTypes, authorization));
    return { body: EVM_OFFER.pay({ authorization, signature }) };
  };

  const withFactory = newFacilitator(binary, 'wallets', { options: OPTIONS, evm: { factories: [factory] } });
  const without = newFacilitator(binary, 'wallets-none', { options: OPTIONS });
  try {
    await Promise.all([withFactory.start(), without.start()]);
    const refused = async (name, facilitator, presented, reason) => {
      const verified = await post(`${facilitator.url}/verify`, presented.body);
      assert.equal(codeOf(verified.invalidReason), reason, `${name}: verify`);
      const answer = await settle(facilitator.url, presented);
      assert.equal(codeOf(answer.errorReason), reason, `${name}: ${inWords(answer)}`);
    };
    const paid = async (name, presented, wallet) => {
      const answer = await settle(withFactory.url, presented);
      assert.ok(answer.success, `${name}: ${inWords(answer)}`);
      assert.equal(await evmBalance(wallet.address), 0n, `${name}: what is left`);
      const again = await settle(withFactory.url, presented);
      assert.equal(codeOf(again.errorReason), 'duplicate_settlement', `${name}: ${inWords(again)}`);
    };

    const there = await newWallet();
    await mined(deployer.sendTransaction({ to: factory, data: there.make }));
    await refused('the key alone', withFactory, await payment(there.address, signature => signature), INVALID);
    await paid('there', await payment(there.address, owned), there);

    const wallet = await newWallet();
    const dress = signature => wrapped(factory, wallet.make, owned(signature));
    const good = await payment(wallet.address, dress);
    await refused('a factory nobody listed', without, good, 'eip6492_factory_not_allowed');
    const forged = await payment(wallet.address, () => wrapped(factory, wallet.make, owned(`0x${'11'.repeat(65)}`)));
    const answer = await settle(withFactory.url, forged);
    assert.notEqual(answer.success, true, `forged: ${inWords(answer)}`);
    assert.equal(await isThere(wallet), false, 'made for a forged payment');
    await paid('not there yet', good, wallet);
    assert.ok(await isThere(wallet), 'made with the payment');

    const poor = await newWallet({ money: PRICE - 1n });
    const broke = await payment(poor.address, signature => wrapped(factory, poor.make, owned(signature)));
    await refused('too little money', withFactory, broke, 'invalid_exact_evm_insufficient_balance');
    assert.equal(await isThere(poor), false, 'made for somebody who cannot pay');
    return 'ERC-1271 and ERC-6492';
  } finally {
    await Promise.all([withFactory.stop(), without.stop()]);
  }
}
