// The cases of our facilitator on the two chains: as cases.mjs.
import assert from 'node:assert/strict';
import { isData, isRoute, refuses, settles, testCase, told } from './lib/checks.mjs';
import { command, payWithOurs, payWithPython, payWithTypeScript } from './lib/clients.mjs';
import { HOST, OFFSET, PORTS, REPLAY_OFFSET, urlOf } from './lib/config.mjs';
import { newSqlite } from './lib/facilitators.mjs';
import { evmLedger, svmLedger } from './lib/ledgers.mjs';
import { codeOf, inWords, newPayment, settle, settlementAt } from './lib/payments.mjs';
import { MEMO } from './lib/services.mjs';
import { PYUSD, USDC } from './lib/setup-svm.mjs';
import { chaos } from './settlement/chaos.mjs';
import { killed, slow } from './settlement/kill.mjs';
import { reorganised } from './settlement/reorg.mjs';
import { storm } from './settlement/storm.mjs';
import { transfersPay } from './settlement/transfers.mjs';
import { walletsPay } from './settlement/wallets.mjs';

const RANDOM_MEMO = /^[0-9a-f]{32}$/;

const evm = evmLedger();
const svm = svmLedger(USDC, { memo: RANDOM_MEMO });

export function settlementCases(binary) {
  return [...pairings(binary), ...hardships(binary)].map(each => ({ ...each, name: `settlement: ${each.name}` }));
}

export function settlementSelfTest() {
  return [testCase('settlement: recorded requests', ['chains'], () => replays(), 120_000)];
}

// Of ours and official as client, server and facilitator, the four with the official facilitator are elsewhere: all
// official in the self-test; `ours -> official server, …`, `official client -> ours…` and `ours -> ours, …` in
// cases.mjs and cases-svm.mjs.
function pairings(binary) {
  const ours = (service, path, settings) => payWithOurs(binary, urlOf(service) + path, settings);
  const typeScript = (service, path, settings) => payWithTypeScript(urlOf(service) + path, settings);
  const python = (service, path, settings) => payWithPython(urlOf(service) + path, settings);
  const [official, pythons] = ['settledServer', 'settledPyServer'];

  const buys = (name, payer, service, ledger, amount, path, settings) =>
    testCase(name, [service, 'ourFacilitator'], () =>
      settles(ledger, amount, () => payer(service, path, settings), path === '/' ? isData : isRoute(path)),
    );
  const onBoth = (name, payer, service, [evmPath, svmPath] = ['/evm/eip3009', '/svm/exact']) => [
    buys(name, payer, service, evm, 10_000n, evmPath),
    buys(`${name}, Solana`, payer, service, svm, 1_000n, svmPath),
  ];
  const toOurs = (name, payer, settings, [evmService, svmService], svmTruth = svm) => [
    buys(name, payer, evmService, evm, 10_000n, '/', settings),
    buys(`${name}, Solana`, payer, svmService, svmTruth, 1_000n, '/', settings),
  ];
  const oursV2 = ['settledOurs', 'settledOursSvm'];
  const oursV1 = ['settledOursV1', 'settledOursSvmV1'];
  const legacy = { legacy: true };
  // This SDK writes no memo.
  const svmLegacy = svmLedger(USDC);
  const v1Paths = ['/v1/evm', '/v1/svm'];

  return [
    ...onBoth('official client -> official server -> our facilitator', typeScript, official),
    ...toOurs('official client -> ours -> our facilitator', typeScript, {}, oursV2),
    ...onBoth('ours -> official server -> our facilitator', ours, official),
    ...toOurs('ours -> ours -> our facilitator', ours, {}, oursV2),
    ...onBoth('Python client -> Python server -> our facilitator', python, pythons),
    ...onBoth('Python client -> official server -> our facilitator', python, official),
    ...toOurs('Python client -> ours -> our facilitator', python, {}, oursV2),
    ...onBoth('ours -> Python server -> our facilitator', ours, pythons),
    ...onBoth('ours -> official server, v1 -> our facilitator', ours, official, v1Paths),
    ...toOurs('ours -> ours, v1 -> our facilitator', ours, {}, oursV1),
    ...toOurs('official v1 client -> ours, v1 -> our facilitator', typeScript, legacy, oursV1, svmLegacy),
    buys(
      'official v1 client -> official server, v1 -> our facilitator',
      typeScript,
      official,
      evm,
      10_000n,
      '/v1/evm',
      legacy,
    ),
    buys(
      'official v1 client -> official server, v1 -> our facilitator, Solana',
      typeScript,
      official,
      svmLegacy,
      1_000n,
      '/v1/svm',
      legacy,
    ),
    buys('ours -> official server, upfront -> our facilitator', ours, official, evm, 10_000n, '/evm/upfront'),
    buys(
      'ours -> official server, memo -> our facilitator, Solana',
      ours,
      official,
      svmLedger(USDC, { memo: MEMO }),
      1_000n,
      '/svm/memo',
    ),
    buys(
      'ours -> official server, Token-2022 -> our facilitator, Solana',
      ours,
      official,
      svmLedger(PYUSD, { memo: RANDOM_MEMO }),
      2_000n,
      '/svm/token2022',
    ),
    testCase('no money -> official server -> our facilitator', [official], async () => {
      const result = await refuses(evm, () => typeScript(official, '/evm/eip3009', { evm: 'poor' }));
      assert.match(result.text, /insufficient[ _]balance/i);
    }),
    testCase('no money -> official server -> our facilitator, Solana', [official], async () => {
      const result = await refuses(svm, () => typeScript(official, '/svm/exact', { svm: 'other' }));
      assert.match(result.text, /invalid_exact_svm_transaction_simulation_failed/);
    }),
  ];
}

