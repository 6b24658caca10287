//! The attributes of a tag, with the places of their values.

use std::ops::Range;

/// Attributes that a reader sees or hears.
const TEXTS: &[&str] = &["alt", "title", "placeholder", "aria-label"];

pub(super) struct Attribute {
    /// In lower case.
    pub(super) name: String,
    pub(super) value: Range<usize>,
    pub(super) quote: Option<u8>,
}

impl Attribute {
    pub(super) fn is_text(&self) -> bool {
        TEXTS.contains(&self.name.as_str())
    }

    /// True when its element asks not to be translated.
    pub(super) fn keeps_element(&self, source: &str) -> bool {
        let value = &source[self.value.clone()];
        match self.name.as_str() {
            "translate" => value.trim().eq_ignore_ascii_case("no"),
            "class" => value.split_ascii_whitespace().any(|class| class == "notranslate"),
            _ => false,
        }
    }
}

/// Attributes of a tag that are looked at; more would be compared with each other for ever.
const ATTRIBUTES_MAX: usize = 256;

/// Reads the attributes of a start tag, as the WHATWG's tokenizer does: all that is not one of the few
/// signs belongs to a name or a value.
pub(super) fn read(source: &str, tag: Range<usize>) -> Vec<Attribute> {
    let bytes = &source.as_bytes()[tag.clone()];
    let mut scan = Scan { bytes, at: 1 };
    scan.skip(|byte| !byte.is_ascii_whitespace() && byte != b'/' && byte != b'>');
    let mut attributes: Vec<Attribute> = Vec::new();
    loop {
        scan.skip(|byte| byte.is_ascii_whitespace() || byte == b'/');
        if scan.peek().is_none_or(|byte| byte == b'>') || attributes.len() == ATTRIBUTES_MAX {
            return attributes;
        }
        let start = scan.at;
        // A name may begin with `=`.
        scan.at += 1;
        scan.skip(|byte| !byte.is_ascii_whitespace() && !matches!(byte, b'/' | b'>' | b'='));
        let name = String::from_utf8_lossy(&bytes[start..scan.at]).to_ascii_lowercase();
        scan.skip(|byte| byte.is_ascii_whitespace());
        let (mut value, mut quote) = (scan.at..scan.at, None);
        if scan.peek() == Some(b'=') {
            scan.at += 1;
            scan.skip(|byte| byte.is_ascii_whitespace());
            (value, quote) = scan.value();
        }
        // Of two with one name the first counts.
        if attributes.iter().all(|attribute| attribute.name != name) {
            let value = tag.start + value.start..tag.start + value.end;
            attributes.push(Attribute { name, value, quote });
        }
    }
}

struct Scan<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Scan<'_> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn skip(&mut self, is_it: impl Fn(u8) -> bool) {
        while self.peek().is_some_and(&is_it) {
            self.at += 1;
        }
    }

    fn value(&mut self) -> (Range<usize>, Option<u8>) {
        let quote = self.peek().filter(|byte| matches!(byte, b'"' | b'\''));
        let start = self.at + usize::from(quote.is_some());
        self.at = start;
        match quote {
            Some(quote) => self.skip(|byte| byte != quote),
            None => self.skip(|byte| !byte.is_ascii_whitespace() && byte != b'>'),
        }
        let value = start..self.at;
        self.at += usize::from(quote.is_some() && self.at < self.bytes.len());
        (value, quote)
    }
}
