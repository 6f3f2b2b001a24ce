// What somebody, or bad luck, has done to the seller and the facilitator: as cases.mjs. See attacks/.
import { hangsUp, killedUnheard, killedUntold, readsHalf, terminated } from './attacks/answers.mjs';
import { goneStreams, heldStreams, missingBodies } from './attacks/crowds.mjs';
import {
  codeIsRefused,
  codeIsRemembered,
  overdraft,
  restartInSpike,
  shortAuthorizations,
} from './attacks/gas.mjs';
import { contradictions } from './attacks/lies.mjs';
import { lateChain, readiness } from './attacks/nodes.mjs';
import { killedUnsent, neverAnswered, oneOfThreeDies } from './attacks/pending.mjs';
import { busyForAWhile, endless, proofsNeedAStore } from './attacks/stores.mjs';
import { testCase } from './lib/checks.mjs';
import { HOST, PORTS } from './lib/config.mjs';
import { newSqlite } from './lib/facilitators.mjs';

export const attackCases = binary =>
  [
    testCase('an answer lost: the buyer hangs up', ['chains'], () => hangsUp(binary)),
    testCase('an answer lost: half of the body', ['chains'], () => readsHalf(binary)),
    testCase('an answer lost: kill -9 before the shop heard', ['chains'], () => killedUnheard(binary)),
    testCase('an answer lost: kill -9 after it heard', ['chains'], () => killedUntold(binary)),
    testCase('an answer lost: SIGTERM', ['chains'], () => terminated(binary)),
    testCase('one of three dies, Redis', ['redis'], () =>
      oneOfThreeDies(binary, { kind: 'redis', url: `redis://${HOST}:${PORTS.redis}` }),
    ),
    testCase('one of three dies, SQLite', ['chains'], () => oneOfThreeDies(binary, newSqlite(`three-${PORTS.evm}`))),
    testCase('killed between written down and sent', ['chains'], () => killedUnsent(binary, 'evm')),
    testCase('killed between written down and sent, Solana', ['chains'], () => killedUnsent(binary, 'svm')),
    testCase('a node that takes a transaction and never answers', ['chains'], () =>
      neverAnswered(binary, { passes: true }),
    ),
    testCase('a node that loses a transaction and never answers', ['chains'], () =>
      neverAnswered(binary, { passes: false }),
    ),
    testCase('killed while gas gets dear', ['chains'], () => restartInSpike(binary), 150_000),
    testCase('code that loops when paid for, refused', ['chains'], () => codeIsRefused(binary)),
    testCase('code that loops when paid for, EIP-7702', ['chains'], () => codeIsRemembered(binary, { delegated: true })),
    testCase('code that loops when paid for, a wallet', ['chains'], () => codeIsRemembered(binary, { delegated: false })),
    testCase('one cent, sixty payments', ['chains'], () => overdraft(binary)),
    testCase('authorizations that end before the next block', ['chains'], () => shortAuthorizations(binary)),
    testCase('authorizations that never end', ['chains'], () => endless(binary)),
    testCase('a facilitator that is busy for a while', ['chains'], () => busyForAWhile(binary)),
    testCase('transfer proofs, and claims in memory', ['chains'], () => proofsNeedAStore(binary)),
    testCase('a node that comes up as another chain', ['chains'], () => lateChain(binary)),
    testCase('a sender without gas', ['chains'], () => readiness(binary)),
    testCase('a success that contradicts itself', ['chains'], () => contradictions(binary)),
    testCase('answers without an end, and nobody there', ['chains'], () => goneStreams(binary)),
    testCase('answers without an end, held by one payer', ['chains'], () => heldStreams(binary)),
    testCase('bodies that never come', ['chains'], () => missingBodies(binary)),
  ].map(each => ({ ...each, name: `attack: ${each.name}` }));
