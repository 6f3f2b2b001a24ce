// An authority of our own, and a server's certificate from it. Needs `openssl`.
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { OUT } from './processes.mjs';

export const SERVER_NAME = 'shop.test';

/** { key, cert } for the server, and the file that the board takes as its authority. */
export function certificates() {
  const folder = fs.mkdtempSync(path.join(OUT, 'tls-'));
  const openssl = (...args) => execFileSync('openssl', args, { cwd: folder, stdio: 'pipe' });
  const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
  openssl('req', '-x509', ...newKey, '-days', '2', '-subj', '/CN=authority', '-keyout', 'ca.key', '-out', 'ca.pem');
  openssl('x509', '-in', 'ca.pem', '-outform', 'der', '-out', 'ca.der');
  openssl('req', ...newKey, '-subj', `/CN=${SERVER_NAME}`, '-keyout', 'server.key', '-out', 'server.csr');
  fs.writeFileSync(path.join(folder, 'names'), `subjectAltName=DNS:${SERVER_NAME}\n`);
  const authority = ['-CA', 'ca.pem', '-CAkey', 'ca.key', '-CAcreateserial', '-days', '2'];
  openssl('x509', '-req', '-in', 'server.csr', ...authority, '-extfile', 'names', '-out', 'server.pem');
  const read = name => fs.readFileSync(path.join(folder, name));
  return { key: read('server.key'), cert: read('server.pem'), authority: path.join(folder, 'ca.der') };
}
