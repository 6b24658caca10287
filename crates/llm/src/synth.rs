//! Random model folders of a real shape, for benchmarks and tests.
//!
//! The files are streamed to disk and need little memory, whatever the shape. Norm weights are far
//! from 1: with weights of 1 the order of RoPE and q/k norm would not show.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use half::bf16;
use rand::rngs::SmallRng;
use rand::{Rng, RngCore, SeedableRng};
use serde_json::{Value, json};

use crate::format::safetensors::{self, TensorHead};

/// A shape to fill with random numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SynthShape {
    /// HY-MT1.5-1.8B and Hy-MT2-1.8B: 1,791,080,448 parameters.
    B1_8,
    /// HY-MT1.5-7B and Hy-MT2-7B: 7,504,568,320 parameters.
    B7,
    /// Four layers as wide as those of the 1.8B models over a small vocabulary: 0.4 GB in bf16.
    B1_8Slice,
    /// A few thousand parameters, for tests.
    Tiny,
}

/// How the linear layers are stored; embedding and norms follow, in bf16 beside INT8.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SynthDtype {
    /// Four bytes a weight.
    F32,
    /// Two bytes a weight, as Tencent ships it.
    Bf16,
    /// One byte a weight, in the compressed-tensors `int-quantized` layout.
    Int8,
}

/// What to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SynthOptions {
    /// The shape.
    pub shape: SynthShape,
    /// Stored type.
    pub dtype: SynthDtype,
    /// Same seed, same bytes, for one version of this crate on 64-bit machines.
    pub seed: u64,
}

/// How far writing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SynthProgress {
    /// Bytes written.
    pub done: u64,
    /// Bytes in all.
    pub total: u64,
}

/// A model folder could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write '{}'", path.display())]
pub struct SynthError {
    /// The file or folder.
    pub path: PathBuf,
    /// What the system said.
    #[source]
    pub source: std::io::Error,
}

/// Writes `config.json` and `model.safetensors` into `dir`, which is made if it is missing. The
/// weights appear under their name only once they are complete.
///
/// # Errors
/// [`SynthError`] when the disk refuses.
pub fn write_model(
    dir: &Path,
    options: &SynthOptions,
    progress: &mut dyn FnMut(SynthProgress),
) -> Result<(), SynthError> {
    let at = |path: &Path| {
        let path = path.to_owned();
        move |source| SynthError { path, source }
    };
    std::fs::create_dir_all(dir).map_err(at(dir))?;
    let config = dir.join("config.json");
    let json = format!("{:#}\n", options.config_json());
    std::fs::write(&config, json).map_err(at(&config))?;
    let partial = dir.join("model.safetensors.partial");
    write_weights(&partial, options, progress).map_err(at(&partial))?;
    let weights = dir.join("model.safetensors");
    std::fs::rename(&partial, &weights).map_err(at(&weights))
}

/// Bytes generated between two writes and two progress reports.
const CHUNK_BYTES: usize = 1 << 20;

struct Dims {
    hidden: usize,
    ffn: usize,
    layers: usize,
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
    vocab: usize,
}

impl SynthShape {
    fn dims(self) -> Dims {
        match self {
            Self::B1_8 => Dims {
                hidden: 2048,
                ffn: 6144,
                layers: 32,
                heads: 16,
                kv_heads: 4,
                head_dim: 128,
                vocab: 120_818,
            },
            Self::B7 => Dims {
                hidden: 4096,
                ffn: 14_336,
                layers: 32,
                heads: 32,
                kv_heads: 8,
                head_dim: 128,
                vocab: 128_167,
            },
            Self::B1_8Slice => Dims { layers: 4, vocab: 4096, ..Self::B1_8.dims() },
            Self::Tiny => Dims {
                hidden: 64,
                ffn: 112,
                layers: 2,
                heads: 4,
                kv_heads: 2,
                head_dim: 16,
                vocab: 300,
            },
        }
    }
}

