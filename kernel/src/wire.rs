//! The wire forms: here a version byte, then bincode, for what crosses from process to process; in [`json`]
//! JSON, for people and other programs. The one place that names bincode.
//!
//! Every type that leaves the process states the version of its layout. A reader knows the layouts that it
//! was built with, which is the newest one and where it says so the one before, and rejects others with both
//! versions, so that two builds never misread each other.
//! Decoding is bounded: a length field is checked against [`LIMIT`] before anything is allocated.

pub mod json;
mod packet;

use bincode::{
    config::{self, Configuration, Fixint, Limit, LittleEndian},
    enc::write::Writer,
    error::EncodeError,
};
use serde::{Serialize, de::DeserializeOwned};

/// The largest message in bytes, its version byte included.
pub const LIMIT: usize = 8 * 1024 * 1024;

const CONFIG: Configuration<LittleEndian, Fixint, Limit<LIMIT>> =
    config::standard().with_fixed_int_encoding().with_limit::<LIMIT>();

/// A type with a layout on the wire.
pub trait Wire: Serialize + DeserializeOwned {
    /// The layout's version. Raise it with every change, and keep golden bytes of the old layouts.
    const VERSION: u8;

    /// Reads an older layout. By default none is read.
    ///
    /// # Errors
    /// [`Error::Version`] if this build doesn't read that layout, else those of [`decode`].
    fn decode_older(version: u8, body: &[u8]) -> Result<Self, Error> {
        let _ = body;
        Err(Error::Version { expected: Self::VERSION, got: version })
    }

    /// How many bytes the value takes after its version, as far as that is known before it is written. A wrong number costs
    /// time and changes nothing else.
    fn size_hint(&self) -> usize {
        64
    }
}

/// Why bytes could not be written or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There are no bytes to read.
    #[error("empty message")]
    Empty,
    /// A build with another layout wrote the message.
    #[error("message is of layout {got}, this build reads layout {expected}")]
    Version {
        /// The layout that this build reads.
        expected: u8,
        /// The layout that the message states.
        got: u8,
    },
    /// Bytes are left over after the value.
    #[error("{0} bytes follow the message")]
    Trailing(usize),
    /// The value is too large, or has no form in bincode.
    #[error("cannot encode")]
    Encode(#[source] EncodeError),
    /// The message is cut off, too large, or not of the stated layout.
    #[error("cannot decode")]
    Decode(#[source] bincode::error::DecodeError),
}

/// Writes a value.
///
/// # Errors
/// [`Error::Encode`] if a part of the value has no form in bincode.
pub fn encode<T: Wire>(value: &T) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::with_capacity(1 + value.size_hint());
    bytes.push(T::VERSION);
    bincode::serde::encode_into_writer(value, Appending(&mut bytes), CONFIG).map_err(Error::Encode)?;
    Ok(bytes)
}

/// Writes to the end of bytes.
struct Appending<'a>(&'a mut Vec<u8>);

impl Writer for Appending<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}

/// Reads a value.
///
/// # Errors
/// Every variant of [`Error`]; never panics, whatever the bytes.
pub fn decode<T: Wire>(bytes: &[u8]) -> Result<T, Error> {
    let (&version, body) = bytes.split_first().ok_or(Error::Empty)?;
    if version != T::VERSION {
        return T::decode_older(version, body);
    }
    read(body)
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Error> {
    // Texts are read where they are: what keeps one makes the only copy.
    let (value, read) = bincode::serde::borrow_decode_from_slice(body, CONFIG).map_err(Error::Decode)?;
    match body.len() - read {
        0 => Ok(value),
        left => Err(Error::Trailing(left)),
    }
}

#[cfg(test)]
mod tests;
