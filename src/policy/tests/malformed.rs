//! What is no policy, and what is said about it: exactly, with file, line and column.

use super::*;
use proptest::prelude::*;

/// Each error on a line, after a file that begins `version = 1`, `serial = 1`.
fn said(body: &str) -> Vec<String> {
    match try_policy(body) {
        Ok(_) => Vec::new(),
        Err(errors) => errors.iter().map(ToString::to_string).collect(),
    }
}

/// A rule with one line changed: `key = …` replaced, or left out if there is nothing after it.
fn rule(change: &str) -> String {
    let key = change.split(' ').next().unwrap();
    let mut lines = vec!["id = \"r\"", "effect = \"allow\"", "topics = [\"a.b\"]", "publishers = [\"cn:x\"]"];
    lines.retain(|line| !line.starts_with(&format!("{key} ")));
    if change != key {
        lines.push(change);
    }
    format!("[[rule]]\n{}\n", lines.join("\n"))
}

#[test]
fn rules() {
    for (change, expected) in [
        ("id", "3:1: [[rule]] 1 has no `id`"),
        ("effect", "3:1: rule `r` has no `effect`"),
        ("topics", "3:1: rule `r` has no `topics`"),
        ("publishers", "3:1: rule `r` has no `publishers`"),
        ("id = 7", "7:6: [[rule]] 1: `id` is of type integer, expected a string"),
        ("id = \"\"", "7:6: rule id `` is not 1 to 64 of the characters A-Z a-z 0-9 - _ ."),
        ("id = \"a b\"", "7:6: rule id `a b` is not 1 to 64 of the characters A-Z a-z 0-9 - _ ."),
        (
            "id = \"routing_policy:a\"",
            "7:6: rule id `routing_policy:a` is not 1 to 64 of the characters A-Z a-z 0-9 - _ .",
        ),
        ("id = \"unchecked\"", "7:6: rule id `unchecked` is reserved"),
        (
            "effect = \"Allow\"",
            "7:10: rule `r`: `effect` is `Allow`, expected \"allow\", \"deny\" or \"exclusive\"",
        ),
        ("effect = true", "7:10: rule `r`: `effect` is of type boolean, expected a string"),
        (
            "topics = []",
            "7:10: rule `r`: `topics` is an empty list; a rule that is for nobody or nothing is left out",
        ),
        ("topics = \"#\"", "7:10: rule `r`: `topics` is of type string, expected a list of strings"),
        ("topics = [\"a\", 1]", "7:16: rule `r`: `topics` is of type integer, expected a string"),
        ("topics = [\"a\", \"b.c*\"]", "7:16: rule `r`: topic `b.c*`: field `b.c*` is neither"),
        ("topics = [\"\"]", "7:11: rule `r`: topic ``: topic has an empty field at byte 0"),
        ("topics = [\"*.*.*.*\"]", "7:11: rule `r`: topic `*.*.*.*`: pattern has 4 `*`, the limit is 3"),
        ("topics = [\"{user}.#\"]", "7:11: rule `r`: topic `{user}.#`: field `{user}` is neither"),
        (
            "publishers = []",
            "7:14: rule `r`: `publishers` is an empty list; a rule that is for nobody or nothing is left out",
        ),
        ("publishers = [\"@g\"]", "7:15: rule `r`: there is no group `g`"),
        (
            "publishers = [\"*\"]",
            "7:15: rule `r`: publisher identity `*` begins with neither spiffe:// nor cn:",
        ),
        (
            "publishers = [\"cn:*\"]",
            "7:15: rule `r`: publisher `cn:*` has a `*`, but a common name is always exact",
        ),
        (
            "publishers = [\"spiffe://t/a*/b/c\"]",
            "7:15: rule `r`: publisher `spiffe://t/a*/b/c` has `a*` as a path segment; `*` stands for a whole segment only",
        ),
        ("shadow = \"no\"", "8:10: rule `r`: `shadow` is of type string, expected a boolean"),
        (
            "publisher = [\"cn:x\"]",
            "8:1: rule `r` has an unknown key `publisher`; known are effect, from, id, publishers, shadow, topics, until",
        ),
        (
            "until = 2027-12-31",
            "8:9: rule `r`: `until` is 2027-12-31, expected a date and time in whole seconds with an offset, such as 2027-12-31T00:00:00Z",
        ),
        (
            "until = 2027-12-31T00:00:00",
            "8:9: rule `r`: `until` is 2027-12-31T00:00:00, expected a date and time in whole seconds with an offset, such as 2027-12-31T00:00:00Z",
        ),
        (
            "from = 2027-12-31T00:00:00.5Z",
            "8:8: rule `r`: `from` is 2027-12-31T00:00:00.5Z, expected a date and time in whole seconds with an offset, such as 2027-12-31T00:00:00Z",
        ),
        (
            "from = \"2027-12-31T00:00:00Z\"",
            "8:8: rule `r`: `from` is of type string, expected an offset date-time",
        ),
        (
            "from = 2027-01-01T00:00:00Z\nuntil = 2027-01-01T01:00:00+01:00",
            "3:1: rule `r` exists at no time: from 2027-01-01T00:00:00Z until 2027-01-01T00:00:00Z",
        ),
    ] {
        let said = said(&rule(change));
        let expected = expected.replace("`b.c*` is neither", "`c*` is neither");
        assert!(said.len() == 1 && said[0].starts_with(&format!("p.toml:{expected}")), "{change}: {said:#?}");
        // Whole, unless the message is topic's own and long.
        assert!(
            expected.ends_with("neither") || said[0] == format!("p.toml:{expected}"),
            "{change}: {said:#?}"
        );
    }
    assert_eq!(said(&rule("from = 2027-01-01T00:00Z")), [""; 0], "TOML 1.1 lets the seconds be left out");
}

