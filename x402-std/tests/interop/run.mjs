// node run.mjs PATH_TO_x402 [TEXT] : plays the x402 command against the official SDKs, case by case.
// node run.mjs --self-test [TEXT]  : the same with official parts only.
// node run.mjs --stop              : stops what a killed run left behind.
// TEXT: only the cases whose name has a match of this regular expression; with `!` before it, the others.
import fs from 'node:fs';
import path from 'node:path';
import { installIfMissing } from './lib/install.mjs';

const CASE_MS = 90_000;
const LOG_LINES = 40;

const [what, wanted = ''] = process.argv.slice(2);
const others = wanted.startsWith('!');
const text = new RegExp(others ? wanted.slice(1) : wanted);
if (!what) {
  console.error('usage: node run.mjs PATH_TO_x402|--self-test|--stop [TEXT]');
  process.exit(2);
}
const binary = what.startsWith('--') ? undefined : path.resolve(what);
if (binary && !fs.existsSync(binary)) {
  console.error(`${binary} does not exist`);
  process.exit(2);
}

installIfMissing();
// Only now: these import the installed packages.
const { logOf, stopChildren, stopLeftovers } = await import('./lib/processes.mjs');
const { stopCommands } = await import('./lib/clients.mjs');
const { servicesFor } = await import('./lib/services.mjs');
const { casesFor } = await import('./cases.mjs');
const { mcpCases } = await import('./cases-mcp.mjs');
const { attackCases } = await import('./cases-attacks.mjs');
const { browserCases, browserService } = await import('./cases-browser.mjs');

if (what === '--stop') {
  await stopLeftovers();
  process.exit(0);
}

let interrupted = false;
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
  process.once(signal, async () => {
    interrupted = true;
    stopCommands();
    await browserService.stop();
    await stopChildren();
    process.exit(1);
  });
}

const attacks = binary ? [...attackCases(binary), ...browserCases(binary)] : [];
const cases = [...casesFor(binary), ...mcpCases(binary), ...attacks].filter(({ name }) => text.test(name) !== others);
const services = await servicesFor(binary, { browser: browserService });

const begun = new Map();

/** Runs one case, and with it all that may run `beside` it, which mostly wait. */
function begin(testCase) {
  const isBeside = other => other === testCase || (other.beside && other.beside === testCase.beside);
  for (const other of begun.has(testCase) ? [] : cases.filter(isBeside)) {
    const { uses, run, ms = CASE_MS } = other;
    const playing = withTimeout(Promise.all(['chains', ...uses].map(services.get)).then(run), ms);
    // Whoever comes to it is told.
    playing.catch(() => {});
    begun.set(other, playing);
  }
  return begun.get(testCase);
}

/** Plays one case; returns whether it passed. */
async function play(testCase) {
  const { name, uses } = testCase;
  try {
    const note = await begin(testCase);
    console.log(typeof note === 'string' ? `ok ${name}: ${note}` : `ok ${name}`);
    return true;
  } catch (error) {
    if (interrupted) {
      return false;
    }
    console.log(`FAIL ${name}: ${error.message.replaceAll('\n', '\n  ')}`);
    for (const service of uses) {
      showLog(services.addressOf(service));
    }
    return false;
  }
}

async function withTimeout(promise, ms) {
  let timer;
  const late = new Promise((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`not finished after ${ms / 1000} s`)), ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

function showLog(address) {
  const file = logOf(address);
  if (!fs.existsSync(file)) {
    return;
  }
  console.log(`  log: ${file}`);
  const lines = fs.readFileSync(file, 'utf8').trimEnd().split('\n');
  console.log(lines.slice(-LOG_LINES).map(line => `  | ${line}`).join('\n'));
}

let passed = 0;
let failed = 0;
try {
  // All at once: loading the SDKs is most of the waiting. A case waits for the ones it uses.
  for (const service of new Set(cases.flatMap(({ uses }) => uses))) {
    services.get(service).catch(() => {});
  }
  for (const testCase of cases) {
    if (interrupted) {
      break;
    }
    if (await play(testCase)) {
      passed += 1;
    } else {
      failed += 1;
    }
  }
} finally {
  stopCommands();
  await browserService.stop();
  await stopChildren();
}
console.log(`took ${Math.round(performance.now() / 1000)} s`);
console.log(`${passed} passed, ${failed} failed`);
process.exit(passed > 0 && failed === 0 ? 0 : 1);
