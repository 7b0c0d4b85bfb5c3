//! The bus: it moves frames and trusts none of them.
//!
//! What goes through here is [`RawMessage`](crate::message::RawMessage)s: nothing in this layer reads a body, and a
//! topic only to match it. Signing and verifying are done above, so that an engine may be wrong, or hostile, without
//! a forged message getting anywhere.
//!
//! [`transport`] is the trait; [`zmtp`] is the engine that talks to others, [`zeromq`] the one for trusted links that came
//! before it, [`memory`] the one within a process. [`engine`] is the one that the configuration names.
//! [`Publisher`] and [`Subscriber`] put trust and frames together. [`stream`] is what a named consumer knows of its streams:
//! which message is next, and what is missing.

mod listener;
pub mod memory;
pub mod publisher;
pub mod replay;
pub mod stream;
pub mod subscriber;
pub mod subscription;
mod thread;
pub mod transport;
pub mod zeromq;
pub mod zmtp;

use crate::config::{self, Config};

pub use memory::MemoryBus;
pub use publisher::{PublishError, Published, Publisher, PublisherBuilder, PublisherCounts, Queued};
pub use subscriber::{Begin, Counts, Delivery, Event, Origin, SubscribeError, Subscriber};
pub use subscription::{Selection, Subscription};
pub use transport::{Bounds, PublishSocket, SubscribeSocket, Transport};
pub use zeromq::ZeroMq;
pub use zmtp::Zmtp;

/// The engine that the configuration names (`bus.transport`), with its limits.
pub fn engine(config: &Config) -> Box<dyn Transport> {
    match *config.bus.transport {
        config::Transport::Zeromq => Box::new(ZeroMq::new(Bounds::STANDARD)),
        config::Transport::Zmtp => Box::new(Zmtp::new((&config.bus_limits).into())),
    }
}
