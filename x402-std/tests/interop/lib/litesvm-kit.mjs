// The kit that litesvm brings along: newer than the SDK's, and the one of the two that knows v1 transactions.
import { createRequire } from 'node:module';

const require = createRequire(import.meta.url);
export default createRequire(require.resolve('litesvm'))('@solana/kit');
