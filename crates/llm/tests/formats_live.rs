//! The demo model, converted to GGUF by the gguf package as it is installed today, against
//! transformers as it is installed today.
//!
//! Needs a Python with the packages that `golden/make_formats.py` names, in `HYMT_FORMATS_PYTHON`;
//! says so without. `tests/formats.rs` holds what needs no Python.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use hymt_llm::TokenId;
use hymt_llm::engine::cpu::{CpuEngine, CpuOptions, Precision, logits_of_all_positions};
use hymt_llm::tokenizer::Tokenizer;
use hymt_llm::weights::ModelSource;
use safetensors::SafeTensors;

/// Largest difference of f32 logits, absolute; they range over about -30..30.
const F32_TOLERANCE: f32 = 2e-4;

/// Least share of positions where INT8 made from the file agrees with the bf16 model on the best
/// token. The prompt has 32 positions, of which the model was trained on none but the last, so three
/// may differ; Q4_0 has lost most of what it loses before it gets here.
const TOP1_AGREEMENT: [(&str, f32); 4] =
    [("f16", 0.9), ("bf16", 0.9), ("q8_0", 0.9), ("q4_0", 0.7)];

fn words<T>(file: &SafeTensors<'_>, name: &str, from: impl Fn([u8; 4]) -> T) -> Vec<T> {
    file.tensor(name).unwrap().data().as_chunks().0.iter().map(|word| from(*word)).collect()
}

fn logits(path: PathBuf, precision: Precision, ids: &[TokenId]) -> Vec<f32> {
    let options = CpuOptions { precision, ..CpuOptions::default() };
    let mut engine = CpuEngine::load(&ModelSource::Dir(path), &options, &mut |_| {}).unwrap();
    logits_of_all_positions(&mut engine, ids).unwrap()
}

#[test]
fn the_demo_model_survives_conversion_by_todays_tools() {
    let Some(python) = std::env::var_os("HYMT_FORMATS_PYTHON") else {
        // Straight to the stream: the test runner swallows what the macros print.
        let said = "\n*** SKIPPED: set HYMT_FORMATS_PYTHON to a Python with torch, transformers, \
                    gguf, tiktoken, tokenizers, compressed-tensors ***\n";
        let _ = writeln!(std::io::stderr(), "{said}");
        return;
    };
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let out = tempfile::tempdir().unwrap();
    let script = root.join("tests/golden/convert_demo.py");
    let status = Command::new(python).arg(script).arg(out.path()).status().unwrap();
    assert!(status.success(), "the conversion failed");
    let demo = root.join("../../models/demo/bf16/tokenizer.json");
    let demo = Tokenizer::from_file(&demo).unwrap();
    let mut report = String::new();
    for (kind, least) in TOP1_AGREEMENT {
        let bytes = std::fs::read(out.path().join(format!("demo-{kind}.safetensors"))).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let ids = words(&file, "ids", u32::from_le_bytes);
        let (tool, bf16) =
            (words(&file, "logits", f32::from_le_bytes), words(&file, "bf16", f32::from_le_bytes));
        let gguf = out.path().join(format!("demo-{kind}.gguf"));
        let ours = logits(gguf.clone(), Precision::F32, &ids);
        let difference = ours.iter().zip(&tool).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        let int8 = logits(gguf.clone(), Precision::Int8, &ids);
        let width = int8.len() / ids.len();
        let best = |row: &[f32]| (0..row.len()).max_by(|i, j| row[*i].total_cmp(&row[*j]));
        let same = int8.chunks(width).zip(bf16.chunks(width)).filter(|(a, b)| best(a) == best(b));
        let agreement = same.count() as f32 / ids.len() as f32;
        report += &format!("{kind}: f32 {difference:e}, INT8 top-1 to bf16 {agreement:.3}\n");
        assert!(difference < F32_TOLERANCE, "{kind}: {difference}");
        assert!(agreement >= least, "{kind}: {agreement}");
        let container = ModelSource::Dir(gguf).container().unwrap();
        let tokenizer = Tokenizer::of(&container).unwrap().unwrap();
        for text in ["The robot is at the door.", "请把箱子搬到三号仓库。 12345\n", "Où ? Ça va."]
        {
            assert_eq!(tokenizer.encode(text).unwrap(), demo.encode(text).unwrap(), "{text}");
        }
    }
    let _ = writeln!(std::io::stderr(), "\n{report}");
}
