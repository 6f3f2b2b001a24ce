// The page of a resource that costs. It stands alone: no import, no request but to the resource itself and to
// a Solana node. Every text from outside goes into the page by `textContent`.
// What is signed here is byte for byte what the Rust buyer signs: `tests/page.rs` and the browser's cases.

const encoder = new TextEncoder();

// ---- Bytes

const hexOf = bytes => Array.from(bytes, byte => byte.toString(16).padStart(2, '0')).join('');

const base64Of = bytes => btoa(String.fromCharCode(...bytes));

const bytesOfBase64 = text => Uint8Array.from(atob(text), char => char.charCodeAt(0));

const ALPHABET = '123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz';

/** The 32 bytes of an address or a blockhash in base58. */
export function base58(text) {
  let number = 0n;
  for (const char of text) {
    const digit = ALPHABET.indexOf(char);
    if (digit < 0) throw new Error('not base58');
    number = number * 58n + BigInt(digit);
  }
  const hex = number.toString(16).padStart(64, '0');
  if (hex.length > 64) throw new Error('not 32 bytes');
  return Uint8Array.from(hex.match(/../g), pair => parseInt(pair, 16));
}

const concat = (...parts) => Uint8Array.from(parts.flatMap(part => [...part]));

const littleEndian = (value, bytes) => Array.from({ length: bytes }, (_, at) => Number((BigInt(value) >> BigInt(8 * at)) & 255n));

// ---- EVM: EIP-3009

/** The longest time, in seconds, for which a payment is valid, whatever the offer says. */
const MAX_VALIDITY = 3600;

/** The typed data of a payment by EIP-3009. `now` in seconds, `nonce` 32 bytes. */
export function typedData(offer, from, now, nonce) {
  const validBefore = now + Math.min(offer.maxTimeoutSeconds, MAX_VALIDITY);
  const field = (name, type) => ({ name, type });
  return {
    types: {
      EIP712Domain: [field('name', 'string'), field('version', 'string'), field('chainId', 'uint256'), field('verifyingContract', 'address')],
      TransferWithAuthorization: [
        field('from', 'address'),
        field('to', 'address'),
        field('value', 'uint256'),
        field('validAfter', 'uint256'),
        field('validBefore', 'uint256'),
        field('nonce', 'bytes32'),
      ],
    },
    primaryType: 'TransferWithAuthorization',
    domain: { name: offer.extra.name, version: offer.extra.version, chainId: Number(offer.network.split(':')[1]), verifyingContract: offer.asset },
    message: { from, to: offer.payTo, value: offer.amount, validAfter: '0', validBefore: `${validBefore}`, nonce: `0x${hexOf(nonce)}` },
  };
}

// ---- Solana: one transfer and a memo, in a v0 transaction

const PRIME = 2n ** 255n - 19n;
const CURVE_D = 37095705934669439343138083508754565189542113879843219016388785533085940283555n;

function power(base, exponent) {
  let result = 1n;
  for (base %= PRIME; exponent > 0n; exponent >>= 1n) {
    if (exponent & 1n) result = (result * base) % PRIME;
    base = (base * base) % PRIME;
  }
  return result;
}

/** Whether 32 bytes are a point of Ed25519's curve: x² = (y² - 1) / (d·y² + 1) has a root. */
function isOnCurve(bytes) {
  const y = BigInt(`0x${hexOf([...bytes].reverse())}`) & ((1n << 255n) - 1n);
  const square = (y * y) % PRIME;
  const above = (square + PRIME - 1n) % PRIME;
  const below = (CURVE_D * square + 1n) % PRIME;
  const x2 = (above * power(below, PRIME - 2n)) % PRIME;
  return x2 === 0n || power(x2, (PRIME - 1n) / 2n) === 1n;
}

const ASSOCIATED_TOKEN = base58('ATokenGPvbdGVxr1b2hvZbsiqW5xWH25efTNsLJA8knL');
const MEMO = base58('MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr');
const COMPUTE_BUDGET = base58('ComputeBudget111111111111111111111111111111');
const TOKEN_2022 = 'TokenzQdBNbLqP5VEhdkAS6EPFLC1PHnBqCXEpPxuEb';

