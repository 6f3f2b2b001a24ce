// The page for people, in a real browser, with wallets that sign with test keys: as cases.mjs.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { brotliCompressSync, gzipSync } from 'node:zlib';
import axe from 'axe-core';
import { hashTypedData, toHex } from 'viem';
import { evmWallet, icon, newBrowser, newTab, solanaWallet } from './lib/browser.mjs';
import { testCase, watched } from './lib/checks.mjs';
import { accounts, CHAIN_ID, freePort, HOST, SVM_NETWORK_V1, SVM_RPC, svmSigner, urlOf } from './lib/config.mjs';
import { newFacilitator, newSqlite, until } from './lib/facilitators.mjs';
import { evmLedger, svmLedger } from './lib/ledgers.mjs';
import { newChain } from './lib/own-chain.mjs';
import { USDC } from './lib/setup-svm.mjs';
import { OUT, ROOT } from './lib/processes.mjs';
import { newShop, newStub, success } from './lib/shops.mjs';

const PAGE = path.join(ROOT, '..', '..', 'src', 'page');
const SEI = { id: 1328, token: '0x4fCF1784B31630811181f670Aea7A7bEF803eaED' };
const PRICE = 10_000n;
const svmPayTo = (await svmSigner('payTo')).address;
const evm = evmLedger();

export const browserCases = binary => {
  const page = (name, run, { uses = ['facilitator'], ms } = {}) =>
    testCase(`browser: ${name}`, ['browser', ...uses], () => run(binary), ms);
  return [
    testCase('browser: what is signed, byte for byte', [], sameBytes),
    page('HTML with its script, once for a reload and the way back', buysHtml),
    page('our facilitator', buysByOurs, { uses: ['ourFacilitator'] }),
    page('Sei, a chain that the wallet does not know', buysOnSei),
    page('Solana', binary => buysOnSolana(binary, 'facilitator')),
    page('Solana, our facilitator', binary => buysOnSolana(binary, 'ourFacilitator'), { uses: ['ourFacilitator'] }),
    page('a download, an image, a PDF', buysFiles),
    page('a form', buysByForm),
    page('paid before the work', buysUpfront),
    page('refused in the wallet, wrong chain, no money, no wallet', buysNothing),
    page('two wallets, and one of before EIP-6963', choosesAWallet),
    page('settlement pending, and a seller that fails', waits),
    page('a reload while the payment is on its way', reloads),
    page('hostile names and addresses', staysItself),
    page('axe, size, screenshots', looksGood),
  ];
};

let browser;
/** One for all cases; it is closed with the run. */
export const browserService = {
  async start() {
    browser = await newBrowser();
  },
  stop: () => browser?.close(),
};

const PNG = Buffer.from(
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==',
  'base64',
);
const PDF = Buffer.from(
  '%PDF-1.1\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj\n' +
    '3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 99 99]>>endobj\ntrailer<</Root 1 0 R>>\n',
);

/** What is sold: by path, another answer each time. `runs` counts them, `fails` is how often `/fails` fails first. */
async function newGoods() {
  const goods = { runs: 0, fails: 1, cookies: [] };
  const server = http.createServer(async (request, response) => {
    const body = Buffer.concat(await request.toArray().catch(() => [])).toString();
    const { pathname } = new URL(request.url, 'http://it');
    goods.runs += 1;
    goods.cookies.push(request.headers.cookie ?? '');
    const give = (type, body, headers = {}) => response.writeHead(200, { 'content-type': type, ...headers }).end(body);
    if (pathname === '/file') {
      const names = `attachment; filename="r.csv"; filename*=UTF-8''r%C3%A9port.csv`;
      give('text/csv', `run,${goods.runs}\n`, { 'content-disposition': names });
    } else if (pathname === '/image') {
      give('image/png', PNG);
    } else if (pathname === '/pdf') {
      give('application/pdf', PDF);
    } else if (pathname === '/fails' && goods.fails > 0) {
      goods.fails -= 1;
      response.writeHead(500).end();
    } else {
      const script = `document.querySelector('#it').textContent = 'script ran'`;
      give(
        'text/html; charset=utf-8',
        `<!doctype html><title>Goods</title><h1>Goods ${goods.runs}</h1><p id="it"></p><pre>${request.method} ${body}</pre><script>${script}</script>`,
      );
    }
  });
  const port = freePort();
  await new Promise(resolve => server.listen(port, HOST, resolve));
  goods.url = `http://${HOST}:${port}`;
  goods.close = () => {
    server.closeAllConnections();
    server.close();
  };
  return goods;
}

