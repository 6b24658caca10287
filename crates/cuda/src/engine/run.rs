//! Forward passes: which kernels run on which buffers.
//!
//! One of the files with `unsafe`: it launches kernels, whose parameters the compiler cannot check.
#![allow(unsafe_code)]

use std::ffi::c_void;
use std::sync::Arc;
use std::time::Instant;

use hymt_llm::TokenId;
use hymt_llm::engine::{BatchRow, EngineSpec, Shortlist};

use super::CudaEngine;
use super::exchange::Exchange;
use crate::device::{DeviceBuffer, Gpu, HostBuffer, Kernel, Module};
use crate::error::CudaError;
use crate::program::{BEST, PAGE_TOKENS, SPLIT_TOKENS, Shape, TILE_ROWS, decode_blocks, padded};

/// Rows of logits that the device holds at a time.
const LOGITS_ROWS: usize = 64;
/// Tokens that one attention launch takes: bounds its partial results.
const ATTENTION_TOKENS: usize = 128;

/// Most blocks whose best candidate is in a shortlist: three times what sampling keeps (`top_k` 20).
const SHORTLISTED_MAX: usize = 64;

/// A product and the tiles of one block of it.
struct Product {
    kernel: Kernel,
    tiles: usize,
}

impl Product {
    fn new(module: &Module, name: &str) -> Result<Self, CudaError> {
        let shared_name = format!("product_shared_{name}");
        Ok(Self {
            kernel: module
                .kernel_with_shared(&format!("product_{name}"), &shared_name)?
                .dependent(),
            tiles: module.constant(&format!("product_tiles_{name}"))? as usize,
        })
    }
}

pub(super) struct Kernels {
    decode: Vec<(usize, Kernel)>,
    norm_quantize_hidden: Kernel,
    quantize_attended: Kernel,
    quantize_gated: Kernel,
    product_qkv: Product,
    product_o: Product,
    product_gate: Product,
    product_down: Product,
    product_head: Product,
    append: Kernel,
    attention: Kernel,
    /// Tokens of one block of a product.
    product_tokens: usize,
}

/// A decode kernel: how many tokens it is for, and on how many blocks it runs.
pub(super) struct Decode {
    kernel: Kernel,
    tokens: usize,
    blocks: usize,
}

impl Kernels {
    pub(super) fn new(module: &Module, decode_sizes: &[usize]) -> Result<Self, CudaError> {
        let decode = decode_sizes
            .iter()
            .map(|n| {
                let (name, shared) = (format!("decode_{n}"), format!("decode_shared_{n}"));
                Ok((*n, module.cooperative(&name, &shared)?))
            })
            .collect::<Result<_, CudaError>>()?;
        Ok(Self {
            decode,
            norm_quantize_hidden: module.kernel("norm_quantize_hidden")?.dependent(),
            quantize_attended: module.kernel("quantize_attended")?.dependent(),
            quantize_gated: module.kernel("quantize_gated")?.dependent(),
            product_qkv: Product::new(module, "qkv")?,
            product_o: Product::new(module, "o")?,
            product_gate: Product::new(module, "gate")?,
            product_down: Product::new(module, "down")?,
            product_head: Product::new(module, "head")?,
            append: module.kernel("append")?.dependent(),
            attention: module.kernel("attention")?.dependent(),
            product_tokens: module.constant("product_tokens")? as usize,
        })
    }

    /// The smallest decode kernel for `n` tokens on so many multiprocessors.
    pub(super) fn decode_for(&self, n: usize, multiprocessors: usize) -> Option<Decode> {
        let (tokens, kernel) = *self.decode.iter().find(|(size, _)| *size >= n)?;
        let blocks = decode_blocks(tokens, multiprocessors)?;
        Some(Decode { kernel, tokens, blocks })
    }

    /// Most tokens that one decode kernel takes on so many multiprocessors.
    pub(super) fn decode_tokens_max(&self, multiprocessors: usize) -> usize {
        let sizes = self.decode.iter().map(|(size, _)| *size);
        sizes.filter(|size| decode_blocks(*size, multiprocessors).is_some()).max().unwrap_or(0)
    }
}

