//! Binding: the first endpoint of a list that is free.

use super::transport::BindError;
use crate::endpoint::{Endpoint, Host, IpcEndpoint, TcpEndpoint};
use socket2::{SockRef, TcpKeepalive};
use std::fs::{self, File, Permissions, TryLockError};
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, ToSocketAddrs};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::time::Duration;

/// A bound endpoint.
#[derive(Debug)]
pub(super) struct Bound {
    /// What was bound; a port 0 replaced by the one that was given.
    pub(super) endpoint: Endpoint,
    /// To accept from.
    pub(super) listener: Listener,
    /// Keeps a Unix socket's path.
    pub(super) path: Option<HeldPath>,
}

/// A listening socket.
#[derive(Debug)]
pub(super) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// How long a TCP connection may be idle before the system asks whether the peer is still there, and how often it
/// then asks.
pub(super) fn keepalive() -> TcpKeepalive {
    TcpKeepalive::new().with_time(Duration::from_secs(60)).with_interval(Duration::from_secs(10))
}

/// The path of a Unix socket, held by a lock beside it; the socket is removed with the value. The lock's file stays:
/// removing it would let two hold it.
#[derive(Debug)]
pub(super) struct HeldPath {
    socket: PathBuf,
    _lock: File,
}

/// Binds the first of `endpoints` that is free.
pub(super) fn bind_first(endpoints: &[Endpoint]) -> Result<Bound, BindError> {
    if endpoints.is_empty() {
        return Err(BindError::NoEndpoint);
    }
    for endpoint in endpoints {
        let bound = match endpoint {
            Endpoint::Tcp(tcp) => bind_tcp(tcp),
            Endpoint::Ipc(ipc) => bind_ipc(ipc),
        };
        match bound {
            Ok(bound) => return Ok(bound),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            Err(error) => {
                let (kind, text) = (error.kind(), error.to_string());
                return Err(BindError::Io { endpoint: endpoint.clone(), kind, text });
            }
        }
    }
    Err(BindError::AllInUse(endpoints.to_vec()))
}

fn bind_tcp(tcp: &TcpEndpoint) -> io::Result<Bound> {
    let listener = bind_address(&addresses(tcp)?)?;
    // Accepted connections inherit it (tcp(7)).
    SockRef::from(&listener).set_tcp_keepalive(&keepalive())?;
    let endpoint = Endpoint::Tcp(tcp.with_port(listener.local_addr()?.port()));
    Ok(Bound { endpoint, listener: Listener::Tcp(listener), path: None })
}

fn addresses(tcp: &TcpEndpoint) -> io::Result<Vec<SocketAddr>> {
    let address = match tcp.host() {
        Host::Name(name) => return Ok((name.as_str(), tcp.port()).to_socket_addrs()?.collect()),
        Host::V4(address) => IpAddr::V4(*address),
        Host::V6(address) => IpAddr::V6(*address),
    };
    Ok(vec![SocketAddr::new(address, tcp.port())])
}

/// Binds the first address that this machine has. One in use makes the endpoint be in use: with `localhost` bound by
/// one publisher at 127.0.0.1 and another at ::1, consumers would hear only one of them.
fn bind_address(addresses: &[SocketAddr]) -> io::Result<TcpListener> {
    let mut last = io::Error::new(io::ErrorKind::AddrNotAvailable, "the host has no address");
    for address in addresses {
        match TcpListener::bind(address) {
            Ok(listener) => return Ok(listener),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => return Err(error),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn bind_ipc(ipc: &IpcEndpoint) -> io::Result<Bound> {
    let path = ipc.path();
    let mut beside = path.as_os_str().to_owned();
    beside.push(".lock");
    let lock = File::options().create(true).truncate(false).write(true).open(beside)?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(io::ErrorKind::AddrInUse.into()),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    match fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "a file that is no socket is there"));
        }
        // Something else than fedmsg, which knows nothing of the lock, may be listening.
        Ok(_) if UnixStream::connect(path).is_ok() => return Err(io::ErrorKind::AddrInUse.into()),
        Ok(_) => fs::remove_file(path)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let listener = UnixListener::bind(path)?;
    // To connect is to write (unix(7)): the owner and the group may, and the directory says which group that is.
    fs::set_permissions(path, Permissions::from_mode(0o660))?;
    let held = HeldPath { socket: path.to_owned(), _lock: lock };
    Ok(Bound { endpoint: Endpoint::Ipc(ipc.clone()), listener: Listener::Unix(listener), path: Some(held) })
}

impl Drop for HeldPath {
    fn drop(&mut self) {
        // Should it stay, the next publisher finds it stale and removes it.
        let _ = fs::remove_file(&self.socket);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(text: &str) -> Endpoint {
        text.parse().unwrap()
    }

    #[test]
    fn only_in_use_tries_the_next() {
        assert_eq!(bind_first(&[]).unwrap_err(), BindError::NoEndpoint);
        let first = bind_first(&[endpoint("tcp://127.0.0.1:0")]).unwrap();
        let any = endpoint("tcp://127.0.0.1:0");
        let second = bind_first(&[first.endpoint.clone(), any]).unwrap();
        assert_ne!(second.endpoint, first.endpoint);
        let busy = [first.endpoint.clone(), second.endpoint.clone()];
        assert_eq!(bind_first(&busy).unwrap_err(), BindError::AllInUse(busy.to_vec()));
        // TEST-NET-1 (RFC 5737) is nobody's address.
        let wrong = endpoint("tcp://192.0.2.1:9");
        let error = bind_first(&[wrong.clone(), endpoint("tcp://127.0.0.1:0")]).unwrap_err();
        assert!(matches!(&error, BindError::Io { endpoint, .. } if *endpoint == wrong), "{error}");
    }

    #[test]
    fn a_stale_socket_is_not_in_use() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("bus.sock");
        let ipc = endpoint(&format!("ipc://{}", path.display()));
        drop(UnixListener::bind(&path).unwrap());
        let bound = bind_first(std::slice::from_ref(&ipc)).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
        assert_eq!(
            bind_first(std::slice::from_ref(&ipc)).unwrap_err(),
            BindError::AllInUse(vec![ipc.clone()])
        );
        drop(bound);
        assert!(!path.exists());
        let foreign = UnixListener::bind(&path).unwrap();
        assert_eq!(
            bind_first(std::slice::from_ref(&ipc)).unwrap_err(),
            BindError::AllInUse(vec![ipc.clone()])
        );
        drop(foreign);
        fs::remove_file(&path).unwrap();
        fs::write(&path, "precious").unwrap();
        assert!(matches!(bind_first(&[ipc]), Err(BindError::Io { .. })));
        assert_eq!(fs::read(&path).unwrap(), b"precious");
    }
}
