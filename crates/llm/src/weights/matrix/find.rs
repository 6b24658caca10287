//! Which tensors belong to a matrix, and whether they fit together.

use ::safetensors::Dtype;

use super::{Code, Scales, Storage, StoredMatrix};
use crate::config::{GptqConfig, ModelConfig, Scheme};
use crate::error::LoadError;
use crate::weights::{Elements, Tensor, Tensors};

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
