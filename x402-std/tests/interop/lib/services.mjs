// The processes that stay up during a run: the chains, the official parts, and the x402 command.
import path from 'node:path';
import { up } from '../chains.mjs';
import { accounts, EVM_NETWORK, PORTS, urlOf } from './config.mjs';
import { PYTHON } from './install.mjs';
import { OUT, start } from './processes.mjs';

/** What passed through the recorder, one exchange a line. */
export const RECORD_FILE = path.join(OUT, `record-${PORTS.recorder}.jsonl`);

/** The services of a run of `binary`, or of a self-test when there is none. Each starts when first asked for. */
export function servicesFor(binary) {
  const definitions = {
    chains: { start: up },
    facilitator: node(['official-facilitator.mjs']),
    server: node(['official-server.mjs'], { FACILITATOR_URL: urlOf('facilitator') }, ['facilitator']),
    pyServer: pyServer('facilitator'),
    recorder: node(['record.mjs', urlOf(binary ? 'oursV2' : 'server'), RECORD_FILE]),
    ...(binary && ours(binary)),
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
  const offer = ['--pay-to', accounts.payTo.address, '--price', '$0.01', '--network', EVM_NETWORK];
  const serve = (name, ...options) => ({
    command,
    args: ['serve', ...offer, '--facilitator', urlOf('facilitator'), ...listen(name), ...options],
    needs: ['facilitator'],
  });
  const fund = `${accounts.client.address}=1000000`;
  return {
    oursV2: serve('oursV2'),
    oursV1: serve('oursV1', '--x402-version', '1'),
    oursProxy: serve('oursProxy', '--upstream', urlOf('upstream')),
    simulatedFacilitator: {
      command,
      args: ['facilitator', '--simulated', '--fund', fund, ...listen('simulatedFacilitator')],
    },
    simulatedServer: node(
      ['official-server.mjs'],
      { FACILITATOR_URL: urlOf('simulatedFacilitator'), ROUTES: '/evm/eip3009' },
      ['simulatedFacilitator'],
    ),
    simulatedPyServer: pyServer('simulatedFacilitator'),
  };
}

function node(args, env, needs) {
  return { command: process.execPath, args, env, needs };
}

function pyServer(facilitator) {
  return {
    command: PYTHON,
    args: ['py_server.py'],
    env: { FACILITATOR_URL: urlOf(facilitator), NETWORK: EVM_NETWORK, PAY_TO: accounts.payTo.address },
    needs: [facilitator],
  };
}
