//! What a plan can do, read from the plan itself and held against the contract of [`crate::graph`].

use hymt_llm::engine::EngineSpec;

use super::network::Plan;
use crate::device::ALIGNMENT;
use crate::error::TensorRtError;
use crate::graph::{
    LOGITS, LOGITS_AT, PAST_LENGTHS, POSITIONS, TOKEN_IDS, new_key, new_value, past_key, past_value,
};
use crate::safe::{DataType, Mode, TensorInfo};

/// Profile of prompts.
pub const PREFILL: usize = 0;
/// Profile of decode steps.
pub const DECODE: usize = 1;
/// Most layers.
const LAYERS_MAX: usize = 256;
/// Most slots; the scheduler numbers them in 16 bits.
pub const SLOTS_MAX: usize = 1024;
/// Largest size of any dimension.
const SIZE_MAX: i64 = 1 << 24;
/// Longest buffer; no board has as much memory. Bytes.
const BUFFER_BYTES_MAX: usize = 1 << 42;

/// Bounds of one profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProfileLimits {
    /// Most rows.
    pub batch: usize,
    /// Most tokens of a row.
    pub tokens: usize,
    /// Most logits of a row.
    pub logits: usize,
}

/// What a plan can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Layers.
    pub layers: usize,
    /// Key/value heads.
    pub kv_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// Bytes of one element of the cache.
    pub element_bytes: usize,
    /// Entries of a row of logits.
    pub vocab: usize,
    /// Length of the cache. Tokens.
    pub context: usize,
    /// Profile 0.
    pub prefill: ProfileLimits,
    /// Profile 1.
    pub decode: ProfileLimits,
}

/// A plan that is none of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ContractError {
    /// TensorRT does not say.
    #[error(transparent)]
    TensorRt(#[from] TensorRtError),
    /// A tensor is missing or is not as it should be.
    #[error("the plan was not built from our graph: {detail}; build one with `hymt engine build`")]
    Contract {
        /// The tensor, what it is, what it should be.
        detail: String,
    },
}

impl Limits {
    /// Reads a plan.
    ///
    /// # Errors
    /// [`ContractError`].
    pub fn read(plan: &impl Plan) -> Result<Self, ContractError> {
        let profiles = plan.profiles()?;
        if profiles < 2 {
            return Err(wrong(format!("it has {profiles} profiles; prefill and decode are 2")));
        }
        let tensors = Tensors(plan.tensors());
        for name in [TOKEN_IDS, POSITIONS, PAST_LENGTHS, LOGITS_AT] {
            tensors.find(name, Mode::Input, &[DataType::I32])?;
        }
        let logits = tensors.find(LOGITS, Mode::Output, &[DataType::F32])?;
        let vocab = size(logits, 2, 3)?;
        let cache = tensors.find(&past_key(0), Mode::Input, &[DataType::F16, DataType::F32])?;
        let (kv_heads, context, head_dim) =
            (size(cache, 1, 4)?, size(cache, 2, 4)?, size(cache, 3, 4)?);
        let layers = tensors.layers(cache)?;
        let element_bytes = cache.dtype.bits().unwrap_or(32) / 8;
        if !(head_dim * element_bytes).is_multiple_of(4) {
            return Err(wrong(format!("a head of {head_dim} elements is no whole words")));
        }
        let (prefill, decode) = (profile(plan, PREFILL)?, profile(plan, DECODE)?);
        if prefill.batch > decode.batch {
            let (some, all) = (prefill.batch, decode.batch);
            return Err(wrong(format!("prefill takes {some} rows, decode {all}")));
        }
        if decode.tokens > context || prefill.tokens > context {
            return Err(wrong(format!("a pass of more tokens than the cache of {context}")));
        }
        if decode.batch > SLOTS_MAX {
            return Err(wrong(format!("{} slots; at most {SLOTS_MAX}", decode.batch)));
        }
        let limits =
            Self { layers, kv_heads, head_dim, element_bytes, vocab, context, prefill, decode };
        limits.check_buffers()?;
        if limits.first_slot_step() > prefill.batch {
            let bytes = limits.slot_bytes();
            return Err(wrong(format!("a slot of {bytes} bytes is not aligned to {ALIGNMENT}")));
        }
        Ok(limits)
    }

    /// Sizes that a plan claims must not wrap around to buffers that are too short for it.
    fn check_buffers(&self) -> Result<(), ContractError> {
        let head_bytes = self.head_dim * self.element_bytes;
        let per_token = [self.kv_heads, head_bytes];
        let cache = [self.decode.batch, self.context, per_token[0], per_token[1]];
        for ProfileLimits { batch, tokens, logits } in [self.prefill, self.decode] {
            let new = [batch, tokens, per_token[0], per_token[1]];
            let logits = [batch, logits, self.vocab, 4];
            for (what, sizes) in [("cache", cache), ("new keys", new), ("logits", logits)] {
                let product =
                    sizes.iter().try_fold(1_usize, |bytes, size| bytes.checked_mul(*size));
                if product.is_none_or(|bytes| bytes > BUFFER_BYTES_MAX) {
                    return Err(wrong(format!("{what} of {sizes:?} bytes")));
                }
            }
        }
        Ok(())
    }

