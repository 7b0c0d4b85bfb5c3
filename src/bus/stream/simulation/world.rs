//! The network and the clock, and what has to hold at the end.

use super::super::{Answer, GapReason, Item, Start, StreamKey, StreamLimits, Taken};
use super::Random;
use super::consumer::{Consumer, Wish};
use super::publisher::{Name, Publisher, wanted};
use crate::message::id::StreamId;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How long things go wrong; afterwards all is well, and everything has to come right.
const TROUBLE: Duration = Duration::from_secs(20);
const PEACE: Duration = Duration::from_secs(30);
const INTERVAL: Duration = Duration::from_secs(1);

/// What a schedule is made of: each in per cent of the occasions, unless said otherwise.
#[derive(Clone, Copy, Debug)]
pub(super) struct Faults {
    lost: u64,
    doubled: u64,
    /// The longest way of a message, in milliseconds: longer than between two messages, they overtake each other.
    delay: u64,
    request_lost: u64,
    killed_in_handler: u64,
    killed_unwritten: u64,
    /// Between two of these on average, in milliseconds; 0: never.
    consumer_killed: u64,
    publisher_killed: u64,
    partition: u64,
    prune: u64,
    spoilt: u64,
    durable: bool,
    endpoint: bool,
    start: Start,
    held_bytes: usize,
    page: u64,
}

impl Faults {
    pub(super) fn of(random: &mut Random) -> Self {
        let mut rate = |most: u64| if random.chance(60) { random.below(most) } else { 0 };
        let (lost, doubled, delay) = (rate(60), rate(30), 1 + rate(3000));
        let (request_lost, killed_in_handler, killed_unwritten) = (rate(60), rate(20), rate(20));
        let (consumer_killed, publisher_killed, partition) = (rate(9000), rate(9000), rate(9000));
        let (prune, spoilt) = (rate(5000), rate(90));
        let (durable, endpoint) = (random.chance(70), random.chance(90));
        let start = match random.below(4) {
            0 => Start::Now,
            1 => Start::Seq(1 + random.below(5)),
            _ => Start::Oldest,
        };
        let held_bytes = usize::try_from(1 + random.below(20)).expect("small");
        let page = 1 + random.below(9);
        Self {
            lost,
            doubled,
            delay,
            request_lost,
            killed_in_handler,
            killed_unwritten,
            consumer_killed,
            publisher_killed,
            partition,
            prune,
            spoilt,
            durable,
            endpoint,
            start,
            held_bytes,
            page,
        }
    }

    /// All is well from now on; what was decided at the start stays.
    fn end(self) -> Self {
        let (lost, doubled, delay, request_lost) = (0, 0, 1, 0);
        let (killed_in_handler, killed_unwritten, consumer_killed, publisher_killed) = (0, 0, 0, 0);
        let (partition, prune, spoilt) = (0, 0, 0);
        Self {
            lost,
            doubled,
            delay,
            request_lost,
            killed_in_handler,
            killed_unwritten,
            consumer_killed,
            publisher_killed,
            partition,
            prune,
            spoilt,
            ..self
        }
    }
}

enum Event {
    Answer { life: u64, id: u64, stream: StreamId, answer: Answer<Name> },
    Beat(usize),
    BeatArrives { publisher: usize, stream: StreamId, beat: super::super::Beat },
    Handled,
    KillConsumer,
    KillPublisher(usize),
    Message { publisher: usize, stream: StreamId, seq: u64 },
    Partition,
    Prune(usize),
    Publish(usize),
    Request { life: u64, id: u64, publisher: usize, stream: StreamId, from: u64, to: Option<u64> },
    Reunite,
    StartConsumer,
    StartPublisher(usize),
    Wake,
}

/// What happened in a schedule, or in many.
#[derive(Clone, Debug, Default)]
pub(super) struct Totals {
    published: u64,
    acknowledged: u64,
    consumer_kills: u64,
    publisher_kills: u64,
    asked: u64,
    duplicates: u64,
    let_go: u64,
    failed: u64,
    gaps: BTreeMap<GapReason, u64>,
    silent: u64,
}

impl Totals {
    pub(super) fn add(&mut self, other: &Self) {
        self.published += other.published;
        self.acknowledged += other.acknowledged;
        self.consumer_kills += other.consumer_kills;
        self.publisher_kills += other.publisher_kills;
        self.asked += other.asked;
        self.duplicates += other.duplicates;
        self.let_go += other.let_go;
        self.failed += other.failed;
        self.silent += other.silent;
        for (reason, count) in &other.gaps {
            *self.gaps.entry(*reason).or_default() += count;
        }
    }

