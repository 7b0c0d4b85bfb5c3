//! Merging, provenance, and every kind of error with its exact place.

use super::*;
use proptest::prelude::*;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

fn text(text: &str) -> Sources {
    Sources::built_in().text("x.toml", Path::new("base"), text)
}

fn errors(sources: &Sources) -> Vec<String> {
    match Config::load(sources) {
        Ok(_) => Vec::new(),
        Err(errors) => errors.iter().map(ConfigError::to_string).collect(),
    }
}

fn variables(pairs: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
    pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
}

#[test]
fn later_sources_win_and_each_value_knows_its_own() {
    let sources = Sources::built_in()
        .text(
            "a.toml",
            Path::new("/etc"),
            "[bus]\nprefix = \"org.a\"\nenv = \"stg\"\n[trust]\nanchors = [\"r.crt\"]\n",
        )
        .text(
            "b.toml",
            Path::new("here"),
            "[bus]\nprefix = \"org.b\"\n\n[trust]\ncrls = [\"r.crl\", \"/abs.crl\"]\n",
        )
        .text(
            "c.toml",
            Path::new(""),
            "endpoints.shell = [\"tcp://a:1\"]\nendpoints.wiki = [\"tcp://a:2\"]\n",
        )
        .environment(variables(&[
            ("FEDMSG_FRESHNESS__PAST", "1h"),
            ("FEDMSG_POLICY__FILES", "p.toml, /q.toml"),
            ("FEDMSG_ENDPOINTS__WIKI", "tcp://b:2"),
            ("FEDMSG_CONFIG", "elsewhere"),
            ("HOME", "/root"),
        ]))
        .flag("bus.env", "prod", "--env");
    let config = Config::load(&sources).unwrap();
    assert_eq!((config.bus.prefix.as_str(), config.bus.env.as_str()), ("org.b", "prod"));
    let paths = |list: &[FilePath]| list.iter().map(|p| p.path().to_owned()).collect::<Vec<PathBuf>>();
    assert_eq!(paths(&config.trust.anchors), [PathBuf::from("/etc/r.crt")]);
    assert_eq!(paths(&config.trust.crls), [PathBuf::from("here/r.crl"), PathBuf::from("/abs.crl")]);
    assert_eq!(paths(&config.policy.files), [PathBuf::from("p.toml"), PathBuf::from("/q.toml")]);
    let origins: Vec<(String, String, String)> = config
        .entries()
        .into_iter()
        .filter(|entry| entry.origin.is_some_and(|origin| *origin != Origin::BuiltIn))
        .map(|e| (e.key, e.value.unwrap().to_string(), e.origin.unwrap().to_string()))
        .collect();
    let expected = [
        ("endpoints.shell", "[\"tcp://a:1\"]", "c.toml:1:11"),
        ("endpoints.wiki", "[\"tcp://b:2\"]", "FEDMSG_ENDPOINTS__WIKI"),
        ("bus.prefix", "\"org.b\"", "b.toml:2:1"),
        ("bus.env", "\"prod\"", "--env"),
        ("trust.anchors", "[\"/etc/r.crt\"]", "a.toml:5:1"),
        ("trust.crls", "[\"here/r.crl\", \"/abs.crl\"]", "b.toml:5:1"),
        ("policy.files", "[\"p.toml\", \"/q.toml\"]", "FEDMSG_POLICY__FILES"),
        ("freshness.past", "\"1h\"", "FEDMSG_FRESHNESS__PAST"),
    ];
    assert_eq!(origins, expected.map(|(key, value, from)| (key.into(), value.into(), from.into())));
}

