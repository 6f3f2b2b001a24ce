// A JSON-RPC server in front of litesvm: as much of the Solana RPC as x402 clients and facilitators use.
//   GENESIS          genesis hash to answer (default: devnet's)
//   FIXED_BLOCKHASH  1: keep the first blockhash, the same in every run, so that stored transactions stay valid
//   LITESVM_MEMO     1: keep litesvm's memo program
//   RPC_LOG          1: print every call
import http from 'node:http';
import { createRequire } from 'node:module';
import { FailedTransactionMetadata, LiteSVM } from 'litesvm';
import { HOST, MEMO_PROGRAM, PORTS, TOKEN_2022_PROGRAM, TOKEN_PROGRAM } from './lib/config.mjs';
import kit from './lib/litesvm-kit.mjs';
import { errorToJson } from './lib/svm-errors.mjs';

const GENESIS = process.env.GENESIS ?? 'EtWTRABZaYq6iMfeYKouRu166VU2xqa1wcaWoxPkrZBG';
const FIXED_BLOCKHASH = process.env.FIXED_BLOCKHASH === '1';
const RPC_LOG = process.env.RPC_LOG === '1';
const BLOCKHASH_WINDOW = 150;
const BLOCKHASH_AGE_MS = 2000;

const addressDecoder = kit.getAddressDecoder();
const messageDecoder = kit.getCompiledTransactionMessageDecoder();
const transactionDecoder = kit.getTransactionDecoder();
const toBase58 = bytes => kit.getBase58Decoder().decode(bytes);
const fromBase58 = text => new Uint8Array(kit.getBase58Encoder().encode(text));
const toBase64 = bytes => Buffer.from(bytes).toString('base64');
const fromBase64 = text => new Uint8Array(Buffer.from(text, 'base64'));

// ---- ledger state

// litesvm accepts only its latest blockhash: its check is off, and this window of 150 stands in for it.
const svm = new LiteSVM().withTransactionHistory(10_000n).withBlockhashCheck(false);

// At the memo program's address litesvm has a later one, which takes a hundredth of the compute units. What the
// clusters have there came with its first version.
function clustersMemoProgram() {
  const { LiteSvm } = createRequire(import.meta.url)('litesvm-0.1');
  return new LiteSvm().getAccount(kit.getAddressEncoder().encode(MEMO_PROGRAM)).data();
}
try {
  if (process.env.LITESVM_MEMO !== '1') {
    svm.addProgram(MEMO_PROGRAM, clustersMemoProgram());
  }
} catch (error) {
  console.error(`compute units are litesvm's: no memo program for this platform (${error.code ?? error})`);
}
const blockhashes = [svm.latestBlockhash()];
let blockhashTime = Date.now();

// Landed messages. A validator refuses a message it has seen; litesvm looks only at the signature.
const landed = new Set();
// signature -> what getSignatureStatuses and getTransaction answer
const statuses = new Map();

const slot = () => Number(svm.getClock().slot);
const inContext = value => ({ context: { apiVersion: '2.2.0', slot: slot() }, value });
const messageKey = transaction => toBase64(transaction.messageBytes);
const blockhashIsKnown = transaction =>
  blockhashes.includes(messageDecoder.decode(transaction.messageBytes).lifetimeToken);

/** One slot per transaction; the clock follows the wall clock. */
function nextSlot() {
  const clock = svm.getClock();
  clock.slot += 1n;
  clock.unixTimestamp = BigInt(Math.floor(Date.now() / 1000));
  svm.setClock(clock);
  if (!FIXED_BLOCKHASH) {
    nextBlockhash();
  }
}

function nextBlockhash() {
  svm.expireBlockhash();
  blockhashes.push(svm.latestBlockhash());
  if (blockhashes.length > BLOCKHASH_WINDOW) {
    blockhashes.shift();
  }
  blockhashTime = Date.now();
}

// ---- accounts

const readU64 = (data, offset) => new DataView(data.buffer, data.byteOffset).getBigUint64(offset, true);
const readAddress = (data, offset) => addressDecoder.decode(data.slice(offset, offset + 32));

