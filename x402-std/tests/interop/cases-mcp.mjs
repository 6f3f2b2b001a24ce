// The cases of tools of MCP servers that cost something: as cases.mjs.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { isRoute, refuses, settles, testCase, told, watched } from './lib/checks.mjs';
import { command } from './lib/clients.mjs';
import {
  accounts,
  EVM_KEYS,
  EVM_NETWORK,
  EVM_RPC,
  freePort,
  HOST,
  PORTS,
  SVM_NETWORK,
  SVM_NETWORK_V1,
  SVM_RPC,
  svmSecretKey,
  svmSigner,
  urlOf,
} from './lib/config.mjs';
import { newSqlite } from './lib/facilitators.mjs';
import { OUT } from './lib/processes.mjs';
import { PYTHON } from './lib/install.mjs';
import { evmLedger, svmLedger } from './lib/ledgers.mjs';
import { start } from './lib/processes.mjs';
import { USDC } from './lib/setup-svm.mjs';

const PRICE = 1_000n;
const RANDOM_MEMO = /^[0-9a-f]{32}$/;

const evm = evmLedger();
const svm = svmLedger(USDC, { memo: RANDOM_MEMO });
const svmPayTo = (await svmSigner('payTo')).address;

export function mcpCases(binary) {
  const cases = binary
    ? [...soldByOurs(binary), ...boughtByOurs(binary), ...agentCases(binary)]
    : [...onBoth('Python client -> Python server', ['facilitator'], callWithPython, () => pythonServer('facilitator'))];
  return cases.map(each => ({ ...each, name: `MCP: ${each.name}` }));
}

/** The weather, for the price, on either chain. */
function onBoth(name, uses, call, server) {
  const on = (chain, ledger, settings) =>
    testCase(`${name}, ${chain}`, uses, async () => {
      const where = await server();
      return settles(ledger, PRICE, () => call(where, settings), isWeather);
    });
  return [on('EVM', evm, { svm: null }), on('Solana', svm, { evm: null })];
}

function soldByOurs(binary) {
  const front = (facilitator, upstream) => () => gateway(binary, facilitator, upstream);
  const server = front('facilitator', () => inWords(PYTHON, 'py_mcp_server.py'));
  const uses = ['facilitator'];
  const overStdio = () => [binary, ...gatewayArgs('facilitator', inWords(PYTHON, 'py_mcp_server.py'))];
  return [
    ...onBoth('Python client -> ours in front of a command', uses, callWithPython, server),
    ...onBoth('Python client -> ours over stdio', uses, callWithPython, overStdio),
    ...onBoth(
      'Python client -> ours in front of a URL, our facilitator',
      ['ourFacilitator'],
      callWithPython,
      front('ourFacilitator', freeServer),
    ),
    ...onBoth('ours -> ours in front of a command', uses, (...call) => callWithOurs(binary, ...call), server),
    testCase('Python client -> ours, payment shown twice', uses, async () => {
      const where = await server();
      const { result, moved } = await watched(evm, () => callWithPython(where, { svm: null, again: true }));
      assert.deepEqual(moved, [PRICE, -PRICE], `paid once: ${told(result)}`);
      assert.ok(isWeather(result.body), told(result));
      isChallenge(result.body.again, /^duplicate_settlement$/);
    }),
    testCase('Python client -> ours, no money', uses, async () => {
      const where = await server();
      const result = await refuses(evmLedger('poor'), () => callWithPython(where, { evm: 'poor', svm: null }));
      assert.equal(result.body?.paid, true, told(result));
      isChallenge(result.body, /insufficient_balance/);
    }),
    testCase('Python client -> ours, facilitator falls silent', ['forgetful'], async () => {
      const where = await gateway(binary, 'forgetful', () => inWords(PYTHON, 'py_mcp_server.py'));
      const { result, moved } = await watched(evm, () => callWithPython(where, { svm: null, again: true }));
      assert.deepEqual(moved, [PRICE, -PRICE], `paid once: ${told(result)}`);
      for (const answer of [result.body, result.body.again]) {
        isChallenge(answer, /^unknown_settlement_error$/);
      }
    }),
    testCase('Python client -> ours, a tool that fails', uses, async () => {
      const where = await server();
      await failsFree(() => callWithPython(where, { svm: null, tool: 'fails', input: {} }));
    }),
    testCase('Python client -> ours, a free tool', uses, async () => {
      const where = await server();
      const { result, moved } = await watched(evm, () => callWithPython(where, { tool: 'ping', input: {} }));
      assert.deepEqual(moved, [0n, 0n]);
      assert.deepEqual([result.served, result.body?.paid, result.body?.texts], [true, false, ['pong']], told(result));
      assert.deepEqual(result.body.tools.toSorted(), ['fails', 'get_weather', 'ping']);
    }),
  ];
}