/** A shop with goods, and a tab at it. Nothing outside this machine may be asked, and no script may fail. */
async function withTab(binary, settings, wallets, play) {
  const { facilitator = urlOf('facilitator'), options = [], networks = [], evm = true, view, noErrors = true } = settings;
  const goods = await newGoods();
  const shop = newShop(binary, `page-${freePort()}`, { facilitator, upstream: goods.url, networks, options, evm });
  const it = await newTab(browser, wallets, view);
  try {
    await shop.start();
    const result = await play({ goods, shop, ...it });
    assert.deepEqual(it.strays, [], 'asked others');
    if (noErrors) {
      assert.deepEqual(it.errors, [], 'errors in the page');
    }
    return result;
  } finally {
    await it.close();
    await shop.stop();
    goods.close();
  }
}

async function paysOnce(ledger, amount, pay) {
  const { result, moved } = await watched(ledger, pay);
  assert.deepEqual(moved, [amount, -amount], 'what payTo and the payer got');
  return result;
}

async function buysHtml(binary) {
  const wallet = evmWallet();
  await withTab(binary, toPayToOptions(), [wallet], async ({ goods, shop, open, press, says, tab }) => {
    await paysOnce(evm, PRICE, async () => {
      const answer = await open(`${shop.url}/report?day=1`);
      assert.equal(answer.status(), 402);
      assert.match(answer.headers()['content-type'], /^text\/html/);
      assert.ok(answer.headers()['payment-required'], 'the challenge is in the header too');
      await says(/0\.01 USDC/);
      await press('Pay with Test Wallet');
      await says(/Transaction: 0x/);
      const link = await tab.$eval('.x402-receipt a', it => it.href);
      assert.match(link, /^https:\/\/sepolia\.basescan\.org\/tx\/0x[0-9a-f]{64}$/);
      await says(/Goods 1.*script ran/);
      for (const again of [() => tab.reload(), () => open(`${shop.url}/report?day=1`)]) {
        await again();
        await says(/Goods 1.*script ran/);
      }
      await open('about:blank');
      await tab.goBack();
      await says(/Goods 1.*script ran/);
      assert.equal(goods.runs, 1);
      assert.deepEqual(goods.cookies, [''], 'the handler sees no payment');
    });
    assert.equal(wallet.asked.filter(method => method === 'eth_signTypedData_v4').length, 1);
    // Another resource of the same seller is not paid.
    await open(`${shop.url}/report?day=2`);
    await says('Pay with Test Wallet');
  });
}

/** Paid to the payee of all cases, so that balances can be compared. */
const toPayToOptions = (options = []) => ({ options, networks: [[`eip155:${CHAIN_ID}`, accounts.payTo.address]], evm: false });

async function buysByOurs(binary) {
  const settings = { ...toPayToOptions(), facilitator: urlOf('ourFacilitator') };
  await withTab(binary, settings, [evmWallet()], ({ shop, open, press, says }) =>
    paysOnce(evm, PRICE, async () => {
      await open(`${shop.url}/page`);
      await press('Pay with Test Wallet');
      await says('script ran');
    }),
  );
}

