//! One connection as a state machine: bytes in, events out. No socket, no clock.
//!
//! Whoever has the socket sends [`greeting()`](greeting::greeting) at once, [`Connection::ready`] at [`Event::Greeted`], and answers
//! [`Event::Ping`]. How the bytes were cut on their way makes no difference.

use super::codec::{self, Caps, Frame, Kind};
use super::command::{self, Command};
use super::error::ProtocolError;
use super::greeting::{self, GREETING_BYTES};
use super::limits::Limits;
use crate::message::RawMessage;
use bytes::{Buf, Bytes, BytesMut};
use std::time::Duration;

pub use super::greeting::greeting;

/// Which end of a connection this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// PUB: it hears subscriptions.
    Publisher,
    /// REP: it hears requests.
    Reply,
    /// REQ: it hears what it asked for.
    Request,
    /// SUB: it hears messages.
    Subscriber,
}

impl Role {
    /// The word for it in READY.
    pub fn socket_type(self) -> &'static str {
        match self {
            Self::Publisher => "PUB",
            Self::Reply => "REP",
            Self::Request => "REQ",
            Self::Subscriber => "SUB",
        }
    }

    /// Who is expected at the other end, where only one is named.
    fn peer(self) -> &'static str {
        match self {
            Self::Publisher => "SUB",
            Self::Reply => "REQ",
            Self::Request => "REP",
            Self::Subscriber => "PUB",
        }
    }

    /// Whether it speaks to such a socket (RFC 29, sections 3 and 4; RFC 28, sections 3 and 4).
    fn speaks_to(self, socket_type: &str) -> bool {
        match self {
            Self::Publisher => matches!(socket_type, "SUB" | "XSUB"),
            Self::Reply => matches!(socket_type, "REQ" | "DEALER"),
            Self::Request => matches!(socket_type, "REP" | "ROUTER"),
            Self::Subscriber => matches!(socket_type, "PUB" | "XPUB"),
        }
    }
}

/// What a peer said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// It takes back a subscription.
    Cancel(Bytes),
    /// Its greeting is good: READY has to be sent.
    Greeted,
    /// A message.
    Message(RawMessage),
    /// It wants to know whether anybody is here: [`Event::pong`] has to be sent.
    Ping {
        /// How long it promises to be silent at most; zero, if it promises nothing.
        ttl: Duration,
        /// What the answer has to carry.
        context: Bytes,
    },
    /// The handshake is at its end.
    Ready,
    /// It subscribes to a prefix.
    Subscribe(Bytes),
}

impl Event {
    /// The answer to a PING with this context.
    pub fn pong(context: &[u8]) -> Vec<u8> {
        command::pong(context)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Greeting,
    Handshake,
    Traffic,
}

/// What is known of a connection.
#[derive(Debug)]
pub struct Connection {
    role: Role,
    limits: Limits,
    state: State,
    /// The frames of a message that is not all there.
    parts: Vec<Bytes>,
    /// Their bytes.
    part_bytes: usize,
}

impl Connection {
    /// At its beginning.
    pub fn new(role: Role, limits: Limits) -> Self {
        Self { role, limits, state: State::Greeting, parts: Vec::new(), part_bytes: 0 }
    }

    /// What has to be sent at [`Event::Greeted`].
    pub fn ready(&self) -> Vec<u8> {
        command::ready(self.role)
    }

    /// Whether the handshake is at its end.
    pub fn is_ready(&self) -> bool {
        self.state == State::Traffic
    }

    /// Whether a message has begun, of which not all frames were taken.
    pub fn is_within_message(&self) -> bool {
        !self.parts.is_empty()
    }

    /// Whether the handshake may go on, so long after the connection.
    ///
    /// # Errors
    /// [`ProtocolError::HandshakeTimeout`].
    pub fn in_time(&self, elapsed: Duration) -> Result<(), ProtocolError> {
        let limit = self.limits.handshake;
        let late = !self.is_ready() && elapsed >= limit;
        if late { Err(ProtocolError::HandshakeTimeout { limit }) } else { Ok(()) }
    }

    /// Takes from `buffer` what the peer said next; `None` if that is not all there.
    ///
    /// # Errors
    /// A [`ProtocolError`]; nothing that comes after it means anything.
    pub fn next(&mut self, buffer: &mut BytesMut) -> Result<Option<Event>, ProtocolError> {
        if self.state == State::Greeting {
            let there = buffer.get(..GREETING_BYTES).unwrap_or(buffer);
            greeting::check(there)?;
            if there.len() < GREETING_BYTES {
                return Ok(None);
            }
            buffer.advance(GREETING_BYTES);
            self.state = State::Handshake;
            return Ok(Some(Event::Greeted));
        }
        while let Some(frame) = codec::decode(buffer, self.caps()).map_err(|error| self.named(error))? {
            let event = match (self.state, frame.kind) {
                (State::Greeting | State::Handshake, Kind::Command) => Some(self.handshake(frame.body)?),
                (State::Greeting | State::Handshake, _) => {
                    return Err(ProtocolError::NotReady("a message".to_owned()));
                }
                (State::Traffic, Kind::Command) => self.command(frame.body)?,
                (State::Traffic, Kind::Last | Kind::More) => self.frame(frame)?,
            };
            if event.is_some() {
                return Ok(event);
            }
        }
        Ok(None)
    }

