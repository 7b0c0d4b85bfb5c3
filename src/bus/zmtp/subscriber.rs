//! The subscribing socket: one task an endpoint, each by itself, and one bounded queue for what they bring.

use super::codec::{Kind, put_frame};
use super::connection::{Connection, Event, Role, greeting};
use super::error::ProtocolError;
use super::limits::Limits;
use super::stream::Stream;
use crate::bus::listener::keepalive;
use crate::bus::thread::start;
use crate::bus::transport::{Bounds, ConnectError, Link, LinkState, ReceiveError, Received, SubscribeSocket};
use crate::endpoint::{Endpoint, Host};
use crate::message::RawMessage;
use async_trait::async_trait;
use bytes::{Buf, BytesMut};
use socket2::SockRef;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::Interest;
use tokio::net::{TcpStream, UnixStream};
use tokio::runtime::Builder;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};
use tokio::time::{Instant, sleep_until, timeout};

/// The pauses before the first attempts after a connection, in milliseconds; then the last one for ever. Short at first,
/// since most publishers that go come back at once.
const PAUSES: [u64; 9] = [20, 50, 100, 200, 200, 300, 450, 675, 1000];

/// How long the system may take to make a connection.
const CONNECT_WITHIN: Duration = Duration::from_secs(3);

/// A connection that lasted as long, or brought a message, was a good one: the pauses begin anew.
const LASTED: Duration = Duration::from_secs(5);

/// How a connection that ended within a message is counted.
const CUT: &str = "cut";

/// How much is read at once.
const READ: usize = 128 * 1024;

/// With less room than this in the buffer, another is taken.
const LEAST_ROOM: usize = 32 * 1024;

#[derive(Debug)]
pub(super) struct ZmtpSubscriber {
    batches: UnboundedReceiver<Batch>,
    /// What is left of the batch that was taken last.
    current: Option<Batch>,
    links: watch::Receiver<Vec<Link>>,
    /// The thread ends when this goes.
    _running: oneshot::Sender<()>,
}

/// What one reading brought.
#[derive(Debug)]
struct Batch {
    endpoint: Arc<Endpoint>,
    messages: std::vec::IntoIter<RawMessage>,
    /// The room that all of it takes, given back when the last has gone.
    _room: OwnedSemaphorePermit,
}

/// What the task of one endpoint has.
struct Dialler {
    endpoint: Arc<Endpoint>,
    /// Its place in the list.
    place: usize,
    /// Sorted, none covering another.
    prefixes: Arc<[String]>,
    limits: Limits,
    bounds: Bounds,
    queue: UnboundedSender<Batch>,
    room: Arc<Semaphore>,
    links: watch::Sender<Vec<Link>>,
}

/// Why a connection ended, or did not come about.
enum Fault {
    /// The peer closed it within a message.
    Cut,
    /// The system, or the peer by closing it.
    Down(String),
    /// What the peer sent.
    Protocol(ProtocolError),
    /// Nobody receives any more.
    Unwanted,
}

impl From<ProtocolError> for Fault {
    fn from(error: ProtocolError) -> Self {
        Self::Protocol(error)
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Down(error.to_string())
    }
}

