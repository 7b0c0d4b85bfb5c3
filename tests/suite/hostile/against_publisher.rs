//! What a subscriber can do to a publisher.

use super::Case;
use super::raw::{Raw, frame, greeting, header, noise, ready};
use super::victim::{Engine, Innocent, LIMITS, Victim, address};
use std::io::Read;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

pub(super) const CASES: &[Case] = &[
    ("huge-frame-before-ready", |e| calm(e, |to| huge(to, false))),
    ("huge-frame", |e| calm(e, |to| huge(to, true))),
    ("endless-parts", |e| calm(e, endless_parts)),
    ("large-ready", |e| calm(e, large_ready)),
    ("large-subscription", |e| calm(e, large_subscription)),
    ("endless-subscriptions", |e| calm(e, endless_subscriptions)),
    ("half-open", |e| calm(e, half_open)),
    ("slow-loris", |e| calm(e, slow_loris)),
    ("taken-identity", |e| calm(e, taken_identity)),
    ("ping", |e| calm(e, ping)),
    ("ping-flood", |e| calm(e, ping_flood)),
    ("noise", |e| calm(e, |to| noise_at_each_state(to, 6))),
    ("connection-flood", connection_flood),
    ("never-reads", |e| busy(e, |to| never_reads(to, None))),
    ("a-byte-now-and-then", |e| busy(e, |to| never_reads(to, Some(Duration::from_millis(100))))),
];

/// How long being put out may take where the deadline of the handshake is what does it.
const WITHIN: Duration = Duration::from_secs(5);

/// Attacks a publisher of few messages.
fn calm(engine: Engine, attack: impl FnOnce(SocketAddr) -> Result<(), String>) -> Result<(), String> {
    attacked(engine, 2_000, attack)
}

/// Attacks a publisher of many.
fn busy(engine: Engine, attack: impl FnOnce(SocketAddr) -> Result<(), String>) -> Result<(), String> {
    attacked(engine, 12_000, attack)
}

fn attacked(
    engine: Engine,
    rate: u64,
    attack: impl FnOnce(SocketAddr) -> Result<(), String>,
) -> Result<(), String> {
    let (mut victim, endpoint) = Victim::publisher(engine, rate);
    let innocent = Innocent::subscribe(&endpoint);
    let done = attack(address(&endpoint));
    victim.is_whole()?;
    innocent.hears(1_000)?;
    done?;
    victim.is_whole()
}

fn text(error: std::io::Error) -> String {
    error.to_string()
}

/// A header that announces 2^40 bytes, of a message and of a command.
pub(super) fn huge(to: SocketAddr, after_ready: bool) -> Result<(), String> {
    for flags in [2, 6] {
        let mut raw = Raw::connect(to).map_err(text)?;
        if after_ready {
            raw.shake("SUB", "").map_err(text)?;
        } else {
            raw.say(&greeting()).map_err(text)?;
        }
        raw.say(&header(flags, 1 << 40)).map_err(text)?;
        raw.is_put_out(WITHIN)?;
    }
    Ok(())
}

/// A message that never ends, in frames of no bytes.
pub(super) fn endless_parts(to: SocketAddr) -> Result<(), String> {
    let mut raw = Raw::subscriber(to, "", &[]).map_err(text)?;
    raw.say_on(&b"\x01\0".repeat(32 * 1024), 16 << 20);
    raw.is_put_out(WITHIN)
}

pub(super) fn large_ready(to: SocketAddr) -> Result<(), String> {
    let mut raw = Raw::connect(to).map_err(text)?;
    raw.say(&greeting()).map_err(text)?;
    raw.hear(64).map_err(text)?;
    raw.say(&header(6, 128 << 20)).map_err(text)?;
    let _ = raw.say(b"\x05READY\x0bSocket-Type\0\0\0\x03SUB\x01x\x03\xff\xff\x00");
    raw.say_on(&vec![b'x'; 1 << 20], 128 << 20);
    raw.is_put_out(WITHIN)
}

pub(super) fn large_subscription(to: SocketAddr) -> Result<(), String> {
    let mut raw = Raw::subscriber(to, "", &[]).map_err(text)?;
    raw.say(&header(2, 100 << 20)).map_err(text)?;
    raw.say_on(&vec![1; 1 << 20], 100 << 20);
    raw.is_put_out(WITHIN)
}

pub(super) fn endless_subscriptions(to: SocketAddr) -> Result<(), String> {
    let mut raw = Raw::subscriber(to, "", &[]).map_err(text)?;
    for n in 0..50_000 {
        if raw.say(&frame(0, format!("\x01zz.{n:020}").as_bytes())).is_err() {
            break;
        }
    }
    raw.is_put_out(WITHIN)
}

/// Connections on which nothing is said.
fn half_open(to: SocketAddr) -> Result<(), String> {
    let mut peers: Vec<Raw> = (0..20).map(|_| Raw::connect(to)).collect::<Result<_, _>>().map_err(text)?;
    peers.iter_mut().try_for_each(|raw| raw.is_put_out(WITHIN))
}