/// Buffers of one step.
pub(super) struct Buffers {
    /// Residual stream, `[n, hidden]`; behind it rotations `[n, head_dim]`, positions, slots.
    input: DeviceBuffer,
    staged: HostBuffer,
    qkv: DeviceBuffer,
    attended: DeviceBuffer,
    gated: DeviceBuffer,
    quantized: DeviceBuffer,
    scales: DeviceBuffer,
    picked: DeviceBuffer,
    partials: DeviceBuffer,
    arrivals: DeviceBuffer,
    /// `[LOGITS_ROWS, vocab]`
    pub(super) logits: DeviceBuffer,
    /// `[8][BEST][blocks]` candidates, then `[8][blocks]` largest dropped logits, `blocks` being those of the
    /// step; kernels write them.
    best: HostBuffer,
    exchange: Exchange,
    pub(super) multiprocessors: usize,
    /// Blocks of the last decode step: so many have left candidates.
    decoded_blocks: usize,
}

impl Buffers {
    pub(super) fn new(
        gpu: &Arc<Gpu>,
        shape: &Shape,
        spec: &EngineSpec,
        pages_max: usize,
        multiprocessors: usize,
    ) -> Result<Self, CudaError> {
        let c = &shape.config;
        let n = spec.step_tokens_max.max(8);
        let widest = padded(shape.widest());
        let input_bytes = n * (4 * (c.hidden_size + c.head_dim) + 8);
        let what = "the buffers of a step";
        let split_tokens = n.min(ATTENTION_TOKENS);
        let partial = 4 * pages_max * (PAGE_TOKENS / SPLIT_TOKENS) * shape.split_words();
        let best_bytes = 8 * multiprocessors * (BEST * 8 + 4);
        Ok(Self {
            input: gpu.alloc(what, input_bytes)?,
            staged: gpu.alloc_host(input_bytes)?,
            qkv: gpu.alloc(what, 4 * n * shape.qkv_rows())?,
            attended: gpu.alloc(what, 4 * n * c.q_size())?,
            gated: gpu.alloc(what, 4 * n * c.intermediate_size)?,
            quantized: gpu.alloc(what, n * widest)?,
            scales: gpu.alloc(what, 4 * n)?,
            picked: gpu.alloc(what, 4 * n)?,
            partials: gpu.alloc(what, split_tokens * partial)?,
            arrivals: gpu.alloc(what, 4 * n * c.n_heads)?,
            logits: gpu.alloc(what, 4 * LOGITS_ROWS * c.vocab_size)?,
            best: gpu.alloc_host(best_bytes)?,
            exchange: Exchange::new(gpu, shape, pages_max)?,
            multiprocessors,
            decoded_blocks: 0,
        })
    }

    /// What a step writes before it reads it; `arrivals` and `exchange` are not that.
    fn scratch(&self) -> [&DeviceBuffer; 9] {
        [
            &self.input,
            &self.qkv,
            &self.attended,
            &self.gated,
            &self.quantized,
            &self.scales,
            &self.picked,
            &self.partials,
            &self.logits,
        ]
    }

    pub(super) fn bytes(&self) -> usize {
        let scratch: usize = self.scratch().iter().map(|buffer| buffer.bytes()).sum();
        scratch + self.arrivals.bytes() + self.exchange.bytes()
    }

    #[cfg(feature = "testing")]
    pub(super) fn poison(&self, byte: u8) -> Result<(), CudaError> {
        self.scratch().iter().try_for_each(|buffer| buffer.fill(byte))
    }

    /// Decode kernels run as on a device of `blocks` multiprocessors, if it has more.
    #[cfg(feature = "testing")]
    pub(super) fn limit_blocks(&mut self, blocks: usize) {
        self.multiprocessors = self.multiprocessors.min(blocks);
    }

