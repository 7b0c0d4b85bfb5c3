//! A connected socket, TCP or Unix.

use bytes::BytesMut;
use socket2::SockRef;
use std::io::{self, IoSlice};
use std::time::Duration;
use tokio::io::{Interest, Ready};
use tokio::net::{TcpStream, UnixStream};

#[derive(Debug)]
pub(super) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    pub(super) async fn ready(&self, interest: Interest) -> io::Result<Ready> {
        match self {
            Self::Tcp(stream) => stream.ready(interest).await,
            Self::Unix(stream) => stream.ready(interest).await,
        }
    }

    /// Reads what is there into the room that `buffer` has. `None`: nothing is there yet; zero: nothing ever will be.
    pub(super) fn read(&self, buffer: &mut BytesMut) -> io::Result<Option<usize>> {
        later(match self {
            Self::Tcp(stream) => stream.try_read_buf(buffer),
            Self::Unix(stream) => stream.try_read_buf(buffer),
        })
    }

    /// Writes what can be written at once. `None`: nothing can.
    pub(super) fn write(&self, slices: &[IoSlice<'_>]) -> io::Result<Option<usize>> {
        later(match self {
            Self::Tcp(stream) => stream.try_write_vectored(slices),
            Self::Unix(stream) => stream.try_write_vectored(slices),
        })
    }

    /// Ends it as if it had never been: what the system has still to send is thrown away.
    pub(super) fn abort(self) {
        if let Self::Tcp(stream) = &self {
            // Should it fail, it is closed in the ordinary way.
            let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
        }
    }

    /// Says that nothing more comes. What was written is delivered: but for a byte that nobody has read, at which the
    /// system would break off the connection.
    pub(super) fn finish(self) {
        let socket = match &self {
            Self::Tcp(stream) => SockRef::from(stream),
            Self::Unix(stream) => SockRef::from(stream),
        };
        // The peer may be gone already.
        let _ = socket.shutdown(std::net::Shutdown::Write);
        let mut unread = BytesMut::with_capacity(4096);
        while matches!(self.read(&mut unread), Ok(Some(1..))) {
            unread.clear();
        }
    }
}

fn later(done: io::Result<usize>) -> io::Result<Option<usize>> {
    match done {
        Ok(count) => Ok(Some(count)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}