    pub(super) fn everything_happened(&self) -> bool {
        let counts =
            [self.published, self.acknowledged, self.consumer_kills, self.publisher_kills, self.asked];
        let more = [self.duplicates, self.let_go, self.failed, self.silent];
        counts.iter().chain(&more).all(|count| *count > 0) && self.gaps.len() == 4
    }
}

pub(super) struct World {
    random: Random,
    faults: Faults,
    loud: bool,
    now: Duration,
    events: BTreeMap<(Duration, u64), Event>,
    number: u64,
    publishers: Vec<Publisher>,
    consumer: Consumer,
    partitioned: bool,
    /// When the consumer is woken next.
    wake: Option<Duration>,
    /// What had been pruned when the consumer began with the stream: nobody owes it that.
    pruned_at_start: BTreeMap<StreamId, u64>,
    /// The newest of each stream that anything told the consumer of in this life.
    heard_of: BTreeMap<StreamId, u64>,
    totals: Totals,
}

impl World {
    pub(super) fn new(seed: u64, faults: Faults, loud: bool) -> Self {
        let longest_wait = Duration::from_secs(4);
        let limits = StreamLimits { held_bytes: faults.held_bytes, longest_wait, ..StreamLimits::STANDARD };
        let publishers = (1..=2).map(|n| Publisher::new(n, faults.durable, faults.page)).collect();
        let mut world = Self {
            random: Random(seed ^ 0x5eed),
            faults,
            loud,
            now: Duration::ZERO,
            events: BTreeMap::new(),
            number: 0,
            publishers,
            consumer: Consumer::new(limits, faults.start),
            partitioned: false,
            wake: None,
            pruned_at_start: BTreeMap::new(),
            heard_of: BTreeMap::new(),
            totals: Totals::default(),
        };
        world.say(|| format!("{faults:?}"));
        world.after(0, Event::StartConsumer);
        for publisher in 0..2 {
            world.after(1, Event::Publish(publisher));
            world.after(2, Event::Beat(publisher));
            world.sometime(faults.publisher_killed, Event::KillPublisher(publisher));
            world.sometime(faults.prune, Event::Prune(publisher));
        }
        world.sometime(faults.consumer_killed, Event::KillConsumer);
        world.sometime(faults.partition, Event::Partition);
        world
    }

    /// Runs it to its end, and checks that all is well there.
    pub(super) fn run(mut self) -> Totals {
        let mut peace = false;
        while let Some((&(when, number), _)) = self.events.first_key_value() {
            if when > TROUBLE + PEACE {
                break;
            }
            if when > TROUBLE && !peace {
                peace = true;
                self.now = TROUBLE;
                (self.faults, self.partitioned) = (self.faults.end(), false);
                self.say(|| "peace".to_owned());
            }
            let Some(event) = self.events.remove(&(when, number)) else { break };
            self.now = when;
            self.happen(event);
            self.drive();
        }
        self.check_the_end();
        self.totals.published = self.publishers.iter().map(|p| p.newest).sum();
        self.totals.acknowledged = u64::try_from(self.consumer.done.len()).expect("a count");
        self.totals
    }

