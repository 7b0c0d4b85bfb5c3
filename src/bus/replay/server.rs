//! The endpoint beside a publisher, where it is asked for what somebody missed.

use super::answer::answer;
use super::gate::{Entry, Gate, Turned};
use super::limits::ReplayLimits;
use super::protocol::{Header, Request, Status};
use super::wire::{Wire, WireError};
use crate::bus::listener::{Bound, Listener, bind_first};
use crate::bus::transport::BindError;
use crate::bus::zmtp::connection::Role;
use crate::endpoint::Endpoint;
use crate::store::outbox::{Kept, OutboxReader};
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::oneshot;
use tokio::time::timeout;

/// Answers who missed something, from an outbox, until it is dropped. It has a thread of its own.
pub struct ReplayServer {
    endpoint: Endpoint,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What a replay endpoint has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReplayCounts {
    /// Requests that were answered.
    pub answered: u64,
    /// Messages in these answers.
    pub messages: u64,
    /// Requests that could not be read.
    pub bad_requests: u64,
    /// Requests that were too many at once, and were told so.
    pub busy: u64,
    /// Connections that were turned away: over a limit.
    pub turned_away: u64,
    /// Connections that spoke another language, or ended in the middle of a word.
    pub faults: u64,
    /// Connections that took too long: to shake hands, to ask, or to take their answer.
    pub late: u64,
    /// Answers that failed because the outbox could not be read.
    pub unreadable: u64,
}

struct Shared {
    reader: Mutex<Box<dyn OutboxReader>>,
    limits: ReplayLimits,
    gate: Gate,
    counts: Counts,
}

#[derive(Default)]
struct Counts {
    answered: AtomicU64,
    messages: AtomicU64,
    bad_requests: AtomicU64,
    busy: AtomicU64,
    turned_away: AtomicU64,
    faults: AtomicU64,
    late: AtomicU64,
    unreadable: AtomicU64,
}

impl ReplayServer {
    /// Answers at the first of `endpoints` that is free, from what `reader` reads.
    ///
    /// # Errors
    /// [`BindError`].
    pub fn start(
        endpoints: &[Endpoint],
        reader: Box<dyn OutboxReader>,
        limits: ReplayLimits,
    ) -> Result<Self, BindError> {
        let bound = bind_first(endpoints)?;
        let endpoint = bound.endpoint.clone();
        let (gate, counts) = (Gate::new(limits), Counts::default());
        let shared = Arc::new(Shared { reader: Mutex::new(reader), limits, gate, counts });
        let (stop, stopped) = oneshot::channel();
        let engine = |error: io::Error| BindError::Engine(error.to_string());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(engine)?;
        let within = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("fedmsg-replay".to_owned())
            .spawn(move || runtime.block_on(run(bound, within, stopped)))
            .map_err(engine)?;
        Ok(Self { endpoint, shared, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it answers.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// What it has done so far.
    pub fn counts(&self) -> ReplayCounts {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let counts = &self.shared.counts;
        ReplayCounts {
            answered: of(&counts.answered),
            messages: of(&counts.messages),
            bad_requests: of(&counts.bad_requests),
            busy: of(&counts.busy),
            turned_away: of(&counts.turned_away),
            faults: of(&counts.faults),
            late: of(&counts.late),
            unreadable: of(&counts.unreadable),
        }
    }
}

impl Drop for ReplayServer {
    /// Its endpoint is free again afterwards.
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            // If it panicked, there is nothing left to stop.
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for ReplayServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplayServer").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

/// Until `stopped` says so: its sender is dropped.
async fn run(bound: Bound, shared: Arc<Shared>, stopped: oneshot::Receiver<()>) {
    let Bound { listener, path: _path, endpoint } = bound;
    let accepting = async {
        match listener {
            Listener::Tcp(listener) => {
                listener.set_nonblocking(true)?;
                accept_tcp(&TcpListener::from_std(listener)?, &shared).await
            }
            Listener::Unix(listener) => {
                listener.set_nonblocking(true)?;
                accept_unix(&UnixListener::from_std(listener)?, &shared).await
            }
        }
    };
    tokio::select! {
        ended = accepting => if let Err(error) = ended {
            let error: io::Error = error;
            tracing::error!(%endpoint, %error, "the replay endpoint has ended");
        },
        _ = stopped => {}
    }
}

async fn accept_tcp(listener: &TcpListener, shared: &Arc<Shared>) -> io::Result<()> {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => admit(stream, Some(peer.ip()), shared),
            Err(error) => pause(&error).await,
        }
    }
}

async fn accept_unix(listener: &UnixListener, shared: &Arc<Shared>) -> io::Result<()> {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => admit(stream, None, shared),
            Err(error) => pause(&error).await,
        }
    }
}

/// A connection that ended before it was accepted, or no file descriptors for a while: neither ends the endpoint.
async fn pause(error: &io::Error) {
    tracing::debug!(%error, "no connection was accepted");
    tokio::time::sleep(Duration::from_millis(10)).await;
}

fn admit<S>(stream: S, address: Option<IpAddr>, shared: &Arc<Shared>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let Some(entry) = shared.gate.enter(address, Instant::now()) else {
        count(&shared.counts.turned_away, 1);
        return;
    };
    let shared = Arc::clone(shared);
    tokio::spawn(async move {
        match serve(stream, &entry, &shared).await {
            Ok(()) | Err(Fault::Wire(WireError::Ended)) => {}
            Err(Fault::Late) => count(&shared.counts.late, 1),
            Err(Fault::Wire(error)) => {
                count(&shared.counts.faults, 1);
                tracing::debug!(?address, %error, "a replay connection has ended");
            }
        }
    });
}

enum Fault {
    Late,
    Wire(WireError),
}

/// One request after another. The next is not even read before the answer to the last was taken.
async fn serve<S>(stream: S, entry: &Entry, shared: &Shared) -> Result<(), Fault>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let limits = &shared.limits;
    let mut wire = in_time(limits.handshake, Wire::open(stream, Role::Reply, limits.of_request())).await?;
    loop {
        let parts = in_time(limits.idle, wire.recv()).await?;
        // Held until the answer was taken.
        let (header, messages, _place) = match (&parts[..], entry.ask(Instant::now())) {
            (_, Err(Turned)) => {
                count(&shared.counts.busy, 1);
                (Header::only(Status::Busy), Vec::new(), None)
            }
            ([text], Ok(place)) => {
                let (header, messages) = respond(text, shared);
                (header, messages, Some(place))
            }
            (_, Ok(place)) => {
                count(&shared.counts.bad_requests, 1);
                (Header::only(Status::BadRequest), Vec::new(), Some(place))
            }
        };
        let header = header.to_bytes();
        let mut frames: Vec<&[u8]> = vec![&header];
        frames.extend(messages.iter().flat_map(|kept| [&kept.topic[..], &kept.body[..]]));
        in_time(limits.taking, wire.send(&frames)).await?;
    }
}

