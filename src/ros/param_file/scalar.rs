//! Types of scalars, as rcl's `get_value` decides them.

use std::num::FpCategory;

use crate::ros::param_value::ParamValue;

const TRUE: &[&str] = &["Y", "y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"];
const FALSE: &[&str] =
    &["N", "n", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"];

/// True for a plain scalar that means no value. rcl takes only an empty one for that and reads the
/// others as the strings `~` and `null`, which nobody who writes them wants.
pub(super) fn is_null(text: &str, quoted: bool) -> bool {
    !quoted && matches!(text, "" | "~" | "null" | "Null" | "NULL")
}

/// The value of a scalar; a quoted one is always a string.
pub(super) fn typed(text: &str, quoted: bool) -> ParamValue {
    if quoted {
        return ParamValue::String(text.to_owned());
    }
    if TRUE.contains(&text) {
        return ParamValue::Bool(true);
    }
    if FALSE.contains(&text) {
        return ParamValue::Bool(false);
    }
    if let Some(value) = integer(text) {
        return ParamValue::Integer(value);
    }
    if let Some(value) = double(text) {
        return ParamValue::Double(value);
    }
    ParamValue::String(text.to_owned())
}

/// What C's `strtoll` with base 0 takes whole: decimal, `0x` hexadecimal, `0` octal.
fn integer(text: &str) -> Option<i64> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let (radix, digits) = match digits.as_bytes() {
        [b'0', b'x' | b'X', _, ..] => (16, &digits[2..]),
        [b'0', _, ..] => (8, &digits[1..]),
        _ => (10, digits),
    };
    // `from_str_radix` would take a second sign.
    if !digits.chars().all(|c| c.is_digit(radix)) {
        return None;
    }
    let magnitude = i128::from_str_radix(digits, radix).ok()?;
    i64::try_from(if negative { -magnitude } else { magnitude }).ok()
}

/// YAML's `.inf` and `.nan`, and what C's `strtod` takes whole and without a range error. Its
/// hexadecimal floats and `nan(...)` stay strings here.
fn double(text: &str) -> Option<f64> {
    match text {
        ".nan" | ".NaN" | ".NAN" => return Some(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => return Some(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => return Some(f64::NEG_INFINITY),
        _ => {}
    }
    // An integer too large for 64 bits reads as a float, as in rcl.
    let value: f64 = text.parse().ok()?;
    let mantissa = text.split(['e', 'E']).next().unwrap_or_default();
    let has_digit = |from: char| mantissa.contains(|c| (from..='9').contains(&c));
    // Written as a word, infinity is meant; as a number it is an overflow.
    let is_exact = match value.classify() {
        FpCategory::Nan | FpCategory::Normal => true,
        FpCategory::Infinite => !has_digit('0'),
        FpCategory::Zero => !has_digit('1'),
        FpCategory::Subnormal => false,
    };
    is_exact.then_some(value)
}
