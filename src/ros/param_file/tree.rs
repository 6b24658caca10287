//! YAML as a tree with line numbers, within bounds.

use saphyr_parser::{Event, Parser, ScalarStyle};

use super::{DEPTH_MAX, ParamFileError, VALUES_MAX, scalar};
use crate::ros::param_value::{ParamType, ParamValue};

/// Something that may not be there.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) line: usize,
    pub(super) detail: String,
}

impl Refusal {
    pub(super) fn in_file(self, origin: &str) -> ParamFileError {
        let Self { line, detail } = self;
        ParamFileError::Content { origin: origin.to_owned(), line, detail }
    }
}

/// A YAML node.
#[derive(Debug)]
pub(super) struct Tree {
    line: usize,
    node: Node,
}

#[derive(Debug)]
enum Node {
    Scalar { text: String, quoted: bool },
    Sequence(Vec<Tree>),
    Mapping(Vec<Entry>),
}

/// One key of a mapping.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) line: usize,
    pub(super) value: Tree,
}

impl Tree {
    /// Parses one document; `None` when there is none.
    pub(super) fn parse(text: &str) -> Result<Option<Self>, Refusal> {
        // Some editors put a byte order mark before the text.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        Builder { parser: Parser::new_from_str(text), values: 0 }.document()
    }

    pub(super) fn refuse(&self, detail: impl Into<String>) -> Refusal {
        Refusal { line: self.line, detail: detail.into() }
    }

    /// The keys of a mapping.
    pub(super) fn entries(&self) -> Option<&[Entry]> {
        match &self.node {
            Node::Mapping(entries) => Some(entries),
            _ => None,
        }
    }

    /// The value of a scalar, or of a sequence of scalars of one type.
    pub(super) fn value(&self) -> Result<ParamValue, Refusal> {
        match &self.node {
            Node::Scalar { text, quoted } => self.scalar(text, *quoted),
            Node::Sequence(items) => self.array(items),
            Node::Mapping(_) => Err(self.refuse("a parameter value cannot be a map")),
        }
    }

    fn scalar(&self, text: &str, quoted: bool) -> Result<ParamValue, Refusal> {
        if scalar::is_null(text, quoted) {
            return Err(self.refuse("there is no value; write '' for an empty string"));
        }
        Ok(scalar::typed(text, quoted))
    }

    fn array(&self, items: &[Self]) -> Result<ParamValue, Refusal> {
        let mut values = Vec::with_capacity(items.len());
        for item in items {
            match &item.node {
                Node::Scalar { text, quoted } => values.push(item.scalar(text, *quoted)?),
                _ => return Err(item.refuse("an array holds only scalars")),
            }
        }
        // Without an element there is no type; string arrays are the only ones we have.
        let kind = values.first().map_or(ParamType::String, ParamValue::kind);
        if let Some(other) = values.iter().find(|value| value.kind() != kind) {
            return Err(self.refuse(format!(
                "an array holds one type, found {kind} and {}; quote the strings, write 1.0 for a \
                 double",
                other.kind()
            )));
        }
        macro_rules! collect {
            ($variant:ident, $array:ident) => {
                ParamValue::$array(
                    values
                        .into_iter()
                        .filter_map(|value| match value {
                            ParamValue::$variant(value) => Some(value),
                            _ => None,
                        })
                        .collect(),
                )
            };
        }
        Ok(match kind {
            ParamType::Bool => collect!(Bool, BoolArray),
            ParamType::Integer => collect!(Integer, IntegerArray),
            ParamType::Double => collect!(Double, DoubleArray),
            _ => collect!(String, StringArray),
        })
    }
}

struct Builder<'a> {
    parser: Parser<'a, saphyr_parser::StrInput<'a>>,
    values: usize,
}

impl<'a> Builder<'a> {
    fn document(mut self) -> Result<Option<Tree>, Refusal> {
        let mut tree = None;
        while let Some((event, line)) = self.next()? {
            match event {
                Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd => {}
                Event::StreamEnd => break,
                _ if tree.is_some() => {
                    return Err(Refusal { line, detail: "only one YAML document is read".into() });
                }
                event => tree = Some(self.node(event, line, 1)?),
            }
        }
        // An empty document parses as an empty scalar.
        Ok(tree.filter(
            |tree| !matches!(&tree.node, Node::Scalar { text, quoted: false } if text.is_empty()),
        ))
    }

    fn next(&mut self) -> Result<Option<(Event<'a>, usize)>, Refusal> {
        match self.parser.next() {
            None => Ok(None),
            Some(Ok((event, span))) => Ok(Some((event, span.start.line()))),
            Some(Err(error)) => Err(Refusal {
                line: error.marker().line(),
                detail: format!("not valid YAML: {}", error.info()),
            }),
        }
    }

    fn node(&mut self, event: Event<'a>, line: usize, depth: usize) -> Result<Tree, Refusal> {
        let refuse = |detail: String| Err(Refusal { line, detail });
        if depth > DEPTH_MAX {
            return refuse(format!("nested deeper than {DEPTH_MAX} levels"));
        }
        self.values += 1;
        if self.values > VALUES_MAX {
            return refuse(format!("more than {VALUES_MAX} values"));
        }
        let node = match event {
            Event::Scalar(text, style, _, tag) => {
                let text = text.into_owned();
                let as_string = tag.is_some_and(|tag| {
                    format!("{}{}", tag.handle, tag.suffix) == "tag:yaml.org,2002:str"
                });
                Node::Scalar { text, quoted: as_string || is_quoted(style) }
            }
            Event::SequenceStart(..) => self.sequence(depth)?,
            Event::MappingStart(..) => self.mapping(depth)?,
            Event::Alias(_) => return refuse("aliases are not supported; repeat the value".into()),
            other => return refuse(format!("unexpected {other:?}")),
        };
        Ok(Tree { line, node })
    }

    fn sequence(&mut self, depth: usize) -> Result<Node, Refusal> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                Some((Event::SequenceEnd, _)) | None => return Ok(Node::Sequence(items)),
                Some((event, line)) => items.push(self.node(event, line, depth + 1)?),
            }
        }
    }

    fn mapping(&mut self, depth: usize) -> Result<Node, Refusal> {
        let mut entries: Vec<Entry> = Vec::new();
        loop {
            let (key, line) = match self.next()? {
                Some((Event::MappingEnd, _)) | None => return Ok(Node::Mapping(entries)),
                Some((Event::Scalar(key, ..), line)) if !key.is_empty() => (key.into_owned(), line),
                Some((_, line)) => {
                    return Err(Refusal { line, detail: "a key must be a plain name".into() });
                }
            };
            let Some((event, value_line)) = self.next()? else {
                return Err(Refusal { line, detail: format!("'{key}' has no value") });
            };
            let mut value = self.node(event, value_line, depth + 1)?;
            if matches!(&value.node, Node::Scalar { text, .. } if text.is_empty()) {
                // The parser meets the absence of a value only where the next thing begins.
                value.line = line;
            }
            entries.push(Entry { key, line, value });
        }
    }
}

fn is_quoted(style: ScalarStyle) -> bool {
    matches!(style, ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted)
}
