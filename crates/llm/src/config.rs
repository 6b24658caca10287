//! Model hyper-parameters: `config.json` of HunYuanDenseV1 in both spellings, or GGUF metadata.
//!
//! transformers 4 writes `rope_scaling` + `rope_theta` + `torch_dtype`; transformers 5 writes
//! `rope_parameters` + `dtype`. Everything an engine relies on is checked here, so that a
//! [`ModelConfig`] is always safe to compute with.

mod gguf;
mod quantization;

use serde_json::{Map, Value};

pub use gguf::ARCHITECTURE as GGUF_ARCHITECTURE;
pub use quantization::{GptqConfig, QuantizationConfig, Scheme};

/// Most bytes of a `config.json`.
pub const CONFIG_BYTES_MAX: usize = 1 << 20;
/// Widest hidden, attention or feed-forward vector. An INT8 dot product of this length with an
/// unsigned 8-bit operand, 65536 * 255 * 128, still fits in an i32.
pub const WIDTH_MAX: usize = 65_536;
/// Most layers.
pub const LAYERS_MAX: usize = 256;
/// Most attention heads.
pub const HEADS_MAX: usize = 512;
/// Widest attention head.
pub const HEAD_DIM_MAX: usize = 512;
/// Largest vocabulary.
pub const VOCAB_MAX: usize = 1 << 20;
/// Longest context a configuration may claim. Tokens.
pub const POSITIONS_MAX: usize = 1 << 24;

const MODEL_TYPE: &str = "hunyuan_v1_dense";

/// Hyper-parameters of one HunYuanDenseV1 network, all within the bounds above.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelConfig {
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width inside the feed-forward block.
    pub intermediate_size: usize,
    /// Number of decoder layers.
    pub n_layers: usize,
    /// Number of query heads.
    pub n_heads: usize,
    /// Number of key/value heads; divides `n_heads`.
    pub n_kv_heads: usize,
    /// Width of one head; even.
    pub head_dim: usize,
    /// Number of rows of the embedding.
    pub vocab_size: usize,
    /// Longest context the model was made for. Tokens.
    pub max_positions: usize,
    /// Epsilon of every RMSNorm.
    pub rms_norm_eps: f32,
    /// Rotary embedding.
    pub rope: RopeConfig,
    /// Whether the output head is the embedding.
    pub tie_word_embeddings: bool,
    /// Set when the linear layers of a safetensors folder are stored quantised.
    pub quantization: Option<QuantizationConfig>,
}

/// Rotary position embedding with the static NTK base of this family.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RopeConfig {
    /// `rope_theta` before scaling.
    pub theta: f64,
    /// `alpha` of the NTK scaling; absent when the model is unscaled.
    pub alpha: Option<f64>,
}

impl RopeConfig {
    /// The base in use at every position: `theta * alpha^(d / (d - 2))`, for head width `d`.
    pub fn base(&self, head_dim: usize) -> f64 {
        let d = head_dim as f64;
        self.alpha.map_or(self.theta, |alpha| self.theta * alpha.powf(d / (d - 2.0)))
    }
}

/// Why a `config.json` was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// Not JSON.
    #[error("not valid JSON: {detail}")]
    Json {
        /// Line and column.
        detail: String,
    },
    /// A key is absent.
    #[error("key '{key}' is missing")]
    Missing {
        /// The key.
        key: String,
    },
    /// A key has a value of the wrong kind, out of bounds, or one that is not supported.
    #[error("key '{key}' is {value}; allowed: {allowed}")]
    Refused {
        /// The key.
        key: String,
        /// Its value as JSON, shortened.
        value: String,
        /// What would be accepted.
        allowed: String,
    },
}

impl ModelConfig {
    /// Parses the bytes of a `config.json`.
    ///
    /// # Errors
    /// [`ConfigError`] names the key, its value and what is allowed.
    pub fn from_json(bytes: &[u8]) -> Result<Self, ConfigError> {
        Self::from_map(&object(bytes)?)
    }

