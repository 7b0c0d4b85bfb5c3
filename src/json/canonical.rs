//! Canonical JSON: what Python's `json.dumps(value, sort_keys=True, separators=(",", ":"))` writes.
//!
//! Keys in the order of their code points, no white space, every character outside printable ASCII escaped. A value has
//! one canonical text, so that two implementations sign the same bytes.

use super::{Dialect, JsonError, Number, Value, parse};
use crate::limits::Limits;
use std::fmt::Write;

/// Writes a value in its canonical form.
pub fn encode(value: &Value) -> String {
    let mut out = String::new();
    write_value(&mut out, value);
    out
}

/// Reads a text and writes it in its canonical form.
///
/// # Errors
/// A [`JsonError`] if it is not JSON.
pub fn from_text(text: &str, dialect: Dialect, limits: &Limits) -> Result<String, JsonError> {
    parse(text, dialect, limits).map(|value| encode(&value))
}

/// Appends a string in its canonical form, quotes included.
pub fn write_string(out: &mut String, text: &str) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            ' '..='~' => out.push(character),
            _ => {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    // Writing to a String cannot fail.
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
        }
    }
    out.push('"');
}

fn write_value(out: &mut String, value: &Value) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(true) => out.push_str("true"),
        Value::Bool(false) => out.push_str("false"),
        Value::Number(Number::Integer(digits)) => out.push_str(digits),
        Value::Number(Number::Float(float)) => write_float(out, *float),
        Value::String(text) => write_string(out, text),
        Value::Array(elements) => {
            out.push('[');
            for (n, element) in elements.iter().enumerate() {
                if n > 0 {
                    out.push(',');
                }
                write_value(out, element);
            }
            out.push(']');
        }
        Value::Object(members) => {
            out.push('{');
            for (n, (key, member)) in members.iter().enumerate() {
                if n > 0 {
                    out.push(',');
                }
                write_string(out, key);
                out.push(':');
                write_value(out, member);
            }
            out.push('}');
        }
    }
}

/// As Python's `repr`: the shortest digits that read back the same, in scientific form below 1e-4 and from 1e16 on.
fn write_float(out: &mut String, float: f64) {
    if !float.is_finite() {
        out.push_str(if float.is_nan() {
            "NaN"
        } else if float > 0.0 {
            "Infinity"
        } else {
            "-Infinity"
        });
        return;
    }
    let scientific = format!("{float:e}");
    let Some((mantissa, exponent)) = scientific.split_once('e') else { return out.push_str(&scientific) };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..16).contains(&exponent) {
        let plain = format!("{float}");
        out.push_str(&plain);
        if !plain.contains('.') {
            out.push_str(".0");
        }
    } else {
        let sign = if exponent < 0 { '-' } else { '+' };
        let _ = write!(out, "{mantissa}e{sign}{:02}", exponent.unsigned_abs());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMITS: &Limits = &Limits::STANDARD;

    #[test]
    fn pythons_texts() {
        for (text, expected) in [
            (r#"{ "b" : 1 , "a" : [ ] }"#, r#"{"a":[],"b":1}"#),
            ("[-0, -0.0, 0.5, 5e-1, 1E2, 1e400, -1e400]", "[0,-0.0,0.5,0.5,100.0,Infinity,-Infinity]"),
            ("[1e15, 1e16, 1.5e-4, 1.5e-5, 5e-324]", "[1000000000000000.0,1e+16,0.00015,1.5e-05,5e-324]"),
            (
                "[9007199254740993, 340282366920938463463374607431768211456]",
                "[9007199254740993,340282366920938463463374607431768211456]",
            ),
            ("\"\u{e9}\u{1f600}\u{7f}\\u0000\\/\"", "\"\\u00e9\\ud83d\\ude00\\u007f\\u0000/\""),
            ("{\"\u{ffff}\":1,\"\u{1f600}\":2,\"z\":3}", "{\"z\":3,\"\\uffff\":1,\"\\ud83d\\ude00\":2}"),
        ] {
            assert_eq!(from_text(text, Dialect::Python, LIMITS).unwrap(), expected);
        }
    }

    fn some_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            any::<i128>().prop_map(|n| Value::Number(Number::Integer(n.to_string()))),
            any::<f64>()
                .prop_filter("finite", |f| f.is_finite())
                .prop_map(|f| Value::Number(Number::Float(f))),
            any::<String>().prop_map(Value::String),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::Array),
                proptest::collection::btree_map(any::<String>(), inner, 0..6).prop_map(Value::Object),
            ]
        })
    }

    proptest! {
        #[test]
        fn the_canonical_form_is_a_fixed_point(value in some_value()) {
            let text = encode(&value);
            prop_assert!(text.is_ascii());
            let back = parse(&text, Dialect::Strict, LIMITS).unwrap();
            prop_assert_eq!(&back, &value);
            prop_assert_eq!(encode(&back), text);
        }
    }
}
