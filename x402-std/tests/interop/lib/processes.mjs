// Starts background processes, remembers their pids under out/, and stops them by pid.
import { execFileSync, spawn } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { HOST, isOurPort } from './config.mjs';

export const ROOT = fileURLToPath(new URL('..', import.meta.url));
export const OUT = path.join(ROOT, 'out');

const POLL_MS = 50;
const START_MS = 60_000;
const STOP_MS = 5_000;

// The port is in the name, so that runs with different ports do not mix.
export const logOf = ({ name, port }) => path.join(OUT, `${name}-${port}.log`);
const pidFileOf = ({ name, port }) => path.join(OUT, `${name}-${port}.pid`);

// Pids of this script's own children: they are certainly the processes that it started.
const children = new Set();
let closing = false;

function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

export function portIsTaken(port) {
  return new Promise(resolve => {
    const socket = net.connect({ host: HOST, port });
    const answer = taken => {
      socket.destroy();
      resolve(taken);
    };
    socket.on('connect', () => answer(true));
    socket.on('error', () => answer(false));
  });
}

/** Starts `command`, which must open `port`; returns when the port is open and the log says what it must. */
export async function start({ name, command, args, env = {}, port, says = /^/, again = false }) {
  if (await portIsTaken(port)) {
    throw new Error(`${name}: port ${port} is already in use (by a killed run? node run.mjs --stop)`);
  }
  if (closing) {
    throw new Error(`${name}: not started, everything is being stopped`);
  }
  fs.mkdirSync(OUT, { recursive: true });
  const log = fs.openSync(logOf({ name, port }), again ? 'a' : 'w');
  // Detached: Ctrl-C reaches only the script that started it, which stops it in its turn.
  const child = spawn(command, args, {
    cwd: ROOT,
    env: { ...process.env, ...env },
    stdio: ['ignore', log, log],
    detached: true,
  });
  fs.closeSync(log);
  child.unref();
  let failure;
  child.on('error', error => {
    failure = error.message;
  });
  child.on('exit', (code, signal) => {
    children.delete(child.pid);
    failure = `ended with ${signal ?? code}`;
  });
  if (child.pid) {
    children.add(child.pid);
    fs.writeFileSync(pidFileOf({ name, port }), JSON.stringify({ name, port, pid: child.pid, args }));
  }
  const deadline = Date.now() + START_MS;
  const isUp = async () =>
    says.test(fs.readFileSync(logOf({ name, port }), 'utf8')) && (await portIsTaken(port));
  while (!failure && !(await isUp())) {
    if (Date.now() > deadline) {
      failure = `port ${port} not open after ${START_MS / 1000} s`;
    }
    await sleep(POLL_MS);
  }
  if (failure) {
    await stop({ name, port });
    throw new Error(`${name} did not start (${failure}), see ${logOf({ name, port })}`);
  }
}

/** The pid of a process that `start` made. */
export const pidOf = ({ name, port }) => JSON.parse(fs.readFileSync(pidFileOf({ name, port }), 'utf8')).pid;

/** How much memory a process has. */
export const megabytesOf = pid =>
  Math.round(Number(execFileSync('ps', ['-o', 'rss=', '-p', `${pid}`], { encoding: 'utf8' })) / 1024);

/** Ends a process that `start` made, with SIGKILL or another signal, and waits until it is gone. */
export async function kill({ name, port }, signal = 'SIGKILL') {
  const pid = pidOf({ name, port });
  if (!children.has(pid)) {
    throw new Error(`${name} has ended already, see ${logOf({ name, port })}`);
  }
  process.kill(pid, signal);
  while (children.has(pid)) {
    await sleep(POLL_MS);
  }
  fs.rmSync(pidFileOf({ name, port }));
}

/** Whether a process that `start` made is still there. */
export function isRunning({ name, port }) {
  const pidFile = pidFileOf({ name, port });
  return fs.existsSync(pidFile) && children.has(pidOf({ name, port }));
}

/** Stops the process that `start` recorded, in this run or in an earlier one. */
export async function stop({ name, port }) {
  const pidFile = pidFileOf({ name, port });
  if (!fs.existsSync(pidFile)) {
    return;
  }
  const { pid, args } = JSON.parse(fs.readFileSync(pidFile, 'utf8'));
  fs.rmSync(pidFile);
  // A pid left by an earlier run may belong to somebody else by now.
  if (!isAlive(pid) || !(children.has(pid) || args.every(arg => commandLine(pid).includes(arg)))) {
    return;
  }
  process.kill(pid, 'SIGTERM');
  const deadline = Date.now() + STOP_MS;
  while (isAlive(pid) && Date.now() < deadline) {
    await sleep(POLL_MS);
  }
  if (isAlive(pid)) {
    process.kill(pid, 'SIGKILL');
  }
}

/** Stops everything that this script started; nothing starts after it. */
export async function stopChildren() {
  closing = true;
  await Promise.all(recorded().filter(({ pid }) => children.has(pid)).map(stop));
}

/** Stops what a killed run left on these ports. */
export async function stopLeftovers() {
  await Promise.all(recorded().filter(({ port }) => isOurPort(port)).map(stop));
}

function recorded() {
  const pidFiles = fs.existsSync(OUT) ? fs.readdirSync(OUT).filter(name => name.endsWith('.pid')) : [];
  return pidFiles.map(name => JSON.parse(fs.readFileSync(path.join(OUT, name), 'utf8')));
}

function commandLine(pid) {
  try {
    return execFileSync('ps', ['-ww', '-p', `${pid}`, '-o', 'args='], { encoding: 'utf8' }).trim();
  } catch {
    return '';
  }
}
