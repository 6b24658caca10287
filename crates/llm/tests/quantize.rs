//! From a float checkpoint to an INT8 folder: what it computes, that nothing but source, prompts
//! and options decides about its bytes, and what is refused.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use hymt_llm::TokenId;
use hymt_llm::chat::{ChatFormat, Opener};
use hymt_llm::engine::Engine as _;
use hymt_llm::engine::cpu::{CpuEngine, CpuOptions, Precision, logits_of_all_positions};
use hymt_llm::quant::checkpoint::{
    ACTIVATION_SCALES_FILE, KV_CACHE_SCALES_FILE, QuantizeError, QuantizeOptions, QuantizeReport,
    REPORT_FILE, RunOptions, STEPS_PER_LAYER, Smoothing, quantize_model,
};
use hymt_llm::tokenizer::Tokenizer;
use hymt_llm::weights::ModelSource;
use safetensors::{Dtype, SafeTensors};

fn manifest_dir() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn demo() -> PathBuf {
    manifest_dir().join("../../models/demo/bf16")
}

fn golden(name: &str) -> PathBuf {
    manifest_dir().join("tests/golden").join(name)
}

/// Prompts of the demo model's own kind, in its chat format.
fn demo_prompts() -> Vec<Vec<TokenId>> {
    let tokenizer = Tokenizer::from_file(&demo().join("tokenizer.json")).unwrap();
    let chat = ChatFormat::detect(&tokenizer, Opener::default()).unwrap();
    let json = std::fs::read(demo().join("../golden_prompts.json")).unwrap();
    let prompts: Vec<serde_json::Value> = serde_json::from_slice(&json).unwrap();
    let texts = prompts.iter().take(8).map(|prompt| prompt["prompt"].as_str().unwrap());
    texts.map(|text| chat.render(&tokenizer, None, text).unwrap()).collect()
}

/// So few tokens that an unoptimised build has a chance.
fn demo_options(smoothing: Smoothing) -> QuantizeOptions {
    QuantizeOptions { smoothing, tokens_max: 150, ..QuantizeOptions::default() }
}

/// Prompts of the tiny models' 200 tokens.
fn tiny_prompts() -> Vec<Vec<TokenId>> {
    (0..12).map(|n| (0..20 + n).map(|i| (i * i * 7 + n * 31) % 200).collect()).collect()
}

fn tiny_options() -> QuantizeOptions {
    // Shards so small that there are several.
    QuantizeOptions { kv_cache_scales: true, shard_bytes_max: 40_000, ..QuantizeOptions::default() }
}

fn quantize(
    source: &Path,
    out: &Path,
    prompts: &[Vec<TokenId>],
    options: &QuantizeOptions,
) -> QuantizeReport {
    quantize_model(source, out, prompts, options, RunOptions::default(), &mut |_| {
        ControlFlow::Continue(())
    })
    .unwrap()
}

fn engine(model: &Path, precision: Precision) -> CpuEngine {
    let options = CpuOptions { precision, ..CpuOptions::default() };
    CpuEngine::load(&ModelSource::Dir(model.to_owned()), &options, &mut |_| {}).unwrap()
}

/// The most probable token after each of `tokens`.
fn best_tokens(engine: &mut CpuEngine, tokens: &[TokenId]) -> Vec<Option<usize>> {
    let vocab_size = engine.spec().vocab_size;
    let logits = logits_of_all_positions(engine, tokens).unwrap();
    let best = |row: &[f32]| (0..row.len()).max_by(|i, j| row[*i].total_cmp(&row[*j]));
    logits.chunks_exact(vocab_size).map(best).collect()
}

/// Every file of a folder.
fn contents(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    entries
        .map(|entry| {
            let name = entry.file_name().into_string().unwrap();
            (name, std::fs::read(entry.path()).unwrap())
        })
        .collect()
}

