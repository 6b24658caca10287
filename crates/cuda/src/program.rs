//! The kernels as a program in parts: source, constants, compilation and the cache of machine code.
//!
//! Compiled as one source they take 5 s at the 1.8B shape, most of it for the decode kernels. Each
//! part holds few kernels instead, so that NVRTC works on several at once.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use hymt_llm::config::ModelConfig;

use crate::error::CudaError;
use crate::nvrtc::{Compiled, Nvrtc};

/// Name and content of a file of `kernels/`.
type File = (&'static str, &'static str);

const BASE: File = ("base.cu", include_str!("../kernels/base.cu"));
const QUANTIZE: File = ("quantize.cu", include_str!("../kernels/quantize.cu"));
const MATRIX: File = ("matrix.cu", include_str!("../kernels/matrix.cu"));
const ATTENTION: File = ("attention.cu", include_str!("../kernels/attention.cu"));
const DECODE: File = ("decode.cu", include_str!("../kernels/decode.cu"));
const PREFILL: File = ("prefill.cu", include_str!("../kernels/prefill.cu"));
const LOAD: File = ("load.cu", include_str!("../kernels/load.cu"));

/// The files of each part, in the order in which they are compiled. `decode.cu` has only templates
/// until a macro `STAGES_n` makes a kernel of them.
const LOADING_FILES: &[File] = &[BASE, LOAD];
const DECODE_FILES: &[File] = &[BASE, QUANTIZE, MATRIX, ATTENTION, DECODE];
const PREFILL_FILES: &[File] = &[BASE, QUANTIZE, MATRIX, ATTENTION, DECODE, PREFILL];

/// Token counts that have a decode kernel of their own.
pub const DECODE_SIZES: [usize; 4] = [1, 2, 4, 8];
/// Most tokens that a decode kernel takes.
pub const DECODE_TOKENS_MAX: usize = DECODE_SIZES[DECODE_SIZES.len() - 1];
/// From so many tokens on one block quantises a row for all and the others multiply slices of the columns, as
/// in `decode.cu`.
const TOLD_FROM: usize = 3;
/// Slices of the columns, where each is whole pieces of the stream, as in `matrix.cu`.
const SLICES: usize = 4;
/// Most columns whose sums of products blocks add up in one word of memory: see `SUM_LIMIT` in `base.cu`.
const SUMMED_COLUMNS_MAX: usize = 128 * UNIT_COLS;
/// Threads of a block that compute, as in `base.cu`.
const THREADS: usize = 256;
/// Tokens of a page of the KV cache.
pub const PAGE_TOKENS: usize = 256;
/// Tokens of a split of attention.
pub const SPLIT_TOKENS: usize = 128;
/// Rows of a weight tile.
pub const TILE_ROWS: usize = 16;
/// Columns are padded to a multiple of this.
pub const UNIT_COLS: usize = 128;
/// Candidates that a block reports for a token.
pub const BEST: usize = 4;
/// Weights are allocated in pieces of at most this: JetPack 6 refuses about 1 GB in one piece.
const HEAD_PIECE_BYTES: usize = 128 << 20;
const WARPS: usize = THREADS / 32;
const UNIT_BYTES: usize = TILE_ROWS * UNIT_COLS;
/// Units of one stage of the stream of weights, and of the smallest pieces in which they come.
const CHUNK_UNITS: usize = 16;
const PIECE_UNITS: usize = 4;
/// Oldest architecture whose kernels have a stream of weights.
const STREAM_ARCH_MIN: u32 = 80;
/// Stages of the stream for which the kernels have barriers.
const STAGES_MAX: usize = 8;

/// A network's dimensions as the kernels see them.
#[derive(Debug, Clone, PartialEq)]
pub struct Shape {
    /// The model's own description.
    pub config: ModelConfig,
}

impl Shape {
    /// Checks that the kernels can run this shape.
    ///
    /// # Errors
    /// [`CudaError::Shape`].
    pub fn new(config: &ModelConfig) -> Result<Self, CudaError> {
        let check = |what, value: usize, sound: bool, allowed| {
            if sound { Ok(()) } else { Err(CudaError::Shape { what, value, allowed }) }
        };
        let power = config.head_dim.is_power_of_two() && (16..=256).contains(&config.head_dim);
        check("head_dim", config.head_dim, power, "of 16, 32, 64, 128 or 256")?;
        let (hidden, ffn) = (config.hidden_size, config.intermediate_size);
        check("hidden_size", hidden, hidden.is_multiple_of(8), "as a multiple of 8")?;
        check("intermediate_size", ffn, ffn.is_multiple_of(8), "as a multiple of 8")?;
        let group = config.n_heads / config.n_kv_heads;
        check("query heads per key head", group, group <= 8, "of at most 8")?;
        Ok(Self { config: config.clone() })
    }

