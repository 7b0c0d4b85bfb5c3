//! Signed publish, verified delivery: the messaging framework of an infrastructure, over ZeroMQ, without a broker.
//!
//! Services publish signed events; every other service may subscribe; and no consumer's code ever sees a message that was
//! not verified: its signature, its certificate up to the authority, revocation, the routing policy of its topic, and
//! that it is new.
//!
//! # Publish
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let config = fedmsg::Config::open("bus")?; // what `fedmsg init bus` made
//! let publisher = fedmsg::Publisher::open(&config, "shell").await?;
//! publisher.publish("log.message", &serde_json::json!({"hello": "world"})).await?;
//! publisher.close().await?;
//! # Ok(()) }
//! ```
//!
//! # Consume
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let config = fedmsg::Config::open("bus")?;
//! let mut subscriber = fedmsg::Subscriber::open(&config, &["org.fedoraproject.*.shell.#"]).await?;
//! loop {
//!     let delivery = subscriber.next().await?;
//!     let message = delivery.message();
//!     println!("{} by {}: {}", message.topic(), message.signer(), message.msg());
//! }
//! # }
//! ```
//!
//! # One message's life
//!
//! A [`Draft`](message::Draft) is stamped and sealed, a [`Signer`](sign::Signer) makes it [`Signed`](sign::Signed), an
//! [`Outbox`](store::outbox::Outbox) keeps it, and it goes over the bus as two frames. What arrives is a [`RawMessage`](message::RawMessage); parsed, it is
//! [`Unverified`](message::Unverified) and has nothing but `claimed_*` accessors. [`Verifier::receive`] gives a
//! [`Verified`] or a [`Rejected`] with a [`Reason`](verify::Reason); [`Freshness`](freshness::Freshness) lets each
//! through once; and a [`Delivery`] is what a program acts on. Each is a type, none can be skipped, and none can be
//! made by hand.
//!
//! The core takes time as an argument: the same [`Verifier`] judges a live message as of now and an archived one as of
//! its own time. For the tests of your own consumers, [`development`] has a whole authority in memory, and
//! [`bus::memory`] a bus.
//!
//! # The modules, in reading order

// L0: words.
pub mod endpoint;
pub mod identity;
pub mod json;
pub mod limits;
pub mod position;
pub mod reason;
pub mod time;
pub mod topic;

// L1: messages.
pub mod message;

// L2: trust.
pub mod freshness;
pub mod merkle;
pub mod pki;
pub mod policy;
pub mod sign;
pub mod stale;
pub mod verify;

pub use bus::{Delivery, Publisher, Subscriber};
pub use config::Config;
pub use verify::{Rejected, Verified, Verifier};

// L3: keeping.
pub mod config;
pub mod development;
pub mod store;

// L4: the bus.
pub mod bus;

// L6: the command.
#[doc(hidden)]
pub mod cli;

/// What the README shows is compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}

/// And what the delivery document shows.
#[cfg(doctest)]
#[doc = include_str!("../docs/delivery.md")]
mod delivery {}
