// The cases on Solana: as cases.mjs.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import {
  fromBase64Json,
  isData,
  isRoute,
  refuses,
  settles,
  testCase,
  toBase64,
  told,
  watched,
} from './lib/checks.mjs';
import { payWithOurs, payWithPython, payWithTypeScript, signWithOurs, verifyWithOurs } from './lib/clients.mjs';
import {
  HOST,
  PORTS,
  SVM_NETWORK,
  SVM_PYUSD,
  SVM_SEEDS,
  svmKeypair,
  svmRpc,
  svmSecretKey,
  svmSigner,
  urlOf,
} from './lib/config.mjs';
import { evmLedger, landedTransaction, svmLedger } from './lib/ledgers.mjs';
import kit from './lib/litesvm-kit.mjs';
import { OUT } from './lib/processes.mjs';
import { MEMO } from './lib/services.mjs';
import { PYUSD, USDC, USDG } from './lib/setup-svm.mjs';

const EXACT = '/svm/exact';
const RANDOM_MEMO = /^[0-9a-f]{32}$/;
const LONG_MEMO = /^order-42 .{243}done$/;

const evm = evmLedger();
const svm = svmLedger(USDC, { memo: RANDOM_MEMO });
const svmWithMemo = svmLedger(USDC, { memo: MEMO });

const payTo = (await svmSigner('payTo')).address;
const other = (await svmSigner('other')).address;
const facilitator = await kit.createKeyPairSignerFromPrivateKeyBytes(SVM_SEEDS.facilitator);

const typeScript = (service, path, settings) => payWithTypeScript(urlOf(service) + path, settings);
const python = (service, path, settings) => payWithPython(urlOf(service) + path, settings);