    /// Columns of the widest matrix.
    pub fn widest(&self) -> usize {
        let c = &self.config;
        c.hidden_size.max(c.q_size()).max(c.intermediate_size)
    }

    /// Rows of queries, keys and values together.
    pub fn qkv_rows(&self) -> usize {
        self.config.q_size() + 2 * self.config.kv_size()
    }

    /// Tiles of one piece of the output head.
    pub fn head_piece_tiles(&self) -> usize {
        (HEAD_PIECE_BYTES / (TILE_ROWS * padded(self.config.hidden_size))).max(1)
    }

    /// Tiles of the output head.
    pub fn head_tiles(&self) -> usize {
        self.config.vocab_size.div_ceil(TILE_ROWS)
    }

    /// Pieces of the output head.
    pub fn head_pieces(&self) -> usize {
        self.head_tiles().div_ceil(self.head_piece_tiles())
    }

    /// Bytes of one page of the KV cache, all layers.
    pub fn page_bytes(&self) -> usize {
        let c = &self.config;
        // Two bytes an element, and a unit a head.
        c.n_layers * 2 * c.n_kv_heads * PAGE_TOKENS * (2 * c.head_dim + size_of::<f32>())
    }

    /// Words that a token leaves in a layer's exchange, as `EXCHANGED_ALL` in `decode.cu`.
    fn exchanged_words(&self) -> usize {
        let c = &self.config;
        let yielded = self.qkv_rows() + c.q_size() + 2 * c.hidden_size + c.intermediate_size;
        yielded + self.told_words()
    }

    /// Of these, levels and scales, as `LEVEL_WORDS` there.
    fn told_words(&self) -> usize {
        let c = &self.config;
        let levels = 2 * padded(c.hidden_size) + padded(c.q_size()) + padded(c.intermediate_size);
        levels / 4 + 4
    }

    /// Bytes of one of the two exchanges of the decode kernels, for `rows` tokens.
    pub fn exchange_bytes(&self, rows: usize) -> usize {
        (self.config.n_layers + 1) * self.exchange_layer(rows)
    }

    /// Bytes of each layer of it.
    fn exchange_layer(&self, rows: usize) -> usize {
        4 * rows * self.exchanged_words()
    }

    /// The parts of it that hold what one block quantises for all: the end of each layer.
    pub fn told_parts(&self, rows: usize) -> impl Iterator<Item = Range<usize>> {
        let (layer, told) = (self.exchange_layer(rows), 4 * rows * self.told_words());
        (1..=self.config.n_layers + 1).map(move |end| end * layer - told..end * layer)
    }

    /// Words of one split's results of attention, all heads.
    pub fn split_words(&self) -> usize {
        self.config.n_heads * (self.config.head_dim + 2)
    }

    /// Shared memory of a decode kernel beside its stream; a little more than it takes.
    fn fixed_shared(&self, tokens: usize) -> usize {
        let c = &self.config;
        let widest = self.widest();
        let held = if tokens < TOLD_FROM {
            padded(widest)
        } else {
            padded(c.hidden_size).max(slice(c.q_size())).max(slice(c.intermediate_size))
        };
        let x = (tokens * (held + 32)).max(THREADS * 4);
        let cells = 4 * (4 * WARPS * TILE_ROWS * tokens).max(2048);
        let own = 2 * tokens + 8 * ((tokens + 6) / 4);
        let attention = (2 * WARPS + own) * c.head_dim + 4 * (SPLIT_TOKENS + WARPS + 2 * tokens);
        let rows_at_once = if tokens < TOLD_FROM { tokens } else { 1 };
        let quantize = rows_at_once * 4 * (widest.div_ceil(UNIT_COLS) + WARPS);
        let barriers = 8 * STAGES_MAX * (CHUNK_UNITS / PIECE_UNITS + 1);
        let phases = 8 * (4 * c.n_layers + self.head_pieces());
        (x + cells).max(attention) + 64 + 4 * tokens + quantize + barriers + phases + 512
    }

    /// Stages of the stream of each decode kernel that fits `shared` bytes of a block.
    fn stages(&self, target: &Target) -> Vec<(usize, usize)> {
        let widest = padded(self.widest());
        let tokens_max =
            if widest <= SUMMED_COLUMNS_MAX { DECODE_TOKENS_MAX } else { TOLD_FROM - 1 };
        DECODE_SIZES
            .iter()
            .filter(|tokens| **tokens <= tokens_max)
            .filter_map(|tokens| {
                let left = target.shared_bytes.checked_sub(self.fixed_shared(*tokens))?;
                let stages = match target.arch >= STREAM_ARCH_MIN {
                    true => (left / (CHUNK_UNITS * UNIT_BYTES)).min(STAGES_MAX),
                    // Without a stream the number only says that there is such a kernel.
                    false => 1,
                };
                (stages > 0).then_some((*tokens, stages))
            })
            .collect()
    }
}

