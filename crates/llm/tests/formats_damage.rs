//! Damaged checkpoints of each converted layout: each is an error that names the tensor.

// Helpers outside `#[test]` functions may unwrap too.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::Path;

use hymt_llm::engine::cpu::{CpuEngine, CpuOptions, Precision};
use hymt_llm::tokenizer::Tokenizer;
use hymt_llm::weights::{Container, ModelSource};
use proptest::prelude::*;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde_json::{Value, json};

const Q: &str = "model.layers.0.self_attn.q_proj";

/// One of `golden/formats`, in memory.
struct Folder {
    config: Value,
    tensors: BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>,
}

impl Folder {
    fn golden(name: &str) -> Self {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/formats").join(name);
        let bytes = std::fs::read(dir.join("model.safetensors")).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let entry = |tensor: &TensorView<'_>| {
            (tensor.dtype(), tensor.shape().to_vec(), tensor.data().to_vec())
        };
        let tensors = file.iter().map(|(name, tensor)| (name.to_owned(), entry(&tensor))).collect();
        let config = std::fs::read(dir.join("config.json")).unwrap();
        Self { config: serde_json::from_slice(&config).unwrap(), tensors }
    }

    fn set(mut self, part: &str, dtype: Dtype, shape: &[usize], data: Vec<u8>) -> Self {
        self.tensors.insert(format!("{Q}.{part}"), (dtype, shape.to_vec(), data));
        self
    }

    fn without(mut self, part: &str) -> Self {
        self.tensors.remove(&format!("{Q}.{part}")).unwrap();
        self
    }

    /// Every tensor of this part, in every matrix.
    fn without_any(mut self, part: &str) -> Self {
        self.tensors.retain(|name, _| !name.ends_with(part));
        self
    }

    fn config(mut self, key: &str, value: Value) -> Self {
        self.config["quantization_config"][key] = value;
        self
    }

    fn load(&self) -> Result<CpuEngine, String> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("config.json"), self.config.to_string()).unwrap();
        let views = self.tensors.iter().map(|(name, (dtype, shape, data))| {
            (name, TensorView::new(*dtype, shape.clone(), data).unwrap())
        });
        let bytes = safetensors::serialize(views, None).unwrap();
        std::fs::write(dir.path().join("model.safetensors"), bytes).unwrap();
        load(dir.path())
    }
}

fn load(path: &Path) -> Result<CpuEngine, String> {
    let options =
        CpuOptions { precision: Precision::Int8, threads: Some(1), ..CpuOptions::default() };
    CpuEngine::load(&ModelSource::Dir(path.to_owned()), &options, &mut |_| {})
        .map_err(|error| error.to_string())
}

fn words(values: impl IntoIterator<Item = i32>) -> Vec<u8> {
    values.into_iter().flat_map(i32::to_le_bytes).collect()
}

fn reals(values: impl IntoIterator<Item = f32>) -> Vec<u8> {
    values.into_iter().flat_map(f32::to_le_bytes).collect()
}

