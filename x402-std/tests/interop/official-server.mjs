// The official server (@x402/express, and x402-express for v1) on PORT, paid through FACILITATOR_URL.
// ROUTES=path,path limits what it sells: it refuses to sell what its facilitator does not support.
import express from 'express';
import { HTTPFacilitatorClient, x402ResourceServer } from '@x402/core/server';
import { ExactEvmScheme } from '@x402/evm/exact/server';
import { UptoEvmScheme } from '@x402/evm/upto/server';
import { paymentMiddleware, setSettlementOverrides } from '@x402/express';
import { declareEip2612GasSponsoringExtension } from '@x402/extensions';
import { ExactSvmScheme } from '@x402/svm/exact/server';
import { paymentMiddleware as paymentMiddlewareV1 } from 'x402-express';
import {
  accounts,
  EVM_NETWORK,
  EVM_NETWORK_V1,
  HOST,
  PORTS,
  SVM_NETWORK,
  SVM_NETWORK_V1,
  SVM_RPC,
  svmSigner,
  urlOf,
  USDC,
  USDC_NAME,
  USDC_VERSION,
} from './lib/config.mjs';

const PORT = Number(process.env.PORT ?? PORTS.server);
const FACILITATOR_URL = process.env.FACILITATOR_URL ?? urlOf('facilitator');

const evmPayTo = accounts.payTo.address;
const svmPayTo = (await svmSigner('payTo')).address;
const token = { name: USDC_NAME, version: USDC_VERSION };

const exactEvm = { scheme: 'exact', network: EVM_NETWORK, payTo: evmPayTo };
const exactSvm = { scheme: 'exact', network: SVM_NETWORK, payTo: svmPayTo, price: '$0.001' };
const units = amount => ({ amount, asset: USDC, extra: token });

/** The blockhash that the facilitator announces, if any: the SDK itself passes on its fee payer only. */
async function announcedBlockhash() {
  const { kinds } = await (await fetch(`${FACILITATOR_URL}/supported`)).json();
  return kinds.find(({ network }) => network === SVM_NETWORK)?.extra?.lastingBlockhash;
}

// As long as a memo may be.
const LONG_MEMO = 'order-42 '.repeat(28) + 'done';

const isSold = path => !process.env.ROUTES || process.env.ROUTES.split(',').includes(path);

const offers = {
  '/evm/eip3009': { accepts: { ...exactEvm, price: units('10000') } },
  '/evm/upfront': { accepts: { ...exactEvm, price: units('10000'), extra: { paymentFlow: 'upfront' } } },
  '/evm/permit2': {
    accepts: {
      ...exactEvm,
      price: { amount: '20000', asset: USDC, extra: { assetTransferMethod: 'permit2', ...token } },
    },
  },
  '/evm/permit2-eip2612': {
    accepts: {
      ...exactEvm,
      price: { amount: '10000', asset: USDC, extra: { assetTransferMethod: 'permit2', ...token } },
    },
    extensions: declareEip2612GasSponsoringExtension(),
  },
  '/evm/upto': { accepts: { scheme: 'upto', network: EVM_NETWORK, payTo: evmPayTo, price: units('50000') } },
  '/svm/exact': { accepts: exactSvm },
  '/svm/memo': { accepts: { ...exactSvm, extra: { memo: 'order-42' } } },
  '/svm/long-memo': { accepts: { ...exactSvm, extra: { memo: LONG_MEMO } } },
  '/svm/announced': { accepts: { ...exactSvm, extra: { recentBlockhash: await announcedBlockhash() } } },
  '/svm/token2022': { accepts: { ...exactSvm, price: '0.002 PYUSD' } },
  '/multi': { accepts: [exactSvm, { ...exactEvm, price: units('10000') }] },
};

// With an rpcUrl, the SDK puts a blockhash into every offer on Solana.
const offersWithBlockhash = { '/svm/blockhash': { accepts: exactSvm } };

function routesOf(offers) {
  const routes = {};
  for (const [path, offer] of Object.entries(offers).filter(([path]) => isSold(path))) {
    routes[`GET ${path}`] = { description: `interop ${path}`, mimeType: 'application/json', ...offer };
  }
  return routes;
}

const newResourceServer = svmOptions =>
  new x402ResourceServer([new HTTPFacilitatorClient({ url: FACILITATOR_URL })])
    .register('eip155:*', new ExactEvmScheme())
    .register('eip155:*', new UptoEvmScheme())
    .register('solana:*', new ExactSvmScheme(svmOptions));

const v1 = { description: 'interop v1', mimeType: 'application/json', maxTimeoutSeconds: 60 };
const evmV1Price = { amount: '10000', asset: { address: USDC, decimals: 6, eip712: token } };
const evmV1Routes = { 'GET /v1/evm': { price: evmV1Price, network: EVM_NETWORK_V1, config: v1 } };
const svmV1Routes = { 'GET /v1/svm': { price: '$0.001', network: SVM_NETWORK_V1, config: v1 } };

const app = express();
app.use(paymentMiddleware(routesOf(offers), newResourceServer()));
app.use(paymentMiddleware(routesOf(offersWithBlockhash), newResourceServer({ rpcUrl: SVM_RPC })));
app.use(paymentMiddlewareV1(evmPayTo, evmV1Routes, { url: FACILITATOR_URL }));
app.use(paymentMiddlewareV1(svmPayTo, svmV1Routes, { url: FACILITATOR_URL }));
for (const path of [...Object.keys({ ...offers, ...offersWithBlockhash }), '/v1/evm', '/v1/svm'].filter(isSold)) {
  app.get(path, (_request, response) => {
    if (path === '/evm/upto') {
      setSettlementOverrides(response, { amount: '40%' });
    }
    response.json({ ok: true, route: path });
  });
}
app.listen(PORT, HOST, () => console.log(`official server on http://${HOST}:${PORT}`));
