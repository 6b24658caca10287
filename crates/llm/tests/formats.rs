//! Every published layout against the tool that owns it, on the checkpoints of
//! `golden/formats`; `golden/make_formats.py` wrote them.

// Helpers outside `#[test]` functions may unwrap too.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use hymt_llm::TokenId;
use hymt_llm::chat::{ChatFamily, ChatFormat, Opener};
use hymt_llm::engine::cpu::{CpuEngine, CpuOptions, Precision, logits_of_all_positions};
use hymt_llm::format::block::BlockType;
use hymt_llm::format::float8::E4M3;
use hymt_llm::tokenizer::Tokenizer;
use hymt_llm::weights::{Container, GgufHeader, ModelSource};
use safetensors::SafeTensors;
use serde_json::Value;

/// Largest difference of f32 logits to those of transformers on the same weights, absolute. They
/// range over -47..47 in the folders and -413..413 in the GGUF file, so this is some 50 and 7 units
/// in the last place of the largest; found were 2.4e-5 and 9.2e-5.
const F32_TOLERANCE: f32 = 2e-4;

/// Least share of positions where the INT8 engine agrees with f32 on the best token. Weights are
/// random and logits flat, so this guards the arithmetic and says nothing about a trained model.
const INT8_TOP1_AGREEMENT: f32 = 0.75;

const IDS: [TokenId; 12] = [5, 17, 3, 42, 11, 29, 8, 40, 1, 33, 20, 6];

/// Folders whose layout is converted at load.
const FOLDERS: [&str; 7] =
    ["fp8", "gptq-v1", "gptq-v2-desc-act", "gptq-8bit", "packed-int4", "int8-group", "int8-smooth"];

fn formats() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/formats")
}

fn source(name: &str) -> ModelSource {
    ModelSource::Dir(formats().join(name))
}

fn json(path: &str) -> Value {
    serde_json::from_slice(&std::fs::read(formats().join(path)).unwrap()).unwrap()
}

/// The floats of one tensor of a safetensors file.
fn floats(path: &Path, name: &str) -> Vec<f32> {
    let bytes = std::fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let words = file.tensor(name).unwrap().data().as_chunks().0.to_vec();
    words.into_iter().map(f32::from_le_bytes).collect()
}

/// FNV-1a over 32-bit words, as `make_formats.py` computes it.
fn fnv(values: &[f32]) -> String {
    let hash = values.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, value| {
        (hash ^ u64::from(value.to_bits())).wrapping_mul(0x100_0000_01b3)
    });
    format!("{hash:016x}")
}

fn logits(source: &ModelSource, precision: Precision) -> Vec<f32> {
    let options = CpuOptions { precision, threads: Some(1), ..CpuOptions::default() };
    let mut engine = CpuEngine::load(source, &options, &mut |_| {}).unwrap();
    logits_of_all_positions(&mut engine, &IDS).unwrap()
}

fn max_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

fn top1_agreement(a: &[f32], b: &[f32]) -> f32 {
    let width = a.len() / IDS.len();
    let best = |row: &[f32]| (0..row.len()).max_by(|i, j| row[*i].total_cmp(&row[*j]));
    let rows = a.chunks(width).zip(b.chunks(width));
    rows.filter(|(a, b)| best(a) == best(b)).count() as f32 / IDS.len() as f32
}

/// Every matrix of `source` named in `expected` is the tool's, to the bit.
fn assert_same_weights(source: &ModelSource, expected: &Value) {
    let config = source.config().unwrap();
    let tensors = source.tensors().unwrap();
    let expected: BTreeMap<String, String> =
        serde_json::from_value(expected["fnv"].clone()).unwrap();
    assert!(expected.len() >= 7, "the seven matrices of a layer");
    let (hidden, ffn) = (config.hidden_size, config.intermediate_size);
    for (name, hash) in expected {
        let part = name.rsplit('.').nth(1).unwrap();
        let shape = match part {
            "q_proj" => [config.q_size(), hidden],
            "k_proj" | "v_proj" => [config.kv_size(), hidden],
            "o_proj" => [hidden, config.q_size()],
            "gate_proj" | "up_proj" => [ffn, hidden],
            "down_proj" => [hidden, ffn],
            "embed_tokens" => [config.vocab_size, hidden],
            other => panic!("{other} is no matrix of this network"),
        };
        let matrix = tensors.matrix(&name, shape, &config).unwrap();
        let mut values = vec![0.0; shape[0] * shape[1]];
        for (row, out) in values.chunks_exact_mut(shape[1]).enumerate() {
            matrix.row(row, out);
        }
        assert_eq!(fnv(&values), hash, "{name}");
    }
}

