// Creates the two mints (SPL USDC, Token-2022 PYUSD) and the token accounts, and funds the signers.
import { getAddressEncoder } from '@solana/kit';
import { findAssociatedTokenPda } from '@solana-program/token-2022';
import { SVM_PYUSD, SVM_SEEDS, SVM_USDC, svmRpc, svmSigner, TOKEN_2022_PROGRAM, TOKEN_PROGRAM } from './config.mjs';

const addressBytes = address => new Uint8Array(getAddressEncoder().encode(address));
const base64 = bytes => Buffer.from(bytes).toString('base64');

export const MINTS = [
  { mint: SVM_USDC, tokenProgram: TOKEN_PROGRAM },
  { mint: SVM_PYUSD, tokenProgram: TOKEN_2022_PROGRAM },
];

const BALANCES = { client: 1_000_000_000n, payTo: 0n, facilitator: 5_000_000n, other: 0n };

export async function tokenAccountOf(owner, { mint, tokenProgram }) {
  const [address] = await findAssociatedTokenPda({ mint, owner, tokenProgram });
  return address;
}

export async function svmBalance(owner, token) {
  const balance = await svmRpc('getTokenAccountBalance', await tokenAccountOf(owner, token));
  return BigInt(balance.value.amount);
}

export async function setupSvm() {
  const signers = {};
  for (const name of Object.keys(SVM_SEEDS)) {
    signers[name] = await svmSigner(name);
  }
  for (const name of ['facilitator', 'client', 'payTo']) {
    await svmRpc('requestAirdrop', signers[name].address, 10_000_000_000);
  }
  for (const token of MINTS) {
    const mintData = mintAccount(6, 10_000_000_000n, signers.facilitator.address);
    await setAccount(token.mint, 1_461_600, mintData, token.tokenProgram);
    for (const [name, amount] of Object.entries(BALANCES)) {
      const owner = signers[name].address;
      const data = tokenAccount(token.mint, owner, amount);
      await setAccount(await tokenAccountOf(owner, token), 2_039_280, data, token.tokenProgram);
    }
  }
}

function setAccount(address, lamports, data, owner) {
  return svmRpc('test_setAccount', address, { lamports, data: base64(data), owner });
}

/** SPL mint layout: authority option and key, supply, decimals, initialised flag, no freeze authority. */
function mintAccount(decimals, supply, authority) {
  const data = new Uint8Array(82);
  const view = new DataView(data.buffer);
  view.setUint32(0, 1, true);
  data.set(addressBytes(authority), 4);
  view.setBigUint64(36, supply, true);
  data[44] = decimals;
  data[45] = 1;
  return data;
}

/** SPL token account layout: mint, owner, amount, state 1 (initialised). */
function tokenAccount(mint, owner, amount) {
  const data = new Uint8Array(165);
  data.set(addressBytes(mint), 0);
  data.set(addressBytes(owner), 32);
  new DataView(data.buffer).setBigUint64(64, amount, true);
  data[108] = 1;
  return data;
}
