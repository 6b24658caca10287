//! Shapes and tensors as plain values.

use std::fmt;

use crate::error::TensorRtError;
use crate::sys;

/// Sizes of a tensor; -1 is dynamic where the network or the plan is asked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Shape(pub Vec<i64>);

impl Shape {
    /// Product of the sizes; `None` with a dynamic one, or beyond `usize`.
    pub fn elements(&self) -> Option<usize> {
        let size = |size: &i64| usize::try_from(*size).ok();
        self.0.iter().try_fold(1_usize, |product, it| product.checked_mul(size(it)?))
    }
}

impl<const N: usize> From<[i64; N]> for Shape {
    fn from(sizes: [i64; N]) -> Self {
        Self(sizes.to_vec())
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl From<sys::Dims> for Shape {
    fn from(dims: sys::Dims) -> Self {
        // A rank of -1 means that TensorRT does not know: no sizes.
        let rank = usize::try_from(dims.rank).unwrap_or(0).min(sys::RANK_MAX);
        Self(dims.sizes[..rank].to_vec())
    }
}

impl TryFrom<&Shape> for sys::Dims {
    type Error = TensorRtError;

    fn try_from(Shape(shape): &Shape) -> Result<Self, TensorRtError> {
        let mut sizes = [0; sys::RANK_MAX];
        let Some(place) = sizes.get_mut(..shape.len()) else {
            let (rank, max) = (shape.len(), sys::RANK_MAX);
            let detail = format!("a shape of {rank} dimensions; at most {max}");
            return Err(TensorRtError::Argument { detail });
        };
        place.copy_from_slice(shape);
        Ok(Self { rank: i32::try_from(shape.len()).unwrap_or(0), sizes })
    }
}

/// Which shapes an input may have, and the one to be fast at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShapeRange {
    /// Smallest in every dimension.
    pub min: Shape,
    /// What the kernels are chosen for.
    pub opt: Shape,
    /// Largest in every dimension.
    pub max: Shape,
}

impl ShapeRange {
    /// One shape and no other.
    pub fn fixed(shape: Shape) -> Self {
        Self { min: shape.clone(), opt: shape.clone(), max: shape }
    }
}

/// Whether a tensor is given or computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Given.
    Input,
    /// Computed.
    Output,
}

/// What a tensor consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the names are the documentation")]
pub enum DataType {
    F32,
    F16,
    Bf16,
    F8,
    F4,
    I64,
    I32,
    I8,
    I4,
    U8,
    Bool,
    /// One that this program does not know.
    Other,
}

impl DataType {
    const ALL: [(i32, Self); 11] = [
        (0, Self::F32),
        (1, Self::F16),
        (2, Self::I8),
        (3, Self::I32),
        (4, Self::Bool),
        (5, Self::U8),
        (6, Self::F8),
        (7, Self::Bf16),
        (8, Self::I64),
        (9, Self::I4),
        (10, Self::F4),
    ];

    fn from_raw(raw: i32) -> Self {
        let found = Self::ALL.into_iter().find(|(number, _)| *number == raw);
        found.map_or(Self::Other, |(_, dtype)| dtype)
    }

    /// Bits of one element; `None` where unknown.
    pub fn bits(self) -> Option<usize> {
        match self {
            Self::I64 => Some(64),
            Self::F32 | Self::I32 => Some(32),
            Self::F16 | Self::Bf16 => Some(16),
            Self::F8 | Self::I8 | Self::U8 | Self::Bool => Some(8),
            Self::I4 | Self::F4 => Some(4),
            Self::Other => None,
        }
    }
}

/// One input or output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    /// Its name in the graph.
    pub name: String,
    /// Given or computed.
    pub mode: Mode,
    /// What it consists of.
    pub dtype: DataType,
    /// Whether its address is host memory (shape tensors).
    pub on_host: bool,
    /// Sizes, -1 where dynamic.
    pub shape: Shape,
}

impl TensorInfo {
    /// From what the shim wrote, its name copied already.
    pub(super) fn new(name: String, raw: &sys::Tensor) -> Self {
        Self {
            name,
            mode: if raw.mode == 0 { Mode::Input } else { Mode::Output },
            dtype: DataType::from_raw(raw.dtype),
            on_host: raw.on_host != 0,
            shape: raw.shape.into(),
        }
    }
}
