//! Markdown: `pulldown-cmark` says where text stands; block structure stays as it is written.
//!
//! Emphasis, strikethrough, links and inline tags become numbered pairs; code, addresses, images and
//! footnote marks stay whole. A paragraph over several lines comes out as one line, which reads the same; a
//! hard line break ends a unit, so that it stays one.

mod escape;

pub(super) use escape::encode;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Range;

use pulldown_cmark::{Event, LinkType, Options, Parser, Tag, TagEnd};

use super::inline::{self, Inline, Kind, Token};
use super::unit::{Found, Shape, bom_len};
use super::{DEPTH_MAX, DocumentError, html};

/// What is read beyond CommonMark: what GitHub shows, and front matter.
pub(super) fn options() -> Options {
    Options::ENABLE_TABLES
        | Options::ENABLE_FOOTNOTES
        | Options::ENABLE_STRIKETHROUGH
        | Options::ENABLE_TASKLISTS
        | Options::ENABLE_HEADING_ATTRIBUTES
        | Options::ENABLE_YAML_STYLE_METADATA_BLOCKS
        | Options::ENABLE_PLUSES_DELIMITED_METADATA_BLOCKS
        | Options::ENABLE_GFM
        | Options::ENABLE_DEFINITION_LIST
}

pub(super) fn find(found: &mut Found<'_>) -> Result<(), DocumentError> {
    let bom = bom_len(found.source);
    let source = &found.source[bom..];
    let mut walk = Walk::new(found, bom);
    for (event, range) in Parser::new_ext(source, options()).into_offset_iter() {
        walk.event(&event, range.start + bom..range.end + bom)?;
    }
    walk.flush()
}

/// What a document is made of beside its words, as hashes: blocks, emphasis, code, and where links go. A
/// paragraph may lose its soft breaks, and a link by its text has its label written out.
pub(super) fn structure(source: &str) -> Vec<u64> {
    let hash = |text: &dyn std::fmt::Debug| {
        let mut hasher = DefaultHasher::new();
        format!("{text:?}").hash(&mut hasher);
        hasher.finish()
    };
    let events = Parser::new_ext(&source[bom_len(source)..], options());
    let events = events.filter_map(|event| match event {
        Event::Text(_) | Event::SoftBreak => None,
        Event::Start(Tag::Link { dest_url, title, .. }) => Some(hash(&(dest_url, title))),
        event => Some(hash(&event)),
    });
    events.collect()
}

struct Walk<'f, 'a> {
    found: &'f mut Found<'a>,
    bom: usize,
    /// Of the unit that is being read.
    tokens: Vec<Token>,
    /// Blocks around this place of which nothing is translated.
    n_verbatim: usize,
    depth: usize,
    in_cell: bool,
    /// Inside of an image or link address, which is taken whole: how deep, where it began.
    whole: Option<Whole>,
    /// An HTML element of which nothing is translated.
    kept: Option<(String, usize)>,
}

struct Whole {
    depth: usize,
    /// What stands between the brackets of an image.
    alt: Option<Range<usize>>,
    is_image: bool,
}

impl<'f, 'a> Walk<'f, 'a> {
    fn new(found: &'f mut Found<'a>, bom: usize) -> Self {
        Self {
            found,
            bom,
            tokens: Vec::new(),
            n_verbatim: 0,
            depth: 0,
            in_cell: false,
            whole: None,
            kept: None,
        }
    }

