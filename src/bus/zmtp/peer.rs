//! A publisher's end of one connection: a task that reads subscriptions and writes messages.

use super::connection::{Connection, Event, Role, greeting};
use super::error::PutOut;
use super::hub::{Admission, Hub};
use super::outbox::Outbox;
use super::parcel::Parcel;
use super::stream::Stream;
use super::trie::Subscriptions;
use bytes::{Buf, BytesMut};
use std::collections::VecDeque;
use std::future::pending;
use std::io::IoSlice;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::io::Interest;
use tokio::time::{Instant, sleep_until};

/// How much is read at once. Subscriptions are small.
const READ: usize = 4096;

/// How many slices are written at once.
const SLICES: usize = 128;

/// After so many bytes the others on the thread have their turn.
const TURN: usize = 1024 * 1024;

/// With so many bytes of PONG unwritten, nothing more is read.
const MOST_ANSWERS: usize = 1024;

/// How a connection ends.
enum End {
    /// All was written.
    Finished,
    /// The peer ended it.
    Left,
    PutOut(PutOut),
}

impl<E: Into<PutOut>> From<E> for End {
    fn from(reason: E) -> Self {
        Self::PutOut(reason.into())
    }
}

/// What is left after writing.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rest {
    /// What the socket does not take now.
    Blocked,
    Nothing,
    /// More, for the next turn.
    Turn,
}

struct Peer {
    hub: Arc<Hub>,
    stream: Stream,
    connection: Connection,
    begun: Instant,
    input: BytesMut,
    /// Handshake and PONGs.
    answers: BytesMut,
    /// What was taken from the outbox.
    batch: VecDeque<Arc<Parcel>>,
    /// How many bytes of the first of them are written.
    written: usize,
    /// What it promised in a PING, and until when it has to be heard of.
    promise: Option<(Duration, Instant)>,
    /// Once it is known who it is.
    member: Option<(usize, Arc<Outbox>)>,
    subscriptions: Subscriptions,
}

/// Serves a connection to its end. `name` is for the log.
pub(super) async fn serve(stream: Stream, name: String, hub: Arc<Hub>, _place: Admission) {
    let mut peer = Peer {
        connection: Connection::new(Role::Publisher, hub.limits),
        hub,
        stream,
        begun: Instant::now(),
        input: BytesMut::new(),
        answers: BytesMut::from(&greeting()[..]),
        batch: VecDeque::new(),
        written: 0,
        promise: None,
        member: None,
        subscriptions: Subscriptions::default(),
    };
    let end = peer.run().await;
    let Peer { hub, stream, member, subscriptions, .. } = peer;
    match member {
        Some((number, _)) => hub.leave(number, &subscriptions),
        None => _ = hub.unshaken.fetch_add(1, Ordering::Relaxed),
    }
    match end {
        End::Finished => stream.finish(),
        End::Left => {}
        End::PutOut(reason) => {
            hub.tally.count(&reason, &name);
            stream.abort();
        }
    }
}

impl Peer {
    async fn run(&mut self) -> End {
        loop {
            if let Err(end) = self.turn().await {
                return end;
            }
        }
    }

    async fn turn(&mut self) -> Result<(), End> {
        let rest = self.write()?;
        if let Some((_, outbox)) = &self.member {
            if let Some(reason) = outbox.verdict() {
                return Err(reason.into());
            }
            if outbox.is_finished() {
                return Err(End::Finished);
            }
        }
        if rest == Rest::Turn {
            tokio::task::yield_now().await;
        }
        let blocked = rest != Rest::Nothing;
        let interest = match (blocked, self.answers.len() < MOST_ANSWERS) {
            (true, true) => Interest::READABLE | Interest::WRITABLE,
            (true, false) => Interest::WRITABLE,
            (false, _) => Interest::READABLE,
        };
        let wake = async {
            match &self.member {
                Some((_, outbox)) => outbox.wake.notified().await,
                None => pending().await,
            }
        };
        let deadline = match (self.connection.is_ready(), self.promise) {
            (false, _) => Some(self.begun + self.hub.limits.handshake),
            (true, promise) => promise.map(|(_, until)| until),
        };
        let late = async {
            match deadline {
                Some(deadline) => sleep_until(deadline).await,
                None => pending().await,
            }
        };
        let ready = tokio::select! {
            ready = self.stream.ready(interest) => Some(ready.map_err(|_| End::Left)?),
            () = wake => None,
            () = late => return Err(self.late()),
        };
        if ready.is_some_and(|ready| ready.is_readable() || ready.is_read_closed()) {
            self.read()?;
        }
        Ok(())
    }

