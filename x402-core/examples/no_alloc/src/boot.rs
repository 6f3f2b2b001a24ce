//! The few instructions before `main`. No statics in RAM, so nothing to initialise: the linker
//! scripts assert that.

/// Coprocessors 10 and 11 on, where code may use floating-point registers.
#[cfg(target_abi = "eabihf")]
macro_rules! enable_fpu {
    () => {
        "ldr r0, =0xe000ed88
         ldr r1, [r0]
         orr r1, r1, #0xf00000
         str r1, [r0]
         dsb
         isb"
    };
}

#[cfg(not(target_abi = "eabihf"))]
#[cfg(target_arch = "arm")]
macro_rules! enable_fpu {
    () => {
        ""
    };
}

#[cfg(target_arch = "arm")]
core::arch::global_asm!(
    ".section .vectors, \"a\"",
    ".word stack_top",
    ".word reset",
    ".rept 14",
    ".word hang",
    ".endr",
    ".text",
    ".global reset",
    ".type reset, %function",
    ".thumb_func",
    "reset:",
    enable_fpu!(),
    "bl main",
    ".global hang",
    ".type hang, %function",
    ".thumb_func",
    "hang:",
    "b hang",
);

#[cfg(target_arch = "riscv32")]
core::arch::global_asm!(
    ".section .vectors, \"ax\"",
    ".global reset",
    "reset:",
    "la sp, stack_top",
    "call main",
    "hang:",
    "j hang",
);
