//! Everything of `x402-svm`.

use core::hint::black_box;

use x402_svm::{Address, assets};

/// Calls everything once.
pub fn exercise() {
    let Some(mint) = Address::parse(black_box("4zMMC9srt5Ri5X14GAgXhaHii3GnPAEERYPJgZJDncDU"))
    else {
        return;
    };
    black_box(mint.base58(&mut [0; Address::CHARS]));
    black_box(assets::find(black_box("solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1"), mint).is_some());
}