pub(super) async fn connect(
    endpoints: &[Endpoint],
    prefixes: &[String],
    limits: Limits,
) -> Result<ZmtpSubscriber, ConnectError> {
    if endpoints.is_empty() {
        return Err(ConnectError::NoEndpoint);
    }
    let first: Vec<Link> = endpoints.iter().map(Link::new).collect();
    let prefixes = uncovered(prefixes);
    start("fedmsg-subscribe", ConnectError::Engine, move |started| {
        let runtime = match Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => {
                // The caller may have given up meanwhile, and nobody else would want to know.
                let _ = started.send(Err(ConnectError::Engine(error.to_string())));
                return;
            }
        };
        let (queue, batches) = unbounded_channel();
        let bounds = Bounds { queue_bytes: limits.queue_bytes };
        let permits = usize::try_from(limits.queue_bytes).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        let room = Arc::new(Semaphore::new(permits));
        let endpoints: Vec<_> = first.iter().map(|link| Arc::clone(&link.endpoint)).collect();
        let links = watch::Sender::new(first);
        let (running, stopped) = oneshot::channel();
        let subscriber =
            ZmtpSubscriber { batches, current: None, links: links.subscribe(), _running: running };
        for (place, endpoint) in endpoints.into_iter().enumerate() {
            let (prefixes, room) = (Arc::clone(&prefixes), Arc::clone(&room));
            let (queue, links) = (queue.clone(), links.clone());
            runtime.spawn(Dialler { endpoint, place, prefixes, limits, bounds, queue, room, links }.run());
        }
        drop(queue);
        if started.send(Ok(subscriber)).is_ok() {
            // It is never sent to, only dropped.
            let _ = runtime.block_on(stopped);
        }
        // A name that is being looked up must not keep the thread.
        runtime.shutdown_background();
    })
    .await
}

#[async_trait]
impl SubscribeSocket for ZmtpSubscriber {
    async fn recv(&mut self) -> Result<Received, ReceiveError> {
        loop {
            if let Some(received) = self.next_of_current() {
                return Ok(received);
            }
            self.current = None;
            self.current = Some(self.batches.recv().await.ok_or(ReceiveError::Gone)?);
        }
    }

    fn try_recv(&mut self) -> Option<Received> {
        loop {
            if let Some(received) = self.next_of_current() {
                return Some(received);
            }
            self.current = None;
            self.current = Some(self.batches.try_recv().ok()?);
        }
    }

    fn links(&self) -> watch::Receiver<Vec<Link>> {
        self.links.clone()
    }
}

impl ZmtpSubscriber {
    fn next_of_current(&mut self) -> Option<Received> {
        let batch = self.current.as_mut()?;
        let message = batch.messages.next()?;
        Some(Received { endpoint: Arc::clone(&batch.endpoint), message })
    }
}

impl Dialler {
    async fn run(self) {
        let mut attempts = 0;
        loop {
            let begun = Instant::now();
            let mut heard = false;
            let (code, text) = match self.session(&mut heard).await {
                Fault::Unwanted => return,
                Fault::Protocol(error) => (Some(error.code()), error.to_string()),
                Fault::Cut => (Some(CUT), "the connection ended within a message".to_owned()),
                Fault::Down(text) => (None, text),
            };
            // Whoever sends garbage is not asked for more all the sooner.
            if code.is_none_or(|code| code == CUT) && (heard || begun.elapsed() >= LASTED) {
                attempts = 0;
            }
            self.link(|link| {
                if let Some(code) = code {
                    link.faults += 1;
                    *link.codes.entry(code).or_default() += 1;
                }
                link.state = LinkState::Down { fault: text };
            });
            let pause = PAUSES.get(attempts).or(PAUSES.last()).copied().unwrap_or(1000);
            attempts += 1;
            tokio::time::sleep(shortened(Duration::from_millis(pause))).await;
        }
    }

