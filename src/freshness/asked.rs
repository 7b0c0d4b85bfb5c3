//! The other door: history comes in only where it was asked for, and never as news.

use super::Stale;
use crate::identity::Identity;
use crate::message::id::StreamId;
use crate::time::Timestamp;
use crate::verify::Verified;

/// A part of one stream that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    signer: Identity,
    stream: StreamId,
    from: u64,
    to: Option<u64>,
    /// Seconds that a message may be ahead of now.
    future: i64,
}

/// A verified message that was asked for. Made by [`Asked::admit`] alone.
#[derive(Debug)]
pub struct Replayed {
    verified: Verified,
}

/// A verified message that an answer may not bring.
#[derive(Debug)]
pub enum NotAdmitted {
    /// It is another signer's, of another stream, or outside the range.
    NotAsked(Box<Verified>),
    /// It is not of the past.
    Stale(Stale, Box<Verified>),
}

impl Asked {
    /// The messages of one stream from `from` to `to`, both included; without `to`, to its end. `future` is how many seconds
    /// ahead of now a message may be.
    pub fn new(signer: Identity, stream: StreamId, from: u64, to: Option<u64>, future: i64) -> Self {
        Self { signer, stream, from, to, future }
    }

    /// Lets a message in that was asked for, however old it is.
    ///
    /// # Errors
    /// [`NotAdmitted`], with the message.
    pub fn admit(&self, verified: Verified, now: Timestamp) -> Result<Replayed, NotAdmitted> {
        let is_asked = verified.position().is_some_and(|(stream, seq)| {
            stream == self.stream && seq >= self.from && self.to.is_none_or(|to| seq <= to)
        });
        if !is_asked || *verified.signer() != self.signer {
            return Err(NotAdmitted::NotAsked(Box::new(verified)));
        }
        let (timestamp, limit) = (verified.timestamp(), self.future);
        let ahead = timestamp.seconds_since(now);
        if ahead > limit {
            let stale = Stale::FromTheFuture { timestamp, now, ahead, limit };
            return Err(NotAdmitted::Stale(stale, Box::new(verified)));
        }
        Ok(Replayed { verified })
    }
}

impl Replayed {
    /// The message.
    pub fn verified(&self) -> &Verified {
        &self.verified
    }

    /// The message.
    pub fn into_verified(self) -> Verified {
        self.verified
    }
}
