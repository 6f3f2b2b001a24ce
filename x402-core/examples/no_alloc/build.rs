//! Puts this folder, with its linker scripts, on the linker's search path.

fn main() {
    println!("cargo::rustc-link-search={}", env!("CARGO_MANIFEST_DIR"));
    println!("cargo::rerun-if-changed=link-arm.x");
    println!("cargo::rerun-if-changed=link-riscv.x");
}