    fn happen(&mut self, event: Event) {
        let in_trouble = self.now <= TROUBLE;
        match event {
            Event::StartConsumer => {
                self.consumer.start(self.now);
                self.say(|| "consumer starts".to_owned());
            }
            Event::KillConsumer => {
                self.kill_consumer();
                self.sometime(self.faults.consumer_killed, Event::KillConsumer);
            }
            Event::StartPublisher(n) => {
                self.publishers[n].restart();
                self.say(|| format!("publisher {n} starts"));
                self.sometime(self.faults.publisher_killed, Event::KillPublisher(n));
            }
            Event::KillPublisher(n) => {
                if in_trouble {
                    self.publishers[n].up = false;
                    self.totals.publisher_kills += 1;
                    self.say(|| format!("publisher {n} killed"));
                    let back = self.random.below(6000);
                    self.after(back, Event::StartPublisher(n));
                }
            }
            Event::Partition => {
                self.partitioned = in_trouble;
                let back = self.random.below(5000);
                self.after(back, Event::Reunite);
            }
            Event::Reunite => {
                self.partitioned = false;
                self.sometime(self.faults.partition, Event::Partition);
            }
            Event::Prune(n) => {
                if in_trouble {
                    let to = self.random.below(self.publishers[n].newest + 1);
                    self.publishers[n].prune(to);
                    self.sometime(self.faults.prune, Event::Prune(n));
                }
            }
            Event::Publish(n) => self.publish(n, in_trouble),
            Event::Beat(n) => {
                if self.publishers[n].up {
                    let (stream, beat) = (self.publishers[n].stream, self.publishers[n].beat(INTERVAL));
                    self.send(|| Event::BeatArrives { publisher: n, stream, beat });
                }
                self.after(1000, Event::Beat(n));
            }
            Event::BeatArrives { publisher, stream, beat } => {
                let (signer, at) = (self.publishers[publisher].identity.clone(), self.consumer.at(self.now));
                if self.consumer.streams.is_some() {
                    self.hears_of(stream, beat.newest);
                }
                if let Some(streams) = &mut self.consumer.streams {
                    streams.heartbeat(&signer, stream, beat, at);
                }
            }
            Event::Message { publisher, stream, seq } => self.arrive(publisher, stream, seq),
            Event::Request { life, id, publisher, stream, from, to } => {
                self.be_asked((life, id), publisher, (stream, from, to));
            }
            Event::Answer { life, id, stream, answer } => {
                let (at, begun) = (self.consumer.at(self.now), self.consumer.has_begun(stream));
                if self.consumer.life == life
                    && let Some(streams) = &mut self.consumer.streams
                {
                    if let Answer::Found(found) = &answer {
                        self.totals.asked += u64::from(!found.items.is_empty());
                        // What was gone when it asked for the first time, nobody owed it.
                        let gone = found.gone.iter().map(|(_, to)| *to).max().unwrap_or(0);
                        if !begun {
                            let known = self.pruned_at_start.entry(stream).or_default();
                            *known = (*known).max(gone);
                        }
                    }
                    streams.answer(id, answer, at);
                }
            }
            Event::Handled => {
                let killed = self.random.chance(self.faults.killed_unwritten);
                if self.consumer.handled(killed) && killed {
                    self.died();
                }
            }
            Event::Wake => {}
        }
    }

    /// Lets the consumer do all that it wants to do now.
    fn drive(&mut self) {
        while let Some(wish) = self.consumer.next(self.now) {
            match wish {
                Wish::Ask(ask) => {
                    let publisher = self.publishers.iter().position(|p| p.identity == ask.key.signer);
                    let (publisher, life) = (publisher.expect("a known signer"), self.consumer.life);
                    let (id, stream, from, to) = (ask.id, ask.key.stream, ask.from, ask.to);
                    let way = 1 + self.random.below(self.faults.delay);
                    self.after(way, Event::Request { life, id, publisher, stream, from, to });
                }
                Wish::Busy => {
                    if self.random.chance(self.faults.killed_in_handler) {
                        self.kill_consumer();
                        return;
                    }
                    let work = self.random.below(30);
                    self.after(work, Event::Handled);
                }
                Wish::Gap(gap) => self.check_gap(&gap),
                Wish::Silent => self.totals.silent += 1,
            }
        }
        if self.consumer.handling.is_none()
            && let Some(when) = self.consumer.wakes()
        {
            assert!(when > self.now, "it would wake at {when:?}, and it is {:?}", self.now);
            if self.wake.is_none_or(|wake| wake <= self.now || when < wake) {
                self.number += 1;
                self.events.insert((when, self.number), Event::Wake);
                self.wake = Some(when);
            }
        }
    }

    fn publish(&mut self, n: usize, in_trouble: bool) {
        if self.publishers[n].up {
            let (seq, stream) = (self.publishers[n].publish(), self.publishers[n].stream);
            // It is committed; whether it is sent as well is another matter.
            if !self.random.chance(self.faults.lost) {
                self.send(|| Event::Message { publisher: n, stream, seq });
            }
        }
        if in_trouble {
            let pause = self.random.below(600);
            self.after(pause, Event::Publish(n));
        }
    }

    /// Over the network: late, twice, or not at all.
    fn send(&mut self, event: impl Fn() -> Event) {
        if self.partitioned || self.random.chance(self.faults.lost / 2) {
            return;
        }
        let copies = 1 + u64::from(self.random.chance(self.faults.doubled));
        for _ in 0..copies {
            let way = 1 + self.random.below(self.faults.delay);
            self.after(way, event());
        }
    }

