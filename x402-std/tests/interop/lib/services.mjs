// The processes that stay up during a run: the chains, the official parts, and the x402 command.
import fs from 'node:fs';
import path from 'node:path';
import { up } from '../chains.mjs';
import {
  accounts,
  EVM_NETWORK,
  HOST,
  PORTS,
  senderKey,
  SVM_NETWORK,
  SVM_NETWORK_V1,
  SVM_RPC,
  svmSecretKey,
  svmSigner,
  urlOf,
} from './config.mjs';
import { firmware, QEMU, seenFromBoard, TARGETS } from './boards.mjs';
import { facilitatorCommand, newSqlite } from './facilitators.mjs';
import { PYTHON } from './install.mjs';
import { OUT, start } from './processes.mjs';

export const MEMO = 'order-42';

const svmPayTo = (await svmSigner('payTo')).address;
const svmClient = (await svmSigner('client')).address;

/** What passed through the recorder, one exchange a line. */
export const RECORD_FILE = path.join(OUT, `record-${PORTS.recorder}.jsonl`);

/**
 * The services of a run of `binary`, or of a self-test when there is none, and `others`. Each starts when first asked
 * for.
 */
export async function servicesFor(binary, others = {}) {
  const definitions = {
    ...others,
    chains: { start: up },
    facilitator: node(['official-facilitator.mjs']),
    server: node(['official-server.mjs'], { FACILITATOR_URL: urlOf('facilitator') }, ['facilitator']),
    pyServer: pyServer('facilitator'),
    pyFacilitator: {
      command: PYTHON,
      args: ['py_facilitator.py'],
      env: { NETWORK: SVM_NETWORK, SVM_KEY: await svmSecretKey('facilitator'), SVM_RPC },
    },
    pySvmServer: pyServer('pyFacilitator', '/svm/exact,/svm/memo'),
    recorder: node(['record.mjs', urlOf(binary ? 'oursV2' : 'server'), RECORD_FILE]),
    forgetful: node(['forgetful.mjs', urlOf('facilitator')], {}, ['facilitator']),
    ...Object.fromEntries(TARGETS.flatMap(boardSellers)),
    redis: redis(),
    ...(binary && ours(binary)),
    ...(binary && (await oursSettling(binary))),
  };
  const addressOf = name => ({ name, port: PORTS[name] });
  const started = new Map();

  async function startWithNeeds(name) {
    const { needs = [], start: startIt = start, ...definition } = definitions[name];
    await Promise.all(needs.map(get));
    const { port } = addressOf(name);
    const env = { ...definition.env, PORT: `${port}` };
    await startIt({ ...definition, name, port, env });
  }

  function get(name) {
    if (!started.has(name)) {
      started.set(name, startWithNeeds(name));
    }
    return started.get(name);
  }

  return { get, addressOf };
}

function ours(command) {
  const listen = name => ['--listen', new URL(urlOf(name)).host];
  const evm = ['--network', EVM_NETWORK, '--pay-to', accounts.payTo.address];
  const svm = ['--network', SVM_NETWORK_V1, '--pay-to', svmPayTo];
  const serve = (name, price, ...options) => ({
    command,
    args: ['serve', ...options, '--price', price, '--facilitator', urlOf('facilitator'), ...listen(name)],
    needs: ['facilitator'],
  });
  const funds = [accounts.client.address, svmClient].flatMap(address => ['--fund', `${address}=1000000`]);
  return {
    oursV2: serve('oursV2', '$0.01', ...evm),
    oursV1: serve('oursV1', '$0.01', ...evm, '--x402-version', '1'),
    oursProxy: serve('oursProxy', '$0.01', ...evm, '--upstream', urlOf('upstream')),
    oursSvm: serve('oursSvm', '$0.001', ...svm),
    oursSvmMemo: serve('oursSvmMemo', '$0.001', ...svm, '--memo', MEMO),
    oursSvmV1: serve('oursSvmV1', '$0.001', ...svm, '--x402-version', '1'),
    oursBoth: serve('oursBoth', '$0.01', ...svm, ...evm),
    oursSimulated: {
      command,
      args: ['serve', ...svm, '--price', '$0.001', '--facilitator', 'simulated', ...funds.slice(2)].concat(
        listen('oursSimulated'),
      ),
    },
    simulatedFacilitator: {
      command,
      args: ['facilitator', '--simulated', ...funds, ...listen('simulatedFacilitator')],
    },
    simulatedServer: node(
      ['official-server.mjs'],
      { FACILITATOR_URL: urlOf('simulatedFacilitator'), ROUTES: '/evm/eip3009,/svm/announced' },
      ['simulatedFacilitator'],
    ),
    simulatedPyServer: pyServer('simulatedFacilitator', '/evm/eip3009,/svm/announced'),
  };
}

