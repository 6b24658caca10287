//! Weights: from tensors in mapped files to tiles in device memory.
//!
//! Rows go through one staging buffer, some MiB at a time, and a kernel puts them in their place;
//! floats are quantised there, with the CPU engine's arithmetic. So the host never holds more
//! than the mapped file, and the device no more than the weights and the staging buffer.
//!
//! One of the files with `unsafe`: it launches a kernel.
#![allow(unsafe_code)]

use std::ffi::c_void;
use std::sync::Arc;

use hymt_llm::engine::cpu::LoadProgress;
use hymt_llm::error::LoadError;
use hymt_llm::weights::{EMBEDDING, Elements, Embedding, StoredMatrix, Tensors};
use safetensors::Dtype;

use crate::device::{DeviceBuffer, Gpu, Module};
use crate::error::CudaError;
use crate::program::{Shape, TILE_ROWS, padded};

const STAGING_BYTES: usize = 32 << 20;

/// Elements that the host widens at once.
const WIDENED_ELEMENTS: usize = 1 << 20;

/// One matrix, or a piece of one, in device memory.
pub(crate) struct Tiles {
    pub(crate) values: DeviceBuffer,
    /// One for each row of the tiles.
    pub(crate) scales: DeviceBuffer,
}

/// All weights. `phases` are the addresses that the kernels walk through: four matrices a layer
/// (qkv, output, gate/up, down), then the pieces of the head.
pub(crate) struct Weights {
    pub(crate) matrices: Vec<Tiles>,
    /// `[phase]{values, scales}` addresses.
    pub(crate) phases: DeviceBuffer,
    /// `[2 * layers + 1][hidden]`
    pub(crate) norms: DeviceBuffer,
    /// `[layers][2][head_dim]`
    pub(crate) head_norms: DeviceBuffer,
    /// On the host: a step looks up a few rows of it.
    pub(crate) embedding: Embedding,
}

impl Weights {
    /// Bytes in device memory.
    pub(crate) fn bytes(&self) -> usize {
        let of = |tiles: &Tiles| tiles.values.bytes() + tiles.scales.bytes();
        self.matrices.iter().map(of).sum::<usize>() + self.norms.bytes() + self.head_norms.bytes()
    }
}

pub(crate) struct Loader<'a> {
    gpu: &'a Arc<Gpu>,
    module: &'a Module,
    tensors: &'a Tensors,
    shape: &'a Shape,
    staging: DeviceBuffer,
    stored_scales: DeviceBuffer,
    bad: DeviceBuffer,
}

/// Where the rows of a tensor go.
#[derive(Clone, Copy)]
struct Place {
    /// Row of the tiles, or of the half-tiles when interleaved.
    row: usize,
    /// Gate (0) and up (1) rows share tiles; -1 for everything else.
    interleave: i32,
}

impl<'a> Loader<'a> {
    pub(crate) fn new(
        gpu: &'a Arc<Gpu>,
        module: &'a Module,
        tensors: &'a Tensors,
        shape: &'a Shape,
    ) -> Result<Self, CudaError> {
        let c = &shape.config;
        let most_rows = c.vocab_size.max(shape.widest());
        Ok(Self {
            gpu,
            module,
            tensors,
            shape,
            staging: gpu.alloc("loading", STAGING_BYTES.max(4 * shape.widest()))?,
            stored_scales: gpu.alloc("loading", 4 * most_rows)?,
            bad: gpu.alloc("loading", 4)?,
        })
    }

    pub(crate) fn load(
        &self,
        progress: &mut dyn FnMut(LoadProgress),
    ) -> Result<Weights, CudaError> {
        let c = &self.shape.config;
        let total = c.n_layers + 1;
        let (mut matrices, mut norms, mut head_norms) = (Vec::new(), Vec::new(), Vec::new());
        for index in 0..c.n_layers {
            progress(LoadProgress { done: index, total });
            self.layer(index, &mut matrices)?;
            let name = |part: &str| format!("model.layers.{index}.{part}.weight");
            norms.extend(self.tensors.vector(&name("input_layernorm"), c.hidden_size)?);
            norms.extend(self.tensors.vector(&name("post_attention_layernorm"), c.hidden_size)?);
            head_norms.extend(self.tensors.vector(&name("self_attn.query_layernorm"), c.head_dim)?);
            head_norms.extend(self.tensors.vector(&name("self_attn.key_layernorm"), c.head_dim)?);
        }
        norms.extend(self.tensors.vector("model.norm.weight", c.hidden_size)?);
        progress(LoadProgress { done: c.n_layers, total });
        self.head(&mut matrices)?;
        let addresses: Vec<u64> = matrices
            .iter()
            .flat_map(|tiles: &Tiles| [tiles.values.address(), tiles.scales.address()])
            .collect();
        let weights = Weights {
            phases: self.upload(&addresses)?,
            norms: self.upload(&norms)?,
            head_norms: self.upload(&head_norms)?,
            embedding: Embedding::load(self.tensors, &self.shape.config)?,
            matrices,
        };
        self.gpu.synchronize()?;
        progress(LoadProgress { done: total, total });
        Ok(weights)
    }

