//! A message on its way: encoded once, shared by all subscribers that want it, and counted against the room of its
//! socket until the last of them has it.

use super::codec::{Kind, header_len, put_header};
use crate::message::RawMessage;
use bytes::Bytes;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Up to this many bytes of a frame are copied behind its header: cheaper than another slice to write.
const COPIED: usize = 2048;

/// An encoded message.
#[derive(Debug)]
pub(super) struct Parcel {
    /// Headers and small frames, as they stand on the wire but for the large frames.
    small: Vec<u8>,
    /// The large frames, each with its place in `small`.
    large: Vec<(usize, Bytes)>,
    /// The length of the first frame.
    topic: usize,
    permit: Permit,
}

/// Room that is taken; given back when it is dropped.
#[derive(Debug)]
pub(super) struct Permit {
    room: Arc<Semaphore>,
    bytes: u32,
}

impl Permit {
    /// The caller has taken `bytes` permits from `room`, and forgotten them.
    pub(super) fn taken(room: Arc<Semaphore>, bytes: u32) -> Self {
        Self { room, bytes }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.room.add_permits(usize::try_from(self.bytes).unwrap_or(0));
    }
}

impl Parcel {
    pub(super) fn new(message: RawMessage, permit: Permit) -> Self {
        let copied = |part: &Bytes| if part.len() <= COPIED { part.len() } else { 0 };
        let bytes = message.parts.iter().map(|part| header_len(part.len()) + copied(part)).sum();
        let topic = message.parts.first().map_or(0, Bytes::len);
        let (mut small, mut large) = (Vec::with_capacity(bytes), Vec::new());
        let last = message.parts.len().saturating_sub(1);
        for (n, part) in message.parts.into_iter().enumerate() {
            put_header(&mut small, if n == last { Kind::Last } else { Kind::More }, part.len());
            if part.len() <= COPIED {
                small.extend_from_slice(&part);
            } else {
                large.push((small.len(), part));
            }
        }
        Self { small, large, topic, permit }
    }

    /// The first frame.
    pub(super) fn topic(&self) -> &[u8] {
        if self.topic > COPIED {
            return self.large.first().map_or(&[], |(_, topic)| topic);
        }
        let start = header_len(self.topic);
        self.small.get(start..start + self.topic).unwrap_or_default()
    }

    /// Its bytes on the wire.
    pub(super) fn len(&self) -> usize {
        self.small.len() + self.large.iter().map(|(_, bytes)| bytes.len()).sum::<usize>()
    }

    /// What it is counted.
    pub(super) fn cost(&self) -> u64 {
        self.permit.bytes.into()
    }

    /// The bytes on the wire, from byte `skip` on.
    pub(super) fn slices(&self, mut skip: usize) -> impl Iterator<Item = &[u8]> {
        let mut from = 0;
        let ends = self.large.iter().map(|(at, bytes)| (*at, &bytes[..]));
        let pieces = ends.chain([(self.small.len(), &[][..])]).flat_map(move |(to, large)| {
            let small = self.small.get(from..to).unwrap_or_default();
            from = to;
            [small, large]
        });
        pieces.filter_map(move |piece| {
            let rest = piece.get(skip..);
            skip = skip.saturating_sub(piece.len());
            rest.filter(|rest| !rest.is_empty())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::zmtp::codec::put_frame;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_parcel_is_its_frames_from_any_byte_on(
            lengths in proptest::collection::vec(prop_oneof![0..4_usize, 2046..2050_usize], 1..5),
            skip in any::<prop::sample::Index>(),
        ) {
            let parts: Vec<Bytes> = lengths.iter().map(|length| vec![7; *length].into()).collect();
            let mut whole = Vec::new();
            for (n, part) in parts.iter().enumerate() {
                put_frame(&mut whole, if n + 1 == parts.len() { Kind::Last } else { Kind::More }, part);
            }
            let topic = parts[0].clone();
            let room = Arc::new(Semaphore::new(0));
            let parcel = Parcel::new(parts.into(), Permit::taken(Arc::clone(&room), 9));
            let skip = skip.index(whole.len());
            prop_assert_eq!(parcel.slices(skip).collect::<Vec<_>>().concat(), &whole[skip..]);
            prop_assert_eq!((parcel.topic(), parcel.len()), (&topic[..], whole.len()));
            drop(parcel);
            prop_assert_eq!(room.available_permits(), 9);
        }
    }
}