/// A `deny` or `exclusive` keeps others from a topic; a template would make it select the topic only for its owner.
#[test]
fn templates_protect_nothing() {
    for effect in ["deny", "exclusive"] {
        let text = rule("topics = [\"a.{service}.#\"]").replace("\"allow\"", &format!("\"{effect}\""));
        assert_eq!(
            said(&text),
            [format!(
                "p.toml:7:11: rule `r`: `{{service}}` in topic `a.{{service}}.#`: a template stands for the signer's own part, \
                 so that {effect} rules would miss everybody else; write `*` instead"
            )]
        );
    }
}

#[test]
fn the_rest_of_the_file() {
    let twice = rule("-") + &rule("topics = [\"c\"]");
    for (body, expected) in [
        (
            "default = \"allow\"",
            "3:11: the policy file: `default` is `allow`, expected \"deny\" or \"allow-unlisted\"",
        ),
        (
            "defualt = \"deny\"",
            "3:1: the policy file has an unknown key `defualt`; known are default, groups, routing_policy, rule, serial, test, version",
        ),
        ("rule = 3", "3:8: the policy file: `rule` is of type integer, expected a list of tables"),
        ("rule = [3]", "3:9: [[rule]] 1: `rule` is of type integer, expected a table"),
        ("[rule]\nid = \"r\"", "3:1: the policy file: `rule` is of type table, expected a list of tables"),
        ("groups = 1", "3:10: the policy file: `groups` is of type integer, expected a table"),
        (
            "[groups]\ng = []",
            "4:5: [groups]: `g` is an empty list; a rule that is for nobody or nothing is left out",
        ),
        (
            "[groups]\n\"g h\" = [\"cn:x\"]",
            "4:1: group name `g h` is not 1 to 64 of the characters A-Z a-z 0-9 - _ .",
        ),
        ("[groups]\ng = [\"@h\"]", "4:6: group `g` has `@h`: a group holds identities, not groups"),
        (
            "[groups]\ng = [\"h\"]",
            "4:6: [groups]: publisher identity `h` begins with neither spiffe:// nor cn:",
        ),
        (
            "[routing_policy]\n\"a.b\" = []",
            "4:9: [routing_policy]: `a.b` is an empty list; a rule that is for nobody or nothing is left out",
        ),
        (
            "[routing_policy]\n\"a.*\" = [\"x\"]",
            "4:1: `a.*` is not one exact topic: topic has byte 0x2a at 2; fields hold ASCII letters, digits and -_+~:@",
        ),
        (
            "[routing_policy]\n\"a\" = [\"cn:x\"]",
            "4:8: topic `a`: `cn:x` is not a certificate's plain name; write a [[rule]] with effect \"exclusive\" for it",
        ),
        (
            "[routing_policy]\n\"a\" = [\"x\", \"*\"]",
            "4:13: topic `a`: `*` is not a certificate's plain name; write a [[rule]] with effect \"exclusive\" for it",
        ),
        (
            "[routing_policy]\n\"a\" = [\"spiffe://t/a/b/c\"]",
            "4:8: topic `a`: `spiffe://t/a/b/c` is not a certificate's plain name; write a [[rule]] with effect \"exclusive\" for it",
        ),
        (
            "[routing_policy]\na.b = [\"x\"]",
            "4:1: [routing_policy]: `a` is of type table, expected a list of strings",
        ),
        ("[[test]]\ntopic = \"a\"\nsigner = \"cn:x\"", "3:1: [[test]] 1 has no `expect`"),
        (
            "[[test]]\ntopic = \"a\"\nsigner = \"cn:x\"\nexpect = \"no\"",
            "6:10: [[test]] 1: `expect` is `no`, expected \"allow\" or \"deny\"",
        ),
        (
            "[[test]]\ntopic = \"a.\"\nsigner = \"cn:x\"\nexpect = \"deny\"",
            "4:9: [[test]] 1: topic `a.`: topic has an empty field at byte 2",
        ),
        (
            "[[test]]\ntopic = \"a\"\nsigner = \"x\"\nexpect = \"deny\"",
            "5:10: [[test]] 1: signer: identity `x` begins with neither spiffe:// nor cn:",
        ),
        ("a = 1\na = 2", "4:1: not TOML: duplicate key"),
        ("a = ", "3:5: not TOML: "),
        (&twice, "9:6: rule id `r` is taken by the rule in p.toml:4:6"),
    ] {
        let said = said(body);
        assert!(!said.is_empty() && said[0].starts_with(&format!("p.toml:{expected}")), "{body}: {said:#?}");
        assert!(expected.ends_with(": ") || said == [format!("p.toml:{expected}")], "{body}: {said:#?}");
    }
}

