//! Commands: READY and ERROR (RFC 23), SUBSCRIBE, CANCEL, PING and PONG (RFC 37, which peers of 3.0 use too).

use super::codec::{Kind, put_frame};
use super::connection::Role;
use super::error::{ProtocolError, shown};
use bytes::{Buf, Bytes};
use std::time::Duration;

/// The most bytes of a PING's context (RFC 37, "Connection Heartbeating").
const MOST_CONTEXT: usize = 16;

/// A command as it was received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Command {
    Cancel(Bytes),
    Error(String),
    Ping {
        ttl: Duration,
        context: Bytes,
    },
    Pong,
    Ready {
        identity: usize,
        socket_type: Option<String>,
    },
    Subscribe(Bytes),
    /// One of a later version, which says nothing to us.
    Unknown(String),
}

impl Command {
    /// Reads the body of a command's frame.
    pub(super) fn read(mut body: Bytes) -> Result<Self, ProtocolError> {
        let name = take_short(&mut body).ok_or(ProtocolError::Command("nameless"))?;
        match &name[..] {
            b"CANCEL" => Ok(Self::Cancel(body)),
            b"ERROR" => {
                let reason = take_short(&mut body).ok_or(ProtocolError::Command("ERROR"))?;
                Ok(Self::Error(shown(&reason)))
            }
            b"PING" => {
                let ttl = take(&mut body, 2).ok_or(ProtocolError::Command("PING"))?.get_u16();
                if body.len() > MOST_CONTEXT {
                    return Err(ProtocolError::Command("PING"));
                }
                Ok(Self::Ping { ttl: Duration::from_millis(u64::from(ttl) * 100), context: body })
            }
            b"PONG" => Ok(Self::Pong),
            b"READY" => read_ready(body),
            b"SUBSCRIBE" => Ok(Self::Subscribe(body)),
            b"" => Err(ProtocolError::Command("nameless")),
            other => Ok(Self::Unknown(shown(other))),
        }
    }

    /// What it is called.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Cancel(_) => "CANCEL",
            Self::Error(_) => "ERROR",
            Self::Ping { .. } => "PING",
            Self::Pong => "PONG",
            Self::Ready { .. } => "READY",
            Self::Subscribe(_) => "SUBSCRIBE",
            Self::Unknown(name) => name,
        }
    }
}

/// The properties that matter. The others, which anybody may add, are only looked at for their form.
fn read_ready(mut body: Bytes) -> Result<Command, ProtocolError> {
    let (mut identity, mut socket_type) = (0, None);
    while !body.is_empty() {
        let property = take_short(&mut body).zip(take_long(&mut body));
        let (name, value) = property.ok_or(ProtocolError::Command("READY"))?;
        if name.is_empty() {
            return Err(ProtocolError::Command("READY"));
        }
        if name.eq_ignore_ascii_case(b"Identity") {
            identity = value.len();
        } else if name.eq_ignore_ascii_case(b"Socket-Type") {
            // Twice would be two answers to one question.
            if socket_type.replace(shown(&value)).is_some() {
                return Err(ProtocolError::Command("READY"));
            }
        }
    }
    Ok(Command::Ready { identity, socket_type })
}

/// A READY command's frame.
pub(super) fn ready(role: Role) -> Vec<u8> {
    let mut body = b"\x05READY\x0bSocket-Type\0\0\0\x03".to_vec();
    body.extend_from_slice(role.socket_type().as_bytes());
    let mut out = Vec::new();
    put_frame(&mut out, Kind::Command, &body);
    out
}

/// A PONG command's frame, with the context of its PING.
pub(super) fn pong(context: &[u8]) -> Vec<u8> {
    let mut body = b"\x04PONG".to_vec();
    body.extend_from_slice(context);
    let mut out = Vec::new();
    put_frame(&mut out, Kind::Command, &body);
    out
}

/// Bytes behind a length of one byte.
fn take_short(body: &mut Bytes) -> Option<Bytes> {
    let length = take(body, 1)?.get_u8();
    take(body, length.into())
}

/// Bytes behind a length of four bytes.
fn take_long(body: &mut Bytes) -> Option<Bytes> {
    let length = take(body, 4)?.get_u32();
    take(body, usize::try_from(length).ok()?)
}

fn take(body: &mut Bytes, count: usize) -> Option<Bytes> {
    (body.len() >= count).then(|| body.split_to(count))
}
