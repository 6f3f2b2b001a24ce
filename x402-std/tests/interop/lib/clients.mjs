// The payers: each pays one URL and tells { served, code, text, body, receipt }.
// Settings say with whose keys: `evm` and `svm` are names of accounts, null for no key of that kind.
import { spawn } from 'node:child_process';
import { firmware as firmwareOf, QEMU, seenFromBoard } from './boards.mjs';
import { EVM_KEYS, SVM_RPC, svmSecretKey, urlOf } from './config.mjs';
import { PYTHON } from './install.mjs';
import { ROOT } from './processes.mjs';

const COMMAND_MS = 60_000;

const running = new Map();

export async function payWithTypeScript(url, { evm = 'client', svm = 'client', legacy = false } = {}) {
  const env = { EVM_ACCOUNT: evm ?? '', SVM_ACCOUNT: svm ?? '', LEGACY: legacy ? '1' : '0' };
  return officialResult(await command(process.execPath, ['official-client.mjs', url], env));
}

export async function payWithPython(url, { evm = 'client', svm = 'client' } = {}) {
  const env = { EVM_KEY: evm ? EVM_KEYS[evm] : '', SVM_KEY: svm ? await svmSecretKey(svm) : '', SVM_RPC };
  return officialResult(await command(PYTHON, ['py_client.py', url], env));
}

/** Pays with the command under test; `options` are added to its arguments. */
export async function payWithOurs(binary, url, { options = [], ...settings } = {}) {
  const { code, stdout, stderr } = await command(binary, ['pay', '--json', url, ...options], await ourEnv(settings));
  const { body, receipt } = parse(stdout) ?? {};
  return { served: code === 0, code, text: `${stdout}\n${stderr}`, body, receipt: receipt ?? undefined };
}

/** Pays with the buyer's firmware on an emulated board, which has the keys of `client`. */
export async function payWithBoard(target, service, path, { firmware = 'buyer', serial, options = [], networks = [] } = {}) {
  const args = [firmwareOf(target, firmware), seenFromBoard(urlOf(service)) + path, ...options, ...networks];
  const { code, stdout, stderr } = await command(QEMU, args, serial ? { X402_SERIAL: `${serial}` } : {});
  const [, body] = stdout.match(/^body (.*)$/m) ?? [];
  const [, transaction] = stdout.match(/^receipt (\S+) on /m) ?? [];
  const receipt = transaction && { success: true, transaction };
  return { served: code === 0, code, text: `${stdout}\n${stderr}`, body: parse(body), receipt };
}

/** Signs a payment of the first offer of a challenge: the value of the payment header. */
export async function signWithOurs(binary, challenge, { options = [], ...settings } = {}) {
  const args = ['sign', '--required', JSON.stringify(challenge), '--accept', '0', ...options];
  const { code, stdout, stderr } = await command(binary, args, await ourEnv(settings));
  if (code !== 0) {
    throw new Error(`x402 sign: exit ${code}, ${stderr.trim()}`);
  }
  return stdout.trim();
}

/** What the command under test says about a payment: a VerifyResponse. */
export async function verifyWithOurs(binary, request) {
  const { stdout, stderr } = await command(binary, ['verify', '--request', JSON.stringify(request)], {});
  return parse(stdout) ?? { error: stderr };
}

/** `svmKey` is what X402_SVM_KEY is set to, instead of the account's key; `rpc` may be null. */
async function ourEnv({ evm = 'client', svm = 'client', svmKey, rpc = SVM_RPC }) {
  const env = {};
  if (evm) {
    env.X402_EVM_KEY = EVM_KEYS[evm];
  }
  if (svm) {
    env.X402_SVM_KEY = svmKey ?? (await svmSecretKey(svm));
  }
  if (rpc) {
    env.X402_SVM_RPC = rpc;
  }
  return env;
}

function officialResult({ code, stdout, stderr }) {
  const { body, paymentResponse } = parse(stdout) ?? {};
  return { served: code === 0, code, text: `${stdout}\n${stderr}`, body, receipt: paymentResponse };
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** The environment without the settings of whoever runs this. */
const inherited = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('X402_')));

/** Runs a command to its end, or for `ms`; then, and when everything is stopped, it gets `signal`. */
export function command(file, args, env, { ms = COMMAND_MS, signal = 'SIGKILL' } = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(file, args, { cwd: ROOT, env: { ...inherited, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
    const output = { stdout: '', stderr: '' };
    for (const stream of ['stdout', 'stderr']) {
      child[stream].setEncoding('utf8').on('data', chunk => {
        output[stream] += chunk;
      });
    }
    running.set(child, signal);
    const timer = setTimeout(() => {
      output.stderr += `\nstopped after ${ms / 1000} s`;
      child.kill(signal);
    }, ms);
    child.on('error', reject);
    child.on('close', code => {
      clearTimeout(timer);
      running.delete(child);
      resolve({ code, ...output });
    });
  });
}

export function stopCommands() {
  for (const [child, signal] of running) {
    child.kill(signal);
  }
}
