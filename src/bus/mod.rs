//! The bus: it moves frames and trusts none of them.
//!
//! What goes through here is [`RawMessage`](crate::message::RawMessage)s: nothing in this layer reads a body, and a
//! topic only to match it. Signing and verifying are done above, so that an engine may be wrong, or hostile, without
//! a forged message getting anywhere.
//!
//! [`transport`] is the trait; [`zeromq`] is the engine that talks to others, [`memory`] the one within a process.
//! [`Publisher`] and [`Subscriber`] put trust and frames together. [`stream`] is what a named consumer knows of its streams:
//! which message is next, and what is missing.

pub mod memory;
pub mod publisher;
pub mod replay;
pub mod stream;
pub mod subscriber;
pub mod subscription;
pub mod transport;
pub mod zeromq;

pub use memory::MemoryBus;
pub use publisher::{PublishError, Published, Publisher, PublisherBuilder, PublisherCounts, Queued};
pub use subscriber::{Begin, Counts, Delivery, Event, Origin, SubscribeError, Subscriber};
pub use subscription::{Selection, Subscription};
pub use transport::{Bounds, PublishSocket, SubscribeSocket, Transport};
pub use zeromq::ZeroMq;
