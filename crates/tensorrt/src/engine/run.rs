//! Passes through the network: what is written where, in which order.
//!
//! One of the files with `unsafe`: it lets TensorRT and the device write to addresses that are numbers.
//! They all lie inside [`Buffers`], which hold the largest pass of either profile, as `passes` keeps to;
//! buffers live as long as the engine, and graphs and contexts go before them.
#![allow(unsafe_code)]

use hymt_llm::engine::{BatchRow, Shortlist};

use super::limits::Limits;
use super::network::{Context, Plan};
use super::passes::{Pass, Piece};
use super::{Graphs, TensorRtEngine};
use crate::device::{
    ALIGNMENT, Append, Clear, Device, DeviceError, KEPT, NO_TOKEN, SLICES, Shorten,
};
use crate::error::TensorRtError;
use crate::graph::{
    LOGITS, LOGITS_AT, PAST_LENGTHS, POSITIONS, TOKEN_IDS, new_key, new_value, past_key, past_value,
};
use crate::safe::Shape;

/// A step failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum RunError {
    #[error(transparent)]
    TensorRt(#[from] TensorRtError),
    #[error(transparent)]
    Device(#[from] DeviceError),
}

/// Memory of an engine. Keys and values of a layer have a buffer each: Jetsons refuse pieces of about
/// 1 GB.
pub(super) struct Buffers<D: Device> {
    /// The five inputs that are integers, one behind the other.
    input: D::Buffer,
    places: InputPlaces,
    /// `[batch, kv_heads, tokens, head_dim]` of a pass; keys of layer 0, values of layer 0, ...
    new: Vec<D::Buffer>,
    /// `[slots, kv_heads, context, head_dim]`, in the same order.
    cache: Vec<D::Buffer>,
    /// Addresses of both, for [`Append::table`].
    table: D::Buffer,
    /// `[pass_logits, vocab]`
    logits: D::Buffer,
    /// [`Shorten::best`].
    best: D::Buffer,
    bytes: usize,
    cache_bytes: usize,
}

/// Where the integers of a pass lie in the input buffer. Bytes.
#[derive(Debug, Clone, Copy)]
struct InputPlaces {
    token_ids: usize,
    positions: usize,
    past_lengths: usize,
    logits_at: usize,
    /// [`Append::rows`].
    rows: usize,
    /// [`Clear::rows`].
    stale: usize,
    end: usize,
}

impl InputPlaces {
    fn new(limits: &Limits) -> Self {
        let slots = limits.decode.batch;
        let mut end = 0;
        let mut place = |integers: usize| {
            let start = end;
            end += (4 * integers).next_multiple_of(ALIGNMENT);
            start
        };
        let (token_ids, positions) = (place(limits.pass_tokens()), place(limits.pass_tokens()));
        let (past_lengths, logits_at) = (place(slots), place(limits.pass_logits()));
        let (rows, stale) = (place(2 * slots), place(2 * slots));
        Self { token_ids, positions, past_lengths, logits_at, rows, stale, end }
    }
}

impl<D: Device> Buffers<D> {
    pub(super) fn new(device: &mut D, limits: &Limits) -> Result<Self, DeviceError> {
        let places = InputPlaces::new(limits);
        let tensors = 2 * limits.layers;
        let new_bytes =
            limits.pass_tokens() * limits.kv_heads * limits.head_dim * limits.element_bytes;
        let cache_bytes = limits.decode.batch * limits.slot_bytes();
        let logits_bytes = 4 * limits.pass_logits() * limits.vocab;
        let best_bytes = Shorten::best_bytes(limits.decode.batch);
        let mut many = |what, bytes| -> Result<Vec<_>, DeviceError> {
            (0..tensors).map(|_| device.alloc(what, bytes)).collect()
        };
        let cache = many("the KV cache", cache_bytes)?;
        let new = many("the new keys and values of a pass", new_bytes)?;
        let input = device.alloc("the inputs of a pass", places.end)?;
        let table = device.alloc("the table of the KV cache", 16 * tensors)?;
        let logits = device.alloc("logits", logits_bytes)?;
        let best = device.alloc("shortlists", best_bytes)?;
        let addresses: Vec<u8> = new
            .iter()
            .chain(&cache)
            .flat_map(|buffer| device.address(buffer).to_ne_bytes())
            .collect();
        device.write(&table, &addresses)?;
        let bytes =
            places.end + tensors * (new_bytes + cache_bytes + 16) + logits_bytes + best_bytes;
        let cache_bytes = tensors * cache_bytes;
        Ok(Self { input, places, new, cache, table, logits, best, bytes, cache_bytes })
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn cache_bytes(&self) -> usize {
        self.cache_bytes
    }

    fn input_at(&self, device: &D, place: usize) -> u64 {
        device.address(&self.input) + place as u64
    }
}

/// Sizes of a pass that TensorRT knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct PassShape {
    batch: usize,
    tokens: usize,
    logits: usize,
}

/// One context with the profile that it keeps.
pub(super) struct Lane<C, G> {
    /// Work of the present shape; goes before the context.
    graph: Option<G>,
    context: C,
    shape: Option<PassShape>,
    first_slot: usize,
    /// Plain runs with the present shape.
    runs: usize,
}

impl<C: Context, G> Lane<C, G> {
    pub(super) fn new<D: Device<Graph = G>>(
        mut context: C,
        profile: usize,
        device: &D,
        buffers: &Buffers<D>,
        limits: &Limits,
    ) -> Result<Self, TensorRtError> {
        context.set_profile(profile, &device.stream())?;
        let places = &buffers.places;
        for (name, place) in [
            (TOKEN_IDS, places.token_ids),
            (POSITIONS, places.positions),
            (PAST_LENGTHS, places.past_lengths),
            (LOGITS_AT, places.logits_at),
        ] {
            context.set_address(name, buffers.input_at(device, place))?;
        }
        context.set_address(LOGITS, device.address(&buffers.logits))?;
        for layer in 0..limits.layers {
            let at = |tensor: usize| device.address(&buffers.new[tensor]);
            context.set_address(&new_key(layer), at(2 * layer))?;
            context.set_address(&new_value(layer), at(2 * layer + 1))?;
        }
        let mut lane = Self { graph: None, context, shape: None, first_slot: 0, runs: 0 };
        lane.set_first_slot(0, device, buffers, limits)?;
        Ok(lane)
    }

    /// Makes the context ready for a pass. Another shape or address ends the graph.
    fn prepare<D: Device<Graph = G>>(
        &mut self,
        pass: &Pass,
        device: &D,
        buffers: &Buffers<D>,
        limits: &Limits,
    ) -> Result<(), TensorRtError> {
        if self.first_slot != pass.first_slot {
            self.graph = None;
            self.runs = 0;
            self.set_first_slot(pass.first_slot, device, buffers, limits)?;
        }
        let shape = PassShape { batch: pass.batch, tokens: pass.tokens, logits: pass.logits };
        if self.shape == Some(shape) {
            return Ok(());
        }
        self.graph = None;
        self.runs = 0;
        // Until all are set, the context has no shape that may be run.
        self.shape = None;
        self.set_shapes(shape, limits)?;
        self.shape = Some(shape);
        Ok(())
    }

    fn set_first_slot<D: Device<Graph = G>>(
        &mut self,
        first_slot: usize,
        device: &D,
        buffers: &Buffers<D>,
        limits: &Limits,
    ) -> Result<(), TensorRtError> {
        let offset = (first_slot * limits.slot_bytes()) as u64;
        for layer in 0..limits.layers {
            let at = |tensor: usize| device.address(&buffers.cache[tensor]) + offset;
            self.context.set_address(&past_key(layer), at(2 * layer))?;
            self.context.set_address(&past_value(layer), at(2 * layer + 1))?;
        }
        self.first_slot = first_slot;
        Ok(())
    }

    fn set_shapes(&mut self, shape: PassShape, limits: &Limits) -> Result<(), TensorRtError> {
        let PassShape { batch, tokens, logits } = shape;
        let matrix = |columns: usize| Shape(vec![batch as i64, columns as i64]);
        self.context.set_input_shape(TOKEN_IDS, &matrix(tokens))?;
        self.context.set_input_shape(POSITIONS, &matrix(tokens))?;
        self.context.set_input_shape(PAST_LENGTHS, &Shape(vec![batch as i64]))?;
        self.context.set_input_shape(LOGITS_AT, &matrix(logits))?;
        let sizes = [batch, limits.kv_heads, limits.context, limits.head_dim];
        let cache = Shape(sizes.iter().map(|size| *size as i64).collect());
        for layer in 0..limits.layers {
            self.context.set_input_shape(&past_key(layer), &cache)?;
            self.context.set_input_shape(&past_value(layer), &cache)?;
        }
        self.context.infer_shapes()
    }
}

impl<P: Plan, D: Device> TensorRtEngine<P, D> {
    /// Runs passes and writes the wanted rows of logits, in batch order.
    pub(super) fn run(
        &mut self,
        batch: &[BatchRow<'_>],
        passes: &[Pass],
        logits: &mut Vec<f32>,
    ) -> Result<(), RunError> {
        let vocab = self.limits.vocab;
        let mut starts = Vec::with_capacity(batch.len());
        let mut rows = 0;
        for row in batch {
            starts.push(rows);
            rows += row.logits_rows();
        }
        logits.resize(rows * vocab, 0.0);
        for pass in passes {
            self.run_pass(batch, pass)?;
            for piece in pass.pieces.iter().filter(|piece| !piece.logits.is_empty()) {
                let row = &batch[piece.row];
                let first_wanted = row.tokens.len() - row.logits_rows();
                let to = starts[piece.row] + piece.logits.start - first_wanted;
                let into = &mut logits[to * vocab..][..piece.logits.len() * vocab];
                self.read_logits(first_row(pass, piece), into)?;
            }
        }
        // A fault of work that nobody read belongs to this step, not to the next one.
        Ok(self.device.synchronize()?)
    }

    /// Runs a decode pass with at most one row of logits each, and reads the best of them only.
    pub(super) fn run_shortlist(
        &mut self,
        batch: &[BatchRow<'_>],
        pass: &Pass,
        shortlists: &mut Vec<Shortlist>,
    ) -> Result<(), RunError> {
        self.run_pass(batch, pass)?;
        let wants = |piece: &&Piece| !piece.logits.is_empty();
        if !pass.pieces.iter().any(|piece| wants(&piece)) {
            return Ok(self.device.synchronize()?);
        }
        let (logits, best) =
            (self.device.address(&self.buffers.logits), self.device.address(&self.buffers.best));
        let (rows, vocab) = (pass.batch, self.limits.vocab);
        // SAFETY: both are buffers of ours, made for as many rows as a decode pass has.
        unsafe { self.device.shorten(&Shorten { logits, rows, vocab, best }) }?;
        let mut bytes = vec![0; Shorten::best_bytes(rows)];
        self.device.read(&self.buffers.best, 0, &mut bytes)?;
        self.shortlisted.clear();
        let mut pieces: Vec<&Piece> = pass.pieces.iter().filter(wants).collect();
        pieces.sort_by_key(|piece| piece.row);
        for piece in pieces {
            let at = first_row(pass, piece);
            self.shortlisted.push(at);
            shortlists.push(shortlist(&bytes, rows, at));
        }
        Ok(())
    }

    /// Rows of logits that the last pass left, from row `at` on, as many as `into` holds.
    pub(super) fn read_logits(&mut self, at: usize, into: &mut [f32]) -> Result<(), RunError> {
        let offset = 4 * at * self.limits.vocab;
        let bytes = bytemuck::cast_slice_mut(into);
        Ok(self.device.read(&self.buffers.logits, offset, bytes)?)
    }

    fn run_pass(&mut self, batch: &[BatchRow<'_>], pass: &Pass) -> Result<(), RunError> {
        let input = staged(batch, pass, &self.buffers.places, &self.written);
        self.device.write(&self.buffers.input, &input)?;
        self.clear_stale(batch, pass)?;
        let lane = if pass.is_decode { &mut self.decode } else { &mut self.prefill };
        lane.prepare(pass, &self.device, &self.buffers, &self.limits)?;
        if pass.is_decode && self.graphs == Graphs::On && lane.graph.is_none() && lane.runs > 0 {
            match self.capture(pass) {
                Ok(graph) => self.decode.graph = Some(graph),
                Err(error) => {
                    tracing::warn!(%error, "decode steps cannot become a CUDA graph; going on without");
                    self.graphs = Graphs::Off;
                }
            }
        }
        match &self.decode.graph {
            // SAFETY: recorded by `enqueue` from buffers and a context that live as long as `self`.
            Some(graph) if pass.is_decode => Ok(unsafe { self.device.launch(graph) }?),
            _ => self.enqueue(pass),
        }
    }

    /// Zeroes what lies in a slot beyond its tokens, of a sequence before or of a refused draft: the
    /// network multiplies it by 0, and an f16 that overflowed there would be a NaN in every answer.
    fn clear_stale(&mut self, batch: &[BatchRow<'_>], pass: &Pass) -> Result<(), RunError> {
        let pieces = || pass.pieces.iter().map(move |piece| (piece, start_of(batch, piece)));
        let (limits, buffers) = (&self.limits, &self.buffers);
        if pieces().any(|(piece, start)| start < self.written[piece.slot]) {
            let clear = Clear {
                table: self.device.address(&buffers.table),
                rows: buffers.input_at(&self.device, buffers.places.stale),
                tensors: 2 * limits.layers,
                first_slot: pass.first_slot,
                batch: pass.batch,
                heads: limits.kv_heads,
                context: limits.context,
                words: limits.head_dim * limits.element_bytes / 4,
            };
            // SAFETY: addresses and sizes are those of `self.buffers`; `staged` wrote the rows, which end
            // where something was written before.
            unsafe { self.device.clear(&clear) }?;
        }
        for (piece, start) in pieces() {
            self.written[piece.slot] = start + piece.tokens.len();
        }
        Ok(())
    }

    /// Records a pass whose shape has run before.
    fn capture(&mut self, pass: &Pass) -> Result<D::Graph, RunError> {
        self.device.begin_capture()?;
        let recorded = self.enqueue(pass);
        let graph = self.device.end_capture();
        recorded?;
        Ok(graph?)
    }

    /// Puts the network and the copy of what is new into the stream.
    fn enqueue(&mut self, pass: &Pass) -> Result<(), RunError> {
        let lane = if pass.is_decode { &mut self.decode } else { &mut self.prefill };
        // SAFETY: `Lane` gave the context addresses inside `self.buffers`, as the module says, and nothing
        // else is in the stream.
        unsafe { lane.context.enqueue(&self.device.stream()) }?;
        lane.runs += 1;
        let (limits, buffers) = (&self.limits, &self.buffers);
        let append = Append {
            table: self.device.address(&buffers.table),
            rows: buffers.input_at(&self.device, buffers.places.rows),
            tensors: 2 * limits.layers,
            first_slot: pass.first_slot,
            batch: pass.batch,
            heads: limits.kv_heads,
            context: limits.context,
            tokens: pass.tokens,
            words: limits.head_dim * limits.element_bytes / 4,
        };
        // SAFETY: addresses and sizes are those of `self.buffers`; `staged` wrote the rows, which the
        // batch's check keeps inside the cache.
        Ok(unsafe { self.device.append(&append) }?)
    }
}

/// Position of the first token of a piece.
fn start_of(batch: &[BatchRow<'_>], piece: &Piece) -> usize {
    batch[piece.row].position + piece.tokens.start
}

/// Row of a pass's logits that is the first one of a piece.
fn first_row(pass: &Pass, piece: &Piece) -> usize {
    (piece.slot - pass.first_slot) * pass.logits
}

/// The integers of a pass. Idle rows have no past and token 0, and append nothing. Positions count on
/// through the padding, as [`POSITIONS`] wants it: padding with the position of a token would be seen.
/// `written` says what is stale behind them.
fn staged(batch: &[BatchRow<'_>], pass: &Pass, places: &InputPlaces, written: &[usize]) -> Vec<u8> {
    let mut words = vec![0_i32; places.end / 4];
    let count_from = |words: &mut [i32], index: usize, position: usize| {
        let at = places.positions / 4 + index * pass.tokens;
        for (word, position) in words[at..at + pass.tokens].iter_mut().zip(position..) {
            *word = position as i32;
        }
    };
    (0..pass.batch).for_each(|index| count_from(&mut words, index, 0));
    for piece in &pass.pieces {
        let row = &batch[piece.row];
        let (index, n) = (piece.slot - pass.first_slot, piece.tokens.len());
        let position = start_of(batch, piece);
        let at = places.token_ids / 4 + index * pass.tokens;
        for (word, id) in words[at..at + n].iter_mut().zip(&row.tokens[piece.tokens.clone()]) {
            *word = *id as i32;
        }
        count_from(&mut words, index, position);
        words[places.past_lengths / 4 + index] = position as i32;
        let at = places.logits_at / 4 + index * pass.logits;
        for (word, token) in words[at..].iter_mut().zip(piece.logits.clone()) {
            *word = (token - piece.tokens.start) as i32;
        }
        let at = places.rows / 4 + 2 * index;
        words[at..at + 2].copy_from_slice(&[position as i32, n as i32]);
        let stale = written[piece.slot].saturating_sub(position);
        let at = places.stale / 4 + 2 * index;
        words[at..at + 2].copy_from_slice(&[position as i32, stale as i32]);
    }
    bytemuck::cast_slice(&words).to_vec()
}

/// Row `at` of what [`Device::shorten`] wrote for `rows` rows.
fn shortlist(best: &[u8], rows: usize, at: usize) -> Shortlist {
    let (kept, dropped) = best.split_at(rows * SLICES * KEPT * 8);
    let pairs = kept.as_chunks::<8>().0[at * SLICES * KEPT..][..SLICES * KEPT].iter();
    let entries = pairs
        .map(|&[a, b, c, d, e, f, g, h]| {
            (u32::from_ne_bytes([e, f, g, h]), f32::from_ne_bytes([a, b, c, d]))
        })
        .filter(|(token, _)| *token != NO_TOKEN)
        .collect();
    let bounds = dropped.as_chunks::<4>().0[at * SLICES..][..SLICES].iter();
    let bound = bounds.map(|word| f32::from_ne_bytes(*word)).fold(f32::NEG_INFINITY, f32::max);
    Shortlist { entries, bound }
}