function hardships(binary) {
  return [
    testCase('looked up, and told again', ['ourFacilitator'], () => toldAgain('evm')),
    testCase('looked up, and told again, Solana', ['ourFacilitator'], () => toldAgain('svm')),
    testCase('health and figures', ['ourFacilitator'], showsItself),
    testCase('recorded requests', ['chains'], () => replays(binary), 120_000),
    testCase('500 at once, two processes, SQLite', ['chains'], () => storm(binary, newSqlite(`storm-${PORTS.evm}`))),
    testCase('500 at once, two processes, Redis', ['redis'], () =>
      storm(binary, { kind: 'redis', url: `redis://${HOST}:${PORTS.redis}` }),
    ),
    testCase('kill -9 at each step', ['chains'], () => onEachChain(chain => killed(binary, chain))),
    testCase('slower than its claim lasts, at each step', ['chains'], () => onEachChain(chain => slow(binary, chain))),
    testCase('the chain takes a settlement back', ['chains'], () => reorganised(binary)),
    testCase('wallets that are contracts', ['chains'], () => walletsPay(binary)),
    testCase('transfers that buyers sent', ['chains'], () => transfersPay(binary)),
    testCase('a node that fails and lies', ['chains'], () => chaos(binary, { honest: false }), 180_000),
    testCase(
      'a node that fails and lies, and kill -9 now and then',
      ['chains'],
      () => chaos(binary, { honest: false, killEvery: 3_000 }),
      180_000,
    ),
    testCase('a node that lies well beside an honest one', ['chains'], () => chaos(binary, { honest: true }), 180_000),
  ];
}

/** On both chains at once. */
async function onEachChain(play) {
  const results = await Promise.allSettled(['evm', 'svm'].map(play));
  const words = results.map(({ value, reason }, index) => `${['EVM', 'Solana'][index]}: ${value ?? reason.message}`);
  assert.ok(
    results.every(({ status }) => status === 'fulfilled'),
    words.join('\n'),
  );
  return words.join('; ');
}

/** A settlement can be looked up by anybody; that it succeeded is told again to who has the key, and to nobody else. */
async function toldAgain(chain) {
  const url = urlOf('ourFacilitator');
  const payment = await newPayment(chain);
  const first = await settle(url, payment, { key: 'mine' });
  assert.ok(first.success, inWords(first));
  const { id, state, transaction } = await settlementAt(url, first.location);
  assert.deepEqual([`settlements/${id}`, state, transaction], [first.location, 'settled', first.transaction]);
  const again = await settle(url, payment, { key: 'mine' });
  assert.deepEqual([again.success, again.transaction], [true, first.transaction], `with the key: ${inWords(again)}`);
  for (const key of ['theirs', undefined]) {
    const other = await settle(url, payment, { key });
    assert.equal(codeOf(other.errorReason), 'duplicate_settlement', `with the key ${key}: ${inWords(other)}`);
    assert.equal(other.location, first.location, 'where to look it up');
  }
  await payment.check(first.transaction);
  assert.equal(await payment.moved(), payment.price, 'what moved');
  assert.equal(await settlementAt(url, `/settlements/${'00'.repeat(32)}`), undefined, 'one that is not known');
}

async function showsItself() {
  const read = async path => {
    const response = await fetch(urlOf('ourFacilitator') + path);
    return [response.status, await response.text()];
  };
  for (const path of ['/healthz', '/readyz']) {
    const [status, text] = await read(path);
    assert.equal(status, 200, `${path}: ${text}`);
  }
  const [status, text] = await read('/metrics');
  assert.equal(status, 200);
  assert.match(text, /^x402_\S+ [0-9.]+$/m);
}

/** The recorded requests are refused with the recorded codes, on chains of their own. */
async function replays(binary) {
  // They were recorded on this chain.
  const env = { PORT_OFFSET: `${OFFSET + REPLAY_OFFSET}`, CHAIN_ID: '84532' };
  const limits = { ms: 100_000, signal: 'SIGTERM' };
  const result = await command(process.execPath, ['settlement/replay.mjs', binary ?? '--official'], env, limits);
  const lines = result.stdout.trimEnd().split('\n');
  const wrong = lines.filter(line => line.startsWith('wrong'));
  assert.equal(result.code, 0, wrong.join('\n') || told({ ...result, text: result.stdout + result.stderr }));
  return [lines.at(-1), ...lines.filter(line => line.startsWith('skipped'))].join('; ');
}