function uiAmount(amount, decimals) {
  const number = Number(amount) / 10 ** decimals;
  return { amount: amount.toString(), decimals, uiAmount: number, uiAmountString: number.toString() };
}

/** The "jsonParsed" form of a mint or token account, or null for anything else. */
function parseTokenData(account) {
  const data = new Uint8Array(account.data);
  const program = { [TOKEN_PROGRAM]: 'spl-token', [TOKEN_2022_PROGRAM]: 'spl-token-2022' }[account.programAddress];
  if (!program) {
    return null;
  }
  const isMint = data.length === 82 || (data.length > 165 && data[165] === 1);
  if (isMint) {
    return { program, space: data.length, parsed: { type: 'mint', info: parseMint(data) } };
  }
  if (data.length >= 165) {
    return { program, space: data.length, parsed: { type: 'account', info: parseTokenAccount(data) } };
  }
  return null;
}

function parseMint(data) {
  return {
    mintAuthority: data[0] ? readAddress(data, 4) : null,
    supply: readU64(data, 36).toString(),
    decimals: data[44],
    isInitialized: data[45] === 1,
    freezeAuthority: data[46] ? readAddress(data, 50) : null,
  };
}

function parseTokenAccount(data) {
  const mint = readAddress(data, 0);
  const mintAccount = svm.getAccount(mint);
  const decimals = mintAccount.exists ? mintAccount.data[44] : 0;
  return {
    mint,
    owner: readAddress(data, 32),
    tokenAmount: uiAmount(readU64(data, 64), decimals),
    state: ['uninitialized', 'initialized', 'frozen'][data[108]],
    isNative: false,
  };
}

function encodeData(account, encoding, dataSlice) {
  let { data } = account;
  if (dataSlice) {
    data = data.slice(dataSlice.offset, dataSlice.offset + dataSlice.length);
  }
  if (encoding === 'jsonParsed') {
    return parseTokenData(account) ?? [toBase64(data), 'base64'];
  }
  if (encoding === 'binary') {
    return toBase58(data);
  }
  if (encoding === 'base58') {
    return [toBase58(data), 'base58'];
  }
  return [toBase64(data), 'base64'];
}

function accountJson(address, encoding, dataSlice) {
  const account = svm.getAccount(address);
  if (!account.exists) {
    return null;
  }
  return {
    lamports: Number(account.lamports),
    owner: account.programAddress,
    data: encodeData(account, encoding, dataSlice),
    executable: account.executable,
    rentEpoch: 0,
    space: Number(account.space),
  };
}

function matchesFilter(account, filter) {
  if (filter.dataSize !== undefined) {
    return account.data.length === filter.dataSize;
  }
  const { bytes, encoding, offset } = filter.memcmp;
  const wanted = encoding === 'base64' ? fromBase64(bytes) : fromBase58(bytes);
  const found = account.data.slice(offset, offset + wanted.length);
  return Buffer.from(found).equals(Buffer.from(wanted));
}

// ---- transactions

class RpcError extends Error {
  constructor(code, message, data) {
    super(message);
    this.code = code;
    this.data = data;
  }
}

function decodeTransaction(text, encoding = 'base58') {
  try {
    const bytes = encoding === 'base64' ? fromBase64(text) : fromBase58(text);
    return { bytes, transaction: transactionDecoder.decode(bytes) };
  } catch (error) {
    throw new RpcError(-32602, `failed to deserialize transaction: ${error.message}`);
  }
}

function execute(transaction, { sigVerify, simulate }) {
  svm.withSigverify(Boolean(sigVerify));
  try {
    return simulate ? svm.simulateTransaction(transaction) : svm.sendTransaction(transaction);
  } finally {
    svm.withSigverify(true);
  }
}

function innerInstructions(meta) {
  const lists = meta.innerInstructions().map((list, index) => ({
    index,
    instructions: list.map(inner => {
      const instruction = inner.instruction();
      return {
        programIdIndex: instruction.programIdIndex(),
        accounts: [...instruction.accounts()],
        data: toBase58(instruction.data()),
        stackHeight: inner.stackHeight(),
      };
    }),
  }));
  return lists.filter(list => list.instructions.length > 0);
}

