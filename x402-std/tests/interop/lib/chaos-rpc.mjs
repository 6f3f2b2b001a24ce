// A proxy in front of a JSON-RPC node that can hold a call, lose it, and lie about it.
import http from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort, HOST } from './config.mjs';

/**
 * Starts a proxy to `target`. `decide({ method, params }, proxy)` says what to do to a
 * call, undefined for nothing:
 *   before    a promise to wait for before the call goes on; if it gives false, the call never goes on
 *   twice     it goes on twice
 *   answer    it does not go on, and this is the result, or a promise of it
 *   status    it does not go on, and this is the HTTP status
 *   after     a promise to wait for before the answer goes back, or a function of the answer that gives one
 *   change    what makes another answer out of the true one
 *   error     it goes on, and the answer is this JSON-RPC error
 *   truncate  half of the answer goes back
 *   cut       'before' or 'after' it goes on, the connection ends
 */
export async function startProxy(target, decide, port = freePort()) {
  const onward = new http.Agent({ keepAlive: true });
  const waiting = new Set();
  const server = http.createServer(async (request, response) => {
    const reply = (status, body) => response.writeHead(status, { 'content-type': 'application/json' }).end(body);
    try {
      const body = Buffer.concat(await request.toArray());
      const call = JSON.parse(body.toString());
      // Nobody sends several in one request; who does is taken by its first.
      const first = Array.isArray(call) ? call[0] : call;
      const fate = decide(first, proxy) ?? {};
      const about = { jsonrpc: '2.0', id: first.id };
      if ((await fate.before) === false || fate.cut === 'before') {
        response.destroy();
        return;
      }
      if (fate.status) {
        reply(fate.status, 'no');
        return;
      }
      if (fate.answer !== undefined) {
        reply(200, JSON.stringify({ ...about, result: await fate.answer }));
        return;
      }
      let answer = JSON.parse(await forward(target, onward, body));
      if (fate.twice) {
        answer = JSON.parse(await forward(target, onward, body));
      }
      // What was asked later may be answered sooner.
      for (const wake of waiting) {
        wake();
      }
      await (typeof fate.after === 'function' ? fate.after(answer) : fate.after);
      if (fate.cut === 'after') {
        response.destroy();
        return;
      }
      if (fate.error) {
        answer = { ...about, error: fate.error };
      }
      const text = JSON.stringify(fate.change ? fate.change(answer) : answer);
      reply(200, fate.truncate ? text.slice(0, text.length / 2) : text);
    } catch {
      response.destroy();
    }
  });
  const proxy = {
    url: `http://${HOST}:${port}`,
    /** Until another call is answered, or for `ms`. */
    overtaken: ms =>
      new Promise(resolve => {
        const wake = () => {
          waiting.delete(wake);
          resolve();
        };
        waiting.add(wake);
        sleep(ms).then(wake);
      }),
    close() {
      server.closeAllConnections();
      server.close();
      onward.destroy();
    },
  };
  await new Promise((resolve, reject) => server.once('error', reject).listen(port, HOST, resolve));
  return proxy;
}

function forward(target, agent, body) {
  const { hostname, port } = new URL(target);
  const headers = { 'content-type': 'application/json', 'content-length': body.length };
  return new Promise((resolve, reject) => {
    const request = http.request({ hostname, port, method: 'POST', headers, agent }, async response => {
      resolve(Buffer.concat(await response.toArray()).toString());
    });
    request.on('error', reject);
    request.end(body);
  });
}

/** Holds the first call that is asked for: `trap.decide` is for a proxy, `trap.caught` says when it holds one. */
export function trap(methods, { when, result = () => true }) {
  let caught;
  let release;
  let isSet = false;
  const isCaught = new Promise(resolve => {
    caught = resolve;
  });
  const released = new Promise(resolve => {
    release = resolve;
  });
  const hold = method => {
    isSet = false;
    caught(method);
    return released;
  };
  return {
    caught: isCaught,
    /** From now on it holds. */
    set: () => {
      isSet = true;
    },
    /** Whether a call that was held before it went on goes on now. */
    release,
    decide({ method }) {
      if (!isSet || !methods.includes(method)) {
        return undefined;
      }
      if (when === 'before') {
        return { before: hold(method) };
      }
      return { after: answer => (isSet && result(answer.result) ? hold(method) : undefined) };
    },
  };
}
