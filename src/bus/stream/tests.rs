use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;

fn stream() -> StreamId {
    StreamId::new([1; 16])
}

fn signer() -> Identity {
    "spiffe://example.org/prod/bodhi/app01".parse().unwrap()
}

fn key() -> StreamKey {
    StreamKey { signer: signer(), stream: stream() }
}

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn item(seq: u64) -> Item<u64> {
    Item { seq, bytes: 10, message: Some(seq) }
}

fn streams(start: Start, places: &[u64]) -> Streams<u64> {
    let limits = StreamLimits { held_bytes: 30, ..StreamLimits::STANDARD };
    Streams::new(limits, start, places.iter().map(|place| (key(), *place)), Duration::ZERO)
}

fn live(streams: &mut Streams<u64>, seq: u64) -> &'static str {
    match streams.live(&signer(), stream(), item(seq), Duration::ZERO) {
        Taken::Duplicate(_) => "duplicate",
        Taken::Held => "held",
        Taken::LetGo => "let go",
    }
}

fn found(seqs: impl IntoIterator<Item = u64>, gone: &[(u64, u64)], next: Option<u64>) -> Answer<u64> {
    Answer::Found(Found { items: seqs.into_iter().map(item).collect(), gone: gone.to_vec(), next })
}

/// All steps there are now, in few words.
fn steps(streams: &mut Streams<u64>, at: Duration) -> Vec<String> {
    let step = |step| match step {
        Step::Ask(Ask { id, from, to: Some(to), .. }) => format!("ask {id}: {from}-{to}"),
        Step::Ask(Ask { id, from, to: None, .. }) => format!("ask {id}: {from}-"),
        Step::Deliver { seq, .. } => format!("{seq}"),
        Step::Gap(Gap { from, to, reason, .. }) => format!("gap {from}-{to} {}", reason.as_str()),
        Step::Silent { quiet, .. } => format!("silent {}", quiet.as_secs()),
    };
    std::iter::from_fn(|| streams.poll(at)).map(step).collect()
}

#[test]
fn a_hole_is_asked_for_and_filled_in_order() {
    let mut streams = streams(Start::Now, &[]);
    for (seq, expected) in [(5, "held"), (5, "duplicate"), (8, "held"), (9, "held"), (9, "duplicate")] {
        assert_eq!(live(&mut streams, seq), expected, "{seq}");
    }
    assert_eq!(steps(&mut streams, Duration::ZERO), ["5", "ask 0: 6-7"]);
    assert!(steps(&mut streams, seconds(100)).is_empty(), "one request at a time");
    // Another's number, and what was not asked for, are passed over.
    streams.answer(7, found([6, 7], &[], None), Duration::ZERO);
    streams.answer(0, found([4, 6, 9, 10], &[], Some(7)), Duration::ZERO);
    assert_eq!(steps(&mut streams, Duration::ZERO), ["6", "ask 1: 7-7"]);
    streams.answer(1, found([7], &[], None), Duration::ZERO);
    assert_eq!(steps(&mut streams, Duration::ZERO), ["7", "8", "9"]);
    assert_eq!(live(&mut streams, 7), "duplicate");
    assert_eq!(streams.counts().asked, 2);
}

#[test]
fn the_place_moves_by_acknowledgement_alone() {
    let mut streams = streams(Start::Now, &[]);
    live(&mut streams, 5);
    assert!(streams.is_new(), "where it began has to be kept before anything of it is delivered");
    assert_eq!(streams.take_moved(), [(key(), 5)].into());
    live(&mut streams, 6);
    let unwanted = Item { seq: 7, bytes: 1, message: None };
    assert_eq!(streams.live(&signer(), stream(), unwanted, Duration::ZERO), Taken::Held);
    assert_eq!(steps(&mut streams, Duration::ZERO), ["5", "6"]);
    assert!(streams.take_moved().is_empty());
    streams.acknowledge(&key(), 5);
    assert_eq!(streams.take_moved(), [(key(), 6)].into());
    streams.acknowledge_all();
    assert_eq!(streams.take_moved(), [(key(), 8)].into(), "over what nobody wanted");
}

