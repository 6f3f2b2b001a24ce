//! The only JSON code of the workspace: a strict reader over borrowed text, and a writer into the
//! caller's buffer.
//!
//! Strict means: RFC 8259 to the letter, no repeated keys in one object, and no half surrogate
//! pairs. Nesting is bounded by [`limits::DEPTH`](crate::limits::DEPTH), and work is linear in the
//! length of the text. Nothing here allocates or panics, and only comparing recurses, to that
//! bound.

mod place;
mod raw;
mod read;
mod text;
mod write;

pub use place::Place;
pub use raw::{Elements, Members, RawJson};
pub(crate) use read::Mark;
pub use read::{Cursor, Field, Located, Object};
pub use text::{Chars, JsonStr};
pub use write::Writer;
