// node official-client.mjs URL : pays URL with the official client and prints one JSON line. Exit 0 only on 200.
//   EVM_ACCOUNT=client|poor|noApproval   SVM_ACCOUNT=client|poor|other   (empty: no key of that kind)
//   LEGACY=1 (x402-fetch 1.2.0, v1 only)
import { x402Client } from '@x402/core/client';
import { toClientEvmSigner } from '@x402/evm';
import { ExactEvmScheme } from '@x402/evm/exact/client';
import { ExactEvmSchemeV1 } from '@x402/evm/exact/v1/client';
import { UptoEvmScheme } from '@x402/evm/upto/client';
import { wrapFetchWithPayment } from '@x402/fetch';
import { ExactSvmScheme } from '@x402/svm/exact/client';
import { ExactSvmSchemeV1 } from '@x402/svm/exact/v1/client';
import {
  accounts,
  EVM_KEYS,
  EVM_NETWORK_V1,
  EVM_RPC,
  publicClient,
  SVM_NETWORK_V1,
  SVM_RPC,
  svmSecretKey,
  svmSigner,
} from './lib/config.mjs';

const EVM_ACCOUNT = process.env.EVM_ACCOUNT ?? 'client';
const SVM_ACCOUNT = process.env.SVM_ACCOUNT ?? 'client';

async function officialFetch() {
  const client = new x402Client();
  if (EVM_ACCOUNT) {
    const evm = toClientEvmSigner(accounts[EVM_ACCOUNT], publicClient);
    client
      .register('eip155:*', new ExactEvmScheme(evm, { rpcUrl: EVM_RPC }))
      .register('eip155:*', new UptoEvmScheme(evm, { rpcUrl: EVM_RPC }))
      .registerV1(EVM_NETWORK_V1, new ExactEvmSchemeV1(evm));
  }
  if (SVM_ACCOUNT) {
    const svm = await svmSigner(SVM_ACCOUNT);
    client
      .register('solana:*', new ExactSvmScheme(svm, { rpcUrl: SVM_RPC }))
      .registerV1(SVM_NETWORK_V1, new ExactSvmSchemeV1(svm, { rpcUrl: SVM_RPC }));
  }
  return wrapFetchWithPayment(fetch, client);
}

/** The v1 SDK takes one signer, so the network is read from a first unpaid request. */
async function legacyFetch(url) {
  const { createSigner, wrapFetchWithPayment: wrapLegacy } = await import('x402-fetch');
  const unpaid = await (await fetch(url)).json();
  const { network } = unpaid.accepts[0];
  const key = network.startsWith('solana') ? await svmSecretKey(SVM_ACCOUNT) : EVM_KEYS[EVM_ACCOUNT];
  const signer = await createSigner(network, key);
  return wrapLegacy(fetch, signer, undefined, undefined, { svmConfig: { rpcUrl: SVM_RPC } });
}

function decodeHeader(response, ...names) {
  for (const name of names) {
    const value = response.headers.get(name);
    if (value) {
      return JSON.parse(Buffer.from(value, 'base64').toString());
    }
  }
  return null;
}

function parseBody(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

async function pay(url) {
  const paidFetch = process.env.LEGACY === '1' ? await legacyFetch(url) : await officialFetch();
  const response = await paidFetch(url);
  const result = {
    status: response.status,
    body: parseBody(await response.text()),
    paymentResponse: decodeHeader(response, 'payment-response', 'x-payment-response'),
  };
  if (response.status === 402) {
    result.paymentRequired = decodeHeader(response, 'payment-required');
  }
  return result;
}

const url = process.argv[2];
if (!url) {
  console.error('usage: node official-client.mjs URL');
  process.exit(2);
}
let result;
try {
  result = await pay(url);
} catch (error) {
  result = { status: 0, error: error.message };
}
console.log(JSON.stringify(result));
process.exit(result.status === 200 ? 0 : 1);
