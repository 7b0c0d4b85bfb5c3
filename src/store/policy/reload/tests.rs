//! What is taken and what is refused, while it is in use.

use super::*;
use crate::config::{Config, Sources};
use crate::development::Development;
use crate::identity::Identity;
use crate::limits::Limits;
use crate::policy::signature::PolicySigner;
use crate::store::policy::{ConsumerStatus, PolicyWatch, RememberedError, StatusError, StatusFile};
use crate::time::{Clock, SystemClock};
use crate::topic::Topic;

fn text(serial: u64, rules: &str) -> String {
    format!("version = 1\nserial = {serial}\n{rules}")
}

fn rule(id: &str, effect: &str, more: &str) -> String {
    format!(
        "[[rule]]\nid = \"{id}\"\neffect = \"{effect}\"\ntopics = [\"a.#\"]\npublishers = [\"cn:a\"]\n{more}\n"
    )
}

fn decided(live: &LivePolicy) -> bool {
    let topic = Topic::parse("a.b", &Limits::STANDARD).unwrap();
    live.decide(&topic, &"cn:a".parse::<Identity>().unwrap(), at(0)).is_ok()
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_unix(seconds).unwrap()
}

#[test]
fn what_is_good_is_taken_and_what_is_not_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("policy.toml");
    let write = |text: &str| std::fs::write(&file, text).unwrap();
    let allow = rule("r", "allow", "");
    write(&text(5, &allow));
    let mut reloader =
        PolicyReloader::open(PolicyFiles::unsigned(vec![file.clone()], Limits::STANDARD), at(0)).unwrap();
    let live = reloader.live().clone();
    assert!(decided(&live));
    assert_eq!(reloader.refresh(at(1)), PolicyRefresh::Unchanged);

    write(&text(6, &rule("r", "deny", "")));
    assert_eq!(reloader.refresh(at(2)), PolicyRefresh::Replaced);
    assert!(!decided(&live));
    assert_eq!((reloader.status().edition.serial, reloader.status().since), (6, at(2)));

    let failing = "[[test]]\ntopic = \"a.b\"\nsigner = \"cn:a\"\nexpect = \"deny\"\n";
    for (bad, expected) in [
        ("version = ".to_owned(), "policy.toml:1:"),
        (text(7, &format!("{allow}{failing}")), "expected denied"),
        (text(5, &allow), "policy.toml: serial 5 is older than serial 6, which is in force"),
    ] {
        let refused = reloader.status().refused;
        write(&bad);
        assert_eq!(reloader.refresh(at(3)), PolicyRefresh::Refused, "{bad}");
        assert_eq!(reloader.refresh(at(4)), PolicyRefresh::Unchanged, "said once");
        let status = reloader.status();
        let refusal = status.refusal.clone().unwrap();
        assert!(refusal.reason.contains(expected), "{}", refusal.reason);
        assert_eq!((refusal.at, status.refused, status.edition.serial), (at(3), refused + 1, 6));
        assert!(!decided(&live), "the last good one stays");
    }
    std::fs::remove_file(&file).unwrap();
    assert_eq!(reloader.refresh(at(5)), PolicyRefresh::Refused);
    write(&text(7, &allow));
    assert_eq!(reloader.refresh(at(6)), PolicyRefresh::Replaced);
    assert!(decided(&live) && reloader.status().refusal.is_none());
    // Nobody decides by the old ones any more.
    assert_eq!(reloader.reload(at(7)), PolicyRefresh::Unchanged);
    let _ = reloader.refresh(at(8));
    assert!(reloader.retired.is_empty());
}

#[test]
fn a_watch_sees_a_change_by_itself() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("policy.toml");
    std::fs::write(&file, text(1, &rule("r", "allow", ""))).unwrap();
    let watch = PolicyWatch::open(PolicyFiles::unsigned(vec![file.clone()], Limits::STANDARD)).unwrap();
    assert!(decided(watch.live()));
    std::fs::write(&file, text(2, "")).unwrap();
    while decided(watch.live()) {
        std::thread::yield_now();
    }
    watch.reload();
    assert_eq!(watch.live().policy().edition().serial, 2);
}