export function ourSvmCases(binary) {
  const ours = (service, path, settings) => payWithOurs(binary, urlOf(service) + path, settings);
  const official = ['facilitator', 'server'];
  const buys = (name, ledger, amount, path, settings) =>
    testCase(`ours -> official server, ${name}`, official, () =>
      settles(ledger, amount, () => ours('server', path, settings), isRoute(path)));
  const sells = (name, payer, service, ledger, amount, settings) =>
    testCase(name, [service], () => settles(ledger, amount, () => payer(service, '/', settings), isData));
  const executes = (token, name, settings) =>
    testCase(`ours -> chain, ${name}`, ['chains'], () => executesOnChain(binary, token, settings));
  const longMemo = 'order-42 '.repeat(28) + 'done';
  const v1 = { transactionVersions: [1] };

  return [
    buys('Solana', svm, 1_000n, EXACT),
    buys('Solana, memo', svmWithMemo, 1_000n, '/svm/memo'),
    buys('Solana, memo of 256 bytes', svmLedger(USDC, { memo: LONG_MEMO }), 1_000n, '/svm/long-memo'),
    buys('Solana, Token-2022', svmLedger(PYUSD, { memo: RANDOM_MEMO }), 2_000n, '/svm/token2022'),
    buys('Solana or EVM, both keys', svm, 1_000n, '/multi'),
    buys('Solana or EVM, Solana key', svm, 1_000n, '/multi', { evm: null }),
    buys('Solana or EVM, EVM key', evm, 10_000n, '/multi', { svm: null }),
    buys('Solana, blockhash in the offer', svm, 1_000n, '/svm/blockhash', { rpc: null }),
    buys('Solana, blockhash in the offer and a node', svm, 1_000n, '/svm/blockhash'),
    testCase('ours -> official server, Solana, no blockhash', official, () => signsNothing(ours)),
    testCase('ours -> official server, Solana, no money', official, async () => {
      const known = await refuses(svm, () => ours('server', EXACT, { svm: 'other' }));
      assert.equal(known.code, 1, told(known));
      assert.match(known.text, /not_enough_money/);
      // Where there is no node to ask, the seller says so.
      const result = await refuses(svm, () => ours('server', '/svm/blockhash', { svm: 'other', rpc: null }));
      assert.equal(result.code, 1, told(result));
      assert.match(result.text, /invalid_exact_svm_transaction_simulation_failed/);
    }),
    testCase('ours -> official server, Solana, above --max', official, async () => {
      const result = await refuses(svm, () => ours('server', EXACT, { options: ['--max', '$0.0009'] }));
      assert.equal(result.code, 1, told(result));
    }),
    buys('v1, Solana', svm, 1_000n, '/v1/svm'),
    testCase('ours -> Python server, Solana', ['pyServer'], () =>
      settles(svm, 1_000n, () => ours('pyServer', EXACT), isRoute(EXACT))),
    testCase('ours -> Python server and facilitator, Solana', ['pySvmServer'], () =>
      settles(svm, 1_000n, () => ours('pySvmServer', EXACT), isRoute(EXACT))),
    testCase('ours -> Python server and facilitator, Solana, memo', ['pySvmServer'], () =>
      settles(svmWithMemo, 1_000n, () => ours('pySvmServer', '/svm/memo'), isRoute('/svm/memo'))),
    testCase('ours, the ways to write a Solana key', ['chains'], () => readsEveryKey(binary)),

    sells('official client -> ours, Solana', typeScript, 'oursSvm', svm, 1_000n),
    sells('official client -> ours, Solana, memo', typeScript, 'oursSvmMemo', svmWithMemo, 1_000n),
    sells('official client -> ours, Solana or EVM, both keys', typeScript, 'oursBoth', svm, 10_000n),
    sells('official client -> ours, Solana or EVM, Solana key', typeScript, 'oursBoth', svm, 10_000n, { evm: null }),
    sells('official client -> ours, Solana or EVM, EVM key', typeScript, 'oursBoth', evm, 10_000n, { svm: null }),
    // This SDK writes no memo.
    sells('official v1 client -> ours, v1, Solana', typeScript, 'oursSvmV1', svmLedger(USDC), 1_000n, { legacy: true }),
    sells('Python client -> ours, Solana', python, 'oursSvm', svm, 1_000n),
    sells('Python client -> ours, Solana, memo', python, 'oursSvmMemo', svmWithMemo, 1_000n),
    sells('Python client -> ours, Solana or EVM, Solana key', python, 'oursBoth', svm, 10_000n, { evm: null }),
    sells('Python client -> ours, Solana or EVM, EVM key', python, 'oursBoth', evm, 10_000n, { svm: null }),
    testCase('ours -> ours, Solana, header shown twice', ['oursSvm'], () => servesOnce(binary)),
    testCase('ours -> official server, then ours, Solana', [...official, 'oursSvm'], () => servesOneSeller(binary)),
    testCase('tampered payments -> ours, Solana', ['oursSvm', 'oursSvmMemo'], () => refusesTampered(binary)),

    testCase('official client -> ours, simulated, Solana', ['oursSimulated'], () =>
      settlesElsewhere(typeScript, 'oursSimulated', '/')),
    testCase('official client -> official server, our facilitator, Solana', ['simulatedServer'], () =>
      settlesElsewhere(typeScript, 'simulatedServer', '/svm/announced')),
    testCase('Python client -> Python server, our facilitator, Solana', ['simulatedPyServer'], () =>
      settlesElsewhere(python, 'simulatedPyServer', '/svm/announced')),

    executes(USDC, 'v0'),
    executes(USDC, 'v0, memo of 256 bytes', { memo: longMemo }),
    executes(USDG, 'v0, Token-2022'),
    executes(PYUSD, 'v0, Token-2022 with extensions'),
    executes(PYUSD, 'v0, Token-2022 with extensions, memo of 256 bytes', { memo: longMemo }),
    executes(USDC, 'v1', v1),
    executes(USDC, 'v1, memo of 256 bytes', { ...v1, memo: longMemo }),
    executes(USDG, 'v1, Token-2022', v1),
    executes(PYUSD, 'v1, Token-2022 with extensions', v1),
  ];
}

export function svmSelfTest() {
  const uses = ['facilitator', 'server'];
  const route = (path, ledger, amount, settings) => {
    const version = settings?.legacy ? 'v1 client' : 'client';
    return testCase(`official ${version} -> official server ${path}`, uses, () =>
      settles(ledger, amount, () => typeScript('server', path, settings), isRoute(path)));
  };
  return [
    route(EXACT, svm, 1_000n),
    route('/svm/memo', svmWithMemo, 1_000n),
    route('/svm/blockhash', svm, 1_000n),
    route('/svm/token2022', svmLedger(PYUSD), 2_000n),
    route('/multi', svm, 1_000n),
    route('/v1/svm', svm, 1_000n),
    route('/v1/svm', svmLedger(USDC), 1_000n, { legacy: true }),
    testCase('official client -> official server, Solana, no money', uses, () =>
      refuses(svm, () => typeScript('server', EXACT, { svm: 'other' }))),
    testCase('official client -> Python server, Solana', ['pyServer'], () =>
      settles(svm, 1_000n, () => typeScript('pyServer', EXACT), isRoute(EXACT))),
    testCase('Python client -> official server, Solana', uses, () =>
      settles(svm, 1_000n, () => python('server', EXACT), isRoute(EXACT))),
    testCase('Python client -> official server, Solana or EVM, EVM key', uses, () =>
      settles(evm, 10_000n, () => python('server', '/multi', { svm: null }), isRoute('/multi'))),
    testCase('Python client -> official server, v1, Solana', uses, () =>
      settles(svm, 1_000n, () => python('server', '/v1/svm'), isRoute('/v1/svm'))),
    testCase('Python client -> Python server and facilitator, Solana', ['pySvmServer'], () =>
      settles(svm, 1_000n, () => python('pySvmServer', EXACT), isRoute(EXACT))),
  ];
}

