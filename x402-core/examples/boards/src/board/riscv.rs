//! The RISC-V board: QEMU `virt`.

use core::arch::asm;
use core::ptr;

/// The core's timer: 64 bits, 10 MHz, and when it is to interrupt.
const MTIME: usize = 0x0200_bff8;
const MTIMECMP: usize = 0x0200_4000;

/// The serial line (NS16550).
const UART: usize = 0x1000_0000;
const UART_FIFO_CONTROL: usize = 2;
const UART_LINE_STATUS: usize = 5;

fn read<T: Copy>(address: usize) -> T {
    // SAFETY: the callers, all in this file, read registers of the board. None of them has a side
    // effect on memory that Rust knows.
    unsafe { ptr::read_volatile(address as *const T) }
}

fn write<T>(address: usize, value: T) {
    // SAFETY: as for `read`; none of these devices has direct memory access.
    unsafe { ptr::write_volatile(address as *mut T, value) }
}

pub(super) fn start() {
    // The timer wakes the core and no more: interrupts stay off, there are no handlers.
    // SAFETY: for the same reason, nothing can be interrupted.
    unsafe { riscv::register::mie::set_mtimer() };
}

pub(super) fn idle() {
    let then = ticks() + 10_000;
    // Its halves are not written at once; so it does not come too early.
    write(MTIMECMP, u32::MAX);
    write(MTIMECMP + 4, (then >> 32) as u32);
    write(MTIMECMP, then as u32);
    riscv::asm::wfi();
}

pub(super) fn millis() -> u64 {
    ticks() / 10_000
}

fn ticks() -> u64 {
    loop {
        let high: u32 = read(MTIME + 4);
        let low: u32 = read(MTIME);
        // Else the lower half went round between the two.
        if high == read(MTIME + 4) {
            return u64::from(high) << 32 | u64::from(low);
        }
    }
}

pub(super) fn instructions() -> u64 {
    riscv::register::minstret::read64()
}

pub(super) fn stack_pointer() -> usize {
    let at: usize;
    // SAFETY: it only reads a register.
    unsafe { asm!("mv {}, sp", out(reg) at, options(nomem, nostack, preserves_flags)) };
    at
}

pub(super) fn uart_start() {
    // Both queues on and empty.
    write(UART + UART_FIFO_CONTROL, 0b111_u8);
}

pub(super) fn uart_get() -> Option<u8> {
    (read::<u8>(UART + UART_LINE_STATUS) & 1 != 0).then(|| read(UART))
}

pub(super) fn uart_put(byte: u8) -> bool {
    let free = read::<u8>(UART + UART_LINE_STATUS) & 1 << 5 != 0;
    if free {
        write(UART, byte);
    }
    free
}

#[unsafe(export_name = "ExceptionHandler")]
fn exception(_: &riscv_rt::TrapFrame) -> ! {
    panic!(
        "fault at {:#x}, cause {:#x}",
        riscv::register::mepc::read(),
        riscv::register::mcause::read().bits()
    )
}
