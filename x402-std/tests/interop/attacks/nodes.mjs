// Nodes that turn out to be others, and what a facilitator says of itself.
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { counted, newAddress, newBuyer, newSender, offerTo, pay, bodyOf } from '../lib/buyers.mjs';
import { startProxy } from '../lib/chaos-rpc.mjs';
import { anvil, EVM_NETWORK, EVM_RPC, freePort, HOST, SVM_NETWORK } from '../lib/config.mjs';
import { newFacilitator, newSqlite, until } from '../lib/facilitators.mjs';
import { briefly, settle } from '../lib/payments.mjs';

const PRICE = 10_000n;
const SETTLEMENTS = 10;
const LATER_MS = 6_000;
const READY_MS = 30_000;

/** A node that is down at the start, and then one of another chain: it is asked for nothing else any more. */
export async function lateChain(binary) {
  const port = freePort();
  const late = `http://${HOST}:${port}`;
  const asked = [];
  let proxy;
  const told = [];
  for (const rpc of [
    [late, EVM_RPC],
    [EVM_RPC, late],
  ]) {
    const name = `late-chain-${rpc.indexOf(late)}`;
    const facilitator = newFacilitator(binary, name, { store: newSqlite(name), evm: { rpc } });
    asked.length = 0;
    try {
      await facilitator.start();
      proxy = await startProxy(
        EVM_RPC,
        ({ method }) => {
          asked.push(method);
          return method === 'eth_chainId' ? { answer: '0x1' } : undefined;
        },
        port,
      );
      const buyer = await newBuyer(PRICE * BigInt(SETTLEMENTS));
      const round = () =>
        Promise.all(
          Array.from({ length: SETTLEMENTS / 2 }, async () =>
            settle(facilitator.url, { body: bodyOf(await pay(buyer, offerTo(newAddress()))) }),
          ),
        );
      const answers = await round();
      // It may be looked at again by then.
      await sleep(LATER_MS);
      answers.push(...(await round()));
      const words = `${counted(answers.map(briefly))}; it was asked ${counted(asked) || 'nothing'}`;
      assert.ok(
        asked.every(method => method === 'eth_chainId'),
        words,
      );
      assert.ok(
        answers.every(({ success }) => success),
        words,
      );
      told.push(words);
    } finally {
      await facilitator.stop();
      proxy?.close();
    }
  }
  return told.join('; ');
}

/** A sender without gas makes its network unready, and only that one. */
export async function readiness(binary) {
  const sender = await newSender();
  await anvil.setBalance({ address: sender.address, value: 0n });
  const facilitator = newFacilitator(binary, 'readiness', { store: newSqlite('readiness'), evmKeys: [sender.key] });
  try {
    await facilitator.start();
    const read = async () => {
      const text = await (await fetch(`${facilitator.url}/readyz`)).text();
      const { networks = [] } = text.startsWith('{') ? JSON.parse(text) : {};
      const of = name => networks.find(({ network }) => network === name);
      return { text, evm: of(EVM_NETWORK), svm: of(SVM_NETWORK) };
    };
    const poor = await read();
    assert.equal(poor.evm?.ready, false, `without gas: ${poor.text}`);
    assert.match(poor.evm.reason, /gas/, 'why');
    assert.equal(poor.svm?.ready, true, `the other network: ${poor.text}`);
    await anvil.setBalance({ address: sender.address, value: 10n ** 18n });
    await until(async () => (await read()).evm.ready, READY_MS, 'ready, with gas');
    return poor.evm.reason;
  } finally {
    await facilitator.stop();
  }
}
