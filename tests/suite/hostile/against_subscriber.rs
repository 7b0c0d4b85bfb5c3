//! What a publisher can do to a subscriber.

use super::Case;
use super::raw::{Raw, frame, greeting, header, noise};
use super::victim::{Engine, Honest, Victim};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

pub(super) const CASES: &[Case] = &[
    ("huge-frame-before-ready", |e| lied_to(e, 2, huge_before_ready)),
    ("huge-frame", |e| lied_to(e, 2, |raw| after_ready(raw, &header(2, 1 << 40)))),
    ("endless-parts", |e| lied_to(e, 1, endless_parts)),
    ("oversize-message", |e| lied_to(e, 1, oversize)),
    ("endless-frame", |e| lied_to(e, 1, endless_frame)),
    ("garbage", |e| lied_to(e, 2, |raw| after_ready(raw, &noise(7, 4096)))),
    ("no-zmtp", |e| lied_to(e, 2, |raw| _ = raw.say(b"HTTP/1.1 400 Bad Request\r\n\r\n"))),
    ("silence", |e| lied_to(e, 1, |raw| _ = raw.is_put_out(Duration::from_secs(20)))),
    ("not-subscribed", |e| lied_to(e, 1, not_subscribed)),
    ("hangs-up", |e| lied_to(e, 3, |raw| after_ready(raw, b""))),
];

/// Has a subscriber connect to one that lies and to an honest one; the lie is told at least `times` times.
fn lied_to(engine: Engine, times: u64, lie: fn(&mut Raw)) -> Result<(), String> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let liar = format!("tcp://{}", listener.local_addr().unwrap());
    let (told, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    listener.set_nonblocking(true).unwrap();
    let lying = std::thread::spawn({
        let (told, stop) = (Arc::clone(&told), Arc::clone(&stop));
        move || {
            while !stop.load(Ordering::Relaxed) {
                match listener.accept() {
                    Ok((stream, _)) => {
                        stream.set_nonblocking(false).unwrap();
                        told.fetch_add(1, Ordering::Relaxed);
                        lie(&mut Raw::over(stream).unwrap());
                    }
                    Err(_) => std::thread::sleep(Duration::from_millis(5)),
                }
            }
        }
    });
    let honest = Honest::publish();
    let mut victim = Victim::subscriber(engine, &[liar, honest.endpoint.clone()]);
    let judged = (|| {
        let deadline = Instant::now() + Duration::from_secs(20);
        while told.load(Ordering::Relaxed) < times {
            victim.is_whole()?;
            if Instant::now() > deadline {
                return Err("it did not come back to the liar".to_owned());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        honest.is_heard_by(&mut victim, 1_000)?;
        victim.is_whole()
    })();
    // The liar may be waiting for a victim that is still there.
    drop(victim);
    stop.store(true, Ordering::Relaxed);
    lying.join().unwrap();
    judged
}

fn huge_before_ready(raw: &mut Raw) {
    let _ = raw.say(&[greeting(), header(6, 1 << 40)].concat());
    let _ = raw.is_put_out(Duration::from_secs(3));
}

/// Says `bytes` after a good handshake, and waits a little for what becomes of it.
fn after_ready(raw: &mut Raw, bytes: &[u8]) {
    if raw.shake("PUB", "").is_ok() && raw.say(bytes).is_ok() && !bytes.is_empty() {
        let _ = raw.is_put_out(Duration::from_secs(1));
    }
}

fn endless_parts(raw: &mut Raw) {
    if raw.shake("PUB", "").is_ok() {
        let _ = raw.say(&frame(1, b"a"));
        raw.say_on(&b"\x01\0".repeat(32 * 1024), 16 << 20);
    }
}

/// 256 MiB in one frame, announced and sent.
fn oversize(raw: &mut Raw) {
    if raw.shake("PUB", "").is_ok() {
        let _ = raw.say(&[frame(1, b"a"), header(2, 256 << 20)].concat());
        raw.say_on(&vec![b'x'; 1 << 20], 256 << 20);
    }
}

/// A frame that may be as large as it says, and does not end.
fn endless_frame(raw: &mut Raw) {
    if raw.shake("PUB", "").is_ok() {
        let _ = raw.say(&[frame(1, b"a"), header(2, 15 << 20)].concat());
        for _ in 0..40 {
            if raw.say(&[b'x'; 100]).is_err() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// As fast as it goes, what nobody asked for.
fn not_subscribed(raw: &mut Raw) {
    if raw.shake("PUB", "").is_ok() {
        raw.say_on(&[frame(1, b"zzz"), frame(0, &[b'x'; 200])].concat().repeat(500), 64 << 20);
    }
}
