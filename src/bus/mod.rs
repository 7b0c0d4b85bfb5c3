//! TODO(bus)
