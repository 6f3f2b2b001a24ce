//! What several of the measurements share: what is measured on, and where results go.

pub mod inputs;
pub mod results;
