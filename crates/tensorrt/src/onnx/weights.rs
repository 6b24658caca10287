//! Stored matrices as the initialisers of linear layers.
//!
//! `MatMul` reads its right operand as `[in, out]`, checkpoints hold `[out, in]`; so matrices are
//! turned here, one at a time, and the axis of the scales is 1.

use std::num::NonZero;

use half::f16;
use hymt_llm::error::LoadError;
use hymt_llm::quant::int8::quantize_row;
use hymt_llm::weights::StoredMatrix;

use super::builder::{GraphBuilder, Value};
use super::export::{ExportError, FloatType};
use super::proto::DataType;

/// Axis of the output channels in `[in, out]`.
pub(super) const OUTPUT_AXIS: i64 = 1;

/// Rows of a float table that are converted at a time.
const TABLE_ROWS: usize = 1024;
/// Threads that quantise one matrix; it is memory that limits them.
const THREADS_MAX: usize = 8;
/// Side of the squares in which a matrix is turned: 64 x 64 elements of both stay in the cache.
const TILE: usize = 64;

/// A matrix in INT8, `[out, in]`, with a positive scale for each output.
pub(super) struct Int8Matrix {
    pub(super) values: Vec<i8>,
    pub(super) scales: Vec<f32>,
}

/// The matrix in INT8: as it is stored, or quantised row by row as the engines do at load.
pub(super) fn int8(stored: &StoredMatrix) -> Result<Int8Matrix, ExportError> {
    let [rows, cols] = stored.shape();
    let mut matrix = match stored.int8() {
        Some((tensor, scales)) => {
            let values = tensor.bytes().iter().map(|byte| *byte as i8).collect();
            Int8Matrix { values, scales: scales.to_vec() }
        }
        None => quantised(stored)?,
    };
    stored.forget_rows(0..rows);
    let per_row = matrix.values.chunks_exact_mut(cols).zip(&mut matrix.scales);
    for (row, (values, scale)) in per_row.enumerate() {
        if *scale == 0.0 {
            // Parsers want a positive scale; what it multiplies is zero with either.
            values.fill(0);
            *scale = 1.0;
        }
        if !(scale.is_finite() && *scale > 0.0) {
            return Err(stored.not_finite(row, *scale).into());
        }
    }
    Ok(matrix)
}

fn quantised(stored: &StoredMatrix) -> Result<Int8Matrix, LoadError> {
    let [rows, cols] = stored.shape();
    let mut values = vec![0; rows * cols];
    let mut scales = vec![0.0; rows];
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get).min(THREADS_MAX);
    let rows_each = rows.div_ceil(threads);
    std::thread::scope(|scope| {
        let parts = values.chunks_mut(rows_each * cols).zip(scales.chunks_mut(rows_each));
        for (part, (values, scales)) in parts.enumerate() {
            scope.spawn(move || {
                let mut x = vec![0.0; cols];
                for (row, (values, scale)) in values.chunks_exact_mut(cols).zip(scales).enumerate()
                {
                    stored.row(part * rows_each + row, &mut x);
                    *scale = quantize_row(&x, values);
                }
            });
        }
    });
    match scales.iter().position(|scale| !scale.is_finite()) {
        Some(row) => Err(stored.not_finite(row, scales[row])),
        None => Ok(Int8Matrix { values, scales }),
    }
}

/// All elements in f32, `[out, in]`.
pub(super) fn floats(stored: &StoredMatrix) -> Result<Vec<f32>, ExportError> {
    let [rows, cols] = stored.shape();
    let mut values = vec![0.0; rows * cols];
    for (row, x) in values.chunks_exact_mut(cols).enumerate() {
        stored.row(row, x);
        if let Some(bad) = x.iter().find(|value| !value.is_finite()) {
            return Err(stored.not_finite(row, *bad).into());
        }
    }
    stored.forget_rows(0..rows);
    Ok(values)
}