#[test]
fn the_head() {
    let said = |text: &str| match Policy::parse(text, "p.toml", &Limits::STANDARD) {
        Ok(_) => Vec::new(),
        Err(errors) => errors.iter().map(ToString::to_string).collect::<Vec<_>>(),
    };
    for (text, expected) in [
        ("", "1:1: the policy file has no `version`\n1:1: the policy file has no `serial`"),
        ("version = 2\nserial = 1", "1:11: the policy file: `version` is `2`, expected 1"),
        (
            "version = \"1\"\nserial = 1",
            "1:11: the policy file: `version` is of type string, expected an integer",
        ),
        ("version = 1", "1:1: the policy file has no `serial`"),
        (
            "version = 1\nserial = -1",
            "2:10: the policy file: `serial` is `-1`, expected an integer from 0 to 18446744073709551615",
        ),
        (
            "version = 1\nserial = 18446744073709551616",
            "2:10: the policy file: `serial` is `18446744073709551616`, expected an integer from 0 to 18446744073709551615",
        ),
        (
            "version = 1\nserial = 1.0",
            "2:10: the policy file: `serial` is of type float, expected an integer",
        ),
    ] {
        let expected: Vec<String> = expected.lines().map(|line| format!("p.toml:{line}")).collect();
        assert_eq!(said(text), expected, "{text}");
    }
    assert_eq!(said("version = 0x1\nserial = 18_446_744_073_709_551_615"), [""; 0]);
}

