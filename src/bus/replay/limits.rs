//! How much of an endpoint one may have.

use crate::bus::zmtp::limits::Limits as WireLimits;
use crate::store::outbox::Most;
use std::time::Duration;

/// The limits of a replay endpoint. Each has a counter ([`super::ReplayCounts`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplayLimits {
    /// Messages of one answer.
    pub answer_messages: usize,
    /// Bytes of one answer's messages. The first is in it whatever it has.
    pub answer_bytes: u64,
    /// Connections.
    pub connections: usize,
    /// Connections from one address; all of a Unix socket are of one.
    pub connections_per_address: usize,
    /// Answers under way at once: so many times `answer_bytes` are taken at the most.
    pub answers: usize,
    /// Answers under way at once to one address.
    pub answers_per_address: usize,
    /// Requests a second from one address; twice as many may come at once.
    pub requests_per_second: u32,
    /// How long a peer may take for the handshake.
    pub handshake: Duration,
    /// How long a peer may be connected without asking.
    pub idle: Duration,
    /// How long a peer may take to take an answer.
    pub taking: Duration,
}

impl ReplayLimits {
    /// A thousand messages or 4 MiB an answer, 64 connections (8 of one address), 16 answers at once (4 to one
    /// address), 50 requests a second; 5 s for the handshake, a minute without a request, 30 s to take an answer.
    pub const STANDARD: Self = Self {
        answer_messages: 1000,
        answer_bytes: 4 * 1024 * 1024,
        connections: 64,
        connections_per_address: 8,
        answers: 16,
        answers_per_address: 4,
        requests_per_second: 50,
        handshake: Duration::from_secs(5),
        idle: Duration::from_secs(60),
        taking: Duration::from_secs(30),
    };

    pub(super) fn most(&self) -> Most {
        Most { messages: self.answer_messages, bytes: self.answer_bytes }
    }

    /// What may come from somebody who asks.
    pub(super) fn of_request(&self) -> WireLimits {
        WireLimits {
            frame_bytes: super::protocol::MAX_REQUEST_BYTES,
            message_bytes: 2 * super::protocol::MAX_REQUEST_BYTES,
            message_parts: 4,
            handshake: self.handshake,
            ..WireLimits::STANDARD
        }
    }

    /// What may come from somebody who answers: `body_bytes` is the most of a message's body.
    pub(super) fn of_answer(&self, body_bytes: usize) -> WireLimits {
        let answer = usize::try_from(self.answer_bytes).unwrap_or(usize::MAX).max(body_bytes);
        let beside = 64 * 1024 + super::protocol::MAX_HEADER_BYTES;
        WireLimits {
            frame_bytes: body_bytes.max(super::protocol::MAX_HEADER_BYTES),
            message_bytes: answer.saturating_add(beside),
            message_parts: 2 * self.answer_messages + 4,
            handshake: self.handshake,
            ..WireLimits::STANDARD
        }
    }
}