/** Why the transaction would not even be tried, or null. */
function refusal(transaction, replaceRecentBlockhash) {
  if (landed.has(messageKey(transaction))) {
    return 'AlreadyProcessed';
  }
  if (!replaceRecentBlockhash && !blockhashIsKnown(transaction)) {
    return 'BlockhashNotFound';
  }
  return null;
}

function simulationResult(err, meta) {
  return {
    err,
    logs: meta?.logs() ?? [],
    accounts: null,
    unitsConsumed: Number(meta?.computeUnitsConsumed() ?? 0n),
    returnData: null,
    loadedAccountsDataSize: 0,
  };
}

function simulateTransaction([text, options = {}]) {
  const { transaction } = decodeTransaction(text, options.encoding);
  if (options.sigVerify && options.replaceRecentBlockhash) {
    throw new RpcError(-32602, 'sigVerify may not be used with replaceRecentBlockhash');
  }
  const refused = refusal(transaction, options.replaceRecentBlockhash);
  if (refused) {
    const value = simulationResult(refused);
    if (options.innerInstructions) {
      value.innerInstructions = null;
    }
    return inContext(value);
  }
  const result = execute(transaction, { sigVerify: options.sigVerify, simulate: true });
  const failed = result instanceof FailedTransactionMetadata;
  const value = simulationResult(failed ? errorToJson(result.err()) : null, result.meta());
  if (options.accounts && !failed) {
    const post = new Map(result.postAccounts().map(account => [account.address, account]));
    value.accounts = options.accounts.addresses.map(address => postAccountJson(post.get(address)));
  }
  if (options.innerInstructions) {
    value.innerInstructions = failed ? null : innerInstructions(result.meta());
  }
  return inContext(value);
}

function postAccountJson(account) {
  if (!account) {
    return null;
  }
  return {
    lamports: Number(account.lamports),
    owner: account.programAddress,
    data: [toBase64(account.data), 'base64'],
    executable: account.executable,
    rentEpoch: 0,
    space: account.data.length,
  };
}

function preflightError(err, meta, message = JSON.stringify(err)) {
  const { logs, accounts, unitsConsumed, returnData } = simulationResult(err, meta);
  const data = { err, logs, accounts, unitsConsumed, returnData, innerInstructions: null };
  return new RpcError(-32002, `Transaction simulation failed: ${message}`, data);
}

function sendTransaction([text, options = {}]) {
  const { bytes, transaction } = decodeTransaction(text, options.encoding);
  const [first] = Object.values(transaction.signatures);
  if (!first) {
    throw new RpcError(-32003, 'Transaction signature verification failure');
  }
  const signature = toBase58(first);
  const refused = refusal(transaction, false);
  if (refused) {
    if (options.skipPreflight) {
      return signature;
    }
    const texts = {
      AlreadyProcessed: 'This transaction has already been processed',
      BlockhashNotFound: 'Blockhash not found',
    };
    throw preflightError(refused, undefined, texts[refused]);
  }
  if (!options.skipPreflight) {
    const result = execute(transaction, { sigVerify: true, simulate: true });
    if (result instanceof FailedTransactionMetadata) {
      throw preflightError(errorToJson(result.err()), result.meta());
    }
  }
  const message = messageDecoder.decode(transaction.messageBytes);
  const before = tokenBalances(message);
  const result = execute(transaction, { sigVerify: true, simulate: false });
  const failed = result instanceof FailedTransactionMetadata;
  const err = failed ? errorToJson(result.err()) : null;
  // A validator drops a transaction that fails before its first instruction, and keeps no status for it.
  if (typeof err !== 'string') {
    const meta = failed ? result.meta() : result;
    landed.add(messageKey(transaction));
    statuses.set(signature, {
      slot: slot(),
      blockTime: Math.floor(Date.now() / 1000),
      err,
      wire: toBase64(bytes),
      version: message.version,
      tokenBalances: [before, tokenBalances(message)],
      logs: meta.logs(),
      inner: innerInstructions(meta),
      units: Number(meta.computeUnitsConsumed()),
    });
    nextSlot();
  }
  return signature;
}

