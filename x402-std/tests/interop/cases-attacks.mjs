// What somebody, or bad luck, has done to the seller and the facilitator: as cases.mjs. See attacks/.
import { hangsUp, killedUnheard, killedUntold, readsHalf, terminated } from './attacks/answers.mjs';
import { testCase } from './lib/checks.mjs';

export const attackCases = binary =>
  [
    testCase('an answer lost: the buyer hangs up', ['chains'], () => hangsUp(binary)),
    testCase('an answer lost: half of the body', ['chains'], () => readsHalf(binary)),
    testCase('an answer lost: kill -9 before the shop heard', ['chains'], () => killedUnheard(binary)),
    testCase('an answer lost: kill -9 after it heard', ['chains'], () => killedUntold(binary)),
    testCase('an answer lost: SIGTERM', ['chains'], () => terminated(binary)),
  ].map(each => ({ ...each, name: `attack: ${each.name}` }));
