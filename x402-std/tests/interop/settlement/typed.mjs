// What payers sign themselves, where the official client has no way to.
import { accounts, CHAIN_ID, EVM_NETWORK, USDC, USDC_NAME, USDC_VERSION } from '../lib/config.mjs';

const TOKEN = { name: USDC_NAME, version: USDC_VERSION, chainId: CHAIN_ID, verifyingContract: USDC };

/** EIP-712 by one of the test accounts, for the token unless another domain is given. */
export function signTyped(account, types, message, domain = TOKEN) {
  return accounts[account].signTypedData({ domain, types, primaryType: Object.keys(types)[0], message });
}

/** An offer of a cent to payTo, with more in `extra`. */
export function evmOffer(extra = {}) {
  const offer = {
    scheme: 'exact',
    network: EVM_NETWORK,
    amount: '10000',
    asset: USDC,
    payTo: accounts.payTo.address,
    maxTimeoutSeconds: 300,
    extra: { name: USDC_NAME, version: USDC_VERSION, ...extra },
  };
  return {
    ...offer,
    /** What `/verify` and `/settle` take of a payment of this offer. */
    pay: payload =>
      JSON.stringify({
        x402Version: 2,
        paymentPayload: { x402Version: 2, accepted: offer, payload },
        paymentRequirements: offer,
      }),
  };
}

export const EVM_OFFER = evmOffer();