    fn layer(&self, index: usize, into: &mut Vec<Tiles>) -> Result<(), CudaError> {
        let c = &self.shape.config;
        let (hidden, ffn, q, kv) = (c.hidden_size, c.intermediate_size, c.q_size(), c.kv_size());
        let name = |part: &str| format!("model.layers.{index}.{part}.weight");
        let at = |row| Place { row, interleave: -1 };
        let qkv = self.tiles(self.shape.qkv_rows(), hidden)?;
        self.pack(&name("self_attn.q_proj"), [q, hidden], 0..q, at(0), &qkv)?;
        self.pack(&name("self_attn.k_proj"), [kv, hidden], 0..kv, at(q), &qkv)?;
        self.pack(&name("self_attn.v_proj"), [kv, hidden], 0..kv, at(q + kv), &qkv)?;
        let o = self.tiles(hidden, q)?;
        self.pack(&name("self_attn.o_proj"), [hidden, q], 0..hidden, at(0), &o)?;
        let gate_up = self.tiles(2 * ffn, hidden)?;
        for (interleave, part) in [(0, "mlp.gate_proj"), (1, "mlp.up_proj")] {
            let place = Place { row: 0, interleave };
            self.pack(&name(part), [ffn, hidden], 0..ffn, place, &gate_up)?;
        }
        let down = self.tiles(hidden, ffn)?;
        self.pack(&name("mlp.down_proj"), [hidden, ffn], 0..hidden, at(0), &down)?;
        into.extend([qkv, o, gate_up, down]);
        Ok(())
    }

    fn head(&self, into: &mut Vec<Tiles>) -> Result<(), CudaError> {
        let c = &self.shape.config;
        let name = if c.tie_word_embeddings { EMBEDDING } else { "lm_head.weight" };
        let rows = self.shape.head_piece_tiles() * TILE_ROWS;
        for first in (0..c.vocab_size).step_by(rows) {
            let end = (first + rows).min(c.vocab_size);
            let tiles = self.tiles(end - first, c.hidden_size)?;
            let (shape, place) = ([c.vocab_size, c.hidden_size], Place { row: 0, interleave: -1 });
            self.pack(name, shape, first..end, place, &tiles)?;
            into.push(tiles);
        }
        Ok(())
    }

    fn tiles(&self, rows: usize, cols: usize) -> Result<Tiles, CudaError> {
        let rows = rows.next_multiple_of(TILE_ROWS);
        Ok(Tiles {
            values: self.gpu.alloc("the weights", rows * padded(cols))?,
            scales: self.gpu.alloc("the weights", rows * 4)?,
        })
    }