/// The logits in both precisions, against transformers on what the tool reads.
fn assert_same_logits(name: &str, source: &ModelSource, expected: &Path) {
    let expected = floats(expected, "logits");
    let f32_logits = logits(source, Precision::F32);
    let difference = max_difference(&f32_logits, &expected);
    let int8_logits = logits(source, Precision::Int8);
    let agreement = top1_agreement(&int8_logits, &expected);
    let int8_difference = max_difference(&int8_logits, &expected);
    let range = expected.iter().copied().fold(0.0, |a: f32, b| a.max(b.abs()));
    let _ = writeln!(
        std::io::stderr(),
        "{name}: f32 {difference:e}, INT8 {int8_difference:.3} of {range:.1}, top-1 {agreement:.3}"
    );
    assert!(difference < F32_TOLERANCE, "{name}: {difference}");
    assert!(agreement >= INT8_TOP1_AGREEMENT, "{name}: {agreement}");
}

#[test]
fn block_formats_equal_the_gguf_package_to_the_bit() {
    let path = formats().join("blocks.safetensors");
    let bytes = std::fs::read(&path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    for kind in BlockType::ALL {
        let raw = file.tensor(&kind.to_string()).unwrap();
        let expected = floats(&path, &format!("{kind}.f32"));
        let mut values = vec![0.0; expected.len()];
        kind.dequantize(raw.data(), &mut values);
        let same = values.iter().zip(&expected).all(|(a, b)| a.to_bits() == b.to_bits());
        assert!(same, "{kind}: {} apart", max_difference(&values, &expected));
    }
}

#[test]
fn float8_codes_equal_torch_to_the_bit() {
    let expected = floats(&formats().join("blocks.safetensors"), "F8_E4M3.f32");
    for (code, (ours, torch)) in E4M3.iter().zip(&expected).enumerate() {
        assert!(ours.to_bits() == torch.to_bits() || ours.is_nan() && torch.is_nan(), "{code:#x}");
    }
}

#[test]
fn converted_weights_equal_the_tools_to_the_bit() {
    for name in FOLDERS {
        assert_same_weights(&source(name), &json(&format!("{name}.json")));
    }
    assert_same_weights(&source("mixed.gguf"), &json("mixed.json"));
}

#[test]
fn converted_models_have_the_logits_of_transformers() {
    for name in FOLDERS {
        let expected = formats().join(format!("{name}.safetensors"));
        assert_same_logits(name, &source(name), &expected);
    }
    assert_same_logits("mixed.gguf", &source("mixed.gguf"), &formats().join("mixed.safetensors"));
}

#[test]
fn both_spellings_of_fp8_load_alike() {
    let expected = logits(&source("fp8"), Precision::F32);
    let mut config = json("fp8/config.json");
    for quantization in [
        serde_json::json!({"quant_method": "fp8", "activation_scheme": "static",
            "ignored_layers": ["lm_head"], "kv_cache_scheme": "static"}),
        serde_json::json!({"quant_method": "fp8", "activation_scheme": "dynamic"}),
    ] {
        config["quantization_config"] = quantization;
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("config.json"), config.to_string()).unwrap();
        let weights = formats().join("fp8/model.safetensors");
        std::fs::copy(weights, dir.path().join("model.safetensors")).unwrap();
        // Scales of the KV cache lie beside the weights in Tencent's folders, and are left alone.
        std::fs::write(dir.path().join("kv_cache_scales.safetensors"), "not read").unwrap();
        let source = ModelSource::Dir(dir.path().to_owned());
        assert_eq!(logits(&source, Precision::F32), expected);
    }
}

#[test]
fn gguf_metadata_give_the_published_base_and_no_second_scaling() {
    let config = source("mixed.gguf").config().unwrap();
    // Head width 16 here: 10000 * 1000^(16/14), as f32 in the file.
    let scaled = 10_000.0 * 1000_f64.powf(16.0 / 14.0);
    let base = config.rope.base(config.head_dim);
    assert!((base - scaled).abs() / scaled < 1e-7, "{base} {scaled}");
    assert_eq!(config.rope.alpha, None);
    assert!(config.tie_word_embeddings, "no output.weight");
    assert_eq!((config.hidden_size, config.n_layers, config.head_dim), (256, 2, 16));
}

