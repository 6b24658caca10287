//! Metadata values of a GGUF file, borrowed from its bytes.

use super::GgufError;

/// Arrays inside arrays: the specification allows any depth, no tokenizer needs one.
const ARRAY_DEPTH_MAX: u32 = 2;

/// Most text of a value that a message shows.
const SHOWN_CHARS_MAX: usize = 60;

/// The type of a scalar with a fixed size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum ScalarKind {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    F32,
    Bool,
    U64,
    I64,
    F64,
}

const STRING: u32 = 8;
const ARRAY: u32 = 9;

impl ScalarKind {
    fn of(code: u32) -> Option<Self> {
        Some(match code {
            0 => Self::U8,
            1 => Self::I8,
            2 => Self::U16,
            3 => Self::I16,
            4 => Self::U32,
            5 => Self::I32,
            6 => Self::F32,
            7 => Self::Bool,
            10 => Self::U64,
            11 => Self::I64,
            12 => Self::F64,
            _ => return None,
        })
    }

    const fn bytes(self) -> usize {
        match self {
            Self::U8 | Self::I8 | Self::Bool => 1,
            Self::U16 | Self::I16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::U64 | Self::I64 | Self::F64 => 8,
        }
    }

    fn read<'a>(self, bytes: &[u8]) -> Value<'a> {
        let mut wide = [0; 8];
        wide[..bytes.len()].copy_from_slice(bytes);
        let word = u64::from_le_bytes(wide);
        match self {
            Self::U8 | Self::U16 | Self::U32 | Self::U64 => Value::Unsigned(word),
            Self::I8 => Value::Signed(i64::from(word as i8)),
            Self::I16 => Value::Signed(i64::from(word as i16)),
            Self::I32 => Value::Signed(i64::from(word as i32)),
            Self::I64 => Value::Signed(word as i64),
            Self::F32 => Value::Float(f64::from(f32::from_bits(word as u32))),
            Self::F64 => Value::Float(f64::from_bits(word)),
            Self::Bool => Value::Bool(word != 0),
        }
    }
}

/// A metadata value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value<'a> {
    /// An unsigned integer of any width.
    Unsigned(u64),
    /// A signed integer of any width.
    Signed(i64),
    /// A float of either width.
    Float(f64),
    /// True or false.
    Bool(bool),
    /// Text; that it is UTF-8 has not been checked.
    Text(&'a [u8]),
    /// An array.
    Array(Array<'a>),
}

impl<'a> Value<'a> {
    /// As a number that is not negative.
    pub fn as_u64(&self) -> Option<u64> {
        match self {
            Self::Unsigned(value) => Some(*value),
            Self::Signed(value) => u64::try_from(*value).ok(),
            _ => None,
        }
    }

    /// As a real number.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Float(value) => Some(*value),
            Self::Unsigned(value) => Some(*value as f64),
            Self::Signed(value) => Some(*value as f64),
            _ => None,
        }
    }

    /// As text, where it is UTF-8.
    pub fn as_str(&self) -> Option<&'a str> {
        match self {
            Self::Text(bytes) => std::str::from_utf8(bytes).ok(),
            _ => None,
        }
    }

    /// As an array.
    pub fn as_array(&self) -> Option<Array<'a>> {
        match self {
            Self::Array(array) => Some(*array),
            _ => None,
        }
    }

    /// For messages, shortened.
    pub fn describe(&self) -> String {
        let text = match self {
            Self::Unsigned(value) => value.to_string(),
            Self::Signed(value) => value.to_string(),
            Self::Float(value) => value.to_string(),
            Self::Bool(value) => value.to_string(),
            Self::Text(bytes) => format!("{:?}", String::from_utf8_lossy(bytes)),
            Self::Array(array) => format!("an array of {} entries", array.len()),
        };
        text.chars().take(SHOWN_CHARS_MAX).collect()
    }
}

/// An array, read as it is iterated.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Array<'a> {
    code: u32,
    len: usize,
    bytes: &'a [u8],
}