    /// How many bytes are missing of what `buffer` begins with, at the least.
    pub fn missing(&self, buffer: &[u8]) -> usize {
        match self.state {
            State::Greeting => GREETING_BYTES.saturating_sub(buffer.len()).max(1),
            State::Handshake | State::Traffic => codec::missing(buffer, self.caps()).max(1),
        }
    }

    fn caps(&self) -> Caps {
        let Limits { command_bytes: command, frame_bytes, message_bytes, .. } = self.limits;
        let frame = match (self.role, self.state) {
            (Role::Reply | Role::Request | Role::Subscriber, State::Traffic) => {
                frame_bytes.min(message_bytes.saturating_sub(self.part_bytes))
            }
            // Nothing but subscriptions comes from a subscriber, and nothing but READY before the traffic.
            (_, _) => command,
        };
        Caps { command, frame }
    }

    /// Which limit it was: a frame may fit by itself, and not be the first.
    fn named(&self, error: ProtocolError) -> ProtocolError {
        let ProtocolError::FrameTooLarge { limit, found } = error else { return error };
        if self.role == Role::Publisher || !self.is_ready() {
            return ProtocolError::CommandTooLarge { limit, found };
        }
        let (limit, frame_limit) = (self.limits.message_bytes, self.limits.frame_bytes);
        if usize::try_from(found).is_ok_and(|found| found <= frame_limit) {
            let before = u64::try_from(self.part_bytes).unwrap_or(u64::MAX);
            ProtocolError::MessageTooLarge { limit, found: found.saturating_add(before) }
        } else {
            ProtocolError::FrameTooLarge { limit: frame_limit, found }
        }
    }

    fn handshake(&mut self, body: Bytes) -> Result<Event, ProtocolError> {
        let command = Command::read(body)?;
        match command {
            Command::Ready { identity, .. } if identity > 0 && self.role != Role::Reply => {
                Err(ProtocolError::Identity(identity))
            }
            Command::Ready { socket_type, .. } => {
                let found = socket_type.unwrap_or_default();
                if !self.role.speaks_to(&found) {
                    let expected = self.role.peer();
                    return Err(ProtocolError::SocketType { expected, found });
                }
                self.state = State::Traffic;
                Ok(Event::Ready)
            }
            Command::Error(reason) => Err(ProtocolError::Refused(reason)),
            Command::Cancel(_)
            | Command::Ping { .. }
            | Command::Pong
            | Command::Subscribe(_)
            | Command::Unknown(_) => Err(ProtocolError::NotReady(command.name().to_owned())),
        }
    }

    fn command(&self, body: Bytes) -> Result<Option<Event>, ProtocolError> {
        match (self.role, Command::read(body)?) {
            (_, Command::Ping { ttl, context }) => Ok(Some(Event::Ping { ttl, context })),
            // Of a later version, perhaps. libzmq lets them pass as well.
            (_, Command::Pong | Command::Unknown(_)) => Ok(None),
            (Role::Publisher, Command::Subscribe(prefix)) => Ok(Some(Event::Subscribe(prefix))),
            (Role::Publisher, Command::Cancel(prefix)) => Ok(Some(Event::Cancel(prefix))),
            (Role::Reply | Role::Request | Role::Subscriber, Command::Subscribe(_) | Command::Cancel(_)) => {
                Err(ProtocolError::Unexpected("a subscription"))
            }
            (_, Command::Ready { .. }) => Err(ProtocolError::Unexpected("another READY")),
            (_, Command::Error(reason)) => Err(ProtocolError::Refused(reason)),
        }
    }

    fn frame(&mut self, frame: Frame) -> Result<Option<Event>, ProtocolError> {
        match self.role {
            Role::Publisher => match (frame.kind, frame.body.first()) {
                (Kind::Last, Some(1)) => Ok(Some(Event::Subscribe(frame.body.slice(1..)))),
                (Kind::Last, Some(0)) => Ok(Some(Event::Cancel(frame.body.slice(1..)))),
                _ => Err(ProtocolError::Unexpected("a message")),
            },
            Role::Reply | Role::Request | Role::Subscriber => {
                if self.parts.len() >= self.limits.message_parts {
                    return Err(ProtocolError::TooManyParts { limit: self.limits.message_parts });
                }
                if self.parts.is_empty() {
                    self.parts.reserve(2);
                }
                self.part_bytes += frame.body.len();
                self.parts.push(frame.body);
                if frame.kind == Kind::More {
                    return Ok(None);
                }
                self.part_bytes = 0;
                Ok(Some(Event::Message(RawMessage { parts: std::mem::take(&mut self.parts) })))
            }
        }
    }
}

#[cfg(test)]
mod tests;
