//! Messages as bytes and types, with no trust in them.
//!
//! ```text
//! Draft ── seal ──▶ Sealed ── (sign) ──▶ frames ══════▶ RawMessage ── parse ──▶ Unverified ── (verify)
//! ```
//!
//! `docs/wire-format.md` gives the format exactly; the types here follow it section by section.

pub mod draft;
pub mod envelope;
pub mod error;
pub mod frame;
pub mod id;
pub mod proof;
pub mod unverified;

pub use draft::{Draft, Sealed, Stamp};
pub use envelope::Envelope;
pub use error::MessageError;
pub use frame::RawMessage;
pub use id::{MessageId, StreamId};
pub use proof::Proof;
pub use unverified::{Malformed, Unverified};