fn respond(text: &[u8], shared: &Shared) -> (Header, Vec<Kept>) {
    let request = match Request::parse(text) {
        Ok(request) => request,
        Err(error) => {
            tracing::debug!(%error, "a replay request that cannot be read");
            count(&shared.counts.bad_requests, 1);
            return (Header::only(Status::BadRequest), Vec::new());
        }
    };
    // A reader that panicked while it was locked has nothing that could be half done.
    let reader = shared.reader.lock().unwrap_or_else(PoisonError::into_inner);
    match answer(&**reader, &request, shared.limits.most()) {
        Ok((header, messages)) => {
            count(&shared.counts.answered, 1);
            count(&shared.counts.messages, header.count);
            (header, messages)
        }
        Err(error) => {
            tracing::warn!(%error, "the outbox cannot be read, and the asker is told to come again");
            count(&shared.counts.unreadable, 1);
            (Header::only(Status::Busy), Vec::new())
        }
    }
}

async fn in_time<T>(limit: Duration, work: impl Future<Output = Result<T, WireError>>) -> Result<T, Fault> {
    timeout(limit, work).await.map_err(|_| Fault::Late)?.map_err(Fault::Wire)
}

fn count(counter: &AtomicU64, by: u64) {
    counter.fetch_add(by, Ordering::Relaxed);
}
