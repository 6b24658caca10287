//! JSON: the strings of a document, by a scan that changes nothing else.
//!
//! Parsers into values lose the order and spelling of what they read; this one only finds where strings are
//! (RFC 8259), and refuses what is no JSON.

use std::ops::Range;

use super::inline::Inline;
use super::unit::{Found, Shape, bom_len, has_words};
use super::{DEPTH_MAX, DocumentError};

/// A place, or several, in JSON documents: RFC 6901, with `*` for any member or element.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonPointer {
    steps: Vec<Option<String>>,
}

impl JsonPointer {
    /// Reads `/menu/*/title`.
    ///
    /// # Errors
    /// When it does not begin with `/`, or is deeper than documents may be.
    pub fn parse(given: &str) -> Result<Self, DocumentError> {
        let wrong = || DocumentError::Pointer { given: given.to_owned() };
        let steps = given
            .strip_prefix('/')
            .ok_or_else(wrong)?
            .split('/')
            .map(|step| (step != "*").then(|| step.replace("~1", "/").replace("~0", "~")));
        let steps: Vec<_> = steps.collect();
        if steps.len() > DEPTH_MAX { Err(wrong()) } else { Ok(Self { steps }) }
    }

    /// True for the places it names and all inside of them.
    fn covers(&self, path: &[String]) -> bool {
        let is_step = |(step, name): (&Option<String>, &String)| {
            step.as_ref().is_none_or(|step| step == name)
        };
        path.len() >= self.steps.len() && self.steps.iter().zip(path).all(is_step)
    }
}

pub(super) fn find(found: &mut Found<'_>, include: &[JsonPointer]) -> Result<(), DocumentError> {
    let source = found.source;
    let is_ascii = source.is_ascii() && source.contains("\\u");
    let mut scan = Scan { found, include, at: bom_len(source), path: Vec::new(), is_ascii };
    scan.space();
    scan.value()?;
    scan.space();
    if scan.at < source.len() {
        return Err(scan.unexpected("the end of the document"));
    }
    Ok(())
}

struct Scan<'s, 'f, 'a> {
    found: &'f mut Found<'a>,
    include: &'s [JsonPointer],
    at: usize,
    /// Names and indices of what encloses this place.
    path: Vec<String>,
    is_ascii: bool,
}

impl Scan<'_, '_, '_> {
    fn rest(&self) -> &str {
        &self.found.source[self.at..]
    }

    fn peek(&self) -> Option<u8> {
        self.found.source.as_bytes().get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn unexpected(&self, expected: &str) -> DocumentError {
        let found = self.rest().chars().next();
        let found =
            found.map_or_else(|| "the end of the document".to_owned(), |c| format!("'{c}'"));
        self.found.syntax(self.at, format!("found {found}, expected {expected}"))
    }

    fn value(&mut self) -> Result<(), DocumentError> {
        match self.peek() {
            Some(b'{') => self.members(b'}'),
            Some(b'[') => self.members(b']'),
            Some(b'"') => {
                let (range, text) = self.string()?;
                self.push(range, text)
            }
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => match ["true", "false", "null"].into_iter().find(|w| self.rest().starts_with(w)) {
                Some(word) => {
                    self.at += word.len();
                    Ok(())
                }
                None => Err(self.unexpected("a value")),
            },
        }
    }

    /// An object or an array; recursion is bounded by [`DEPTH_MAX`].
    fn members(&mut self, close: u8) -> Result<(), DocumentError> {
        if self.path.len() >= DEPTH_MAX {
            let line = self.found.line(self.at);
            return Err(DocumentError::TooDeep { line, limit: DEPTH_MAX });
        }
        self.at += 1;
        self.space();
        let mut index = 0_usize;
        while self.peek() != Some(close) || index > 0 {
            let name = if close == b'}' { self.name()? } else { index.to_string() };
            self.path.push(name);
            self.value()?;
            self.path.pop();
            self.space();
            index += 1;
            match self.peek() {
                Some(byte) if byte == close => break,
                Some(b',') => self.at += 1,
                _ => return Err(self.unexpected(&format!("',' or '{}'", char::from(close)))),
            }
            self.space();
        }
        self.at += 1;
        Ok(())
    }

    fn name(&mut self) -> Result<String, DocumentError> {
        if self.peek() != Some(b'"') {
            return Err(self.unexpected("a name in double quotes"));
        }
        let (range, name) = self.string()?;
        let name = name.unwrap_or_else(|| self.found.source[range].to_owned());
        self.space();
        if self.peek() != Some(b':') {
            return Err(self.unexpected("':'"));
        }
        self.at += 1;
        self.space();
        Ok(name)
    }

    /// What is between the quotes; the text, unless it has half of a surrogate pair, which is in no text.
    fn string(&mut self) -> Result<(Range<usize>, Option<String>), DocumentError> {
        let start = self.at + 1;
        self.at = start;
        loop {
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => self.escape()?,
                None | Some(0..0x20) => return Err(self.unexpected("the closing '\"'")),
                Some(_) => self.at += 1,
            }
        }
        let range = start..self.at;
        self.at += 1;
        let text = unescape(&self.found.source[range.clone()]);
        Ok((range, text))
    }

    fn escape(&mut self) -> Result<(), DocumentError> {
        let bytes = &self.found.source.as_bytes()[self.at + 1..];
        let n = match bytes.first() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => 2,
            Some(b'u') if bytes.len() > 4 && bytes[1..5].iter().all(u8::is_ascii_hexdigit) => 6,
            _ => {
                self.at += 1;
                return Err(self.unexpected("an escape such as \\n, \\\" or \\u00e9"));
            }
        };
        self.at += n;
        Ok(())
    }

    fn number(&mut self) -> Result<(), DocumentError> {
        let is_part = |c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.' | 'e' | 'E');
        let len = self.rest().find(|c| !is_part(c)).unwrap_or(self.rest().len());
        if !is_number(&self.rest()[..len]) {
            return Err(self.unexpected("a number such as -1.5e3"));
        }
        self.at += len;
        Ok(())
    }

    fn push(&mut self, range: Range<usize>, text: Option<String>) -> Result<(), DocumentError> {
        let is_included =
            self.include.is_empty() || self.include.iter().any(|p| p.covers(&self.path));
        // What begins with `@` says something about other members, in ARB and in JSON-LD.
        let is_about = self.path.iter().any(|name| name.starts_with('@'));
        let Some(text) = text.filter(|text| is_included && !is_about && is_text(text)) else {
            return Ok(());
        };
        // White space at the ends is kept as it is spelled.
        let raw = &self.found.source[range.clone()];
        let start = range.start + (raw.len() - trim_spelled(raw, true).len());
        let end = range.end - (raw.len() - trim_spelled(raw, false).len());
        let inline = Inline { text: text.trim().to_owned(), tags: Vec::new(), range: start..end };
        self.found.push(inline, Shape::Json { is_ascii: self.is_ascii }).map(drop)
    }
}

