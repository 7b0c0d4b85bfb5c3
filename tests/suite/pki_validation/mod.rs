//! Chains, leaves and lists that a verifier of this kind must get right, each made here and each with its exact reason.

mod chain;
mod command;
mod crl;
pub(crate) mod forge;
mod leaf;
mod legacy;
mod pkits;
