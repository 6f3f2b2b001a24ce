// The operations of compare-sdks by the official TypeScript SDK. Run by that program, in the folder
// whose node_modules has the SDK; the argument is the file with the inputs. Prints lines of
// operation, tab, microseconds; and one of `#` and versions.
import fs from 'node:fs';
import process from 'node:process';
import { x402Client } from '@x402/core/client';
import {
  decodePaymentRequiredHeader,
  decodePaymentSignatureHeader,
  encodePaymentSignatureHeader,
} from '@x402/core/http';
import { validatePaymentPayload, validatePaymentRequired } from '@x402/core/schemas';
import { ExactEvmScheme as EvmBuyer } from '@x402/evm/exact/client';
import { ExactEvmScheme } from '@x402/evm/exact/facilitator';
import { ExactSvmScheme } from '@x402/svm/exact/facilitator';
import { privateKeyToAccount } from 'viem/accounts';

const WARM_UP_MS = 500;
const BATCHES = 60;
const BATCH_MS = 10;

const inputs = JSON.parse(fs.readFileSync(process.argv.at(-1), 'utf8'));
const offer = JSON.parse(inputs.offer);
const svmOffer = JSON.parse(inputs.svmOffer);
const payment = decodePaymentSignatureHeader(inputs.payment);

// A chain that answers at once: the token is a contract, the payer is none, what is simulated works.
const evm = new ExactEvmScheme({
  getAddresses: () => [],
  getCode: async ({ address }) => (address.toLowerCase() === offer.asset.toLowerCase() ? '0x60' : '0x'),
  readContract: async () => undefined,
});
const svm = new ExactSvmScheme({
  getAddresses: () => [svmOffer.extra.feePayer],
  simulateTransaction: async () => undefined,
});
const buyer = new x402Client().register('eip155:*', new EvmBuyer(privateKeyToAccount(inputs.evmSecret)));

const readPayment = header => validatePaymentPayload(decodePaymentSignatureHeader(header));
const readChallenge = header => validatePaymentRequired(decodePaymentRequiredHeader(header));

function valid({ isValid, invalidReason }) {
  if (!isValid) {
    throw new Error(`refused: ${invalidReason}`);
  }
}

const operations = {
  read_payment: () => readPayment(inputs.payment),
  write_payment: () => encodePaymentSignatureHeader(payment),
  read_challenge: () => readChallenge(inputs.challenge),
  read_large_challenge: () => readChallenge(inputs.largeChallenge),
  evm_verify: async () => valid(await evm.verify(readPayment(inputs.payment), offer)),
  svm_verify: async () => valid(await svm.verify(readPayment(inputs.svmPayment), svmOffer)),
  evm_buyer: async () =>
    encodePaymentSignatureHeader(await buyer.createPaymentPayload(readChallenge(inputs.challenge))),
};

/** Milliseconds for so many. */
async function time(operation, count) {
  const start = process.hrtime.bigint();
  for (let done = 0; done < count; done += 1) {
    const result = operation();
    if (result instanceof Promise) {
      await result;
    }
  }
  return Number(process.hrtime.bigint() - start) / 1e6;
}

function versionOf(name) {
  return `${name} ${JSON.parse(fs.readFileSync(`node_modules/${name}/package.json`, 'utf8')).version}`;
}

console.log(`# ${['@x402/core', '@x402/evm', '@x402/svm', 'viem'].map(versionOf).join(', ')}, Node.js ${process.version}`);
for (const [key, operation] of Object.entries(operations)) {
  let count = 1;
  for (let spent = 0; spent < WARM_UP_MS; ) {
    const took = await time(operation, count);
    spent += took;
    count = Math.max(1, Math.round((count * BATCH_MS) / took));
  }
  const times = [];
  for (let batch = 0; batch < BATCHES; batch += 1) {
    times.push((await time(operation, count)) / count);
  }
  times.sort((a, b) => a - b);
  console.log(`${key}\t${times[BATCHES / 2] * 1000}`);
}
process.exit(0);
