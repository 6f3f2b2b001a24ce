//! What the targets share: JSON as `serde_json` reads it, dice, and changes to JSON that leave it
//! JSON.

mod change;
mod dice;
mod tree;

pub use change::{changed, mutate};
pub use dice::Dice;
pub use tree::{Read, Tree};
