//! Damaged and unusual model folders: each is a clear error, or loads.
//!
//! The folders are variations of the models in `tests/golden`, written with the `safetensors`
//! crate.

// Helpers outside `#[test]` functions may unwrap too.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};

use hymt_llm::engine::cpu::{CpuEngine, CpuOptions, Precision, logits_of_all_positions};
use hymt_llm::error::LoadError;
use hymt_llm::weights::ModelSource;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde_json::{Value, json};
use tempfile::TempDir;

const Q_PROJ: &str = "model.layers.1.self_attn.q_proj.weight";
const NORM: &str = "model.layers.0.input_layernorm.weight";

type Tensors = BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>;

/// A model folder held in memory until it is written with its damage.
struct Folder {
    config: Value,
    tensors: Tensors,
}

impl Folder {
    fn golden(model: &str) -> Self {
        let dir = golden_dir(model);
        let bytes = std::fs::read(dir.join("model.safetensors")).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let entry = |tensor: &TensorView<'_>| {
            (tensor.dtype(), tensor.shape().to_vec(), tensor.data().to_vec())
        };
        let tensors = file.iter().map(|(name, tensor)| (name.to_owned(), entry(&tensor))).collect();
        let config = serde_json::from_slice(&std::fs::read(dir.join("config.json")).unwrap());
        Self { config: config.unwrap(), tensors }
    }

    fn set(&mut self, name: &str, dtype: Dtype, shape: &[usize], data: Vec<u8>) {
        self.tensors.insert(name.to_owned(), (dtype, shape.to_vec(), data));
    }

    fn weights(&self) -> Vec<u8> {
        let views = self.tensors.iter().map(|(name, (dtype, shape, data))| {
            (name, TensorView::new(*dtype, shape.clone(), data).unwrap())
        });
        safetensors::serialize(views, None).unwrap()
    }

    fn write(&self) -> TempDir {
        write_raw(&self.config.to_string(), &self.weights())
    }

    fn load(&self) -> Result<CpuEngine, LoadError> {
        load(self.write().path())
    }

    fn message(&self) -> String {
        message(self.load())
    }
}

fn golden_dir(model: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(model)
}

fn write_raw(config: &str, weights: &[u8]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("config.json"), config).unwrap();
    std::fs::write(dir.path().join("model.safetensors"), weights).unwrap();
    dir
}

fn load(dir: &Path) -> Result<CpuEngine, LoadError> {
    load_with(&ModelSource::Dir(dir.to_owned()), Precision::Int8)
}

fn load_with(source: &ModelSource, precision: Precision) -> Result<CpuEngine, LoadError> {
    let options = CpuOptions { precision, threads: Some(1), ..CpuOptions::default() };
    CpuEngine::load(source, &options, &mut |_| {})
}

/// The whole chain of causes, as the command line prints it.
fn message(result: Result<CpuEngine, LoadError>) -> String {
    let Err(error) = result else { panic!("the damaged model was loaded") };
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text
}

fn assert_names(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "'{part}' is not in: {message}");
    }
}

fn logits(engine: &mut CpuEngine) -> Vec<f32> {
    logits_of_all_positions(engine, &[5, 17, 3, 42]).unwrap()
}

#[test]
fn missing_files_are_named() {
    let dir = tempfile::tempdir().unwrap();
    assert_names(&message(load(dir.path())), &["cannot read", "config.json"]);
    std::fs::copy(golden_dir("f32").join("config.json"), dir.path().join("config.json")).unwrap();
    assert_names(&message(load(dir.path())), &["no model.safetensors", "index.json"]);
}

#[test]
fn damaged_headers_are_refused() {
    let folder = Folder::golden("f32");
    let (config, good) = (folder.config.to_string(), folder.weights());
    let truncated = |len: usize| good[..len].to_vec();
    let mut absurd = good.clone();
    absurd[..8].copy_from_slice(&(1_u64 << 62).to_le_bytes());
    let mut garbled = good.clone();
    garbled[8..16].fill(0xff);
    let cases = [
        ("empty", Vec::new(), "0 bytes"),
        ("seven bytes", truncated(7), "7 bytes"),
        ("cut in the header", truncated(100), "claims"),
        ("cut in the tensors", truncated(good.len() - 1), "cut short"),
        ("absurd header size", absurd, "4611686018427387904"),
        ("header that is not UTF-8", garbled, "header"),
    ];
    for (what, weights, named) in cases {
        let dir = write_raw(&config, &weights);
        let message = message(load(dir.path()));
        println!("{what}: {message}");
        assert_names(&message, &["model.safetensors", named]);
    }
}