    /// As every engine says it.
    pub fn spec(&self) -> EngineSpec {
        EngineSpec {
            name: "tensorrt-int8".to_owned(),
            vocab_size: self.vocab,
            slots: self.decode.batch,
            context_tokens_max: self.context,
            step_tokens_max: self.prefill.batch * self.prefill.tokens,
        }
    }

    /// Bytes of the keys, or values, of one layer of one slot.
    pub fn slot_bytes(&self) -> usize {
        self.kv_heads * self.context * self.head_dim * self.element_bytes
    }

    /// A pass may begin at every so manyth slot: those whose cache is aligned.
    pub fn first_slot_step(&self) -> usize {
        (1..=ALIGNMENT).find(|n| (n * self.slot_bytes()).is_multiple_of(ALIGNMENT)).unwrap_or(1)
    }

    /// Largest number of tokens, padding included, of a pass.
    pub fn pass_tokens(&self) -> usize {
        (self.prefill.batch * self.prefill.tokens).max(self.decode.batch * self.decode.tokens)
    }

    /// Largest number of rows of logits of a pass.
    pub fn pass_logits(&self) -> usize {
        (self.prefill.batch * self.prefill.logits).max(self.decode.batch * self.decode.logits)
    }
}

struct Tensors<'a>(&'a [TensorInfo]);

impl<'a> Tensors<'a> {
    fn find(
        &self,
        name: &str,
        mode: Mode,
        dtypes: &[DataType],
    ) -> Result<&'a TensorInfo, ContractError> {
        let found = self.0.iter().find(|tensor| tensor.name == name && tensor.mode == mode);
        let tensor = found.ok_or_else(|| wrong(format!("no {mode:?} named '{name}'")))?;
        if !dtypes.contains(&tensor.dtype) || tensor.on_host {
            let place = if tensor.on_host { ", in host memory" } else { "" };
            let found = tensor.dtype;
            return Err(wrong(format!("'{name}' is {found:?}{place}; allowed: {dtypes:?}")));
        }
        Ok(tensor)
    }

    /// Counts layers; all must have a cache like that of layer 0.
    fn layers(&self, cache: &TensorInfo) -> Result<usize, ContractError> {
        let is_there = |name: &str| self.0.iter().any(|tensor| tensor.name == name);
        let layers = (0..LAYERS_MAX).take_while(|layer| is_there(&past_key(*layer))).count();
        if is_there(&past_key(layers)) {
            return Err(wrong(format!("more than {LAYERS_MAX} layers")));
        }
        for layer in 0..layers {
            for name in [past_key(layer), past_value(layer)] {
                let tensor = self.find(&name, Mode::Input, &[cache.dtype])?;
                if tensor.shape != cache.shape {
                    let (is, should) = (&tensor.shape, &cache.shape);
                    return Err(wrong(format!("'{name}' is {is}, '{}' {should}", cache.name)));
                }
            }
            for name in [new_key(layer), new_value(layer)] {
                let tensor = self.find(&name, Mode::Output, &[cache.dtype])?;
                if (size(tensor, 1, 4)?, size(tensor, 3, 4)?)
                    != (size(cache, 1, 4)?, size(cache, 3, 4)?)
                {
                    let (is, should) = (&tensor.shape, &cache.shape);
                    return Err(wrong(format!("'{name}' is {is}, '{}' {should}", cache.name)));
                }
            }
        }
        Ok(layers)
    }
}

/// A size that is fixed in the plan.
fn size(tensor: &TensorInfo, index: usize, rank: usize) -> Result<usize, ContractError> {
    let sizes = &tensor.shape.0;
    let fixed =
        sizes.get(index).filter(|size| sizes.len() == rank && (1..=SIZE_MAX).contains(*size));
    let name = &tensor.name;
    fixed.and_then(|size| usize::try_from(*size).ok()).ok_or_else(|| {
        wrong(format!("'{name}' is {}; expected {rank} sizes, fixed at {index}", tensor.shape))
    })
}

fn profile(plan: &impl Plan, profile: usize) -> Result<ProfileLimits, ContractError> {
    let bounds = |name: &str| -> Result<[usize; 2], ContractError> {
        let range = plan.profile_range(name, profile)?;
        let sizes = |sizes: &[i64]| match sizes {
            [a, b] if (1..=SIZE_MAX).contains(a) && (1..=SIZE_MAX).contains(b) => {
                Some([*a as usize, *b as usize])
            }
            _ => None,
        };
        match (sizes(&range.min.0), sizes(&range.max.0)) {
            (Some([1, 1]), Some(max)) => Ok(max),
            _ => {
                let (min, max) = (range.min, range.max);
                Err(wrong(format!("profile {profile} has '{name}' from {min} to {max}")))
            }
        }
    };
    let [batch, tokens] = bounds(TOKEN_IDS)?;
    let [rows, logits] = bounds(LOGITS_AT)?;
    let limits = ProfileLimits { batch, tokens, logits };
    if batch != rows || logits > tokens {
        return Err(wrong(format!("profile {profile} is {limits:?}, with logits of {rows} rows")));
    }
    Ok(limits)
}

fn wrong(detail: String) -> ContractError {
    ContractError::Contract { detail }
}