/// Writes a table as it lies, `[rows, cols]`, in floats: the embedding, and a head.
pub(super) fn float_table(
    graph: &mut GraphBuilder,
    name: &str,
    stored: &StoredMatrix,
    float: FloatType,
) -> Result<Value, ExportError> {
    let [rows, cols] = stored.shape();
    graph.streamed(name, &[rows, cols], float.data_type(), |append| {
        let mut x = vec![0.0; cols];
        let mut bytes = Vec::with_capacity(TABLE_ROWS * cols * float.data_type().width());
        for row in 0..rows {
            stored.row(row, &mut x);
            float.encode(&x, &mut bytes).map_err(|bad| cannot_hold(stored, row, bad))?;
            if (row + 1) % TABLE_ROWS == 0 || row + 1 == rows {
                append(&bytes)?;
                bytes.clear();
                stored.forget_rows(row / TABLE_ROWS * TABLE_ROWS..row + 1);
            }
        }
        Ok(())
    })
}

/// Writes a matrix in floats, turned to `[in, out]`: a layer that is not quantised.
pub(super) fn float_matrix(
    graph: &mut GraphBuilder,
    name: String,
    stored: &StoredMatrix,
    float: FloatType,
) -> Result<Value, ExportError> {
    let [rows, cols] = stored.shape();
    let values = transposed(&floats(stored)?, rows, cols);
    let mut bytes = Vec::with_capacity(values.len() * float.data_type().width());
    float.encode(&values, &mut bytes).map_err(|bad| {
        let at = values.iter().position(|value| *value == bad).unwrap_or_default();
        cannot_hold(stored, at % rows, bad)
    })?;
    graph.constant(name, &[cols, rows], float.data_type(), bytes)
}

fn cannot_hold(stored: &StoredMatrix, row: usize, value: f32) -> ExportError {
    if !value.is_finite() {
        return stored.not_finite(row, value).into();
    }
    ExportError::BeyondF16 { tensor: stored.tensor().name().to_owned(), value }
}

impl FloatType {
    pub(super) fn data_type(self) -> DataType {
        match self {
            Self::F32 => DataType::Float,
            Self::F16 => DataType::Float16,
        }
    }

    /// Appends `values`; the first one that this type has no finite number for is the error.
    fn encode(self, values: &[f32], bytes: &mut Vec<u8>) -> Result<(), f32> {
        for value in values {
            match self {
                Self::F32 if value.is_finite() => bytes.extend(value.to_le_bytes()),
                Self::F16 if f16::from_f32(*value).is_finite() => {
                    bytes.extend(f16::from_f32(*value).to_le_bytes());
                }
                _ => return Err(*value),
            }
        }
        Ok(())
    }
}

/// `[rows, cols]` to `[cols, rows]`.
pub(super) fn transposed<T: Copy + Default>(values: &[T], rows: usize, cols: usize) -> Vec<T> {
    let mut out = vec![T::default(); values.len()];
    for first_row in (0..rows).step_by(TILE) {
        for first_col in (0..cols).step_by(TILE) {
            for row in first_row..(first_row + TILE).min(rows) {
                for col in first_col..(first_col + TILE).min(cols) {
                    out[col * rows + row] = values[row * cols + col];
                }
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_matrix_is_turned_whatever_its_shape() {
        for (rows, cols) in [(1, 1), (3, 5), (64, 64), (65, 130), (200, 7)] {
            let values: Vec<i32> = (0..rows * cols).map(|i| i as i32).collect();
            let turned = transposed(&values, rows, cols);
            for row in 0..rows {
                for col in 0..cols {
                    assert_eq!(turned[col * rows + row], values[row * cols + col]);
                }
            }
        }
    }

    #[test]
    fn half_floats_refuse_what_they_cannot_hold() {
        let mut bytes = Vec::new();
        assert_eq!(FloatType::F16.encode(&[1.0, 70_000.0], &mut bytes), Err(70_000.0));
        assert_eq!(bytes, 1.0_f32.to_f16_bytes());
        assert_eq!(FloatType::F32.encode(&[70_000.0], &mut bytes), Ok(()));
        assert!(FloatType::F32.encode(&[f32::NAN], &mut bytes).is_err());
    }

    trait ToF16 {
        fn to_f16_bytes(self) -> Vec<u8>;
    }

    impl ToF16 for f32 {
        fn to_f16_bytes(self) -> Vec<u8> {
            f16::from_f32(self).to_le_bytes().to_vec()
        }
    }
}