    /// One connection, from its beginning to its end. `heard`: whether it brought a message.
    async fn session(&self, heard: &mut bool) -> Fault {
        let stream = match timeout(CONNECT_WITHIN, self.dial()).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return error.into(),
            Err(_) => return Fault::Down(format!("no answer within {} s", CONNECT_WITHIN.as_secs())),
        };
        let mut session = Session {
            dialler: self,
            stream,
            connection: Connection::new(Role::Subscriber, self.limits),
            begun: Instant::now(),
            input: BytesMut::new(),
            output: BytesMut::from(&greeting()[..]),
            subscribing: false,
            connected: false,
            promise: None,
            messages: Vec::new(),
            cost: 0,
        };
        loop {
            if let Err(fault) = session.turn(heard).await {
                return fault;
            }
        }
    }

    async fn dial(&self) -> io::Result<Stream> {
        let stream = match &*self.endpoint {
            Endpoint::Ipc(ipc) => return Ok(Stream::Unix(UnixStream::connect(ipc.path()).await?)),
            Endpoint::Tcp(tcp) => match tcp.host() {
                Host::Name(name) => TcpStream::connect((name.as_str(), tcp.port())).await?,
                Host::V4(address) => TcpStream::connect((*address, tcp.port())).await?,
                Host::V6(address) => TcpStream::connect((*address, tcp.port())).await?,
            },
        };
        stream.set_nodelay(true)?;
        // A publisher's machine that has vanished says nothing, and neither do we.
        SockRef::from(&stream).set_tcp_keepalive(&keepalive())?;
        Ok(Stream::Tcp(stream))
    }

    fn wants(&self, message: &RawMessage) -> bool {
        let topic = message.parts.first().map_or(&[][..], |topic| topic);
        // Of prefixes of which none covers another, only the last one that is not after the topic can begin it.
        let after = self.prefixes.partition_point(|prefix| prefix.as_bytes() <= topic);
        let nearest = after.checked_sub(1).and_then(|last| self.prefixes.get(last));
        nearest.is_some_and(|prefix| topic.starts_with(prefix.as_bytes()))
    }

    /// Changes what is said of this endpoint.
    fn link(&self, change: impl FnOnce(&mut Link)) {
        self.links.send_modify(|links| {
            if let Some(link) = links.get_mut(self.place) {
                change(link)
            }
        });
    }
}

struct Session<'a> {
    dialler: &'a Dialler,
    stream: Stream,
    connection: Connection,
    begun: Instant,
    input: BytesMut,
    output: BytesMut,
    /// Whether the subscriptions stand in `output`, or are written.
    subscribing: bool,
    /// Whether they are written.
    connected: bool,
    /// What the publisher promised in a PING, and until when it has to be heard of.
    promise: Option<(Duration, Instant)>,
    /// What was read and not yet handed on.
    messages: Vec<RawMessage>,
    cost: u32,
}

