// The claims in a file of SQLite, which a process may be using.
import { execFileSync } from 'node:child_process';
import { PYTHON } from './install.mjs';

const SCRIPT = 'import sqlite3, sys; print(sqlite3.connect(sys.argv[1]).execute(sys.argv[2]).fetchone()[0])';

/** How many there are, or how many of those of which `where` is true. */
export function claimsIn(file, where = 'true') {
  const query = `SELECT count(*) FROM claims WHERE ${where}`;
  return Number(execFileSync(PYTHON, ['-c', SCRIPT, file, query], { encoding: 'utf8' }));
}
