//! A consumer's end: each endpoint of a signer's service is asked, until one has the stream.

use super::limits::ReplayLimits;
use super::protocol::{Header, Question, Request, Status};
use super::source::{Found, ReplaySource, Reply};
use super::wire::{Wire, WireError};
use crate::bus::stream::StreamKey;
use crate::bus::zmtp::connection::Role;
use crate::config::Config;
use crate::endpoint::{Endpoint, Host};
use crate::identity::Identity;
use crate::message::RawMessage;
use crate::message::id::StreamId;
use async_trait::async_trait;
use bytes::Bytes;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(3);
/// How long an answer may take, from the connection to its last byte.
const ANSWER: Duration = Duration::from_secs(30);
/// Streams of which it is remembered who had them.
const REMEMBERED: usize = 10_000;

/// Asks the endpoints of `[replay]`.
#[derive(Debug)]
pub struct ReplayClient {
    /// By the name of the service.
    endpoints: BTreeMap<String, Vec<Arc<Endpoint>>>,
    limits: ReplayLimits,
    body_bytes: usize,
    /// Who had a stream is asked first for more of it.
    had: Mutex<HashMap<StreamId, Arc<Endpoint>>>,
}

/// What one endpoint said.
enum Said {
    Found(Found),
    Nothing,
}

impl ReplayClient {
    /// To the endpoints of the configuration.
    pub fn new(config: &Config) -> Self {
        let endpoints =
            config.replay.iter().map(|(service, list)| (service.to_string(), list.iter().cloned().collect()));
        Self::to(endpoints, config.limits.body_bytes.bytes())
    }

    /// To the endpoints of each service. `body_bytes` is the most that one message's body may have.
    pub fn to(endpoints: impl IntoIterator<Item = (String, Vec<Endpoint>)>, body_bytes: usize) -> Self {
        let shared = |list: Vec<Endpoint>| list.into_iter().map(Arc::new).collect();
        let endpoints = endpoints.into_iter().map(|(service, list)| (service, shared(list))).collect();
        Self { endpoints, limits: ReplayLimits::STANDARD, body_bytes, had: Mutex::default() }
    }

    /// The endpoints that may have a signer's stream, the likeliest first.
    fn endpoints(&self, key: &StreamKey) -> Vec<Arc<Endpoint>> {
        let service = match &key.signer {
            Identity::Spiffe(id) => id.service(),
            Identity::CommonName(_) => return Vec::new(),
        };
        let mut endpoints = self.endpoints.get(service).cloned().unwrap_or_default();
        let had = self.had.lock().unwrap_or_else(PoisonError::into_inner).get(&key.stream).cloned();
        // Stable: the others stay in the configuration's order.
        endpoints.sort_by_key(|endpoint| Some(endpoint) != had.as_ref());
        endpoints
    }

    fn remember(&self, stream: StreamId, endpoint: &Arc<Endpoint>) {
        let mut had = self.had.lock().unwrap_or_else(PoisonError::into_inner);
        if had.len() >= REMEMBERED {
            had.clear();
        }
        had.insert(stream, Arc::clone(endpoint));
    }

    async fn ask_one(
        &self,
        endpoint: &Arc<Endpoint>,
        stream: StreamId,
        request: &Request,
    ) -> Result<Said, String> {
        let connecting = connect(endpoint);
        let connected = timeout(CONNECT, connecting).await.map_err(|_| "no connection in time".to_owned())?;
        let asking = async {
            match connected.map_err(|error| error.to_string())? {
                Connected::Tcp(socket) => self.exchange(socket, request).await,
                Connected::Unix(socket) => self.exchange(socket, request).await,
            }
        };
        let parts = timeout(ANSWER, asking).await.map_err(|_| "no answer in time".to_owned())??;
        read(endpoint, stream, parts)
    }

    async fn exchange<S>(&self, socket: S, request: &Request) -> Result<Vec<Bytes>, String>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let said = |error: WireError| error.to_string();
        let limits = self.limits.of_answer(self.body_bytes);
        let mut wire = Wire::open(socket, Role::Request, limits).await.map_err(said)?;
        wire.send(&[&request.to_bytes()]).await.map_err(said)?;
        wire.recv().await.map_err(said)
    }
}

#[async_trait]
impl ReplaySource for ReplayClient {
    async fn ask(&self, key: &StreamKey, from: u64, to: Option<u64>) -> Reply {
        let endpoints = self.endpoints(key);
        if endpoints.is_empty() {
            return Reply::NoEndpoint;
        }
        let question = Question::Range { stream: key.stream, from, to };
        let request = Request { question, limit: None };
        let mut failed = None;
        for endpoint in endpoints {
            match self.ask_one(&endpoint, key.stream, &request).await {
                Ok(Said::Found(found)) => {
                    self.remember(key.stream, &endpoint);
                    return Reply::Found(found);
                }
                Ok(Said::Nothing) => {}
                Err(why) => failed = Some(format!("{endpoint}: {why}")),
            }
        }
        // Whoever was not reached may be the one that has it.
        failed.map_or(Reply::UnknownStream, |why| Reply::Failed { why })
    }
}

/// What an answer says. Its header is nobody's word; its messages prove themselves later.
fn read(endpoint: &Arc<Endpoint>, stream: StreamId, parts: Vec<Bytes>) -> Result<Said, String> {
    let mut parts = parts.into_iter();
    let header = parts.next().ok_or("an answer without a header")?;
    let header = Header::parse(&header).map_err(|error| format!("the answer's header: {error}"))?;
    match header.status {
        Status::UnknownStream => return Ok(Said::Nothing),
        Status::BadRequest | Status::Busy => return Err(format!("it answers `{}`", header.status.as_str())),
        Status::Gone | Status::Ok => {}
    }
    if header.extent.is_some_and(|extent| extent.stream != stream) {
        return Err("it answers of another stream".to_owned());
    }
    let mut messages = Vec::new();
    while let Some(topic) = parts.next() {
        let body = parts.next().ok_or("a message without a body")?;
        messages.push(RawMessage::new(topic, body));
    }
    if u64::try_from(messages.len()) != Ok(header.count) {
        return Err(format!("{} messages, and {} were announced", messages.len(), header.count));
    }
    let endpoint = Arc::clone(endpoint);
    Ok(Said::Found(Found { endpoint, messages, gone: header.gone, next: header.next }))
}

enum Connected {
    Tcp(TcpStream),
    Unix(UnixStream),
}

async fn connect(endpoint: &Endpoint) -> std::io::Result<Connected> {
    match endpoint {
        Endpoint::Ipc(ipc) => UnixStream::connect(ipc.path()).await.map(Connected::Unix),
        Endpoint::Tcp(tcp) => {
            let port = tcp.port();
            let socket = match tcp.host() {
                Host::Name(name) => TcpStream::connect((name.as_str(), port)).await,
                Host::V4(address) => TcpStream::connect((*address, port)).await,
                Host::V6(address) => TcpStream::connect((*address, port)).await,
            };
            let socket = socket?;
            socket.set_nodelay(true)?;
            Ok(Connected::Tcp(socket))
        }
    }
}
