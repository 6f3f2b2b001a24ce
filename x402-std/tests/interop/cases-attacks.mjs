// What somebody, or bad luck, has done to the seller and the facilitator: as cases.mjs. See attacks/.
import assert from 'node:assert/strict';
import { hangsUp, killedNowAndThen, killedUnheard, killedUntold, readsHalf, terminated } from './attacks/answers.mjs';
import { drops, goneStreams, heldStreams, missingBodies } from './attacks/crowds.mjs';
import { codeIsRefused, codeIsRemembered, overdraft, restartInSpike, shortAuthorizations } from './attacks/gas.mjs';
import { contradictions } from './attacks/lies.mjs';
import { lateChain, readiness } from './attacks/nodes.mjs';
import { killedUnsent, neverAnswered, oneOfThreeDies } from './attacks/pending.mjs';
import { busyForAWhile, endless, proofsNeedAStore } from './attacks/stores.mjs';
import { testCase } from './lib/checks.mjs';
import { command } from './lib/clients.mjs';
import { HOST, OFFSET, PORTS, SOAK_OFFSET } from './lib/config.mjs';
import { newSqlite } from './lib/facilitators.mjs';

export const attackCases = binary => [
  attack('an answer lost: the buyer hangs up', () => hangsUp(binary)),
  attack('an answer lost: the buyer hangs up, Solana', () => hangsUp(binary, 'svm')),
  attack('an answer lost: half of the body', () => readsHalf(binary, { closes: false })),
  attack('an answer lost: half of the body, Connection: close', () => readsHalf(binary, { closes: true })),
  attack('an answer lost: kill -9 before the shop heard', () => killedUnheard(binary)),
  attack('an answer lost: kill -9 after it heard', () => killedUntold(binary)),
  attack('an answer lost: kill -9 now and then', () => killedNowAndThen(binary)),
  attack('an answer lost: SIGTERM', () => terminated(binary)),
  ...beside(
    attack(
      'one of three dies, Redis',
      () => oneOfThreeDies(binary, { kind: 'redis', url: `redis://${HOST}:${PORTS.redis}` }),
      { uses: ['redis'] },
    ),
    attack('one of three dies, SQLite', () => oneOfThreeDies(binary, newSqlite(`three-${PORTS.evm}`))),
  ),
  ...beside(
    attack('killed between written down and sent', () => killedUnsent(binary, 'evm')),
    attack('killed between written down and sent, Solana', () => killedUnsent(binary, 'svm')),
    attack('a node that takes a transaction and never answers', () => neverAnswered(binary, { passes: true })),
    attack('a node that loses a transaction and never answers', () => neverAnswered(binary, { passes: false })),
    attack('authorizations that end before the next block', () => shortAuthorizations(binary)),
    attack('killed while gas gets dear', () => restartInSpike(binary), { ms: 150_000 }),
  ),
  attack('code that loops when paid for, refused', () => codeIsRefused(binary)),
  ...beside(
    attack('code that loops when paid for, EIP-7702', () => codeIsRemembered(binary, { delegated: true })),
    attack('code that loops when paid for, a wallet', () => codeIsRemembered(binary, { delegated: false })),
    attack('code that fails at random, EIP-7702', () =>
      codeIsRemembered(binary, { delegated: true, contract: 'Dice' }),
    ),
    attack('code that fails at random, a wallet', () =>
      codeIsRemembered(binary, { delegated: false, contract: 'Dice' }),
    ),
  ),
  attack('one cent, sixty payments', () => overdraft(binary)),
  attack('authorizations that never end', () => endless(binary)),
  attack('a facilitator that is busy for a while', () => busyForAWhile(binary)),
  attack('transfer proofs, and claims in memory', () => proofsNeedAStore(binary)),
  attack('a node that comes up as another chain', () => lateChain(binary)),
  attack('a sender without gas', () => readiness(binary)),
  attack('a success that contradicts itself', () => contradictions(binary, { claims: false })),
  attack('a success that contradicts itself, claims in a file', () => contradictions(binary, { claims: true })),
  attack('answers without an end, and nobody there', () => goneStreams(binary)),
  attack('answers without an end, held by one payer', () => heldStreams(binary)),
  attack('answers in small parts', () => drops(binary)),
  attack('bodies that never come', () => missingBodies(binary)),
  attack('soak for half a minute', () => soaked(binary), { ms: 150_000 }),
];

function attack(name, run, { uses = ['chains'], ms } = {}) {
  return testCase(`attack: ${name}`, uses, run, ms);
}

let groups = 0;
/** Those that mostly wait, and do not mind each other: they run at once. */
function beside(...cases) {
  groups += 1;
  return cases.map(each => ({ ...each, beside: `attack ${groups}` }));
}

/** On chains of its own. */
async function soaked(binary) {
  const env = { PORT_OFFSET: `${OFFSET + SOAK_OFFSET}` };
  const { code, stdout, stderr } = await command(process.execPath, ['soak.mjs', binary, '30'], env, {
    ms: 140_000,
    signal: 'SIGTERM',
  });
  assert.equal(code, 0, `${stdout.slice(-2_000)}${stderr}`);
  return stdout.trimEnd().split('\n').at(-1);
}