#[test]
fn a_folder_with_one_gguf_file_is_that_file_and_with_two_a_question() {
    let dir = tempfile::tempdir().unwrap();
    let source = ModelSource::Dir(dir.path().to_owned());
    let file = dir.path().join("Model.GGUF");
    std::fs::copy(formats().join("mixed.gguf"), &file).unwrap();
    std::fs::write(dir.path().join("config.json"), "{}").unwrap();
    assert_eq!(source.container().unwrap(), Container::Gguf(file));
    assert_eq!(source.config().unwrap().hidden_size, 256);
    std::fs::copy(formats().join("mixed.gguf"), dir.path().join("b.gguf")).unwrap();
    let message = source.container().unwrap_err().to_string();
    assert!(message.contains("Model.GGUF, b.gguf"), "{message}");
}

#[test]
fn types_that_are_not_read_are_refused_by_name() {
    let good = std::fs::read(formats().join("mixed.gguf")).unwrap();
    let name = b"blk.0.attn_q.weight";
    let at = good.windows(name.len()).position(|window| window == name).unwrap() + name.len();
    // Number of dimensions, two of them, then the type.
    let type_at = at + 4 + 16;
    for (code, named) in [(40_u32, "STQ1_0"), (10, "Q2_K"), (999, "ggml type 999")] {
        let mut bytes = good.clone();
        bytes[type_at..type_at + 4].copy_from_slice(&code.to_le_bytes());
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("m.gguf");
        std::fs::write(&path, bytes).unwrap();
        let options = CpuOptions { threads: Some(1), ..CpuOptions::default() };
        let result = CpuEngine::load(&ModelSource::Dir(path), &options, &mut |_| {});
        let message = result.err().unwrap().to_string();
        for part in [named, "blk.0.attn_q.weight", "m.gguf", "Q4_K, Q5_K, Q6_K"] {
            assert!(message.contains(part), "'{part}' is not in: {message}");
        }
    }
}

/// The ids of each text in `texts.json` under `key`.
fn assert_same_ids(tokenizer: &Tokenizer, key: &str) {
    let table = json("texts.json");
    let texts = table["texts"].as_array().unwrap();
    assert!(texts.len() > 30);
    for (text, expected) in texts.iter().zip(table[key].as_array().unwrap()) {
        let text = text.as_str().unwrap();
        let expected: Vec<TokenId> = serde_json::from_value(expected.clone()).unwrap();
        assert_eq!(tokenizer.encode(text).unwrap(), expected, "{key}: {text:?}");
        assert_eq!(tokenizer.decode(&expected), text, "{key}");
    }
}

fn gguf_tokenizer(name: &str) -> Tokenizer {
    Tokenizer::of(&Container::Gguf(formats().join(name))).unwrap().unwrap()
}

#[test]
fn gguf_tokenizers_give_the_ids_of_tokenizer_json_and_of_tiktoken() {
    assert_same_ids(&gguf_tokenizer("mixed.gguf"), "small");
    assert_same_ids(&Tokenizer::from_file(&formats().join("tokenizer.json")).unwrap(), "small");
    assert_same_ids(&gguf_tokenizer("tokenizer-7b.gguf"), "large");
}

#[test]
fn tiktoken_ranks_give_the_ids_of_tiktoken() {
    let tokenizer = Tokenizer::from_tiktoken_file(&formats().join("hy.tiktoken")).unwrap();
    assert_same_ids(&tokenizer, "large");
    let table = json("texts.json");
    for (content, id) in table["large_specials"].as_object().unwrap() {
        assert_eq!(tokenizer.special_id(content).map(u64::from), id.as_u64(), "{content}");
    }
}