    fn arrive(&mut self, publisher: usize, stream: StreamId, seq: u64) {
        if self.consumer.streams.is_some() {
            self.hears_of(stream, seq);
        }
        let (signer, at) = (self.publishers[publisher].identity.clone(), self.consumer.at(self.now));
        let Some(streams) = &mut self.consumer.streams else { return };
        match streams.live(&signer, stream, Item { seq, bytes: 1, message: wanted(stream, seq) }, at) {
            Taken::Duplicate(_) => self.totals.duplicates += 1,
            Taken::Held => {}
            Taken::LetGo => self.totals.let_go += 1,
        }
    }

    fn be_asked(
        &mut self,
        (life, id): (u64, u64),
        publisher: usize,
        (stream, from, to): (StreamId, u64, Option<u64>),
    ) {
        let asked = &self.publishers[publisher];
        let lost = self.partitioned || !asked.up || self.random.chance(self.faults.request_lost);
        let answer = if !self.faults.endpoint {
            Answer::NoEndpoint
        } else if lost {
            self.totals.failed += 1;
            Answer::Failed
        } else {
            let mut spoilt = BTreeSet::new();
            if self.random.chance(self.faults.spoilt) {
                spoilt.insert(from + self.random.below(3));
            }
            asked.answer(stream, from, to, &spoilt)
        };
        let way = 1 + self.random.below(self.faults.delay);
        self.after(way, Event::Answer { life, id, stream, answer });
    }

    fn kill_consumer(&mut self) {
        if self.consumer.streams.is_some() {
            self.consumer.kill();
            self.died();
        }
    }

    fn died(&mut self) {
        self.totals.consumer_kills += 1;
        self.heard_of.clear();
        self.say(|| "consumer killed".to_owned());
        let back = self.random.below(4000);
        self.after(back, Event::StartConsumer);
    }

    fn hears_of(&mut self, stream: StreamId, newest: u64) {
        let heard = self.heard_of.entry(stream).or_default();
        *heard = (*heard).max(newest);
    }

    /// A gap that was told has to be one.
    fn check_gap(&mut self, gap: &super::super::Gap) {
        self.say(|| format!("{gap:?}"));
        *self.totals.gaps.entry(gap.reason).or_default() += gap.to - gap.from + 1;
        let publisher = self.publishers.iter().find(|p| p.identity == gap.key.signer).expect("a signer");
        match gap.reason {
            GapReason::Gone => {
                assert!(
                    publisher.stream != gap.key.stream || gap.to <= publisher.pruned,
                    "{gap:?}, and up to {} was pruned",
                    publisher.pruned
                );
            }
            GapReason::NoEndpoint => assert!(!self.faults.endpoint, "{gap:?}"),
            GapReason::UnknownStream => assert_ne!(publisher.stream, gap.key.stream, "{gap:?}"),
            GapReason::Unusable => assert_eq!(gap.from, gap.to, "one at most was spoilt: {gap:?}"),
        }
    }

    /// Everything that was published was acknowledged, or told to be gone; but for what came before the start.
    fn check_the_end(&self) {
        for publisher in &self.publishers {
            let mut streams = publisher.former.clone();
            streams.push((publisher.stream, publisher.newest));
            for (stream, newest) in streams {
                let key = StreamKey { signer: publisher.identity.clone(), stream };
                let Some(first) = self.consumer.first_places.get(&key) else {
                    assert_ne!(stream, publisher.stream, "{key:?} was never met");
                    continue;
                };
                // Of a stream that was not kept nobody can know more than what was heard.
                let heard = self.heard_of.get(&stream).copied().unwrap_or(0);
                let last = if stream == publisher.stream { newest } else { heard };
                let unpromised = self.pruned_at_start.get(&stream).copied().unwrap_or(0);
                for seq in *first..=last {
                    let name = (stream, seq);
                    let known = self.consumer.done.contains(&name) || self.consumer.told_gone.contains(&name);
                    let settled = known || wanted(stream, seq).is_none();
                    let before_start = self.faults.start != Start::Now && seq <= unpromised;
                    let place = self.consumer.places.get(&key);
                    assert!(
                        settled || before_start,
                        "{seq} of {key:?} of {last}: not told of; place {place:?}"
                    );
                }
            }
        }
    }

    fn after(&mut self, milliseconds: u64, event: Event) {
        self.number += 1;
        self.events.insert((self.now + Duration::from_millis(milliseconds), self.number), event);
    }

    fn sometime(&mut self, between: u64, event: Event) {
        if between > 0 {
            let wait = self.random.below(2 * between);
            self.after(wait, event);
        }
    }

    fn say(&self, what: impl Fn() -> String) {
        if self.loud {
            eprintln!("{:>9.3} {}", self.now.as_secs_f64(), what());
        }
    }
}