#[test]
fn the_quantised_demo_model_agrees_with_the_original() {
    let dir = tempfile::tempdir().unwrap();
    let prompts = demo_prompts();
    let mut exact = engine(&demo(), Precision::F32);
    for smoothing in [Smoothing::None, Smoothing::Search] {
        let out = dir.path().join(format!("{smoothing:?}"));
        let report = quantize(&demo(), &out, &prompts, &demo_options(smoothing));
        let folds: Vec<_> = report.layers.iter().flat_map(|layer| &layer.folds).collect();
        assert_eq!(folds.len(), 24);
        for fold in &folds {
            assert!(fold.error <= fold.error_plain && fold.error > 0.0, "{fold:?}");
            assert!(fold.alpha.is_some() || fold.error == fold.error_plain, "{fold:?}");
        }
        let some_are_better = folds.iter().any(|fold| fold.error < 0.9 * fold.error_plain);
        assert_eq!(some_are_better, smoothing == Smoothing::Search, "{folds:?}");

        let mut quantised = engine(&out, Precision::Int8);
        let (mut agree, mut all) = (0, 0);
        for prompt in &prompts {
            let exact = best_tokens(&mut exact, prompt);
            let quantised = best_tokens(&mut quantised, prompt);
            agree += exact.iter().zip(&quantised).filter(|(a, b)| a == b).count();
            all += prompt.len();
        }
        println!("{smoothing:?}: {agree} of {all} positions have the same best token");
        // Inside a prompt the model guesses, so near ties are common; of the tokens of answers
        // tests/peers/quantized_folder.py measures the agreement.
        assert!(agree * 100 >= all * 95, "{smoothing:?}: {agree} of {all}");
    }
}

#[test]
fn the_folder_is_one_that_compressed_tensors_describes() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let options = QuantizeOptions { kv_cache_scales: true, ..demo_options(Smoothing::Alpha(0.5)) };
    let report = quantize(&demo(), &out, &demo_prompts(), &options);
    let files = contents(&out);
    for name in
        ["tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "generation_config.json"]
    {
        assert_eq!(files[name], std::fs::read(demo().join(name)).unwrap(), "{name}");
    }
    let config: serde_json::Value = serde_json::from_slice(&files["config.json"]).unwrap();
    let section = &config["quantization_config"];
    assert_eq!(section["format"], "int-quantized");
    assert_eq!(section["config_groups"]["group_0"]["input_activations"]["dynamic"], true);
    let weights = SafeTensors::deserialize(&files["model.safetensors"]).unwrap();
    let values = weights.tensor("model.layers.3.mlp.down_proj.weight").unwrap();
    assert_eq!((values.dtype(), values.shape()), (Dtype::I8, &[256, 512][..]));
    let scales = weights.tensor("model.layers.3.mlp.down_proj.weight_scale").unwrap();
    assert_eq!((scales.dtype(), scales.shape()), (Dtype::F32, &[256, 1][..]));
    assert!(weights.tensor("lm_head.weight").is_err(), "the head is the embedding");
    assert_eq!(weights.tensor("model.embed_tokens.weight").unwrap().dtype(), Dtype::BF16);

    let scales = SafeTensors::deserialize(&files[ACTIVATION_SCALES_FILE]).unwrap();
    assert_eq!(scales.names().len(), 6 * 7 * 2);
    let scale = |name: &str| {
        let bytes = scales.tensor(name).unwrap().data().to_vec();
        f32::from_le_bytes(bytes.try_into().unwrap())
    };
    let (absmax, percentile) = (
        scale("model.layers.0.mlp.up_proj.input_scale"),
        scale("model.layers.0.mlp.up_proj.input_scale_p999"),
    );
    assert_eq!(absmax, report.layers[0].folds[2].input_absmax / 127.0);
    assert!(0.0 < percentile && percentile <= absmax, "{percentile} {absmax}");
    let cache = SafeTensors::deserialize(&files[KV_CACHE_SCALES_FILE]).unwrap();
    assert_eq!(cache.tensor("model.layers.5.self_attn.v_scale").unwrap().shape(), [4]);
    assert!(!files.keys().any(|name| name.contains("progress") || name.contains("hidden")));
    assert!(files.contains_key(REPORT_FILE));
}