/// With the limits of a configuration that takes deep topics.
#[test]
fn a_pattern_is_no_deeper_than_can_be_looked_up() {
    let limits = Limits { topic_fields: 40, ..Limits::STANDARD };
    for (fields, expected) in [
        (32, Vec::new()),
        (
            33,
            vec![
                "p.toml:6:11: rule `r`: topic `TOPIC` has 33 fields, a policy's patterns have at most 32",
                "p.toml:9:1: [routing_policy]: topic `TOPIC` has 33 fields, a policy's patterns have at most 32",
            ],
        ),
    ] {
        let topic = ["a"; 40][..fields].join(".");
        let text = format!(
            "version = 1\nserial = 1\n{}[routing_policy]\n\"{topic}\" = [\"x\"]\n",
            rule("-").replace("\"a.b\"", &format!("\"{topic}\""))
        );
        let said = match Policy::parse(&text, "p.toml", &limits) {
            Ok(policy) => {
                let decided = |on: &str| {
                    let on = Topic::parse(on, &limits).unwrap();
                    policy.decide(&on, &signer("cn:x"), Timestamp::MIN).is_ok()
                };
                assert!(decided(&topic) && !decided(&format!("{topic}.a")) && !decided(&topic[2..]));
                Vec::new()
            }
            Err(errors) => errors.iter().map(|error| error.to_string().replace(&topic, "TOPIC")).collect(),
        };
        assert_eq!(said, expected);
    }
}

/// Whatever makes a look-up long is bounded: as many as there may be, and one more.
#[test]
fn a_look_up_has_a_bound() {
    let rule = |id: usize, effect: &str, topics: &str, publishers: &str| {
        format!(
            "[[rule]]\nid = \"r{id:05}\"\neffect = \"{effect}\"\ntopics = [{topics}]\npublishers = [{publishers}]\n"
        )
    };
    // A pattern of each shape, so that all eight are searched for.
    let shapes: Vec<String> = (0..8)
        .map(|shape| {
            ["p", "s", "h"].iter().enumerate().fold("\"spiffe://t".to_owned(), |text, (n, part)| {
                format!("{text}/{}", if shape >> n & 1 == 0 { part } else { "*" })
            }) + "\""
        })
        .collect();
    let shapes = shapes.join(", ");
    let groups = |count: usize| -> String {
        let groups = (0..count).map(|n| format!("g{n} = [\"cn:x\", {shapes}]\n"));
        std::iter::once("[groups]\n".to_owned()).chain(groups).collect()
    };
    // A topic of `depth` fields, each written out or the signer's own.
    let templates = |depth: usize| -> String {
        let fields = |n: usize| {
            let fields = (0..depth).map(|field| ["a", "{env}", "{service}", "{host}"][n >> (2 * field) & 3]);
            fields.collect::<Vec<_>>().join(".")
        };
        (0..4_usize.pow(depth.try_into().unwrap()))
            .map(|n| rule(n, "allow", &format!("\"{}\"", fields(n)), "\"cn:x\""))
            .collect()
    };
    let expired = |count: usize| -> String {
        (0..count).map(|n| rule(n, "allow", "\"a.b\"", &shapes) + "until = 2020-01-01T00:00:00Z\n").collect()
    };
    let members = |count: usize| -> String {
        let named: Vec<String> = (0..count).map(|n| format!("\"@g{n}\"")).collect();
        groups(count) + &rule(0, "allow", "\"a.b\"", &named.join(", "))
    };
    let exclusives = |count: usize| -> String {
        let named: Vec<String> = (0..9).map(|n| format!("\"@g{n}\"")).collect();
        let rules = (0..count)
            .map(|n| rule(n, "exclusive", "\"a.b\"", &format!("{}, \"cn:x{n}\"", named.join(", "))));
        std::iter::once(groups(9)).chain(rules).collect()
    };
    let shadows = |count: usize| members(count) + "shadow = true\n";
    let holds = |name: &str, text: &dyn Fn(usize) -> String, most: usize, place: &str, steps: u32| {
        assert_eq!(said(&text(most)), [""; 0], "{name}");
        let expected = format!(
            "p.toml:{place} is at the end of a look-up that could take {steps} steps, the limit is 10000; patterns of one topic \
             that differ in `*` and templates add up, and so do exclusive rules for one pattern"
        );
        assert_eq!(said(&text(most + 1)), [expected], "{name}");
    };
    holds("templates", &templates, 5, "20478:1: rule `r04095`", 13_653);
    holds("expired", &expired, 1249, "3:1: rule `r00000`", 10_004);
    holds("members", &members, 1249, "1254:1: rule `r00000`", 10_004);
    holds("exclusives", &exclusives, 122, "13:1: rule `r00000`", 10_004);
    holds("shadows", &shadows, 1249, "1254:1: rule `r00000`", 10_004);
}

