use super::*;
use serde_json::{Value, json};

fn parse(config: &Value) -> Result<Option<QuantizationConfig>, ConfigError> {
    let root = json!({ "quantization_config": config });
    QuantizationConfig::from_keys(&Keys { prefix: String::new(), map: root.as_object().unwrap() })
}

fn angelslim_int8() -> Value {
    let weights = json!({"num_bits": 8, "type": "int", "strategy": "channel", "symmetric": true,
        "dynamic": false});
    let activations = json!({"num_bits": 8, "type": "int", "strategy": "token",
        "symmetric": true, "dynamic": true});
    json!({
        "quant_method": "compressed-tensors", "format": "int-quantized",
        "config_groups": {"group_0": {"targets": ["Linear"], "weights": weights,
            "input_activations": activations, "output_activations": null}},
        "ignore": ["lm_head"],
    })
}

/// AngelSlim's FP8 with its `ignored_layers`, and without `symmetric`, as its code writes it.
fn angelslim_fp8() -> Value {
    let scheme = json!({"num_bits": 8, "type": "float", "strategy": "tensor", "dynamic": false});
    json!({
        "quant_method": "compressed-tensors", "format": "naive-quantized",
        "config_groups": {"group_0": {"targets": ["Linear"], "weights": scheme,
            "input_activations": scheme, "output_activations": null}},
        "ignored_layers": ["lm_head"], "kv_cache_scheme": null,
    })
}

fn gptq_int4() -> Value {
    json!({"quant_method": "gptq", "bits": 4, "group_size": 128, "desc_act": false, "sym": true})
}

#[test]
fn published_spellings_are_accepted() {
    let gptq =
        GptqConfig { bits: 4, group_size: Some(128), desc_act: false, zeros_minus_one: true };
    let v2 = GptqConfig { zeros_minus_one: false, desc_act: true, group_size: None, ..gptq };
    let mut packed = angelslim_int8();
    packed["format"] = json!("pack-quantized");
    packed["config_groups"]["group_0"]["weights"]["num_bits"] = json!(4);
    packed["config_groups"]["group_0"]["weights"]["strategy"] = json!("group");
    packed["config_groups"]["group_0"]["input_activations"] = json!(null);
    let mut with_static_input = angelslim_int8();
    with_static_input["config_groups"]["group_0"]["input_activations"]["strategy"] =
        json!("tensor");
    with_static_input["config_groups"]["group_0"]["input_activations"]["dynamic"] = json!(false);
    let fp8 = json!({"quant_method": "fp8", "activation_scheme": "static",
        "ignored_layers": ["lm_head"], "kv_cache_scheme": "static"});
    let mut gptq_v2 = gptq_int4();
    gptq_v2["checkpoint_format"] = json!("gptq_v2");
    gptq_v2["desc_act"] = json!(true);
    gptq_v2["group_size"] = json!(-1);
    let cases: [(Value, Scheme, &[&str]); 7] = [
        (angelslim_int8(), Scheme::Int8, &["lm_head"]),
        (with_static_input, Scheme::Int8, &["lm_head"]),
        (packed, Scheme::Packed { bits: 4 }, &["lm_head"]),
        (angelslim_fp8(), Scheme::Fp8, &["lm_head"]),
        (fp8, Scheme::Fp8, &["lm_head"]),
        (gptq_int4(), Scheme::Gptq(gptq), &[]),
        (gptq_v2, Scheme::Gptq(v2), &[]),
    ];
    for (config, scheme, ignore) in cases {
        let parsed = parse(&config).unwrap().unwrap();
        assert_eq!(parsed.scheme, scheme, "{config}");
        assert_eq!(parsed.ignore, ignore, "{config}");
    }
}

#[test]
fn other_schemes_are_refused_by_path() {
    let (int8, fp8, gptq) = (angelslim_int8(), angelslim_fp8(), gptq_int4());
    let cases = [
        (&int8, "/quant_method", json!("awq"), "quant_method"),
        (&int8, "/format", json!("marlin-24"), "format"),
        (&int8, "/config_groups", json!(7), "config_groups"),
        (&int8, "/config_groups/group_0/weights/num_bits", json!(4), "weights.num_bits"),
        (&int8, "/config_groups/group_0/weights/strategy", json!("block"), "weights.strategy"),
        (&int8, "/config_groups/group_0/weights/symmetric", json!(false), "weights.symmetric"),
        (&int8, "/config_groups/group_0/weights/type", json!("float"), "weights.type"),
        (&int8, "/config_groups/group_0/input_activations/num_bits", json!(4), "num_bits"),
        (&int8, "/ignore", json!([3]), "ignore"),
        (&fp8, "/config_groups/group_0/weights/type", json!("int"), "weights.type"),
        (&fp8, "/config_groups/group_0/weights/strategy", json!("block"), "weights.strategy"),
        (&gptq, "/bits", json!(3), "bits"),
        (&gptq, "/bits", json!(5), "bits"),
        (&gptq, "/group_size", json!(0), "group_size"),
        (&gptq, "/desc_act", json!("yes"), "desc_act"),
    ];
    for (config, pointer, value, named) in cases {
        let mut config = config.clone();
        *config.pointer_mut(pointer).unwrap() = value.clone();
        let message = parse(&config).unwrap_err().to_string();
        assert!(message.contains(named), "{pointer}={value}: {message}");
    }
    let blocks = json!({"quant_method": "fp8", "weight_block_size": [128, 128]});
    assert!(parse(&blocks).unwrap_err().to_string().contains("weight_block_size"));
    let marlin = json!({"quant_method": "gptq", "bits": 4, "group_size": 128,
        "checkpoint_format": "marlin"});
    assert!(parse(&marlin).unwrap_err().to_string().contains("gptq_v2"));
}
