//! A matrix as it is stored, in any of the layouts that are read, row by row in f32.
//!
//! Engines ask for two things: rows in f32 ([`StoredMatrix::row`]), which every layout gives, and
//! INT8 values with a scale for each row ([`StoredMatrix::int8`]), which only one layout holds and
//! which are used where they lie. So one layout more is one [`Storage`] more and nothing else.
//!
//! Products are formed in f32 and in the order of the tool that defines the layout; the result is
//! the tool's to the bit (`tests/formats.rs`). Nothing here allocates more than the scales.

use std::ops::Range;

use ::safetensors::Dtype;

use super::{Elements, Tensor, Tensors};
use crate::config::{GptqConfig, ModelConfig, Scheme};
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

impl Tensors {
    /// The matrix `name` in whichever layout it is stored.
    ///
    /// # Errors
    /// [`LoadError`] when it is missing, of another shape, in a layout that is not read, or one
    /// that the configuration does not announce.
    pub fn matrix(
        &self,
        name: &str,
        [rows, cols]: [usize; 2],
        config: &ModelConfig,
    ) -> Result<StoredMatrix, LoadError> {
        let module = name.strip_suffix(".weight").unwrap_or(name);
        let scheme = config.quantization.as_ref().map(|quantization| quantization.scheme);
        let builder = Builder { tensors: self, module, rows, cols };
        let (tensor, storage) = match scheme {
            Some(Scheme::Gptq(gptq)) if self.contains(&format!("{module}.qweight")) => {
                builder.gptq(gptq)?
            }
            Some(Scheme::Packed { bits }) if self.contains(&format!("{module}.weight_packed")) => {
                builder.packed(bits as usize)?
            }
            _ => builder.plain(name, scheme)?,
        };
        let input_factors = builder.input_factors()?;
        Ok(StoredMatrix { rows, cols, tensor, storage, input_factors })
    }
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

/// Finds the tensors that belong to one matrix, and checks that they fit together.
struct Builder<'a> {
    tensors: &'a Tensors,
    /// The name without `.weight`.
    module: &'a str,
    rows: usize,
    cols: usize,
}

