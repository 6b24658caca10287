//! HTML: what block elements hold is a unit, inline elements stay inside of it.
//!
//! `html5gum` tokenizes, by the rules of the WHATWG and with the place of each tag. Text is what stands
//! between tags, so that nothing depends on how a tokenizer splits it.

mod attribute;
mod element;
mod entity;

pub(super) use element::is_kept;
pub(super) use entity::{escape, escape_attribute};

use std::ops::Range;

use html5gum::emitters::naive_next_state;
use html5gum::{DefaultEmitter, State, Token as HtmlToken, Tokenizer};

use super::DocumentError;
use super::inline::{self, Kind, Token};
use super::unit::{Found, LanguageMark, Shape, bom_len};
use attribute::Attribute;
use element::{is_inline, is_void};

/// A tag, or something else between angle brackets.
struct Markup {
    range: Range<usize>,
    what: What,
}

enum What {
    Start { name: String, is_closed: bool },
    End { name: String },
    Other,
}

pub(super) fn find(found: &mut Found<'_>) -> Result<(), DocumentError> {
    let source = found.source;
    let mut walk = Walk { found, tokens: Vec::new(), skipped: None };
    let mut at = bom_len(source);
    if let Some(end) = source[at..].find("?>").filter(|_| source[at..].starts_with("<?xml")) {
        walk.mark_charset(at..at + end, "encoding=");
    }
    for markup in markup(source) {
        // A tokenizer that counts differently must not make this panic or repeat a part.
        if markup.range.start < at || source.get(markup.range.clone()).is_none() {
            continue;
        }
        walk.text(at..markup.range.start);
        at = markup.range.end;
        walk.markup(markup)?;
    }
    walk.text(at..at + unclosed_tag(&source[at..]));
    walk.flush()
}

/// Where a tag begins that the document ends in; browsers drop it, and it is no text.
fn unclosed_tag(rest: &str) -> usize {
    let is_tag = |at: &usize| {
        let inner = rest[at + 1..].strip_prefix('/').unwrap_or(&rest[at + 1..]);
        inner.starts_with(|c: char| c.is_ascii_alphabetic())
    };
    rest.match_indices('<').map(|(at, _)| at).find(is_tag).unwrap_or(rest.len())
}

/// Characters at the beginning of a document that say whether it is XHTML.
const XML_HEAD_CHARS: usize = 2048;

/// True for XHTML, where any element may be closed in its start tag. Elsewhere `<script/>` and its like
/// are open, whatever their slash says.
fn is_xml(source: &str) -> bool {
    let end = source.char_indices().nth(XML_HEAD_CHARS).map_or(source.len(), |(at, _)| at);
    let head = &source[..end];
    head[bom_len(head)..].starts_with("<?xml") || head.contains("http://www.w3.org/1999/xhtml")
}

fn markup(source: &str) -> impl Iterator<Item = Markup> + '_ {
    let is_xml = is_xml(source);
    let mut emitter = DefaultEmitter::<usize>::new_with_span();
    emitter.naively_switch_states(true);
    let name = |name: &[u8]| String::from_utf8_lossy(name).to_ascii_lowercase();
    let mut tokenizer = Tokenizer::new_with_emitter(source, emitter);
    let tokens = std::iter::from_fn(move || {
        let token = tokenizer.next()?;
        if is_xml && matches!(&token, Ok(HtmlToken::StartTag(tag)) if tag.self_closing) {
            // The tokenizer would take all that follows for a title or script.
            tokenizer.set_state(State::Data);
        }
        Some(token)
    });
    tokens.filter_map(Result::ok).filter_map(move |token| {
        let (span, what) = match token {
            HtmlToken::StartTag(tag) => {
                let name = name(&tag.name);
                let may_close = is_xml || naive_next_state(name.as_bytes()).is_none();
                let is_closed = (tag.self_closing && may_close) || is_void(&name);
                (tag.span, What::Start { name, is_closed })
            }
            HtmlToken::EndTag(tag) => (tag.span, What::End { name: name(&tag.name) }),
            HtmlToken::Comment(comment) => (comment.span, What::Other),
            HtmlToken::Doctype(doctype) => (doctype.span, What::Other),
            HtmlToken::String(_) | HtmlToken::Error(_) => return None,
        };
        Some(Markup { range: span.start..span.end, what })
    })
}

struct Walk<'f, 'a> {
    found: &'f mut Found<'a>,
    /// Of the unit that is being read.
    tokens: Vec<Token>,
    skipped: Option<Skipped>,
}

/// An element of which nothing is translated.
struct Skipped {
    name: String,
    start: usize,
    /// Elements of the same name that are open.
    depth: usize,
    is_word: bool,
}

impl Walk<'_, '_> {
    fn text(&mut self, range: Range<usize>) {
        if self.skipped.is_none() {
            entity::tokens(self.found.source, range, &mut self.tokens);
        }
    }

