// Addresses, ports, public test keys and RPC helpers shared by every script.
import {
  createPublicClient,
  createTestClient,
  createWalletClient,
  defineChain,
  http,
  publicActions,
  toHex,
  walletActions,
} from 'viem';
import { mnemonicToAccount, privateKeyToAccount } from 'viem/accounts';
import { createKeyPairSignerFromPrivateKeyBytes, getAddressEncoder, getBase58Decoder } from '@solana/kit';
import { getDefaultAsset } from '@x402/evm';

export const HOST = '127.0.0.1';

// One setting moves every port, so that two runs can share a machine.
export const OFFSET = Number(process.env.PORT_OFFSET ?? 0);
export const PORTS = {
  server: 14021 + OFFSET,
  facilitator: 14022 + OFFSET,
  pyServer: 14023 + OFFSET,
  simulatedServer: 14024 + OFFSET,
  simulatedPyServer: 14025 + OFFSET,
  simulatedFacilitator: 14026 + OFFSET,
  oursV2: 14027 + OFFSET,
  oursV1: 14028 + OFFSET,
  oursProxy: 14029 + OFFSET,
  recorder: 14030 + OFFSET,
  upstream: 14031 + OFFSET,
  oursSvm: 14032 + OFFSET,
  oursSvmMemo: 14033 + OFFSET,
  oursBoth: 14034 + OFFSET,
  oursSvmV1: 14035 + OFFSET,
  oursSimulated: 14036 + OFFSET,
  pyFacilitator: 14037 + OFFSET,
  pySvmServer: 14038 + OFFSET,
  element: 14039 + OFFSET,
  'seller-thumbv7em': 14040 + OFFSET,
  'seller-riscv32imc': 14041 + OFFSET,
  'seller-thumbv7em-unclear': 14042 + OFFSET,
  'seller-riscv32imc-unclear': 14043 + OFFSET,
  forgetful: 14044 + OFFSET,
  'seller-thumbv7em-simulated': 14045 + OFFSET,
  'seller-riscv32imc-simulated': 14046 + OFFSET,
  ourFacilitator: 14047 + OFFSET,
  settledServer: 14048 + OFFSET,
  settledPyServer: 14049 + OFFSET,
  settledOurs: 14050 + OFFSET,
  settledOursV1: 14051 + OFFSET,
  settledOursSvm: 14052 + OFFSET,
  settledOursSvmV1: 14053 + OFFSET,
  redis: 14054 + OFFSET,
  evm: 18545 + OFFSET,
  svm: 18899 + OFFSET,
};

// Of the facilitators and proxies that a case has for itself: what `freePort` gives out, again and again.
const CASE_PORTS = { first: 14060 + OFFSET, count: 100 };
let given = 0;
export function freePort() {
  given += 1;
  return CASE_PORTS.first + ((given - 1) % CASE_PORTS.count);
}
/** What the replay of recorded requests, which has chains of its own, adds to `PORT_OFFSET`. */
export const REPLAY_OFFSET = 200;
/** The same of `soak.mjs`, where it is a case. */
export const SOAK_OFFSET = 400;
const isOfCase = port => port >= CASE_PORTS.first && port < CASE_PORTS.first + CASE_PORTS.count;
export const isOurPort = port =>
  [port, port - REPLAY_OFFSET, port - SOAK_OFFSET].some(port => Object.values(PORTS).includes(port) || isOfCase(port));

export const urlOf = service => `http://${HOST}:${PORTS[service]}`;
export const EVM_RPC = process.env.INTEROP_EVM_RPC ?? urlOf('evm');
export const SVM_RPC = process.env.INTEROP_SVM_RPC ?? urlOf('svm');

export const CHAIN_ID = Number(process.env.CHAIN_ID ?? 84532);
export const EVM_NETWORK = `eip155:${CHAIN_ID}`;
export const EVM_NETWORK_V1 = { 84532: 'base-sepolia', 8453: 'base', 1328: 'sei-testnet', 1329: 'sei' }[CHAIN_ID];
export const SVM_NETWORK = 'solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1';
export const SVM_NETWORK_V1 = 'solana-devnet';

// ---- EVM: the token stands where the SDK expects this chain's default asset; its client pays in no other
const asset = getDefaultAsset(EVM_NETWORK);
export const USDC = asset.asset;
export const USDC_NAME = asset.name;
export const USDC_VERSION = asset.version;
export const PERMIT2 = '0x000000000022D473030F116dDEE9F6B43aC78BA3';
export const EXACT_PROXY = '0x402085c248EeA27D92E8b30b2C58ed07f9E20001';
export const UPTO_PROXY = '0x4020A4f3b7b90ccA423B9fabCc0CE57C6C240002';
export const MULTICALL3 = '0xcA11bde05977b3631167028862bE2a173976CA11';

