// Installs the npm and PyPI packages, unless the ones that the lock files name are there already.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const STEP_MS = 600_000;

const VENV = path.resolve(ROOT, process.env.INTEROP_VENV ?? '.venv');
export const PYTHON = path.join(VENV, 'bin', 'python');

export function installIfMissing() {
  once('package-lock.json', path.join(ROOT, 'node_modules'), [['npm', 'ci']]);
  once('requirements.txt', VENV, [
    [process.env.PYTHON ?? 'python3', '-m', 'venv', '--clear', VENV],
    [PYTHON, '-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', '-r', 'requirements.txt'],
  ]);
}

/** Runs `commands` unless `folder` says that they were run for the present contents of `list`. */
function once(list, folder, commands) {
  const wanted = createHash('sha256').update(fs.readFileSync(path.join(ROOT, list))).digest('hex');
  const stamp = path.join(folder, '.interop-installed');
  if (fs.existsSync(stamp) && fs.readFileSync(stamp, 'utf8') === wanted) {
    return;
  }
  for (const [command, ...args] of commands) {
    console.log(`installing: ${command} ${args.join(' ')}`);
    execFileSync(command, args, { cwd: ROOT, stdio: 'inherit', timeout: STEP_MS });
  }
  fs.writeFileSync(stamp, wanted);
}
