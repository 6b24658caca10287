//! One layer at a time over all calibration tokens, in f32.
//!
//! The quantiser needs what enters every linear layer, and must not hold more than one layer. So
//! it keeps the residual stream of all tokens and passes it through the engine's own layer.

use super::forward::{NewToken, Step, inverse_frequencies, rotations_of, run_layer};
use super::kernels::Isa;
use super::pool::Pool;
use super::state::{KvCache, Scratch};
use super::weights::{Layer, load_layer_f32};
use crate::TokenId;
use crate::config::ModelConfig;
use crate::error::LoadError;
use crate::weights::{Embedding, Tensors};

pub(crate) use super::forward::Site;

/// All calibration sequences, and what it takes to run one layer over them.
pub(crate) struct LayerRun {
    /// Threads, also for other loops over the same layer.
    pub(crate) pool: Pool,
    /// Instruction set of the kernels.
    pub(crate) isa: Isa,
    config: ModelConfig,
    tokens: Vec<NewToken>,
    n_sequences: usize,
    inverse_frequencies: Vec<f32>,
    scratch: Scratch,
}

impl LayerRun {
    /// # Errors
    /// When there can be no such number of threads.
    pub(crate) fn new(
        config: &ModelConfig,
        sequences: &[Vec<TokenId>],
        threads: Option<usize>,
    ) -> Result<Self, LoadError> {
        let tokens = sequences.iter().enumerate().flat_map(|(slot, sequence)| {
            sequence.iter().enumerate().map(move |(position, id)| NewToken {
                id: *id,
                slot,
                position,
            })
        });
        Ok(Self {
            pool: super::pool(threads)?,
            isa: Isa::detect(),
            // The cache holds the keys and values of the layer at hand only.
            config: ModelConfig { n_layers: 1, ..config.clone() },
            tokens: tokens.collect(),
            n_sequences: sequences.len(),
            inverse_frequencies: inverse_frequencies(config),
            scratch: Scratch::new(config),
        })
    }

    /// Tokens of all sequences together.
    pub(crate) fn n_tokens(&self) -> usize {
        self.tokens.len()
    }

    /// The residual stream before the first layer, `[n_tokens, hidden]`.
    pub(crate) fn embed(&self, embedding: &Embedding) -> Vec<f32> {
        let mut hidden = vec![0.0; self.tokens.len() * self.config.hidden_size];
        for (token, x) in self.tokens.iter().zip(hidden.chunks_exact_mut(self.config.hidden_size)) {
            embedding.lookup(token.id, x);
        }
        hidden
    }

    /// Reads layer `index` of the model.
    ///
    /// # Errors
    /// When a tensor is missing, of another shape or type, or not finite.
    pub(crate) fn load(&mut self, tensors: &Tensors, index: usize) -> Result<Layer, LoadError> {
        load_layer_f32(tensors, &self.config, &mut self.pool, index)
    }

    /// Passes the residual stream `hidden` through `layer`.
    pub(crate) fn run(
        &mut self,
        layer: &Layer,
        hidden: &mut Vec<f32>,
        observe: &mut impl FnMut(Site, &[f32]),
    ) {
        let s = &mut self.scratch;
        s.resize(&self.config, self.tokens.len());
        rotations_of(&self.inverse_frequencies, &self.tokens, &mut s.rotations);
        let mut cache = KvCache::new(&self.config, self.n_sequences);
        for token in self.tokens.iter().filter(|token| token.position == 0) {
            cache.open(token.slot, 0, 0, |_| layer.attention());
        }
        let step = Step { config: &self.config, isa: self.isa, tokens: &self.tokens };
        std::mem::swap(&mut s.x, hidden);
        run_layer(&step, layer, 0, &mut self.pool, &mut cache, s, observe);
        std::mem::swap(&mut s.x, hidden);
    }
}