// Keys 0 to 5 of anvil's default mnemonic: public, never use them on a real chain.
export const EVM_KEYS = {
  deployer: '0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80',
  client: '0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d',
  facilitator: '0x5de4111afa1a4b94908f83103eb1f1706367c2e68ca870fc3fb9a804cdab365a',
  payTo: '0x7c852118294e51e653712a81e05800f419141751be58f605c371e15141b007a6',
  // no token
  poor: '0x47e179ec197488593b187f80a00eb0da91f1b9d0b13f8733639f19c30a34926a',
  // token, but no allowance for Permit2
  noApproval: '0x8b3a350cf5c34c9194ca85829a2df0ec3153be0318b5e2d3348e872092edffba',
};

const MNEMONIC = 'test test test test test test test test test test test junk';
/** How many accounts of the mnemonic anvil gives money to. */
export const EVM_ACCOUNTS = 150;
/** The key of one who sends transactions for a facilitator. */
export function senderKey(index) {
  const addressIndex = Object.keys(EVM_KEYS).length + index;
  if (addressIndex >= EVM_ACCOUNTS) {
    throw new Error('no account is left');
  }
  return toHex(mnemonicToAccount(MNEMONIC, { addressIndex }).getHdKey().privateKey);
}

export const accounts = {};
for (const [name, key] of Object.entries(EVM_KEYS)) {
  accounts[name] = privateKeyToAccount(key);
}

export const chain = defineChain({
  id: CHAIN_ID,
  name: 'local anvil',
  nativeCurrency: { name: 'ETH', symbol: 'ETH', decimals: 18 },
  rpcUrls: { default: { http: [EVM_RPC] } },
  contracts: { multicall3: { address: MULTICALL3 } },
});
const evmClient = { chain, transport: http(EVM_RPC), pollingInterval: 200 };
export const publicClient = createPublicClient(evmClient);
export const anvil = createTestClient({ ...evmClient, mode: 'anvil' }).extend(publicActions).extend(walletActions);

export const walletOf = name => walletWith(EVM_KEYS[name]);

export function walletWith(key) {
  return createWalletClient({ ...evmClient, account: privateKeyToAccount(key) }).extend(publicActions);
}

export function evmBalance(address) {
  return publicClient.readContract({ address: USDC, abi: tokenAbi, functionName: 'balanceOf', args: [address] });
}

export const tokenAbi = [
  {
    type: 'function',
    name: 'balanceOf',
    stateMutability: 'view',
    inputs: [{ type: 'address' }],
    outputs: [{ type: 'uint256' }],
  },
  {
    type: 'function',
    name: 'approve',
    stateMutability: 'nonpayable',
    inputs: [{ type: 'address' }, { type: 'uint256' }],
    outputs: [{ type: 'bool' }],
  },
  {
    type: 'function',
    name: 'mint',
    stateMutability: 'nonpayable',
    inputs: [{ type: 'address' }, { type: 'uint256' }],
    outputs: [],
  },
];

// ---- Solana: each seed is one byte repeated 32 times
export const SVM_USDC = '4zMMC9srt5Ri5X14GAgXhaHii3GnPAEERYPJgZJDncDU';
export const SVM_PYUSD = 'CXk2AMBfi3TwaEL2468s6zP8xq9NxTXjp9gjMgzeUynM';
export const SVM_USDG = '4F6PM96JJxngmHnZLBh9n58RH4aTVNWvDs2nuwrT5BP7';
export const TOKEN_PROGRAM = 'TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA';
export const TOKEN_2022_PROGRAM = 'TokenzQdBNbLqP5VEhdkAS6EPFLC1PHnBqCXEpPxuEb';
export const MEMO_PROGRAM = 'MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr';
export const SVM_SEEDS = {
  facilitator: new Uint8Array(32).fill(1),
  client: new Uint8Array(32).fill(2),
  payTo: new Uint8Array(32).fill(3),
  poor: new Uint8Array(32).fill(4),
  other: new Uint8Array(32).fill(5),
};

export function svmSigner(name) {
  return createKeyPairSignerFromPrivateKeyBytes(SVM_SEEDS[name]);
}

/** Seed then public key: a Solana keypair as its command line writes it. */
export async function svmKeypair(name) {
  const { address } = await svmSigner(name);
  return new Uint8Array([...SVM_SEEDS[name], ...getAddressEncoder().encode(address)]);
}

export async function svmSecretKey(name) {
  return getBase58Decoder().decode(await svmKeypair(name));
}

export async function svmRpc(method, ...params) {
  const response = await fetch(SVM_RPC, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ jsonrpc: '2.0', id: 1, method, params }),
  });
  const answer = await response.json();
  if (answer.error) {
    throw new Error(`${method}: ${JSON.stringify(answer.error)}`);
  }
  return answer.result;
}