#[test]
fn over_its_bound_live_messages_are_let_go_and_asked_for_later() {
    let mut streams = streams(Start::Now, &[1]);
    for (seq, expected) in [(2, "held"), (3, "held"), (4, "held"), (5, "let go"), (1, "held"), (9, "let go")]
    {
        assert_eq!(live(&mut streams, seq), expected, "{seq}");
    }
    assert_eq!(steps(&mut streams, Duration::ZERO), ["1", "2", "3", "4", "ask 0: 5-9"]);
    assert_eq!(streams.counts().let_go, 2);
}

#[test]
fn whoever_comes_back_asks_for_all_there_is() {
    let mut streams = streams(Start::Now, &[5]);
    assert_eq!(steps(&mut streams, Duration::ZERO), ["ask 0: 5-"]);
    streams.answer(0, found([5, 6], &[], Some(7)), Duration::ZERO);
    assert_eq!(steps(&mut streams, Duration::ZERO), ["5", "6", "ask 1: 7-"]);
    streams.answer(1, found([], &[], None), Duration::ZERO);
    assert!(steps(&mut streams, seconds(100)).is_empty(), "there is no more, and it is not asked again");
    assert_eq!(streams.wakes(), None);
    // The end that was lost is seen by the heartbeat.
    streams.heartbeat(&signer(), stream(), Beat { newest: 8, interval: seconds(5) }, seconds(100));
    assert_eq!(steps(&mut streams, seconds(100)), ["ask 2: 7-8"]);
}

#[test]
fn what_will_not_come_is_told_once_and_in_its_turn() {
    let gone = |ranges: &[(u64, u64)]| found([7], ranges, None);
    for (answer, expected) in [
        (gone(&[(5, 6)]), vec!["gap 5-6 gone", "7", "ask 1: 8-8"]),
        // An endpoint that calls everything gone is heard only of what is known to be there.
        (gone(&[(0, u64::MAX)]), vec!["gap 5-6 gone", "7", "gap 8-8 gone", "9", "ask 1: 10-10"]),
        (gone(&[(6, 6), (5, 5)]), vec!["gap 5-5 gone", "gap 6-6 gone", "7", "ask 1: 8-8"]),
        (Answer::NoEndpoint, vec!["gap 5-8 no-replay-endpoint", "9", "ask 1: 10-10"]),
        (Answer::UnknownStream, vec!["gap 5-8 unknown-stream", "9", "ask 1: 10-10"]),
    ] {
        let mut streams = streams(Start::Now, &[5]);
        assert_eq!((live(&mut streams, 9), live(&mut streams, 11)), ("held", "held"));
        assert_eq!(steps(&mut streams, Duration::ZERO), ["ask 0: 5-8"]);
        let text = format!("{answer:?}");
        streams.answer(0, answer, Duration::ZERO);
        assert_eq!(steps(&mut streams, Duration::ZERO), expected, "{text}");
    }
}

#[test]
fn nobody_there_is_tried_again_for_ever_and_later_each_time() {
    let mut streams = streams(Start::Now, &[5]);
    let mut at = Duration::ZERO;
    let mut waits = Vec::new();
    for id in 0..12 {
        assert_eq!(steps(&mut streams, at), [format!("ask {id}: 5-")]);
        streams.answer(id, Answer::Failed, at);
        assert!(steps(&mut streams, at).is_empty());
        let wakes = streams.wakes().unwrap();
        waits.push((wakes - at).as_millis());
        at = wakes;
    }
    assert_eq!(waits, [100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 30000, 30000, 30000]);
    assert_eq!(streams.counts().failed, 12);
}

#[test]
fn an_endpoint_that_answers_without_the_message_is_given_up() {
    let mut streams = streams(Start::Now, &[5]);
    live(&mut streams, 7);
    let mut at = Duration::ZERO;
    for id in 0..3 {
        assert_eq!(steps(&mut streams, at), [format!("ask {id}: 5-6")]);
        streams.answer(id, found([], &[], Some(6)), at);
        at += seconds(60);
    }
    assert_eq!(steps(&mut streams, at), ["gap 5-5 unusable-answers", "ask 3: 6-6"]);
}

