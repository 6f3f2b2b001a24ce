//! Gives the linker the memory layout of the board that is built for.

use std::path::Path;
use std::{env, fs};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=memory");
    let layout = match env::var("CARGO_CFG_TARGET_ARCH").as_deref() {
        Ok("arm") => include_str!("memory/arm.x"),
        Ok("riscv32") => include_str!("memory/riscv.x"),
        // The tests of the protocol code run on the host.
        _ => return,
    };
    let out = env::var("OUT_DIR").expect("cargo sets OUT_DIR");
    fs::write(Path::new(&out).join("memory.x"), layout).expect("OUT_DIR can be written");
    println!("cargo::rustc-link-search={out}");
}
