//! The bus: it moves frames and trusts none of them.
//!
//! What goes through here is [`RawMessage`](crate::message::RawMessage)s: nothing in this layer reads a body, and a
//! topic only to match it. Signing and verifying are done above, so that an engine may be wrong, or hostile, without
//! a forged message getting anywhere.
//!
//! [`transport`] is the trait; [`memory`] is the engine within a process.

pub mod memory;
pub mod subscription;
pub mod transport;

pub use subscription::{Selection, Subscription};
pub use transport::{PublishSocket, SubscribeSocket, Transport};
