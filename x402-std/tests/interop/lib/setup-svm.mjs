// Creates the mints (SPL USDC, Token-2022 PYUSD and USDG) and the token accounts, and funds the signers.
import {
  AccountState,
  extension,
  findAssociatedTokenPda,
  getMintEncoder,
  getTokenEncoder,
} from '@solana-program/token-2022';
import {
  SVM_PYUSD,
  SVM_SEEDS,
  SVM_USDC,
  SVM_USDG,
  svmRpc,
  svmSigner,
  TOKEN_2022_PROGRAM,
  TOKEN_PROGRAM,
} from './config.mjs';

const ZERO_ADDRESS = '11111111111111111111111111111111';
const NO_FEE = { epoch: 0n, maximumFee: 0n, transferFeeBasisPoints: 0 };

export const USDC = { mint: SVM_USDC, tokenProgram: TOKEN_PROGRAM };
/** With the extensions that the real one has: see `pyusdExtensions`. */
export const PYUSD = { mint: SVM_PYUSD, tokenProgram: TOKEN_2022_PROGRAM, isExtended: true };
/** Without extensions, unlike the real one. */
export const USDG = { mint: SVM_USDG, tokenProgram: TOKEN_2022_PROGRAM };

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
  const addresses = {};
  for (const name of Object.keys(SVM_SEEDS)) {
    addresses[name] = (await svmSigner(name)).address;
  }
  for (const name of ['facilitator', 'client', 'payTo']) {
    await svmRpc('requestAirdrop', addresses[name], 10_000_000_000);
  }
  for (const token of [USDC, PYUSD, USDG]) {
    await setAccount(token.mint, 10_000_000, mintData(token, addresses.facilitator), token.tokenProgram);
    for (const [name, amount] of Object.entries(BALANCES)) {
      const owner = addresses[name];
      const data = tokenAccountData(token, owner, amount);
      await setAccount(await tokenAccountOf(owner, token), 5_000_000, data, token.tokenProgram);
    }
  }
}

/** An empty token account for somebody new. */
export async function openTokenAccount(owner, token) {
  const data = tokenAccountData(token, owner, 0n);
  await setAccount(await tokenAccountOf(owner, token), 5_000_000, data, token.tokenProgram);
}

function setAccount(address, lamports, data, owner) {
  return svmRpc('test_setAccount', address, { lamports, data: Buffer.from(data).toString('base64'), owner });
}

function mintData({ mint, isExtended }, authority) {
  return getMintEncoder().encode({
    mintAuthority: authority,
    supply: 10_000_000_000n,
    decimals: 6,
    isInitialized: true,
    freezeAuthority: isExtended ? authority : null,
    extensions: isExtended ? pyusdExtensions(mint, authority) : null,
  });
}

function tokenAccountData({ mint, isExtended }, owner, amount) {
  const extensions = [
    extension('ImmutableOwner', {}),
    extension('TransferFeeAmount', { withheldAmount: 0n }),
    extension('TransferHookAccount', { transferring: false }),
  ];
  return getTokenEncoder().encode({
    mint,
    owner,
    amount,
    delegate: null,
    state: AccountState.Initialized,
    isNative: null,
    delegatedAmount: 0n,
    closeAuthority: null,
    extensions: isExtended ? extensions : null,
  });
}

/** What PYUSD has: no fee and no hook, but the authorities to set them. */
function pyusdExtensions(mint, authority) {
  return [
    extension('MintCloseAuthority', { closeAuthority: authority }),
    extension('PermanentDelegate', { delegate: authority }),
    extension('TransferFeeConfig', {
      transferFeeConfigAuthority: authority,
      withdrawWithheldAuthority: authority,
      withheldAmount: 0n,
      olderTransferFee: NO_FEE,
      newerTransferFee: NO_FEE,
    }),
    extension('ConfidentialTransferMint', { authority, autoApproveNewAccounts: false, auditorElgamalPubkey: null }),
    extension('ConfidentialTransferFee', {
      authority,
      elgamalPubkey: authority,
      harvestToMintEnabled: true,
      withheldAmount: new Uint8Array(64),
    }),
    extension('TransferHook', { authority, programId: ZERO_ADDRESS }),
    extension('MetadataPointer', { authority, metadataAddress: mint }),
    extension('TokenMetadata', {
      updateAuthority: authority,
      mint,
      name: 'PayPal USD',
      symbol: 'PYUSD',
      uri: 'https://example.com/pyusd.json',
      additionalMetadata: new Map(),
    }),
  ];
}