function boughtByOurs(binary) {
  const call = (where, settings) => callWithOurs(binary, where, settings);
  const server = () => pythonServer('facilitator');
  const uses = ['facilitator'];
  return [
    ...onBoth('ours -> Python server', uses, call, server),
    ...onBoth('ours -> Python server, our facilitator', ['ourFacilitator'], call, () => pythonServer('ourFacilitator')),
    testCase('ours -> Python server, no money', uses, async () => {
      const where = await server();
      const result = await refuses(evmLedger('poor'), () => call(where, { evm: 'poor', svm: null }));
      assert.match(result.body?.error ?? '', /insufficient[ _]balance/i, told(result));
      assert.equal(result.body.paid, true, told(result));
    }),
    testCase('ours -> Python server, above a dollar', uses, async () => {
      const where = await pythonServer('facilitator', '$1.01');
      const result = await refuses(evm, () => call(where, { svm: null }));
      assert.match(result.body?.error ?? '', /declined/, told(result));
      assert.equal(result.body.paid, false, told(result));
    }),
    testCase('ours -> Python server, a tool that fails', uses, async () => {
      const where = await server();
      await failsFree(() => call(where, { svm: null, tool: 'fails', input: {} }));
    }),
    testCase('ours -> Python server, a free tool', uses, async () => {
      const where = await server();
      const { result, moved } = await watched(evm, () => call(where, { tool: 'ping', input: {} }));
      assert.deepEqual(moved, [0n, 0n]);
      assert.deepEqual([result.served, result.body?.paid, result.body?.texts], [true, false, ['pong']], told(result));
    }),
  ];
}