#[test]
fn missing_tensors_are_named() {
    for name in [Q_PROJ, NORM, "model.norm.weight", "model.embed_tokens.weight"] {
        let mut folder = Folder::golden("f32");
        folder.tensors.remove(name);
        assert_names(&folder.message(), &[name, "missing", "model.safetensors"]);
    }
}

#[test]
fn wrong_shapes_name_what_was_expected() {
    let mut folder = Folder::golden("f32");
    folder.set(Q_PROJ, Dtype::F32, &[64, 32], vec![0; 64 * 32 * 4]);
    assert_names(&folder.message(), &[Q_PROJ, "[64, 32]", "[64, 64]", "model.safetensors"]);

    let mut folder = Folder::golden("f32");
    folder.set(NORM, Dtype::F32, &[8, 8], vec![0; 256]);
    assert_names(&folder.message(), &[NORM, "[8, 8]", "[64]"]);

    // A configuration that does not belong to the weights.
    let mut folder = Folder::golden("f32");
    folder.config["vocab_size"] = json!(300);
    assert_names(&folder.message(), &["embed_tokens", "[300, 64]", "[200, 64]"]);
}

#[test]
fn wrong_types_name_what_was_expected() {
    let mut folder = Folder::golden("f32");
    folder.set(Q_PROJ, Dtype::I32, &[64, 64], vec![0; 64 * 64 * 4]);
    assert_names(&folder.message(), &[Q_PROJ, "I32", "BF16, F16, F32, I8 or F8_E4M3"]);

    let mut folder = Folder::golden("f32");
    folder.set(Q_PROJ, Dtype::F8_E4M3, &[64, 64], vec![0; 64 * 64]);
    assert_names(&folder.message(), &[Q_PROJ, "F8_E4M3", "quantization_config for FP8"]);

    let mut folder = Folder::golden("int8");
    folder.config.as_object_mut().unwrap().remove("quantization_config");
    assert_names(&folder.message(), &["I8", "quantization_config"]);
}

#[test]
fn values_that_are_not_numbers_are_refused() {
    for (name, row_len) in [(Q_PROJ, 64), (NORM, 1)] {
        for value in [f32::NAN, f32::INFINITY] {
            let mut folder = Folder::golden("f32");
            let data = &mut folder.tensors.get_mut(name).unwrap().2;
            data[7 * row_len * 4..][..4].copy_from_slice(&value.to_le_bytes());
            assert_names(&folder.message(), &[name, "row 7", "finite"]);
        }
    }
}

#[test]
fn int8_needs_a_sound_scale() {
    let scale = format!("{Q_PROJ}_scale");
    let mut folder = Folder::golden("int8");
    folder.tensors.remove(&scale);
    assert_names(&folder.message(), &[&scale, "missing"]);

    let mut folder = Folder::golden("int8");
    folder.set(&scale, Dtype::F32, &[64, 3], vec![0; 768]);
    assert_names(&folder.message(), &[&scale, "[64, 3]", "[64, a divisor of 64]"]);

    let mut folder = Folder::golden("int8");
    folder.set(&scale, Dtype::F32, &[1], f32::NAN.to_le_bytes().to_vec());
    assert_names(&folder.message(), &[&scale, "finite"]);
}

#[test]
fn every_scale_shape_gives_the_same_logits() {
    let scale = format!("{Q_PROJ}_scale");
    let expected = {
        let mut folder = Folder::golden("int8");
        folder.set(&scale, Dtype::F32, &[64, 1], 0.01_f32.to_le_bytes().repeat(64));
        logits(&mut folder.load().unwrap())
    };
    for (shape, n) in [(vec![], 1), (vec![1], 1), (vec![64], 64)] {
        let mut folder = Folder::golden("int8");
        folder.set(&scale, Dtype::F32, &shape, 0.01_f32.to_le_bytes().repeat(n));
        assert_eq!(logits(&mut folder.load().unwrap()), expected, "{shape:?}");
    }
}

#[test]
fn an_untied_head_is_used_and_a_tied_copy_is_not() {
    let mut folder = Folder::golden("f32");
    let expected = logits(&mut folder.load().unwrap());
    // The copy that Tencent ships beside tied embeddings must not be read, so its content is moot.
    let head = f32::NAN.to_le_bytes().repeat(200 * 64);
    folder.set("lm_head.weight", Dtype::F32, &[200, 64], head);
    assert_eq!(logits(&mut folder.load().unwrap()), expected);

    folder.config["tie_word_embeddings"] = json!(false);
    assert_names(&folder.message(), &["lm_head.weight", "finite"]);
    folder.set("lm_head.weight", Dtype::F32, &[200, 64], vec![0; 200 * 64 * 4]);
    assert!(logits(&mut folder.load().unwrap()).iter().all(|logit| *logit == 0.0));
    folder.tensors.remove("lm_head.weight");
    assert_names(&folder.message(), &["lm_head.weight", "missing"]);
}

