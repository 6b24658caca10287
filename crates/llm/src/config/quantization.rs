//! `quantization_config`: which stored layouts are understood.
//!
//! Four, in the spellings of the tools that write them: compressed-tensors `int-quantized` INT8
//! (AngelSlim, llm-compressor), `pack-quantized` 4- and 8-bit integers (llm-compressor), FP8 E4M3
//! as `naive-quantized`, `float-quantized` or `quant_method` "fp8" (AngelSlim), and GPTQ (AngelSlim,
//! AutoGPTQ, GPTQModel). All are symmetric but GPTQ. How activations were to be quantised is
//! checked for sense and otherwise not used: the engines quantise them per token as they run.

use super::{ConfigError, Keys};

/// How the model's linear layers are stored.
///
/// Which layers are stored so is read off the tensors themselves: an INT8 `weight` needs its
/// scale, a float one is quantised at load like any other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuantizationConfig {
    /// The layout.
    pub scheme: Scheme,
    /// Modules left in floating point: `ignore`, or `ignored_layers` in some of Tencent's files.
    pub ignore: Vec<String>,
}

/// A stored layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Scheme {
    /// `weight` in INT8 with `weight_scale` beside it.
    Int8,
    /// `weight` in FP8 E4M3 with `weight_scale` beside it.
    Fp8,
    /// `weight_packed`, integers of `bits` bits, with `weight_scale` beside it.
    Packed {
        /// 4 or 8.
        bits: u32,
    },
    /// `qweight`, `qzeros`, `scales` and `g_idx`.
    Gptq(GptqConfig),
}

impl std::fmt::Display for Scheme {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Int8 => formatter.write_str("compressed-tensors INT8"),
            Self::Fp8 => formatter.write_str("FP8 E4M3"),
            Self::Packed { bits } => write!(formatter, "compressed-tensors packed INT{bits}"),
            Self::Gptq(gptq) => {
                let version = if gptq.zeros_minus_one { 1 } else { 2 };
                write!(formatter, "GPTQ v{version} INT{}", gptq.bits)
            }
        }
    }
}

/// The keys of a GPTQ configuration that matter for reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GptqConfig {
    /// 4 or 8.
    pub bits: u32,
    /// Inputs that share a scale; `None` for the whole row.
    pub group_size: Option<usize>,
    /// True when `g_idx` is needed to know an input's group.
    pub desc_act: bool,
    /// True for the `gptq` layout, which stores each zero point less one; false for `gptq_v2`.
    pub zeros_minus_one: bool,
}

/// Most entries of the ignore list.
const IGNORE_MAX: usize = 4096;
/// Largest group of inputs with one scale.
const GROUP_MAX: usize = super::WIDTH_MAX;

const INT8_FORMAT: &str = "int-quantized";
const PACKED_FORMAT: &str = "pack-quantized";
const FP8_FORMATS: [&str; 2] = ["naive-quantized", "float-quantized"];

impl QuantizationConfig {
    pub(super) fn from_keys(root: &Keys<'_>) -> Result<Option<Self>, ConfigError> {
        let Some(keys) = root.section("quantization_config")? else { return Ok(None) };
        let scheme = match keys.text("quant_method")? {
            Some("compressed-tensors") => compressed_tensors(&keys)?,
            Some("fp8") => fp8(&keys)?,
            Some("gptq") => Scheme::Gptq(gptq(&keys)?),
            None => return Err(ConfigError::Missing { key: keys.path("quant_method") }),
            Some(_) => return Err(keys.refuse("quant_method", "compressed-tensors, fp8, gptq")),
        };
        Ok(Some(Self { scheme, ignore: ignore_list(&keys)? }))
    }
}

fn ignore_list(keys: &Keys<'_>) -> Result<Vec<String>, ConfigError> {
    let names = ["ignore", "ignored_layers", "modules_to_not_convert"];
    let Some(key) = names.into_iter().find(|key| keys.has(key)) else { return Ok(Vec::new()) };
    keys.get(key)?
        .as_array()
        .filter(|list| list.len() <= IGNORE_MAX)
        .and_then(|list| list.iter().map(|name| name.as_str().map(str::to_owned)).collect())
        .ok_or_else(|| keys.refuse(key, &format!("a list of at most {IGNORE_MAX} strings")))
}