impl<'a> Array<'a> {
    /// Number of entries; each is really there.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The entries of an array of numbers or truth values.
    pub fn scalars(&self) -> Option<impl Iterator<Item = Value<'a>> + use<'a>> {
        let kind = ScalarKind::of(self.code)?;
        Some(self.bytes.chunks_exact(kind.bytes()).map(move |bytes| kind.read(bytes)))
    }

    /// The entries of an array of strings, as bytes.
    pub fn texts(&self) -> Option<impl Iterator<Item = &'a [u8]> + use<'a>> {
        let mut reader = Reader::new(self.bytes);
        let len = if self.code == STRING { Some(self.len) } else { None }?;
        // Parsing has walked over every entry, so none is cut.
        Some((0..len).map_while(move |_| reader.text_bytes().ok()))
    }
}

/// A cursor over the header.
pub(super) struct Reader<'a> {
    data: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(data: &'a [u8]) -> Self {
        Self { data, at: 0 }
    }

    pub(super) fn position(&self) -> usize {
        self.at
    }

    pub(super) fn take(&mut self, n: usize) -> Result<&'a [u8], GgufError> {
        let end = self.at.checked_add(n).filter(|end| *end <= self.data.len());
        let Some(end) = end else { return Err(GgufError::Cut { have: self.data.len() }) };
        let bytes = &self.data[self.at..end];
        self.at = end;
        Ok(bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, GgufError> {
        let bytes = self.take(4)?.first_chunk().expect("four bytes were taken");
        Ok(u32::from_le_bytes(*bytes))
    }

    pub(super) fn u64(&mut self) -> Result<u64, GgufError> {
        let bytes = self.take(8)?.first_chunk().expect("eight bytes were taken");
        Ok(u64::from_le_bytes(*bytes))
    }

    /// A length and as many bytes.
    fn text_bytes(&mut self) -> Result<&'a [u8], GgufError> {
        let len = self.u64()?;
        self.take(usize::try_from(len).unwrap_or(usize::MAX))
    }

    /// A name of at most `max` bytes.
    pub(super) fn text(&mut self, what: &str, max: usize) -> Result<&'a str, GgufError> {
        let refuse = |value, allowed| GgufError::Bound { what: what.to_owned(), value, allowed };
        let len = self.u64()?;
        let Some(len) = usize::try_from(len).ok().filter(|len| *len <= max) else {
            return Err(refuse(format!("{len} bytes long"), format!("at most {max}")));
        };
        let bytes = self.take(len)?;
        std::str::from_utf8(bytes)
            .map_err(|_| refuse("not UTF-8".to_owned(), "UTF-8 text".to_owned()))
    }

    /// The value of `key`: a type and what belongs to it.
    pub(super) fn value(&mut self, key: &str) -> Result<Value<'a>, GgufError> {
        match self.u32()? {
            STRING => Ok(Value::Text(self.text_bytes()?)),
            ARRAY => Ok(Value::Array(self.array(key, ARRAY_DEPTH_MAX)?)),
            code => {
                let kind = ScalarKind::of(code).ok_or_else(|| bad_type(key, code))?;
                Ok(kind.read(self.take(kind.bytes())?))
            }
        }
    }

    fn array(&mut self, key: &str, depth: u32) -> Result<Array<'a>, GgufError> {
        let code = self.u32()?;
        let len = self.u64()?;
        let cut = GgufError::Cut { have: self.data.len() };
        let Ok(len) = usize::try_from(len) else { return Err(cut) };
        let start = self.at;
        if let Some(kind) = ScalarKind::of(code) {
            self.take(len.checked_mul(kind.bytes()).ok_or(cut)?)?;
        } else if code == STRING {
            for _ in 0..len {
                self.text_bytes()?;
            }
        } else if code == ARRAY && depth > 1 {
            for _ in 0..len {
                self.array(key, depth - 1)?;
            }
        } else {
            return Err(bad_type(key, code));
        }
        Ok(Array { code, len, bytes: &self.data[start..self.at] })
    }
}

fn bad_type(key: &str, code: u32) -> GgufError {
    GgufError::Bound {
        what: format!("the value type of key '{key}'"),
        value: code.to_string(),
        allowed: format!("0 to 12, arrays at most {ARRAY_DEPTH_MAX} deep"),
    }
}
