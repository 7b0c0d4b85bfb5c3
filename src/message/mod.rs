//! TODO(message)
