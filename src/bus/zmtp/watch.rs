//! Sees to it that no subscriber holds up the others for long.
//!
//! While a subscriber has more pending than it may, or a sender waits for room, whoever has something pending has to take as
//! much of it as there is, or [`Limits::peer_bytes`](super::Limits::peer_bytes), within each grace time. So an honest
//! reader may be as far behind as there is room, while one that takes a byte a second is put out.

use super::error::PutOut;
use super::hub::Hub;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::Instant;

/// What a subscriber has to do until when.
#[derive(Clone, Copy, Debug)]
struct Task {
    since: Instant,
    /// What it had written at that time.
    from: u64,
    /// How much more it has to.
    goal: u64,
}

pub(super) async fn watch(hub: Arc<Hub>) {
    let grace = hub.limits.grace;
    let tick = (grace / 16).clamp(Duration::from_millis(5), Duration::from_millis(500));
    let mut tasks: HashMap<u64, Task> = HashMap::new();
    let mut waits = 0;
    loop {
        if tasks.is_empty() {
            hub.pressure.notified().await;
        } else {
            tokio::time::sleep(tick).await;
        }
        let (now, waits_now) = (Instant::now(), hub.waits.load(Ordering::Relaxed));
        let waited = waits_now != std::mem::replace(&mut waits, waits_now);
        let waiting = waited || hub.waiting.load(Ordering::Relaxed) > 0;
        let mut left = HashMap::new();
        for outbox in hub.outboxes() {
            let (pending, written) = (outbox.pending(), outbox.written());
            if pending <= hub.limits.haste_above() && !(waiting && pending > 0) {
                continue;
            }
            let afresh = Task { since: now, from: written, goal: pending.min(hub.limits.haste_above()) };
            let task = tasks.get(&outbox.serial).copied().unwrap_or(afresh);
            let taken = written - task.from;
            if taken >= task.goal {
                left.insert(outbox.serial, afresh);
            } else if now - task.since < grace {
                left.insert(outbox.serial, task);
            } else {
                outbox.put_out(PutOut::Slow { pending, taken, grace });
            }
        }
        tasks = left;
    }
}