#[test]
fn each_error_names_its_place() {
    for (written, expected) in [
        ("[bus]\nenvv = \"dev\"", "x.toml:2:1: unknown key `bus.envv`; did you mean `bus.env`?"),
        ("env = \"dev\"", "x.toml:1:1: unknown key `env`; did you mean `bus.env`?"),
        ("[bsu]\nenv = \"dev\"", "x.toml:1:2: unknown key `bsu`; did you mean `bus`?"),
        (
            "[trust.legcay]\naccept = true",
            "x.toml:1:8: unknown key `trust.legcay`; did you mean `trust.legacy`?",
        ),
        ("\"bus.env\" = \"dev\"", "x.toml:1:1: unknown key `\"bus.env\"`; did you mean `bus.env`?"),
        ("[wholly]\nother = 1", "x.toml:1:2: unknown key `wholly`"),
        ("bus = 1", "x.toml:1:7: bus: expected a table, found an integer"),
        ("[bus]\n env = 1", "x.toml:2:8: bus.env: expected a name of a-z 0-9 - _, found an integer"),
        ("[bus]\nenv.x = 1", "x.toml:2:1: bus.env: expected a name of a-z 0-9 - _, found a table"),
        ("[bus]\nenv = \"Prod\"", "x.toml:2:7: bus.env: `Prod` is no name; a-z 0-9 - _ are allowed"),
        (
            "[bus]\nenv = \"qa\"",
            "x.toml:2:1: bus.env is `qa`, which is not among bus.envs (dev, stg, prod, production)",
        ),
        ("[bus]\nenvs = []", "x.toml:2:8: bus.envs: the list is empty"),
        ("[bus]\nenvs = [\"dev\",\n  \"dev\"]", "x.toml:3:3: bus.envs: `dev` is listed twice"),
        ("[bus]\nprefix = \"org..x\"", "x.toml:2:10: bus.prefix: topic has an empty field at byte 4"),
        (
            "[bus]\ntransport = \"zeromk\"",
            "x.toml:2:13: bus.transport: `zeromk` is none of zeromq, zmtp; did you mean `zeromq`?",
        ),
        (
            "[freshness]\npast = \"10 min\"",
            "x.toml:2:8: freshness.past: `10 min` is no duration; write a whole number and a unit (ms, s, m, h, d), \
             such as \"10m\"",
        ),
        (
            "[freshness]\npast = 600",
            "x.toml:2:8: freshness.past: expected a duration of whole seconds such as \"10m\", found an integer",
        ),
        ("[freshness]\npast = \"4000d\"", "x.toml:2:8: freshness.past: 4000d is not between 0s and 3650d"),
        ("[limits]\nbody_bytes = 0", "x.toml:2:14: limits.body_bytes: 0 is not between 1 and 1073741824"),
        (
            "[limits]\nbody_bytes = \"1MB\"",
            "x.toml:2:14: limits.body_bytes: `1MB` is no size; write a number of bytes, or a whole number and KiB, MiB \
             or GiB",
        ),
        ("[limits]\njson_depth = -1", "x.toml:2:14: limits.json_depth: -1 is not between 1 and 512"),
        (
            "[endpoints]\nshell = [\"tcp://a:1\", \"tcp://*:2\"]",
            "x.toml:2:23: endpoints.shell: endpoint `tcp://*:2` has the host `*`; name the host that consumers connect \
             to",
        ),
        (
            "[endpoints]\nshell = [\"tcp://a:0\"]",
            "x.toml:2:10: endpoints.shell: endpoint `tcp://a:0` has port 0, which nothing can connect to",
        ),
        ("[endpoints]\nshell = []", "x.toml:2:9: endpoints.shell: the list is empty"),
        (
            "[endpoints]\na = [\"tcp://h:1\"]\nb = [\"tcp://h:1\"]",
            "x.toml:3:1: endpoints.b has tcp://h:1, which endpoints.a has too",
        ),
        (
            "[trust]\nanchors = [\"~/ca.crt\"]",
            "x.toml:2:12: trust.anchors: `~/ca.crt` is no usable path: `~` is not expanded, write the whole path",
        ),
        (
            "[trust]\ntrust_domain = \"A.org\"",
            "x.toml:2:16: trust.trust_domain: identity `spiffe://A.org/env/service/host` has 'A' in its trust domain; \
             a-z 0-9 - _ . are allowed",
        ),
        (
            "[trust.legacy]\naccept = true\nca = \"a\"",
            "x.toml:2:1: trust.legacy.accept = true needs `trust.legacy.revocation` to be set",
        ),
        (
            "[trust.legacy]\naccept = true\nca = \"a\"\nrevocation = \"crl\"",
            "x.toml:2:1: trust.legacy.revocation = \"crl\" needs `trust.legacy.crl` to be set",
        ),
    ] {
        assert_eq!(errors(&text(written)), [expected], "{written}");
    }
}