/** The token accounts among the accounts that a message names, with what they have. */
function tokenBalances({ staticAccounts }) {
  return staticAccounts.flatMap((address, accountIndex) => {
    const account = svm.getAccount(address);
    const token = account.exists ? parseTokenData(account) : null;
    if (token?.parsed.type !== 'account') {
      return [];
    }
    const { mint, owner, tokenAmount } = token.parsed.info;
    return [{ accountIndex, mint, owner, programId: account.programAddress, uiTokenAmount: tokenAmount }];
  });
}

const resultStatus = err => (err ? { Err: err } : { Ok: null });

function signatureStatus(signature) {
  const entry = statuses.get(signature);
  if (!entry) {
    return null;
  }
  return {
    slot: entry.slot,
    confirmations: null,
    err: entry.err,
    status: resultStatus(entry.err),
    confirmationStatus: 'finalized',
  };
}

function getTransaction([signature]) {
  const entry = statuses.get(signature);
  if (!entry?.wire) {
    return null;
  }
  return {
    slot: entry.slot,
    blockTime: entry.blockTime,
    version: entry.version,
    transaction: [entry.wire, 'base64'],
    meta: {
      err: entry.err,
      status: resultStatus(entry.err),
      fee: 5000,
      preBalances: [],
      postBalances: [],
      preTokenBalances: entry.tokenBalances[0],
      postTokenBalances: entry.tokenBalances[1],
      innerInstructions: entry.inner,
      logMessages: entry.logs,
      computeUnitsConsumed: entry.units,
      loadedAddresses: { readonly: [], writable: [] },
    },
  };
}

function requestAirdrop([address, lamports]) {
  const result = svm.airdrop(address, BigInt(lamports));
  const signature = toBase58(result.signature ? result.signature() : result.meta().signature());
  statuses.set(signature, { slot: slot(), err: null });
  nextSlot();
  return signature;
}

// ---- RPC methods

function getLatestBlockhash() {
  if (!FIXED_BLOCKHASH && Date.now() - blockhashTime > BLOCKHASH_AGE_MS) {
    nextSlot();
  }
  return inContext({ blockhash: svm.latestBlockhash(), lastValidBlockHeight: slot() + BLOCKHASH_WINDOW });
}

function getEpochInfo() {
  return {
    absoluteSlot: slot(),
    blockHeight: slot(),
    epoch: 0,
    slotIndex: slot(),
    slotsInEpoch: 432_000,
    transactionCount: statuses.size,
  };
}

function getProgramAccounts([program, options = {}]) {
  return svm
    .getProgramAccounts(program)
    .filter(account => (options.filters ?? []).every(filter => matchesFilter(account, filter)))
    .map(({ address }) => ({ pubkey: address, account: accountJson(address, options.encoding ?? 'base64') }));
}

function getTokenAccountBalance([address]) {
  const account = svm.getAccount(address);
  const token = account.exists ? parseTokenData(account) : null;
  if (token?.parsed.type !== 'account') {
    throw new RpcError(-32602, 'Invalid param: could not find account');
  }
  return inContext(token.parsed.info.tokenAmount);
}

function getTokenSupply([mint]) {
  const account = svm.getAccount(mint);
  const token = account.exists ? parseTokenData(account) : null;
  if (token?.parsed.type !== 'mint') {
    throw new RpcError(-32602, 'Invalid param: could not find mint');
  }
  return inContext(uiAmount(BigInt(token.parsed.info.supply), token.parsed.info.decimals));
}

