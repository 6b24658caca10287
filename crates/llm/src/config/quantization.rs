//! `quantization_config`: which stored INT8 layouts are understood.
//!
//! Accepted is the compressed-tensors `int-quantized` layout, as AngelSlim and llm-compressor
//! write it: 8-bit symmetric weights with one scale per output channel (or per tensor), and
//! activations that are either dynamic per token or not quantised.

use super::{ConfigError, Keys};

/// The model's linear layers are stored in INT8 with `weight_scale` beside each `weight`.
///
/// Which layers are stored so is read off the tensors themselves: an INT8 `weight` needs its
/// scale, a float one is quantised at load like any other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuantizationConfig {
    /// Modules left in floating point: `ignore`, or `ignored_layers` in some of Tencent's files.
    pub ignore: Vec<String>,
}

/// Most entries of the ignore list.
const IGNORE_MAX: usize = 4096;

impl QuantizationConfig {
    pub(super) fn from_keys(root: &Keys<'_>) -> Result<Option<Self>, ConfigError> {
        let Some(keys) = root.section("quantization_config")? else { return Ok(None) };
        keys.must_be("quant_method", "compressed-tensors", true)?;
        keys.must_be("format", "int-quantized", true)?;
        check_groups(&keys)?;
        Ok(Some(Self { ignore: ignore_list(&keys)? }))
    }
}

fn ignore_list(keys: &Keys<'_>) -> Result<Vec<String>, ConfigError> {
    let key = if keys.has("ignore") { "ignore" } else { "ignored_layers" };
    if !keys.has(key) {
        return Ok(Vec::new());
    }
    keys.get(key)?
        .as_array()
        .filter(|list| list.len() <= IGNORE_MAX)
        .and_then(|list| list.iter().map(|name| name.as_str().map(str::to_owned)).collect())
        .ok_or_else(|| keys.refuse(key, &format!("a list of at most {IGNORE_MAX} strings")))
}

fn check_groups(keys: &Keys<'_>) -> Result<(), ConfigError> {
    let Some(groups) = keys.section("config_groups")? else {
        return Err(ConfigError::Missing { key: keys.path("config_groups") });
    };
    for name in groups.map.keys() {
        let Some(group) = groups.section(name)? else {
            return Err(ConfigError::Missing { key: groups.path(name) });
        };
        let Some(weights) = group.section("weights")? else {
            return Err(ConfigError::Missing { key: group.path("weights") });
        };
        check_scheme(&weights, &["channel", "tensor"])?;
        if let Some(activations) = group.section("input_activations")? {
            check_scheme(&activations, &["token"])?;
            if activations.flag("dynamic")? != Some(true) {
                return Err(activations.refuse("dynamic", "true"));
            }
        }
    }
    Ok(())
}

/// `weights` or `input_activations`: 8-bit symmetric integers with one of `strategies`.
fn check_scheme(keys: &Keys<'_>, strategies: &[&str]) -> Result<(), ConfigError> {
    keys.size("num_bits", 8, 8)?;
    keys.must_be("type", "int", true)?;
    if keys.flag("symmetric")? == Some(false) {
        return Err(keys.refuse("symmetric", "true"));
    }
    match keys.text("strategy")? {
        Some(strategy) if strategies.contains(&strategy) => Ok(()),
        _ => Err(keys.refuse("strategy", &strategies.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn parse(config: &Value) -> Result<Option<QuantizationConfig>, ConfigError> {
        let root = json!({ "quantization_config": config });
        QuantizationConfig::from_keys(&Keys {
            prefix: String::new(),
            map: root.as_object().unwrap(),
        })
    }

    fn angelslim() -> Value {
        let weights = json!({"num_bits": 8, "type": "int", "strategy": "channel",
            "symmetric": true, "dynamic": false});
        let activations = json!({"num_bits": 8, "type": "int", "strategy": "token",
            "symmetric": true, "dynamic": true});
        json!({
            "quant_method": "compressed-tensors", "format": "int-quantized",
            "config_groups": {"group_0": {"targets": ["Linear"], "weights": weights,
                "input_activations": activations, "output_activations": null}},
            "ignore": ["lm_head"],
        })
    }

    #[test]
    fn the_angelslim_layout_is_accepted() {
        let parsed = parse(&angelslim()).unwrap().unwrap();
        assert_eq!(parsed.ignore, ["lm_head"]);
    }

    #[test]
    fn other_schemes_are_refused_by_path() {
        let cases = [
            ("/format", json!("naive-quantized"), "format"),
            ("/config_groups/group_0/weights/num_bits", json!(4), "weights.num_bits"),
            ("/config_groups/group_0/weights/strategy", json!("group"), "weights.strategy"),
            ("/config_groups/group_0/weights/symmetric", json!(false), "weights.symmetric"),
            ("/config_groups/group_0/input_activations/dynamic", json!(false), "dynamic"),
        ];
        for (pointer, value, named) in cases {
            let mut config = angelslim();
            *config.pointer_mut(pointer).unwrap() = value;
            let message = parse(&config).unwrap_err().to_string();
            assert!(message.contains(named), "{pointer}: {message}");
        }
    }
}