impl Session<'_> {
    async fn turn(&mut self, heard: &mut bool) -> Result<(), Fault> {
        self.write()?;
        // One that takes nothing is not read from for ever either.
        let interest = match self.output.len() {
            0 => Interest::READABLE,
            1..READ => Interest::READABLE | Interest::WRITABLE,
            _ if !self.connected => Interest::READABLE | Interest::WRITABLE,
            _ => Interest::WRITABLE,
        };
        let deadline = match (self.connected, self.promise) {
            (false, _) => Some(self.begun + self.dialler.limits.handshake),
            (true, promise) => promise.map(|(_, until)| until),
        };
        let ready = match deadline {
            None => self.stream.ready(interest).await?,
            Some(deadline) => tokio::select! {
                ready = self.stream.ready(interest) => ready?,
                () = sleep_until(deadline) => return Err(self.late()),
            },
        };
        if ready.is_readable() || ready.is_read_closed() {
            self.read(heard).await?;
            // A publisher that sends without end must leave the others their turn.
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    fn late(&self) -> Fault {
        match self.promise {
            Some((ttl, _)) if self.connected => Fault::Down(format!(
                "silent for {} s, after a PING that promised otherwise",
                ttl.as_secs_f32()
            )),
            _ => ProtocolError::HandshakeTimeout { limit: self.dialler.limits.handshake }.into(),
        }
    }

    fn write(&mut self) -> Result<(), Fault> {
        while !self.output.is_empty() {
            match self.stream.write(&[IoSlice::new(&self.output)])? {
                Some(count) => self.output.advance(count),
                None => return Ok(()),
            }
        }
        if self.subscribing && !self.connected {
            self.connected = true;
            self.dialler.link(|link| {
                link.state = LinkState::Connected;
                link.connected += 1;
            });
        }
        Ok(())
    }

    async fn read(&mut self, heard: &mut bool) -> Result<(), Fault> {
        if self.input.capacity() - self.input.len() < LEAST_ROOM {
            // For what was announced no more is taken than has come: it doubles.
            let most = READ.max(self.input.len());
            self.input.reserve(self.connection.missing(&self.input).clamp(READ.min(most), most));
        }
        match self.stream.read(&mut self.input)? {
            None => return Ok(()),
            Some(0) if self.input.is_empty() && !self.connection.is_within_message() => {
                return Err(Fault::Down("the publisher closed the connection".to_owned()));
            }
            Some(0) => return Err(Fault::Cut),
            Some(_) => {}
        }
        if let Some((ttl, until)) = &mut self.promise {
            *until = Instant::now() + *ttl;
        }
        let mut unwanted = 0;
        let end = loop {
            match self.connection.next(&mut self.input) {
                Ok(Some(Event::Message(message))) if self.dialler.wants(&message) => {
                    *heard = true;
                    // One that is over the bound is here already; it goes through when the queue is empty.
                    let most = self.dialler.bounds.queue_bytes;
                    let cost = self.dialler.bounds.cost(&message).unwrap_or(most);
                    if self.cost > 0 && self.cost.saturating_add(cost) > most / 4 {
                        self.deliver().await?;
                    }
                    self.cost = self.cost.saturating_add(cost).min(most);
                    self.messages.push(message);
                }
                Ok(Some(Event::Message(_))) => unwanted += 1,
                Ok(Some(event)) => self.hear(event),
                Ok(None) => break Ok(()),
                Err(error) => break Err(error.into()),
            }
        };
        if unwanted > 0 {
            self.dialler.link(|link| link.unwanted += unwanted);
        }
        // What came before a fault was well-formed.
        self.deliver().await?;
        end
    }

    fn hear(&mut self, event: Event) {
        match event {
            Event::Greeted => self.output.extend_from_slice(&self.connection.ready()),
            Event::Ready => {
                let mut subscriptions = Vec::new();
                for prefix in &*self.dialler.prefixes {
                    put_frame(&mut subscriptions, Kind::Last, &[b"\x01", prefix.as_bytes()].concat());
                }
                self.output.extend_from_slice(&subscriptions);
                self.subscribing = true;
            }
            Event::Ping { ttl, context } => {
                self.output.extend_from_slice(&Event::pong(&context));
                self.promise = (!ttl.is_zero()).then(|| (ttl, Instant::now() + ttl));
            }
            // The connection's role leaves these out; messages are dealt with where they are read.
            Event::Cancel(_) | Event::Subscribe(_) | Event::Message(_) => {}
        }
    }

    /// Waits for room, and so lets the publisher wait: nothing is read meanwhile.
    async fn deliver(&mut self) -> Result<(), Fault> {
        if self.messages.is_empty() {
            return Ok(());
        }
        let begun = Instant::now();
        let room = Arc::clone(&self.dialler.room).acquire_many_owned(std::mem::take(&mut self.cost)).await;
        let room = room.map_err(|_| Fault::Unwanted)?;
        if let Some((_, until)) = &mut self.promise {
            // It was we who did not listen.
            *until += begun.elapsed();
        }
        let next = Vec::with_capacity(self.messages.len());
        let messages = std::mem::replace(&mut self.messages, next).into_iter();
        let endpoint = Arc::clone(&self.dialler.endpoint);
        self.dialler.queue.send(Batch { endpoint, messages, _room: room }).map_err(|_| Fault::Unwanted)
    }
}

/// The prefixes that no other covers, sorted.
fn uncovered(prefixes: &[String]) -> Arc<[String]> {
    let mut sorted = prefixes.to_vec();
    sorted.sort_unstable();
    // Sorted, a prefix stands before all that it covers, and nothing else stands between.
    sorted.dedup_by(|later, kept| later.starts_with(&**kept));
    sorted.into()
}

/// Between three quarters of `pause` and the whole, by chance, so that consumers do not come back all at once.
fn shortened(pause: Duration) -> Duration {
    let quarters = u32::try_from(RandomState::new().hash_one(()) % 1024).unwrap_or(0);
    pause - pause / 4 * quarters / 1024
}
