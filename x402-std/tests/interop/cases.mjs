// What is played, in order. A case names the services that it uses and throws when something is wrong.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import http from 'node:http';
import { boardCases } from './cases-boards.mjs';
import { settlementCases, settlementSelfTest } from './cases-settlement.mjs';
import { ourSvmCases, svmSelfTest } from './cases-svm.mjs';
import { isData, isRoute, refuses, settles, testCase, toBase64, told } from './lib/checks.mjs';
import { payWithOurs, payWithPython, payWithTypeScript } from './lib/clients.mjs';
import { HOST, PORTS, urlOf } from './lib/config.mjs';
import { evmLedger } from './lib/ledgers.mjs';
import { RECORD_FILE } from './lib/services.mjs';

const EIP3009 = '/evm/eip3009';
const evm = evmLedger();

export const casesFor = binary =>
  binary
    ? [...ourCases(binary), ...ourSvmCases(binary), ...settlementCases(binary), ...boardCases(binary)]
    : [...selfTest(), ...svmSelfTest(), ...settlementSelfTest()];

function ourCases(binary) {
  const ours = (service, path, settings) => payWithOurs(binary, urlOf(service) + path, settings);
  const official = ['facilitator', 'server'];
  return [
    testCase('ours -> official server, eip3009', official, () =>
      settles(evm, 10_000n, () => ours('server', EIP3009), isRoute(EIP3009))),
    testCase('ours -> official server, upfront', official, () =>
      settles(evm, 10_000n, () => ours('server', '/evm/upfront'), isRoute('/evm/upfront'))),
    testCase('ours -> official server, v1', official, () =>
      settles(evm, 10_000n, () => ours('server', '/v1/evm'), isRoute('/v1/evm'))),
    testCase('ours -> official server, above --max', official, async () => {
      const result = await refuses(evm, () => ours('server', EIP3009, { options: ['--max', '$0.001'] }));
      assert.equal(result.code, 1, told(result));
    }),
    testCase('ours -> official server, no money', official, async () => {
      const result = await refuses(evm, () => ours('server', EIP3009, { evm: 'poor' }));
      assert.equal(result.code, 1, told(result));
      assert.match(result.text, /insufficient[ _]balance/i);
    }),
    testCase('official client -> ours', ['oursV2'], () =>
      settles(evm, 10_000n, () => typeScript('oursV2', '/'), isData)),
    testCase('official v1 client -> ours, v1', ['oursV1'], () =>
      settles(evm, 10_000n, () => typeScript('oursV1', '/', { legacy: true }), isData)),
    testCase('Python client -> ours', ['oursV2'], () => settles(evm, 10_000n, () => python('oursV2', '/'), isData)),
    testCase('ours -> Python server', ['pyServer'], () =>
      settles(evm, 10_000n, () => ours('pyServer', EIP3009), isRoute(EIP3009))),
    testCase('ours -> ours, header shown twice', ['oursV2', 'recorder'], () =>
      servesOnce(() => ours('recorder', '/'), '/')),
    testCase('official client -> ours in front of another server', ['oursProxy'], frontsAnotherServer),
    testCase('garbage -> ours', ['oursV2'], () => survivesGarbage('oursV2')),
    testCase('official client -> official server, our facilitator', ['simulatedFacilitator', 'simulatedServer'], () =>
      settlesElsewhere(typeScript, 'simulatedServer')),
    testCase('Python client -> Python server, our facilitator', ['simulatedFacilitator', 'simulatedPyServer'], () =>
      settlesElsewhere(python, 'simulatedPyServer')),
  ];
}

