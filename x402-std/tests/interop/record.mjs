// node record.mjs TARGET_URL FILE : a proxy on PORT that appends every exchange to FILE, one JSON line each.
import fs from 'node:fs';
import http from 'node:http';
import { HOST, PORTS } from './lib/config.mjs';

const PORT = Number(process.env.PORT ?? PORTS.recorder);
const ENCODED_HEADERS = [
  'payment-required',
  'payment-signature',
  'payment-response',
  'x-payment',
  'x-payment-response',
];
const HOP_HEADERS = ['connection', 'content-length', 'keep-alive', 'transfer-encoding'];

const [targetUrl, file] = process.argv.slice(2);
if (!targetUrl || !file) {
  console.error('usage: node record.mjs TARGET_URL FILE');
  process.exit(2);
}
const target = new URL(targetUrl);

function pairs(rawHeaders) {
  const list = [];
  for (let i = 0; i < rawHeaders.length; i += 2) {
    list.push([rawHeaders[i], rawHeaders[i + 1]]);
  }
  return list;
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function message(rawHeaders, body) {
  const headers = pairs(rawHeaders);
  const decodedHeaders = {};
  for (const [name, value] of headers) {
    if (ENCODED_HEADERS.includes(name.toLowerCase())) {
      const text = Buffer.from(value, 'base64').toString();
      decodedHeaders[name] = parse(text) ?? text;
    }
  }
  return { headers, body, json: parse(body), decodedHeaders };
}

function forward(request, body) {
  const options = { host: target.hostname, port: target.port, method: request.method, path: request.url };
  return new Promise((resolve, reject) => {
    const upstream = http.request({ ...options, headers: request.headers }, async response => {
      resolve({ response, body: Buffer.concat(await response.toArray()) });
    });
    upstream.on('error', reject);
    upstream.end(body);
  });
}

const server = http.createServer(async (request, reply) => {
  const sent = Buffer.concat(await request.toArray());
  try {
    const { response, body } = await forward(request, sent);
    const exchange = {
      request: { method: request.method, path: request.url, ...message(request.rawHeaders, sent.toString()) },
      response: { status: response.statusCode, ...message(response.rawHeaders, body.toString()) },
    };
    fs.appendFileSync(file, `${JSON.stringify(exchange)}\n`);
    for (const [name, value] of pairs(response.rawHeaders)) {
      if (!HOP_HEADERS.includes(name.toLowerCase())) {
        reply.appendHeader(name, value);
      }
    }
    reply.statusCode = response.statusCode;
    reply.end(body);
  } catch (error) {
    reply.statusCode = 502;
    reply.end(error.message);
  }
});
server.listen(PORT, HOST, () => console.log(`recording http://${HOST}:${PORT} -> ${target.origin}`));