    /// The best of the candidates that the last decode step left for its tokens `wanted`: some three times the
    /// `kept` that whoever chooses will keep.
    pub(super) fn shortlists(
        &self,
        wanted: &[usize],
        kept: usize,
        vocab_size: usize,
        out: &mut Vec<Shortlist>,
    ) {
        let shortlisted = kept.saturating_mul(3).saturating_add(5).min(SHORTLISTED_MAX);
        let bytes = self.best.as_slice();
        let blocks = self.decoded_blocks;
        let (candidates, dropped) = bytes.split_at(8 * blocks * BEST * 8);
        let candidates: &[u64] = bytemuck::cast_slice(candidates);
        let dropped: &[f32] = bytemuck::cast_slice(dropped);
        for token in wanted {
            let of = |values: usize| token * blocks * values..(token + 1) * blocks * values;
            let (candidates, dropped) = (&candidates[of(BEST)], &dropped[of(1)]);
            let bound = dropped.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            out.push(shortlist(candidates, shortlisted, bound, vocab_size));
        }
    }
}

/// The head of the packed candidates that blocks have left, `[BEST][blocks]` with each block's best first, where no
/// other logit is above `bound`. Most are left out, for they come from far away and looking at all takes longer than
/// choosing: what counts is at least as good as the best of the `shortlisted`th block.
fn shortlist(candidates: &[u64], shortlisted: usize, bound: f32, vocab_size: usize) -> Shortlist {
    let blocks = candidates.len() / BEST;
    let best = &candidates[..blocks];
    let least = match blocks.checked_sub(shortlisted) {
        // Where a block has less, there is 0.
        Some(at) => (*best.to_vec().select_nth_unstable(at).1).max(1),
        None => 1,
    };
    let (mut entries, mut left_out) = (Vec::with_capacity(2 * shortlisted), 0);
    for block in 0..blocks {
        for candidate in candidates[block..].iter().step_by(blocks) {
            if *candidate < least {
                left_out = left_out.max(*candidate);
                break;
            }
            entries.push(unpacked(*candidate));
        }
    }
    entries.retain(|(id, _)| (*id as usize) < vocab_size);
    let bound = if left_out == 0 { bound } else { bound.max(unpacked(left_out).1) };
    Shortlist { entries, bound }
}

/// Token and logit of a candidate as `packed` in `decode.cu` made it.
fn unpacked(candidate: u64) -> (TokenId, f32) {
    let key = (candidate >> 32) as u32;
    let bits = if key & 0x8000_0000 != 0 { key & 0x7fff_ffff } else { !key };
    (!(candidate as u32), f32::from_bits(bits))
}

/// Parameter of the decode kernels; the same fields, in the same order, as in `decode.cu`.
#[repr(C)]
struct DecodeStep {
    phases: u64,
    norms: u64,
    head_norms: u64,
    x: u64,
    rotations: u64,
    exchange: u64,
    used: u64,
    partials: u64,
    pages: u64,
    logits: u64,
    best: u64,
    dropped: u64,
    tag: u32,
    rows: i32,
    used_n: i32,
    pages_max: i32,
    n: i32,
    wants_logits: i32,
    positions: [i32; 8],
    slots: [i32; 8],
    first_positions: [i32; 8],
}

/// Parameter of the attention kernels; as in `prefill.cu`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Tokens {
    positions: u64,
    slots: u64,
    rotations: u64,
    pages: u64,
    pages_max: i32,
}

/// Pointers to values, in the order of a kernel's parameters.
macro_rules! arguments {
    ($($value:expr),* $(,)?) => { &mut [$((&raw mut $value).cast::<c_void>()),*] };
}