impl Builder<'_> {
    fn part(&self, part: &str) -> String {
        format!("{}.{part}", self.module)
    }

    /// One tensor `weight`, with `weight_scale` beside it where it holds codes.
    fn plain(&self, name: &str, scheme: Option<Scheme>) -> Result<(Tensor, Storage), LoadError> {
        let tensor = self.tensors.tensor(name)?;
        let tensor = tensor.with_readable_elements()?.with_shape(&[self.rows, self.cols])?;
        let code = match tensor.dtype() {
            Elements::Block(block) => return Ok((tensor, Storage::Block(block))),
            Elements::Plain(Dtype::I8) => {
                announced(&tensor, scheme == Some(Scheme::Int8), "compressed-tensors INT8")?;
                Code::Int8
            }
            Elements::Plain(Dtype::F8_E4M3) => {
                announced(&tensor, scheme == Some(Scheme::Fp8), "FP8")?;
                Code::Fp8
            }
            _ => return Ok((tensor, Storage::Float)),
        };
        let scales = self.scales(None)?;
        self.refuse_zero_points()?;
        Ok((tensor, Storage::Scaled { code, scales }))
    }

    /// `weight_packed`, `[rows, words]`, of compressed-tensors.
    fn packed(&self, bits: usize) -> Result<(Tensor, Storage), LoadError> {
        let words = (self.cols * bits).div_ceil(32);
        let tensor = self.tensors.tensor(&self.part("weight_packed"))?;
        let tensor = tensor.with_shape(&[self.rows, words])?.with_elements(Dtype::I32, "I32")?;
        let shape = self.part("weight_shape");
        if self.tensors.contains(&shape) {
            let stored = self.tensors.tensor(&shape)?;
            if stored.integers()? != [self.rows as i64, self.cols as i64] {
                return Err(stored.refuse(format!("must be [{}, {}]", self.rows, self.cols)));
            }
        }
        self.refuse_zero_points()?;
        let scales = self.scales(self.group_of("weight_g_idx")?)?;
        Ok((tensor, Storage::Scaled { code: Code::Packed { bits }, scales }))
    }

    /// `weight_scale`: `[]`, `[1]`, `[rows]`, `[rows, 1]`, or `[rows, groups]`.
    fn scales(&self, group_of: Option<Vec<u32>>) -> Result<Scales, LoadError> {
        let (rows, cols) = (self.rows, self.cols);
        let stored = self.tensors.tensor(&self.part("weight_scale"))?;
        let (per_row, n_groups) = match *stored.shape() {
            [] | [1] | [1, 1] => (false, 1),
            [n] if n == rows => (true, 1),
            [n, groups] if n == rows && (1..=cols).contains(&groups) => {
                // Without an index, groups are equal parts; with one, they may be anything.
                if !cols.is_multiple_of(groups) && group_of.is_none() {
                    let allowed = format!("[{rows}, a divisor of {cols}]");
                    return Err(stored.wrong_shape(allowed));
                }
                (true, groups)
            }
            _ => {
                let allowed = format!("[], [1], [{rows}], [{rows}, 1] or [{rows}, groups]");
                return Err(stored.wrong_shape(allowed));
            }
        };
        let group_of = group_of.filter(|_| n_groups > 1);
        if let Some(bad) = group_of.iter().flatten().find(|group| **group as usize >= n_groups) {
            return Err(stored.refuse(format!("has {n_groups} groups, weight_g_idx names {bad}")));
        }
        let values = stored.to_finite_f32()?;
        let values = if per_row { values } else { vec![values[0]; rows] };
        Ok(Scales { values, n_groups, group_of })
    }

    /// Symmetric layouts have no zero points, or write them as zeros.
    fn refuse_zero_points(&self) -> Result<(), LoadError> {
        let name = self.part("weight_zero_point");
        if !self.tensors.contains(&name) {
            return Ok(());
        }
        let stored = self.tensors.tensor(&name)?;
        if stored.bytes().iter().any(|byte| *byte != 0) {
            return Err(stored.refuse("must be zero: only symmetric weights are read".to_owned()));
        }
        Ok(())
    }

    /// The group of each input, where a tensor says so; -1 throughout means it does not.
    fn group_of(&self, part: &str) -> Result<Option<Vec<u32>>, LoadError> {
        let name = self.part(part);
        if !self.tensors.contains(&name) {
            return Ok(None);
        }
        let stored = self.tensors.tensor(&name)?.with_shape(&[self.cols])?;
        let groups = stored.integers()?;
        if groups.iter().all(|group| *group == -1) {
            return Ok(None);
        }
        let group_of: Option<Vec<u32>> =
            groups.iter().map(|group| u32::try_from(*group).ok()).collect();
        group_of.map(Some).ok_or_else(|| stored.refuse("must not be negative".to_owned()))
    }

    /// `qweight` `[cols / per_word, rows]`, `qzeros` `[groups, rows / per_word]`, `scales`
    /// `[groups, rows]`, `g_idx` `[cols]`: AngelSlim's `GPTQQuantLinear`.
    fn gptq(&self, gptq: GptqConfig) -> Result<(Tensor, Storage), LoadError> {
        let (rows, cols, bits) = (self.rows, self.cols, gptq.bits as usize);
        let per_word = 32 / bits;
        let n_groups = gptq.group_size.map_or(1, |size| cols.div_ceil(size));
        let tensor = self.tensors.tensor(&self.part("qweight"))?;
        let tensor = tensor.with_elements(Dtype::I32, "I32")?;
        if !rows.is_multiple_of(per_word) || !cols.is_multiple_of(per_word) {
            return Err(tensor.refuse(format!(
                "packs {per_word} values into a word, which [{rows}, {cols}] is no multiple of"
            )));
        }
        let tensor = tensor.with_shape(&[cols / per_word, rows])?;
        let scales = self.tensors.tensor(&self.part("scales"))?;
        let stored = scales.with_shape(&[n_groups, rows])?;
        let scales = transposed(&stored.to_finite_f32()?, n_groups);
        let qzeros = self.tensors.tensor(&self.part("qzeros"))?;
        let qzeros = qzeros.with_elements(Dtype::I32, "I32")?;
        let qzeros = qzeros.with_shape(&[n_groups, rows / per_word])?;
        let zeros = transposed(&zero_points(&qzeros, gptq), n_groups);
        let group_of = self.gptq_groups(&tensor, gptq, n_groups)?;
        let scales = Scales { values: scales, n_groups, group_of };
        Ok((tensor, Storage::Gptq { bits, scales, zeros }))
    }

    fn gptq_groups(
        &self,
        tensor: &Tensor,
        gptq: GptqConfig,
        n_groups: usize,
    ) -> Result<Option<Vec<u32>>, LoadError> {
        let group_of = self.group_of("g_idx")?;
        if group_of.is_none() && gptq.desc_act {
            let detail = "has no g_idx beside it, which desc_act needs".to_owned();
            return Err(tensor.refuse(detail));
        }
        if let Some(bad) = group_of.iter().flatten().find(|group| **group as usize >= n_groups) {
            return Err(tensor.refuse(format!("has {n_groups} groups, its g_idx names {bad}")));
        }
        // A group size that does not divide the row makes groups of the size, not equal parts.
        let size = gptq.group_size.unwrap_or(self.cols);
        Ok(group_of.or_else(|| {
            let uneven = !self.cols.is_multiple_of(size);
            uneven.then(|| (0..self.cols).map(|col| (col / size) as u32).collect())
        }))
    }

    fn input_factors(&self) -> Result<Option<Vec<f32>>, LoadError> {
        let name = self.part("smooth_weight");
        if !self.tensors.contains(&name) {
            return Ok(None);
        }
        self.tensors.vector(&name, self.cols).map(Some)
    }
}

/// Codes only make sense with the configuration that says what they are.
fn announced(tensor: &Tensor, is_announced: bool, layout: &str) -> Result<(), LoadError> {
    if is_announced {
        return Ok(());
    }
    Err(tensor.wrong_dtype(format!(
        "BF16, F16 or F32 (config.json has no quantization_config for {layout})"
    )))
}

/// Zero points of a GPTQ matrix, `[groups, rows]`. The sum of AngelSlim's forward pass is not
/// masked, so that a stored 15 means 16.
fn zero_points(qzeros: &Tensor, gptq: GptqConfig) -> Vec<u8> {
    let bits = gptq.bits as usize;
    let mask = (1_u32 << bits) - 1;
    let less_one = u8::from(gptq.zeros_minus_one);
    let words = qzeros.bytes().as_chunks::<4>().0;
    words
        .iter()
        .flat_map(|word| {
            let word = u32::from_le_bytes(*word);
            (0..32 / bits).map(move |lane| (word >> (bits * lane) & mask) as u8)
        })
        // With 8 bits, 255 less one would be 256; a symmetric file never has it.
        .map(|zero| zero.saturating_add(less_one))
        .collect()
}

/// `[n_rows, n]` to `[n, n_rows]`.
fn transposed<T: Copy>(values: &[T], n_rows: usize) -> Vec<T> {
    let n = values.len() / n_rows;
    let mut out = Vec::with_capacity(values.len());
    for i in 0..n {
        out.extend((0..n_rows).map(|row| values[row * n + i]));
    }
    out
}