    /// As [`Self::from_json`], with the bytes of a `quantize_config.json` beside it, where GPTQ
    /// tools put what newer ones write under `quantization_config`; that key wins.
    ///
    /// # Errors
    /// As [`Self::from_json`].
    pub fn from_json_with_gptq(bytes: &[u8], gptq: &[u8]) -> Result<Self, ConfigError> {
        let mut root = object(bytes)?;
        if root.get("quantization_config").is_none_or(Value::is_null) {
            let mut section = object(gptq)?;
            section.entry("quant_method").or_insert_with(|| "gptq".into());
            root.insert("quantization_config".to_owned(), Value::Object(section));
        }
        Self::from_map(&root)
    }

    fn from_map(root: &Map<String, Value>) -> Result<Self, ConfigError> {
        let keys = Keys { prefix: String::new(), map: root };
        refuse_unsupported(&keys)?;
        let config = Self {
            hidden_size: keys.size("hidden_size", 2, WIDTH_MAX)?,
            intermediate_size: keys.size("intermediate_size", 1, WIDTH_MAX)?,
            n_layers: keys.size("num_hidden_layers", 1, LAYERS_MAX)?,
            n_heads: keys.size("num_attention_heads", 1, HEADS_MAX)?,
            n_kv_heads: keys.size_or("num_key_value_heads", "num_attention_heads", HEADS_MAX)?,
            head_dim: head_dim(&keys)?,
            vocab_size: keys.size("vocab_size", 1, VOCAB_MAX)?,
            max_positions: keys.size("max_position_embeddings", 1, POSITIONS_MAX)?,
            rms_norm_eps: keys.number("rms_norm_eps", 1e-12, 0.1)? as f32,
            rope: rope(&keys)?,
            tie_word_embeddings: keys.flag("tie_word_embeddings")?.unwrap_or(true),
            quantization: QuantizationConfig::from_keys(&keys)?,
        };
        config.check_heads(&keys)?;
        Ok(config)
    }

    /// Width of all query heads together.
    pub fn q_size(&self) -> usize {
        self.n_heads * self.head_dim
    }

    /// Width of all key (or value) heads together.
    pub fn kv_size(&self) -> usize {
        self.n_kv_heads * self.head_dim
    }

    fn check_heads(&self, keys: &Keys<'_>) -> Result<(), ConfigError> {
        if !self.n_heads.is_multiple_of(self.n_kv_heads) {
            let allowed = format!("a divisor of num_attention_heads ({})", self.n_heads);
            return Err(keys.refuse("num_key_value_heads", &allowed));
        }
        if self.q_size() > WIDTH_MAX {
            let allowed = format!("num_attention_heads * head_dim of at most {WIDTH_MAX}");
            return Err(keys.refuse("num_attention_heads", &allowed));
        }
        Ok(())
    }
}

fn object(bytes: &[u8]) -> Result<Map<String, Value>, ConfigError> {
    if bytes.len() > CONFIG_BYTES_MAX {
        let detail = format!("{} bytes; at most {CONFIG_BYTES_MAX}", bytes.len());
        return Err(ConfigError::Json { detail });
    }
    serde_json::from_slice(bytes).map_err(|error| ConfigError::Json { detail: error.to_string() })
}

/// Things other members of the family have and this network does not.
fn refuse_unsupported(keys: &Keys<'_>) -> Result<(), ConfigError> {
    keys.must_be("model_type", MODEL_TYPE, true)?;
    keys.must_be("hidden_act", "silu", true)?;
    for key in ["attention_bias", "mlp_bias", "use_cla", "use_mla", "use_mixed_mlp_moe"] {
        if keys.flag(key)? == Some(true) {
            return Err(keys.refuse(key, "false"));
        }
    }
    if keys.flag("use_qk_norm")? == Some(false) {
        return Err(keys.refuse("use_qk_norm", "true"));
    }
    match keys.text("torch_dtype")?.or(keys.text("dtype")?) {
        None | Some("bfloat16" | "float16" | "float32") => Ok(()),
        Some(_) => {
            let key = if keys.map.contains_key("torch_dtype") { "torch_dtype" } else { "dtype" };
            Err(keys.refuse(key, "bfloat16, float16, float32"))
        }
    }
}

