//! TODO(pki)
