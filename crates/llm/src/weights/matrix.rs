//! A matrix as it is stored, in any of the layouts that are read, row by row in f32.
//!
//! Engines ask for two things: rows in f32 ([`StoredMatrix::row`]), which every layout gives, and
//! INT8 values with a scale for each row ([`StoredMatrix::int8`]), which only one layout holds and
//! which are used where they lie. So one layout more is one [`Storage`] more and nothing else.
//!
//! Products are formed in f32 and in the order of the tool that defines the layout; the result is
//! the tool's to the bit (`tests/formats.rs`). Nothing here allocates more than the scales.

mod find;

use std::ops::Range;

use super::Tensor;
use crate::error::LoadError;
use crate::format::block::BlockType;
use crate::format::float8::E4M3;

/// A matrix in its stored layout, `[rows, cols]` (`[out, in]`).
pub struct StoredMatrix {
    rows: usize,
    cols: usize,
    /// The tensor that holds the values; it names the matrix in messages.
    tensor: Tensor,
    storage: Storage,
    /// `[cols]`: AngelSlim's `smooth_weight`, which its layer multiplies into the input.
    input_factors: Option<Vec<f32>>,
}

/// How the values in `tensor` become weights.
enum Storage {
    /// They are the weights.
    Float,
    /// Blocks with their scales inside.
    Block(BlockType),
    /// `code * scale`.
    Scaled { code: Code, scales: Scales },
    /// `scale * (code - zero)`, codes packed along the input dimension.
    Gptq { bits: usize, scales: Scales, zeros: Vec<u8> },
}

/// What one stored integer or small float stands for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Code {
    Int8,
    Fp8,
    /// Unsigned with an offset of half the range, packed densely into 32-bit words.
    Packed {
        bits: usize,
    },
}

/// Scales of groups of inputs, `[rows, n_groups]`.
struct Scales {
    values: Vec<f32>,
    n_groups: usize,
    /// `[cols]`: the group of each input; contiguous groups of equal size without it.
    group_of: Option<Vec<u32>>,
}

impl StoredMatrix {
    /// Rows (outputs) and columns (inputs).
    pub fn shape(&self) -> [usize; 2] {
        [self.rows, self.cols]
    }

    /// The tensor that holds the values.
    pub fn tensor(&self) -> &Tensor {
        &self.tensor
    }

    /// INT8 values with a scale for each row, where that is how they are stored.
    pub fn int8(&self) -> Option<(&Tensor, &[f32])> {
        match &self.storage {
            Storage::Scaled { code: Code::Int8, scales }
                if scales.n_groups == 1 && self.input_factors.is_none() =>
            {
                Some((&self.tensor, &scales.values))
            }
            _ => None,
        }
    }

    /// The tensor itself, where its elements are bf16, f16 or f32 weights.
    pub fn float(&self) -> Option<&Tensor> {
        let is_plain = matches!(self.storage, Storage::Float) && self.input_factors.is_none();
        is_plain.then_some(&self.tensor)
    }

    /// Writes row `row` into `out`, `[cols]`.
    ///
    /// # Panics
    /// When there is no such row, or `out` is not one row.
    pub fn row(&self, row: usize, out: &mut [f32]) {
        assert!(row < self.rows && out.len() == self.cols, "one row of this matrix");
        let (start, end) = (row * self.cols, (row + 1) * self.cols);
        match &self.storage {
            Storage::Float => self.tensor.widen(start..end, out),
            Storage::Block(block) => {
                block.dequantize(&self.tensor.bytes()[block.bytes(start)..block.bytes(end)], out);
            }
            Storage::Scaled { code, scales } => {
                self.codes(*code, row, out);
                scales.multiply(row, out);
            }
            Storage::Gptq { bits, scales, zeros } => self.gptq_row(row, *bits, scales, zeros, out),
        }
        if let Some(factors) = &self.input_factors {
            for (out, factor) in out.iter_mut().zip(factors) {
                *out *= factor;
            }
        }
    }

    /// Gives the memory of rows `rows` back; they are read from the file again when touched.
    pub fn forget_rows(&self, rows: Range<usize>) {
        if matches!(self.storage, Storage::Gptq { .. }) {
            // Its rows are spread over all pages.
            if rows.end == self.rows {
                self.tensor.forget_bytes(0..self.tensor.bytes().len());
            }
            return;
        }
        let row_bytes = self.tensor.bytes().len() / self.rows;
        self.tensor.forget_bytes(rows.start * row_bytes..rows.end * row_bytes);
    }

    /// The error for a value of row `row` that is not finite.
    pub fn not_finite(&self, row: usize, value: f32) -> LoadError {
        self.tensor.not_finite(row, value)
    }

    /// The stored codes of a row as numbers.
    fn codes(&self, code: Code, row: usize, out: &mut [f32]) {
        let bytes = self.tensor.bytes();
        let row_bytes = &bytes[row * (bytes.len() / self.rows)..][..bytes.len() / self.rows];
        match code {
            Code::Int8 => {
                for (out, byte) in out.iter_mut().zip(row_bytes) {
                    *out = f32::from(*byte as i8);
                }
            }
            Code::Fp8 => {
                for (out, byte) in out.iter_mut().zip(row_bytes) {
                    *out = E4M3[usize::from(*byte)];
                }
            }
            Code::Packed { bits } => {
                let offset = (1_i16 << (bits - 1)) as f32;
                for (i, out) in out.iter_mut().enumerate() {
                    *out = packed_code(row_bytes, i, bits) - offset;
                }
            }
        }
    }

    fn gptq_row(&self, row: usize, bits: usize, scales: &Scales, zeros: &[u8], out: &mut [f32]) {
        let (per_word, mask) = (32 / bits, (1_u32 << bits) - 1);
        let words = self.tensor.bytes().as_chunks::<4>().0;
        let n_groups = scales.n_groups;
        let (scale_row, zero_row) = (&scales.values[row * n_groups..], &zeros[row * n_groups..]);
        for (word, out) in out.chunks_mut(per_word).enumerate() {
            let codes = u32::from_le_bytes(words[word * self.rows + row]);
            for (lane, out) in out.iter_mut().enumerate() {
                let group = scales.group(word * per_word + lane, self.cols);
                let code = (codes >> (bits * lane) & mask) as f32;
                *out = scale_row[group] * (code - f32::from(zero_row[group]));
            }
        }
    }
}

/// Code `i` of a row of little-endian words, of 4 or 8 bits, so that none crosses a byte.
fn packed_code(row: &[u8], i: usize, bits: usize) -> f32 {
    let per_byte = 8 / bits;
    let byte = row[i / per_byte];
    f32::from(byte >> (bits * (i % per_byte)) & (0xff >> (8 - bits)))
}

impl Scales {
    fn group(&self, col: usize, cols: usize) -> usize {
        match &self.group_of {
            Some(group_of) => group_of[col] as usize,
            None => col / cols.div_ceil(self.n_groups),
        }
    }

    fn multiply(&self, row: usize, out: &mut [f32]) {
        let scales = &self.values[row * self.n_groups..][..self.n_groups];
        if let Some(group_of) = &self.group_of {
            for (out, group) in out.iter_mut().zip(group_of) {
                *out *= scales[*group as usize];
            }
            return;
        }
        let group_len = out.len().div_ceil(self.n_groups);
        for (out, scale) in out.chunks_mut(group_len).zip(scales) {
            for out in out {
                *out *= scale;
            }
        }
    }
}