// ---- checks

/** Without a blockhash, in the offer or from a node, there is no payment, and the reason is said. */
async function signsNothing(ours) {
  const challenge = (await fetch(urlOf('server') + EXACT)).headers.get('payment-required');
  const seen = [];
  const seller = http.createServer((request, response) => {
    seen.push(request.headers['payment-signature'] ?? 'unpaid');
    response.writeHead(402, { 'PAYMENT-REQUIRED': challenge }).end();
  });
  await new Promise(resolve => seller.listen(PORTS.upstream, HOST, resolve));
  try {
    const result = await refuses(svm, () => ours('upstream', EXACT, { rpc: null }));
    assert.equal(result.code, 1, told(result));
    assert.match(result.text, /blockhash/);
    assert.deepEqual(seen, ['unpaid'], 'what the seller was sent');
  } finally {
    seller.closeAllConnections();
    seller.close();
  }
}

/** A keypair in base58 and a file of the Solana command line are the same key; a seed alone is none. */
async function readsEveryKey(binary) {
  const challenge = await challengeFor(USDC);
  const file = path.join(OUT, `client-key-${PORTS.svm}.json`);
  fs.writeFileSync(file, JSON.stringify([...(await svmKeypair('client'))]));
  fs.chmodSync(file, 0o600);
  const sign = (settings, ...more) => {
    const options = ['--nonce', `0x${'07'.repeat(32)}`, ...more];
    return signWithOurs(binary, challenge, { evm: null, options, ...settings });
  };
  const signed = await Promise.all([
    sign({ svmKey: await svmSecretKey('client') }),
    sign({ svmKey: file }),
    sign({ svm: null }, '--svm-key-file', file),
    sign({ svmKey: kit.getBase58Decoder().decode(SVM_SEEDS.client) }),
    sign({ svmKey: JSON.stringify([...(await svmKeypair('client'))]) }),
  ]);
  assert.equal(new Set(signed).size, 1, 'the payments differ');
}

/** A payment is taken once. */
async function servesOnce(binary) {
  const header = await signWithOurs(binary, await challengeOf('oursSvm', '/'));
  await settles(svm, 1_000n, () => present('oursSvm', '/', header), isData);
  const result = await refuses(svm, () => present('oursSvm', '/', header));
  return `the second time: ${result.code}, ${result.error}`;
}

/** What was paid to another seller of the same payTo and price does not pay ours too. */
async function servesOneSeller(binary) {
  const header = await signWithOurs(binary, await challengeOf('server', EXACT));
  await settles(svm, 1_000n, () => present('server', EXACT, header), isRoute(EXACT));
  const asItWas = await refuses(svm, () => present('oursSvm', '/', header));
  // The transaction itself says nothing about the offer that it is presented for.
  const [accepted] = (await challengeOf('oursSvm', '/')).accepts;
  const rewrapped = toBase64(JSON.stringify({ ...fromBase64Json(header), accepted }));
  const forOurOffer = await refuses(svm, () => present('oursSvm', '/', rewrapped));
  assert.match(forOurOffer.error, /transaction_simulation_failed|duplicate_settlement/);
  return `${asItWas.error}; for our offer: ${forOurOffer.error}`;
}

/** A payment that is not what the offer asks for is refused, with the code of the official facilitator. */
async function refusesTampered(binary) {
  const prefix = 'invalid_exact_svm_payload_';
  const cases = [
    ['oursSvm', flipBit(1 + 64 + 5), `${prefix}signature_invalid`],
    // A letter of the memo.
    ['oursSvm', flipBit(-20), `${prefix}signature_invalid`],
    // The version of the message, from 0 to 1.
    ['oursSvm', flipBit(1 + 2 * 64), `${prefix}transaction_could_not_be_decoded`],
    ['oursSvm', signedFor(offer => ({ ...offer, amount: '999' })), `${prefix}amount_mismatch`],
    ['oursSvm', signedFor(offer => ({ ...offer, amount: '1001' })), `${prefix}amount_mismatch`],
    ['oursSvm', signedFor(offer => ({ ...offer, payTo: other })), `${prefix}recipient_mismatch`],
    ['oursSvm', signedFor(offer => ({ ...offer, asset: SVM_PYUSD })), `${prefix}mint_mismatch`],
    ['oursSvmMemo', signedFor(withExtra({ memo: 'order-43' })), `${prefix}memo_mismatch`],
    ['oursSvm', signedFor(withExtra({ feePayer: other })), 'invalid_exact_svm_fee_payer_mismatch'],
  ];
  for (const [service, tamper, code] of cases) {
    const challenge = await challengeOf(service, '/');
    const [offer] = challenge.accepts;
    const sign = asked => signWithOurs(binary, { ...challenge, accepts: [asked] });
    const payload = { ...fromBase64Json(await tamper(sign, offer)), accepted: offer };
    const request = { x402Version: 2, paymentPayload: payload, paymentRequirements: offer };
    const official = await post('facilitator', '/verify', request);
    assert.equal(official.invalidReason, code, 'the official facilitator');
    assert.equal((await verifyWithOurs(binary, request)).invalidReason, code, 'x402 verify');
    const result = await refuses(svm, () => present(service, '/', toBase64(JSON.stringify(payload))));
    assert.equal(result.error, code, `x402 serve: ${told(result)}`);
  }
}

