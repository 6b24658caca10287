//! Types of scalars, as rcl's `get_value` decides them.

use crate::ros::param_value::ParamValue;

const TRUE: &[&str] = &["Y", "y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"];
const FALSE: &[&str] =
    &["N", "n", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"];

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

/// YAML's `.inf` and `.nan`, and decimal numbers.
fn double(text: &str) -> Option<f64> {
    let (sign, rest) = match text.as_bytes().first()? {
        b'-' => (-1.0, &text[1..]),
        b'+' => (1.0, &text[1..]),
        _ => (1.0, text),
    };
    match rest {
        ".inf" | ".Inf" | ".INF" | "inf" | "infinity" => return Some(sign * f64::INFINITY),
        ".nan" | ".NaN" | ".NAN" | "nan" if sign > 0.0 => return Some(f64::NAN),
        _ => {}
    }
    let is_number = rest.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    // An integer too large for 64 bits reads as a float, as in rcl.
    text.parse().ok().filter(|value: &f64| is_number && value.is_finite())
}
