//! A packet's payload, and the message that carries it to a peer's receivers.

use std::sync::Arc;

use bytes::Bytes;

use crate::tally::DeliveryCounter;

/// The content of a peer's message: as many bytes as a packet's payload.
pub type Datum = Arc<Bytes>;

/// A payload of 256 bytes. Each call allocates, because packets from a network have bytes of their own too.
pub fn payload() -> Bytes {
    Bytes::copy_from_slice(&[7; 256])
}

/// What a peer's receiver does with a datum: looks at its length and counts it.
pub fn received(counter: &DeliveryCounter, datum: &Datum) {
    std::hint::black_box(datum.len());
    counter.count();
}
