// node chains.mjs up|down|reset : one anvil and one litesvm RPC server, ready to pay on.
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { accounts, anvil, CHAIN_ID, EVM_ACCOUNTS, EVM_RPC, HOST, PORTS, SVM_RPC, svmSigner, USDC } from './lib/config.mjs';
import { portIsTaken, start, stop } from './lib/processes.mjs';
import { setupEvm } from './lib/setup-evm.mjs';
import { setupSvm } from './lib/setup-svm.mjs';

const EVM = { name: 'anvil', port: PORTS.evm };
const SVM = { name: 'svm-rpc', port: PORTS.svm };

/** The platform's own binary: npm's wrapper would leave it running when the wrapper is stopped. */
export function anvilBinary() {
  const system = { linux: 'linux', darwin: 'darwin', win32: 'win32' }[process.platform];
  const machine = { x64: 'amd64', arm64: 'arm64' }[process.arch];
  const require = createRequire(import.meta.url);
  const root = path.dirname(require.resolve(`@foundry-rs/anvil-${system}-${machine}/package.json`));
  const binary = path.join(root, 'bin', 'anvil');
  return existsSync(binary) ? binary : `${binary}.exe`;
}

async function upEvm() {
  await start({
    ...EVM,
    command: anvilBinary(),
    args: ['--host', HOST, '--port', `${PORTS.evm}`, '--chain-id', `${CHAIN_ID}`, '--accounts', `${EVM_ACCOUNTS}`],
  });
  await setupEvm();
  // Until here each transaction was mined at once. From here a block comes every second, so that a
  // settlement has to be waited for, as on a real chain.
  await anvil.setIntervalMining({ interval: 1 });
}

async function upSvm() {
  await start({ ...SVM, command: process.execPath, args: ['svm-rpc.mjs'] });
  await setupSvm();
}

export async function up() {
  // Looked at first: chains that were up before are not ours to take down.
  for (const port of [PORTS.evm, PORTS.svm]) {
    if (await portIsTaken(port)) {
      throw new Error(`port ${port} is already in use; if these chains hold it: node chains.mjs down`);
    }
  }
  const results = await Promise.allSettled([upEvm(), upSvm()]);
  const failed = results.find(result => result.status === 'rejected');
  if (failed) {
    await down();
    throw failed.reason;
  }
}

export async function down() {
  await Promise.all([stop(EVM), stop(SVM)]);
}

async function reset() {
  await down();
  await up();
}

async function report() {
  console.log(`evm ${EVM_RPC} chain ${CHAIN_ID} token ${USDC}`);
  console.log(`  client ${accounts.client.address} payTo ${accounts.payTo.address}`);
  console.log(`svm ${SVM_RPC} solana devnet genesis`);
  console.log(`  client ${(await svmSigner('client')).address} payTo ${(await svmSigner('payTo')).address}`);
}

if (path.basename(process.argv[1]) === 'chains.mjs') {
  const action = { up, down, reset }[process.argv[2]];
  if (!action) {
    console.error('usage: node chains.mjs up|down|reset');
    process.exit(2);
  }
  try {
    await action();
  } catch (error) {
    console.error(error.message);
    process.exit(1);
  }
  if (action !== down) {
    await report();
  }
}