const withExtra = extra => offer => ({ ...offer, extra: { ...offer.extra, ...extra } });
const signedFor = change => (sign, offer) => sign(change(offer));

/** Flips the lowest bit of a byte of the signed transaction; below 0, counted from its end. */
function flipBit(index) {
  return async (sign, offer) => {
    const payment = fromBase64Json(await sign(offer));
    const bytes = Buffer.from(payment.payload.transaction, 'base64');
    bytes[(bytes.length + index) % bytes.length] ^= 1;
    payment.payload.transaction = bytes.toString('base64');
    return toBase64(JSON.stringify(payment));
  };
}

/** The payment settles where only `client` has money, and the chain is left alone. */
async function settlesElsewhere(payer, service, path) {
  const { result, moved } = await watched(svm, () => payer(service, path));
  assert.ok(result.served, told(result));
  assert.equal(result.receipt?.success, true, `no receipt of success: ${told(result)}`);
  assert.deepEqual(moved, [0n, 0n], 'the chain must not be touched');
  await refuses(svm, () => payer(service, path, { svm: 'other' }));
}

/** A transaction that ours signs is understood by others, and does what it should for less than it asks for. */
async function executesOnChain(binary, token, extra = {}) {
  const payment = fromBase64Json(await signWithOurs(binary, await challengeFor(token, extra), { rpc: null }));
  const wire = Buffer.from(payment.payload.transaction, 'base64');
  const transaction = kit.getTransactionDecoder().decode(wire);
  assert.deepEqual(Buffer.from(kit.getTransactionEncoder().encode(transaction)), wire, 'kit writes other bytes');
  const request = { x402Version: 2, paymentPayload: payment, paymentRequirements: payment.accepted };
  assert.equal((await verifyWithOurs(binary, request)).isValid, true, 'x402 verify');

  const ledger = svmLedger(token, { memo: extra.memo ?? RANDOM_MEMO });
  const signed = await kit.partiallySignTransaction([facilitator.keyPair], transaction);
  const text = kit.getBase64EncodedWireTransaction(signed);
  const send = () => svmRpc('sendTransaction', text, { encoding: 'base64' });
  const { result: signature, moved } = await watched(ledger, send);
  assert.deepEqual(moved, [1_000n, -1_000n], 'what payTo and the payer got');
  assert.equal((await landedTransaction(signature)).version, extra.transactionVersions?.[0] ?? 0);
  return `${await ledger.check(signature)}, ${wire.length} bytes`;
}

// ---- offers and payments

/** A challenge that no server gave: one offer, with a fresh blockhash. */
async function challengeFor({ mint }, extra) {
  const { value } = await svmRpc('getLatestBlockhash');
  const offer = {
    scheme: 'exact',
    network: SVM_NETWORK,
    amount: '1000',
    asset: mint,
    payTo,
    maxTimeoutSeconds: 60,
    extra: { feePayer: facilitator.address, recentBlockhash: value.blockhash, ...extra },
  };
  return { x402Version: 2, resource: { url: `${urlOf('server')}/` }, accepts: [offer] };
}

async function challengeOf(service, path) {
  const response = await fetch(urlOf(service) + path);
  assert.equal(response.status, 402, `${service}, unpaid`);
  return fromBase64Json(response.headers.get('payment-required'));
}

/** Asks with this payment header; `error` is why it was refused. */
async function present(service, path, header) {
  const response = await fetch(urlOf(service) + path, { headers: { 'PAYMENT-SIGNATURE': header } });
  const text = await response.text();
  const decoded = name => {
    const value = response.headers.get(name);
    return value ? fromBase64Json(value) : undefined;
  };
  return {
    served: response.ok,
    code: response.status,
    text,
    body: response.ok ? JSON.parse(text) : undefined,
    receipt: decoded('payment-response'),
    error: decoded('payment-required')?.error ?? decoded('payment-response')?.errorReason,
  };
}

async function post(service, path, body) {
  const response = await fetch(urlOf(service) + path, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
  return response.json();
}