#[test]
fn threads_and_interruptions_do_not_change_a_byte() {
    let dir = tempfile::tempdir().unwrap();
    let (source, prompts, options) = (golden("bf16-sharded"), tiny_prompts(), tiny_options());
    let reference = dir.path().join("reference");
    quantize(&source, &reference, &prompts, &options);
    let expected = contents(&reference);
    assert!(expected.contains_key("model.safetensors.index.json"), "several shards");
    for threads in [1, 3, 5] {
        let out = dir.path().join(format!("threads-{threads}"));
        let run = RunOptions { threads: Some(threads), force: false };
        quantize_model(&source, &out, &prompts, &options, run, &mut |_| ControlFlow::Continue(()))
            .unwrap();
        assert!(contents(&out) == expected, "{threads} threads");
    }
    // Cut off before every step, each time from the beginning, then finished.
    for cut in [0, 1, 4, STEPS_PER_LAYER - 1, STEPS_PER_LAYER, 2 * STEPS_PER_LAYER - 1] {
        let out = dir.path().join(format!("cut-{cut}"));
        let attempt = |stop_at: usize| {
            let mut first = None;
            let done = quantize_model(
                &source,
                &out,
                &prompts,
                &options,
                RunOptions::default(),
                &mut |step| {
                    first.get_or_insert(step.layer);
                    if step.done == stop_at {
                        ControlFlow::Break(())
                    } else {
                        ControlFlow::Continue(())
                    }
                },
            );
            (done, first)
        };
        let (stopped, _) = attempt(cut);
        match stopped.unwrap_err() {
            QuantizeError::Stopped { layers, .. } => assert_eq!(layers, cut / STEPS_PER_LAYER),
            other => panic!("{other}"),
        }
        assert!(!out.exists(), "nothing is called complete before it is");
        let (done, first) = attempt(usize::MAX);
        done.unwrap();
        assert_eq!(first, Some(cut / STEPS_PER_LAYER), "finished layers are not done again");
        assert!(contents(&out) == expected, "cut before step {cut}");
    }
}

#[test]
fn what_cannot_be_done_is_refused_and_nothing_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let (source, prompts) = (golden("f32"), tiny_prompts());
    let attempt =
        |source: &Path, out: &Path, prompts: &[Vec<TokenId>], options: &QuantizeOptions, force| {
            let run = RunOptions { threads: Some(1), force };
            let done = quantize_model(source, out, prompts, options, run, &mut |_| {
                ControlFlow::Continue(())
            });
            done.map(|_| ()).map_err(|error| error.to_string())
        };
    let default = QuantizeOptions::default();
    let out = dir.path().join("out");
    let few = QuantizeOptions { tokens_max: 5, ..default.clone() };
    let none = QuantizeOptions { tokens_max: 0, ..default.clone() };
    let alpha = QuantizeOptions { smoothing: Smoothing::Alpha(1.5), ..default.clone() };
    let unknown = vec![vec![1, 2, 200]];
    for (source, prompts, options, named) in [
        (golden("int8"), &prompts, &default, "bf16 original"),
        (golden("formats/mixed.gguf"), &prompts, &default, "GGUF"),
        (dir.path().join("nowhere"), &prompts, &default, "nowhere"),
        (source.clone(), &Vec::new(), &default, "no calibration"),
        (source.clone(), &prompts, &few, "within 5 tokens"),
        (source.clone(), &prompts, &none, "tokens_max"),
        (source.clone(), &prompts, &alpha, "0 to 1"),
        (source.clone(), &unknown, &default, "vocabulary's 200"),
    ] {
        let message = attempt(&source, &out, prompts, options, false).unwrap_err();
        assert!(message.contains(named), "{named}: {message}");
        assert!(!out.exists() && !dir.path().join("out.partial").exists(), "{named}");
    }

    attempt(&source, &out, &prompts, &default, false).unwrap();
    let before = contents(&out);
    assert!(attempt(&source, &out, &prompts, &default, false).unwrap_err().contains("--force"));
    assert!(contents(&out) == before);
    let plain = QuantizeOptions { smoothing: Smoothing::None, ..default.clone() };
    attempt(&source, &out, &prompts, &plain, true).unwrap();
    assert!(contents(&out) != before, "replaced by another result");

    let home = dir.path().join("home");
    std::fs::create_dir(&home).unwrap();
    std::fs::write(home.join("letter.txt"), "dear").unwrap();
    assert!(attempt(&source, &home, &prompts, &default, true).unwrap_err().contains("not made by"));
    assert_eq!(contents(&home).len(), 1, "force removes nothing it does not know");
}

