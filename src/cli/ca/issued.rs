//! A certificate that was issued, as `issue`, `renew` and `sign` show it.

use super::{CliError, Output};
use crate::pki::authority::Issued;
use crate::pki::key::KeyKind;
use crate::pki::serial::Serial;
use crate::store::authority::IssuedService;
use serde_json::{Value, json};
use std::path::Path;

pub(super) struct Shown<'a> {
    pub(super) issued: &'a Issued,
    pub(super) serial: &'a Serial,
    pub(super) certificate: &'a Path,
    /// The key's file and its kind, where the key is here.
    pub(super) key: Option<(&'a Path, KeyKind)>,
    pub(super) is_cut: bool,
    pub(super) replaced: Option<&'a Serial>,
}

impl<'a> From<&'a IssuedService> for Shown<'a> {
    fn from(made: &'a IssuedService) -> Self {
        Self {
            issued: &made.issued,
            serial: &made.serial,
            certificate: &made.certificate_path,
            key: Some((&made.key_path, made.key_kind)),
            is_cut: made.is_cut,
            replaced: made.replaced.as_ref(),
        }
    }
}

impl Shown<'_> {
    /// Says what was issued; `also` is said to machines only. `issuer` is its issuer's certificate file.
    pub(super) fn say(
        &self,
        also: &[(&str, Value)],
        issuer: &Path,
        out: &mut Output,
    ) -> Result<(), CliError> {
        let (identity, certificate) = (self.issued.identity(), self.issued.certificate());
        let (from, until) = (certificate.not_before(), certificate.not_after());
        if out.is_json() {
            let mut object = json!({
                "identity": identity.as_str(),
                "serial": self.serial.to_string(),
                "sha256": certificate.sha256_hex(),
                "not_before": from.to_string(),
                "not_after": until.to_string(),
                "certificate": self.certificate,
                "replaced": self.replaced.map(ToString::to_string),
            });
            if let Some((path, kind)) = self.key {
                object["key"] = json!(path);
                object["key_kind"] = json!(kind.as_str());
            }
            for (name, value) in also {
                object[*name] = value.clone();
            }
            out.object(&object)?;
        } else {
            let key = self.key.map_or_else(String::new, |(path, _)| format!("  {}", path.display()));
            out.line(format_args!("{identity}  serial {}, until {until}", self.serial))?;
            out.line(format_args!("  {}{key}", self.certificate.display()))?;
        }
        if self.is_cut {
            let issuer = issuer.display();
            out.warn(format_args!("it ends at {until}, with its issuer {issuer}, and not later"));
        }
        Ok(())
    }
}
