//! The kernels as one program: source, constants, compilation and the cache of machine code.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use hymt_llm::config::ModelConfig;

use crate::error::CudaError;
use crate::nvrtc::{Compiled, Nvrtc};

/// The files of `kernels/`, in the order in which they are compiled.
const FILES: [(&str, &str); 7] = [
    ("base.cu", include_str!("../kernels/base.cu")),
    ("quantize.cu", include_str!("../kernels/quantize.cu")),
    ("matrix.cu", include_str!("../kernels/matrix.cu")),
    ("attention.cu", include_str!("../kernels/attention.cu")),
    ("decode.cu", include_str!("../kernels/decode.cu")),
    ("prefill.cu", include_str!("../kernels/prefill.cu")),
    ("load.cu", include_str!("../kernels/load.cu")),
];

/// Token counts that have a decode kernel of their own.
pub const DECODE_SIZES: [usize; 4] = [1, 2, 4, 8];
/// Threads of every block.
pub const THREADS: usize = 512;
/// Tokens of a page of the KV cache.
pub const PAGE_TOKENS: usize = 256;
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
/// Stages of a warp's ring for which the kernels have barriers.
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
        self.config.n_layers * 2 * self.config.kv_size() * PAGE_TOKENS * 2
    }

    /// Shared memory of a decode kernel beside its ring; a little more than it takes.
    fn fixed_shared(&self, tokens: usize) -> usize {
        let c = &self.config;
        let widest = c.hidden_size.max(c.q_size()).max(c.intermediate_size);
        let group = c.n_heads / c.n_kv_heads;
        let x = (tokens * (padded(widest) + 32)).max(THREADS * 4);
        let attention = 4 * group * (9 * c.head_dim + PAGE_TOKENS) + 4 * c.head_dim + 16 * group;
        let cells = if tokens >= 8 { 4 * 4 * WARPS * TILE_ROWS * 8 } else { 4 * 4096 };
        let parts = 4 * c.hidden_size.div_ceil(TILE_ROWS) + 4 * WARPS + 32 + 4 * tokens;
        (x + cells).max(attention + 64) + 4 * tokens + parts + 16 * WARPS * STAGES_MAX + 256
    }

    /// Stages of the rings of each decode kernel that fits `shared` bytes of a block.
    fn stages(&self, shared: usize) -> Vec<(usize, usize)> {
        DECODE_SIZES
            .iter()
            .filter_map(|tokens| {
                let left = shared.checked_sub(self.fixed_shared(*tokens))?;
                let stages = (left / (WARPS * UNIT_BYTES)).min(STAGES_MAX);
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

/// Source and options of the kernels for one shape and target.
#[derive(Debug, Clone)]
pub struct Source {
    /// The program.
    pub text: String,
    /// Options beside the architecture.
    pub options: Vec<String>,
    /// The architecture, for example `sm_90`.
    pub arch: String,
    /// Token counts that have a decode kernel.
    pub decode_sizes: Vec<usize>,
}

impl Source {
    /// Puts the program together.
    pub fn new(shape: &Shape, target: &Target) -> Self {
        let c = &shape.config;
        let mut macros = vec![
            ("HIDDEN".to_owned(), c.hidden_size.to_string()),
            ("FFN".to_owned(), c.intermediate_size.to_string()),
            ("HEADS".to_owned(), c.n_heads.to_string()),
            ("KV_HEADS".to_owned(), c.n_kv_heads.to_string()),
            ("HEAD_DIM".to_owned(), c.head_dim.to_string()),
            ("VOCAB".to_owned(), c.vocab_size.to_string()),
            ("LAYERS".to_owned(), c.n_layers.to_string()),
            ("EPS_BITS".to_owned(), format!("{:#x}u", c.rms_norm_eps.to_bits())),
            ("HEAD_PIECE_TILES".to_owned(), shape.head_piece_tiles().to_string()),
        ];
        let stages = shape.stages(target.shared_bytes);
        macros.extend(stages.iter().map(|(n, stages)| (format!("STAGES_{n}"), stages.to_string())));
        let mut text = String::new();
        for (name, content) in FILES {
            text.push_str(&format!("#line 1 \"{name}\"\n{content}"));
        }
        let mut options: Vec<_> = ["--fmad=false", "--std=c++17"].map(str::to_owned).into();
        options.extend(macros.iter().map(|(name, value)| format!("-D{name}={value}")));
        Self {
            text,
            options,
            arch: format!("sm_{}", target.arch),
            decode_sizes: stages.iter().map(|(n, _)| *n).collect(),
        }
    }

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
    pub fn cubin(&self, nvrtc: &Nvrtc, cache: Option<&Path>) -> Result<Vec<u8>, CudaError> {
        let file = cache.map(|folder| self.cache_file(folder, nvrtc.version()));
        if let Some(cubin) = file.as_ref().and_then(|file| read_cubin(file)) {
            return Ok(cubin);
        }
        let started = std::time::Instant::now();
        let cubin = nvrtc.compile(&self.text, &self.arch, &self.options)?.cubin;
        let ms = started.elapsed().as_millis();
        tracing::info!(arch = self.arch, ms, "compiled the CUDA kernels");
        if let Some(file) = file
            && let Err(error) = write_cubin(&file, &cubin)
        {
            tracing::warn!(%error, "the kernel cache cannot be written");
        }
        Ok(cubin)
    }

    fn cache_file(&self, folder: &Path, version: (i32, i32)) -> PathBuf {
        let mut hasher = DefaultHasher::new();
        (&self.text, &self.options, &self.arch, version).hash(&mut hasher);
        let hash = hasher.finish();
        folder
            .join(format!("hymt-{}-nvrtc{}.{}-{hash:016x}.cubin", self.arch, version.0, version.1))
    }
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
    let partial = file.with_extension(format!("partial{}", std::process::id()));
    std::fs::write(&partial, cubin).map_err(at(&partial))?;
    std::fs::rename(&partial, file).map_err(at(file))
}