/// A greeting of which a byte comes now and then: always soon enough not to seem dead.
fn slow_loris(to: SocketAddr) -> Result<(), String> {
    let mut raw = Raw::connect(to).map_err(text)?;
    let begun = Instant::now();
    for byte in greeting().into_iter().chain(ready("SUB", "")) {
        if raw.say(&[byte]).is_err() {
            return Ok(());
        }
        if begun.elapsed() > WITHIN {
            return Err("it was not put out".to_owned());
        }
        std::thread::sleep(Duration::from_millis(60));
    }
    raw.is_put_out(Duration::from_millis(1))
}

/// Two with the same identity: the second may be refused, and so may both, but the first must not lose its place to it.
fn taken_identity(to: SocketAddr) -> Result<(), String> {
    let Ok(mut first) = Raw::subscriber(to, "me", &["a"]) else { return Ok(()) };
    if first.hear(1).is_err() {
        // Refused from the beginning.
        return Ok(());
    }
    let _second = Raw::subscriber(to, "me", &["nothing"]);
    first.is_put_out(Duration::from_secs(1)).map_or(Ok(()), |()| Err("another took its place".to_owned()))
}

/// RFC 37: a PING is answered with its context.
fn ping(to: SocketAddr) -> Result<(), String> {
    let mut raw = Raw::subscriber(to, "", &[]).map_err(text)?;
    for context in ["", "0123456789abcdef"] {
        raw.say(&frame(4, &[b"\x04PING\0\0", context.as_bytes()].concat())).map_err(text)?;
        let expected = frame(4, &[b"\x04PONG", context.as_bytes()].concat());
        if raw.hear(expected.len()).map_err(text)? != expected {
            return Err("the answer is no PONG".to_owned());
        }
    }
    Ok(())
}

/// PINGs without end from a peer that hears no PONG.
pub(super) fn ping_flood(to: SocketAddr) -> Result<(), String> {
    let mut raw = Raw::subscriber(to, "", &[]).map_err(text)?;
    raw.say_on(&frame(4, b"\x04PING\0\0").repeat(8192), 64 << 20);
    Ok(())
}

/// Bytes by chance, in each state of the connection and within a frame.
pub(super) fn noise_at_each_state(to: SocketAddr, rounds: u64) -> Result<(), String> {
    let whole = [greeting(), ready("SUB", ""), frame(0, b"\x01a.b"), frame(4, b"\x04PING\0\0")].concat();
    for round in 0..rounds {
        for (state, at) in
            [0, 5, 12, 40, 64, 66, 80, whole.len() - 10, whole.len() - 3, whole.len()].into_iter().enumerate()
        {
            let Ok(mut raw) = Raw::connect(to) else { continue };
            let seed = round * 100 + u64::try_from(state).unwrap();
            let said = raw.say(&[&whole[..at], &noise(seed, 2048)].concat());
            if said.is_ok() {
                // What it answers does not matter, that it goes on does.
                raw.0.set_read_timeout(Some(Duration::from_millis(5))).map_err(text)?;
                let _ = raw.0.read(&mut [0; 1024]);
            }
        }
    }
    Ok(())
}

/// Many connections from one address: only so many are held, and when they have gone another gets in.
fn connection_flood(engine: Engine) -> Result<(), String> {
    let (mut victim, endpoint) = Victim::publisher(engine, 2_000);
    let innocent = Innocent::subscribe(&endpoint);
    let (to, before) = (address(&endpoint), victim.descriptors());
    let flood: Vec<_> = (0..400).filter_map(|_| Raw::subscriber(to, "", &["z"]).ok()).collect();
    let held = victim.descriptors().saturating_sub(before);
    innocent.hears(1_000)?;
    if held > LIMITS.connections_per_address {
        return Err(format!("it holds {held} connections of one address"));
    }
    let got_in = flood.len();
    drop(flood);
    let deadline = Instant::now() + WITHIN;
    while Raw::subscriber(to, "", &["a"]).and_then(|mut raw| raw.hear(1)).is_err() {
        if Instant::now() > deadline {
            return Err("an honest one does not get in afterwards".to_owned());
        }
    }
    let codes = victim.status("put_out")?;
    if codes["put_out"]["too-many-connections-per-address"].as_u64() < Some(1) {
        return Err(format!("{got_in} got in, and none was counted: {codes}"));
    }
    victim.is_whole()
}

/// Subscribes to everything, and reads nothing, or a byte now and then.
pub(super) fn never_reads(to: SocketAddr, pause: Option<Duration>) -> Result<(), String> {
    let mut raw = Raw::subscriber(to, "", &[""]).map_err(text)?;
    let deadline = Instant::now() + Duration::from_secs(15);
    // The system says that a connection was broken off when it is written to. This cancels what was never subscribed to.
    while raw.say(&frame(0, b"\0none")).is_ok() {
        if Instant::now() > deadline {
            return Err("it was not put out".to_owned());
        }
        if pause.is_some() && !matches!(raw.0.read(&mut [0]), Ok(1)) {
            return Ok(());
        }
        std::thread::sleep(pause.unwrap_or(Duration::from_millis(50)));
    }
    Ok(())
}
