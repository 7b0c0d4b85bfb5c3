//! Why a peer was refused or put out. Each reason has a name, by which it is counted.

use std::time::Duration;

/// What a peer sent that it may not send (ZMTP 3.0, RFC 23).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// A command's frame does not hold what its name says (RFC 23, "Commands").
    #[error("malformed {0} command")]
    Command(&'static str),
    /// A command's frame is over [`super::Limits::command_bytes`]; or anything that a subscriber sends.
    #[error("command of {found} bytes, the limit is {limit}")]
    CommandTooLarge {
        /// The limit.
        limit: usize,
        /// What was announced.
        found: u64,
    },
    /// A frame's first byte has bits that mean nothing, or a command that is continued.
    #[error("frame with the flags {0:#04x}")]
    Flags(u8),
    /// A frame is over [`super::Limits::frame_bytes`].
    #[error("frame of {found} bytes, the limit is {limit}")]
    FrameTooLarge {
        /// The limit.
        limit: usize,
        /// What was announced.
        found: u64,
    },
    /// The handshake is not at its end after [`super::Limits::handshake`].
    #[error("no end of the handshake within {} s", .limit.as_secs_f32())]
    HandshakeTimeout {
        /// The limit.
        limit: Duration,
    },
    /// The peer gives itself an identity. Another's would have to be remembered, and could be taken.
    #[error("an identity of {0} bytes; only an empty one is taken")]
    Identity(usize),
    /// Another security mechanism than NULL.
    #[error("security mechanism `{0}`, only NULL is spoken")]
    Mechanism(String),
    /// The frames of a message are together over [`super::Limits::message_bytes`].
    #[error("message of {found} bytes and more, the limit is {limit}")]
    MessageTooLarge {
        /// The limit.
        limit: usize,
        /// What was announced so far.
        found: u64,
    },
    /// Something else than READY before the end of the handshake.
    #[error("{0} where READY has to come")]
    NotReady(String),
    /// The peer ended the handshake with an ERROR command.
    #[error("the peer refused the handshake: {0}")]
    Refused(String),
    /// What is no greeting (RFC 23, "The Greeting"); perhaps no ZMTP at all.
    #[error("byte {at} of the greeting is {found:#04x}")]
    Signature {
        /// Its place.
        at: usize,
        /// What was found.
        found: u8,
    },
    /// A kind of socket with which one cannot speak, or none.
    #[error("a socket of type `{found}`, {expected} is needed")]
    SocketType {
        /// What there has to be.
        expected: &'static str,
        /// What was found.
        found: String,
    },
    /// More subscriptions than [`super::Limits::subscriptions`].
    #[error("more than {limit} subscriptions")]
    Subscriptions {
        /// The limit.
        limit: usize,
    },
    /// More bytes of prefixes than [`super::Limits::subscription_bytes`].
    #[error("subscriptions of more than {limit} bytes")]
    SubscriptionBytes {
        /// The limit.
        limit: usize,
    },
    /// More frames than [`super::Limits::message_parts`].
    #[error("message of more than {limit} frames")]
    TooManyParts {
        /// The limit.
        limit: usize,
    },
    /// A subscriber sent what is no subscription, or a publisher one.
    #[error("{0} is nothing that such a socket sends")]
    Unexpected(&'static str),
    /// A ZMTP that is older than 3.0.
    #[error("ZMTP {0}, at least 3 is needed")]
    Version(u8),
}

/// Why a publisher refused a subscriber, or put it out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PutOut {
    /// All subscriptions together are over [`super::Limits::all_subscription_bytes`].
    #[error("all subscriptions together have more than {limit} bytes")]
    AllSubscriptions {
        /// The limit.
        limit: usize,
    },
    /// There are as many connections as there may be ([`super::Limits::connections_with`]).
    #[error("more than {limit} connections")]
    Connections {
        /// The limit.
        limit: usize,
    },
    /// There are as many from its address ([`super::Limits::connections_per_address`]).
    #[error("more than {limit} connections from one address")]
    ConnectionsPerAddress {
        /// The limit.
        limit: usize,
    },
    /// The process has no file descriptor left, or the system no memory, for a connection that waits.
    #[error("cannot accept: {0}")]
    Descriptors(String),
    /// What it sent.
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
    /// It promised to be heard of within a time ([`super::connection::Event::Ping`]), and was not.
    #[error("silent for {} s, after a PING that promised otherwise", .ttl.as_secs_f32())]
    Silent {
        /// The time.
        ttl: Duration,
    },
    /// It does not take what it subscribed to ([`super::Limits::peer_bytes`]).
    #[error("took {taken} bytes within {} s of the {pending} that are pending", .grace.as_secs_f32())]
    Slow {
        /// The bytes pending.
        pending: u64,
        /// The bytes that it took.
        taken: u64,
        /// Within what time.
        grace: Duration,
    },
}

impl ProtocolError {
    /// The name by which it is counted.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Command(_) => "command-malformed",
            Self::CommandTooLarge { .. } => "command-too-large",
            Self::Flags(_) => "frame-flags",
            Self::FrameTooLarge { .. } => "frame-too-large",
            Self::HandshakeTimeout { .. } => "handshake-timeout",
            Self::Identity(_) => "identity",
            Self::Mechanism(_) => "mechanism",
            Self::MessageTooLarge { .. } => "message-too-large",
            Self::NotReady(_) => "not-ready",
            Self::Refused(_) => "refused-by-peer",
            Self::Signature { .. } => "greeting",
            Self::SocketType { .. } => "socket-type",
            Self::Subscriptions { .. } => "too-many-subscriptions",
            Self::SubscriptionBytes { .. } => "too-many-subscription-bytes",
            Self::TooManyParts { .. } => "too-many-parts",
            Self::Unexpected(_) => "unexpected",
            Self::Version(_) => "version",
        }
    }
}

impl PutOut {
    /// The name by which it is counted.
    pub fn code(&self) -> &'static str {
        match self {
            Self::AllSubscriptions { .. } => "all-subscriptions",
            Self::Connections { .. } => "too-many-connections",
            Self::ConnectionsPerAddress { .. } => "too-many-connections-per-address",
            Self::Descriptors(_) => "no-descriptor",
            Self::Protocol(error) => error.code(),
            Self::Silent { .. } => "silent",
            Self::Slow { .. } => "slow",
        }
    }
}

/// What a peer sent, short, on one line and without control characters: for an error to show.
pub(super) fn shown(bytes: &[u8]) -> String {
    const MOST: usize = 64;
    let text = String::from_utf8_lossy(bytes.get(..MOST).unwrap_or(bytes));
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}