/// Words, and no message of ICU's, which branches (`{n, plural, one {…} other {…}}`) and is not one text.
fn is_text(text: &str) -> bool {
    let is_branching = |kind: &str| {
        text.split(kind).skip(1).any(|rest| rest.trim_start().starts_with(','))
            && text.contains('{')
    };
    has_words(text) && !["plural", "selectordinal", "select"].into_iter().any(is_branching)
}

/// Without white space at one end, spelled as itself or as an escape.
fn trim_spelled(mut raw: &str, is_start: bool) -> &str {
    loop {
        let plain = if is_start { raw.trim_start() } else { raw.trim_end() };
        let escapes = ["\\n", "\\r", "\\t", "\\f", "\\u00a0", "\\u00A0", "\\u0020"];
        let is_escape = |rest: &str| {
            // Not the letter behind an escaped backslash.
            is_start || (rest.len() - rest.trim_end_matches('\\').len()).is_multiple_of(2)
        };
        let cut = escapes.into_iter().find_map(|escape| match is_start {
            true => plain.strip_prefix(escape),
            false => plain.strip_suffix(escape).filter(|rest| is_escape(rest)),
        });
        match cut {
            Some(shorter) => raw = shorter,
            None => return plain,
        }
    }
}

fn is_number(text: &str) -> bool {
    let text = text.strip_prefix('-').unwrap_or(text);
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, "0"));
    let is_plain = whole == "0" || !whole.starts_with('0');
    digits(whole) && is_plain && digits(fraction) && digits(exponent)
}

/// `None` for half of a surrogate pair.
fn unescape(raw: &str) -> Option<String> {
    let mut text = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(at) = rest.find('\\') {
        text.push_str(&rest[..at]);
        let escape = rest[at + 1..].chars().next()?;
        rest = &rest[at + 2..];
        text.push(match escape {
            'b' => '\u{8}',
            'f' => '\u{C}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => {
                let mut unit = || {
                    let unit = u16::from_str_radix(rest.get(..4)?, 16).ok()?;
                    rest = &rest[4..];
                    Some(unit)
                };
                let first = unit()?;
                let is_first = (0xD800..0xDC00).contains(&first);
                let second = match rest.strip_prefix("\\u").filter(|_| is_first) {
                    Some(behind) => {
                        rest = behind;
                        Some(u16::from_str_radix(rest.get(..4)?, 16).ok()?)
                    }
                    None => None,
                };
                rest = if second.is_some() { &rest[4..] } else { rest };
                char::decode_utf16([first].into_iter().chain(second)).next()?.ok()?
            }
            other => other,
        });
    }
    text.push_str(rest);
    Some(text)
}

/// Text between quotes; with `\u` for all that is not ASCII in a document that is written so.
pub(super) fn escape(text: &str, is_ascii: bool) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' => escaped.push_str("\\\""),
            '\\' => escaped.push_str("\\\\"),
            '\n' => escaped.push_str("\\n"),
            '\r' => escaped.push_str("\\r"),
            '\t' => escaped.push_str("\\t"),
            c if c.is_control() || (is_ascii && !c.is_ascii()) => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    escaped.push_str(&format!("\\u{unit:04x}"));
                }
            }
            c => escaped.push(c),
        }
    }
    escaped
}
