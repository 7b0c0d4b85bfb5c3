//! The vectors of `tests/vectors`, read; and the writer of those that are ours (`write_vectors`).

mod case;
mod legacy;
mod peer;
mod policy;
mod refused;
mod wire;
mod write;