fn compressed_tensors(keys: &Keys<'_>) -> Result<Scheme, ConfigError> {
    let Some(format) = keys.text("format")? else {
        return Err(ConfigError::Missing { key: keys.path("format") });
    };
    let is_float = FP8_FORMATS.contains(&format);
    if !is_float && ![INT8_FORMAT, PACKED_FORMAT].contains(&format) {
        let allowed = format!("{INT8_FORMAT}, {PACKED_FORMAT}, {}", FP8_FORMATS.join(", "));
        return Err(keys.refuse("format", &allowed));
    }
    let Some(groups) = keys.section("config_groups")? else {
        return Err(ConfigError::Missing { key: keys.path("config_groups") });
    };
    let mut bits = None;
    for name in groups.map.keys() {
        let Some(group) = groups.section(name)? else {
            return Err(ConfigError::Missing { key: groups.path(name) });
        };
        let Some(weights) = group.section("weights")? else {
            return Err(ConfigError::Missing { key: group.path("weights") });
        };
        let found = check_weights(&weights, is_float, format == PACKED_FORMAT)?;
        if bits.is_some_and(|bits| bits != found) {
            return Err(weights.refuse("num_bits", "one number for all groups"));
        }
        bits = Some(found);
        if let Some(activations) = group.section("input_activations")? {
            check_activations(&activations, is_float)?;
        }
    }
    Ok(match bits {
        Some(bits) if format == PACKED_FORMAT => Scheme::Packed { bits },
        None if format == PACKED_FORMAT => {
            return Err(ConfigError::Missing { key: groups.path("group_0") });
        }
        _ if is_float => Scheme::Fp8,
        _ => Scheme::Int8,
    })
}

/// Symmetric weights of 8 bits, or 4 where they are packed. Returns the bits.
fn check_weights(keys: &Keys<'_>, is_float: bool, is_packed: bool) -> Result<u32, ConfigError> {
    let bits = keys.size("num_bits", if is_packed { 4 } else { 8 }, 8)?;
    if !matches!(bits, 4 | 8) {
        return Err(keys.refuse("num_bits", "4, 8"));
    }
    keys.must_be("type", if is_float { "float" } else { "int" }, true)?;
    if keys.flag("symmetric")? == Some(false) {
        return Err(keys.refuse("symmetric", "true"));
    }
    let strategies: &[&str] =
        if is_float { &["tensor", "channel"] } else { &["channel", "tensor", "group"] };
    check_strategy(keys, strategies)?;
    if keys.has("group_size") && keys.text("strategy")? == Some("group") {
        keys.size("group_size", 1, GROUP_MAX)?;
    }
    Ok(bits as u32)
}

fn check_activations(keys: &Keys<'_>, is_float: bool) -> Result<(), ConfigError> {
    keys.size("num_bits", 8, 8)?;
    keys.must_be("type", if is_float { "float" } else { "int" }, true)?;
    if keys.flag("symmetric")? == Some(false) {
        return Err(keys.refuse("symmetric", "true"));
    }
    check_strategy(keys, &["token", "tensor"])
}

fn check_strategy(keys: &Keys<'_>, strategies: &[&str]) -> Result<(), ConfigError> {
    match keys.text("strategy")? {
        Some(strategy) if strategies.contains(&strategy) => Ok(()),
        _ => Err(keys.refuse("strategy", &strategies.join(", "))),
    }
}

/// `quant_method` "fp8": one scale for a tensor. Blocks of 128 x 128 are another layout.
fn fp8(keys: &Keys<'_>) -> Result<Scheme, ConfigError> {
    if keys.has("weight_block_size") {
        return Err(keys.refuse("weight_block_size", "absent (one scale for each tensor)"));
    }
    match keys.text("activation_scheme")? {
        None | Some("static" | "dynamic") => Ok(Scheme::Fp8),
        Some(_) => Err(keys.refuse("activation_scheme", "static, dynamic")),
    }
}

fn gptq(keys: &Keys<'_>) -> Result<GptqConfig, ConfigError> {
    let bits = keys.size("bits", 4, 8)?;
    if !matches!(bits, 4 | 8) {
        return Err(keys.refuse("bits", "4, 8"));
    }
    let whole_row = keys.map.get("group_size").and_then(serde_json::Value::as_i64) == Some(-1);
    let group_size = if whole_row { None } else { Some(keys.size("group_size", 1, GROUP_MAX)?) };
    let format_key = if keys.has("checkpoint_format") { "checkpoint_format" } else { "format" };
    let zeros_minus_one = match keys.text(format_key)? {
        None | Some("gptq") => true,
        Some("gptq_v2") => false,
        Some(_) => return Err(keys.refuse(format_key, "gptq, gptq_v2")),
    };
    Ok(GptqConfig {
        bits: bits as u32,
        group_size,
        desc_act: keys.flag("desc_act")?.unwrap_or(false),
        zeros_minus_one,
    })
}

#[cfg(test)]
mod tests;