/** What `x402 mcp` buys for a model. */
function agentCases(binary) {
  const buys = (chain, ledger, amount, route, settings) =>
    testCase(`agent -> official server, ${chain}`, ['facilitator', 'server'], () => {
      const ask = agent(binary, settings);
      return settles(ledger, amount, () => ask('x402_call', { url: urlOf('server') + route }), isRoute(route));
    });
  return [
    buys('EVM', evm, 10_000n, '/evm/eip3009', { svm: null }),
    buys('Solana', svm, PRICE, '/svm/exact', { evm: null }),
    testCase('agent -> official server, over the limit', ['facilitator', 'server'], async () => {
      const ask = agent(binary, { svm: null, options: ['--limit', '$0.019'] });
      const call = id => ask('x402_call', { url: `${urlOf('server')}/evm/eip3009`, id });
      await settles(evm, 10_000n, () => call('first'), isRoute('/evm/eip3009'));
      // Another process, and the same budget.
      assert.equal((await refuses(evm, () => call('second'))).told?.error, 'over_budget');
      const { told: history } = await ask('x402_history', {});
      assert.deepEqual(history.purchases.map(({ id, state }) => [id, state]), [['first', 'paid']]);
    }),
    testCase('agent -> official server without a blockhash, as README configures it', ['facilitator', 'server'], async () => {
      const ask = await agentOfReadme(binary);
      const url = `${urlOf('server')}/svm/exact`;
      const { told: quote } = await ask('x402_quote', { url });
      assert.equal(quote?.fits, true, JSON.stringify(quote));
      const { told: budget } = await ask('x402_budget', {});
      assert.deepEqual(budget.balances.map(({ network }) => network).sort(), [EVM_NETWORK, SVM_NETWORK], JSON.stringify(budget));
      return settles(svm, PRICE, () => ask('x402_call', { url }), isRoute('/svm/exact'));
    }),
    testCase('agent -> official server, the first offer that it can afford', ['facilitator', 'server'], async () => {
      const ask = agent(binary, { svm: 'poor', env: { X402_EVM_RPC: EVM_RPC } });
      const url = `${urlOf('server')}/multi`;
      const { told: quote } = await ask('x402_quote', { url });
      assert.equal(quote?.price?.network, EVM_NETWORK, JSON.stringify(quote));
      return settles(evm, 10_000n, () => ask('x402_call', { url }), isRoute('/multi'));
    }),
    testCase('agent -> official server, an empty wallet', ['facilitator', 'server'], async () => {
      const ask = agent(binary, { evm: 'poor', svm: null, env: { X402_EVM_RPC: EVM_RPC } });
      const url = `${urlOf('server')}/evm/eip3009`;
      const { told: quote } = await ask('x402_quote', { url });
      assert.deepEqual([quote?.fits, quote?.declined?.error], [false, 'not_enough_money'], JSON.stringify(quote));
      const { told } = await refuses(evmLedger('poor'), () => ask('x402_call', { url }));
      assert.deepEqual([told?.error, told?.retry], ['not_enough_money', 'never'], JSON.stringify(told));
      const { told: budget } = await ask('x402_budget', {});
      assert.ok(budget.limits.every(({ spent }) => /^\$0\.?0*$/.test(spent)), JSON.stringify(budget));
    }),
    ...[['Solana', { evm: null }], ['EVM', { svm: null }], ['both keys', {}]].map(([keys, settings]) =>
      testCase(`agent -> stand-in of 1ly's store, ${keys}`, [], async () =>
        buysAtOneLy(binary, await oneLy(binary, keys), settings))),
    testCase('agent -> weather API of the guide of Sei', ['facilitator'], async () => {
      const url = await guideServer(binary);
      const isGuide = body => body?.location === 'Lisbon' && body.conditions === 'Sunny';
      const ask = agent(binary, { svm: null });
      assert.equal((await ask('x402_quote', { url })).told?.price?.units, `${PRICE}`);
      return settles(evm, PRICE, () => ask('x402_call', { url }), isGuide);
    }),
  ];
}

/** Looks for the weather in both kinds of listing, buys it once, reviews it once. */
async function buysAtOneLy(binary, store, settings) {
  const weather = `${store}/api/link/joe/weather`;
  const stats = async () => {
    const { results } = await (await fetch(`${store}/api/discover?q=lisbon+now`)).json();
    return results[0].stats;
  };
  assert.deepEqual(await stats(), { buyers: 0, reviews: 0, rating: null });
  for (const place of [`1ly:${store}`, store]) {
    const { told: found } = await agent(binary, { ...settings, options: ['--discover', place] })('x402_discover', {
      query: 'weather',
    });
    assert.ok(found?.results?.some(({ url }) => url === weather), `${place}: ${JSON.stringify(found)}`);
  }

  const ask = agent(binary, { ...settings, options: ['--discover', `1ly:${store}`] });
  // What its listing says is a hundredth of a cent.
  const bargain = { url: `${store}/api/link/mallory/bargain`, maxPrice: '$0.001' };
  assert.equal((await ask('x402_call', bargain)).told?.error, 'over_max');
  const { told: bought, text } = await ask('x402_call', { url: weather, id: 'weather' });
  assert.equal(bought?.receipt?.success, true, text);
  assert.deepEqual(bought.body.data, { city: 'Lisbon', celsius: 21 });
  const { purchaseId, reviewToken } = bought;
  assert.deepEqual(bought.body._1ly, { purchaseId, reviewToken });

  const review = token => ask('x402_review', { purchaseId, reviewToken: token, positive: true, comment: 'sunny' });
  assert.equal((await review('guessed')).told?.status, 401);
  assert.equal((await review(reviewToken)).told?.reviewed, true);
  assert.equal((await review(reviewToken)).told?.status, 409);
  assert.deepEqual(await stats(), { buyers: 1, reviews: 1, rating: 100 });
}

// ---- what is checked

function isWeather(body) {
  const [text] = body?.texts ?? [];
  return body?.paid === true && body.texts.length === 1 && text === '{"city": "Lisbon", "weather": "sunny"}';
}

