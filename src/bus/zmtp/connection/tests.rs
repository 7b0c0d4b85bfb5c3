use super::*;
use crate::bus::zmtp::codec::put_frame;
use proptest::prelude::*;

const LIMITS: Limits = Limits {
    frame_bytes: 1000,
    message_bytes: 1500,
    message_parts: 3,
    command_bytes: 200,
    ..Limits::STANDARD
};

/// All that a connection makes of `bytes`, handed to it in pieces that end at `cuts`.
fn run(role: Role, bytes: &[u8], cuts: &[usize]) -> (Vec<Event>, Option<ProtocolError>, usize) {
    let (mut connection, mut buffer) = (Connection::new(role, LIMITS), BytesMut::new());
    let mut events = Vec::new();
    let mut from = 0;
    for to in cuts.iter().copied().chain([bytes.len()]) {
        buffer.extend_from_slice(&bytes[from..to.max(from)]);
        from = to.max(from);
        loop {
            match connection.next(&mut buffer) {
                Ok(Some(event)) => events.push(event),
                Ok(None) => break,
                Err(error) => return (events, Some(error), 0),
            }
        }
    }
    (events, None, buffer.len())
}

/// A peer that has got as far as the traffic, and then says `rest`.
fn after_handshake(peer: Role, rest: &[u8]) -> Vec<u8> {
    [&greeting()[..], &command::ready(peer), rest].concat()
}

fn frame(kind: Kind, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put_frame(&mut out, kind, body);
    out
}

fn ready_with(properties: &[(&str, &str)]) -> Vec<u8> {
    let mut body = b"\x05READY".to_vec();
    for (name, value) in properties {
        body.push(u8::try_from(name.len()).unwrap());
        body.extend_from_slice(name.as_bytes());
        body.extend_from_slice(&u32::try_from(value.len()).unwrap().to_be_bytes());
        body.extend_from_slice(value.as_bytes());
    }
    frame(Kind::Command, &body)
}

#[test]
fn a_subscriber_is_heard() {
    let rest = [
        frame(Kind::Last, b"\x01a.b"),
        frame(Kind::Last, b"\x00a.b"),
        frame(Kind::Last, b"\x01"),
        frame(Kind::Command, b"\x09SUBSCRIBEc"),
        frame(Kind::Command, b"\x06CANCELc"),
        frame(Kind::Command, b"\x04PING\x00\x0ahello"),
        frame(Kind::Command, b"\x04PONG"),
        frame(Kind::Command, b"\x06FUTURE\x00\x00"),
    ];
    let (events, error, left) = run(Role::Publisher, &after_handshake(Role::Subscriber, &rest.concat()), &[]);
    assert_eq!((error, left), (None, 0));
    let prefix = Bytes::from_static;
    assert_eq!(
        events,
        [
            Event::Greeted,
            Event::Ready,
            Event::Subscribe(prefix(b"a.b")),
            Event::Cancel(prefix(b"a.b")),
            Event::Subscribe(prefix(b"")),
            Event::Subscribe(prefix(b"c")),
            Event::Cancel(prefix(b"c")),
            Event::Ping { ttl: Duration::from_secs(1), context: prefix(b"hello") },
        ]
    );
    assert_eq!(Event::pong(b"hello"), b"\x04\x0a\x04PONGhello");
}

#[test]
fn a_publisher_is_heard() {
    let rest = [
        frame(Kind::More, b"topic"),
        frame(Kind::Last, &[b'x'; 1000]),
        frame(Kind::Command, b"\x04PING\x00\x00"),
        frame(Kind::Last, b""),
        frame(Kind::More, b"1"),
        frame(Kind::Command, b"\x04PONG"),
        frame(Kind::More, b""),
        frame(Kind::Last, b"3"),
    ];
    let (events, error, _) = run(Role::Subscriber, &after_handshake(Role::Publisher, &rest.concat()), &[]);
    assert_eq!(error, None);
    let message = |parts: &[&'static [u8]]| {
        Event::Message(RawMessage { parts: parts.iter().copied().map(Bytes::from_static).collect() })
    };
    assert_eq!(events[2], Event::Message(RawMessage::new("topic", vec![b'x'; 1000])));
    assert_eq!(events[3], Event::Ping { ttl: Duration::ZERO, context: Bytes::new() });
    assert_eq!(events[4..], [message(&[b""]), message(&[b"1", b"", b"3"])]);
}