/** The token account that belongs to an owner. */
export async function tokenAccount(owner, program, mint) {
  for (let bump = 255; bump >= 0; bump -= 1) {
    const seeds = concat(owner, program, mint, [bump], ASSOCIATED_TOKEN, encoder.encode('ProgramDerivedAddress'));
    const address = new Uint8Array(await crypto.subtle.digest('SHA-256', seeds));
    if (!isOnCurve(address)) return address;
  }
  throw new Error('no token account');
}

/** Compute units to ask for, before those added at random. */
function computeUnits(isToken2022, memo) {
  const bytes = Math.max(0, encoder.encode(memo).length - 32);
  const escapes = [...memo].filter(char => char < ' ' || char > '~').length;
  return Math.min(20_000 + (isToken2022 ? 3_000 : 0) + bytes * 340 + escapes * 20_000, 400_000 - 4095);
}

/** A transaction to be signed by the payer. `coin` has the token's program and decimals, `nonce` 16 bytes. */
export async function solanaTransaction(offer, coin, payer, blockhash, nonce) {
  const [mint, program, payTo, feePayer] = [offer.asset, coin.program, offer.payTo, offer.extra.feePayer].map(base58);
  const source = await tokenAccount(payer, program, mint);
  const destination = await tokenAccount(payTo, program, mint);
  const given = offer.extra.memo;
  const memo = given || hexOf(nonce);
  let units = computeUnits(coin.program === TOKEN_2022, memo);
  // Two payments with the seller's memo and one blockhash would be one transaction.
  if (given) units += (nonce[0] | (nonce[1] << 8)) % 4096;
  const sorted = keys => keys.sort((one, other) => (hexOf(one) < hexOf(other) ? -1 : 1));
  const keys = [feePayer, payer, ...sorted([source, destination]), ...sorted([program, mint, MEMO, COMPUTE_BUDGET])];
  if (new Set(keys.map(hexOf)).size < keys.length) throw new Error('an address has two parts');
  const place = key => keys.findIndex(other => hexOf(other) === hexOf(key));
  const short = length => (length < 128 ? [length] : [(length & 127) | 128, length >> 7]);
  const instruction = (program, accounts, data) => [place(program), accounts.length, ...accounts.map(place), ...short(data.length), ...data];
  const message = concat(
    [0x80, 2, 1, 4, keys.length],
    ...keys,
    blockhash,
    [4],
    instruction(COMPUTE_BUDGET, [], [2, ...littleEndian(units, 4)]),
    instruction(COMPUTE_BUDGET, [], [3, ...littleEndian(1, 8)]),
    instruction(program, [source, mint, destination, payer], [12, ...littleEndian(offer.amount, 8), coin.decimals]),
    instruction(MEMO, [], encoder.encode(memo)),
    [0],
  );
  return concat([2], new Uint8Array(128), message);
}

// ---- The payment

/**
 * The payment as the value of its header. `data` is the page's, `index` the offer's place, `payload` the
 * scheme's. Offer and resource are repeated in the seller's own spelling.
 */
export function paymentHeader(data, index, payload, id = hexOf(crypto.getRandomValues(new Uint8Array(16)))) {
  const { resource, accepts, extensions } = data.raw;
  const parts = [['x402Version', '2'], ['resource', resource], ['accepted', accepts[index]], ['payload', JSON.stringify(payload)]];
  if (extensions) {
    const echo = JSON.parse(extensions);
    const named = echo['payment-identifier']?.info;
    const isNew = named && !named.id;
    if (isNew) named.id = `pay_${id}`;
    parts.push(['extensions', isNew ? JSON.stringify(echo) : extensions]);
  }
  const json = `{${parts.filter(([, value]) => value).map(([key, value]) => `"${key}":${value}`).join()}}`;
  return base64Of(encoder.encode(json));
}

/** An amount in the token's units as a decimal number. */
export function decimal(units, decimals) {
  const digits = `${units}`.padStart(decimals + 1, '0');
  const fraction = digits.slice(digits.length - decimals).replace(/0+$/, '');
  return digits.slice(0, digits.length - decimals) + (decimals && fraction ? `.${fraction}` : '');
}

// ---- The page

/** Characters of the payment in one cookie: browsers keep 4096 bytes of each. */
const COOKIE_CHARS = 3800;
/** Time between two presentations of a payment that is not confirmed yet. */
const AGAIN_MS = 3000;
/** Time for which the receipt stays before the answer takes its place. */
const RECEIPT_MS = 1500;