async function buysOnSei(binary) {
  const chain = await newChain('sei-testnet', { chainId: SEI.id, token: SEI.token });
  const facilitator = newFacilitator(binary, 'sei-facilitator', {
    store: newSqlite(`sei-${freePort()}`),
    evm: { network: `eip155:${SEI.id}`, rpc: [chain.url] },
  });
  try {
    await chain.mint(accounts.client.address, 1_000_000n);
    await facilitator.start();
    const wallet = evmWallet({ name: 'Compass', reachable: { [SEI.id]: chain.url } });
    const settings = {
      facilitator: facilitator.url,
      networks: [['sei-testnet', accounts.payTo.address]],
      evm: false,
    };
    await withTab(binary, settings, [wallet], async ({ shop, open, press, says, tab }) => {
      await open(`${shop.url}/page`);
      await says(/0\.01 USDC\s+on Sei Testnet/);
      await press('Pay with Compass');
      await says(/Transaction: 0x/);
      assert.match(await tab.$eval('.x402-receipt a', it => it.href), /^https:\/\/testnet\.seiscan\.io\/tx\/0x/);
      await says('script ran');
    });
    assert.deepEqual(wallet.added, [
      {
        chainId: '0x530',
        chainName: 'Sei Testnet',
        rpcUrls: ['https://evm-rpc-testnet.sei-apis.com'],
        blockExplorerUrls: ['https://testnet.seiscan.io'],
        nativeCurrency: { name: 'SEI', symbol: 'SEI', decimals: 18 },
      },
    ]);
    assert.equal(await chain.balance(accounts.payTo.address), PRICE);
  } finally {
    await facilitator.stop();
    await chain.stop();
  }
}

const onSolana = facilitator => ({
  facilitator: urlOf(facilitator),
  networks: [[SVM_NETWORK_V1, svmPayTo]],
  evm: false,
  options: ['--page-node', `${SVM_NETWORK_V1}=${SVM_RPC}`],
});

async function buysOnSolana(binary, facilitator) {
  const wallet = await solanaWallet();
  await withTab(binary, onSolana(facilitator), [wallet], ({ shop, open, press, says, tab }) =>
    paysOnce(svmLedger(USDC), PRICE, async () => {
      await open(`${shop.url}/page`);
      await says(/0\.01 USDC\s+on Solana Devnet/);
      await press('Pay with Test Solana');
      await says(/Transaction: /);
      const link = await tab.$eval('.x402-receipt a', it => it.href);
      assert.match(link, /^https:\/\/explorer\.solana\.com\/tx\/\w{64,88}\?cluster=devnet$/);
      await says('script ran');
      await tab.reload();
      await says('Goods 1.*script ran');
      assert.deepEqual(wallet.asked, ['signTransaction']);
    }),
  );
}

async function buysFiles(binary) {
  await withTab(binary, toPayToOptions(), [evmWallet()], async ({ goods, shop, open, press, says, saves, tab }) => {
    const folder = await saves(`file-${shop.port}`);
    await open(`${shop.url}/file`);
    await press('Pay with Test Wallet');
    await says(/Paid\. Your browser saves réport\.csv/);
    await says(/Transaction: 0x/);
    const file = path.join(folder, 'réport.csv');
    await until(() => fs.existsSync(file), 10_000, `a file: ${fs.readdirSync(folder)}`);
    assert.equal(fs.readFileSync(file, 'utf8'), 'run,1\n');
    for (const [place, type] of [['image', 'image/png'], ['pdf', 'application/pdf']]) {
      await open(`${shop.url}/${place}`);
      await press('Pay with Test Wallet');
      await until(
        () => tab.evaluate(() => document.contentType).then(it => it === type || (type === 'application/pdf' && it !== 'text/html')).catch(() => false),
        20_000,
        `the browser shows ${type}`,
      );
      const shown = await tab.evaluate(() => location.href);
      assert.ok(shown === `${shop.url}/${place}` || place === 'pdf', shown);
    }
    assert.equal(goods.runs, 3);
  });
}

async function buysByForm(binary) {
  await withTab(binary, toPayToOptions(), [evmWallet()], async ({ goods, shop, open, press, says, tab }) => {
    // A page of the same origin with a form, which the shop would not serve: only its answer counts.
    await open(`${shop.url}/page`);
    await tab.evaluate(action => {
      const form = Object.assign(document.createElement('form'), { method: 'post', action });
      for (const [name, value] of [['q', 'a & b\r\nü <i>'], ['n', '1']]) {
        form.append(Object.assign(document.createElement('input'), { type: 'hidden', name, value }));
      }
      document.body.append(form);
      form.submit();
    }, `${shop.url}/ask`);
    await tab.waitForNavigation();
    await press('Pay with Test Wallet');
    await says(/POST q=a\+%26\+b%0D%0A%C3%BC\+%3Ci%3E&n=1/);
    await says('Goods 1.*script ran');
    assert.equal(goods.runs, 1);
  });
}

