// An anvil of the case's own, with the token on it.
import { createTestClient, http, publicActions, toHex, walletActions } from 'viem';
import { anvilBinary } from '../chains.mjs';
import { accounts, anvil, chain, CHAIN_ID, freePort, HOST, publicClient, tokenAbi, USDC } from './config.mjs';
import { start, stop } from './processes.mjs';

/**
 * `args` are added to anvil's arguments. It mines each transaction at once until it is told otherwise. `mint` gives
 * somebody of the token, which stands at `token`.
 */
export async function newChain(name, { args = [], chainId = CHAIN_ID, token = USDC } = {}) {
  const port = freePort();
  const url = `http://${HOST}:${port}`;
  const listen = ['--host', HOST, '--port', `${port}`, '--chain-id', `${chainId}`];
  await start({ name, port, command: anvilBinary(), args: [...listen, ...args] });
  const own = createTestClient({ chain: { ...chain, id: chainId }, transport: http(url), mode: 'anvil' })
    .extend(publicActions)
    .extend(walletActions);
  await own.setCode({ address: token, bytecode: await publicClient.getCode({ address: USDC }) });
  for (const index of [0, 1, 2].map(slot => toHex(slot, { size: 32 }))) {
    await own.setStorageAt({
      address: token,
      index,
      value: await publicClient.getStorageAt({ address: USDC, slot: index }),
    });
  }
  const contract = { address: token, abi: tokenAbi };
  return {
    url,
    client: own,
    async mint(to, amount) {
      const call = { ...contract, functionName: 'mint', args: [to, amount], account: accounts.deployer };
      await own.waitForTransactionReceipt({ hash: await own.writeContract(call) });
    },
    balance: address => own.readContract({ ...contract, functionName: 'balanceOf', args: [address] }),
    stop: () => stop({ name, port }),
  };
}

/** What some senders sent since a block: how many were mined, and of those that failed the gas and its price. */
export async function sentBy(senders, { since, client = anvil }) {
  const addresses = senders.map(address => address.toLowerCase());
  const total = { mined: 0, failed: 0, gas: 0n, wei: 0n };
  const last = await client.getBlockNumber({ cacheTime: 0 });
  for (let number = since; number <= last; number += 1n) {
    const receipts = await client.request({ method: 'eth_getBlockReceipts', params: [toHex(number)] });
    for (const receipt of receipts.filter(({ from }) => addresses.includes(from))) {
      total.mined += 1;
      if (receipt.status !== '0x1') {
        total.failed += 1;
        total.gas += BigInt(receipt.gasUsed);
        total.wei += BigInt(receipt.gasUsed) * BigInt(receipt.effectiveGasPrice);
      }
    }
  }
  return total;
}

export const blockNumber = (client = anvil) => client.getBlockNumber({ cacheTime: 0 });
