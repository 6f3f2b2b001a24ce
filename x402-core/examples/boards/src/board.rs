//! The emulated boards: an ARM Cortex-M (QEMU `mps2-an386`) and a RISC-V (QEMU `virt`).
//!
//! Console, arguments, random numbers and the exit status come from the host by semihosting, which
//! works on a real board too as long as a debugger is attached.

use core::cell::UnsafeCell;
use core::ops::Range;
use core::panic::PanicInfo;
use core::ptr;
use core::sync::atomic::{AtomicBool, Ordering};

use semihosting::experimental::{env, random};
use semihosting::process;

use crate::stream::{Clock, Entropy};

#[cfg(target_arch = "arm")]
mod arm;
mod frame;
#[cfg(target_arch = "arm")]
mod lan9118;
#[cfg(target_arch = "riscv32")]
mod riscv;
mod uart;
#[cfg(target_arch = "riscv32")]
mod virtio;

#[cfg(target_arch = "arm")]
use arm as arch;
#[cfg(target_arch = "arm")]
pub use lan9118::Ethernet;
#[cfg(target_arch = "riscv32")]
use riscv as arch;
pub use semihosting::{print, println};
pub use uart::{Line, Uart};
#[cfg(target_arch = "riscv32")]
pub use virtio::Ethernet;

/// Makes `$run`, a `fn() -> u8`, the firmware's main function. It returns the exit status.
#[macro_export]
macro_rules! main {
    ($run:path) => {
        #[cfg_attr(target_arch = "arm", cortex_m_rt::entry)]
        #[cfg_attr(target_arch = "riscv32", riscv_rt::entry)]
        fn start() -> ! {
            $crate::board::start($run)
        }
    };
}

/// The expansion of [`main!`](crate::main).
pub fn start(run: fn() -> u8) -> ! {
    arch::start();
    paint_stack();
    exit(run())
}

/// Ends the emulation.
pub fn exit(status: u8) -> ! {
    process::exit(status.into())
}

#[panic_handler]
fn panic(#[allow(unused)] info: &PanicInfo<'_>) -> ! {
    #[cfg(feature = "panic-message")]
    semihosting::eprintln!("{info}");
    exit(1)
}

/// The board's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct Board;

impl Clock for Board {
    fn millis(&self) -> u64 {
        millis()
    }
}

/// Milliseconds since the start. On ARM it must be called once in twelve hours to notice that the
/// timer has gone round.
pub fn millis() -> u64 {
    arch::millis()
}

/// Instructions since the start, with `X402_ICOUNT=1`; without it, no more than a measure of time.
/// They count in steps of 40 on ARM, where a 25 MHz timer stands in for a counter that is not
/// emulated: there it must be called once in 171 seconds.
pub fn instructions() -> u64 {
    arch::instructions()
}

/// Sleeps for a millisecond at most.
pub fn idle() {
    arch::idle();
}

/// Random numbers from the host's `/dev/urandom`. A real board asks its generator.
#[derive(Clone, Copy, Debug, Default)]
pub struct HostEntropy;

impl Entropy for HostEntropy {
    fn fill(&mut self, bytes: &mut [u8]) {
        // Going on with numbers that are not random would be worse.
        random::fill_bytes(bytes).expect("the host gives random numbers");
    }
}

/// The arguments that the firmware was started with.
pub struct Args(Option<env::Args<1024>>);

/// The arguments: none if the host gives none, or more than 1024 bytes.
pub fn args() -> Args {
    let args = Args(env::args().ok());
    // The first is the name of the program.
    args.next();
    args
}

impl Args {
    /// The next argument; one that is not UTF-8 ends them.
    pub fn next(&self) -> Option<&str> {
        self.0.as_ref()?.next()?.ok()
    }
}

/// The pattern that fills the free stack and so shows the used part.
const PAINT: u32 = 0x7034_0270;

/// Forgets the peak: [`peak_stack`] counts from here on.
#[inline(never)]
pub fn paint_stack() {
    // This function and what it calls need some stack themselves.
    let end = arch::stack_pointer() - 256;
    let mut at = stack().start;
    while at < end {
        // SAFETY: between the static variables and the stack in use, the memory is nobody's.
        unsafe { ptr::write_volatile(at as *mut u32, PAINT) };
        at += 4;
    }
}

/// The most stack that was in use, in bytes. It is all there is if the stack has overflowed.
pub fn peak_stack() -> usize {
    let stack = stack();
    let mut at = stack.start;
    // SAFETY: the address is aligned and in the RAM, between the static variables and its end.
    while at < stack.end && unsafe { ptr::read_volatile(at as *const u32) } == PAINT {
        at += 4;
    }
    stack.end - at
}

/// The addresses that the stack has for itself.
fn stack() -> Range<usize> {
    unsafe extern "C" {
        static _stack_end: u32;
        static _stack_start: u32;
    }
    // The stack grows downwards: it starts at the end of the RAM.
    (&raw const _stack_end).addr()..(&raw const _stack_start).addr()
}

/// A static variable that is given away once.
pub struct Static<T> {
    taken: AtomicBool,
    value: UnsafeCell<T>,
}

// SAFETY: `take` gives the only reference. There is one core and there are no interrupt handlers,
// so nothing comes between its reading and its writing of `taken`.
unsafe impl<T: Send> Sync for Static<T> {}

impl<T> Static<T> {
    /// A variable that has not been taken.
    pub const fn new(value: T) -> Self {
        Static { taken: AtomicBool::new(false), value: UnsafeCell::new(value) }
    }

    /// The variable, the first time.
    #[expect(clippy::mut_from_ref, reason = "it is given away once")]
    pub fn take(&'static self) -> Option<&'static mut T> {
        // Not a swap: the smallest cores have none.
        if self.taken.load(Ordering::Relaxed) {
            return None;
        }
        self.taken.store(true, Ordering::Relaxed);
        // SAFETY: nobody has come here before.
        Some(unsafe { &mut *self.value.get() })
    }
}