async function buysUpfront(binary) {
  await withTab(binary, toPayToOptions(['--upfront']), [evmWallet()], ({ goods, shop, open, press, says }) =>
    paysOnce(evm, PRICE, async () => {
      await open(`${shop.url}/page`);
      await press('Pay with Test Wallet');
      await says('Goods 1.*script ran');
      assert.equal(goods.runs, 1);
    }),
  );
}

async function buysNothing(binary) {
  const no = { code: 4001, message: 'User rejected the request.' };
  const elsewhere = { chainId: 1, nodes: { 1: 'http://127.0.0.1:1' } };
  const cases = [
    [{ answers: { eth_signTypedData_v4: no } }, /You did not confirm in the wallet\. Nothing was paid/],
    [{ answers: { eth_requestAccounts: no } }, /You did not confirm/],
    [{ answers: { eth_requestAccounts: { code: -32002, message: 'pending' } } }, /has an open question/],
    [{ ...elsewhere, answers: { wallet_switchEthereumChain: no } }, /You did not confirm/],
    [{ ...elsewhere, answers: { wallet_switchEthereumChain: () => null } }, /stays on another network.*Base Sepolia/],
    [{ answers: { eth_signTypedData_v4: { code: -32603, message: 'Internal <b>error</b>' } } }, /It says: Internal <b>error<\/b>/],
    [{ account: accounts.poor }, /You have 0 USDC on Base Sepolia, and the price is 0\.01 USDC/],
  ];
  for (const [settings, text] of cases) {
    const { moved } = await watched(evm, () =>
      withTab(binary, toPayToOptions(), [evmWallet(settings)], async ({ goods, shop, open, press, says }) => {
        await open(`${shop.url}/page`);
        await press('Pay with Test Wallet');
        await says(text);
        // It can be tried again.
        await says('Pay with Test Wallet');
        assert.equal(goods.runs, 0);
      }),
    );
    assert.deepEqual(moved, [0n, 0n]);
  }
  const solana = await solanaWallet({ answer: { message: 'User rejected the request.' } });
  const poor = await solanaWallet({ name: 'Poor', who: 'poor' });
  await withTab(binary, onSolana('facilitator'), [solana, poor], async ({ goods, shop, open, press, says }) => {
    await open(`${shop.url}/page`);
    await press('Pay with Test Solana');
    await says('You did not confirm');
    await press('Pay with Poor');
    await says(/You have 0 USDC on Solana Devnet/);
    assert.equal(goods.runs, 0);
  });
  await withTab(binary, toPayToOptions(), [], async ({ shop, open, says, tab }) => {
    await open(`${shop.url}/page?it's`);
    await says('no wallet for this network');
    await tab.click('summary');
    await says(/x402 pay '.*\/page\?it(%27|'\\'')s'/);
  });
}

async function choosesAWallet(binary) {
  const [first, second] = [evmWallet({ name: 'First' }), evmWallet({ name: 'Second', account: accounts.noApproval })];
  const solana = await solanaWallet();
  const settings = onSolana('facilitator');
  settings.networks.unshift([`eip155:${CHAIN_ID}`, accounts.payTo.address]);
  await withTab(binary, settings, [first, second, solana], async ({ shop, open, press, says, tab }) => {
    await open(`${shop.url}/page`);
    await says(/Pay with First.*Pay with Second/s);
    // Each network has its wallets; the keyboard chooses.
    await tab.focus('input[name=offer]');
    await tab.keyboard.press('ArrowDown');
    await says('Pay with Test Solana');
    assert.doesNotMatch(await tab.evaluate(() => document.body.innerText), /Pay with First/);
    await tab.keyboard.press('ArrowUp');
    await says('Pay with Second');
    const before = await evmLedger('noApproval').balances();
    await press('Pay with Second');
    await says('script ran');
    const after = await evmLedger('noApproval').balances();
    assert.deepEqual([after[0] - before[0], before[1] - after[1]], [PRICE, PRICE]);
    assert.deepEqual(first.asked, []);
  });
  await withTab(binary, toPayToOptions(), [{ ...evmWallet(), isOld: true }], async ({ shop, open, press, says }) => {
    await open(`${shop.url}/page`);
    await press("Pay with the browser's wallet");
    await says('script ran');
  });
}

