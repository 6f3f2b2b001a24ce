// The official facilitator: GET /supported, POST /verify, POST /settle on PORT.
//   EVM_SENDER                        key that sends on EVM (default: that of the account "facilitator")
//   INTEROP_EVM_RPC, INTEROP_SVM_RPC  nodes (default: the harness's chains)
import express from 'express';
import { x402Facilitator } from '@x402/core/facilitator';
import { toFacilitatorEvmSigner } from '@x402/evm';
import { ExactEvmScheme } from '@x402/evm/exact/facilitator';
import { ExactEvmSchemeV1 } from '@x402/evm/exact/v1/facilitator';
import { UptoEvmScheme } from '@x402/evm/upto/facilitator';
import { createErc20ApprovalGasSponsoringExtension, EIP2612_GAS_SPONSORING } from '@x402/extensions';
import { BAZAAR } from '@x402/extensions/bazaar';
import { toFacilitatorSvmSigner } from '@x402/svm';
import { ExactSvmScheme } from '@x402/svm/exact/facilitator';
import { ExactSvmSchemeV1 } from '@x402/svm/exact/v1/facilitator';
import {
  EVM_KEYS,
  EVM_NETWORK,
  EVM_NETWORK_V1,
  HOST,
  PORTS,
  SVM_NETWORK,
  SVM_NETWORK_V1,
  SVM_RPC,
  svmSigner,
  walletWith,
} from './lib/config.mjs';

const PORT = Number(process.env.PORT ?? PORTS.facilitator);

const wallet = walletWith(process.env.EVM_SENDER ?? EVM_KEYS.facilitator);
const evm = toFacilitatorEvmSigner({
  address: wallet.account.address,
  readContract: call => wallet.readContract({ ...call, args: call.args ?? [] }),
  verifyTypedData: call => wallet.verifyTypedData(call),
  writeContract: call => wallet.writeContract({ ...call, args: call.args ?? [] }),
  sendTransaction: call => wallet.sendTransaction(call),
  waitForTransactionReceipt: call => wallet.waitForTransactionReceipt(call),
  getCode: call => wallet.getCode(call),
});
const svm = toFacilitatorSvmSigner(await svmSigner('facilitator'), { defaultRpcUrl: SVM_RPC });

/** For the ERC-20 approval extension: the payer's signed approval, then the facilitator's own settlement. */
async function sendTransactions(transactions) {
  const hashes = [];
  for (const transaction of transactions) {
    const hash =
      typeof transaction === 'string'
        ? await wallet.sendRawTransaction({ serializedTransaction: transaction })
        : await wallet.sendTransaction(transaction);
    const receipt = await wallet.waitForTransactionReceipt({ hash });
    if (receipt.status !== 'success') {
      throw new Error(`transaction_failed: ${hash}`);
    }
    hashes.push(hash);
  }
  return hashes;
}

const facilitator = new x402Facilitator()
  .register(EVM_NETWORK, new ExactEvmScheme(evm))
  .register(EVM_NETWORK, new UptoEvmScheme(evm))
  .registerV1([EVM_NETWORK_V1], new ExactEvmSchemeV1(evm))
  .register(SVM_NETWORK, new ExactSvmScheme(svm))
  .registerV1([SVM_NETWORK_V1], new ExactSvmSchemeV1(svm))
  .registerExtension(BAZAAR)
  .registerExtension(EIP2612_GAS_SPONSORING)
  .registerExtension(createErc20ApprovalGasSponsoringExtension({ ...evm, sendTransactions }));

const app = express();
app.use(express.json({ limit: '1mb' }));
app.get('/supported', (_request, response) => {
  response.json(facilitator.getSupported());
});
for (const operation of ['verify', 'settle']) {
  app.post(`/${operation}`, async (request, response) => {
    const { paymentPayload, paymentRequirements } = request.body;
    try {
      response.json(await facilitator[operation](paymentPayload, paymentRequirements));
    } catch (error) {
      response.status(500).json({ error: error.message });
    }
  });
}
app.listen(PORT, HOST, () => console.log(`official facilitator on http://${HOST}:${PORT}`));