#[test]
fn where_a_consumer_begins() {
    for (start, expected) in [
        (Start::Now, vec!["9"]),
        (Start::Oldest, vec!["ask 0: 1-8"]),
        (Start::Since(Timestamp::EPOCH), vec!["ask 0: 1-8"]),
        (Start::Seq(4), vec!["ask 0: 4-8"]),
        (Start::Seq(9), vec!["9"]),
    ] {
        let mut streams = streams(start, &[]);
        live(&mut streams, 9);
        assert_eq!(steps(&mut streams, Duration::ZERO), expected, "{start:?}");
        // What its publisher had let go before was not asked for: it is no gap.
        streams.answer(0, found([6, 7, 8], &[(1, 5)], None), Duration::ZERO);
        let rest = if expected == ["9"] { vec![] } else { vec!["6", "7", "8", "9"] };
        assert_eq!(steps(&mut streams, Duration::ZERO), rest, "{start:?}");
    }
    // A new stream of a publisher that is known began after the place: all of it is wanted.
    let mut streams = streams(Start::Now, &[5]);
    let second = StreamId::new([2; 16]);
    streams.live(&signer(), second, item(3), Duration::ZERO);
    let asks = steps(&mut streams, Duration::ZERO);
    assert_eq!(asks, ["ask 0: 5-", "ask 1: 1-2"]);
}

#[test]
fn a_publisher_that_goes_quiet_is_named_once() {
    let mut streams = streams(Start::Now, &[]);
    let beat = Beat { newest: 0, interval: seconds(5) };
    streams.heartbeat(&signer(), stream(), beat, seconds(10));
    assert!(steps(&mut streams, seconds(24)).is_empty());
    assert_eq!(streams.wakes(), Some(seconds(25)));
    assert_eq!(steps(&mut streams, seconds(25)), ["silent 15"]);
    assert!(steps(&mut streams, seconds(100)).is_empty());
    streams.heartbeat(&signer(), stream(), beat, seconds(101));
    assert_eq!(steps(&mut streams, seconds(116)), ["silent 15"]);
}

#[test]
fn a_signer_of_very_many_streams_keeps_the_latest() {
    let limits = StreamLimits { streams_per_signer: 3, ..StreamLimits::STANDARD };
    let mut streams: Streams<u64> = Streams::new(limits, Start::Now, [], Duration::ZERO);
    for n in 1..=5 {
        let stream = StreamId::new([n; 16]);
        assert_eq!(streams.live(&signer(), stream, item(1), seconds(u64::from(n))), Taken::Held);
        assert_eq!(steps(&mut streams, seconds(100)), ["1"]);
        streams.acknowledge_all();
    }
    let forgotten = streams.take_forgotten();
    let names: Vec<StreamId> = forgotten.iter().map(|key| key.stream).collect();
    assert_eq!(names, [StreamId::new([1; 16]), StreamId::new([2; 16])]);
    assert_eq!(streams.take_moved().len(), 3);
}

#[test]
fn the_last_number_there_is_ends_nothing() {
    let mut streams = streams(Start::Now, &[5]);
    assert_eq!(live(&mut streams, u64::MAX), "let go");
    streams.heartbeat(&signer(), stream(), Beat { newest: u64::MAX, interval: seconds(1) }, Duration::ZERO);
    assert_eq!(steps(&mut streams, Duration::ZERO), [format!("ask 0: 5-{}", u64::MAX - 1)]);
    streams.answer(0, found([5], &[(6, u64::MAX)], None), Duration::ZERO);
    assert_eq!(steps(&mut streams, Duration::ZERO), ["5".to_owned(), format!("gap 6-{} gone", u64::MAX - 1)]);
    assert_eq!(live(&mut streams, 7), "duplicate");
}

/// What may happen to a consumer of a stream of twelve messages.
#[derive(Clone, Debug)]
enum Happening {
    Acknowledge,
    Answer { page: u64, gone: bool, lie: u64 },
    Beat(u64),
    Fail,
    Kill,
    Live(u64),
    Poll,
    Wait,
}

