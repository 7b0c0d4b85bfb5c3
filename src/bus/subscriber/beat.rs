//! Heartbeats: what a publisher says of its stream while it has nothing to say.

use crate::bus::stream::Beat;
use crate::message::id::StreamId;
use crate::verify::Verified;
use std::time::Duration;

/// The longest interval that is believed: beyond it a publisher would never be called silent.
const LONGEST: Duration = Duration::from_secs(86_400);

#[derive(serde::Deserialize)]
struct Msg {
    stream: String,
    newest: u64,
    interval: u64,
}

/// What it says; `None`, if it says nothing that makes sense. It speaks of its own signer's streams alone.
pub(super) fn read(verified: &Verified) -> Option<(StreamId, Beat)> {
    let Msg { stream, newest, interval } = verified.decode().ok()?;
    let interval = Duration::from_secs(interval.max(1)).min(LONGEST);
    Some((StreamId::parse(&stream)?, Beat { newest, interval }))
}
