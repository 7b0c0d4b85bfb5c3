//! Reads enough of Rust to tell which paths a file names, and on which line: comments, strings and tests left out.
//!
//! It knows words, `::`, and braces; it need not know more, since what it is asked is only "does this file name that".

/// A path as written, flattened: `use std::{fs, net::TcpStream}` gives `std::fs` and `std::net::TcpStream`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Path {
    /// From 1.
    pub(crate) line: usize,
    pub(crate) segments: Vec<String>,
}

impl Path {
    /// Whether the path begins with these segments.
    pub(crate) fn starts_with(&self, segments: &[&str]) -> bool {
        self.segments.len() >= segments.len() && segments.iter().zip(&self.segments).all(|(a, b)| a == b)
    }

    /// Whether these segments stand next to each other somewhere in the path.
    pub(crate) fn contains(&self, segments: &[&str]) -> bool {
        self.segments.windows(segments.len()).any(|w| w.iter().zip(segments).all(|(a, b)| a == b))
    }
}

/// The paths of two segments or more that `text` names. `tests` says whether a `#[cfg(test)] mod NAME { … }` counts.
pub(crate) fn paths(text: &str, tests: bool) -> Vec<Path> {
    let mut words = words(text);
    if !tests {
        words = without_tests(words);
    }
    let mut found = Vec::new();
    let mut at = 0;
    while at < words.len() {
        if words[at].is_name() {
            at = tree(&words, at, &mut Vec::new(), &mut found);
        } else {
            at += 1;
        }
    }
    found
}

/// The modules that `text` declares under `#[cfg(test)]` in files of their own.
pub(crate) fn test_modules(text: &str) -> Vec<String> {
    let words = words(text);
    (0..words.len())
        .filter_map(|at| test_module(&words, at))
        .filter(|(_, after)| words.get(*after).is_some_and(|w| w.text == ";"))
        .map(|(name, _)| name)
        .collect()
}

#[derive(Debug, Clone)]
struct Word {
    line: usize,
    text: String,
}

impl Word {
    fn is_name(&self) -> bool {
        self.text.starts_with(|c: char| c.is_alphabetic() || c == '_')
    }
}

/// Reads one path, or a tree of them in braces, from `at`; returns where it ended.
fn tree(words: &[Word], mut at: usize, prefix: &mut Vec<String>, found: &mut Vec<Path>) -> usize {
    let depth = prefix.len();
    let line = words[at].line;
    loop {
        match words.get(at) {
            Some(word) if word.is_name() || word.text == "*" => prefix.push(word.text.clone()),
            _ => break,
        }
        at += 1;
        if words.get(at).is_none_or(|w| w.text != "::") {
            break;
        }
        at += 1;
        if words.get(at).is_some_and(|w| w.text == "{") {
            at += 1;
            while let Some(word) = words.get(at) {
                if word.text == "}" {
                    at += 1;
                    break;
                }
                at = match word.text.as_str() {
                    // A new name for what was named before it.
                    "as" => at + 2,
                    "*" => tree(words, at, prefix, found),
                    _ if word.is_name() => tree(words, at, prefix, found),
                    _ => at + 1,
                };
            }
            prefix.truncate(depth);
            return at;
        }
    }
    if prefix.len() > 1 {
        found.push(Path { line, segments: prefix.clone() });
    }
    prefix.truncate(depth);
    at
}

/// If `#[cfg(test)] [pub…] mod NAME` stands at `at`: the name, and the place after it.
fn test_module(words: &[Word], mut at: usize) -> Option<(String, usize)> {
    for expected in ["#", "[", "cfg", "(", "test", ")", "]"] {
        if words.get(at)?.text != expected {
            return None;
        }
        at += 1;
    }
    while ["pub", "(", "crate", "super", ")"].contains(&words.get(at)?.text.as_str()) {
        at += 1;
    }
    (words.get(at)?.text == "mod").then_some(())?;
    Some((words.get(at + 1)?.text.clone(), at + 2))
}

fn without_tests(words: Vec<Word>) -> Vec<Word> {
    let mut kept = Vec::with_capacity(words.len());
    let mut at = 0;
    while at < words.len() {
        match test_module(&words, at) {
            Some((_, mut end)) if words.get(end).is_some_and(|w| w.text == "{") => {
                let mut depth = 0_usize;
                while let Some(word) = words.get(end) {
                    match word.text.as_str() {
                        "{" => depth += 1,
                        "}" => depth -= 1,
                        _ => {}
                    }
                    end += 1;
                    if depth == 0 {
                        break;
                    }
                }
                at = end;
            }
            _ => {
                kept.push(words[at].clone());
                at += 1;
            }
        }
    }
    kept
}