#[test]
fn the_vocabulary_decides_the_chat_format_and_what_ends_an_answer() {
    // Both files say in their metadata that token 3 ends a text.
    let header = GgufHeader::read(&formats().join("mixed.gguf")).unwrap();
    let eos = header.gguf().unwrap().get("tokenizer.ggml.eos_token_id").unwrap().as_u64();
    assert_eq!(eos, Some(3));
    let small = gguf_tokenizer("mixed.gguf");
    let chat = ChatFormat::detect(&small, Opener::Assistant).unwrap();
    assert_eq!(chat.family(), ChatFamily::Small);
    let end_of_turn = small.special_id("<｜hy_place▁holder▁no▁2｜>").unwrap();
    assert!(chat.stop().contains(&end_of_turn) && !chat.stop().contains(&3));

    let from_ranks = Tokenizer::from_tiktoken_file(&formats().join("hy.tiktoken")).unwrap();
    for large in [gguf_tokenizer("tokenizer-7b.gguf"), from_ranks] {
        let chat = ChatFormat::detect(&large, Opener::Assistant).unwrap();
        assert_eq!(chat.family(), ChatFamily::Large);
        let id = |content| large.special_id(content).unwrap();
        let ids = chat.render(&large, None, "Où ?<|eos|>").unwrap();
        assert_eq!((ids[0], ids[ids.len() - 1]), (id("<|startoftext|>"), id("<|extra_0|>")));
        let n_specials = ids.iter().filter(|id| large.is_special(**id)).count();
        assert_eq!(n_specials, 2, "what the user wrote opens and ends nothing");
        let stop = [id("<|eos|>"), id("<|extra_5|>"), id("<|endoftext|>")];
        assert!(stop.iter().all(|id| chat.stop().contains(id)) && !chat.stop().contains(&3));
    }
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().fold(0, |word, byte| word << 8 | u32::from(*byte));
        let word = word << (8 * (3 - chunk.len()));
        for digit in 0..4 {
            let at = (word >> (18 - 6 * digit) & 63) as usize;
            text.push(if digit <= chunk.len() as u32 { char::from(DIGITS[at]) } else { '=' });
        }
    }
    text
}

#[test]
fn as_many_ranks_as_the_7b_model_has_give_its_published_ids() {
    // 127,957 tokens: every byte, every pair of bytes, and enough triples.
    const N_RANKS: u32 = 127_957;
    let token = |rank: u32| match rank {
        0..256 => vec![rank as u8],
        256..65_792 => ((rank - 256) as u16).to_be_bytes().to_vec(),
        _ => (rank - 65_792).to_be_bytes()[1..].to_vec(),
    };
    let ranks: String =
        (0..N_RANKS).map(|rank| format!("{} {rank}\n", base64(&token(rank)))).collect();
    let tokenizer = Tokenizer::from_tiktoken(ranks.as_bytes(), "7B").unwrap();
    assert_eq!(tokenizer.vocab_size(), 128_167);
    let chat = ChatFormat::detect(&tokenizer, Opener::Assistant).unwrap();
    let ids = chat.render(&tokenizer, None, "It is so.").unwrap();
    assert_eq!((ids[0], ids[ids.len() - 1]), (127_958, 127_962));
    let with_system = chat.render(&tokenizer, Some("S"), "X").unwrap();
    assert_eq!(with_system, [127_958, u32::from(b'S'), 127_966, u32::from(b'X'), 127_962]);
    let mut stop = chat.stop().to_vec();
    stop.sort_unstable();
    assert_eq!(stop, [127_957, 127_960, 127_967]);
}

#[test]
fn damaged_ranks_name_the_line() {
    let good = std::fs::read_to_string(formats().join("hy.tiktoken")).unwrap();
    let line = |n: usize| good.lines().nth(n).unwrap();
    let cases = [
        (String::new(), "byte 0x00 has no token"),
        (good.replacen(line(3), "AA== x", 1), "line 4"),
        (good.replacen(line(3), "A 3", 1), "line 4: the token is not base64"),
        (good.replacen(line(3), "AAAA", 1), "line 4: no space"),
        (good.replacen(line(3), " 3", 1), "line 4"),
        (good.replacen(line(3), line(4), 1), "rank 3 is missing"),
        (format!("{good}AAAA 18446744073709551615\n"), "below"),
        (format!("{good}{} 640\n", "A".repeat(400)), "not base64"),
        (format!("{good}{} 640\n", line(0).split(' ').next().unwrap()), "twice"),
    ];
    for (text, named) in cases {
        let message = Tokenizer::from_tiktoken(text.as_bytes(), "r").unwrap_err().to_string();
        assert!(message.contains(named), "'{named}' is not in: {message}");
    }
}
