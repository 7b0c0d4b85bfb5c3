//! `fedmsg config` and `fedmsg generate`, as a user runs them.

use crate::support::{Finished, fedmsg, run, temp_dir};
use serde_json::Value;
use std::fs;
use std::path::Path;

/// Writes `DIR/fedmsg.d/NAME` for each pair.
fn configuration(directory: &Path, files: &[(&str, &str)]) {
    let place = directory.join("fedmsg.d");
    fs::create_dir_all(&place).unwrap();
    for (name, text) in files {
        fs::write(place.join(name), text).unwrap();
    }
}

/// Runs `fedmsg config ARGS` in `here`, with `variables`.
fn config(here: &Path, variables: &[(&str, &str)], args: &[&str]) -> Finished {
    run(fedmsg().current_dir(here).envs(variables.iter().copied()).args(args))
}

fn shown(finished: &Finished, key: &str) -> Value {
    let lines = finished.stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.into_iter().find(|line| line["key"] == key).unwrap_or_else(|| panic!("no {key}: {finished:?}"))
}

#[test]
fn every_source_is_merged_in_its_order() {
    let (here, home, named) = (temp_dir(), temp_dir(), temp_dir());
    let all = "[bus]\nprefix = \"org.SOURCE\"\n[publisher]\nservice = \"SOURCE\"\n[limits]\n";
    let dot = home.path().join(".fedmsg.d");
    fs::create_dir(&dot).unwrap();
    fs::write(dot.join("a.toml"), all.replace("SOURCE", "home") + "json_depth = 7\ntopic_fields = 7")
        .unwrap();
    configuration(here.path(), &[("a.toml", &(all.replace("SOURCE", "here") + "topic_fields = 8"))]);
    configuration(
        named.path(),
        &[("a.toml", "[bus]\nprefix = \"org.named\"\n[trust]\nanchors = [\"pki/root.crt\"]")],
    );
    let (home, dir) = (home.path().to_str().unwrap(), named.path().to_str().unwrap());
    let variables = [("HOME", home), ("FEDMSG_PUBLISHER__SUBSCRIBER_WAIT", "9s")];
    let args = ["--config", dir, "config", "show", "--json"];
    let finished = config(here.path(), &variables, &args).expect_code(0);
    for (key, value, origin) in [
        ("bus.prefix", "org.named".into(), "file"),
        ("publisher.service", "here".into(), "file"),
        ("limits.topic_fields", Value::from(8), "file"),
        ("limits.json_depth", Value::from(7), "file"),
        ("publisher.subscriber_wait", "9s".into(), "environment"),
        ("bus.env", "dev".into(), "built-in"),
        ("trust.trust_domain", Value::Null, ""),
    ] {
        let line = shown(&finished, key);
        assert_eq!(line["value"], value, "{key}");
        assert_eq!(line["origin"].as_str().unwrap_or(""), origin, "{key}");
    }
    let anchors = shown(&finished, "trust.anchors");
    assert_eq!(
        anchors["value"][0],
        format!("{dir}/pki/root.crt"),
        "a path is taken from beside its fedmsg.d"
    );
    assert_eq!(anchors["file"], format!("{dir}/fedmsg.d/a.toml"));
    assert_eq!((&anchors["line"], &anchors["column"]), (&Value::from(4), &Value::from(1)));

    let by_variable = [("HOME", home), ("FEDMSG_CONFIG", dir)];
    let finished =
        config(here.path(), &by_variable, &["config", "show", "--json", "bus.prefix"]).expect_code(0);
    assert_eq!(shown(&finished, "bus.prefix")["value"], "org.named");
}

#[test]
fn show_is_a_table_for_people() {
    let here = temp_dir();
    configuration(here.path(), &[("base.toml", "[bus]\nenv = \"stg\"\n")]);
    let finished = config(here.path(), &[], &["config", "show", "bus"]).expect_code(0);
    let expected = "KEY            VALUE                             FROM\n\
                    bus.prefix     \"org.fedoraproject\"               built-in\n\
                    bus.env        \"stg\"                             fedmsg.d/base.toml:2:1\n\
                    bus.envs       [\"dev\", \"stg\", \"prod\", \"production\"]  built-in\n\
                    bus.transport  \"zmtp\"                            built-in\n\
                    bus.limits.queue_bytes ";
    let squeeze = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(squeeze(&finished.stdout).starts_with(&squeeze(expected)), "{}", finished.stdout);
    let columns: Vec<Option<usize>> = finished.stdout.lines().skip(1).map(|l| l.find("  \"")).collect();
    assert_eq!(columns[0], columns[1], "{}", finished.stdout);
    let unknown = config(here.path(), &[], &["config", "show", "bus.envv"]).expect_code(2);
    assert!(unknown.stderr.contains("did you mean `bus.env`?"), "{unknown:?}");
}