impl SynthOptions {
    fn config_json(&self) -> Value {
        let d = self.shape.dims();
        let (bos, eos, pad) = match self.shape {
            SynthShape::B7 => (127_958, 127_960, 127_961),
            SynthShape::B1_8 => (120_000, 120_020, 120_002),
            // Their vocabularies have no room for these.
            SynthShape::B1_8Slice | SynthShape::Tiny => (1, 2, 0),
        };
        let mut config = json!({
            "architectures": ["HunYuanDenseV1ForCausalLM"],
            "model_type": "hunyuan_v1_dense",
            "attention_bias": false,
            "bos_token_id": bos,
            "eos_token_id": eos,
            "head_dim": d.head_dim,
            "hidden_act": "silu",
            "hidden_size": d.hidden,
            "intermediate_size": d.ffn,
            "max_position_embeddings": 262_144,
            "mlp_bias": false,
            "num_attention_heads": d.heads,
            "num_hidden_layers": d.layers,
            "num_key_value_heads": d.kv_heads,
            "pad_token_id": pad,
            "rms_norm_eps": 1e-5,
            "rope_scaling": {"alpha": 1000.0, "beta_fast": 32, "beta_slow": 1, "factor": 1.0,
                "mscale": 1.0, "mscale_all_dim": 1.0, "type": "dynamic"},
            "rope_theta": 10000.0,
            "tie_word_embeddings": true,
            "torch_dtype": if self.dtype == SynthDtype::F32 { "float32" } else { "bfloat16" },
            "use_cla": false,
            "use_qk_norm": true,
            "vocab_size": d.vocab,
        });
        if self.dtype == SynthDtype::Int8 {
            config["quantization_config"] = crate::quant::int8::quantization_config();
        }
        config
    }

    /// Every tensor in file order.
    fn tensors(&self) -> Vec<SynthTensor> {
        let d = self.shape.dims();
        let (q, kv) = (d.heads * d.head_dim, d.kv_heads * d.head_dim);
        let mut list = TensorList { dtype: self.dtype, tensors: Vec::new() };
        list.float("model.embed_tokens.weight", vec![d.vocab, d.hidden], Fill::Spread(1.0));
        for layer in 0..d.layers {
            let name = |part: &str| format!("model.layers.{layer}.{part}.weight");
            list.norm(&name("input_layernorm"), d.hidden);
            list.linear(&name("self_attn.q_proj"), q, d.hidden);
            list.linear(&name("self_attn.k_proj"), kv, d.hidden);
            list.linear(&name("self_attn.v_proj"), kv, d.hidden);
            list.norm(&name("self_attn.query_layernorm"), d.head_dim);
            list.norm(&name("self_attn.key_layernorm"), d.head_dim);
            list.linear(&name("self_attn.o_proj"), d.hidden, q);
            list.norm(&name("post_attention_layernorm"), d.hidden);
            list.linear(&name("mlp.gate_proj"), d.ffn, d.hidden);
            list.linear(&name("mlp.up_proj"), d.ffn, d.hidden);
            list.linear(&name("mlp.down_proj"), d.hidden, d.ffn);
        }
        list.norm("model.norm.weight", d.hidden);
        list.tensors
    }
}

struct SynthTensor {
    name: String,
    shape: Vec<usize>,
    stored: Stored,
    fill: Fill,
}

#[derive(Clone, Copy)]
enum Stored {
    F32,
    Bf16,
    I8,
}

#[derive(Clone, Copy)]
enum Fill {
    /// Zero mean, this standard deviation.
    Spread(f32),
    /// Mean 1, standard deviation 0.5.
    AroundOne,
    /// INT8 levels, evenly from -127 to 127.
    Levels,
    /// One value.
    Constant(f32),
}

impl SynthTensor {
    fn dtype_name(&self) -> &'static str {
        match self.stored {
            Stored::F32 => "F32",
            Stored::Bf16 => "BF16",
            Stored::I8 => "I8",
        }
    }

    fn width(&self) -> usize {
        match self.stored {
            Stored::F32 => 4,
            Stored::Bf16 => 2,
            Stored::I8 => 1,
        }
    }

    fn bytes(&self) -> u64 {
        (self.shape.iter().product::<usize>() * self.width()) as u64
    }

    fn head(&self) -> TensorHead<'_> {
        let Self { name, shape, .. } = self;
        TensorHead { name, dtype: self.dtype_name(), shape, bytes: self.bytes() }
    }
}

struct TensorList {
    dtype: SynthDtype,
    tensors: Vec<SynthTensor>,
}

impl TensorList {
    fn float(&mut self, name: &str, shape: Vec<usize>, fill: Fill) {
        let stored = if self.dtype == SynthDtype::F32 { Stored::F32 } else { Stored::Bf16 };
        self.tensors.push(SynthTensor { name: name.to_owned(), shape, stored, fill });
    }

    fn norm(&mut self, name: &str, width: usize) {
        self.float(name, vec![width], Fill::AroundOne);
    }

    fn linear(&mut self, name: &str, rows: usize, cols: usize) {
        let spread = 1.0 / (cols as f32).sqrt();
        if self.dtype != SynthDtype::Int8 {
            return self.float(name, vec![rows, cols], Fill::Spread(spread));
        }
        // Even levels have a standard deviation of 127 / sqrt(3).
        let scale = Fill::Constant(spread * 3_f32.sqrt() / 127.0);
        let (name, shape) = (name.to_owned(), vec![rows, cols]);
        self.float(&format!("{name}_scale"), vec![rows, 1], scale);
        self.tensors.push(SynthTensor { name, shape, stored: Stored::I8, fill: Fill::Levels });
    }
}

