//! Values of ROS parameters.

use std::fmt;

/// The type of a parameter; the numbers are those of `rcl_interfaces/msg/ParameterType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ParamType {
    /// No value.
    NotSet = 0,
    /// A truth value.
    Bool = 1,
    /// A 64-bit integer.
    Integer = 2,
    /// A 64-bit float.
    Double = 3,
    /// A text.
    String = 4,
    /// Bytes.
    ByteArray = 5,
    /// Truth values.
    BoolArray = 6,
    /// Integers.
    IntegerArray = 7,
    /// Floats.
    DoubleArray = 8,
    /// Texts.
    StringArray = 9,
}

impl fmt::Display for ParamType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::NotSet => "not set",
            Self::Bool => "bool",
            Self::Integer => "integer",
            Self::Double => "double",
            Self::String => "string",
            Self::ByteArray => "byte_array",
            Self::BoolArray => "bool_array",
            Self::IntegerArray => "integer_array",
            Self::DoubleArray => "double_array",
            Self::StringArray => "string_array",
        })
    }
}

/// A value of a parameter.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum ParamValue {
    /// No value.
    #[default]
    NotSet,
    /// A truth value.
    Bool(bool),
    /// A 64-bit integer.
    Integer(i64),
    /// A 64-bit float.
    Double(f64),
    /// A text.
    String(String),
    /// Bytes.
    ByteArray(Vec<u8>),
    /// Truth values.
    BoolArray(Vec<bool>),
    /// Integers.
    IntegerArray(Vec<i64>),
    /// Floats.
    DoubleArray(Vec<f64>),
    /// Texts.
    StringArray(Vec<String>),
}

impl ParamValue {
    /// Its type.
    pub fn kind(&self) -> ParamType {
        match self {
            Self::NotSet => ParamType::NotSet,
            Self::Bool(_) => ParamType::Bool,
            Self::Integer(_) => ParamType::Integer,
            Self::Double(_) => ParamType::Double,
            Self::String(_) => ParamType::String,
            Self::ByteArray(_) => ParamType::ByteArray,
            Self::BoolArray(_) => ParamType::BoolArray,
            Self::IntegerArray(_) => ParamType::IntegerArray,
            Self::DoubleArray(_) => ParamType::DoubleArray,
            Self::StringArray(_) => ParamType::StringArray,
        }
    }

    /// An empty array as one of `kind`; anything else as it is.
    ///
    /// `[]` names no type: `ros2 param set` and `load` send it as a bool array.
    #[must_use]
    pub fn with_empty_array_as(self, kind: ParamType) -> Self {
        let is_empty_array = match &self {
            Self::ByteArray(values) => values.is_empty(),
            Self::BoolArray(values) => values.is_empty(),
            Self::IntegerArray(values) => values.is_empty(),
            Self::DoubleArray(values) => values.is_empty(),
            Self::StringArray(values) => values.is_empty(),
            _ => false,
        };
        match kind {
            _ if !is_empty_array => self,
            ParamType::ByteArray => Self::ByteArray(Vec::new()),
            ParamType::BoolArray => Self::BoolArray(Vec::new()),
            ParamType::IntegerArray => Self::IntegerArray(Vec::new()),
            ParamType::DoubleArray => Self::DoubleArray(Vec::new()),
            ParamType::StringArray => Self::StringArray(Vec::new()),
            _ => self,
        }
    }
}

/// As `ros2 param get` writes it, near enough to be pasted into YAML.
impl fmt::Display for ParamValue {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotSet => formatter.write_str("(not set)"),
            Self::Bool(value) => write!(formatter, "{value}"),
            Self::Integer(value) => write!(formatter, "{value}"),
            Self::Double(value) => write!(formatter, "{value:?}"),
            Self::String(value) => write!(formatter, "{value:?}"),
            Self::ByteArray(values) => write!(formatter, "{values:?}"),
            Self::BoolArray(values) => write!(formatter, "{values:?}"),
            Self::IntegerArray(values) => write!(formatter, "{values:?}"),
            Self::DoubleArray(values) => write!(formatter, "{values:?}"),
            Self::StringArray(values) => write!(formatter, "{values:?}"),
        }
    }
}