    fn late(&self) -> End {
        match (self.connection.in_time(self.begun.elapsed()), self.promise) {
            (Err(error), _) => error.into(),
            (Ok(()), Some((ttl, _))) => PutOut::Silent { ttl }.into(),
            (Ok(()), None) => End::Left,
        }
    }

    fn read(&mut self) -> Result<(), End> {
        self.input.reserve(READ.max(self.connection.missing(&self.input)));
        match self.stream.read(&mut self.input) {
            Ok(None) => return Ok(()),
            Ok(Some(1..)) => {}
            Ok(Some(0)) | Err(_) => return Err(End::Left),
        }
        if let Some((ttl, until)) = &mut self.promise {
            *until = Instant::now() + *ttl;
        }
        while let Some(event) = self.connection.next(&mut self.input)? {
            self.hear(event)?;
        }
        if self.input.is_empty() {
            // Most peers have nothing to say for hours.
            self.input = BytesMut::new();
        }
        Ok(())
    }

    fn hear(&mut self, event: Event) -> Result<(), End> {
        match (event, &self.member) {
            (Event::Greeted, _) => self.answers.extend_from_slice(&self.connection.ready()),
            (Event::Ready, _) => self.member = Some(self.hub.join()),
            (Event::Ping { ttl, context }, _) => {
                self.answers.extend_from_slice(&Event::pong(&context));
                self.promise = (!ttl.is_zero()).then(|| (ttl, Instant::now() + ttl));
            }
            (Event::Subscribe(prefix), Some((number, _))) => {
                self.hub.subscribe(*number, &mut self.subscriptions, &prefix)?;
            }
            (Event::Cancel(prefix), Some((number, _))) => {
                self.hub.cancel(*number, &mut self.subscriptions, &prefix);
            }
            // The connection's role and state leave these out.
            (Event::Subscribe(_) | Event::Cancel(_), None) | (Event::Message(_), _) => {}
        }
        Ok(())
    }

    /// Writes what can be written.
    fn write(&mut self) -> Result<Rest, End> {
        let mut left = TURN;
        loop {
            if self.batch.is_empty()
                && let Some((_, outbox)) = &self.member
            {
                outbox.take(&mut self.batch);
            }
            let mut slices = [IoSlice::new(&[]); SLICES];
            let count = self.next_slices(&mut slices);
            if count == 0 {
                return Ok(Rest::Nothing);
            }
            let slices = slices.get(..count).unwrap_or_default();
            match self.stream.write(slices) {
                Ok(Some(count)) => {
                    self.wrote(count);
                    match left.checked_sub(count) {
                        Some(rest) => left = rest,
                        None => return Ok(Rest::Turn),
                    }
                }
                Ok(None) => return Ok(Rest::Blocked),
                Err(_) => return Err(End::Left),
            }
        }
    }

    /// What is to be written next: an answer between two messages, never within one.
    fn next_slices<'a>(&'a self, slices: &mut [IoSlice<'a>; SLICES]) -> usize {
        let (answers, messages) = match (self.written, self.answers.is_empty()) {
            (0, false) => (Some(&self.answers[..]), usize::MAX),
            (1.., false) => (None, 1),
            (_, true) => (None, usize::MAX),
        };
        let mut skip = self.written;
        let parcels = self.batch.iter().take(messages);
        let pieces = parcels.flat_map(|parcel| parcel.slices(std::mem::take(&mut skip)));
        let mut count = 0;
        for (slice, piece) in slices.iter_mut().zip(answers.into_iter().chain(pieces)) {
            *slice = IoSlice::new(piece);
            count += 1;
        }
        count
    }

    fn wrote(&mut self, mut count: usize) {
        if self.written == 0 {
            let answered = count.min(self.answers.len());
            self.answers.advance(answered);
            count -= answered;
        }
        let Some((_, outbox)) = &self.member else { return };
        self.written += count;
        let mut cost = 0;
        while let Some(parcel) = self.batch.front()
            && self.written >= parcel.len()
        {
            self.written -= parcel.len();
            cost += parcel.cost();
            self.batch.pop_front();
        }
        if cost > 0 && outbox.wrote(cost) {
            self.hub.drained.notify_one();
        }
    }
}