    /// Puts rows `range` of a tensor of `shape` into `tiles`.
    fn pack(
        &self,
        name: &str,
        shape: [usize; 2],
        range: std::ops::Range<usize>,
        place: Place,
        tiles: &Tiles,
    ) -> Result<(), CudaError> {
        let stored = self.tensors.matrix(name, shape, &self.shape.config)?;
        let (rows, kind, width) = Rows::of(&stored);
        if let Some((_, scales)) = stored.int8() {
            self.stored_scales.write(0, bytemuck::cast_slice(&scales[range.clone()]))?;
        }
        let kernel = self.module.kernel("pack_rows")?;
        let cols = shape[1];
        let chunk = (self.staging.bytes() / (cols * width)).max(1);
        for first in range.clone().step_by(chunk) {
            let n = chunk.min(range.end - first);
            match &rows {
                Rows::Stored(bytes) => {
                    let bytes = &bytes[first * cols * width..(first + n) * cols * width];
                    self.staging.write(0, bytes)?;
                }
                Rows::Widened => self.write_widened(&stored, first..first + n)?,
            }
            let done = first - range.start;
            let (mut source, mut kind, mut rows) = (self.staging.address(), kind, n as i32);
            let (mut cols, mut interleave) = (cols as i32, place.interleave);
            let mut row_base = (place.row + done) as i32;
            let (mut values, mut scales) = (tiles.values.address(), tiles.scales.address());
            let mut stored = self.stored_scales.at(done * 4);
            let mut bad = self.bad.address();
            let mut arguments: [*mut c_void; 10] = [
                (&raw mut source).cast(),
                (&raw mut kind).cast(),
                (&raw mut rows).cast(),
                (&raw mut cols).cast(),
                (&raw mut row_base).cast(),
                (&raw mut interleave).cast(),
                (&raw mut values).cast(),
                (&raw mut scales).cast(),
                (&raw mut stored).cast(),
                (&raw mut bad).cast(),
            ];
            // SAFETY: the types are those of `pack_rows`; `tiles` holds the padded rows, the
            // staging buffer `n` rows, and both outlive the synchronisation below or in `load`.
            unsafe { self.gpu.launch(kernel, [n, 1, 1], &mut arguments)? };
        }
        if kind != 0 {
            let mut bad = [0_u8; 4];
            self.bad.read(0, &mut bad)?;
            if u32::from_le_bytes(bad) != 0 {
                return Err(first_bad(&stored).into());
            }
        } else {
            self.gpu.synchronize()?;
        }
        Ok(())
    }

    /// Widens rows on the host, a few at a time, and puts them into the staging buffer.
    fn write_widened(
        &self,
        stored: &StoredMatrix,
        rows: std::ops::Range<usize>,
    ) -> Result<(), CudaError> {
        let cols = stored.shape()[1];
        let first = rows.start;
        let piece_rows = (WIDENED_ELEMENTS / cols).max(1);
        let mut x = vec![0.0_f32; piece_rows * cols];
        for start in rows.clone().step_by(piece_rows) {
            let end = (start + piece_rows).min(rows.end);
            for (row, x) in (start..end).zip(x.chunks_exact_mut(cols)) {
                stored.row(row, x);
            }
            let bytes = bytemuck::cast_slice(&x[..(end - start) * cols]);
            self.staging.write((start - first) * cols * 4, bytes)?;
        }
        stored.forget_rows(rows);
        Ok(())
    }

    fn upload<T: bytemuck::Pod>(&self, values: &[T]) -> Result<DeviceBuffer, CudaError> {
        let buffer = self.gpu.alloc("the weights", size_of_val(values))?;
        buffer.write(0, bytemuck::cast_slice(values))?;
        Ok(buffer)
    }
}

/// How the rows of a matrix reach the device.
enum Rows<'a> {
    /// As they lie in the file.
    Stored(&'a [u8]),
    /// Widened to f32 on the host: every layout that `pack_rows` does not know.
    Widened,
}

impl<'a> Rows<'a> {
    /// With the kind that `pack_rows` takes, and the bytes of an element.
    fn of(stored: &'a StoredMatrix) -> (Self, i32, usize) {
        if let Some((tensor, _)) = stored.int8() {
            return (Self::Stored(tensor.bytes()), 0, 1);
        }
        let float = stored.float().map(|tensor| (tensor.bytes(), tensor.dtype()));
        match float {
            Some((bytes, Elements::Plain(Dtype::BF16))) => (Self::Stored(bytes), 1, 2),
            Some((bytes, Elements::Plain(Dtype::F16))) => (Self::Stored(bytes), 2, 2),
            Some((bytes, Elements::Plain(Dtype::F32))) => (Self::Stored(bytes), 3, 4),
            _ => (Self::Widened, 3, 4),
        }
    }
}

/// Which value it was that the device found: rare, so it is looked for again here.
fn first_bad(stored: &StoredMatrix) -> LoadError {
    let [rows, cols] = stored.shape();
    let mut x = vec![0.0; cols];
    for row in 0..rows {
        stored.row(row, &mut x);
        if let Some(value) = x.iter().find(|value| !value.is_finite()) {
            return stored.not_finite(row, *value);
        }
    }
    stored.not_finite(0, f32::NAN)
}
