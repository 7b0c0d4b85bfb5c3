//! How much a peer may have of each thing.

use crate::config::BusLimitsConfig;
use std::time::Duration;

/// The limits of an engine. Each is checked before memory is taken for what would be over it, and to be over it is a
/// named error ([`super::error`]) with a counter of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes between the callers and the connections of one socket, in each direction; a message that goes to many
    /// counts once. At the limit a publisher waits, and a subscriber reads no more. At most 4 GiB.
    pub queue_bytes: u32,
    /// Bytes that may be pending for one subscriber. One with more pending has to take as many within each
    /// [`Limits::grace`], or it is put out. So has one that is pending anything while a publisher waits for room.
    pub peer_bytes: u32,
    /// See [`Limits::peer_bytes`].
    pub grace: Duration,
    /// Bytes of one frame of a message.
    pub frame_bytes: usize,
    /// Bytes of all frames of a message together.
    pub message_bytes: usize,
    /// Frames of a message.
    pub message_parts: usize,
    /// Bytes of a command's frame, and of whatever a subscriber sends to a publisher.
    pub command_bytes: usize,
    /// Subscriptions of one peer, one that is made twice counted twice.
    pub subscriptions: usize,
    /// Bytes of all prefixes that one peer has subscribed to.
    pub subscription_bytes: usize,
    /// The same of all peers of a publisher together, each prefix counted with [`Limits::SUBSCRIPTION_BYTES`] more.
    pub all_subscription_bytes: usize,
    /// Connections of a publisher. Never more than a third of the file descriptors that the process may have.
    pub connections: usize,
    /// Connections of a publisher from one IPv4 address, one IPv6 network of 64 bits, or by a Unix socket.
    pub connections_per_address: usize,
    /// How long a peer may take from the connection to the end of the handshake.
    pub handshake: Duration,
}

impl Limits {
    /// The built-in values of `[bus.limits]`.
    pub const STANDARD: Self = Self {
        queue_bytes: 256 * 1024 * 1024,
        peer_bytes: 64 * 1024 * 1024,
        grace: Duration::from_secs(10),
        frame_bytes: 16 * 1024 * 1024,
        message_bytes: 16 * 1024 * 1024,
        message_parts: 64,
        command_bytes: 4096,
        subscriptions: 10_000,
        subscription_bytes: 1024 * 1024,
        all_subscription_bytes: 64 * 1024 * 1024,
        connections: 1024,
        connections_per_address: 256,
        handshake: Duration::from_secs(5),
    };

    /// What a prefix takes beside its bytes: its places in two indices, rounded up.
    pub const SUBSCRIPTION_BYTES: usize = 256;

    /// How many connections there may be in a process that may have `descriptors` files open.
    pub fn connections_with(&self, descriptors: usize) -> usize {
        self.connections.min(descriptors / 3).max(1)
    }

    /// Above how many pending bytes a subscriber has to make haste. Never more than half of all, so that one of them
    /// is noticed before all wait for it.
    pub(super) fn haste_above(&self) -> u64 {
        u64::from(self.peer_bytes.min(self.queue_bytes / 2))
    }
}

impl From<&BusLimitsConfig> for Limits {
    fn from(config: &BusLimitsConfig) -> Self {
        let four_gib = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX);
        Self {
            queue_bytes: four_gib(config.queue_bytes.bytes()),
            peer_bytes: four_gib(config.peer_bytes.bytes()),
            grace: *config.grace,
            frame_bytes: config.frame_bytes.bytes(),
            message_bytes: config.message_bytes.bytes(),
            message_parts: config.message_parts.count(),
            command_bytes: config.command_bytes.bytes(),
            subscriptions: config.subscriptions.count(),
            subscription_bytes: config.subscription_bytes.bytes(),
            all_subscription_bytes: config.all_subscription_bytes.bytes(),
            connections: config.connections.count(),
            connections_per_address: config.connections_per_address.count(),
            handshake: *config.handshake,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_values_are_the_standard_ones() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("fedmsg.d")).unwrap();
        let config = crate::config::Config::open(directory.path()).unwrap();
        assert_eq!(Limits::from(&config.bus_limits), Limits::STANDARD);
    }

    #[test]
    fn a_third_of_the_descriptors_is_left_to_connections() {
        for (descriptors, connections) in [(0, 1), (2, 1), (30, 10), (3072, 1024), (1_000_000, 1024)] {
            assert_eq!(Limits::STANDARD.connections_with(descriptors), connections);
        }
    }
}
