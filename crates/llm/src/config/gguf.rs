//! Hyper-parameters from the metadata of a GGUF file, architecture `hunyuan-dense`.
//!
//! Two traps of real files are settled here. `rope.freq_base` already holds the scaled base
//! (11158840 for HY-MT), and is scaled again only when the file says so by a
//! `rope.scaling.alpha`, which is llama.cpp's rule. And the end-of-text id in the metadata, which
//! some conversions set to 3 (a dollar sign), is not read at all: what ends an answer follows from
//! the vocabulary ([`crate::chat`]).

use super::{
    ConfigError, HEAD_DIM_MAX, HEADS_MAX, LAYERS_MAX, ModelConfig, POSITIONS_MAX, RopeConfig,
    VOCAB_MAX, WIDTH_MAX,
};
use crate::format::gguf::{Gguf, Value};

/// The only `general.architecture` that is read.
pub const ARCHITECTURE: &str = "hunyuan-dense";

const EMBEDDING: &str = "token_embd.weight";
const HEAD: &str = "output.weight";

impl ModelConfig {
    /// The configuration that a GGUF file describes.
    ///
    /// # Errors
    /// [`ConfigError`] names the key, its value and what is allowed.
    pub fn from_gguf(gguf: &Gguf<'_>) -> Result<Self, ConfigError> {
        let keys = Keys { gguf };
        keys.must_be("general.architecture", ARCHITECTURE)?;
        let hidden_size = keys.size("embedding_length", 2, WIDTH_MAX)?;
        let n_heads = keys.size("attention.head_count", 1, HEADS_MAX)?;
        let config = Self {
            hidden_size,
            intermediate_size: keys.size("feed_forward_length", 1, WIDTH_MAX)?,
            n_layers: keys.size("block_count", 1, LAYERS_MAX)?,
            n_heads,
            n_kv_heads: keys.size_or("attention.head_count_kv", n_heads, HEADS_MAX)?,
            head_dim: keys.size_or("attention.key_length", hidden_size / n_heads, HEAD_DIM_MAX)?,
            vocab_size: vocab_size(gguf)?,
            max_positions: keys.size("context_length", 1, POSITIONS_MAX)?,
            rms_norm_eps: keys.number("attention.layer_norm_rms_epsilon", 1e-12, 0.1)? as f32,
            rope: rope(&keys)?,
            tie_word_embeddings: !gguf.tensors.iter().any(|tensor| tensor.name == HEAD),
            quantization: None,
        };
        check(&config, &keys)?;
        Ok(config)
    }
}

fn check(config: &ModelConfig, keys: &Keys<'_>) -> Result<(), ConfigError> {
    if config.head_dim < 4 || !config.head_dim.is_multiple_of(2) {
        let allowed = format!("an even number from 4 to {HEAD_DIM_MAX}");
        return Err(keys.refuse("attention.key_length", &allowed));
    }
    if keys.has("attention.value_length")
        && keys.size("attention.value_length", 1, HEAD_DIM_MAX)? != config.head_dim
    {
        let allowed = format!("{}, as attention.key_length", config.head_dim);
        return Err(keys.refuse("attention.value_length", &allowed));
    }
    if !config.n_heads.is_multiple_of(config.n_kv_heads) {
        let allowed = format!("a divisor of attention.head_count ({})", config.n_heads);
        return Err(keys.refuse("attention.head_count_kv", &allowed));
    }
    if config.q_size() > WIDTH_MAX {
        let allowed = format!("at most {WIDTH_MAX} divided by attention.key_length");
        return Err(keys.refuse("attention.head_count", &allowed));
    }
    Ok(())
}

/// Rows of the embedding: what is computed with, whatever the metadata says of the vocabulary.
fn vocab_size(gguf: &Gguf<'_>) -> Result<usize, ConfigError> {
    let missing = || ConfigError::Missing { key: EMBEDDING.to_owned() };
    let embedding =
        gguf.tensors.iter().find(|tensor| tensor.name == EMBEDDING).ok_or_else(missing)?;
    match embedding.shape[..] {
        [rows, _] if rows <= VOCAB_MAX => Ok(rows),
        _ => Err(ConfigError::Refused {
            key: EMBEDDING.to_owned(),
            value: format!("of shape {:?}", embedding.shape),
            allowed: format!("[vocabulary of at most {VOCAB_MAX}, embedding_length]"),
        }),
    }
}