fn head_dim(keys: &Keys<'_>) -> Result<usize, ConfigError> {
    let key = ["head_dim", "attention_head_dim"].into_iter().find(|key| keys.has(key));
    let head_dim = match key {
        Some(key) => keys.size(key, 4, HEAD_DIM_MAX)?,
        None => {
            let hidden = keys.size("hidden_size", 2, WIDTH_MAX)?;
            hidden / keys.size("num_attention_heads", 1, HEADS_MAX)?
        }
    };
    if !(4..=HEAD_DIM_MAX).contains(&head_dim) || head_dim % 2 != 0 {
        let allowed = format!("an even number from 4 to {HEAD_DIM_MAX} (here {head_dim})");
        return Err(keys.refuse(key.unwrap_or("head_dim"), &allowed));
    }
    Ok(head_dim)
}

fn rope(keys: &Keys<'_>) -> Result<RopeConfig, ConfigError> {
    let section = match keys.section("rope_parameters")? {
        Some(section) => Some(section),
        None => keys.section("rope_scaling")?,
    };
    let Some(section) = section else {
        let theta = keys.number("rope_theta", 1.0, 1e12)?;
        return Ok(RopeConfig { theta, alpha: None });
    };
    let theta_at = if section.has("rope_theta") { &section } else { keys };
    let theta = theta_at.number("rope_theta", 1.0, 1e12)?;
    let kind_key = if section.has("rope_type") { "rope_type" } else { "type" };
    let alpha = match section.text(kind_key)?.unwrap_or("default") {
        // Tencent calls its static base change "dynamic"; without alpha it would really be
        // length dependent, which this family never is.
        "dynamic" | "ntk_alpha" => Some(section.number("alpha", 1e-6, 1e9)?),
        "default" => None,
        _ => return Err(section.refuse(kind_key, "dynamic (with alpha), default")),
    };
    if section.has("factor") && section.number("factor", 0.0, 1e9)? != 1.0 {
        return Err(section.refuse("factor", "1.0"));
    }
    Ok(RopeConfig { theta, alpha })
}

/// Checked access to the keys of one JSON object.
struct Keys<'a> {
    /// Dotted path of the object, for error messages.
    prefix: String,
    map: &'a Map<String, Value>,
}

impl<'a> Keys<'a> {
    fn has(&self, key: &str) -> bool {
        self.map.get(key).is_some_and(|value| !value.is_null())
    }

