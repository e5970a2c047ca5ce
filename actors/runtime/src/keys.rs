//! Keys: who may ask a node for what over the network.
//!
//! A key belongs to a tenant and has scopes. Its printed form, `tmy_<id>_<secret>`, is shown once, when it is made; the store
//! holds a hash. A node keeps all keys in memory and looks for changes of other processes several times a second, so a request
//! costs no query, and a key that is revoked anywhere is refused within a second everywhere.
//!
//! A [token](Keys::token) is made of a key without the store: it lets a browser read one meeting for a short time.

mod error;
mod record;
mod ring;
mod secret;
mod token;

pub use error::{Denied, Error};
pub use record::{KeyInfo, Scope, Scopes};
pub use ring::{Access, Keys, NewKey};
pub use secret::{KeyId, PrintedKey};