async function waits(binary) {
  let settled = 0;
  const stub = await newStub(told => {
    settled += 1;
    const { success: _, ...pending } = { ...success(told), errorReason: 'settlement_pending' };
    const transaction = `0x${'ab'.repeat(32)}`;
    return settled > 3 ? { ...success(told), transaction } : { success: false, ...pending, transaction };
  });
  try {
    const settings = { ...toPayToOptions(), facilitator: stub.url };
    const wallet = evmWallet();
    await withTab(binary, settings, [wallet], async ({ goods, shop, open, press, says }) => {
      await open(`${shop.url}/page`);
      await press('Pay with Test Wallet');
      await says(/Waiting for the network to confirm.*Transaction: 0xabab/s);
      await says('script ran');
      assert.equal(wallet.asked.filter(it => it === 'eth_signTypedData_v4').length, 1);
    });
  } finally {
    stub.close();
  }
  const wallet = evmWallet();
  await withTab(binary, toPayToOptions(), [wallet], ({ goods, shop, open, press, says, tab }) =>
    paysOnce(evm, PRICE, async () => {
      goods.fails = 2;
      await open(`${shop.url}/fails`);
      await press('Pay with Test Wallet');
      await says(/The seller failed \(status 500\)/);
      // A reload presents the same payment, as does the button.
      await tab.reload();
      await says(/The seller failed \(status 500\)/);
      await press('Try again');
      await says('script ran');
      assert.equal(wallet.asked.filter(it => it === 'eth_signTypedData_v4').length, 1);
    }),
  );
}

async function reloads(binary) {
  const wallet = evmWallet();
  await withTab(binary, toPayToOptions(), [wallet], ({ goods, shop, open, press, says, tab }) =>
    paysOnce(evm, PRICE, async () => {
      await open(`${shop.url}/page`);
      await press('Pay with Test Wallet');
      await until(() => wallet.asked.includes('eth_signTypedData_v4'), 10_000, 'a signature');
      await says('Paying');
      await tab.reload();
      await says('script ran');
      assert.equal(wallet.asked.filter(it => it === 'eth_signTypedData_v4').length, 1);
    }),
  );
}

async function staysItself(binary) {
  const hostile = `</script><img src=x onerror="document.title='owned'">"'&<!--x402-->\u2028$&$1`;
  const wallet = evmWallet({ name: hostile, icon: 'javascript:document.title="owned"' });
  const settings = toPayToOptions(['--page-seller', hostile]);
  await withTab(binary, settings, [wallet], async ({ shop, open, says, tab }) => {
    const answer = await open(`${shop.url}/page?<script>document.title='owned'</script>&"'`);
    await says('Sold by');
    await says('onerror=');
    assert.notEqual(await tab.title(), 'owned');
    assert.equal(await tab.$('#x402 img'), null);
    const policy = answer.headers()['content-security-policy'];
    assert.match(policy, /^default-src 'none'; script-src 'sha256-[^']+'; style-src 'self' 'sha256-[^']+'/);
    assert.doesNotMatch(policy, /unsafe/);
  });
  // A payment from elsewhere in the cookies does no harm.
  await withTab(binary, { ...toPayToOptions(), noErrors: false }, [evmWallet()], async ({ goods, shop, open, press, says, tab }) => {
    await open(`${shop.url}/page`);
    const key = await tab.evaluate(() => JSON.parse(document.querySelector('#x402-data').textContent).key);
    await tab.evaluate(key => {
      document.cookie = `x402-${key}-0=${'ab'.repeat(16)}.bm8=; path=/page`;
      document.cookie = 'x402-0000000000000000-0=bm8=; path=/page';
    }, key);
    await open(`${shop.url}/page`);
    await says(/did not take the payment/);
    await press('Pay with Test Wallet');
    await says('script ran');
    assert.equal(goods.runs, 1);
  });
}

