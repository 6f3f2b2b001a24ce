//! Shared code of the measurements: their inputs, and the place of their results.

pub mod inputs;
pub mod results;
