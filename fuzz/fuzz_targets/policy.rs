//! A policy file is refused, each error with its place, or it is whole: then a decision and its explanation agree.
#![no_main]

use fedmsg::identity::Identity;
use fedmsg::limits::Limits;
use fedmsg::policy::{Policy, Source, Standing};
use fedmsg::time::Timestamp;
use fedmsg::topic::Topic;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let policy = match Policy::parse_files(&[Source { file: "policy.toml", bytes }], &Limits::STANDARD) {
        Ok(policy) => policy,
        Err(errors) => {
            return assert!(errors.iter().all(|error| error.to_string().starts_with("policy.toml:")));
        }
    };
    let Ok(topic) = Topic::parse("org.fedoraproject.prod.bodhi.update.comment", &Limits::STANDARD) else {
        return;
    };
    let Ok(signer) = "spiffe://fedoraproject.org/prod/bodhi/app01".parse::<Identity>() else { return };
    let explanation = policy.explain(&topic, &signer, Timestamp::EPOCH);
    let by_a_rule = explanation.decision.is_ok_and(|grant| grant.rule().is_some());
    let names = |standing: &Standing| matches!(standing, Standing::Names { .. });
    assert!(!by_a_rule || explanation.rules.iter().any(|considered| names(&considered.standing)));
});