function run() {
  const data = JSON.parse(document.getElementById('x402-data').textContent);
  const { texts, offers, method } = data;
  const accepts = data.raw.accepts.map(raw => JSON.parse(raw));
  const body = data.body ? bytesOfBase64(data.body) : undefined;
  const started = performance.now();
  const now = () => data.now + Math.floor((performance.now() - started) / 1000);
  const name = `x402-${data.key}`;
  /** Whether the browser itself can make the request: by its address, or by a form. */
  const isForm = method === 'GET' || isRepeatable();
  /** Whether a form of the same fields makes the same body, byte for byte. */
  function isRepeatable() {
    if (!data.contentType?.startsWith('application/x-www-form-urlencoded')) return false;
    const text = body ? new TextDecoder().decode(body) : '';
    const fields = new URLSearchParams(text);
    const isPlain = ([name, value]) => name !== '_charset_' && !/[\r\n]/.test((name + value).replaceAll('\r\n', ''));
    return fields.toString() === text && [...fields].every(isPlain);
  }

  // What is said: `{name}` in a text stands for a value.
  const say = (key, values = {}) => (texts[key] ?? key).replace(/\{(\w+)\}/g, (all, name) => values[name] ?? all);
  const make = (tag, attributes = {}, ...children) => {
    const element = document.createElement(tag);
    for (const [key, value] of Object.entries(attributes)) {
      if (key.startsWith('on')) element.addEventListener(key.slice(2), value);
      else if (value !== undefined && value !== false) element.setAttribute(key, value === true ? '' : value);
    }
    element.append(...children.filter(child => child !== undefined));
    return element;
  };

  // ---- What is remembered: the payment in flight, in this browser, until nobody can use it any more

  const remembered = () => {
    try {
      const kept = JSON.parse(localStorage.getItem(name));
      return kept?.payment && kept.until > now() ? kept : undefined;
    } catch {
      return undefined;
    }
  };
  const remember = kept => {
    try {
      if (kept) localStorage.setItem(name, JSON.stringify(kept));
      else localStorage.removeItem(name);
    } catch {
      // Without storage the payment lives as long as the page.
    }
  };
  const cookie = (part, value, age) => {
    const secure = location.protocol === 'https:' ? '; secure' : '';
    document.cookie = `${name}-${part}=${value}; path=${location.pathname}; max-age=${age}; samesite=strict${secure}`;
  };
  /** Lets the browser present the payment at its next visits; returns whether it will. */
  const present = ({ payment, token }) => {
    // A `;` would end the cookie's path.
    if (location.pathname.includes(';')) return false;
    const parts = `${token}.${payment}`.match(new RegExp(`.{1,${COOKIE_CHARS}}`, 'g'));
    if (parts.length > 3) return false;
    parts.forEach((part, at) => cookie(at, part, data.kept));
    for (let at = parts.length; at < 3; at += 1) cookie(at, '', 0);
    return document.cookie.includes(`${name}-${parts.length - 1}=`);
  };
  const forget = () => {
    remember();
    globalThis.caches?.delete(name).catch(() => {});
    for (const part of [0, 1, 2]) cookie(part, '', 0);
  };

  /** Keeps the answer beside: the browser's own request may reach another server, which has none. */
  const store = async blob => {
    try {
      await (await caches.open(name)).put(location.href, new Response(blob));
    } catch {
      // Only pages over https have such a place.
    }
  };
  const stored = async () => {
    try {
      return await (await caches.match(location.href, { cacheName: name }))?.blob();
    } catch {
      return undefined;
    }
  };

  // ---- What is seen

  const root = document.getElementById('x402');
  const status = make('p', { role: 'status', class: 'x402-status' });
  const alert = make('p', { role: 'alert', class: 'x402-alert' });
  const wallets = make('div', { class: 'x402-wallets' });
  const actions = make('div', { class: 'x402-actions' });
  const receiptPlace = make('section', { class: 'x402-receipt', 'aria-label': say('receipt') });
  receiptPlace.hidden = true;
  let chosen = Math.max(0, offers.findIndex(offer => offer.payable));
  let isBusy = false;
  const found = [];

  const address = text => make('span', { title: text }, text.length > 16 ? `${text.slice(0, 8)}…${text.slice(-6)}` : text);
  const link = (offer, transaction) =>
    offer.explorer
      ? make('a', { href: offer.explorer.replace('{}', encodeURIComponent(transaction)), rel: 'noreferrer noopener', target: '_blank' }, `${transaction.slice(0, 12)}…`)
      : make('span', {}, transaction);

  function show(text) {
    status.textContent = text ?? '';
  }
  function fail(text, ...buttons) {
    show();
    alert.textContent = text;
    actions.replaceChildren(...buttons.filter(Boolean));
    buttons.find(Boolean)?.focus();
  }
  const button = (text, onclick) => make('button', { type: 'button', onclick }, text);

  function draw() {
    const { resource, seller } = data;
    const choices = offers.map((offer, index) =>
      make(
        'label',
        { class: 'x402-offer' },
        make('input', {
          type: 'radio',
          name: 'offer',
          value: `${index}`,
          checked: index === chosen,
          disabled: !offer.payable,
          onchange: () => {
            chosen = index;
            drawWallets();
          },
        }),
        make('span', { class: 'x402-price' }, offer.price),
        make('span', {}, say('on', { network: offer.name })),
        make('small', {}, say('to'), ' ', address(accepts[index].payTo)),
        offer.testnet ? make('small', {}, say('testnet')) : undefined,
        offer.payable ? undefined : make('small', {}, say('notHere')),
      ),
    );
    const fact = (term, ...value) => [make('dt', {}, say(term)), make('dd', {}, ...value)];
    root.replaceChildren(
      make('h1', {}, resource.description || say('title')),
      make('dl', {}, ...fact('seller', seller || location.host), ...fact('for', resource.url || location.href)),
      make('fieldset', {}, make('legend', {}, say(offers.length > 1 ? 'choose' : 'price')), ...choices),
      wallets,
      status,
      alert,
      actions,
      receiptPlace,
      make('details', {}, make('summary', {}, say('otherWays')), make('p', {}, say('shell')), make('pre', { tabindex: '0' }, make('code', {}, data.command)), make('p', {}, say('agent'))),
    );
    drawWallets();
  }

  function drawWallets() {
    const offer = offers[chosen];
    const fitting = found.filter(wallet => wallet.family === offer?.family && wallet.canPay(offer));
    const icon = wallet => (/^data:image\//.test(wallet.icon ?? '') ? make('img', { src: wallet.icon, alt: '', width: '24', height: '24' }) : undefined);
    const buttons = fitting.map(wallet =>
      make('button', { type: 'button', disabled: isBusy, onclick: () => buy(wallet, chosen) }, icon(wallet), say('payWith', { wallet: wallet.name })),
    );
    const none = data.tooLong ? say('tooLong') : !offer?.payable ? say('nothingHere') : say(offer.family === 'svm' ? 'noSolanaWallet' : 'noEvmWallet');
    wallets.replaceChildren(...(buttons.length ? buttons : [make('p', { class: 'x402-none' }, none)]));
    actions.hidden = isBusy;
    for (const input of root.querySelectorAll('input')) input.disabled = isBusy || !offers[Number(input.value)].payable;
    root.setAttribute('aria-busy', `${isBusy}`);
  }

  function busy(on) {
    isBusy = on;
    if (on) {
      alert.textContent = '';
      actions.replaceChildren();
    }
    drawWallets();
  }

  // ---- Wallets

  function addWallet(wallet) {
    const isKnown = other => other.id === wallet.id && other.family === wallet.family;
    if (found.some(isKnown)) return;
    found.push(wallet);
    if (root.contains(wallets)) drawWallets();
  }

  function evmWallet(id, info, provider) {
    const ask = (method, params) => provider.request({ method, params });
    const onChain = async chainId => BigInt(await ask('eth_chainId')) === BigInt(chainId);
    return {
      id,
      family: 'evm',
      name: info.name,
      icon: info.icon,
      canPay: () => true,
      async connect() {
        const [account] = await ask('eth_requestAccounts');
        if (!account) throw said('noAccount');
        return account;
      },
      async prepare({ chainId, add }) {
        if (await onChain(chainId)) return;
        show(say('switching', { network: add?.chainName ?? chainId }));
        const to = [{ chainId: `0x${BigInt(chainId).toString(16)}` }];
        try {
          await ask('wallet_switchEthereumChain', to);
        } catch (error) {
          const code = error?.data?.originalError?.code ?? error?.code;
          if (code === 4001 || !add) throw error;
          await ask('wallet_addEthereumChain', [{ ...to[0], ...add }]);
          if (!(await onChain(chainId))) await ask('wallet_switchEthereumChain', to);
        }
        if (!(await onChain(chainId))) throw said('wrongChain', { network: add?.chainName ?? chainId });
      },
      async balance(account, accept) {
        const call = { to: accept.asset, data: `0x70a08231${account.slice(2).toLowerCase().padStart(64, '0')}` };
        return BigInt(await ask('eth_call', [call, 'latest']));
      },
      async sign(account, accept) {
        const typed = typedData(accept, account, now(), crypto.getRandomValues(new Uint8Array(32)));
        const signature = await ask('eth_signTypedData_v4', [account, JSON.stringify(typed)]);
        return { payload: { authorization: typed.message, signature }, until: Number(typed.message.validBefore) };
      },
    };
  }

  function solanaWallet(wallet) {
    const node = async (offer, method, ...params) => {
      const answer = await fetch(offer.rpc, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ jsonrpc: '2.0', id: 1, method, params }),
      });
      const { result, error } = await answer.json();
      if (error) throw new Error(error.message);
      return result;
    };
    return {
      id: wallet.name,
      family: 'svm',
      name: wallet.name,
      icon: wallet.icon,
      canPay: offer => wallet.chains.includes(offer.chain),
      async connect() {
        const { accounts } = await wallet.features['standard:connect'].connect();
        const account = (accounts ?? wallet.accounts).find(account => account.features?.includes('solana:signTransaction'));
        if (!account) throw said('noAccount');
        return account;
      },
      async prepare() {
        if (!globalThis.crypto?.subtle) throw said('insecure');
      },
      async balance({ publicKey }, accept, offer) {
        const account = await tokenAccount(new Uint8Array(publicKey), base58(offer.program), base58(accept.asset));
        const { value } = await node(offer, 'getMultipleAccounts', [base58Of(account)], { encoding: 'jsonParsed' });
        return BigInt(value[0]?.data?.parsed?.info?.tokenAmount?.amount ?? 0);
      },
      async sign(account, accept, offer) {
        let blockhash = accept.extra?.recentBlockhash;
        if (!blockhash) {
          try {
            blockhash = (await node(offer, 'getLatestBlockhash')).value.blockhash;
          } catch {
            throw said('noNode');
          }
        }
        const nonce = crypto.getRandomValues(new Uint8Array(16));
        const transaction = await solanaTransaction(accept, offer, new Uint8Array(account.publicKey), base58(blockhash), nonce);
        const feature = wallet.features['solana:signTransaction'];
        const [{ signedTransaction }] = await feature.signTransaction({ account, transaction, chain: offer.chain });
        // A blockhash is good for about a minute.
        return { payload: { transaction: base64Of(signedTransaction) }, until: now() + 90 };
      },
    };
  }

  const said = (key, values) => Object.assign(new Error(say(key, values)), { said: true });

  function findWallets() {
    addEventListener('eip6963:announceProvider', ({ detail }) => {
      if (detail?.info?.name && detail.provider?.request) addWallet(evmWallet(detail.info.uuid, detail.info, detail.provider));
    });
    dispatchEvent(new Event('eip6963:requestProvider'));
    const register = (...wallets) => {
      const usable = wallet =>
        Array.isArray(wallet?.chains) && wallet.features?.['standard:connect'] && wallet.features['solana:signTransaction'];
      for (const wallet of wallets.filter(usable)) addWallet(solanaWallet(wallet));
      return () => {};
    };
    const api = Object.freeze({ register });
    addEventListener('wallet-standard:register-wallet', ({ detail }) => detail?.(api));
    dispatchEvent(Object.assign(new Event('wallet-standard:app-ready'), { detail: api }));
    // Wallets of before EIP-6963.
    setTimeout(() => {
      for (const provider of [globalThis.ethereum, globalThis.compassEvm]) {
        if (provider?.request && !found.some(({ family }) => family === 'evm')) {
          addWallet(evmWallet('injected', { name: say('browserWallet') }, provider));
        }
      }
    }, 300);
  }

  // ---- Buying

  async function buy(wallet, index) {
    const open = remembered();
    if (open) return presentIt(open);
    const [offer, accept] = [offers[index], accepts[index]];
    let signed;
    busy(true);
    try {
      show(say('connecting', { wallet: wallet.name }));
      const account = await wallet.connect();
      await wallet.prepare(offer);
      show(say('checking'));
      const balance = await wallet.balance(account, accept, offer).catch(() => undefined);
      if (balance !== undefined && balance < BigInt(accept.amount)) {
        throw said('tooLittle', { balance: `${decimal(balance, offer.decimals)} ${offer.symbol}`, price: offer.price, network: offer.name });
      }
      show(balance === undefined ? say('sign') : say('signWith', { balance: `${decimal(balance, offer.decimals)} ${offer.symbol}` }));
      const { payload, until } = await wallet.sign(account, accept, offer);
      // Another tab may have been faster; what was signed here is not shown to anybody.
      const token = hexOf(crypto.getRandomValues(new Uint8Array(16)));
      signed = remembered() ?? { payment: paymentHeader(data, index, payload), token, until, index };
      remember(signed);
    } catch (error) {
      busy(false);
      const isNo = error?.code === 4001 || /reject|denied|cancel/i.test(error?.message ?? '');
      if (error?.said) fail(error.message);
      else if (isNo) fail(say('refused'));
      else if (error?.code === -32002) fail(say('walletBusy'));
      else fail(say('walletError', { error: `${error?.message ?? error}`.slice(0, 200) }));
      return undefined;
    }
    return presentIt(signed);
  }

  const receiptOf = headers => {
    try {
      const text = headers.get('payment-response') ?? headers.get('x-payment-response');
      return text && JSON.parse(new TextDecoder().decode(bytesOfBase64(text)));
    } catch {
      return undefined;
    }
  };
  const reasonOf = headers => {
    try {
      return JSON.parse(new TextDecoder().decode(bytesOfBase64(headers.get('payment-required')))).error;
    } catch {
      return undefined;
    }
  };

  /** Presents a payment, the same one as often as it takes. */
  async function presentIt(kept) {
    busy(true);
    // An answer that is paid first is made while it is read, and made once: the browser itself must read it.
    if (offers[kept.index].upfront && isForm && !kept.went && present(kept)) {
      show(say('settling'));
      return navigate(kept);
    }
    for (;;) {
      show(kept.transaction ? say('pending') : say('settling'));
      let answer;
      let blob;
      try {
        const headers = { 'PAYMENT-SIGNATURE': kept.payment, 'x402-page': kept.token, accept: '*/*', ...(data.contentType && { 'content-type': data.contentType }) };
        answer = await fetch(location.href, { method, headers, body, redirect: 'manual', cache: 'no-store' });
        blob = answer.ok ? await answer.blob() : undefined;
      } catch {
        busy(false);
        return fail(say('noAnswer'), button(say('again'), () => presentIt(kept)));
      }
      if (answer.type === 'opaqueredirect') {
        if (isForm && !kept.went && present(kept)) return navigate(kept);
        busy(false);
        return fail(say('sellerFailed', { status: 'redirect' }));
      }
      const receipt = receiptOf(answer.headers);
      if (answer.ok) return done(kept, answer, blob, receipt);
      const again = await refused(kept, answer.status, receipt, reasonOf(answer.headers), answer.headers.has('payment-required'));
      if (!again) return;
    }
  }

  /** Says why there is no answer; returns whether the payment is to be presented once more. */
  async function refused(kept, status, receipt, error, isSellers) {
    const reason = receipt?.errorReason ?? error ?? '';
    const isPending = /^(settlement_pending|busy)$/.test(reason);
    if (isPending && now() < kept.until + 60) {
      show(say('pending'));
      if (receipt?.transaction) {
        kept.transaction = receipt.transaction;
        showReceipt(kept, receipt);
      }
      await new Promise(resolve => setTimeout(resolve, AGAIN_MS));
      return true;
    }
    busy(false);
    // Anything without the seller's challenge, or after a settlement, is no refusal.
    const isRefused = isSellers && status < 500 && !receipt?.success;
    if (!isRefused || isPending) {
      fail(say(isPending ? 'stillPending' : 'sellerFailed', { status }), button(say('again'), () => presentIt(kept)));
      return false;
    }
    const answer = reason === 'duplicate_settlement' ? await stored() : undefined;
    forget();
    if (answer) return showBlob(answer);
    const key = `reason:${reason.split(/[:\s]/)[0]}`;
    fail(texts[key] ? say(key) : say('notTaken', { reason }));
    return false;
  }

  function showReceipt(kept, receipt) {
    const offer = offers[kept.index];
    receiptPlace.hidden = false;
    receiptPlace.replaceChildren(
      make('h2', {}, say(receipt.success ? 'paid' : 'sent')),
      make('p', {}, say('paidFor', { price: offer.price, network: offer.name }), ' ', say('to'), ' ', address(accepts[kept.index].payTo)),
      receipt.transaction ? make('p', {}, say('transaction'), ' ', link(offer, receipt.transaction)) : '',
    );
  }

  async function done(kept, answer, blob, receipt) {
    remember({ ...kept, until: Math.max(kept.until, now() + data.kept) });
    if (receipt) showReceipt(kept, { ...receipt, success: true });
    show(say('paid'));
    const disposition = answer.headers.get('content-disposition') ?? '';
    if (/^\s*attachment/i.test(disposition)) {
      const file = fileName(disposition);
      const save = () => make('a', { href: URL.createObjectURL(blob), download: file }).click();
      save();
      show(say('saved', { file }));
      isBusy = false;
      actions.replaceChildren(button(say('saveAgain'), save));
      actions.hidden = false;
      root.setAttribute('aria-busy', 'false');
      return;
    }
    // With this header the server gives the same answer to the browser's own request. If a proxy lost that request's
    // cookies, the answer is shown from here, without its scripts.
    const isAgain = isForm && answer.headers.has('x402-kept') && !kept.went && present(kept);
    if (isAgain) await store(blob);
    setTimeout(() => (isAgain ? navigate(kept) : showBlob(blob)), receipt ? RECEIPT_MS : 0);
  }

  function showBlob(blob) {
    location.replace(URL.createObjectURL(blob));
    return false;
  }

  /** Asks for the resource as the browser would; the payment is in the cookies. */
  function navigate(kept) {
    remember({ ...kept, until: Math.max(kept.until, now() + data.kept), went: true });
    if (method === 'GET') return location.reload();
    const form = make('form', { method: 'post', action: location.href });
    for (const [name, value] of new URLSearchParams(body && new TextDecoder().decode(body))) {
      form.append(make('input', { type: 'hidden', name, value }));
    }
    document.body.append(form);
    // A field may be named `submit`.
    HTMLFormElement.prototype.submit.call(form);
  }

  draw();
  findWallets();
  const open = remembered();
  if (data.refusal) {
    // The browser presented the payment, and got this page.
    const receipt = data.refusal.receipt ?? undefined;
    const kept = open ?? { until: 0, index: chosen };
    refused(kept, data.refusal.status, receipt, data.refusal.error, true).then(again => again && open && presentIt(open));
  } else if (open) {
    presentIt(open);
  } else {
    // What an earlier payment left.
    forget();
  }
}

const base58Of = bytes => {
  let text = '';
  for (let number = BigInt(`0x${hexOf(bytes)}`); number > 0n; number /= 58n) text = ALPHABET[Number(number % 58n)] + text;
  for (const byte of bytes) {
    if (byte !== 0) break;
    text = `1${text}`;
  }
  return text;
};

/** The name in a Content-Disposition, without folders. */
export function fileName(disposition) {
  const [, extended] = /filename\*=UTF-8''([^;]+)/i.exec(disposition) ?? [];
  const [, quoted, plain] = /filename=(?:"((?:[^"\\]|\\.)*)"|([^;]+))/i.exec(disposition) ?? [];
  let name = quoted?.replace(/\\(.)/g, '$1') ?? plain?.trim() ?? '';
  try {
    name = extended ? decodeURIComponent(extended) : name;
  } catch {
    // As it is.
  }
  return name.split(/[\\/]/).pop() || 'download';
}

if (globalThis.document?.getElementById('x402-data')) run();