#[test]
fn a_shadow_is_counted_each_time_and_noted_once() {
    let policy = |text: &str| Arc::new(Policy::parse(text, "p.toml", &Limits::STANDARD).unwrap());
    let live =
        LivePolicy::new(policy(&text(1, &(rule("r", "allow", "") + &rule("s", "deny", "shadow = true")))));
    assert!(decided(&live) && decided(&live));
    let noted = live.take_differences();
    assert_eq!(noted.len(), 1);
    assert_eq!((noted[0].rule.as_ref().map(|r| r.id()), noted[0].is_allowed), (Some("s"), true));
    // A whole candidate: the rule that is missing from it is the one that makes the difference.
    live.replace(policy(&text(2, &rule("r", "allow", "")))).unwrap();
    live.set_candidate(Some(policy(&text(3, ""))));
    assert!(decided(&live));
    let noted = live.take_differences();
    assert_eq!(noted[0].candidate.map(|edition| edition.serial), Some(3));
    assert_eq!(live.difference_counts().into_iter().collect::<Vec<_>>(), [("r".into(), 1), ("s".into(), 2)]);
}

/// A configuration that asks for a signature, with an authority whose operator signs.
struct Signed {
    directory: tempfile::TempDir,
    development: Development,
    operator: PolicySigner,
    now: Timestamp,
}