#[test]
fn configurations_are_refused_by_key() {
    for (key, value) in [
        ("hidden_size", json!(u64::MAX)),
        ("num_hidden_layers", json!(1_000_000)),
        ("model_type", json!("llama")),
        ("quantization_config", json!({"quant_method": "awq"})),
    ] {
        let mut folder = Folder::golden("f32");
        folder.config[key] = value;
        assert_names(&folder.message(), &["config.json", key, "allowed"]);
    }
    let weights = Folder::golden("f32").weights();
    for (config, named) in [("", "JSON"), ("[]", "JSON"), ("{\"a\": \"\0\"}", "JSON")] {
        assert_names(&message(load(write_raw(config, &weights).path())), &["config.json", named]);
    }
    let long = format!("{{\"x\": \"{}\"}}", "y".repeat(2 << 20));
    assert_names(&message(load(write_raw(&long, &weights).path())), &["config.json", "1048576"]);
}

#[test]
fn shard_indexes_are_checked() {
    let config = Folder::golden("f32").config.to_string();
    for (index, named) in [
        (json!({"weight_map": {"a": "../model.safetensors"}}), "not a file name"),
        (json!({"weight_map": {"a": "/etc/passwd"}}), "not a file name"),
        (json!({"weight_map": {"a": "shard-1.safetensors"}}), "shard-1.safetensors"),
        (json!({"weight_map": {}}), "0 shards"),
        (json!({}), "weight_map"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("config.json"), &config).unwrap();
        let path = dir.path().join("model.safetensors.index.json");
        std::fs::write(path, index.to_string()).unwrap();
        assert_names(&message(load(dir.path())), &[named]);
    }
}

#[test]
fn a_tensor_in_two_shards_is_refused() {
    let folder = Folder::golden("f32");
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("config.json"), folder.config.to_string()).unwrap();
    for shard in ["a.safetensors", "b.safetensors"] {
        std::fs::write(dir.path().join(shard), folder.weights()).unwrap();
    }
    let index = json!({"weight_map": {"x": "a.safetensors", "y": "b.safetensors"}});
    let path = dir.path().join("model.safetensors.index.json");
    std::fs::write(path, index.to_string()).unwrap();
    assert_names(&message(load(dir.path())), &["b.safetensors", "another shard"]);
}

#[test]
fn options_are_checked() {
    let source = ModelSource::Dir(golden_dir("f32"));
    let good = CpuOptions::default();
    for (options, named) in [
        (CpuOptions { slots: 0, ..good.clone() }, "slots"),
        (CpuOptions { slots: 100_000, ..good.clone() }, "slots"),
        (CpuOptions { context_tokens_max: 0, ..good.clone() }, "context_tokens_max"),
        (CpuOptions { step_tokens_max: 0, ..good.clone() }, "step_tokens_max"),
        (CpuOptions { threads: Some(0), ..good.clone() }, "threads"),
        (CpuOptions { threads: Some(9999), ..good.clone() }, "threads"),
    ] {
        let message = message(CpuEngine::load(&source, &options, &mut |_| {}));
        assert_names(&message, &[named, "allowed"]);
    }
}

#[test]
fn an_embedded_model_equals_its_folder() {
    static CONFIG: &[u8] = include_bytes!("golden/int8/config.json");
    static WEIGHTS: &[u8] = include_bytes!("golden/int8/model.safetensors");
    let embedded = ModelSource::Embedded { config: CONFIG, weights: WEIGHTS };
    let folder = ModelSource::Dir(golden_dir("int8"));
    for precision in [Precision::Int8, Precision::F32] {
        assert_eq!(
            logits(&mut load_with(&embedded, precision).unwrap()),
            logits(&mut load_with(&folder, precision).unwrap()),
        );
    }
}

#[test]
fn progress_reaches_its_end() {
    let source = ModelSource::Dir(golden_dir("f32"));
    let mut seen = Vec::new();
    CpuEngine::load(&source, &CpuOptions::default(), &mut |at| seen.push((at.done, at.total)))
        .unwrap();
    assert_eq!(seen, [(0, 3), (1, 3), (2, 3), (3, 3)]);
}
