// Where the firmware is, and how it is started.
import path from 'node:path';
import { fileURLToPath } from 'node:url';

/** The target folder that the firmware was built into; without it there are no cases on boards. */
const BOARDS = process.env.BOARDS;

export const TARGETS = BOARDS ? ['thumbv7em-none-eabihf', 'riscv32imc-unknown-none-elf'] : [];

/** The machine that runs the emulator, as the board sees it. */
export const seenFromBoard = url => url.replace('127.0.0.1', '10.0.2.2');

export const QEMU = fileURLToPath(new URL('../../../../x402-core/examples/boards/qemu.sh', import.meta.url));

export const firmware = (target, name) => path.join(BOARDS, target, 'release', name);