#[test]
fn all_errors_of_all_sources_are_said() {
    let sources = Sources::built_in()
        .text("a.toml", Path::new(""), "[limits]\njson_depth = \"x\"\nbody = 1\n[bus]\nenv = 7\n")
        .text("b.toml", Path::new(""), "[bus]\nenv = \"dev\"\nenv = \"stg\"\n")
        .environment(variables(&[
            ("FEDMSG_BUS_ENV", "stg"),
            ("FEDMSG_BUS__ENV", "stg,prod"),
            ("FEDMSG_LIMITS__PATH_HASHES", "many"),
            ("FEDMSG_TRUST__LEGACY__ACCEPT", "yes"),
        ]))
        .flag("bus.env", "", "--env")
        .flag("bus.topic", "", "--topic");
    let found = errors(&sources);
    let expected = [
        "a.toml:2:14: limits.json_depth: expected an integer from 1 to 512, found a text",
        "a.toml:3:1: unknown key `limits.body`",
        "a.toml:5:7: bus.env: expected a name of a-z 0-9 - _, found an integer",
        "b.toml:3:1: duplicate key",
        "environment variable FEDMSG_BUS_ENV stands for no key; did you mean `FEDMSG_BUS__ENV`?",
        "FEDMSG_BUS__ENV: bus.env: `stg,prod` is no name; a-z 0-9 - _ are allowed",
        "FEDMSG_LIMITS__PATH_HASHES: limits.path_hashes: expected an integer from 0 to 63, found a text",
        "FEDMSG_TRUST__LEGACY__ACCEPT: trust.legacy.accept: expected true or false, found a text",
        "--env: bus.env: `` is no name; a-z 0-9 - _ are allowed",
        "--topic: unknown key `bus.topic`",
    ];
    assert_eq!(found, expected);
}

#[test]
fn directories_are_read_in_byte_order_and_only_toml() {
    let home = tempfile::tempdir().unwrap();
    let files = home.path().join("fedmsg.d");
    fs::create_dir(&files).unwrap();
    for (name, content) in [
        ("b.toml", "[bus]\nenv = \"prod\"\n"),
        ("a.toml", "[bus]\nenv = \"stg\"\n"),
        ("Z.toml", "[bus]\nenv = \"dev\"\n[policy]\nfiles = [\"policy.toml\"]\n"),
        (".hidden.toml", "not toml at all"),
        ("ssl.py", "config = dict()"),
    ] {
        fs::write(files.join(name), content).unwrap();
    }
    let sources = Sources::built_in().directory(home.path());
    let config = Config::load(&sources).unwrap();
    let names = |paths: &[PathBuf]| -> Vec<String> {
        paths.iter().map(|p| p.file_name().unwrap().to_string_lossy().into_owned()).collect()
    };
    assert_eq!(names(config.files()), ["Z.toml", "a.toml", "b.toml"]);
    assert_eq!(names(config.ignored()), [".hidden.toml", "ssl.py"]);
    assert_eq!(config.bus.env.as_str(), "prod");
    assert_eq!(config.policy.files[0].path(), home.path().join("policy.toml"));

    fs::write(files.join("c.toml"), b"# \xc3\xa9\nx = \"\xff\"").unwrap();
    fs::write(files.join("d.toml"), " ".repeat(MAX_FILE_BYTES + 1)).unwrap();
    fs::create_dir(files.join("e.toml")).unwrap();
    let at = |name: &str| files.join(name).display().to_string();
    assert_eq!(
        errors(&sources),
        [
            format!("{}:2:6: not UTF-8", at("c.toml")),
            format!("{} has more than 1048576 bytes", at("d.toml")),
            format!("cannot read {}: Is a directory (os error 21)", at("e.toml")),
        ]
    );
    let missing = Sources::built_in().directory(&files);
    assert_eq!(errors(&missing), [format!("--config: {} has no fedmsg.d in it", files.display())]);
}

#[cfg(unix)]
#[test]
fn variables_that_are_not_utf8_are_refused() {
    use std::os::unix::ffi::OsStringExt;
    let bad = || OsString::from_vec(vec![0xff]);
    let sources =
        Sources::built_in().environment([("FEDMSG_BUS__ENV".into(), bad()), ("PATH".into(), bad())]);
    assert_eq!(errors(&sources), ["environment variable FEDMSG_BUS__ENV is not UTF-8"]);
}