#[test]
fn all_that_is_wrong_is_said_at_once() {
    let here = temp_dir();
    let files = [
        ("a.toml", "[bus]\nenvv = \"dev\"\n\n[freshness]\npast = \"ten minutes\"\n"),
        ("b.toml", "[endpoints]\nshell = [\"tcp://*:9940\"]\nbus\n"),
        ("c.toml", "[limits]\njson_depth = 100000\n"),
    ];
    configuration(here.path(), &files);
    for command in [&["config", "check"][..], &["config", "show"]] {
        let finished = config(here.path(), &[("FEDMSG_BUS_ENV", "prod")], command).expect_code(2);
        for expected in [
            "fedmsg.d/a.toml:2:1: unknown key `bus.envv`; did you mean `bus.env`?",
            "fedmsg.d/a.toml:5:8: freshness.past: `ten minutes` is no duration",
            "fedmsg.d/b.toml:3:4: ",
            "fedmsg.d/c.toml:2:14: limits.json_depth: 100000 is not between 1 and 512",
            "environment variable FEDMSG_BUS_ENV stands for no key; did you mean `FEDMSG_BUS__ENV`?",
        ] {
            let error = format!("error: {expected}");
            assert!(finished.stderr.contains(&error), "{expected}\n{}", finished.stderr);
        }
        assert_eq!((finished.stderr.lines().count(), finished.stdout.as_str()), (5, ""));
    }
}

#[test]
fn a_named_directory_has_to_be_there() {
    let here = temp_dir();
    configuration(here.path(), &[]);
    let missing = config(here.path(), &[], &["--config", "nowhere", "config", "show"]).expect_code(2);
    assert!(missing.stderr.contains("--config: nowhere has no fedmsg.d in it"), "{missing:?}");
    assert!(missing.stderr.contains("hint: make one with `fedmsg init nowhere`"), "{missing:?}");
    let within = config(here.path(), &[], &["--config", "fedmsg.d", "config", "show"]).expect_code(2);
    assert!(within.stderr.contains("hint: name the directory that holds it: ."), "{within:?}");
    let variable = config(here.path(), &[("FEDMSG_CONFIG", "nowhere")], &["config", "show"]).expect_code(2);
    assert!(variable.stderr.contains("FEDMSG_CONFIG: nowhere has no fedmsg.d in it"), "{variable:?}");
}

#[test]
fn check_reads_what_the_configuration_names() {
    let here = temp_dir();
    configuration(here.path(), &[("base.toml", ""), ("ssl.py", "config = dict()")]);
    let bare = config(here.path(), &[], &["config", "check"]).expect_code(0);
    assert!(bare.stdout.contains("read         fedmsg.d/base.toml"), "{bare:?}");
    assert!(bare.stdout.contains("passed over  fedmsg.d/ssl.py"), "{bare:?}");
    assert!(bare.stderr.contains("warning: no trust anchor is configured"), "{bare:?}");
    assert!(bare.stderr.contains("warning: no policy is configured"), "{bare:?}");

    let named = "[trust]\nanchors = [\"root.crt\"]\ncrls = [\"root.crl\"]\n[policy]\nfiles = [\"policy.toml\"]\n\
                 [credentials]\ndirectory = \"services\"\n";
    configuration(here.path(), &[("base.toml", named)]);
    fs::write(here.path().join("root.crl"), "not a list").unwrap();
    fs::write(here.path().join("policy.toml"), "version = 1\nserial = 1\ndefault = \"deny\"\nx = 1\n")
        .unwrap();
    let broken = config(here.path(), &[], &["config", "check"]).expect_code(2);
    for expected in [
        "cannot read root.crt: No such file or directory (os error 2) (named by trust.anchors, fedmsg.d/base.toml:2:1)",
        "root.crl: found no PEM block, expected X509 CRL (named by trust.crls, fedmsg.d/base.toml:3:1)",
        "policy.toml:4:1: ",
        "fedmsg.d/base.toml:7:1: credentials.directory: services is no directory",
    ] {
        assert!(broken.stderr.contains(&format!("error: {expected}")), "{expected}\n{}", broken.stderr);
    }
}

#[test]
fn completions_and_manual_pages_are_made() {
    let here = temp_dir();
    for shell in ["bash", "zsh", "fish"] {
        let script = run(fedmsg().args(["generate", "completions", shell])).expect_code(0);
        assert!(script.stdout.contains("fedmsg") && script.stdout.contains("publish"), "{shell}");
    }
    let pages = run(fedmsg().arg("generate").arg("man").arg(here.path().join("man"))).expect_code(0);
    let page = fs::read_to_string(here.path().join("man/fedmsg-config-show.1")).unwrap();
    assert!(page.contains("where it came from"), "{page}");
    assert!(pages.stdout.lines().any(|line| line.ends_with("man/fedmsg.1")), "{pages:?}");
}
