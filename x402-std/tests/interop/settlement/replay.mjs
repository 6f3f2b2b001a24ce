// node settlement/replay.mjs PATH_TO_x402|--official [GROUP] : sends the recorded /verify and /settle requests to a
// fresh facilitator on fresh chains, in order, and compares its reason codes with the recorded ones. Ours may differ
// only where `negative-differences.json` says why. Exit 0 if so.
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { isAddressEqual, recoverTypedDataAddress } from 'viem';

// The stored Solana transactions name the first blockhash. Set before the chains are loaded.
process.env.FIXED_BLOCKHASH = '1';
// Some of them ask for the compute units of the memo program that was there.
process.env.LITESVM_MEMO = '1';
const { up } = await import('../chains.mjs');
const { accounts, anvil, CHAIN_ID, EVM_KEYS, EXACT_PROXY, PERMIT2, publicClient, tokenAbi, USDC, walletOf } =
  await import('../lib/config.mjs');
const { transferTypes } = await import('../lib/buyers.mjs');
const { newFacilitator } = await import('../lib/facilitators.mjs');
const { evmLedger, svmLedger } = await import('../lib/ledgers.mjs');
const { codeOf, post } = await import('../lib/payments.mjs');
const { stopChildren } = await import('../lib/processes.mjs');
const svm = await import('../lib/setup-svm.mjs');

const VECTORS = fileURLToPath(new URL('../../../../x402-core/tests/vectors/negative', import.meta.url));
const DIFFERENCES = fileURLToPath(new URL('negative-differences.json', import.meta.url));
// A token that answers 1 to every call and emits nothing.
const SILENT_TOKEN = '0x00000000000000000000000000000000000FA4e0';
const SILENT_TOKEN_CODE = '0x600160005260206000f3';
// These need a facilitator with the options stored in the file.
const OPTIONAL_GROUPS = ['svm-exact-options'];

const readJson = file => JSON.parse(fs.readFileSync(file, 'utf8'));

/** The state in which the requests were recorded. */
async function prepareChains() {
  await up();
  const approval = { address: USDC, abi: tokenAbi, functionName: 'approve', args: [PERMIT2, 0n] };
  await publicClient.waitForTransactionReceipt({ hash: await walletOf('noApproval').writeContract(approval) });
  await anvil.setCode({ address: SILENT_TOKEN, bytecode: SILENT_TOKEN_CODE });
}

/** Some cases were recorded while the Permit2 proxy was missing from the chain. */
async function withoutProxy(action) {
  const code = await publicClient.getCode({ address: EXACT_PROXY });
  await anvil.setCode({ address: EXACT_PROXY, bytecode: '0x' });
  try {
    return await action();
  } finally {
    await anvil.setCode({ address: EXACT_PROXY, bytecode: code });
  }
}

// The recorded authorizations end in 2100. Ours takes none that ends so long after its offer's time-out.
const RECORDED_END = '4102444800';
const END = `${Math.floor(Date.now() / 1000) + 600}`;

/** The same request, with an authorization that ends soon, if it was signed by a test account. */
async function renewed(request) {
  const { payload } = request.paymentPayload ?? {};
  const { asset, extra } = request.paymentRequirements ?? {};
  const { authorization: message, signature } = payload ?? {};
  if (message?.validBefore !== RECORDED_END) {
    return request;
  }
  const names = [extra?.name, 'USDC', 'USD Coin'];
  for (const name of names) {
    const domain = { name, version: extra?.version ?? '2', chainId: CHAIN_ID, verifyingContract: asset };
    const typed = { domain, types: transferTypes, primaryType: 'TransferWithAuthorization' };
    const signer = await recoverTypedDataAddress({ ...typed, message, signature }).catch(() => undefined);
    const account = signer && Object.values(accounts).find(({ address }) => isAddressEqual(address, signer));
    if (account) {
      const authorization = { ...message, validBefore: END };
      const again = await account.signTypedData({ ...typed, message: authorization });
      const paymentPayload = { ...request.paymentPayload, payload: { ...payload, authorization, signature: again } };
      return { ...request, paymentPayload };
    }
  }
  return request;
}

