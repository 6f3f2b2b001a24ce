// node sell.mjs PACKAGES unpaid|instant|FACILITATOR_URL : the route, on Express; PACKAGES is the folder that has
// node_modules. Prints its port, and ends when standard input does.
import { createRequire } from 'node:module';
import path from 'node:path';

const [packages, mode] = process.argv.slice(2);
const require = createRequire(path.resolve(packages, 'package.json'));
const express = require('express');

const PAY_TO = '0x209693Bc6afc0C5328bA36FaF03C514EF312287C';
const NETWORK = 'eip155:84532';

/** Says yes and does nothing. */
const instant = {
  verify: async () => ({ isValid: true, payer: PAY_TO }),
  settle: async () => ({ success: true, payer: PAY_TO, transaction: `0x${'1'.repeat(64)}`, network: NETWORK }),
  getSupported: async () => ({
    kinds: [{ x402Version: 2, scheme: 'exact', network: NETWORK }],
    extensions: [],
    signers: {},
  }),
};

const app = express();
if (mode !== 'unpaid') {
  const { HTTPFacilitatorClient, x402ResourceServer } = require('@x402/core/server');
  const { ExactEvmScheme } = require('@x402/evm/exact/server');
  const { paymentMiddleware } = require('@x402/express');
  const facilitator = mode === 'instant' ? instant : new HTTPFacilitatorClient({ url: mode });
  const server = new x402ResourceServer([facilitator]).register('eip155:*', new ExactEvmScheme());
  const accepts = { scheme: 'exact', network: NETWORK, payTo: PAY_TO, price: '$0.01' };
  app.use(paymentMiddleware({ 'GET /weather': { accepts, description: '', mimeType: 'application/json' } }, server));
}
app.get('/weather', (_request, response) => response.json({ city: 'Lisbon', celsius: 21 }));
const listening = app.listen(0, '127.0.0.1', () => console.log(listening.address().port));
// Idle connections are kept for five seconds otherwise, which is shorter than it takes to open 10 000.
listening.keepAliveTimeout = 600_000;
process.stdin.on('end', () => process.exit(0)).resume();
