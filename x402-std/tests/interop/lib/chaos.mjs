// The misfortunes that calls to a node meet, drawn from a seed.
import { createHash } from 'node:crypto';
import {
  decodeFunctionData,
  encodeAbiParameters,
  encodeEventTopics,
  keccak256,
  parseAbi,
  parseTransaction,
  toHex,
} from 'viem';
import { getBase58Decoder } from '@solana/kit';
import { publicClient } from './config.mjs';

/** The same numbers from 0 to 1 for the same seed (mulberry32). */
export function random(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

// Share of the transactions that a liar keeps to itself.
const TREACHEROUS = 0.25;

const signatureOf = wire => getBase58Decoder().decode(Buffer.from(wire, 'base64').subarray(1, 65));
const wait = ms => new Promise(resolve => setTimeout(resolve, ms));
const hex = (draw, length) => `0x${Array.from({ length }, () => Math.floor(draw() * 16).toString(16)).join('')}`;

/** What may happen to any call. Each is given `{ draw, proxy, params }`. */
const MISFORTUNES = {
  late: ({ draw }) => ({ before: wait(draw() * 800) }),
  'late answer': ({ draw }) => ({ after: wait(draw() * 800) }),
  overtaken: ({ proxy }) => ({ before: proxy.overtaken(1_000) }),
  'answer overtaken': ({ proxy }) => ({ after: proxy.overtaken(1_000) }),
  lost: () => ({ cut: 'before' }),
  'answer lost': () => ({ cut: 'after' }),
  twice: () => ({ twice: true }),
  'done, with an error': () => ({ error: { code: -32603, message: 'internal error' } }),
  429: () => ({ status: 429 }),
  500: () => ({ status: 500 }),
  truncated: () => ({ truncate: true }),
};

// ---- changes of a JSON-RPC answer

const lie = change => () => ({
  change: answer => (answer.result == null ? answer : { ...answer, result: change(answer.result) }),
});
const lieOfValue = change => lie(result => ({ ...result, value: change(result.value) }));
const none = lie(() => null);
const less = by =>
  lie(number =>
    typeof number === 'string' ? `0x${Math.max(0, Number(number) - by).toString(16)}` : Math.max(0, number - by),
  );
const accepted =
  result =>
  ({ params }) => ({ answer: result(params[0]) });
const refused = (code, message) => () => ({ error: { code, message } });
const statusOf = err => ({
  slot: 1,
  confirmations: null,
  err,
  status: err ? { Err: err } : { Ok: null },
  confirmationStatus: 'finalized',
});

/** Lies that somebody who asks one node only can see through, or outwait. */
const LIES = {
  eth_sendRawTransaction: {
    'accepted, not sent on': accepted(keccak256),
    'done, nonce too low': refused(-32000, 'nonce too low'),
    'done, underpriced': refused(-32000, 'replacement transaction underpriced'),
  },
  eth_getTransactionReceipt: {
    'no receipt': none,
    reverted: lie(receipt => ({ ...receipt, status: '0x0', logs: [] })),
    'no log': lie(receipt => ({ ...receipt, logs: [] })),
    'other hash': ({ draw }) => lie(receipt => ({ ...receipt, transactionHash: hex(draw, 64) }))(),
  },
  eth_getTransactionByHash: { 'no transaction': none },
  eth_blockNumber: { stale: less(5) },
  eth_getTransactionCount: { stale: less(1) },
  sendTransaction: {
    'accepted, not sent on': accepted(signatureOf),
    'done, known already': refused(
      -32002,
      'Transaction simulation failed: This transaction has already been processed',
    ),
  },
  getSignatureStatuses: { 'no status': lieOfValue(statuses => statuses.map(() => null)) },
  getTransaction: { 'no transaction': none },
  getBlockHeight: { stale: less(5) },
  getSlot: { stale: less(5) },
};

/** Lies that only another node shows up; see `treachery` too. */
const PERFECT_LIES = {
  getSignatureStatuses: {
    failed: lieOfValue(statuses => statuses.map(() => statusOf({ InstructionError: [2, { Custom: 1 }] }))),
  },
  isBlockhashValid: { expired: lieOfValue(() => false) },
  getBlockHeight: { ahead: lie(height => height + 1_000) },
};

const TRANSFER = 'address from, address to, uint256 value, uint256 validAfter, uint256 validBefore, bytes32 nonce';
const abi = parseAbi([
  `function transferWithAuthorization(${TRANSFER}, uint8 v, bytes32 r, bytes32 s)`,
  `function transferWithAuthorization(${TRANSFER}, bytes signature)`,
  'event Transfer(address indexed from, address indexed to, uint256 value)',
  'event AuthorizationUsed(address indexed authorizer, bytes32 indexed nonce)',
]);

/** The receipt of a settlement that did all it should, in the newest block, and was never mined. */
async function forgedReceipt(raw) {
  const { to, data } = parseTransaction(raw);
  const { args } = decodeFunctionData({ abi, data });
  const [from, payTo, value, , , nonce] = args;
  const newest = await publicClient.getBlock();
  const place = {
    blockHash: newest.hash,
    blockNumber: toHex(newest.number),
    transactionHash: keccak256(raw),
    transactionIndex: '0x0',
  };
  const log = (eventName, args, data, logIndex) => ({
    ...place,
    address: to,
    topics: encodeEventTopics({ abi, eventName, args }),
    data,
    logIndex,
    removed: false,
  });
  return {
    ...place,
    status: '0x1',
    type: '0x2',
    from,
    to,
    contractAddress: null,
    cumulativeGasUsed: '0x10000',
    gasUsed: '0x10000',
    effectiveGasPrice: '0x1',
    logsBloom: `0x${'0'.repeat(512)}`,
    logs: [
      log('AuthorizationUsed', { authorizer: from, nonce }, '0x', '0x0'),
      log('Transfer', { from, to: payTo }, encodeAbiParameters([{ type: 'uint256' }], [value]), '0x1'),
    ],
  };
}

const forgedTransaction = wire => ({
  slot: 1,
  blockTime: 1,
  version: 0,
  transaction: [wire, 'base64'],
  meta: { err: null, status: { Ok: null }, fee: 5000, preTokenBalances: [], postTokenBalances: [] },
});

/**
 * Some transactions it takes, never sends on, and shows as made ever after. It answers to a call about one of them; to
 * others with undefined.
 */
function treachery(draw) {
  const taken = new Map();
  const take = (id, wire) => {
    if (!taken.has(id)) {
      taken.set(id, draw() < TREACHEROUS ? wire : undefined);
    }
    return taken.get(id) && { answer: id };
  };
  const about = {
    eth_sendRawTransaction: ([raw]) => take(keccak256(raw), raw),
    eth_getTransactionReceipt: ([hash]) => taken.get(hash) && { answer: forgedReceipt(taken.get(hash)) },
    sendTransaction: ([wire]) => take(signatureOf(wire), wire),
    getSignatureStatuses: ([[signature]]) => taken.get(signature) && lieOfValue(() => [statusOf(null)])(),
    getTransaction: ([signature]) => taken.get(signature) && { answer: forgedTransaction(taken.get(signature)) },
  };
  return ({ method, params }) => about[method]?.(params);
}

/**
 * What happens to the calls that a proxy sees: to `share` of each method's, drawn from `seed`. With `isLiar`, some of
 * the answers are lies that only another node shows up. `met` counts what happened.
 */
export function schedule(seed, { share = 0.3, isLiar = false } = {}) {
  const draws = new Map();
  const met = new Map();
  const fates = method => [LIES, ...(isLiar ? [PERFECT_LIES] : [])].flatMap(lies => Object.entries(lies[method] ?? {}));

  const betrayed = isLiar ? treachery(random(seed)) : () => undefined;
  const count = what => met.set(what, (met.get(what) ?? 0) + 1);

  /** For the nth call of a method always the same. */
  function decide({ method, params }, proxy) {
    const forged = betrayed({ method, params });
    if (forged) {
      count(`${method}: forged`);
      return forged;
    }
    if (!draws.has(method)) {
      draws.set(method, random(seed ^ createHash('sha256').update(method).digest().readUInt32BE()));
    }
    const draw = draws.get(method);
    if (draw() >= share) {
      return undefined;
    }
    const specific = fates(method);
    const common = Object.entries(MISFORTUNES);
    const from = specific.length > 0 && draw() < 0.6 ? specific : common;
    const [name, fate] = from[Math.floor(draw() * from.length)];
    count(`${method}: ${name}`);
    return fate({ draw, proxy, params });
  }
  return { decide, met };
}