    fn event(&mut self, event: &Event<'_>, range: Range<usize>) -> Result<(), DocumentError> {
        match event {
            Event::Start(_) => self.deeper(range.start)?,
            Event::End(_) => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
        if self.whole.is_some() {
            return self.inside_whole(event, range);
        }
        match event {
            Event::Start(tag) => return self.start(tag, range),
            Event::End(tag) => return self.end(*tag, range),
            _ if self.n_verbatim > 0 => {}
            Event::Text(text) => self.text(text, range),
            Event::Code(_) | Event::InlineMath(_) | Event::DisplayMath(_) => {
                self.tokens.push(Token::single(true, range));
            }
            Event::InlineHtml(html) => self.inline_html(html, range),
            Event::FootnoteReference(_) => self.tokens.push(Token::single(false, range)),
            Event::SoftBreak => self.tokens.push(Token::text("\n", range)),
            Event::HardBreak => return self.flush(),
            Event::TaskListMarker(_) | Event::Rule | Event::Html(_) => return self.flush(),
        }
        Ok(())
    }

    fn deeper(&mut self, at: usize) -> Result<(), DocumentError> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(DocumentError::TooDeep { line: self.found.line(at), limit: DEPTH_MAX });
        }
        Ok(())
    }

    fn start(&mut self, tag: &Tag<'_>, range: Range<usize>) -> Result<(), DocumentError> {
        match tag {
            Tag::Emphasis => self.open("emphasis", range, 1),
            Tag::Strong => self.open("strong", range, 2),
            Tag::Strikethrough => {
                let n = 1 + usize::from(self.found.source[range.clone()].starts_with("~~"));
                self.open("strikethrough", range, n);
            }
            Tag::Link { link_type: LinkType::Autolink | LinkType::Email, .. } => {
                self.begin_whole(range, false);
            }
            Tag::Link { .. } => self.open("link", range, 1),
            Tag::Image { .. } => self.begin_whole(range, true),
            Tag::CodeBlock(_) | Tag::HtmlBlock | Tag::MetadataBlock(_) => {
                self.flush()?;
                self.n_verbatim += 1;
            }
            other => {
                self.in_cell |= matches!(other, Tag::TableCell);
                self.flush()?;
            }
        }
        Ok(())
    }

    fn end(&mut self, tag: TagEnd, range: Range<usize>) -> Result<(), DocumentError> {
        match tag {
            TagEnd::Emphasis => self.close("emphasis", range.end - 1..range.end, None),
            TagEnd::Strong => self.close("strong", range.end - 2..range.end, None),
            TagEnd::Strikethrough => {
                let n = 1 + usize::from(self.found.source[range.clone()].starts_with("~~"));
                self.close("strikethrough", range.end - n..range.end, None);
            }
            TagEnd::Link => self.close_link(range),
            TagEnd::CodeBlock | TagEnd::HtmlBlock | TagEnd::MetadataBlock(_) => {
                self.n_verbatim -= 1;
            }
            TagEnd::TableCell => {
                self.flush()?;
                self.in_cell = false;
            }
            _ => self.flush()?,
        }
        Ok(())
    }

    fn open(&mut self, name: &str, range: Range<usize>, n: usize) {
        self.tokens
            .push(Token { kind: Kind::Open(name.to_owned()), range: range.start..range.start + n });
    }

    fn close(&mut self, name: &str, range: Range<usize>, extra: Option<Range<usize>>) {
        self.tokens.push(Token { kind: Kind::Close(name.to_owned(), extra), range });
    }

    /// `](target)`, `][label]`; of `[label]` and `[label][]` the label is the text, and is written again
    /// behind its translation.
    fn close_link(&mut self, range: Range<usize>) {
        let is_open = |token: &Token| matches!(&token.kind, Kind::Open(name) if name == "link");
        // The link that encloses all others that are open began where this range does.
        let open = self.tokens.iter().rposition(|t| is_open(t) && t.range.start == range.start);
        let behind = open.and_then(|at| self.tokens[at + 1..].last());
        let text_end = behind.map_or(range.start + 1, |token| token.range.end);
        let source = self.found.source;
        let closing = source[text_end..range.end].find(']').map_or(text_end, |at| text_end + at);
        let label = match &source[closing..range.end] {
            "]" => Some(range.clone()),
            "][]" => Some(range.start..range.end - 2),
            _ => None,
        };
        self.close("link", closing..range.end, label);
    }

    fn text(&mut self, text: &str, range: Range<usize>) {
        if self.kept.is_some() {
            return;
        }
        let mut range = range;
        let source = self.found.source;
        // The backslash before an escaped character belongs to no event.
        let before = &source.as_bytes()[self.bom..range.start];
        let is_start = self.tokens.last().is_none_or(|token| token.range.end < range.start);
        if is_start && before.ends_with(b"\\") {
            let escaped = source[range.clone()].chars().next().map_or(0, char::len_utf8);
            let first = range.start - 1..range.start + escaped;
            self.push_text(&source[range.start..first.end], first.clone());
            range.start = first.end;
            let text = text.get(escaped..).unwrap_or_default();
            self.push_text(text, range);
            return;
        }
        self.push_text(text, range);
    }

    fn push_text(&mut self, text: &str, range: Range<usize>) {
        if text.is_empty() {
            return;
        }
        if text == "<" || text != &self.found.source[range.clone()] {
            let is_mark = text.contains('<');
            let token = if is_mark { Token::single(true, range) } else { Token::text(text, range) };
            self.tokens.push(token);
            return;
        }
        let mut at = range.start;
        for part in text.split_inclusive('<') {
            let words = part.trim_end_matches('<');
            let middle = at + words.len();
            if !words.is_empty() {
                self.tokens.push(Token::text(words, at..middle));
            }
            at += part.len();
            if middle < at {
                self.tokens.push(Token::single(true, middle..at));
            }
        }
    }

    /// One tag.
    fn inline_html(&mut self, tag: &str, range: Range<usize>) {
        let inner = tag.trim_start_matches(['<', '/']);
        let end =
            inner.find(|c: char| !c.is_ascii_alphanumeric() && c != '-').unwrap_or(inner.len());
        let name = inner[..end].to_ascii_lowercase();
        let is_close = tag.starts_with("</");
        if let Some((kept, start)) = &self.kept {
            if is_close && *kept == name {
                let whole = *start..range.end;
                while self.tokens.pop_if(|token| token.range.start >= whole.start).is_some() {}
                self.tokens.push(Token::single(true, whole));
                self.kept = None;
            }
            return;
        }
        let is_single = name.is_empty() || tag.ends_with("/>");
        if is_close {
            self.close(&format!("<{name}"), range, None);
        } else if is_single {
            self.tokens.push(Token::single(false, range));
        } else if html::is_kept(&name) {
            self.kept = Some((name, range.start));
        } else {
            self.tokens.push(Token { kind: Kind::Open(format!("<{name}")), range });
        }
    }

    fn begin_whole(&mut self, range: Range<usize>, is_image: bool) {
        self.tokens.push(Token::single(!is_image, range));
        self.whole = Some(Whole { depth: self.depth, alt: None, is_image });
    }

    fn inside_whole(
        &mut self,
        event: &Event<'_>,
        range: Range<usize>,
    ) -> Result<(), DocumentError> {
        let Some(whole) = &mut self.whole else { return Ok(()) };
        if matches!(event, Event::End(_)) && self.depth < whole.depth {
            let alt = whole.alt.take().filter(|_| whole.is_image);
            self.whole = None;
            return match alt {
                // A label that is its own text would name nothing any more.
                Some(alt)
                    if self.found.source[alt.end..].starts_with("](")
                        || self.found.source[alt.end..].starts_with("][") =>
                {
                    self.push_alt(alt)
                }
                _ => Ok(()),
            };
        }
        match event {
            Event::Text(_) => {
                let start = whole.alt.as_ref().map_or(range.start, |alt| alt.start);
                whole.alt = Some(start..range.end);
            }
            // Only plain words are translated there.
            _ => whole.is_image = false,
        }
        Ok(())
    }

    fn push_alt(&mut self, range: Range<usize>) -> Result<(), DocumentError> {
        let source = self.found.source;
        let is_plain = !source[range.clone()].contains(['\\', '&', '<', '\n']);
        let is_collapsed = source[range.end..].starts_with("][]");
        if !is_plain || is_collapsed || self.kept.is_some() {
            return Ok(());
        }
        self.found.push_range(range, Shape::MarkdownAlt).map(drop)
    }

    /// Ends a unit.
    fn flush(&mut self) -> Result<(), DocumentError> {
        let mut tokens = std::mem::take(&mut self.tokens);
        // An element that is open at the end of its block is none.
        if let Some((_, start)) = self.kept.take() {
            tokens.retain(|token| token.range.end <= start);
        }
        let Some(unit) = inline::unit(&tokens) else { return Ok(()) };
        if is_line_too_much(self.found.source, &unit) {
            return Ok(());
        }
        self.found.push(unit, Shape::Markdown { is_cell: self.in_cell }).map(drop)
    }
}

/// True for what is no text although it is no code either: lines of a template language, such as
/// `{% include x %}`, `{{< figure src="x" >}}` and `:::note`.
fn is_line_too_much(source: &str, unit: &Inline) -> bool {
    let raw = &source[unit.range.clone()];
    let is_call = raw.starts_with("{{") && raw.ends_with("}}") && raw.matches("{{").count() == 1;
    (raw.starts_with("{%") && raw.ends_with("%}")) || is_call || raw.starts_with(":::")
}