fn write_weights(
    path: &Path,
    options: &SynthOptions,
    progress: &mut dyn FnMut(SynthProgress),
) -> std::io::Result<()> {
    let tensors = options.tensors();
    let total = tensors.iter().map(SynthTensor::bytes).sum();
    let mut file = BufWriter::new(File::create(path)?);
    file.write_all(&safetensors::header(tensors.iter().map(SynthTensor::head)))?;
    let mut done = 0;
    progress(SynthProgress { done, total });
    for (index, tensor) in tensors.iter().enumerate() {
        // A generator of its own, so that a tensor does not depend on those before it.
        let mut rng = SmallRng::seed_from_u64(options.seed ^ (index as u64) << 32);
        let mut left = tensor.bytes() as usize;
        while left > 0 {
            let len = left.min(CHUNK_BYTES);
            file.write_all(&random_bytes(&mut rng, tensor, len))?;
            left -= len;
            done += len as u64;
            progress(SynthProgress { done, total });
        }
    }
    file.into_inner()?.sync_all()
}

fn random_bytes(rng: &mut SmallRng, tensor: &SynthTensor, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    match tensor.stored {
        Stored::I8 => {
            rng.fill_bytes(&mut bytes);
            // The quantiser never produces -128.
            bytes.iter_mut().filter(|byte| **byte == 0x80).for_each(|byte| *byte = 0);
        }
        Stored::Bf16 => {
            for chunk in bytes.as_chunks_mut().0 {
                *chunk = bf16::from_f32(random(rng, tensor.fill)).to_le_bytes();
            }
        }
        Stored::F32 => {
            for chunk in bytes.as_chunks_mut().0 {
                *chunk = random(rng, tensor.fill).to_le_bytes();
            }
        }
    }
    bytes
}

/// Evenly distributed: a benchmark needs the variance, not the bell.
fn random(rng: &mut SmallRng, fill: Fill) -> f32 {
    let mut unit = |deviation: f32| rng.random_range(-1.0_f32..1.0) * deviation * 3_f32.sqrt();
    match fill {
        Fill::Spread(deviation) => unit(deviation),
        Fill::AroundOne => 1.0 + unit(0.5),
        Fill::Constant(value) => value,
        Fill::Levels => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ModelConfig;
    use crate::engine::cpu::{
        CpuEngine, CpuOptions, Precision, logits_of_all_positions, weights_bytes,
    };
    use crate::weights::ModelSource;

    #[test]
    fn real_shapes_have_the_published_number_of_parameters() {
        for (shape, n, n_norms) in
            [(SynthShape::B1_8, 1_791_080_448, 141_312), (SynthShape::B7, 7_504_568_320, 274_432)]
        {
            let options = SynthOptions { shape, dtype: SynthDtype::Bf16, seed: 0 };
            let bytes: u64 = options.tensors().iter().map(SynthTensor::bytes).sum();
            assert_eq!(bytes / 2, n);
            let json = options.config_json().to_string();
            let config = ModelConfig::from_json(json.as_bytes()).unwrap();
            assert_eq!(weights_bytes(&config, Precision::Int8), n - n_norms);
            assert_eq!(weights_bytes(&config, Precision::F32), 4 * (n - n_norms));
        }
    }

    #[test]
    fn every_stored_type_loads_and_runs() {
        for dtype in [SynthDtype::F32, SynthDtype::Bf16, SynthDtype::Int8] {
            let dir = tempfile::tempdir().unwrap();
            let options = SynthOptions { shape: SynthShape::Tiny, dtype, seed: 1 };
            let mut last = SynthProgress { done: 0, total: 1 };
            write_model(dir.path(), &options, &mut |progress| last = progress).unwrap();
            assert_eq!(last.done, last.total);
            let source = ModelSource::Dir(dir.path().to_owned());
            let mut engine = CpuEngine::load(&source, &CpuOptions::default(), &mut |_| {}).unwrap();
            let logits = logits_of_all_positions(&mut engine, &[1, 2, 3, 299]).unwrap();
            assert!(logits.iter().all(|logit| logit.is_finite()));
            assert!(logits.iter().any(|logit| logit.abs() > 0.1));
        }
    }

    #[test]
    fn one_seed_gives_one_file() {
        let write = |seed| {
            let dir = tempfile::tempdir().unwrap();
            let options = SynthOptions { shape: SynthShape::Tiny, dtype: SynthDtype::Bf16, seed };
            write_model(dir.path(), &options, &mut |_| {}).unwrap();
            std::fs::read(dir.path().join("model.safetensors")).unwrap()
        };
        assert!(write(5) == write(5));
        assert!(write(5) != write(6));
    }
}
