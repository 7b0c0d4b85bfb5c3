//! The limits on what comes from outside: one type, spent by whoever parses, each an error with a name.

/// How much of each thing a message may have. Going over one is always an error, never a truncation.
///
/// There is no `Default`: whoever parses says which limits hold, if only by naming [`Limits::STANDARD`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a message's second frame.
    pub body_bytes: usize,
    /// Bytes of a topic.
    pub topic_bytes: usize,
    /// Fields of a topic.
    pub topic_fields: usize,
    /// Levels of JSON arrays and objects, the outermost counted.
    pub json_depth: usize,
    /// Characters of one JSON number.
    pub json_number_chars: usize,
    /// Bytes of a proof, decoded.
    pub proof_bytes: usize,
    /// Certificates in a proof: the leaf and the intermediates.
    pub chain_certificates: usize,
    /// Hashes in a proof's audit path; a batch has at most two to this power messages.
    pub path_hashes: usize,
}

impl Limits {
    /// The limits of the wire format, which a configuration may change.
    pub const STANDARD: Self = Self {
        body_bytes: 1024 * 1024,
        topic_bytes: 255,
        topic_fields: 16,
        json_depth: 64,
        json_number_chars: 1024,
        proof_bytes: 16 * 1024,
        chain_certificates: 4,
        path_hashes: 16,
    };
}