const LAST: u64 = 12;

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        6 => (1..=LAST).prop_map(Happening::Live),
        4 => Just(Happening::Poll),
        2 => Just(Happening::Acknowledge),
        2 => (1..5_u64, any::<bool>(), 0..LAST).prop_map(|(page, gone, lie)| Happening::Answer { page, gone, lie }),
        1 => Just(Happening::Fail),
        1 => (0..=LAST).prop_map(Happening::Beat),
        1 => Just(Happening::Kill),
        1 => Just(Happening::Wait),
    ]
}

proptest! {
    /// Whatever comes in whatever order: in order, never again once acknowledged, and all of it in the end.
    #[test]
    fn every_message_is_acknowledged_or_told_of(happenings in proptest::collection::vec(happening(), 0..80)) {
        let mut at = Duration::ZERO;
        let mut streams = streams(Start::Oldest, &[]);
        let (mut place, mut last, mut asked) = (None, 0, None);
        let (mut done, mut gone, mut handed) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        let to_the_end = (0..200).flat_map(|_| {
            [Happening::Beat(LAST), Happening::Poll, Happening::Acknowledge,
             Happening::Answer { page: 5, gone: false, lie: 0 }, Happening::Wait]
        });
        for happening in happenings.into_iter().chain(to_the_end) {
            match happening {
                Happening::Live(seq) => { let _ = streams.live(&signer(), stream(), item(seq), at); }
                Happening::Beat(newest) => {
                    streams.heartbeat(&signer(), stream(), Beat { newest, interval: seconds(9) }, at);
                }
                Happening::Wait => at += seconds(31),
                Happening::Acknowledge => {
                    streams.acknowledge_all();
                    done.append(&mut handed);
                }
                Happening::Kill => {
                    (last, asked) = (0, None);
                    handed.clear();
                    let places = place.map(|place| (key(), place));
                    streams = Streams::new(StreamLimits::STANDARD, Start::Oldest, places, at);
                }
                Happening::Fail => if let Some((id, _, _)) = asked.take() {
                    streams.answer(id, Answer::Failed, at);
                },
                Happening::Answer { page, gone: is_gone, lie } => if let Some((id, from, to)) = asked.take() {
                    let last: u64 = Option::unwrap_or(to, LAST).min(LAST);
                    let end = last.min(from + page - 1);
                    let next = (end < last).then_some(end + 1);
                    let answer = if is_gone {
                        found([], &[(from, end)], next)
                    } else {
                        // A message that nobody asked for, or another's, changes nothing.
                        found((from..=end).chain([lie]), &[], next)
                    };
                    streams.answer(id, answer, at);
                },
                Happening::Poll => while let Some(step) = streams.poll(at) {
                    match step {
                        Step::Ask(ask) => {
                            prop_assert!(asked.is_none(), "two requests of one stream");
                            asked = Some((ask.id, ask.from, ask.to));
                        }
                        Step::Deliver { seq, message, .. } => {
                            prop_assert!(seq == message && seq > last, "{seq} after {last}");
                            prop_assert!(!done.contains(&seq), "{seq} twice");
                            last = seq;
                            handed.insert(seq);
                        }
                        Step::Gap(Gap { from, to, .. }) => {
                            prop_assert!(from > last, "gap {from} after {last}");
                            last = to;
                            gone.extend(from..=to);
                        }
                        Step::Silent { .. } => {}
                    }
                },
            }
            // The file is written at each acknowledgement, and when a stream is new.
            if let Some(moved) = streams.take_moved().get(&key()) {
                prop_assert!(place.is_none_or(|place| place <= *moved));
                place = Some(*moved);
            }
        }
        // What was gone at the very start, nobody was promised.
        let first = (1..=LAST).find(|seq| done.contains(seq) || gone.contains(seq)).unwrap_or(LAST + 1);
        for seq in first..=LAST {
            prop_assert!(done.contains(&seq) || gone.contains(&seq), "{seq} of {done:?} and {gone:?}");
        }
        prop_assert_eq!(place, Some(LAST + 1));
    }
}