/// What a program is compiled for.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    /// Compute capability, for example 90.
    pub arch: u32,
    /// Shared memory that one block may have. Bytes.
    pub shared_bytes: usize,
}

/// The kernels for one shape and target.
#[derive(Debug, Clone)]
pub struct Program {
    /// What loading weights needs: small, so that it need not wait for the rest.
    pub loading: Source,
    /// What steps need, the slowest to compile first: the kernels of prompts, and each decode kernel
    /// alone.
    pub steps: Vec<Source>,
    /// Token counts that have a decode kernel.
    pub decode_sizes: Vec<usize>,
}

impl Program {
    /// Puts the program together.
    pub fn new(shape: &Shape, target: &Target) -> Self {
        let c = &shape.config;
        let macros = [
            ("HIDDEN", c.hidden_size.to_string()),
            ("FFN", c.intermediate_size.to_string()),
            ("HEADS", c.n_heads.to_string()),
            ("KV_HEADS", c.n_kv_heads.to_string()),
            ("HEAD_DIM", c.head_dim.to_string()),
            ("VOCAB", c.vocab_size.to_string()),
            ("LAYERS", c.n_layers.to_string()),
            ("EPS_BITS", format!("{:#x}u", c.rms_norm_eps.to_bits())),
            ("HEAD_PIECE_TILES", shape.head_piece_tiles().to_string()),
        ]
        .map(|(name, value)| format!("-D{name}={value}"));
        let source = |name: &str, files: &[File], stages: &[(usize, usize)]| {
            let mut options: Vec<_> = ["--fmad=false", "--std=c++17"].map(str::to_owned).into();
            options.extend(macros.iter().cloned());
            options.extend(stages.iter().map(|(n, stages)| format!("-DSTAGES_{n}={stages}")));
            let text = |(name, content): &File| format!("#line 1 \"{name}\"\n{content}");
            Source {
                name: name.to_owned(),
                text: files.iter().map(text).collect(),
                options,
                arch: format!("sm_{}", target.arch),
            }
        };
        let stages = shape.stages(target);
        let mut steps = vec![source("prefill", PREFILL_FILES, &[])];
        steps.extend(stages.iter().rev().map(|one| {
            source(&format!("decode-{}", one.0), DECODE_FILES, std::slice::from_ref(one))
        }));
        Self {
            loading: source("load", LOADING_FILES, &[]),
            steps,
            decode_sizes: stages.iter().map(|(n, _)| *n).collect(),
        }
    }

    /// All parts.
    pub fn sources(&self) -> impl Iterator<Item = &Source> {
        std::iter::once(&self.loading).chain(&self.steps)
    }

    /// The machine code of [`Self::steps`], made on as many threads as there are cores.
    ///
    /// # Errors
    /// As [`Source::machine_code`].
    pub fn steps_code(
        &self,
        nvrtc: &Nvrtc,
        cache: Option<&Path>,
    ) -> Result<Vec<MachineCode>, CudaError> {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
        std::thread::scope(|scope| {
            for _ in 0..cores.min(self.steps.len()) {
                scope.spawn(|| {
                    // Each thread takes the next part that nobody has taken.
                    while let Some(source) = self.steps.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let code = source.machine_code(nvrtc, cache);
                        done.lock().expect("no thread panics while it holds this").push(code);
                    }
                });
            }
        });
        done.into_inner().expect("as above").into_iter().collect()
    }
}

/// Source and options of some kernels.
#[derive(Debug, Clone)]
pub struct Source {
    /// What they are for, for example `decode-1`.
    pub name: String,
    /// The source.
    pub text: String,
    /// Options beside the architecture.
    pub options: Vec<String>,
    /// The architecture, for example `sm_90`.
    pub arch: String,
}

/// What a GPU runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MachineCode {
    /// A whole cubin.
    pub cubin: Vec<u8>,
    /// How long it took to compile; `None` when it came from the cache.
    pub compiled_in: Option<Duration>,
}

impl Source {
    /// Compiles with the compiler's report of registers and spills in the log.
    ///
    /// # Errors
    /// [`CudaError::Compile`].
    pub fn compile_with_report(&self, nvrtc: &Nvrtc) -> Result<Compiled, CudaError> {
        let mut options = self.options.clone();
        options.push("--ptxas-options=-v".to_owned());
        nvrtc.compile(&self.text, &self.arch, &options)
    }

