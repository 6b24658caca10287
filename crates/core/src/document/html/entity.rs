//! Character references: decoded for the model, written again behind it.

use std::ops::Range;

use html5gum::{Token as HtmlToken, Tokenizer};

use crate::document::inline::Token;

/// Longest character reference. Bytes; the longest name has 31 letters.
const REFERENCE_BYTES_MAX: usize = 40;

/// Cuts text into what stands for itself and references. A `<` stays what it is, for it could begin what
/// looks like a mark.
pub(super) fn tokens(source: &str, range: Range<usize>, tokens: &mut Vec<Token>) {
    let (mut start, mut at) = (range.start, range.start);
    while let Some(next) = source[at..range.end].find(['&', '<']) {
        at += next;
        let len =
            if source[at..].starts_with('<') { 1 } else { reference_len(&source[at..range.end]) };
        let decoded = decode(&source[at..at + len]);
        if decoded == source[at..at + len] && decoded != "<" {
            at += len;
            continue;
        }
        if start < at {
            tokens.push(Token::text(&source[start..at], start..at));
        }
        tokens.push(match decoded.contains('<') {
            true => Token::single(true, at..at + len),
            false => Token::text(decoded, at..at + len),
        });
        at += len;
        start = at;
    }
    if start < range.end {
        tokens.push(Token::text(&source[start..range.end], start..range.end));
    }
}

/// Bytes of what could be a reference at the start of `rest`; at least that of its `&`.
fn reference_len(rest: &str) -> usize {
    let is_part =
        |(at, byte): &(usize, u8)| byte.is_ascii_alphanumeric() || (*byte == b'#' && *at == 0);
    let n = rest.bytes().skip(1).take(REFERENCE_BYTES_MAX).enumerate().take_while(is_part).count();
    1 + n + usize::from(rest[1 + n..].starts_with(';'))
}

fn decode(reference: &str) -> String {
    let mut decoded = String::new();
    for token in Tokenizer::new(reference).filter_map(Result::ok) {
        if let HtmlToken::String(text) = token {
            decoded.push_str(&String::from_utf8_lossy(&text));
        }
    }
    decoded
}

/// Text for a place between tags, in HTML, XHTML and WebVTT.
pub(in crate::document) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            c => escaped.push(c),
        }
    }
    escaped
}

/// Text for the value of an attribute in such quotes, in double ones when there are none yet.
pub(in crate::document) fn escape_attribute(text: &str, quote: Option<u8>) -> String {
    let text = escape(text);
    match quote {
        Some(b'\'') => text.replace('\'', "&#39;"),
        _ => text.replace('"', "&quot;"),
    }
}