/** A result that asks for payment, says why, and has nothing else in it. The tool has a schema, so it is text alone. */
function isChallenge({ isError, structured, texts, meta }, why) {
  assert.equal(isError, true);
  assert.equal(texts.length, 1);
  assert.equal(structured ?? null, null);
  const challenge = JSON.parse(texts[0]);
  assert.match(challenge.error ?? '', why);
  assert.deepEqual([challenge.x402Version, challenge.accepts.length], [2, 2]);
  assert.ok(!JSON.stringify(meta ?? {}).includes('sunny'));
}

/** The tool's own error comes through, and costs nothing. */
async function failsFree(call) {
  const result = await refuses(evm, call);
  assert.deepEqual([result.body?.isError, result.body?.paid], [true, true], told(result));
  assert.match(result.body.texts[0], /it always does/);
  assert.equal(result.body.receipt ?? null, null, told(result));
}

// ---- who calls: each tells { served, code, text, body, receipt }, where body has { texts, paid, isError, … }

async function callWithPython(where, { evm = 'client', svm = 'client', tool, input, again = false } = {}) {
  const env = {
    EVM_KEY: evm ? EVM_KEYS[evm] : '',
    SVM_KEY: svm ? await svmSecretKey(svm) : '',
    SVM_RPC,
    AGAIN: again ? '1' : '0',
  };
  return ended(await command(PYTHON, ['py_mcp_client.py', ...asked(tool, input), ...[where].flat()], env));
}

/** An example, which is built beside the command. */
function example(binary, name) {
  const file = path.join(path.dirname(binary), 'examples', name);
  assert.ok(fs.existsSync(file), `${file} is not built: cargo build -p x402-std --features cli --example ${name}`);
  return file;
}

/** With the example `mcp_buyer`. */
async function callWithOurs(binary, where, { evm = 'client', svm = 'client', tool, input } = {}) {
  const buyer = example(binary, 'mcp_buyer');
  const env = { X402_SVM_RPC: SVM_RPC };
  if (evm) {
    env.X402_EVM_KEY = EVM_KEYS[evm];
  }
  if (svm) {
    env.X402_SVM_KEY = await svmSecretKey(svm);
  }
  const result = ended(await command(buyer, [where, ...asked(tool, input)], env));
  const texts = result.body?.content?.filter(({ type }) => type === 'text').map(({ text }) => text);
  return { ...result, body: { ...result.body, texts } };
}

let budgets = 0;

/** Asks `x402 mcp` with a budget of its own: each question is another process. Tells what was bought, and `told`. */
function agent(binary, { evm = 'client', svm = 'client', options = [], env: more = {} } = {}) {
  const { path: budget } = newSqlite(`budget-${budgets++}-${PORTS.server}`);
  return async (tool, input) => {
    const env = {
      X402_SVM_RPC: SVM_RPC,
      ...(evm && { X402_EVM_KEY: EVM_KEYS[evm] }),
      ...(svm && { X402_SVM_KEY: await svmSecretKey(svm) }),
      ...more,
    };
    // Servers of this machine are asked if they are named.
    const urls = [input.url, ...options.map(option => option.replace(/^1ly:/, ''))].filter(text => URL.canParse(text));
    const hosts = urls.flatMap(url => ['--host', new URL(url).host]);
    const started = [binary, 'mcp', '--budget', budget, ...options, ...hosts];
    const result = ended(await command(PYTHON, ['py_mcp_client.py', ...asked(tool, input), ...started], env));
    const told = result.body?.structured;
    const secrets = [EVM_KEYS.client.slice(2), await svmSecretKey('client'), '"authorization"'];
    assert.ok(!secrets.some(secret => result.text.includes(secret)), 'a key or a payment is told');
    return { ...result, told, body: told?.body, receipt: told?.receipt };
  };
}