    /// The machine code: from `cache`, or compiled now and kept there.
    ///
    /// # Errors
    /// [`CudaError`]; a cache that cannot be written is only logged.
    pub fn machine_code(
        &self,
        nvrtc: &Nvrtc,
        cache: Option<&Path>,
    ) -> Result<MachineCode, CudaError> {
        let file = cache.map(|folder| self.cache_file(folder, nvrtc.version()));
        if let Some(cubin) = file.as_ref().and_then(|file| read_cubin(file)) {
            return Ok(MachineCode { cubin, compiled_in: None });
        }
        let started = Instant::now();
        let cubin = nvrtc.compile(&self.text, &self.arch, &self.options)?.cubin;
        let took = started.elapsed();
        tracing::debug!(name = self.name, arch = self.arch, ?took, "compiled CUDA kernels");
        if let Some(file) = file
            && let Err(error) = write_cubin(&file, &cubin)
        {
            tracing::warn!(%error, "the kernel cache cannot be written");
        }
        Ok(MachineCode { cubin, compiled_in: Some(took) })
    }

    fn cache_file(&self, folder: &Path, version: (i32, i32)) -> PathBuf {
        let mut hasher = DefaultHasher::new();
        (&self.text, &self.options, &self.arch, version).hash(&mut hasher);
        let (name, arch, (major, minor)) = (&self.name, &self.arch, version);
        let hash = hasher.finish();
        folder.join(format!("hymt-{name}-{arch}-nvrtc{major}.{minor}-{hash:016x}.cubin"))
    }
}

/// Blocks on which the decode kernel for `tokens` tokens runs on a device of so many multiprocessors: one on
/// each, or, of slices, as many as there are whole rounds of them. `None` where there are fewer than tokens that
/// are quantised for all, each by a block of its own.
pub fn decode_blocks(tokens: usize, multiprocessors: usize) -> Option<usize> {
    if tokens < TOLD_FROM {
        return Some(multiprocessors);
    }
    let blocks = multiprocessors / SLICES * SLICES;
    (blocks >= DECODE_TOKENS_MAX).then_some(blocks)
}

/// Columns of `k` that a block multiplies at a time where they are sliced, as `SLICE_OF` in `decode.cu`.
fn slice(k: usize) -> usize {
    let slice = padded(k) / SLICES;
    if slice.is_multiple_of(PIECE_UNITS * UNIT_COLS) { slice } else { padded(k) }
}

/// `k` columns padded to whole units.
pub fn padded(k: usize) -> usize {
    k.next_multiple_of(UNIT_COLS)
}

/// Where machine code is kept when nobody says otherwise: `$XDG_CACHE_HOME/hymt`, or
/// `~/.cache/hymt`.
pub fn default_cache() -> Option<PathBuf> {
    let base = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    base.or_else(home).map(|base| base.join("hymt"))
}

/// A whole cubin, or nothing: a file that is no ELF was cut short or is not ours.
fn read_cubin(file: &Path) -> Option<Vec<u8>> {
    const CUBIN_BYTES_MAX: u64 = 64 << 20;
    let len = std::fs::metadata(file).ok()?.len();
    let bytes = (len <= CUBIN_BYTES_MAX).then(|| std::fs::read(file).ok())??;
    bytes.starts_with(b"\x7fELF").then_some(bytes)
}

/// Written beside its name and renamed, so that no reader ever sees half of it.
fn write_cubin(file: &Path, cubin: &[u8]) -> Result<(), CudaError> {
    let at = |path: &Path| {
        let path = path.to_owned();
        move |source| CudaError::Cache { path, source }
    };
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder).map_err(at(folder))?;
    }
    // No two writers share a name, of other processes or of this one.
    static WRITERS: AtomicUsize = AtomicUsize::new(0);
    let writer = WRITERS.fetch_add(1, Ordering::Relaxed);
    let partial = file.with_extension(format!("partial{}-{writer}", std::process::id()));
    std::fs::write(&partial, cubin).map_err(at(&partial))?;
    std::fs::rename(&partial, file).map_err(at(file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_tokens_decode_on_all_multiprocessors_and_more_on_whole_rounds_of_slices() {
        for (tokens, multiprocessors, blocks) in [
            (1, 132, Some(132)),
            (2, 114, Some(114)),
            (1, 1, Some(1)),
            (4, 132, Some(132)),
            (8, 114, Some(112)),
            (4, 8, Some(8)),
            (8, 11, Some(8)),
            // A Xavier NX.
            (2, 6, Some(6)),
            (4, 6, None),
        ] {
            assert_eq!(
                decode_blocks(tokens, multiprocessors),
                blocks,
                "{tokens} on {multiprocessors}"
            );
        }
    }

    #[test]
    fn a_slice_is_whole_pieces_of_the_stream_or_all_columns() {
        for (k, columns) in
            [(2048, 512), (6144, 1536), (4096, 1024), (14_336, 3584), (64, 128), (1024, 1024)]
        {
            assert_eq!(slice(k), columns, "{k}");
        }
    }
}
