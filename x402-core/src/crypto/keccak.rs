use sha3::{Digest, Keccak256};

/// Returns the Keccak-256 (Ethereum's, not SHA-3's padding) of the parts, one after the other.
pub fn keccak256(parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = Keccak256::new();
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize().into()
}

#[cfg(test)]
mod tests {
    #[test]
    fn empty_and_split_input() {
        let empty = super::keccak256(&[]);
        assert_eq!(empty[..4], [0xc5, 0xd2, 0x46, 0x01]);
        assert_eq!(super::keccak256(&[b"ab", b"c"]), super::keccak256(&[b"abc"]));
    }
}