/// The repository's `fedmsg.d`, each file's text.
fn shipped() -> Vec<(PathBuf, String)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fedmsg.d");
    let mut paths: Vec<PathBuf> = fs::read_dir(directory).unwrap().map(|e| e.unwrap().path()).collect();
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect()
}

#[test]
fn the_shipped_default_says_what_is_built_in() {
    let shipped_sources = Sources::built_in().directory(Path::new(env!("CARGO_MANIFEST_DIR")));
    let shipped_config = Config::load(&shipped_sources).unwrap();
    let built_in = Config::load(&Sources::built_in()).unwrap();
    let values = |config: &Config| config.entries().into_iter().map(|e| (e.key, e.value)).collect::<Vec<_>>();
    assert_eq!(values(&shipped_config), values(&built_in));
    let unwritten: Vec<String> = shipped_config
        .entries()
        .into_iter()
        .filter(|entry| entry.origin == Some(&Origin::BuiltIn))
        .map(|entry| entry.key)
        .collect();
    assert!(unwritten.is_empty(), "not in fedmsg.d: {unwritten:?}");
}

#[test]
fn the_shipped_examples_are_valid_and_complete() {
    let mut sources = Sources::built_in();
    for (path, content) in shipped() {
        let example = |line: &str| {
            let name = line.strip_prefix('#').and_then(|rest| rest.split_once(" = ")).map(|(name, _)| name);
            name.is_some_and(|name| name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'))
        };
        let uncommented: Vec<&str> = content.lines().map(|l| if example(l) { &l[1..] } else { l }).collect();
        sources = sources.text(&path.display().to_string(), Path::new(""), &uncommented.join("\n"));
    }
    let config = Config::load(&sources).unwrap();
    let unset: Vec<String> =
        config.entries().into_iter().filter(|e| e.value.is_none()).map(|e| e.key).collect();
    assert!(unset.is_empty(), "no example in fedmsg.d: {unset:?}");
    assert!(config.endpoints.of("shell").is_some());
}

#[test]
fn the_reference_lists_every_key() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md");
    let document = fs::read_to_string(path).unwrap();
    if !document.contains(reference().trim()) {
        let made = std::env::temp_dir().join("fedmsg-configuration-keys.md");
        fs::write(&made, reference()).unwrap();
        panic!("docs/configuration.md has not the keys of the schema; {} has", made.display());
    }
}

proptest! {
    #[test]
    fn any_text_is_a_configuration_or_an_error(written in "\\PC{0,200}") {
        let _ = Config::load(&text(&written));
    }

    #[test]
    fn any_near_configuration_is_one_or_an_error(
        lines in proptest::collection::vec(
            "(\\[(bus|trust|trust.legacy|endpoints|limits|x)\\]|(env|envs|accept|shell|body_bytes|anchors|\"a.b\") ?= ?(1|-9999999999999999999|1.5|true|\"\\PC{0,8}\"|\\[+\"tcp://a:1\"(, *\"[a-z:/]{0,9}\")*\\]+|\\{ a = 1 \\}|1979-05-27))",
            0..8,
        )
    ) {
        if let Err(errors) = Config::load(&text(&lines.join("\n"))) {
            prop_assert!(errors.iter().all(|error| !error.to_string().contains('\n')));
        }
    }

    #[test]
    fn a_value_shown_reads_back_the_same(past in 0_u64..315_360_000, bytes in 1_usize..1_073_741_824) {
        let written = format!("[freshness]\npast = \"{past}s\"\n[limits]\nbody_bytes = {bytes}");
        let config = Config::load(&text(&written)).unwrap();
        let mut shown = String::new();
        for entry in config.entries() {
            if let Some(value) = entry.value {
                shown.push_str(&format!("{} = {value}\n", entry.key));
            }
        }
        let again = Config::load(&text(&shown)).unwrap();
        let values = |c: &Config| c.entries().into_iter().map(|e| (e.key, e.value)).collect::<Vec<_>>();
        prop_assert_eq!(values(&again), values(&config));
    }
}