#[test]
fn the_remains_of_another_run_are_not_mixed_in() {
    let dir = tempfile::tempdir().unwrap();
    let (source, prompts, out) = (golden("f32"), tiny_prompts(), dir.path().join("out"));
    let stop_in_layer_1 = |options: &QuantizeOptions, force| {
        let run = RunOptions { threads: Some(2), force };
        quantize_model(&source, &out, &prompts, options, run, &mut |step| {
            if step.layer == 1 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
        .unwrap_err()
    };
    let default = QuantizeOptions::default();
    let plain = QuantizeOptions { smoothing: Smoothing::None, ..default.clone() };
    assert!(matches!(stop_in_layer_1(&default, false), QuantizeError::Stopped { layers: 1, .. }));
    assert!(matches!(stop_in_layer_1(&plain, false), QuantizeError::OtherRun { .. }));
    assert!(matches!(stop_in_layer_1(&plain, true), QuantizeError::Stopped { layers: 1, .. }));
    std::fs::write(dir.path().join("out.partial/quantize-progress.json"), "{").unwrap();
    assert!(matches!(stop_in_layer_1(&plain, true), QuantizeError::NotOurs { .. }));
}

/// Python with torch, transformers and compressed-tensors; without it the peer test is skipped.
const PEER_PYTHON: &str = "HYMT_QUANT_PEER_PYTHON";

#[test]
fn transformers_computes_the_same_from_the_folder() {
    let Some(python) = std::env::var_os(PEER_PYTHON) else {
        println!(
            "SKIPPED transformers_computes_the_same_from_the_folder: set {PEER_PYTHON} to a \
             Python with torch, transformers and compressed-tensors"
        );
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    quantize(&demo(), &out, &demo_prompts(), &QuantizeOptions::default());
    let answers = demo_answers();
    let ids: Vec<_> = answers.iter().map(|answer| &answer.ids).collect();
    let best = |precision| -> Vec<Vec<_>> {
        let mut engine = engine(&out, precision);
        ids.iter().map(|ids| best_tokens(&mut engine, ids)).collect()
    };
    let case = serde_json::json!({
        "ids": ids,
        "answer_starts": answers.iter().map(|answer| answer.start).collect::<Vec<_>>(),
        "int8": best(Precision::Int8),
        "f32": best(Precision::F32),
    });
    std::fs::write(dir.path().join("case.json"), case.to_string()).unwrap();
    let script = manifest_dir().join("../../tests/peers/quantized_folder.py");
    let output = std::process::Command::new(python)
        .arg(script)
        .args([&out, &dir.path().join("case.json")])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    println!("{text}");
    let result: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!(result["unexpected"], serde_json::json!([]));
    // The head is the embedding, which transformers ties after it has looked for it.
    let missing = result["missing"].as_array().unwrap();
    assert!(missing.iter().all(|name| name == "lm_head.weight"), "{missing:?}");
    assert_eq!(result["quantized_linears"], 42);
    assert_eq!(result["quantizes_activations"], 42);
    // Inside the prompt the model was never taught what comes next, so a hair decides there, and
    // our INT8 head is such a hair; in f32 that head is the same as theirs.
    for how in ["int8_answers", "f32_everywhere"] {
        let number = |key: &str| result[how][key].as_u64().unwrap();
        assert!(number("positions") > 200, "{text}");
        assert!(number("agree") * 100 >= number("positions") * 99, "{how}: {text}");
    }
}

/// A request of the demo model and its answer.
struct Answer {
    ids: Vec<TokenId>,
    /// Index of the answer's first token.
    start: usize,
}

/// Held-out requests of the demo model with their answers.
fn demo_answers() -> Vec<Answer> {
    let tokenizer = Tokenizer::from_file(&demo().join("tokenizer.json")).unwrap();
    let chat = ChatFormat::detect(&tokenizer, Opener::default()).unwrap();
    let text = std::fs::read_to_string(demo().join("../heldout_small.jsonl")).unwrap();
    let requests =
        text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let plain = requests.filter(|request| {
        request["target"] == "de"
            && request["source"] != "zh"
            && request["context"].is_null()
            && request["terms"].as_array().unwrap().is_empty()
    });
    plain
        .map(|request| {
            let question = format!(
                "Translate the following text into German. Note that you should only output the \
                 translated result without any additional explanation:\n\n{}",
                request["text"].as_str().unwrap()
            );
            let mut ids = chat.render(&tokenizer, None, &question).unwrap();
            let start = ids.len();
            ids.extend(tokenizer.encode(request["reference"].as_str().unwrap()).unwrap());
            Answer { ids, start }
        })
        .collect()
}
