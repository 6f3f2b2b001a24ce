// node buy.mjs PACKAGES URL : pays with @x402/fetch, as often and as many at once as lines on standard input say.
// PACKAGES is the folder that has node_modules.
import { createRequire } from 'node:module';
import path from 'node:path';
import { createInterface } from 'node:readline';

const [packages, url] = process.argv.slice(2);
const require = createRequire(path.resolve(packages, 'package.json'));
const { x402Client } = require('@x402/core/client');
const { toClientEvmSigner } = require('@x402/evm');
const { ExactEvmScheme } = require('@x402/evm/exact/client');
const { wrapFetchWithPayment } = require('@x402/fetch');
const { privateKeyToAccount } = require('viem/accounts');

const signer = toClientEvmSigner(privateKeyToAccount(`0x${'07'.repeat(32)}`));
const client = new x402Client().register('eip155:*', new ExactEvmScheme(signer));
const pay = wrapFetchWithPayment(fetch, client);

console.log('ready');
for await (const line of createInterface({ input: process.stdin })) {
  let [left, atOnce] = line.split(' ').map(Number);
  const buyer = async () => {
    while (left > 0) {
      left -= 1;
      const response = await pay(url);
      if (response.status !== 200) {
        throw new Error(`not sold: ${response.status}`);
      }
      await response.text();
    }
  };
  await Promise.all(Array.from({ length: atOnce }, buyer));
  console.log('done');
}
process.exit(0);