const balances = async () =>
  [...(await evmLedger().balances()), ...(await svmLedger(svm.USDC).balances())].map(String).join();

function reasonOf({ status, isValid, success, invalidReason, errorReason, error, text, lost }) {
  const reason = codeOf(invalidReason ?? errorReason);
  if (reason) {
    return reason;
  }
  return isValid === true || success === true ? 'VALID' : `HTTP${status}: ${error ?? text ?? lost ?? ''}`;
}

/** What ours answers to a case instead of the recorded reason, and why: for the case, or for its group. */
function differenceOf(differences, file) {
  const name = file.replace(/\.json$/, '');
  return differences[name] ?? differences[path.dirname(name)];
}

async function replay(facilitator, differences, group) {
  const { cases } = readJson(path.join(VECTORS, '_index.json'));
  const wanted = cases.filter(vector => (group ? vector.group === group : !OPTIONAL_GROUPS.includes(vector.group)));
  const skipped = group ? [] : OPTIONAL_GROUPS;
  const count = { same: 0, argued: 0, wrong: 0 };
  const used = new Set();
  for (const { name, file } of wanted) {
    const vector = readJson(path.join(VECTORS, file));
    const request = binary ? await renewed(vector.request) : vector.request;
    const call = () => post(facilitator.url + vector.endpoint, JSON.stringify(request));
    const before = await balances();
    const answer = name.startsWith('proxy-not-deployed') ? await withoutProxy(call) : await call();
    const hasMoved = (await balances()) !== before;
    const stored = vector.expectedReason.startsWith('HTTP') ? vector.expectedReason : codeOf(vector.expectedReason);
    const got = reasonOf(answer);
    const difference = differenceOf(differences, file);
    // Nothing may be used of what `upto` authorises: then there is no transaction.
    const isSettled = vector.endpoint === '/settle' && got === 'VALID' && answer.transaction !== '';
    const say = (kind, text) => {
      count[kind] += 1;
      console.log(`${kind.padEnd(7)}${file.replace('.json', '')}: ${text}`);
    };
    if (hasMoved !== isSettled) {
      say('wrong', `${got}, and ${hasMoved ? 'the money moved' : 'nothing moved'}`);
    } else if (got !== (difference?.ours ?? stored)) {
      say('wrong', `recorded ${stored}, got ${got}${difference ? ` instead of ${difference.ours}` : ''}`);
    } else if (got === stored) {
      say('same', got);
    } else {
      used.add(difference);
      say('argued', `recorded ${stored}, got ${got}`);
    }
  }
  for (const [name, difference] of Object.entries(differences)) {
    if (!group && !used.has(difference)) {
      count.wrong += 1;
      console.log(`wrong  ${name}: is in negative-differences.json, and does not differ`);
    }
  }
  for (const name of skipped) {
    console.log(`skipped ${name}: needs other options of the facilitator`);
  }
  console.log(`${count.same} same, ${count.argued} argued, ${count.wrong} wrong`);
  return count.wrong === 0;
}

const [what, group] = process.argv.slice(2);
if (!what) {
  console.error('usage: node settlement/replay.mjs PATH_TO_x402|--official [GROUP]');
  process.exit(2);
}
const binary = what === '--official' ? undefined : path.resolve(what);
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
  process.once(signal, async () => {
    await stopChildren();
    process.exit(1);
  });
}
let isRight = false;
try {
  await prepareChains();
  // Some of what was recorded is about tokens that are none, and one payment takes the dearest fee that is allowed.
  const settings = { accept: { assets: ['any'] }, svm: { max_fee_lamports: 110_000 } };
  // The recorded payments name it.
  const facilitator = newFacilitator(binary, 'replay', { evmKeys: [EVM_KEYS.facilitator], ...settings });
  await facilitator.start();
  isRight = await replay(facilitator, binary ? readJson(DIFFERENCES) : {}, group);
} finally {
  await stopChildren();
}
process.exit(isRight ? 0 : 1);