#[test]
fn what_does_not_fit_names_the_tensor_and_what_would() {
    let gptq = || Folder::golden("gptq-v2-desc-act");
    let packed = || Folder::golden("packed-int4");
    let group = || Folder::golden("int8-group");
    let fp8 = || Folder::golden("fp8");
    let smooth = || Folder::golden("int8-smooth");
    let i32s = |n: usize| words(vec![0; n]);
    let cases: Vec<(Folder, &[&str])> = vec![
        (gptq().without("scales"), &["q_proj.scales", "missing"]),
        (gptq().without("g_idx"), &["q_proj.qweight", "no g_idx", "desc_act"]),
        (
            gptq().set("g_idx", Dtype::I32, &[64], words([2; 64])),
            &["q_proj.qweight", "2 groups", "names 2"],
        ),
        (
            gptq().set("g_idx", Dtype::I32, &[64], words((0..64).map(|i| -i))),
            &["q_proj.g_idx", "not be negative"],
        ),
        (gptq().set("g_idx", Dtype::I32, &[63], i32s(63)), &["q_proj.g_idx", "[63]", "[64]"]),
        (gptq().set("g_idx", Dtype::F32, &[64], i32s(64)), &["q_proj.g_idx", "F32", "I32"]),
        (gptq().set("qweight", Dtype::F32, &[8, 64], i32s(512)), &["qweight", "F32", "I32"]),
        (
            gptq().set("qweight", Dtype::I32, &[64, 8], i32s(512)),
            &["qweight", "[64, 8]", "[8, 64]"],
        ),
        (
            gptq().set("qzeros", Dtype::I32, &[1, 8], i32s(8)),
            &["q_proj.qzeros", "[1, 8]", "[2, 8]"],
        ),
        (
            gptq().set("scales", Dtype::F32, &[2, 64], reals(vec![f32::NAN; 128])),
            &["q_proj.scales", "finite"],
        ),
        (gptq().config("group_size", json!(24)), &["scales", "[2, 64]", "[3, 64]"]),
        (gptq().config("bits", json!(8)), &["qweight", "[8, 64]", "[16, 64]"]),
        (gptq().without("qweight"), &["q_proj.weight", "missing"]),
        (packed().without("weight_scale"), &["q_proj.weight_scale", "missing"]),
        (
            packed().set("weight_shape", Dtype::I64, &[2], vec![7; 16]),
            &["q_proj.weight_shape", "[64, 64]"],
        ),
        (
            packed().set("weight_packed", Dtype::I32, &[64, 4], i32s(256)),
            &["weight_packed", "[64, 4]", "[64, 8]"],
        ),
        (
            packed().set("weight_zero_point", Dtype::I32, &[8, 2], words([1; 16])),
            &["weight_zero_point", "symmetric"],
        ),
        (
            packed().set("weight_g_idx", Dtype::I32, &[64], words([9; 64])),
            &["q_proj.weight_scale", "2 groups", "names 9"],
        ),
        (
            group().set("weight_scale", Dtype::F32, &[64, 5], vec![0; 64 * 5 * 4]),
            &["weight_scale", "[64, 5]", "divisor"],
        ),
        (
            group().set("weight_scale", Dtype::F32, &[64, 0], vec![]),
            &["weight_scale", "[64, 0]", "groups"],
        ),
        (fp8().without("weight_scale"), &["q_proj.weight_scale", "missing"]),
        (
            fp8().set("weight", Dtype::F8_E4M3, &[64, 64], vec![0x7f; 4096]),
            &["q_proj.weight", "NaN", "row 0", "finite"],
        ),
        (
            fp8().set("weight", Dtype::F8_E5M2, &[64, 64], vec![0; 4096]),
            &["q_proj.weight", "F8_E5M2", "F8_E4M3"],
        ),
        (
            fp8().set("weight", Dtype::I8, &[64, 64], vec![0; 4096]),
            &["q_proj.weight", "I8", "compressed-tensors INT8"],
        ),
        (
            smooth().set("smooth_weight", Dtype::F32, &[32], vec![0; 128]),
            &["q_proj.smooth_weight", "[32]", "[64]"],
        ),
        (
            smooth().set("smooth_weight", Dtype::F32, &[64], reals(vec![f32::INFINITY; 64])),
            &["q_proj.smooth_weight", "finite"],
        ),
    ];
    for (index, (folder, named)) in cases.into_iter().enumerate() {
        let Err(message) = folder.load() else { panic!("case {index} was loaded: {named:?}") };
        for part in named {
            assert!(message.contains(part), "case {index}: '{part}' is not in: {message}");
        }
    }
}

#[test]
fn what_may_be_left_out_may_be_left_out() {
    Folder::golden("gptq-8bit").load().unwrap();
    Folder::golden("packed-int4").without_any(".weight_shape").load().unwrap();
    Folder::golden("fp8").without_any(".input_scale").load().unwrap();
    Folder::golden("int8-smooth").without_any(".smooth_weight").load().unwrap();
}

#[test]
fn a_gguf_file_that_lacks_a_tensor_says_so_in_its_own_names() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/formats/mixed.gguf");
    let mut bytes = std::fs::read(path).unwrap();
    let name = b"blk.1.attn_q.weight";
    let at = bytes.windows(name.len()).position(|window| window == name).unwrap();
    bytes[at + 4] = b'7';
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("m.gguf");
    std::fs::write(&file, bytes).unwrap();
    let message = load(&file).err().unwrap();
    assert!(message.contains("'blk.1.attn_q.weight' is missing"), "{message}");
}

#[test]
fn merges_longer_than_every_token_are_refused_in_a_tokenizer_json_too() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/formats/tokenizer.json");
    let mut json: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    json["model"]["vocab"] = json!({"a": 0, "b": 1});
    json["added_tokens"] = json!([]);
    for (merges, prefix) in [(json!([["a", "b"]]), Value::Null), (json!([["a", "b"]]), json!("##"))]
    {
        json["model"]["merges"] = merges;
        json["model"]["continuing_subword_prefix"] = prefix;
        let error = Tokenizer::from_bytes(json.to_string().as_bytes()).unwrap_err();
        assert!(error.to_string().contains("not a valid tokenizer.json"), "{error}");
    }
}

proptest! {
    // Each case writes a file and reads it thrice.
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// What the fuzz targets do for hours, here for a second: some bytes of a good file changed.
    #[test]
    fn a_mutated_gguf_file_never_panics(
        changes in proptest::collection::vec((0_usize..30_000, any::<u8>()), 1..6),
        cut in proptest::option::of(0_usize..210_000),
    ) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/formats/mixed.gguf");
        let mut bytes = std::fs::read(path).unwrap();
        for (at, byte) in changes {
            bytes[at] = byte;
        }
        bytes.truncate(cut.unwrap_or(bytes.len()));
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("m.gguf");
        std::fs::write(&file, bytes).unwrap();
        let source = ModelSource::Dir(file.clone());
        if let (Ok(config), Ok(tensors)) = (source.config(), source.tensors()) {
            let shape = [config.q_size(), config.hidden_size];
            if let Ok(matrix) = tensors.matrix("model.layers.0.self_attn.q_proj.weight", shape, &config) {
                let mut row = vec![0.0; shape[1]];
                matrix.row(shape[0] - 1, &mut row);
            }
        }
        let _ = Tokenizer::of(&Container::Gguf(file));
    }
}
