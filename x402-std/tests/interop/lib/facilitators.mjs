// Facilitators that a case has for itself: ours under test, or the official one in a self-test.
import fs from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { EVM_NETWORK, EVM_RPC, freePort, HOST, senderKey, SVM_NETWORK, SVM_RPC, svmSecretKey } from './config.mjs';
import { isRunning, kill, OUT, pidOf, start, stop } from './processes.mjs';

/** The facilitator's configuration, in TOML. What is secret in it is in the environment: see `secretsOf`. */
export function configOf({ port, evmKeys, store: { url, ...store } = { kind: 'memory' }, evm = {}, svm = {}, limits, accept }) {
  if (url) {
    store.url_env = 'X402_FACILITATOR_REDIS';
  }
  const chains = [
    ['[[evm]]', { network: EVM_NETWORK, rpc: [EVM_RPC], key_env: evmKeys.map(evmVariable), confirmations: 1, ...evm }],
    ['[[svm]]', { network: SVM_NETWORK, rpc: [SVM_RPC], key_env: 'X402_FACILITATOR_SVM_KEY', ...svm }],
  ];
  const optional = Object.entries({ limits, accept }).filter(([, values]) => values);
  const tables = [['[store]', store], ...chains, ...optional.map(([name, values]) => [`[${name}]`, values])];
  const lines = ([name, values]) => [name, ...Object.entries(values).map(pair)];
  return [pair(['listen', `${HOST}:${port}`]), ...tables.flatMap(lines)].join('\n') + '\n';
}

const pair = ([name, value]) => `${name} = ${JSON.stringify(value)}`;

const evmVariable = (_key, index) => `X402_FACILITATOR_EVM_KEY_${index}`;

const secretsOf = async ({ evmKeys, store: { url = '' } = {} }) => ({
  ...Object.fromEntries(evmKeys.map((key, index) => [evmVariable(key, index), key])),
  X402_FACILITATOR_SVM_KEY: await svmSecretKey('facilitator'),
  X402_FACILITATOR_REDIS: url,
});

/** How to start `binary`, or the official facilitator if there is none, with settings as `configOf` takes them. */
export async function facilitatorCommand(binary, { name, ...settings }) {
  if (!binary) {
    const { evm: { rpc: [evm] = [EVM_RPC] } = {}, svm: { rpc: [svm] = [SVM_RPC] } = {} } = settings;
    const env = { PORT: `${settings.port}`, INTEROP_EVM_RPC: evm, INTEROP_SVM_RPC: svm, EVM_SENDER: settings.evmKeys[0] };
    return { command: process.execPath, args: ['official-facilitator.mjs'], env };
  }
  fs.mkdirSync(OUT, { recursive: true });
  const file = path.join(OUT, `${name}-${settings.port}.toml`);
  // What stands in no table comes first.
  const options = Object.entries(settings.options ?? {}).map(pair);
  fs.writeFileSync(file, [...options, configOf(settings)].join('\n'));
  const env = await secretsOf(settings);
  return { command: binary, args: ['facilitator', '--config', file], env, says: /listening/ };
}

// The first one is the sender of the service `ourFacilitator`.
let senders = 1;

/** Keys of so many who have sent nothing yet. */
export const newSenders = count => Array.from({ length: count }, () => senderKey(senders++));

/** A facilitator of the case's own, with a sender of its own on EVM. It is not started yet. */
export function newFacilitator(binary, name, settings = {}) {
  const port = freePort();
  const evmKeys = settings.evmKeys ?? newSenders(1);
  const address = { name, port };
  const launch = again => async () => {
    const definition = await facilitatorCommand(binary, { ...settings, name, port, evmKeys });
    return start({ ...definition, ...address, again });
  };
  return {
    ...address,
    url: `http://${HOST}:${port}`,
    start: launch(false),
    startAgain: launch(true),
    kill: () => kill(address),
    pid: () => pidOf(address),
    stop: () => stop(address),
    isRunning: () => isRunning(address),
  };
}

/** A store in one file, empty. */
export function newSqlite(name, settings) {
  const file = path.join(OUT, `${name}.sqlite`);
  for (const suffix of ['', '-wal', '-shm', '-journal']) {
    fs.rmSync(file + suffix, { force: true });
  }
  return { kind: 'sqlite', path: file, ...settings };
}

/** Until `isDone` tells something; tells that. */
export async function until(isDone, ms, what) {
  const deadline = Date.now() + ms;
  while (Date.now() < deadline) {
    const done = await isDone();
    if (done) {
      return done;
    }
    await sleep(50);
  }
  throw new Error(`not within ${ms / 1000} s: ${what}`);
}
