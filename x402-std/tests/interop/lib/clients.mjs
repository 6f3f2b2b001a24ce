// The payers: each pays one URL and tells { served, code, text, body, receipt }.
import { spawn } from 'node:child_process';
import { EVM_KEYS } from './config.mjs';
import { PYTHON } from './install.mjs';
import { ROOT } from './processes.mjs';

const COMMAND_MS = 60_000;

const running = new Set();

/** `account` is a name in EVM_KEYS. */
export async function payWithTypeScript(url, { account = 'client', legacy = false } = {}) {
  const env = { EVM_ACCOUNT: account, LEGACY: legacy ? '1' : '0' };
  return officialResult(await command(process.execPath, ['official-client.mjs', url], env));
}

export async function payWithPython(url, { account = 'client' } = {}) {
  return officialResult(await command(PYTHON, ['py_client.py', url], { EVM_KEY: EVM_KEYS[account] }));
}

/** Pays with the command under test; `options` are added to its arguments. */
export async function payWithOurs(binary, url, { account = 'client', options = [] } = {}) {
  const { code, stdout, stderr } = await command(binary, ['pay', url, ...options], { X402_EVM_KEY: EVM_KEYS[account] });
  // Notes may stand before the receipt.
  const receipt = parse(stderr.slice(Math.max(0, stderr.search(/^\{/m))));
  return { served: code === 0, code, text: `${stdout}\n${stderr}`, body: parse(stdout), receipt };
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

function command(file, args, env) {
  return new Promise((resolve, reject) => {
    const child = spawn(file, args, { cwd: ROOT, env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
    const output = { stdout: '', stderr: '' };
    for (const stream of ['stdout', 'stderr']) {
      child[stream].setEncoding('utf8').on('data', chunk => {
        output[stream] += chunk;
      });
    }
    running.add(child);
    const timer = setTimeout(() => {
      output.stderr += `\nkilled after ${COMMAND_MS / 1000} s`;
      child.kill('SIGKILL');
    }, COMMAND_MS);
    child.on('error', reject);
    child.on('close', code => {
      clearTimeout(timer);
      running.delete(child);
      resolve({ code, ...output });
    });
  });
}

export function stopCommands() {
  for (const child of running) {
    child.kill('SIGKILL');
  }
}
