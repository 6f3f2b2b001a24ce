// A headless Chromium, and the wallets that are in it. The keys, and what a wallet does when it is asked, are here.
import { createKeyPairSignerFromPrivateKeyBytes, signBytes } from '@solana/kit';
import fs from 'node:fs';
import path from 'node:path';
import puppeteer from 'puppeteer-core';
import { accounts, CHAIN_ID, EVM_RPC, SVM_SEEDS, svmSigner } from './config.mjs';
import { OUT } from './processes.mjs';

const CHROMIUM = process.env.CHROMIUM ?? '/usr/bin/chromium';
const WAIT_MS = 30_000;

/** Over a pipe, so that nothing listens; and no name outside this machine is found. */
export async function newBrowser() {
  return puppeteer.launch({
    executablePath: CHROMIUM,
    pipe: true,
    args: [
      '--no-sandbox',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
      '--no-first-run',
      '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost',
    ],
  });
}

/**
 * A wallet on EVM. `chainId` is where it is, `nodes` what it knows, by chain id. `answers` has what it says
 * instead, by method: an error, or a function of the parameters.
 */
export function evmWallet(settings = {}) {
  const { name = 'Test Wallet', account = accounts.client, chainId = CHAIN_ID, answers = {} } = settings;
  const nodes = new Map(Object.entries(settings.nodes ?? { [CHAIN_ID]: EVM_RPC }).map(([id, url]) => [Number(id), url]));
  const reachable = new Map(Object.entries(settings.reachable ?? {}).map(([id, url]) => [Number(id), url]));
  const wallet = { kind: 'evm', name, icon: settings.icon ?? icon('#0b57d0'), chainId, asked: [], added: [] };
  const methods = {
    eth_requestAccounts: () => [account.address],
    eth_chainId: () => `0x${wallet.chainId.toString(16)}`,
    wallet_switchEthereumChain([{ chainId }]) {
      const id = Number(chainId);
      if (!nodes.has(id)) {
        throw { code: 4902, message: 'Unrecognized chain ID' };
      }
      wallet.chainId = id;
      return null;
    },
    wallet_addEthereumChain([chain]) {
      wallet.added.push(chain);
      nodes.set(Number(chain.chainId), reachable.get(Number(chain.chainId)));
      return null;
    },
    async eth_call(params) {
      const response = await fetch(nodes.get(wallet.chainId), {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'eth_call', params }),
      });
      return (await response.json()).result;
    },
    eth_signTypedData_v4([from, json]) {
      const { types: { EIP712Domain, ...types }, ...typed } = JSON.parse(json);
      if (from !== account.address || Number(typed.domain.chainId) !== wallet.chainId) {
        throw { code: -32603, message: `another account or chain: ${from}, ${typed.domain.chainId}` };
      }
      return account.signTypedData({ ...typed, types });
    },
  };
  wallet.ask = async (method, params) => {
    wallet.asked.push(method);
    const answer = answers[method];
    if (answer && typeof answer !== 'function') {
      throw answer;
    }
    return answer ? answer(params, methods[method]) : methods[method](params);
  };
  return wallet;
}

/** A wallet on Solana. With `answer`, it says that instead of signing. */
export async function solanaWallet({ name = 'Test Solana', who = 'client', answer } = {}) {
  const signer = await createKeyPairSignerFromPrivateKeyBytes(SVM_SEEDS[who]);
  const { address } = await svmSigner(who);
  const publicKey = new Uint8Array(await crypto.subtle.exportKey('raw', signer.keyPair.publicKey));
  const wallet = { kind: 'svm', name, icon: icon('#6b3fa0'), address, publicKey: [...publicKey], asked: [] };
  wallet.ask = async (method, transaction) => {
    wallet.asked.push(method);
    if (answer) {
      throw answer;
    }
    const bytes = Uint8Array.from(transaction);
    const message = bytes.subarray(1 + 64 * bytes[0]);
    bytes.set(await signBytes(signer.keyPair.privateKey, message), 1 + 64);
    return [...bytes];
  };
  return wallet;
}

export const icon = colour =>
  `data:image/svg+xml,${encodeURIComponent(`<svg xmlns="http://www.w3.org/2000/svg" width="24" height="24"><circle cx="12" cy="12" r="12" fill="${colour}"/></svg>`)}`;