/** With the arguments and variables of README's configuration, where files and nodes are those of here. */
async function agentOfReadme(binary) {
  const readme = fs.readFileSync(new URL('../../README.md', import.meta.url), 'utf8');
  const [, json] = readme.match(/```json\n(\{\s*"mcpServers"[^]*?)```/);
  const { x402 } = JSON.parse(json).mcpServers;
  const file = (name, text) => {
    const at = path.join(OUT, name);
    fs.rmSync(at, { force: true });
    fs.writeFileSync(at, text, { mode: 0o600 });
    return at;
  };
  const key = file('readme-evm.key', EVM_KEYS.client);
  const options = x402.args.slice(1).map((arg, at) => (x402.args[at] === '--key-file' ? key : arg));
  // Its own store is not asked.
  const discover = options.indexOf('--discover');
  options.splice(discover, discover < 0 ? 0 : 2);
  const env = { ...x402.env };
  assert.deepEqual(Object.keys(env).sort(), ['X402_EVM_RPC', 'X402_SVM_KEY', 'X402_SVM_RPC']);
  env.X402_SVM_KEY = file('readme-svm.key', await svmSecretKey('client'));
  Object.assign(env, { X402_EVM_RPC: EVM_RPC, X402_SVM_RPC: SVM_RPC });
  return agent(binary, { evm: null, svm: null, options, env });
}

const asked = (tool = 'get_weather', input = { city: 'Lisbon' }) => [tool, JSON.stringify(input)];

function ended({ code, stdout, stderr }) {
  const [line = ''] = stdout.trim().split('\n').slice(-1);
  let body;
  try {
    body = JSON.parse(line);
  } catch {
    // What it said instead is in the text.
  }
  return { served: code === 0, code, text: `${stdout}\n${stderr}`, body, receipt: body?.receipt };
}

// ---- who is called: servers that stay up until the end, each started by the first case that needs it

const servers = new Map();

/** The URL of a path of a server, `define` says how to start it. */
function shared(name, define, route = '/mcp') {
  if (!servers.has(name)) {
    const startIt = async () => {
      const port = freePort();
      await start({ name, port, ...(await define(port)) });
      return `http://${HOST}:${port}${route}`;
    };
    servers.set(name, startIt());
  }
  return servers.get(name);
}

const python = env => port => ({ command: PYTHON, args: ['py_mcp_server.py'], env: { ...env, PORT: `${port}` } });

const freeServer = () => shared('pyMcpFree', python({ FACILITATOR_URL: '' }));

const pythonServer = (facilitator, price = '$0.001') =>
  shared(
    `pyMcp-${facilitator}-${price.slice(1)}`,
    python({
      FACILITATOR_URL: urlOf(facilitator),
      PRICE: price,
      EVM_NETWORK,
      EVM_PAY_TO: accounts.payTo.address,
      SVM_NETWORK,
      SVM_PAY_TO: svmPayTo,
    }),
  );

/** `x402 mcp` over HTTP, in front of a URL or a command. */
const gateway = (binary, facilitator, upstream) =>
  shared(`oursMcp-${facilitator}`, async port => ({
    command: binary,
    args: [...gatewayArgs(facilitator, await upstream()), '--listen', `${HOST}:${port}`],
  }));

/** The example `one_ly`, which simulates its settlements. */
const oneLy = (binary, name) =>
  shared(
    `oneLy-${name.replace(' ', '-')}`,
    port => ({ command: example(binary, 'one_ly'), args: ['--listen', `${HOST}:${port}`] }),
    '',
  );

/** The example `sei_weather`, on the chain that is here. */
const guideServer = binary =>
  shared(
    'seiWeather',
    port => ({
      command: example(binary, 'sei_weather'),
      args: ['--network', EVM_NETWORK, '--pay-to', accounts.payTo.address, '--facilitator', urlOf('facilitator')].concat(
        ['--listen', `${HOST}:${port}`],
      ),
    }),
    '/weather',
  );

function gatewayArgs(facilitator, upstream) {
  const svm = ['--network', SVM_NETWORK_V1, '--pay-to', svmPayTo];
  const evm = ['--network', EVM_NETWORK, '--pay-to', accounts.payTo.address];
  const selling = ['--price', '$0.001', ...svm, ...evm, '--facilitator', urlOf(facilitator), '--free', 'ping'];
  return ['mcp', '--upstream', upstream, ...selling];
}

/** A command as `--upstream` reads it. */
const inWords = (...words) => words.map(word => `"${word}"`).join(' ');