#[test]
fn between_files() {
    let source = |file, text: &'static str| crate::policy::Source { file, bytes: text.as_bytes() };
    let a = "version = 1\nserial = 1\n[groups]\ng = [\"cn:x\"]\n[routing_policy]\n\"a\" = [\"x\"]\n";
    let b = "version = 1\nserial = 1\ndefault = \"allow-unlisted\"\n[groups]\ng = [\"cn:y\"]\n[routing_policy]\n\"a\" = [\"y\"]\n";
    let said = |sources: &[_]| match Policy::parse_files(sources, &Limits::STANDARD) {
        Ok(_) => Vec::new(),
        Err(errors) => errors.iter().map(ToString::to_string).collect(),
    };
    assert_eq!(
        said(&[source("a", a), source("b", b)]),
        [
            "b:3:11: default is `allow-unlisted` here and `deny` in a:1:1; all the files of a policy state the same (none stated: deny)",
            "b:5:1: group `g` is there already, in a:4:1",
            "b:7:1: rule id `routing_policy:a` is taken by the rule in a:6:1",
        ]
    );
    assert_eq!(said(&[]), ["policy:1:1: there is no policy file: a policy has at least one"]);
    let not_utf8 = crate::policy::Source { file: "c", bytes: b"version = 1\n# \xff" };
    assert_eq!(said(&[not_utf8, source("d", "x")]).len(), 2, "one file's fault does not hide the next's");
    assert_eq!(said(&[not_utf8]), ["c:2:3: not UTF-8"]);
}

/// One error does not hide the next.
#[test]
fn all_errors_of_a_file_are_reported_in_order() {
    let text = "[groups]\ng = []\n[[rule]]\nid = \"r\"\neffect = \"maybe\"\ntopics = [\"a..b\", \"{x}\"]\n\
                publishers = [\"@g\", \"@h\", \"z\"]\nfrom = 1\n[[test]]\n[[rule]]\n";
    let lines: Vec<String> = said(text).iter().map(|e| e.split(": ").take(1).collect()).collect();
    assert_eq!(
        lines,
        [
            "p.toml:4:5",
            "p.toml:7:10",
            "p.toml:8:11",
            "p.toml:8:19",
            "p.toml:9:21",
            "p.toml:9:27",
            "p.toml:10:8",
            "p.toml:11:1",
            "p.toml:11:1",
            "p.toml:11:1",
            "p.toml:12:1",
            "p.toml:12:1",
            "p.toml:12:1",
            "p.toml:12:1",
        ]
    );
}

proptest! {
    #[test]
    fn any_bytes_are_a_policy_or_errors(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let source = crate::policy::Source { file: "p", bytes: &bytes };
        prop_assert!(Policy::parse_files(&[source], &Limits::STANDARD).is_err());
    }

    /// Pieces of policies in a wrong order, so that more than the TOML parser is reached.
    #[test]
    fn any_pieces_are_a_policy_or_errors(
        pieces in proptest::collection::vec(proptest::sample::select(vec![
            "[[rule]]\n", "[[test]]\n", "[groups]\n", "[routing_policy]\n", "id = \"r\"\n", "id = \"s\"\n",
            "effect = \"allow\"\n", "effect = \"deny\"\n", "topics = [\"a.{env}.#\"]\n", "topics = []\n",
            "publishers = [\"cn:x\", \"@g\"]\n", "g = [\"cn:x\"]\n", "\"a.b\" = [\"x\"]\n", "topic = \"a\"\n",
            "signer = \"cn:x\"\n", "expect = \"allow\"\n", "from = 2027-01-01T00:00:00Z\n", "at = 2027-01-01\n",
            "until = 0001-01-01T00:00:00+23:59\n", "[[[\n", "é = \"\u{0}\"\n", "rule = {}\n",
        ]), 0..14),
    ) {
        if let Err(errors) = try_policy(&pieces.concat()) {
            for error in &errors {
                prop_assert!(error.to_string().starts_with("p.toml:") && !error.to_string().contains('\n'));
            }
        }
    }
}
