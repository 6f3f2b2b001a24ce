//! Shared code of the images: each measures one operation and reports its cost.
#![no_std]

pub mod samples;
pub mod wire;

use core::hint::black_box;

use x402_boards::board::{instructions, paint_stack, peak_stack, println};

/// Runs the operation once and prints its instructions, and the most stack it had below its caller.
/// `None` is for an operation that failed.
pub fn measure<T>(operation: impl FnOnce() -> Option<T>) -> Option<T> {
    let mut operation = Some(operation);
    let mut result = None;
    report(&mut || result = operation.take().and_then(|operation| operation()));
    result
}

/// The exit status.
pub fn check(right: bool) -> u8 {
    if !right {
        println!("FAILED");
    }
    u8::from(!right)
}

// Not generic, so that nothing and the operation are measured by the same code.
#[inline(never)]
fn report(operation: &mut dyn FnMut()) {
    black_box(&samples::ALL);
    let nothing = run(&mut || {});
    let something = run(operation);
    println!(
        "{} instructions, {} bytes of stack",
        something.0.saturating_sub(nothing.0),
        something.1.saturating_sub(nothing.1),
    );
}

#[inline(never)]
fn run(operation: &mut dyn FnMut()) -> (u64, usize) {
    paint_stack();
    below(black_box(operation))
}

#[inline(never)]
fn below(operation: &mut dyn FnMut()) -> (u64, usize) {
    // `paint_stack` cannot paint what is just below its caller: the operation starts further down.
    let room = black_box([0u8; 512]);
    let start = instructions();
    operation();
    let end = instructions();
    black_box(&room);
    (end.saturating_sub(start), peak_stack())
}