pub(super) fn n_tokens(batch: &[BatchRow<'_>]) -> usize {
    batch.iter().map(|row| row.tokens.len()).sum()
}

/// Which of a batch's tokens have logits that are wanted.
pub(super) fn wanted_tokens(batch: &[BatchRow<'_>]) -> Vec<usize> {
    let ends = batch.iter().scan(0, |end, row| {
        *end += row.tokens.len();
        Some(*end)
    });
    batch.iter().zip(ends).flat_map(|(row, end)| end - row.logits_rows()..end).collect()
}

impl CudaEngine {
    /// Looks tokens up and puts them, their rotations, positions and slots into the staging buffer.
    /// Returns the offsets of the four in bytes.
    fn stage(&mut self, batch: &[BatchRow<'_>]) -> [usize; 4] {
        let c = &self.shape.config;
        let n = n_tokens(batch);
        let (x_len, rotation_len) = (n * c.hidden_size, n * c.head_dim);
        let words: &mut [f32] = bytemuck::cast_slice_mut(self.buffers.staged.as_mut_slice());
        let (x, rest) = words.split_at_mut(x_len);
        let (rotations, rest) = rest.split_at_mut(rotation_len);
        let integers: &mut [i32] = bytemuck::cast_slice_mut(rest);
        let (positions, slots) = integers[..2 * n].split_at_mut(n);
        let tokens = batch.iter().flat_map(|row| {
            (row.position..).zip(row.tokens).map(|(position, id)| (row.slot.0, position, *id))
        });
        for (index, (slot, position, id)) in tokens.enumerate() {
            self.weights.embedding.lookup(id, &mut x[index * c.hidden_size..][..c.hidden_size]);
            rotations[index * c.head_dim..][..c.head_dim]
                .copy_from_slice(self.rotations.of(position));
            positions[index] = position as i32;
            slots[index] = i32::from(slot);
        }
        [0, x_len, x_len + rotation_len, x_len + rotation_len + n].map(|words| 4 * words)
    }

    /// A few tokens, in one kernel. The logits of the tokens `wanted` go to `logits`, if that is given.
    pub(super) fn decode(
        &mut self,
        batch: &[BatchRow<'_>],
        wanted: &[usize],
        logits: Option<&mut Vec<f32>>,
    ) -> Result<(), CudaError> {
        let n = n_tokens(batch);
        let Decode { kernel, tokens: kernel_tokens, blocks } =
            self.kernels.decode_for(n, self.buffers.multiprocessors).expect("checked by is_decode");
        let [x, rotations, _, _] = self.stage(batch).map(|offset| offset as u64);
        let (b, w) = (&mut self.buffers, &self.weights);
        let turn = b.exchange.take(kernel_tokens)?;
        let mut step = DecodeStep {
            phases: w.phases.address(),
            norms: w.norms.address(),
            head_norms: w.head_norms.address(),
            x: b.staged.address() + x,
            rotations: b.staged.address() + rotations,
            exchange: turn.exchange,
            used: turn.used,
            partials: turn.partials,
            pages: self.pages.table(),
            logits: b.logits.address(),
            best: b.best.address(),
            dropped: b.best.address() + (8 * blocks * BEST * 8) as u64,
            tag: turn.tag,
            rows: turn.rows,
            used_n: turn.used_n,
            pages_max: self.pages.pages_max() as i32,
            n: n as i32,
            wants_logits: i32::from(!wanted.is_empty()),
            positions: [0; 8],
            slots: [0; 8],
            first_positions: [0; 8],
        };
        let tokens = batch
            .iter()
            .flat_map(|row| (row.position..).take(row.tokens.len()).map(move |at| (row, at)));
        for (index, (row, position)) in tokens.enumerate() {
            step.positions[index] = position as i32;
            step.slots[index] = i32::from(row.slot.0);
            step.first_positions[index] = row.position as i32;
        }
        // SAFETY: `DecodeStep` is the kernel's parameter; its buffers were made for this shape and
        // live in `self`, and the stream is synchronised before this returns.
        unsafe { self.gpu.launch(kernel, [blocks, 1, 1], arguments![step])? };
        b.decoded_blocks = blocks;
        let Some(logits) = logits.filter(|_| !wanted.is_empty()) else {
            return self.gpu.synchronize();
        };
        let vocab_size = self.shape.config.vocab_size;
        logits.resize(wanted.len() * vocab_size, 0.0);
        for (token, row) in wanted.iter().zip(logits.chunks_exact_mut(vocab_size)) {
            b.logits.read(4 * token * vocab_size, bytemuck::cast_slice_mut(row))?;
        }
        Ok(())
    }

    /// Any number of tokens, one launch an operation.
    pub(super) fn prefill(
        &mut self,
        batch: &[BatchRow<'_>],
        wanted: &[usize],
        logits: Option<&mut Vec<f32>>,
    ) -> Result<(), CudaError> {
        let offsets = self.stage(batch);
        let n = n_tokens(batch);
        let c = &self.shape.config;
        let (b, k, gpu) = (&self.buffers, &self.kernels, &self.gpu);
        b.input.write_async(&b.staged, offsets[3] + 4 * n)?;
        let [_, rotations, positions, slots] = offsets.map(|offset| b.input.at(offset));
        let pages_max = self.pages.pages_max();
        let mut tokens = Tokens {
            positions,
            slots,
            rotations,
            pages: self.pages.table(),
            pages_max: pages_max as i32,
        };
        let last = batch.iter().map(|row| row.position + row.tokens.len()).max().unwrap_or(1);
        let splits = last.div_ceil(SPLIT_TOKENS);
        let (mut x, mut qkv, mut attended) =
            (b.input.address(), b.qkv.address(), b.attended.address());
        let (mut gated, mut quantized) = (b.gated.address(), b.quantized.address());
        let (mut scales, mut nothing, mut n_tokens) = (b.scales.address(), 0_u64, n as i32);
        let (mut partials, mut arrivals) = (b.partials.address(), b.arrivals.address());
        let mut head_norms = self.weights.head_norms.address();
        let blocks = |product: &Product, tiles: usize| {
            [tiles.div_ceil(product.tiles), n.div_ceil(k.product_tokens), 1]
        };
        let mut no_piece = 0_i32;
        let hidden_tiles = c.hidden_size.div_ceil(TILE_ROWS);
        let qkv_tiles = self.shape.qkv_rows().div_ceil(TILE_ROWS);
        let ffn_tiles = c.intermediate_size.div_ceil(TILE_ROWS / 2);
        for index in 0..c.n_layers {
            let mut layer = index as i32;
            let mut norm = self.weights.norms.at(4 * 2 * index * c.hidden_size);
            let mut next_norm = self.weights.norms.at(4 * (2 * index + 1) * c.hidden_size);
            let matrices = &self.weights.matrices[4 * index..4 * index + 4];
            let mut addresses: Vec<[u64; 2]> =
                matrices.iter().map(|m| [m.values.address(), m.scales.address()]).collect();
            // SAFETY: parameters are those of the kernels in `prefill.cu`; buffers hold
            // `step_tokens_max` tokens of this shape and live in `self`; the stream is
            // synchronised before this returns.
            unsafe {
                gpu.launch(
                    k.norm_quantize_hidden,
                    [n, 1, 1],
                    arguments![x, nothing, norm, quantized, scales],
                )?;
                let [values, w_scales] = &mut addresses[0];
                gpu.launch(
                    k.product_qkv.kernel,
                    blocks(&k.product_qkv, qkv_tiles),
                    arguments![*values, *w_scales, quantized, scales, n_tokens, qkv, no_piece],
                )?;
                gpu.launch(k.append, [n, 1, 1], arguments![qkv, tokens, head_norms, layer])?;
                for first in (0..n).step_by(ATTENTION_TOKENS) {
                    let here = ATTENTION_TOKENS.min(n - first);
                    let offset = |address: u64, bytes: usize| address + (first * bytes) as u64;
                    let mut some = Tokens {
                        positions: offset(tokens.positions, 4),
                        slots: offset(tokens.slots, 4),
                        rotations: offset(tokens.rotations, 4 * c.head_dim),
                        ..tokens
                    };
                    let mut from = offset(qkv, 4 * self.shape.qkv_rows());
                    let mut to = offset(attended, 4 * c.q_size());
                    gpu.launch(
                        k.attention,
                        [c.n_heads, here, splits],
                        arguments![from, some, head_norms, layer, to, partials, arrivals],
                    )?;
                }
                gpu.launch(
                    k.quantize_attended,
                    [n, 1, 1],
                    arguments![attended, quantized, scales],
                )?;
                let [values, w_scales] = &mut addresses[1];
                gpu.launch(
                    k.product_o.kernel,
                    blocks(&k.product_o, hidden_tiles),
                    arguments![*values, *w_scales, quantized, scales, n_tokens, x, no_piece],
                )?;
                gpu.launch(
                    k.norm_quantize_hidden,
                    [n, 1, 1],
                    arguments![x, nothing, next_norm, quantized, scales],
                )?;
                let [values, w_scales] = &mut addresses[2];
                gpu.launch(
                    k.product_gate.kernel,
                    blocks(&k.product_gate, ffn_tiles),
                    arguments![*values, *w_scales, quantized, scales, n_tokens, gated, no_piece],
                )?;
                gpu.launch(k.quantize_gated, [n, 1, 1], arguments![gated, quantized, scales])?;
                let [values, w_scales] = &mut addresses[3];
                gpu.launch(
                    k.product_down.kernel,
                    blocks(&k.product_down, hidden_tiles),
                    arguments![*values, *w_scales, quantized, scales, n_tokens, x, no_piece],
                )?;
            }
        }
        let Some(logits) = logits else { return gpu.synchronize() };
        let wanted: Vec<i32> = wanted.iter().map(|token| *token as i32).collect();
        self.head(&wanted, logits)
    }

    /// Logits of the tokens `wanted`, some rows at a time.
    fn head(&self, wanted: &[i32], logits: &mut Vec<f32>) -> Result<(), CudaError> {
        let c = &self.shape.config;
        let (b, k, gpu) = (&self.buffers, &self.kernels, &self.gpu);
        let mut norm = self.weights.norms.at(4 * 2 * c.n_layers * c.hidden_size);
        let (mut x, mut picked) = (b.input.address(), b.picked.address());
        let (mut quantized, mut scales) = (b.quantized.address(), b.scales.address());
        let mut out = b.logits.address();
        for some in wanted.chunks(LOGITS_ROWS) {
            b.picked.write(0, bytemuck::cast_slice(some))?;
            let mut n = some.len() as i32;
            // SAFETY: as in `prefill`; `picked` names tokens of this step.
            unsafe {
                gpu.launch(
                    k.norm_quantize_hidden,
                    [some.len(), 1, 1],
                    arguments![x, picked, norm, quantized, scales],
                )?;
                for piece in 0..self.shape.head_pieces() {
                    let tiles = &self.weights.matrices[4 * c.n_layers + piece];
                    let mut number = piece as i32;
                    let (mut values, mut w_scales) =
                        (tiles.values.address(), tiles.scales.address());
                    let in_piece = tiles.scales.bytes() / 4 / TILE_ROWS;
                    gpu.launch(
                        k.product_head.kernel,
                        [
                            in_piece.div_ceil(k.product_head.tiles),
                            some.len().div_ceil(k.product_tokens),
                            1,
                        ],
                        arguments![values, w_scales, quantized, scales, n, out, number],
                    )?;
                }
            }
            let at = logits.len();
            logits.resize(at + some.len() * c.vocab_size, 0.0);
            b.logits.read(0, bytemuck::cast_slice_mut(&mut logits[at..]))?;
        }
        gpu.synchronize()
    }
}

/// GB/s of a copy (read and written bytes) and of reading; medians of several runs over a buffer
/// far larger than any cache.
pub(super) fn memory_speed(
    gpu: &Arc<Gpu>,
    module: &Module,
    multiprocessors: usize,
) -> Result<(f64, f64), CudaError> {
    const RUNS: usize = 11;
    let (free, _) = gpu.memory()?;
    let bytes = (free / 4).min(2 << 30) & !0xfff;
    let (from, to) = (gpu.alloc("a copy", bytes)?, gpu.alloc("a copy", bytes)?);
    let (copy, read, randomize) =
        (module.kernel("copy")?, module.kernel("read")?, module.kernel("randomize")?);
    let (mut source, mut destination, mut seed) = (from.address(), to.address(), 1_u32);
    let (mut words, mut vectors) = ((bytes / 4) as u64, (bytes / 16) as u64);
    let grid = [multiprocessors * 8, 1, 1];
    // SAFETY: parameters are those of the kernels in `load.cu`; both buffers have `bytes` bytes
    // and outlive the synchronisation.
    unsafe { gpu.launch(randomize, grid, arguments![source, words, seed])? };
    gpu.synchronize()?;
    let mut median = |kernel: Kernel, factor: f64| -> Result<f64, CudaError> {
        let mut speeds = Vec::new();
        for _ in 0..RUNS {
            let started = Instant::now();
            // SAFETY: as above.
            unsafe { gpu.launch(kernel, grid, arguments![source, destination, vectors])? };
            gpu.synchronize()?;
            speeds.push(factor * bytes as f64 / started.elapsed().as_secs_f64() / 1e9);
        }
        speeds.sort_by(f64::total_cmp);
        Ok(speeds[RUNS / 2])
    };
    Ok((median(copy, 2.0)?, median(read, 1.0)?))
}

#[cfg(test)]
mod tests {
    use rand::rngs::SmallRng;
    use rand::{Rng as _, SeedableRng as _};

    use super::*;

    /// As `packed` in `decode.cu`.
    fn packed(id: TokenId, logit: f32) -> u64 {
        let bits = logit.to_bits();
        let key = if bits & 0x8000_0000 != 0 { !bits } else { bits | 0x8000_0000 };
        u64::from(key) << 32 | u64::from(!id)
    }

    #[test]
    fn a_candidate_is_unpacked_as_it_was_packed_and_orders_by_logit_then_by_lower_id() {
        for (id, logit) in [(0, 0.0), (7, -3.5), (120_817, 88.0), (1, -0.0)] {
            let (same, value) = unpacked(packed(id, logit));
            assert_eq!((same, value.to_bits()), (id, logit.to_bits()));
        }
        assert!(packed(3, 1.0) > packed(3, -1.0));
        assert!(packed(2, 1.0) > packed(3, 1.0));
    }

    #[test]
    fn a_shortlist_is_the_head_of_what_blocks_left_and_its_bound_covers_the_rest() {
        for (seed, blocks) in (0..).zip([1, 8, 63, 64, 65, 132, 500]) {
            let mut random = SmallRng::seed_from_u64(seed);
            let mut id = 0;
            let mut all = vec![0; BEST * blocks];
            for block in 0..blocks {
                // Few values, so that many are equal; the last block of an uneven vocabulary has less than BEST.
                let n = if block + 1 == blocks { BEST - 1 } else { BEST };
                let mut of_block: Vec<u64> = (0..n)
                    .map(|_| {
                        id += 1;
                        packed(id, random.random_range(-40_i16..40).into())
                    })
                    .collect();
                of_block.sort_unstable_by(|a, b| b.cmp(a));
                for (rank, candidate) in of_block.into_iter().enumerate() {
                    all[rank * blocks + block] = candidate;
                }
            }
            let mut sorted: Vec<u64> =
                all.iter().copied().filter(|candidate| *candidate != 0).collect();
            sorted.sort_unstable_by(|a, b| b.cmp(a));
            for shortlisted in [1, 8, 64] {
                let list = shortlist(&all, shortlisted, -41.0, usize::MAX);
                let (head, rest) = sorted.split_at(list.entries.len());
                let mut entries = list.entries.clone();
                entries.sort_unstable_by_key(|one| std::cmp::Reverse(packed(one.0, one.1)));
                assert_eq!(entries, head.iter().map(|one| unpacked(*one)).collect::<Vec<_>>());
                let what = format!("{shortlisted} of {blocks} blocks");
                assert!(entries.len() >= blocks.min(shortlisted), "{what}");
                assert!(blocks < 2 * shortlisted || entries.len() < sorted.len(), "{what}");
                assert_eq!(list.bound, rest.first().map_or(-41.0, |one| unpacked(*one).1));
            }
        }
    }

    #[test]
    fn what_no_vocabulary_has_is_in_no_shortlist() {
        let list = shortlist(&[packed(9, 2.0), packed(3, 1.0), 0, 0], 8, 0.5, 9);
        assert_eq!(list, Shortlist { entries: vec![(3, 1.0)], bound: 0.5 });
        let none = shortlist(&[0; BEST], 8, f32::NEG_INFINITY, 9);
        assert!(none.entries.is_empty());
    }
}