    fn get(&self, key: &str) -> Result<&'a Value, ConfigError> {
        self.map
            .get(key)
            .filter(|value| !value.is_null())
            .ok_or_else(|| ConfigError::Missing { key: self.path(key) })
    }

    fn size(&self, key: &str, min: usize, max: usize) -> Result<usize, ConfigError> {
        self.get(key)?
            .as_u64()
            .and_then(|value| usize::try_from(value).ok())
            .filter(|value| (min..=max).contains(value))
            .ok_or_else(|| self.refuse(key, &format!("an integer from {min} to {max}")))
    }

    fn size_or(&self, key: &str, fallback: &str, max: usize) -> Result<usize, ConfigError> {
        self.size(if self.has(key) { key } else { fallback }, 1, max)
    }

    fn number(&self, key: &str, min: f64, max: f64) -> Result<f64, ConfigError> {
        self.get(key)?
            .as_f64()
            .filter(|value| (min..=max).contains(value))
            .ok_or_else(|| self.refuse(key, &format!("a number from {min} to {max}")))
    }

    fn flag(&self, key: &str) -> Result<Option<bool>, ConfigError> {
        match self.map.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(_) => Err(self.refuse(key, "true, false")),
        }
    }

    fn text(&self, key: &str) -> Result<Option<&'a str>, ConfigError> {
        match self.map.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(self.refuse(key, "a string")),
        }
    }

    fn section(&self, key: &str) -> Result<Option<Keys<'a>>, ConfigError> {
        match self.map.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Object(map)) => Ok(Some(Keys { prefix: self.path(key), map })),
            Some(_) => Err(self.refuse(key, "an object")),
        }
    }

    fn must_be(&self, key: &str, wanted: &str, required: bool) -> Result<(), ConfigError> {
        match self.text(key)? {
            None if required => Err(ConfigError::Missing { key: self.path(key) }),
            Some(text) if text != wanted => Err(self.refuse(key, wanted)),
            _ => Ok(()),
        }
    }

    fn path(&self, key: &str) -> String {
        if self.prefix.is_empty() { key.to_owned() } else { format!("{}.{key}", self.prefix) }
    }

    fn refuse(&self, key: &str, allowed: &str) -> ConfigError {
        const SHOWN_CHARS_MAX: usize = 60;
        let value = self.map.get(key).map_or_else(|| "absent".to_owned(), Value::to_string);
        let value = if value.chars().count() > SHOWN_CHARS_MAX {
            value.chars().take(SHOWN_CHARS_MAX).chain("...".chars()).collect()
        } else {
            value
        };
        ConfigError::Refused { key: self.path(key), value, allowed: allowed.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn tencent() -> Value {
        json!({
            "model_type": "hunyuan_v1_dense", "hidden_act": "silu", "hidden_size": 2048,
            "intermediate_size": 6144, "num_hidden_layers": 32, "num_attention_heads": 16,
            "num_key_value_heads": 4, "head_dim": 128, "vocab_size": 120_818,
            "max_position_embeddings": 262_144, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
            "rope_scaling": {"type": "dynamic", "alpha": 1000.0, "factor": 1.0},
            "attention_bias": false, "use_cla": false, "use_qk_norm": true,
            "tie_word_embeddings": true, "torch_dtype": "bfloat16",
        })
    }

    fn parse(value: &Value) -> Result<ModelConfig, ConfigError> {
        ModelConfig::from_json(&serde_json::to_vec(value).unwrap())
    }

    #[test]
    fn base_of_the_1_8b_model_is_the_published_one() {
        let config = parse(&tencent()).unwrap();
        let base = config.rope.base(config.head_dim);
        assert!((base - 11_158_839.925_077_48).abs() < 1e-3, "{base}");
    }

    #[test]
    fn both_spellings_give_the_same_config() {
        let mut v5 = tencent();
        let map = v5.as_object_mut().unwrap();
        for key in ["rope_scaling", "rope_theta", "torch_dtype"] {
            map.remove(key);
        }
        map.insert("dtype".into(), json!("bfloat16"));
        map.insert(
            "rope_parameters".into(),
            json!({"rope_type": "dynamic", "alpha": 1000.0, "rope_theta": 10000.0}),
        );
        assert_eq!(parse(&v5).unwrap(), parse(&tencent()).unwrap());
    }

    #[test]
    fn refusals_name_key_value_and_allowed() {
        let cases = [
            ("hidden_size", json!(1_000_000_000_u64), "65536"),
            ("hidden_size", json!(-4), "65536"),
            ("num_hidden_layers", json!(0), "256"),
            ("num_key_value_heads", json!(3), "divisor"),
            ("vocab_size", json!(1_u64 << 40), "1048576"),
            ("head_dim", json!(127), "even"),
            ("rms_norm_eps", json!("x"), "number"),
            ("model_type", json!("llama"), "hunyuan_v1_dense"),
            ("hidden_act", json!("gelu"), "silu"),
            ("attention_bias", json!(true), "false"),
            ("use_cla", json!(true), "false"),
            ("use_qk_norm", json!(false), "true"),
            ("torch_dtype", json!("float8_e4m3fn"), "bfloat16"),
            ("rope_scaling", json!({"type": "yarn", "factor": 4.0}), "dynamic"),
            ("rope_scaling", json!({"type": "dynamic", "factor": 4.0, "alpha": 1.0}), "1.0"),
            (
                "quantization_config",
                json!({"quant_method": "awq", "bits": 4}),
                "compressed-tensors, fp8, gptq",
            ),
        ];
        for (key, value, allowed) in cases {
            let mut config = tencent();
            config[key] = value.clone();
            let message = parse(&config).unwrap_err().to_string();
            assert!(message.contains(key), "{key}: {message}");
            assert!(message.contains(allowed), "{key}={value}: {message}");
        }
    }

    #[test]
    fn missing_keys_are_named() {
        for key in ["hidden_size", "model_type", "rope_theta", "rms_norm_eps"] {
            let mut config = tencent();
            config.as_object_mut().unwrap().remove(key);
            let message = parse(&config).unwrap_err().to_string();
            assert_eq!(message, format!("key '{key}' is missing"));
        }
    }

    #[test]
    fn dynamic_without_alpha_is_refused() {
        let mut config = tencent();
        config["rope_scaling"] = json!({"type": "dynamic", "factor": 1.0});
        assert_eq!(parse(&config).unwrap_err().to_string(), "key 'rope_scaling.alpha' is missing");
    }
}