async function looksGood(binary) {
  const settings = onSolana('facilitator');
  settings.networks.unshift([`eip155:${CHAIN_ID}`, accounts.payTo.address]);
  settings.options.push('--page-seller', 'Weather & Sons', '--base-url', 'https://weather.example.com');
  const shots = process.env.SCREENSHOTS ?? OUT;
  const views = {
    light: { viewport: { width: 760, height: 540 } },
    dark: { viewport: { width: 760, height: 540 }, media: [{ name: 'prefers-color-scheme', value: 'dark' }] },
    phone: { viewport: { width: 390, height: 620, isMobile: true, hasTouch: true } },
  };
  let sizes;
  for (const [name, view] of Object.entries(views)) {
    const wallets = [evmWallet({ name: 'MetaMask', icon: icon('#e2761b') }), evmWallet({ name: 'Compass' }), await solanaWallet()];
    await withTab(binary, { ...settings, options: [...settings.options], view }, wallets, async ({ shop, open, press, says, tab }) => {
      const answer = await open(`${shop.url}/report`);
      await says('Pay with MetaMask');
      await isAccessible(tab, name);
      const width = await tab.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      assert.ok(width <= 0, `${name}: ${width} pixels too wide`);
      fs.mkdirSync(shots, { recursive: true });
      await tab.screenshot({ path: path.join(shots, `page-${name}.png`) });
      const html = Buffer.from(await answer.text());
      sizes = { raw: html.length, gzip: gzipSync(html, { level: 9 }).length, brotli: brotliCompressSync(html).length };
      await press('Pay with MetaMask');
      await says(/Transaction: 0x/);
      await isAccessible(tab, `${name}, receipt`);
    });
  }
  const budget = JSON.parse(fs.readFileSync(path.join(PAGE, 'budget.json'), 'utf8'));
  for (const [kind, most] of Object.entries(budget)) {
    assert.ok(sizes[kind] <= most, `${kind}: ${sizes[kind]} bytes, at most ${most}`);
  }
  return JSON.stringify(sizes);
}

async function isAccessible(tab, where) {
  // The page's own policy admits no script: axe comes in from outside of it.
  await tab.evaluate(axe.source);
  const { violations } = await tab.evaluate(() => window.axe.run(document, { resultTypes: ['violations'] }));
  const found = violations.map(({ id, impact, nodes }) => `${impact} ${id}: ${nodes.map(({ html }) => html).join(' ')}`);
  assert.deepEqual(found, [], where);
}

/** The page's script makes what the Rust buyers make: see `tests/page.rs`, which writes the vectors. */
async function sameBytes() {
  const script = await import(path.join(PAGE, 'page.js'));
  const { evm, svm } = JSON.parse(fs.readFileSync(path.join(ROOT, 'page-vectors.json'), 'utf8'));
  for (const { offer, from, now, nonce, digest, payload } of evm) {
    const typed = script.typedData(offer, from, now, Buffer.from(nonce, 'hex'));
    const { EIP712Domain, ...types } = typed.types;
    assert.equal(hashTypedData({ ...typed, types }), `0x${digest}`, offer.network);
    const { signature } = JSON.parse(payload);
    assert.equal(JSON.stringify({ authorization: typed.message, signature }), payload);
  }
  for (const { offer, coin, payer, blockhash, nonce, transaction } of svm) {
    const bytes = await script.solanaTransaction(
      offer,
      coin,
      script.base58(payer),
      script.base58(blockhash),
      Buffer.from(nonce, 'hex'),
    );
    assert.equal(toHex(bytes), `0x${transaction}`, JSON.stringify(offer.extra));
  }
  assert.equal(script.decimal(10_000n, 6), '0.01');
  assert.equal(script.decimal(12_000_000n, 6), '12');
  assert.equal(script.decimal(7n, 0), '7');
  assert.equal(script.fileName(`attachment; filename="a\\"b/../c.txt"`), 'c.txt');
  assert.equal(script.fileName(`attachment; filename*=UTF-8''r%C3%A9port.csv`), 'réport.csv');
  return `${evm.length} on EVM, ${svm.length} on Solana`;
}
