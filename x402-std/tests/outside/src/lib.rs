//! Points on a loyalty card as money: what somebody writes who adds a scheme to this library without touching
//! it.
//!
//! - [`points`]: the scheme. An offer says what it is, a payment is a stamp that the card's key signed.
//! - [`ledger`]: who has how many points, and moves them.
//! - [`store`]: where claims are kept.
//! - [`club`]: an extension, at seller, buyer and facilitator.
//! - [`carrier`]: requests and payments as frames over TCP, for buyer and seller.

pub mod carrier;
pub mod club;
pub mod ledger;
pub mod points;
pub mod store;
