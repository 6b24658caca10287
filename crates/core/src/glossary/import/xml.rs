//! XML events with lines and bounds. Declarations of a DTD are passed over and none of its entities
//! is expanded, so a small file cannot grow.

use std::borrow::Cow;

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

use super::super::{TERM_BYTES_MAX, shorten};
use super::Problem;

/// Deepest nesting of elements; files of terminology tools have about ten.
pub(super) const XML_DEPTH_MAX: usize = 64;
/// Most bytes kept of one phrase; what is longer is refused by its length anyway.
const TEXT_BYTES_MAX: usize = 2 * TERM_BYTES_MAX;

pub(super) enum Item<'a> {
    Open(Element<'a>),
    /// Local name of the element that ends.
    Close(String),
    Text(Cow<'a, str>),
    End,
}

/// A start tag.
pub(super) struct Element<'a> {
    tag: BytesStart<'a>,
}

impl Element<'_> {
    /// Without the namespace's prefix: `min:termNote` is `termNote`.
    pub(super) fn name(&self) -> String {
        local(self.tag.name().as_ref()).to_owned()
    }

    /// The first of the attributes that is there, with the prefix as written.
    pub(super) fn attribute(&self, names: &[&str]) -> Option<String> {
        names.iter().find_map(|name| {
            let attribute = self.tag.try_get_attribute(name).ok().flatten()?;
            let value = quick_xml::escape::unescape(&attribute.value).ok()?;
            Some(value.trim().to_owned())
        })
    }

    /// The language: `xml:lang`, or `lang` as older files have it.
    pub(super) fn language_tag(&self) -> Option<String> {
        self.attribute(&["xml:lang", "lang"])
    }
}

fn local(name: &str) -> &str {
    name.rsplit_once(':').map_or(name, |(_, local)| local)
}

/// Reads a document item by item.
pub(super) struct Xml<'a> {
    reader: Reader<&'a [u8]>,
    content: &'a str,
    /// Line of the item that was read last, from 1.
    pub(super) line: u64,
    counted: usize,
    /// Elements that are open.
    pub(super) depth: usize,
}

impl<'a> Xml<'a> {
    pub(super) fn new(content: &'a str) -> Self {
        let mut reader = Reader::from_str(content);
        let config = reader.config_mut();
        config.expand_empty_elements = true;
        config.trim_markup_names_in_closing_tags = true;
        Self { reader, content, line: 1, counted: 0, depth: 0 }
    }

    /// The next item.
    ///
    /// # Errors
    /// Where the document is not well-formed, is nested too deep, or uses an entity of a DTD.
    pub(super) fn next(&mut self) -> Result<Item<'a>, Problem> {
        loop {
            let start = position(self.reader.buffer_position());
            let event = self.reader.read_event().map_err(|error| {
                self.count_lines_to(position(self.reader.error_position()));
                self.problem(format!("it is not well-formed XML: {error}"))
            })?;
            self.count_lines_to(start);
            match event {
                Event::Start(tag) => {
                    self.depth += 1;
                    if self.depth > XML_DEPTH_MAX {
                        let what = format!("elements are nested deeper than {XML_DEPTH_MAX}");
                        return Err(self.problem(what));
                    }
                    return Ok(Item::Open(Element { tag }));
                }
                Event::End(tag) => {
                    self.depth = self.depth.saturating_sub(1);
                    return Ok(Item::Close(local(tag.name().as_ref()).to_owned()));
                }
                Event::Text(text) => return Ok(Item::Text(text.xml10_content())),
                Event::CData(text) => return Ok(Item::Text(text.xml10_content())),
                Event::GeneralRef(reference) => {
                    let name: &str = &reference;
                    return self.resolve(name).map(Item::Text);
                }
                Event::Eof if self.depth > 0 => {
                    return Err(self.problem("the file ends inside an element".to_owned()));
                }
                Event::Eof => return Ok(Item::End),
                Event::Empty(_)
                | Event::Comment(_)
                | Event::Decl(_)
                | Event::PI(_)
                | Event::DocType(_) => {}
            }
        }
    }

    fn resolve(&self, name: &str) -> Result<Cow<'a, str>, Problem> {
        if let Some(text) = quick_xml::escape::resolve_xml_entity(name) {
            return Ok(Cow::Borrowed(text));
        }
        let reference = quick_xml::events::BytesRef::new(name);
        match reference.resolve_char_ref() {
            Ok(Some(c)) => Ok(Cow::Owned(c.to_string())),
            _ => Err(self.problem(format!(
                "the entity '&{};' is not known; entities of a DTD are not read",
                shorten(name)
            ))),
        }
    }

    pub(super) fn problem(&self, what: String) -> Problem {
        Problem { line: self.line, what }
    }

    fn count_lines_to(&mut self, end: usize) {
        let end = end.clamp(self.counted, self.content.len());
        let passed = &self.content.as_bytes()[self.counted..end];
        self.line += passed.iter().filter(|byte| **byte == b'\n').count() as u64;
        self.counted = end;
    }
}

fn position(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

/// Local name of the first element, if there is one.
pub(super) fn root_name(content: &str) -> Option<String> {
    let mut xml = Xml::new(content);
    loop {
        match xml.next() {
            Ok(Item::Open(element)) => return Some(element.name()),
            Ok(Item::End) | Err(_) => return None,
            Ok(_) => {}
        }
    }
}

/// The text of one element and of the elements in it.
pub(super) struct Text {
    /// Depth of the element.
    depth: usize,
    text: String,
    /// Depth of an element in it that is passed over.
    hidden: Option<usize>,
}

impl Text {
    pub(super) fn of(depth: usize) -> Self {
        Self { depth, text: String::new(), hidden: None }
    }

    pub(super) fn push(&mut self, text: &str) {
        if self.hidden.is_none() && self.text.len() <= TEXT_BYTES_MAX {
            self.text.push_str(text);
        }
    }

    /// Passes over what stands in the element at `depth`.
    pub(super) fn hide(&mut self, depth: usize) {
        self.hidden.get_or_insert(depth);
    }

    /// True when the element at `depth`, which ends, is the one whose text this is.
    pub(super) fn ends_at(&mut self, depth: usize) -> bool {
        if self.hidden == Some(depth) {
            self.hidden = None;
        }
        self.depth == depth
    }

    /// With runs of white space as one space, since line breaks in XML are only layout.
    pub(super) fn collapsed(&self) -> String {
        self.text.split_whitespace().collect::<Vec<_>>().join(" ")
    }
}
