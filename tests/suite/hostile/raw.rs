//! A peer that says whatever it likes: as much of ZMTP 3.0 (RFC 23) as one needs to be heard.

use socket2::{Domain, Socket, Type};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// How long a raw peer waits for anything.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

pub(super) fn greeting() -> Vec<u8> {
    let mut greeting = vec![0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0x7f, 3, 0];
    greeting.extend(b"NULL");
    greeting.resize(64, 0);
    greeting
}

pub(super) fn ready(socket_type: &str, identity: &str) -> Vec<u8> {
    let mut body = b"\x05READY".to_vec();
    for (name, value) in [("Socket-Type", socket_type), ("Identity", identity)] {
        body.push(u8::try_from(name.len()).unwrap());
        body.extend(name.as_bytes());
        body.extend(u32::try_from(value.len()).unwrap().to_be_bytes());
        body.extend(value.as_bytes());
    }
    frame(4, &body)
}

/// A frame with these flags, written short if it can be.
pub(super) fn frame(flags: u8, body: &[u8]) -> Vec<u8> {
    let mut out = match u8::try_from(body.len()) {
        Ok(length) => vec![flags, length],
        Err(_) => header(flags | 2, body.len().try_into().unwrap()),
    };
    out.extend(body);
    out
}

/// A long header.
pub(super) fn header(flags: u8, length: u64) -> Vec<u8> {
    let mut out = vec![flags];
    out.extend(length.to_be_bytes());
    out
}

/// Bytes by chance, the same each time.
pub(super) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let step = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    std::iter::repeat_with(step).take(length).collect()
}

#[derive(Debug)]
pub(super) struct Raw(pub(super) TcpStream);

impl Raw {
    /// Connects, with little room for what it does not read.
    pub(super) fn connect(to: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.set_recv_buffer_size(4096)?;
        socket.connect_timeout(&to.into(), PATIENCE)?;
        Self::over(socket.into())
    }

    pub(super) fn over(stream: TcpStream) -> io::Result<Self> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(Duration::from_secs(2)))?;
        Ok(Self(stream))
    }

    /// A subscriber to `prefixes`.
    pub(super) fn subscriber(to: SocketAddr, identity: &str, prefixes: &[&str]) -> io::Result<Self> {
        let mut raw = Self::connect(to)?;
        raw.shake("SUB", identity)?;
        for prefix in prefixes {
            raw.say(&frame(0, &[b"\x01", prefix.as_bytes()].concat()))?;
        }
        Ok(raw)
    }

    /// The whole handshake.
    pub(super) fn shake(&mut self, socket_type: &str, identity: &str) -> io::Result<()> {
        self.say(&greeting())?;
        self.hear(64)?;
        self.say(&ready(socket_type, identity))?;
        let header = self.hear(2)?;
        self.hear(header[1].into())?;
        Ok(())
    }

    pub(super) fn say(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }

    pub(super) fn hear(&mut self, count: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; count];
        self.0.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    /// Says `bytes` again and again, until it was put out or has said `most` bytes.
    pub(super) fn say_on(&mut self, bytes: &[u8], most: usize) {
        let mut said = 0;
        while said < most && self.say(bytes).is_ok() {
            said += bytes.len();
        }
    }

    /// Waits to be put out: for the end of the connection, well or badly.
    pub(super) fn is_put_out(&mut self, within: Duration) -> Result<(), String> {
        let deadline = Instant::now() + within;
        let mut some = [0; 65536];
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(format!("it was not put out within {within:?}"));
            }
            self.0.set_read_timeout(Some(left)).map_err(|e| e.to_string())?;
            match self.0.read(&mut some) {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
                Err(_) => return Ok(()),
            }
        }
    }
}