    fn markup(&mut self, markup: Markup) -> Result<(), DocumentError> {
        let Markup { range, what } = markup;
        if self.skipped.is_some() {
            self.skip(range, &what);
            return Ok(());
        }
        match what {
            What::Start { name, is_closed } => self.start(name, is_closed, range),
            What::End { name } if is_inline(&name) => {
                self.tokens.push(Token { kind: Kind::Close(name, None), range });
                Ok(())
            }
            What::End { .. } => self.flush(),
            What::Other => {
                self.tokens.push(Token::single(false, range));
                Ok(())
            }
        }
    }

    fn start(
        &mut self,
        name: String,
        is_closed: bool,
        range: Range<usize>,
    ) -> Result<(), DocumentError> {
        let source = self.found.source;
        let attributes = attribute::read(source, range.clone());
        let is_inline = is_inline(&name);
        if !is_inline {
            self.flush()?;
        }
        let is_kept = is_kept(&name) || attributes.iter().any(|a| a.keeps_element(source));
        if is_kept && !is_closed {
            let is_word = is_inline && !element::is_unseen(&name);
            self.skipped = Some(Skipped { name, start: range.start, depth: 1, is_word });
            return Ok(());
        }
        match name.as_str() {
            "html" => self.mark_languages(&attributes),
            "meta" => self.mark_charsets(&attributes),
            _ => {}
        }
        if !is_kept && !matches!(name.as_str(), "link" | "meta" | "base" | "param") {
            self.push_attributes(&attributes)?;
        }
        if is_inline {
            let is_single = is_closed && is_void(&name);
            let kind = if is_single { Kind::Single { is_word: false } } else { Kind::Open(name) };
            self.tokens.push(Token { kind, range });
        }
        Ok(())
    }

    /// Goes on with an element that is skipped.
    fn skip(&mut self, range: Range<usize>, what: &What) {
        let Some(skipped) = &mut self.skipped else { return };
        match what {
            What::Start { name, is_closed: false } if *name == skipped.name => skipped.depth += 1,
            What::End { name } if *name == skipped.name => skipped.depth -= 1,
            _ => {}
        }
        if skipped.depth == 0 {
            let token = Token::single(skipped.is_word, skipped.start..range.end);
            if is_inline(&skipped.name) {
                self.tokens.push(token);
            }
            self.skipped = None;
        }
    }

    /// Ends a unit.
    fn flush(&mut self) -> Result<(), DocumentError> {
        match inline::unit(&std::mem::take(&mut self.tokens)) {
            Some(unit) => self.found.push(unit, Shape::Html).map(drop),
            None => Ok(()),
        }
    }

    fn push_attributes(&mut self, attributes: &[Attribute]) -> Result<(), DocumentError> {
        let source = self.found.source;
        for attribute in attributes.iter().filter(|attribute| attribute.is_text()) {
            let mut tokens = Vec::new();
            entity::tokens(source, attribute.value.clone(), &mut tokens);
            if let Some(unit) = inline::unit(&tokens) {
                self.found.push(unit, Shape::HtmlAttribute { quote: attribute.quote })?;
            }
        }
        Ok(())
    }

    /// `<meta charset=x>`, `<meta content="text/html; charset=x">`
    fn mark_charsets(&mut self, attributes: &[Attribute]) {
        let is_header = attributes.iter().any(|attribute| attribute.name == "http-equiv");
        for attribute in attributes {
            match attribute.name.as_str() {
                "charset" => self.mark_charset(attribute.value.clone(), ""),
                "content" if is_header => self.mark_charset(attribute.value.clone(), "charset="),
                _ => {}
            }
        }
    }

    /// What stands behind `key`, unless it is UTF-8, in which this is read and written: a page in plain
    /// ASCII may say anything.
    fn mark_charset(&mut self, range: Range<usize>, key: &str) {
        let text = self.found.source[range.clone()].to_ascii_lowercase();
        let Some(at) = text.find(key) else { return };
        let behind = &text[at + key.len()..];
        let lead = behind.len() - behind.trim_start_matches(['"', '\'', ' ']).len();
        let name = &behind[lead..];
        let is_part = |c: char| c.is_ascii_alphanumeric() || "-_:.".contains(c);
        let len = name.find(|c| !is_part(c)).unwrap_or(name.len());
        if len > 0 && !matches!(&name[..len], "utf-8" | "utf8") {
            let start = range.start + at + key.len() + lead;
            self.found.mark_language(LanguageMark::Charset(start..start + len));
        }
    }

    fn mark_languages(&mut self, attributes: &[Attribute]) {
        for attribute in attributes.iter().filter(|attribute| !attribute.value.is_empty()) {
            match attribute.name.as_str() {
                "lang" | "xml:lang" => {
                    self.found.mark_language(LanguageMark::Code(attribute.value.clone()));
                }
                "dir" => {
                    self.found.mark_language(LanguageMark::Direction(attribute.value.clone()));
                }
                _ => {}
            }
        }
    }
}
