//! One connection between somebody who asks (REQ) and somebody who answers (REP): messages in, messages out.

use crate::bus::zmtp::ProtocolError;
use crate::bus::zmtp::codec::{Kind, put_frame};
use crate::bus::zmtp::connection::{Connection, Event, Role, greeting};
use crate::bus::zmtp::limits::Limits;
use bytes::{Bytes, BytesMut};
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Why a connection is of no more use.
#[derive(Debug, thiserror::Error)]
pub(super) enum WireError {
    /// The other side has ended it.
    #[error("the connection was ended")]
    Ended,
    /// What came has no empty frame before its content, as a REQ and a REP send it (RFC 28).
    #[error("a message without an empty frame before its content")]
    Envelope,
    /// The system.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// What came is not ZMTP, or too much of it.
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
}

/// A connection, after its handshake.
#[derive(Debug)]
pub(super) struct Wire<S> {
    stream: S,
    connection: Connection,
    buffer: BytesMut,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    /// Goes through the handshake.
    pub(super) async fn open(stream: S, role: Role, limits: Limits) -> Result<Self, WireError> {
        let mut wire = Self { stream, connection: Connection::new(role, limits), buffer: BytesMut::new() };
        wire.stream.write_all(&greeting()).await?;
        while !wire.connection.is_ready() {
            // Nothing else than these two can come before it is ready.
            if wire.event().await? == Event::Greeted {
                let ready = wire.connection.ready();
                wire.stream.write_all(&ready).await?;
            }
        }
        Ok(wire)
    }

    /// The next message, without the empty frame before it.
    pub(super) async fn recv(&mut self) -> Result<Vec<Bytes>, WireError> {
        loop {
            match self.event().await? {
                Event::Message(message) => {
                    let mut parts = message.parts.into_iter();
                    // Whatever stands before it is for those who asked by way of others.
                    if !parts.by_ref().any(|part| part.is_empty()) {
                        return Err(WireError::Envelope);
                    }
                    return Ok(parts.collect());
                }
                Event::Ping { context, .. } => self.stream.write_all(&Event::pong(&context)).await?,
                Event::Cancel(_) | Event::Greeted | Event::Ready | Event::Subscribe(_) => {}
            }
        }
    }

    /// Sends a message, after an empty frame.
    pub(super) async fn send(&mut self, parts: &[&[u8]]) -> Result<(), WireError> {
        let room: usize = parts.iter().map(|part| part.len() + 9).sum();
        let mut out = Vec::with_capacity(room + 2);
        put_frame(&mut out, Kind::More, &[]);
        for (n, part) in parts.iter().enumerate() {
            let kind = if n + 1 == parts.len() { Kind::Last } else { Kind::More };
            put_frame(&mut out, kind, part);
        }
        Ok(self.stream.write_all(&out).await?)
    }

    async fn event(&mut self) -> Result<Event, WireError> {
        loop {
            if let Some(event) = self.connection.next(&mut self.buffer)? {
                return Ok(event);
            }
            // Never more than what the frame that has begun still wants, which is within the limits.
            let room = self.connection.missing(&self.buffer).min(64 * 1024);
            self.buffer.reserve(room);
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(WireError::Ended);
            }
        }
    }
}