fn words(text: &str) -> Vec<Word> {
    let text: Vec<char> = text.chars().collect();
    let mut words = Vec::new();
    let (mut at, mut line) = (0, 1);
    while at < text.len() {
        let start = at;
        let next = text.get(at + 1).copied();
        match text[at] {
            '/' if next == Some('/') => {
                while at < text.len() && text[at] != '\n' {
                    at += 1;
                }
            }
            '/' if next == Some('*') => at = block_comment(&text, at),
            '"' => at = string(&text, at + 1),
            'b' | 'r' | 'c' if raw_string(&text, at).is_some() => {
                at = raw_string(&text, at).unwrap_or(at + 1)
            }
            '\'' => at = character_or_lifetime(&text, at),
            c if c.is_alphanumeric() || c == '_' => {
                while at < text.len() && (text[at].is_alphanumeric() || text[at] == '_') {
                    at += 1;
                }
                words.push(Word { line, text: text[start..at].iter().collect() });
            }
            ':' if next == Some(':') => {
                words.push(Word { line, text: "::".to_owned() });
                at += 2;
            }
            c => {
                if !c.is_whitespace() {
                    words.push(Word { line, text: c.to_string() });
                }
                at += 1;
            }
        }
        line += text[start..at].iter().filter(|c| **c == '\n').count();
    }
    words
}

fn block_comment(text: &[char], mut at: usize) -> usize {
    let mut depth = 0_usize;
    while at < text.len() {
        match (text[at], text.get(at + 1)) {
            ('/', Some('*')) => {
                depth += 1;
                at += 2;
            }
            ('*', Some('/')) => {
                depth -= 1;
                at += 2;
                if depth == 0 {
                    break;
                }
            }
            _ => at += 1,
        }
    }
    at
}

/// The place after the string whose text begins at `at`.
fn string(text: &[char], mut at: usize) -> usize {
    while at < text.len() && text[at] != '"' {
        at += if text[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(text.len())
}

/// The place after a string with a prefix (`r"…"`, `br#"…"#`, `b"…"`), if one begins at `at`.
fn raw_string(text: &[char], mut at: usize) -> Option<usize> {
    let mut raw = false;
    while matches!(text.get(at), Some('b' | 'c' | 'r')) {
        raw |= text[at] == 'r';
        at += 1;
    }
    let hashes = text[at..].iter().take_while(|c| **c == '#').count();
    if text.get(at + hashes) != Some(&'"') {
        return None;
    }
    at += hashes + 1;
    if !raw {
        return (hashes == 0).then(|| string(text, at));
    }
    while at < text.len() {
        if text[at] == '"' && text[at + 1..].iter().take(hashes).filter(|c| **c == '#').count() == hashes {
            return Some(at + 1 + hashes);
        }
        at += 1;
    }
    Some(at)
}

fn character_or_lifetime(text: &[char], at: usize) -> usize {
    match (text.get(at + 1), text.get(at + 2)) {
        (Some('\\'), _) => {
            let mut end = at + 3;
            while end < text.len() && text[end] != '\'' {
                end += 1;
            }
            (end + 1).min(text.len())
        }
        (Some(_), Some('\'')) => at + 3,
        _ => at + 1,
    }
}

#[test]
fn paths_are_flattened_and_placed() {
    let named = |text: &str, tests| -> Vec<String> {
        paths(text, tests).iter().map(|p| format!("{}:{}", p.line, p.segments.join("::"))).collect()
    };
    let text = r##"
        use std::{fs, net::{TcpStream, UdpSocket as U}, io::*};
        // use crate::comment; /* use crate::comment */
        /* a /* nested */ use crate::block; */
        const S: &str = "crate::string \" crate::string"; const R: &str = r#"crate::raw " "#; const C: char = '"';
        fn f<'a>(x: &'a crate::time::Timestamp) -> u8 { ring::digest::digest(b"crate::bytes"); b'\'' }
        #[cfg(test)]
        mod tests { use crate::bus::Bus; fn g() { {} } }
        use crate::after;
    "##;
    let outside = [
        "2:std::fs",
        "2:std::net::TcpStream",
        "2:std::net::UdpSocket",
        "2:std::io::*",
        "6:crate::time::Timestamp",
        "6:ring::digest::digest",
        "9:crate::after",
    ];
    assert_eq!(named(text, false), outside);
    assert!(named(text, true).contains(&"8:crate::bus::Bus".to_owned()));
    assert_eq!(
        test_modules("#[cfg(test)]\npub(crate) mod testing;\n#[cfg(test)] mod tests { }"),
        ["testing"]
    );
}
