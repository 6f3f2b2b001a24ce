// What a case checks, whoever pays.
import assert from 'node:assert/strict';

/** `ms` is how long it may take, if that is longer than usual. */
export const testCase = (name, uses, run, ms) => ({ name, uses, run, ms });

export const isRoute = path => body => body?.ok === true && body.route === path;
export const isData = body => body?.data !== undefined;
export const toBase64 = text => Buffer.from(text).toString('base64');
export const fromBase64Json = text => JSON.parse(Buffer.from(text, 'base64').toString());
export const told = ({ code, text }) => `exit ${code}, ${text.trim().slice(0, 1000)}`;

/** The client is served what `isResource` expects, the receipt is true, and exactly `amount` went to payTo. */
export async function settles(ledger, amount, pay, isResource) {
  const { result, moved } = await watched(ledger, pay);
  assert.ok(result.served, told(result));
  assert.deepEqual(moved, [amount, -amount], 'what payTo and the payer got');
  assert.ok(isResource(result.body), `not the resource: ${JSON.stringify(result.body)}`);
  assert.equal(result.receipt?.success, true, `no receipt of success: ${told(result)}`);
  return ledger.check(result.receipt.transaction);
}

/** The client is not served, and neither side's balance moves. */
export async function refuses(ledger, pay) {
  const { result, moved } = await watched(ledger, pay);
  assert.ok(!result.served, `served: ${told(result)}`);
  assert.deepEqual(moved, [0n, 0n], 'a balance moved');
  return result;
}

/** Runs `pay`; tells its result and by how much each balance changed. */
export async function watched(ledger, pay) {
  const before = await ledger.balances();
  const result = await pay();
  const after = await ledger.balances();
  return { result, moved: after.map((balance, index) => balance - before[index]) };
}