impl Signed {
    fn new() -> Self {
        // The files are dated by the same clock.
        let now = SystemClock.now();
        let development = Development::new("example.org", now).unwrap();
        let operator = development.policy_signer("prod", "ada").unwrap();
        let signed = Self { directory: tempfile::tempdir().unwrap(), development, operator, now };
        signed.write_trust();
        signed
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write_trust(&self) {
        for (name, pem) in self.development.trust_files().unwrap() {
            std::fs::write(self.path(name), pem).unwrap();
        }
    }

    fn config(&self) -> Config {
        let text = "[trust]\nanchors = [\"root.crt\"]\nintermediates = [\"issuing.crt\"]\n\
                    crls = [\"root.crl\", \"issuing.crl\"]\n[freshness]\nstate = \"state\"\n\
                    [policy]\nfiles = [\"policy.toml\"]\nrequire_signature = true\n\
                    signers = [\"spiffe://example.org/prod/operator/*\"]\n";
        Config::load(&Sources::built_in().text("fedmsg.toml", self.directory.path(), text)).unwrap()
    }

    fn files(&self) -> PolicyFiles {
        PolicyFiles::of(&self.config())
    }

    fn open(&self) -> Result<PolicyReloader, PolicyFileError> {
        PolicyReloader::open(self.files(), self.now)
    }

    /// Writes a policy, and a signature of it that holds for so many seconds.
    fn write(&self, text: &str, holds: i64) {
        let policy = Policy::parse(text, "policy.toml", &Limits::STANDARD).unwrap();
        let until = self.now.plus_seconds(holds);
        let signature = self.operator.sign(&policy, Some(until), self.now).unwrap();
        std::fs::write(self.path("policy.toml"), text).unwrap();
        std::fs::write(self.path("policy.toml.sig"), signature.to_text()).unwrap();
    }
}

#[test]
fn a_policy_that_has_to_be_signed_is_taken_by_its_signature_alone() {
    let world = Signed::new();
    let allow = rule("r", "allow", "");
    std::fs::write(world.path("policy.toml"), text(5, &allow)).unwrap();
    let unsigned = world.open().unwrap_err().to_string();
    assert!(unsigned.ends_with("policy.require_signature is true (fedmsg.toml:9:1)"), "{unsigned}");
    assert!(!world.path("state/policy.serial").exists(), "nothing was in force");

    world.write(&text(5, &allow), 3600);
    let mut reloader = world.open().unwrap();
    let live = reloader.live().clone();
    let endorsement = reloader.status().endorsement.clone().unwrap();
    assert_eq!(endorsement.signer().to_string(), "spiffe://example.org/prod/operator/ada");
    assert!(decided(&live));

    // Edited and not signed: refused, whoever edited it.
    std::fs::write(world.path("policy.toml"), text(6, "")).unwrap();
    let _ = reloader.reload(world.now);
    let refusal = reloader.status().refusal.clone().unwrap();
    assert!(refusal.reason.contains("the signature is over other bytes"), "{}", refusal.reason);
    assert!(decided(&live));
    let refused = reloader.status().refused;
    assert_eq!(reloader.reload(world.now.plus_seconds(1)), PolicyRefresh::Unchanged, "said once");
    assert_eq!(reloader.status().refused, refused);

    world.write(&text(6, &rule("r", "deny", "")), 3600);
    assert_eq!(reloader.reload(world.now), PolicyRefresh::Replaced);
    assert!(!decided(&live) && reloader.status().refusal.is_none());
    // The same policy, signed for longer.
    world.write(&text(6, &rule("r", "deny", "")), 7200);
    assert_eq!(reloader.reload(world.now), PolicyRefresh::Unchanged);
    assert_eq!(reloader.status().endorsement.as_ref().unwrap().until(), world.now.plus_seconds(7200));
}

#[test]
fn an_older_signed_policy_is_refused_after_a_restart_too() {
    let world = Signed::new();
    world.write(&text(6, ""), 3600);
    let running = world.open().unwrap();
    drop(running);
    // Signed, and good in its time: what it allowed does not come back.
    world.write(&text(5, &rule("r", "allow", "")), 3600);
    let older = world.open().unwrap_err().to_string();
    assert!(older.starts_with("serial 5 is older than serial 6, which was in force ("), "{older}");
    assert!(matches!(
        world.files().read(world.now),
        Err(PolicyFileError::Remembered(RememberedError::Older { .. }))
    ));
    world.write(&text(6, &rule("r", "allow", "")), 3600);
    let other = world.open().unwrap_err().to_string();
    assert!(other.starts_with("serial 6 was in force with other bytes ("), "{other}");
    world.write(&text(7, &rule("r", "allow", "")), 3600);
    world.open().unwrap();
}

/// What was vouched for when it was taken stays in force, and that nobody vouches for it any more is said.
#[test]
fn a_signature_that_ends_while_it_is_in_use_is_said_and_its_policy_stays() {
    let mut world = Signed::new();
    world.write(&text(5, &rule("r", "allow", "")), 600);
    let mut reloader = world.open().unwrap();
    let live = reloader.live().clone();
    let _ = reloader.refresh(world.now.plus_seconds(599));
    assert_eq!(reloader.status().lapse, None);
    let _ = reloader.refresh(world.now.plus_seconds(600));
    let lapse = reloader.status().lapse.clone().unwrap();
    assert!(lapse.reason.contains("the signature expired at"), "{}", lapse.reason);
    let _ = reloader.refresh(world.now.plus_seconds(700));
    assert_eq!(reloader.status().lapse.as_ref(), Some(&lapse), "since when");
    assert!(decided(&live));
    // At a start there is nothing to go on with.
    let late = PolicyReloader::open(world.files(), world.now.plus_seconds(600)).unwrap_err();
    assert!(late.to_string().contains("the signature expired at"), "{late}");

    world.write(&text(5, &rule("r", "allow", "")), 7200);
    let _ = reloader.reload(world.now.plus_seconds(700));
    assert_eq!(reloader.status().lapse, None);
    // And a certificate that is revoked meanwhile: the new list is noticed by itself.
    let certificate = world.operator.certificate().clone();
    world.development.revoke_certificate(&certificate).unwrap();
    world.write_trust();
    let _ = reloader.refresh(world.now.plus_seconds(701));
    let lapse = reloader.status().lapse.clone().unwrap();
    assert!(lapse.reason.contains("revoked"), "{}", lapse.reason);
    assert!(decided(&live));
    world.write(&text(6, ""), 7200);
    let _ = reloader.reload(world.now.plus_seconds(702));
    assert!(reloader.status().refusal.as_ref().unwrap().reason.contains("revoked"));
    assert!(decided(&live));
    assert!(world.open().is_err());
    // Another operator mends it.
    world.operator = world.development.policy_signer("prod", "bea").unwrap();
    world.write(&text(6, ""), 7200);
    assert_eq!(reloader.reload(world.now.plus_seconds(703)), PolicyRefresh::Replaced);
    assert!(!decided(&live) && reloader.status().lapse.is_none());
}

#[test]
fn while_the_two_files_are_replaced_nothing_is_refused() {
    let world = Signed::new();
    world.write(&text(5, ""), 3600);
    let mut reloader = world.open().unwrap();
    let at = world.now;
    std::fs::write(world.path("policy.toml"), text(6, "")).unwrap();
    assert_eq!(reloader.refresh(at), PolicyRefresh::Unchanged);
    assert_eq!(reloader.status().refused, 0, "the signature may be on its way");
    world.write(&text(6, ""), 3600);
    assert_eq!(reloader.refresh(at), PolicyRefresh::Replaced);
    // A signature that never comes is missed.
    std::fs::write(world.path("policy.toml"), text(7, "")).unwrap();
    assert_eq!(reloader.refresh(at), PolicyRefresh::Unchanged);
    assert_eq!(reloader.refresh(SystemClock.now().plus_seconds(10)), PolicyRefresh::Refused);
}

#[test]
fn a_candidate_from_a_file_is_compared_and_kept_up_with() {
    let directory = tempfile::tempdir().unwrap();
    let (file, candidate) = (directory.path().join("policy.toml"), directory.path().join("candidate.toml"));
    std::fs::write(&file, text(1, &rule("r", "allow", ""))).unwrap();
    let files = || {
        PolicyFiles::unsigned(vec![file.clone()], Limits::STANDARD).with_candidate(vec![candidate.clone()])
    };
    let missing = PolicyReloader::open(files(), at(0)).unwrap_err().to_string();
    assert!(missing.starts_with("candidate: "), "{missing}");
    std::fs::write(&candidate, text(2, &rule("next", "deny", ""))).unwrap();
    let mut reloader = PolicyReloader::open(files(), at(0)).unwrap();
    let live = reloader.live().clone();
    assert!(decided(&live) && decided(&live));
    let noted = live.take_differences();
    assert_eq!(noted.len(), 1, "the same difference is noted once in a period");
    assert_eq!(noted[0].candidate.map(|edition| edition.serial), Some(2));
    assert_eq!(live.difference_counts().get("next"), Some(&2));

    std::fs::write(&candidate, "version = ").unwrap();
    let _ = reloader.refresh(at(1));
    let refusal = reloader.status().candidate_refusal.clone().unwrap();
    assert!(refusal.reason.contains("candidate.toml:1:"), "{}", refusal.reason);
    assert_eq!(reloader.status().candidate.map(|edition| edition.serial), Some(2), "the last good one");
    std::fs::write(&candidate, text(3, &rule("r", "allow", ""))).unwrap();
    let _ = reloader.refresh(at(2));
    assert_eq!(reloader.status().candidate.map(|edition| edition.serial), Some(3));
    assert_eq!(reloader.status().candidate_refusal, None);
    assert!(decided(&live));
    assert_eq!(live.difference_counts().values().sum::<u64>(), 2, "they agree now");
}

#[test]
fn a_status_is_there_for_as_long_as_its_consumer() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("policy.toml");
    std::fs::write(&file, text(4, &rule("r", "allow", ""))).unwrap();
    let state = directory.path().join("state");
    let status = StatusFile::open(&state, "one", at(0)).unwrap();
    let tally = Arc::clone(status.tally());
    let files = PolicyFiles::unsigned(vec![file.clone()], Limits::STANDARD);
    let watch = PolicyWatch::publishing(files, Some(status)).unwrap();
    let read = || {
        let mut all = ConsumerStatus::read_all(&state).unwrap();
        all.pop().map(Result::unwrap)
    };
    let found = read().unwrap();
    assert_eq!((found.name.as_str(), found.serial, found.is_running), ("one", 4, true));
    tally.set(1, 0, &[(crate::reason::ReasonCode::PolicyDenied, 1)].into());
    std::fs::write(&file, "version = ").unwrap();
    watch.reload();
    // Written whole each time, so that whoever reads sees one look or another.
    let found = loop {
        let found = read().unwrap();
        if found.refusal.is_some() && found.delivered > 0 {
            break found;
        }
        std::thread::yield_now();
    };
    assert_eq!((found.serial, found.refused, found.rejected.get("policy-denied")), (4, 1, Some(&1)));
    // What one wrote that was killed is not taken for one that runs.
    let bytes = std::fs::read(state.join("one.status.json")).unwrap();
    drop(watch);
    assert_eq!(read(), None);
    std::fs::write(state.join("one.status.json"), bytes).unwrap();
    assert!(!read().unwrap().is_running);
    std::fs::write(state.join("two.status.json"), "{}").unwrap();
    let all = ConsumerStatus::read_all(&state).unwrap();
    assert!(matches!(all[1], Err(StatusError::Content { .. })), "{all:?}");
}