#[test]
fn each_fault_has_its_name() {
    use ProtocolError as E;
    let greeting = greeting();
    let greeted = |rest: Vec<u8>| [&greeting[..], &rest].concat();
    let subscriber = |rest: Vec<u8>| after_handshake(Role::Subscriber, &rest);
    let publisher = |rest: Vec<u8>| after_handshake(Role::Publisher, &rest);
    let more = |count: usize, bytes: usize| frame(Kind::More, &vec![b'x'; bytes]).repeat(count);
    let long = |flags: u8, length: u64| [&[flags][..], &length.to_be_bytes()].concat();
    let as_publisher = [
        (b"GET / HTTP/1.1".to_vec(), E::Signature { at: 0, found: b'G' }),
        (greeted(long(2, 1 << 40)), E::CommandTooLarge { limit: 200, found: 1 << 40 }),
        (greeted(long(6, 64 << 20)), E::CommandTooLarge { limit: 200, found: 64 << 20 }),
        (greeted(frame(Kind::Last, b"\x01")), E::NotReady("a message".to_owned())),
        (greeted(frame(Kind::Command, b"\x04PING\0\0")), E::NotReady("PING".to_owned())),
        (greeted(frame(Kind::Command, b"")), E::Command("nameless")),
        (greeted(frame(Kind::Command, b"\xff\xff")), E::Command("nameless")),
        (greeted(frame(Kind::Command, b"\x05READY\x0bSocket-Type\0\0\0\xff")), E::Command("READY")),
        (greeted(frame(Kind::Command, b"\x05READY\0\0\0\0\0")), E::Command("READY")),
        (greeted(frame(Kind::Command, b"\x05ERROR\x03no\n")), E::Refused("no?".to_owned())),
        (greeted(ready_with(&[])), E::SocketType { expected: "SUB", found: String::new() }),
        (
            greeted(ready_with(&[("Socket-Type", "PUB")])),
            E::SocketType { expected: "SUB", found: "PUB".into() },
        ),
        (greeted(ready_with(&[("Socket-Type", "SUB"), ("socket-type", "SUB")])), E::Command("READY")),
        (greeted(ready_with(&[("Socket-Type", "SUB"), ("identity", "me")])), E::Identity(2)),
        (subscriber(long(2, 1 << 40)), E::CommandTooLarge { limit: 200, found: 1 << 40 }),
        (subscriber(frame(Kind::Last, b"\x02hello")), E::Unexpected("a message")),
        (subscriber(frame(Kind::Last, b"")), E::Unexpected("a message")),
        (subscriber(frame(Kind::More, b"\x01a")), E::Unexpected("a message")),
        (subscriber(ready_with(&[("Socket-Type", "SUB")])), E::Unexpected("another READY")),
        (subscriber(frame(Kind::Command, b"\x04PING\0")), E::Command("PING")),
        (subscriber(frame(Kind::Command, b"\x04PING\0\0aaaaaaaaaaaaaaaaa")), E::Command("PING")),
        (subscriber(vec![8]), E::Flags(8)),
    ];
    let as_subscriber = [
        (publisher(long(3, 1 << 40)), E::FrameTooLarge { limit: 1000, found: 1 << 40 }),
        (publisher([more(1, 1000), long(3, 501)].concat()), E::MessageTooLarge { limit: 1500, found: 1501 }),
        (publisher(more(4, 0)), E::TooManyParts { limit: 3 }),
        (publisher(frame(Kind::Command, b"\x09SUBSCRIBEa")), E::Unexpected("a subscription")),
        (publisher(long(6, 201)), E::CommandTooLarge { limit: 200, found: 201 }),
        (
            greeted(ready_with(&[("Socket-Type", "SUB")])),
            E::SocketType { expected: "PUB", found: "SUB".into() },
        ),
    ];
    let of = |role, cases: &[(Vec<u8>, E)]| {
        for (bytes, expected) in cases {
            let (_, error, _) = run(role, bytes, &[]);
            assert_eq!(error.as_ref(), Some(expected));
            let shown = expected.to_string();
            assert!(
                !shown.contains('\n') && expected.code().chars().all(|c| c.is_ascii_lowercase() || c == '-')
            );
        }
    };
    of(Role::Publisher, &as_publisher);
    of(Role::Subscriber, &as_subscriber);
}

#[test]
fn a_handshake_has_its_time() {
    let limit = LIMITS.handshake;
    let mut connection = Connection::new(Role::Publisher, LIMITS);
    assert_eq!(connection.in_time(limit - Duration::from_millis(1)), Ok(()));
    assert_eq!(connection.in_time(limit), Err(ProtocolError::HandshakeTimeout { limit }));
    let mut buffer = BytesMut::from(&after_handshake(Role::Subscriber, b"")[..]);
    while connection.next(&mut buffer).unwrap().is_some() {}
    assert_eq!(connection.in_time(limit * 100), Ok(()));
}

fn role() -> impl Strategy<Value = Role> {
    prop_oneof![Just(Role::Publisher), Just(Role::Subscriber)]
}

/// What a peer may say, well or badly; each piece begins where the last one ended.
fn saying() -> impl Strategy<Value = Vec<u8>> {
    let body = proptest::collection::vec(any::<u8>(), 0..300);
    let kind = prop_oneof![Just(Kind::Command), Just(Kind::Last), Just(Kind::More)];
    prop_oneof![
        4 => (kind, body.clone()).prop_map(|(kind, body)| frame(kind, &body)),
        2 => proptest::collection::vec(any::<u8>(), 0..60).prop_map(|p| frame(Kind::Last, &[&[1], &p[..]].concat())),
        2 => Just(frame(Kind::Command, b"\x04PING\0\x01hi")),
        1 => body,
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// The stream is cut at every place, one at a time and all at once: nothing depends on it.
    #[test]
    fn it_makes_no_difference_how_the_stream_is_cut(
        role in role(),
        handshake in prop_oneof![4 => Just(2_usize), 1 => 0..2_usize],
        sayings in proptest::collection::vec(saying(), 0..6),
    ) {
        let peer = if role == Role::Publisher { Role::Subscriber } else { Role::Publisher };
        let mut bytes = Vec::new();
        if handshake > 0 {
            bytes.extend_from_slice(&greeting());
        }
        if handshake > 1 {
            bytes.extend(command::ready(peer));
        }
        bytes.extend(sayings.concat());
        let whole = run(role, &bytes, &[]);
        let everywhere: Vec<usize> = (0..bytes.len()).collect();
        prop_assert_eq!(&run(role, &bytes, &everywhere), &whole);
        for cut in everywhere {
            prop_assert_eq!(&run(role, &bytes, &[cut]), &whole, "cut at {}", cut);
        }
    }

    #[test]
    fn any_bytes_are_events_or_an_error(role in role(), bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        run(role, &after_handshake(if role == Role::Publisher { Role::Subscriber } else { Role::Publisher }, &bytes), &[]);
        run(role, &bytes, &[]);
    }
}