function getTokenAccountsByOwner([owner, filter, options = {}]) {
  const programs = filter.programId ? [filter.programId] : [TOKEN_PROGRAM, TOKEN_2022_PROGRAM];
  const found = programs.flatMap(program => svm.getProgramAccounts(program)).filter(account => {
    const token = parseTokenData(account);
    if (token?.parsed.type !== 'account' || token.parsed.info.owner !== owner) {
      return false;
    }
    return !filter.mint || token.parsed.info.mint === filter.mint;
  });
  return inContext(
    found.map(({ address }) => ({ pubkey: address, account: accountJson(address, options.encoding ?? 'base64') })),
  );
}

/** Test only: writes any account. */
function setAccount([address, { lamports, data, owner, executable }]) {
  svm.setAccount({
    address,
    lamports: BigInt(lamports),
    data: fromBase64(data),
    programAddress: owner,
    executable: Boolean(executable),
    space: 0n,
  });
  return true;
}

/** Test only: makes every blockhash given out so far unknown. */
function expireBlockhash() {
  blockhashes.length = 0;
  nextBlockhash();
  return svm.latestBlockhash();
}

const methods = {
  getAccountInfo: ([address, options = {}]) =>
    inContext(accountJson(address, options.encoding ?? 'base58', options.dataSlice)),
  getBalance: ([address]) => inContext(Number(svm.getBalance(address) ?? 0n)),
  getBlockHeight: slot,
  // A slot lasts until the next transaction; who asks finds a cluster that goes on.
  getBlockTime: () => Math.floor(Date.now() / 1000),
  getEpochInfo,
  getFeeForMessage: () => inContext(5000),
  getFirstAvailableBlock: () => 0,
  getGenesisHash: () => GENESIS,
  getHealth: () => 'ok',
  getIdentity: () => ({ identity: '11111111111111111111111111111111' }),
  getLatestBlockhash,
  getMinimumBalanceForRentExemption: ([size]) => Number(svm.minimumBalanceForRentExemption(BigInt(size))),
  getMultipleAccounts: ([addresses, options = {}]) =>
    inContext(addresses.map(address => accountJson(address, options.encoding ?? 'base64', options.dataSlice))),
  getProgramAccounts,
  getRecentPrioritizationFees: () => [{ slot: slot(), prioritizationFee: 0 }],
  getSignatureStatuses: ([signatures]) => inContext(signatures.map(signatureStatus)),
  getSignaturesForAddress: () => [],
  getSlot: slot,
  getTokenAccountBalance,
  getTokenAccountsByOwner,
  getTokenSupply,
  getTransaction,
  getVersion: () => ({ 'solana-core': '2.2.0', 'feature-set': 1 }),
  isBlockhashValid: ([blockhash]) => inContext(blockhashes.includes(blockhash)),
  requestAirdrop,
  sendTransaction,
  simulateTransaction,
  test_expireBlockhash: expireBlockhash,
  test_setAccount: setAccount,
};

// ---- HTTP

function answer({ id, method, params = [] }) {
  try {
    if (!Object.hasOwn(methods, method)) {
      throw new RpcError(-32601, `Method not found: ${method}`);
    }
    const result = methods[method](params);
    log(method, JSON.stringify(result)?.slice(0, 160));
    return { jsonrpc: '2.0', id, result };
  } catch (error) {
    log(method, 'error', error.message);
    return { jsonrpc: '2.0', id, error: { code: error.code ?? -32603, message: error.message, data: error.data } };
  }
}

function log(...parts) {
  if (RPC_LOG) {
    console.log(...parts);
  }
}

const server = http.createServer(async (request, response) => {
  // Pages in browsers ask too.
  response.setHeader('access-control-allow-origin', '*');
  response.setHeader('access-control-allow-headers', 'content-type');
  if (request.method !== 'POST') {
    response.end('ok');
    return;
  }
  let call;
  try {
    const chunks = await request.toArray();
    call = JSON.parse(Buffer.concat(chunks).toString());
  } catch {
    response.statusCode = 400;
    response.end();
    return;
  }
  const reply = Array.isArray(call) ? call.map(answer) : answer(call);
  response.setHeader('content-type', 'application/json');
  response.end(JSON.stringify(reply));
});

nextSlot();
server.listen(PORTS.svm, HOST, () => console.log(`svm rpc on ${PORTS.svm}`));
