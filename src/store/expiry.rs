//! Everything whose end would stop a bus: what a configuration trusts, and what its services sign with.

use super::credentials::{Credentials, CredentialsError};
use super::files;
use crate::config::Config;
use crate::pki::chain::TrustStore;
use crate::pki::lifetime::{Lifetime, LifetimeKind};
use crate::pki::pem;

/// The lives of the anchors, intermediates and lists of a trust store, and of the certificates in the credentials directory of
/// which the keys are there too. As of now and not of some time: whoever shows them says when.
///
/// # Errors
/// [`CredentialsError`], if the directory or a certificate in it cannot be read.
pub fn lifetimes(config: &Config, trust: Option<&TrustStore>) -> Result<Vec<Lifetime>, CredentialsError> {
    let mut lives = trust.map(TrustStore::lifetimes).unwrap_or_default();
    let Some(directory) = &config.credentials.directory else { return Ok(lives) };
    for name in Credentials::available(directory.path())? {
        let path = directory.path().join(format!("{name}.crt"));
        // The key is not needed to know when its certificate ends.
        let chain = pem::certificates(&files::read(&path)?)
            .map_err(|cause| CredentialsError::Pem { path: path.clone(), cause })?;
        let label = path.display().to_string();
        let leaf = chain.first().map(|leaf| Lifetime::of_certificate(LifetimeKind::Certificate, label, leaf));
        lives.extend(leaf);
    }
    Ok(lives)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Sources;
    use crate::pki::profile::{ProfileName, Profiles};
    use crate::store::authority::{AuthorityStore, IssueRequest, KeyProtection};
    use crate::store::trust::TrustFiles;
    use crate::time::Timestamp;

    #[test]
    fn everything_that_ends_is_counted() {
        let temp = tempfile::tempdir().unwrap();
        let now: Timestamp = "2026-11-24T12:00:00Z".parse().unwrap();
        let (directory, profiles) = (temp.path().join("pki"), Profiles::built_in().unwrap());
        let keys = KeyProtection::Unencrypted;
        let mut authority =
            AuthorityStore::create(&directory, "a.example", false, profiles, &keys, now).unwrap();
        let request = IssueRequest {
            env: "prod".to_owned(),
            service: "bodhi".to_owned(),
            host: "app01".to_owned(),
            profile: ProfileName::Service,
            days: None,
            key_kind: None,
            directory: None,
            replace: false,
        };
        authority.issue(&request, now).unwrap();
        let text = "[trust]\nanchors = [\"pki/root.crt\"]\nintermediates = [\"pki/issuing.crt\"]\n\
                    crls = [\"pki/root.crl\", \"pki/issuing.crl\"]\n[credentials]\ndirectory = \"pki/services\"\n";
        let config = Config::load(&Sources::built_in().text("t.toml", temp.path(), text)).unwrap();
        let trust = TrustFiles::load(&config).unwrap();
        let lives = lifetimes(&config, trust.store()).unwrap();
        let days = |life: &Lifetime| (life.kind.as_str(), life.expiry(now).ends_in / 86_400);
        let found: Vec<(&str, i64)> = lives.iter().map(days).collect();
        let expected =
            [("anchor", 3650), ("intermediate", 730), ("crl", 180), ("crl", 7), ("certificate", 90)];
        assert_eq!(found, expected);
        let leaf = lives.last().unwrap();
        assert!(leaf.label.ends_with("services/bodhi-app01.crt") && leaf.name.contains("bodhi-app01"));
        // A list of seven days is due after five, but for the minute by which it is backdated.
        let week = lives.iter().find(|life| life.until == now.plus_seconds(7 * 86_400)).unwrap();
        assert_eq!(week.expiry(now).due_in, 7 * 86_400 * 2 / 3 - 20);
    }
}