/** The same harness with official parts only: when this fails, the harness is at fault. */
function selfTest() {
  const uses = ['facilitator', 'server'];
  const route = (path, amount, settings) => {
    const version = settings?.legacy ? 'v1 client' : 'client';
    return testCase(`official ${version} -> official server ${path}`, uses, () =>
      settles(evmLedger(settings?.evm), amount, () => typeScript('server', path, settings), isRoute(path)));
  };
  return [
    route(EIP3009, 10_000n),
    route('/evm/upfront', 10_000n),
    route('/evm/permit2', 20_000n),
    route('/evm/permit2-eip2612', 10_000n, { evm: 'noApproval' }),
    route('/evm/upto', 20_000n),
    route('/v1/evm', 10_000n),
    route('/v1/evm', 10_000n, { legacy: true }),
    testCase('official client -> official server, no money', uses, () =>
      refuses(evm, () => typeScript('server', EIP3009, { evm: 'poor' }))),
    testCase('official client -> official server, header shown twice', [...uses, 'recorder'], () =>
      servesOnce(() => typeScript('recorder', EIP3009), EIP3009)),
    testCase('official client -> Python server', ['pyServer'], () =>
      settles(evm, 10_000n, () => typeScript('pyServer', EIP3009), isRoute(EIP3009))),
    testCase('Python client -> official server', uses, () =>
      settles(evm, 10_000n, () => python('server', EIP3009), isRoute(EIP3009))),
    testCase('Python client -> official server, v1', uses, () =>
      settles(evm, 10_000n, () => python('server', '/v1/evm'), isRoute('/v1/evm'))),
    testCase('Python client -> Python server', ['pyServer'], () =>
      settles(evm, 10_000n, () => python('pyServer', EIP3009), isRoute(EIP3009))),
  ];
}

const typeScript = (service, path, settings) => payWithTypeScript(urlOf(service) + path, settings);
const python = (service, path, settings) => payWithPython(urlOf(service) + path, settings);

// ---- checks

/** Pays through the recorder, then sends the recorded payment header once more. */
async function servesOnce(pay, path) {
  const before = await evm.balances();
  const result = await pay();
  assert.ok(result.served, told(result));
  const exchanges = fs.readFileSync(RECORD_FILE, 'utf8').trimEnd().split('\n').map(line => JSON.parse(line));
  const [, header] = exchanges.at(-1).request.headers.find(([name]) => /^payment-signature$/i.test(name));
  const again = await fetch(urlOf('recorder') + path, { headers: { 'PAYMENT-SIGNATURE': header } });
  assert.ok(again.status >= 400 && again.status < 500, `the second time: status ${again.status}`);
  const [payTo] = await evm.balances();
  assert.equal(payTo - before[0], 10_000n, 'payTo must be paid once');
}

/** Our server charges and passes on; nothing unpaid gets through. */
async function frontsAnotherServer() {
  const seen = [];
  const upstream = http.createServer((request, response) => {
    seen.push(request.url);
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify({ ok: true, route: request.url }));
  });
  await new Promise(resolve => upstream.listen(PORTS.upstream, HOST, resolve));
  try {
    await settles(evm, 10_000n, () => typeScript('oursProxy', '/hello?a=1'), isRoute('/hello?a=1'));
    assert.deepEqual(seen, ['/hello?a=1'], 'what came through');
  } finally {
    upstream.closeAllConnections();
    upstream.close();
  }
}

/** Malformed payments get a 400 with a JSON error, and the server goes on. */
async function survivesGarbage(service) {
  const url = `${urlOf(service)}/`;
  const garbage = { text: 'not base64!!', 'empty object': toBase64('{}'), oversize: toBase64('x'.repeat(75_000)) };
  for (const [name, header] of Object.entries(garbage)) {
    const response = await fetch(url, { headers: { 'PAYMENT-SIGNATURE': header } });
    const body = await response.text();
    // Too long a header may already be turned away by the HTTP library, in its own words.
    if (name === 'oversize' && response.status === 431) {
      continue;
    }
    assert.equal(response.status, 400, `${name}: status ${response.status}, ${body}`);
    assert.ok(JSON.parse(body).error, `${name}: no error in ${body}`);
  }
  assert.equal((await fetch(url)).status, 402, 'afterwards, unpaid');
}

/** Our facilitator settles in its own ledger, where only `client` has money, and leaves the chain alone. */
async function settlesElsewhere(payer, service) {
  const before = await evm.balances();
  const result = await payer(service, EIP3009);
  assert.ok(result.served, told(result));
  assert.equal(result.receipt?.success, true, `no receipt of success: ${told(result)}`);
  // Rich on the chain, unknown to the simulated ledger.
  await refuses(evm, () => payer(service, EIP3009, { evm: 'noApproval' }));
  assert.deepEqual(await evm.balances(), before, 'the chain must not be touched');
}