/** Our facilitator on both chains, and who is paid through it. */
async function oursSettling(command) {
  const port = PORTS.ourFacilitator;
  const store = newSqlite(`ourFacilitator-${port}`);
  const settings = { name: 'ourFacilitator', port, store, evmKeys: [senderKey(0)] };
  const facilitator = await facilitatorCommand(command, settings);
  const through = { FACILITATOR_URL: urlOf('ourFacilitator') };
  const routes = ['/evm/eip3009', '/evm/upfront', '/svm/exact', '/svm/memo', '/svm/token2022', '/v1/evm', '/v1/svm'];
  const serve = (name, price, network, payTo, ...options) => ({
    command,
    args: ['serve', '--network', network, '--pay-to', payTo, '--price', price, ...options].concat(
      ['--facilitator', urlOf('ourFacilitator'), '--listen', new URL(urlOf(name)).host],
    ),
    needs: ['ourFacilitator'],
  });
  const evm = [EVM_NETWORK, accounts.payTo.address];
  const svm = [SVM_NETWORK_V1, svmPayTo];
  return {
    ourFacilitator: { ...facilitator, needs: ['chains'] },
    settledServer: node(['official-server.mjs'], { ...through, ROUTES: routes.join() }, ['ourFacilitator']),
    settledPyServer: pyServer('ourFacilitator', '/evm/eip3009,/svm/exact,/svm/memo'),
    settledOurs: serve('settledOurs', '$0.01', ...evm),
    settledOursV1: serve('settledOursV1', '$0.01', ...evm, '--x402-version', '1'),
    settledOursSvm: serve('settledOursSvm', '$0.001', ...svm),
    settledOursSvmV1: serve('settledOursSvmV1', '$0.001', ...svm, '--x402-version', '1'),
  };
}

/** Keeps what it is told, on disk too; empty at first. */
function redis() {
  const folder = path.join(OUT, `redis-${PORTS.redis}`);
  fs.rmSync(folder, { recursive: true, force: true });
  fs.mkdirSync(folder, { recursive: true });
  const settings = { port: PORTS.redis, bind: HOST, dir: folder, appendonly: 'yes', save: '' };
  const args = Object.entries(settings).flatMap(([name, value]) => [`--${name}`, `${value}`]);
  return { command: 'redis-server', args };
}

/** The seller's firmware on an emulated board, with a facilitator that answers and with one that forgets to. */
function boardSellers(target) {
  const name = `seller-${target.split('-')[0]}`;
  const seller = (name, facilitator) => [
    name,
    {
      command: QEMU,
      args: [firmware(target, 'seller'), seenFromBoard(urlOf(facilitator)), `${urlOf(name)}/reading`],
      env: { X402_FORWARD: `${PORTS[name]}` },
      needs: [facilitator],
      says: /^selling /m,
    },
  ];
  return [
    seller(name, 'facilitator'),
    seller(`${name}-unclear`, 'forgetful'),
    seller(`${name}-simulated`, 'simulatedFacilitator'),
  ];
}

function node(args, env, needs) {
  return { command: process.execPath, args, env, needs };
}

function pyServer(facilitator, routes = '') {
  return {
    command: PYTHON,
    args: ['py_server.py'],
    env: {
      FACILITATOR_URL: urlOf(facilitator),
      ROUTES: routes,
      EVM_NETWORK,
      EVM_PAY_TO: accounts.payTo.address,
      SVM_NETWORK,
      SVM_PAY_TO: svmPayTo,
    },
    needs: [facilitator],
  };
}
