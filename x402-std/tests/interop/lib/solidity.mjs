// Compiles contracts/*.sol with solc-js; the result is cached in out/ under the hash of the sources.
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { OUT, ROOT } from './processes.mjs';

export async function compileContracts() {
  const folder = path.join(ROOT, 'contracts');
  const sources = {};
  for (const file of fs.readdirSync(folder)) {
    sources[file] = { content: fs.readFileSync(path.join(folder, file), 'utf8') };
  }
  const input = {
    language: 'Solidity',
    sources,
    settings: {
      evmVersion: 'cancun',
      viaIR: true,
      optimizer: { enabled: true, runs: 200 },
      outputSelection: { '*': { '*': ['abi', 'evm.bytecode.object', 'evm.deployedBytecode.object'] } },
    },
  };
  const request = JSON.stringify(input);
  const hash = createHash('sha256').update(request).digest('hex').slice(0, 16);
  const cache = path.join(OUT, `contracts-${hash}.json`);
  if (!fs.existsSync(cache)) {
    fs.mkdirSync(OUT, { recursive: true });
    fs.writeFileSync(cache, JSON.stringify(await compile(request)));
  }
  return JSON.parse(fs.readFileSync(cache, 'utf8'));
}

async function compile(request) {
  const { default: solc } = await import('solc');
  const output = JSON.parse(solc.compile(request));
  const errors = (output.errors ?? []).filter(entry => entry.severity === 'error');
  if (errors.length > 0) {
    throw new Error(errors.map(entry => entry.formattedMessage).join('\n'));
  }
  const contracts = {};
  for (const file of Object.values(output.contracts)) {
    for (const [name, contract] of Object.entries(file)) {
      contracts[name] = {
        abi: contract.abi,
        bytecode: `0x${contract.evm.bytecode.object}`,
        runtime: `0x${contract.evm.deployedBytecode.object}`,
      };
    }
  }
  return contracts;
}