/** Runs in the page, before its script: announces the wallets as extensions of a browser do. */
function announce(wallets) {
  const ask = async (index, method, params) => {
    const { result, error } = await window.askWallet(index, method, params);
    if (error) {
      throw Object.assign(new Error(error.message), error);
    }
    return result;
  };
  wallets.forEach(({ kind, name, icon, address, publicKey, isOld }, index) => {
    if (kind === 'evm') {
      const provider = { request: ({ method, params = [] }) => ask(index, method, params) };
      if (isOld) {
        window.ethereum = provider;
        return;
      }
      const detail = Object.freeze({ info: { uuid: `wallet-${index}`, name, icon, rdns: 'test.wallet' }, provider });
      const tell = () => window.dispatchEvent(new CustomEvent('eip6963:announceProvider', { detail }));
      window.addEventListener('eip6963:requestProvider', tell);
      tell();
      return;
    }
    const account = {
      address,
      publicKey: Uint8Array.from(publicKey),
      chains: ['solana:devnet'],
      features: ['solana:signTransaction'],
    };
    const wallet = {
      version: '1.0.0',
      name,
      icon,
      chains: ['solana:mainnet', 'solana:devnet'],
      accounts: [],
      features: {
        'standard:connect': { version: '1.0.0', connect: async () => ({ accounts: [account] }) },
        'solana:signTransaction': {
          version: '1.0.0',
          async signTransaction({ transaction }) {
            return [{ signedTransaction: Uint8Array.from(await ask(index, 'signTransaction', [...transaction])) }];
          },
        },
      },
    };
    const register = api => api.register(wallet);
    window.dispatchEvent(new CustomEvent('wallet-standard:register-wallet', { detail: register }));
    window.addEventListener('wallet-standard:app-ready', ({ detail }) => register(detail));
  });
}

/** A tab of a fresh profile with these wallets. What it asks of others than this machine is in `strays`. */
export async function newTab(browser, wallets = [], { viewport, media = [] } = {}) {
  const context = await browser.createBrowserContext();
  const tab = await context.newPage();
  const strays = [];
  const errors = [];
  tab.on('request', request => {
    const { protocol, hostname } = new URL(request.url());
    if (/^https?:$/.test(protocol) && hostname !== '127.0.0.1') {
      strays.push(request.url());
    }
  });
  tab.on('pageerror', error => errors.push(error.message));
  tab.on('console', message => {
    if (message.type() === 'error' && !/Failed to load resource/.test(message.text())) {
      errors.push(message.text());
    }
  });
  tab.setDefaultTimeout(WAIT_MS);
  if (viewport) {
    await tab.setViewport(viewport);
  }
  await tab.emulateMediaFeatures(media);
  await tab.exposeFunction('askWallet', async (index, method, params) => {
    try {
      return { result: await wallets[index].ask(method, params) };
    } catch (error) {
      return { error: { code: error.code, message: error.message ?? `${error}` } };
    }
  });
  await tab.evaluateOnNewDocument(announce, wallets.map(({ ask, asked, added, ...wallet }) => wallet));
  return {
    tab,
    strays,
    errors,
    open: (url, options) => tab.goto(url, options),
    close: () => context.close(),
    /** Presses the button whose text has a match. */
    async press(text) {
      const handle = await tab.waitForFunction(
        pattern => [...document.querySelectorAll('button')].find(it => !it.disabled && new RegExp(pattern).test(it.textContent)),
        {},
        text.source ?? text,
      );
      await handle.click();
    },
    /** Until the text of the document has a match; tells the text. */
    async says(text) {
      const pattern = text.source ?? text;
      const has = pattern => document.body && new RegExp(pattern, 's').test(document.body.innerText) && document.body.innerText;
      try {
        const handle = await tab.waitForFunction(has, { polling: 100 }, pattern);
        return await handle.jsonValue();
      } catch (error) {
        const seen = await tab.evaluate(() => document.body?.innerText).catch(() => undefined);
        throw new Error(`the page does not say ${pattern}: ${error.message}\n${seen}\n${errors.join('\n')}`);
      }
    },
    /** Lets the tab save files; tells the folder. */
    async saves(name) {
      const folder = path.join(OUT, `downloads-${name}-${process.pid}`);
      fs.rmSync(folder, { recursive: true, force: true });
      fs.mkdirSync(folder, { recursive: true });
      const session = await tab.createCDPSession();
      await session.send('Browser.setDownloadBehavior', {
        behavior: 'allow',
        downloadPath: folder,
        browserContextId: context.id,
      });
      return folder;
    },
  };
}
