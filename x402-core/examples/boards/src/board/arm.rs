//! The ARM boards: QEMU `mps2-an386` (Cortex-M4) and `mps2-an385` (Cortex-M3).

use core::arch::asm;
use core::ptr;
use core::sync::atomic::{AtomicU32, Ordering};

/// The dual timer (CMSDK APB): two counters that go down at 25 MHz.
const TIMER1: usize = 0x4000_2000;
const TIMER2: usize = TIMER1 + 0x20;
const TIMER_VALUE: usize = 0x04;
const TIMER_CONTROL: usize = 0x08;
const TIMER_ENABLE: u32 = 1 << 7;
const TIMER_32_BITS: u32 = 1 << 1;
/// 97656.25 Hz: it goes round in twelve hours.
const TIMER_SLOW: u32 = 0b10 << 2;

/// The serial line (CMSDK APB UART).
const UART: usize = 0x4000_4000;
const UART_STATE: usize = 0x04;
const UART_CONTROL: usize = 0x08;
const UART_DIVISOR: usize = 0x10;

/// The core's own timer, and the register that has its pending interrupt.
const SYSTICK_CONTROL: usize = 0xe000_e010;
const SYSTICK_RELOAD: usize = 0xe000_e014;
const SYSTICK_VALUE: usize = 0xe000_e018;
const INTERRUPT_CONTROL: usize = 0xe000_ed04;
const SYSTICK_FORGET: u32 = 1 << 25;

static SLOW: Wide = Wide::new();
static FAST: Wide = Wide::new();

/// Reads a register.
pub(super) fn read(address: usize) -> u32 {
    // SAFETY: the callers are the drivers of this board, each with the registers of its device.
    // None of them has a side effect on memory that Rust knows.
    unsafe { ptr::read_volatile(address as *const u32) }
}

/// Writes a register.
pub(super) fn write(address: usize, value: u32) {
    // SAFETY: as for `read`; no device of this board has direct memory access.
    unsafe { ptr::write_volatile(address as *mut u32, value) }
}

pub(super) fn start() {
    write(TIMER1 + TIMER_CONTROL, TIMER_ENABLE | TIMER_32_BITS | TIMER_SLOW);
    write(TIMER2 + TIMER_CONTROL, TIMER_ENABLE | TIMER_32_BITS);

    // A tick each millisecond, to sleep until the next one. There are no interrupt handlers: ticks
    // wake the core and no more. (QEMU looks after its network at these ticks, too: without them it
    // notices a new connection only after half a second.)
    // SAFETY: it can only keep handlers from running.
    unsafe { asm!("cpsid i", options(nomem, nostack, preserves_flags)) };
    write(SYSTICK_RELOAD, 25_000 - 1);
    write(SYSTICK_VALUE, 0);
    write(SYSTICK_CONTROL, 0b111);
}

pub(super) fn idle() {
    // SAFETY: it only waits.
    unsafe { asm!("wfi", options(nomem, nostack, preserves_flags)) };
    write(INTERRUPT_CONTROL, SYSTICK_FORGET);
}

pub(super) fn millis() -> u64 {
    // 1000 / 97656.25
    SLOW.extend(!read(TIMER1 + TIMER_VALUE)) * 32 / 3125
}

pub(super) fn instructions() -> u64 {
    // 25 MHz are 40 ns a tick.
    FAST.extend(!read(TIMER2 + TIMER_VALUE)) * 40
}

pub(super) fn stack_pointer() -> usize {
    let at: usize;
    // SAFETY: it only reads a register.
    unsafe { asm!("mov {}, sp", out(reg) at, options(nomem, nostack, preserves_flags)) };
    at
}

pub(super) fn uart_start() {
    write(UART + UART_DIVISOR, 25_000_000 / 115_200);
    write(UART + UART_CONTROL, 0b11);
}

pub(super) fn uart_get() -> Option<u8> {
    (read(UART + UART_STATE) & 0b10 != 0).then(|| read(UART) as u8)
}

pub(super) fn uart_put(byte: u8) -> bool {
    let free = read(UART + UART_STATE) & 0b01 == 0;
    if free {
        write(UART, byte.into());
    }
    free
}

#[cortex_m_rt::exception]
unsafe fn HardFault(frame: &cortex_m_rt::ExceptionFrame) -> ! {
    panic!("fault at {:#x}", frame.pc())
}

/// Makes a 64-bit counter of a 32-bit one that is read before it has gone round.
struct Wide {
    last: AtomicU32,
    rounds: AtomicU32,
}

impl Wide {
    const fn new() -> Self {
        Wide { last: AtomicU32::new(0), rounds: AtomicU32::new(0) }
    }

    /// The count, given what the counter shows now.
    fn extend(&self, now: u32) -> u64 {
        let mut rounds = self.rounds.load(Ordering::Relaxed);
        if now < self.last.load(Ordering::Relaxed) {
            rounds = rounds.wrapping_add(1);
            self.rounds.store(rounds, Ordering::Relaxed);
        }
        self.last.store(now, Ordering::Relaxed);
        u64::from(rounds) << 32 | u64::from(now)
    }
}