fn rope(keys: &Keys<'_>) -> Result<RopeConfig, ConfigError> {
    let theta = keys.number("rope.freq_base", 1.0, 1e12)?;
    if keys.has("rope.scaling.type") {
        keys.must_be(&Keys::path("rope.scaling.type"), "none")?;
    }
    if keys.has("rope.scaling.factor") && keys.number("rope.scaling.factor", 0.0, 1e9)? != 1.0 {
        return Err(keys.refuse("rope.scaling.factor", "1.0"));
    }
    // llama.cpp takes zero and less for "no alpha".
    let alpha = if keys.has("rope.scaling.alpha") {
        Some(keys.number("rope.scaling.alpha", -1e9, 1e9)?).filter(|alpha| *alpha > 0.0)
    } else {
        None
    };
    if let Some(alpha) = alpha.filter(|alpha| *alpha < 1e-6) {
        return Err(keys.refuse("rope.scaling.alpha", &format!("from 1e-6 (here {alpha:e})")));
    }
    Ok(RopeConfig { theta, alpha })
}

/// Checked access to the keys of the architecture.
struct Keys<'a> {
    gguf: &'a Gguf<'a>,
}

impl Keys<'_> {
    fn path(key: &str) -> String {
        format!("{ARCHITECTURE}.{key}")
    }

    fn has(&self, key: &str) -> bool {
        self.gguf.get(&Self::path(key)).is_some()
    }

    fn get(&self, key: &str) -> Result<&Value<'_>, ConfigError> {
        let path = Self::path(key);
        self.gguf.get(&path).ok_or(ConfigError::Missing { key: path })
    }

    fn size(&self, key: &str, min: usize, max: usize) -> Result<usize, ConfigError> {
        self.get(key)?
            .as_u64()
            .and_then(|value| usize::try_from(value).ok())
            .filter(|value| (min..=max).contains(value))
            .ok_or_else(|| self.refuse(key, &format!("an integer from {min} to {max}")))
    }

    fn size_or(&self, key: &str, fallback: usize, max: usize) -> Result<usize, ConfigError> {
        if self.has(key) { self.size(key, 1, max) } else { Ok(fallback) }
    }

    fn number(&self, key: &str, min: f64, max: f64) -> Result<f64, ConfigError> {
        self.get(key)?
            .as_f64()
            .filter(|value| (min..=max).contains(value))
            .ok_or_else(|| self.refuse(key, &format!("a number from {min} to {max}")))
    }

    /// A text key with its whole name.
    fn must_be(&self, path: &str, wanted: &str) -> Result<(), ConfigError> {
        let missing = || ConfigError::Missing { key: path.to_owned() };
        let value = self.gguf.get(path).ok_or_else(missing)?;
        if value.as_str() == Some(wanted) {
            return Ok(());
        }
        let (key, value, allowed) = (path.to_owned(), value.describe(), format!("{wanted:?}"));
        Err(ConfigError::Refused { key, value, allowed })
    }

    fn refuse(&self, key: &str, allowed: &str) -> ConfigError {
        let path = Self::path(key);
        let value = self.gguf.get(&path).map_or_else(|| "absent".to_owned(), Value::describe);
        ConfigError::Refused { key: path, value, allowed: allowed.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::gguf::tests::{File, text};

    const UNSIGNED: u32 = 4;
    const REAL: u32 = 6;
    const STRING: u32 = 8;

    /// Keys and values of the 1.8B model, with `changed` in place of those it names.
    fn file(changed: &[(&str, u32, Vec<u8>)]) -> File {
        let unsigned = |value: u32| (UNSIGNED, value.to_le_bytes().to_vec());
        let real = |value: f32| (REAL, value.to_le_bytes().to_vec());
        let keys = [
            ("general.architecture", (STRING, text(ARCHITECTURE))),
            ("hunyuan-dense.embedding_length", unsigned(2048)),
            ("hunyuan-dense.feed_forward_length", unsigned(6144)),
            ("hunyuan-dense.block_count", unsigned(32)),
            ("hunyuan-dense.attention.head_count", unsigned(16)),
            ("hunyuan-dense.attention.head_count_kv", unsigned(4)),
            ("hunyuan-dense.attention.key_length", unsigned(128)),
            ("hunyuan-dense.context_length", unsigned(262_144)),
            ("hunyuan-dense.attention.layer_norm_rms_epsilon", real(1e-5)),
            ("hunyuan-dense.rope.freq_base", real(11_158_840.0)),
            ("hunyuan-dense.rope.scaling.type", (STRING, text("none"))),
        ];
        let mut file = File::default().tensor("token_embd.weight", &[2, 120_818], 0, 0);
        for (key, (code, value)) in &keys {
            if !changed.iter().any(|(name, ..)| name == key) {
                file = file.key(key, *code, value);
            }
        }
        for (key, code, value) in changed.iter().filter(|(_, _, value)| !value.is_empty()) {
            file = file.key(key, *code, value);
        }
        file
    }

    fn parse_file(file: &File) -> Result<ModelConfig, ConfigError> {
        let bytes = file.bytes(2 * 966_560);
        ModelConfig::from_gguf(&Gguf::parse(&bytes, bytes.len() as u64).unwrap())
    }

    fn parse(changed: &[(&str, u32, Vec<u8>)]) -> Result<ModelConfig, ConfigError> {
        parse_file(&file(changed))
    }

    fn real(key: &'static str, value: f32) -> (&'static str, u32, Vec<u8>) {
        (key, REAL, value.to_le_bytes().to_vec())
    }

    #[test]
    fn the_base_is_scaled_once_whichever_way_the_file_says_it() {
        let (base, alpha) = ("hunyuan-dense.rope.freq_base", "hunyuan-dense.rope.scaling.alpha");
        let cases = [
            (vec![], 11_158_840.0),
            (vec![real(base, 10_000.0), real(alpha, 1000.0)], 11_158_839.925),
            (vec![real(alpha, 0.0)], 11_158_840.0),
            (vec![real(alpha, -1.0)], 11_158_840.0),
        ];
        for (changed, expected) in cases {
            let config = parse(&changed).unwrap();
            let base = config.rope.base(config.head_dim);
            assert!((base - expected).abs() < 0.01, "{changed:?}: {base}");
        }
    }

    #[test]
    fn a_head_of_its_own_is_used_where_there_is_one() {
        let with_head = file(&[]).tensor(HEAD, &[2, 120_818], 0, 966_560);
        assert!(!parse_file(&with_head).unwrap().tie_word_embeddings);
        assert!(parse(&[]).unwrap().tie_word_embeddings);
    }

    #[test]
    fn the_1_8b_model_is_described() {
        let config = parse(&[]).unwrap();
        assert_eq!((config.vocab_size, config.head_dim, config.n_kv_heads), (120_818, 128, 4));
    }

    #[test]
    fn refusals_name_the_key() {
        let unsigned = |key, value: u32| (key, UNSIGNED, value.to_le_bytes().to_vec());
        let gone = |key| (key, 0, Vec::new());
        let cases = [
            (("general.architecture", STRING, text("llama")), "hunyuan-dense"),
            (gone("general.architecture"), "missing"),
            (gone("hunyuan-dense.rope.freq_base"), "missing"),
            (unsigned("hunyuan-dense.block_count", 0), "256"),
            (unsigned("hunyuan-dense.embedding_length", 1 << 30), "65536"),
            (unsigned("hunyuan-dense.attention.head_count_kv", 3), "divisor"),
            (unsigned("hunyuan-dense.attention.key_length", 127), "even"),
            (unsigned("hunyuan-dense.attention.key_length", 2), "even"),
            (unsigned("hunyuan-dense.attention.value_length", 64), "128"),
            (unsigned("hunyuan-dense.attention.head_count", 512), "65536"),
            (("hunyuan-dense.rope.scaling.type", STRING, text("yarn")), "none"),
            (real("hunyuan-dense.rope.scaling.factor", 4.0), "1.0"),
            (real("hunyuan-dense.rope.scaling.alpha", f32::NAN), "alpha"),
            (real("hunyuan-dense.attention.layer_norm_rms_epsilon", f32::NAN), "number"),
        ];
        for (change, named) in cases {
            let mut changes = vec![change.clone()];
            if change.2 == 512_u32.to_le_bytes() {
                changes.push(unsigned("hunyuan-dense.attention.key_length", 512));
            }
            let message = parse(&changes).unwrap_err().to_string();
            assert!(message.contains(named), "{}: {message}", change.0);
            assert!(message.contains(change.0), "{}: {message}", change.0);
        }
    }
}
