//! Plans are built: parser, profiles, DLA, progress, timing cache.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use hymt_llm::config::ModelConfig;
use hymt_llm::quant::activation_scales::observe_activations;
use hymt_llm::synth::{SynthDtype, SynthOptions, SynthShape, write_model};
use hymt_llm::weights::ModelSource;
use hymt_tensorrt::error::TensorRtError;
use hymt_tensorrt::graph;
use hymt_tensorrt::onnx::{ExportOptions, export_model};
use hymt_tensorrt::safe::{
    Capability, Config, Device, Flag, Libraries, Library, Mode, Parser, Shape, ShapeRange,
    TensorInfo, Typing, headers,
};

use crate::control::Fake;
use crate::support::{
    MODEL, OPS, add_profiles, build, next_version, open, parsed, tensor_error, typing,
};

#[test]
fn dla_is_offered_only_where_there_is_some() {
    let Some(fake) = Fake::take() else { return };
    let library = open(&fake);
    let (builder, mut runtime) = (library.builder().unwrap(), library.runtime().unwrap());
    let mut config = builder.config().unwrap();
    for error in
        [runtime.set_dla_core(0).unwrap_err(), config.set_device(Device::Dla(0)).unwrap_err()]
    {
        assert!(
            matches!(error, TensorRtError::DlaUnavailable { core: 0, cores: 0, .. }),
            "{error:?}"
        );
    }
    fake.set("dla_cores", "2");
    assert_eq!((builder.dla_cores().unwrap(), runtime.dla_cores().unwrap()), (2, 2));
    runtime.set_dla_core(1).unwrap();
    let error = config.set_device(Device::Dla(2)).unwrap_err();
    assert!(matches!(error, TensorRtError::DlaUnavailable { core: 2, cores: 2, .. }), "{error:?}");
    config.set_device(Device::Dla(1)).unwrap();

    let mut network = parsed(&builder);
    let layers = network.layers().unwrap();
    let can = |index| config.layer_on_dla(&network, index).unwrap();
    let on_dla: Vec<_> = (0..layers.len()).map(can).collect();
    assert_eq!(on_dla, [false, false, true, true, true, false]);
    assert_eq!((layers[1].name.as_str(), layers[1].kind.as_str()), ("node_1", "MatrixMultiply"));
    assert!(matches!(config.layer_on_dla(&network, 6), Err(TensorRtError::Argument { .. })));

    add_profiles(&mut config);
    let error = builder.build(&mut network, &mut config).unwrap_err();
    assert!(
        matches!(&error, TensorRtError::Build { detail } if detail.contains("node_0")),
        "{error:?}"
    );
    config.set_flag(Flag::GpuFallback).unwrap();
    let plan = builder.build(&mut network, &mut config).unwrap();
    runtime.deserialise(&plan).unwrap();
    fake.set("dla_cores", "0");
    assert!(matches!(runtime.deserialise(&plan), Err(TensorRtError::Plan { .. })));
}

#[test]
fn a_build_says_how_far_it_is_and_can_be_ended() {
    let Some(fake) = Fake::take() else { return };
    fake.set("steps", "3");
    let library = open(&fake);
    let builder = library.builder().unwrap();
    let mut config = builder.config().unwrap();
    add_profiles(&mut config);
    if !Capability::Monitor.is_there() {
        let error = config.set_progress(|_| ControlFlow::Continue(())).unwrap_err();
        assert!(matches!(error, TensorRtError::Unsupported { .. }), "{error:?}");
        return;
    }
    let seen = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&seen);
    config
        .set_progress(move |progress| {
            let line = format!(
                "{}>{} {}/{}",
                progress.parent, progress.phase, progress.step, progress.steps
            );
            sink.lock().unwrap().push(line);
            ControlFlow::Continue(())
        })
        .unwrap();
    builder.build(&mut parsed(&builder), &mut config).unwrap();
    let inner = "Building Engine>Timing";
    let expected = [
        ">Building Engine 0/1".to_owned(),
        format!("{inner} 0/3"),
        format!("{inner} 1/3"),
        format!("{inner} 2/3"),
        format!("{inner} 3/3"),
        format!("{inner} 3/3"),
        ">Building Engine 1/1".to_owned(),
        ">Building Engine 1/1".to_owned(),
    ];
    assert_eq!(*seen.lock().unwrap(), expected);

    config
        .set_progress(
            |it| if it.step == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) },
        )
        .unwrap();
    assert_eq!(
        builder.build(&mut parsed(&builder), &mut config).unwrap_err(),
        TensorRtError::Cancelled
    );
    config.set_progress(|_| panic!("a watch that falls over")).unwrap();
    assert_eq!(
        builder.build(&mut parsed(&builder), &mut config).unwrap_err(),
        TensorRtError::Cancelled
    );
    config.set_progress(|_| ControlFlow::Continue(())).unwrap();
    builder.build(&mut parsed(&builder), &mut config).unwrap();
}

#[test]
fn a_timing_cache_grows_and_is_refused_by_another_version() {
    let Some(fake) = Fake::take() else { return };
    let library = open(&fake);
    let builder = library.builder().unwrap();
    let mut bytes = Vec::new();
    let mut sizes = Vec::new();
    for _ in 0..3 {
        let mut config = builder.config().unwrap();
        assert!(matches!(config.timing_cache(), Err(TensorRtError::Refused { .. })));
        config.set_timing_cache(&bytes).unwrap();
        add_profiles(&mut config);
        builder.build(&mut parsed(&builder), &mut config).unwrap();
        bytes = config.timing_cache().unwrap().to_vec();
        sizes.push(bytes.len());
    }
    assert!(sizes.is_sorted_by(|a, b| a < b), "{sizes:?}");
    fake.set("version", &next_version(&library));
    let error = builder.config().unwrap().set_timing_cache(&bytes).unwrap_err();
    assert!(
        matches!(&error, TensorRtError::Refused { detail } if detail.contains("another version"))
    );
}

#[test]
fn what_a_build_lacks_is_said() {
    let Some(fake) = Fake::take() else { return };
    let library = open(&fake);
    let builder = library.builder().unwrap();
    let attempt = |act: &dyn Fn(&mut Config<'_>)| {
        let mut config = builder.config().unwrap();
        act(&mut config);
        match builder.build(&mut parsed(&builder), &mut config).unwrap_err() {
            TensorRtError::Build { detail } => detail,
            error => panic!("{error:?}"),
        }
    };
    assert!(attempt(&|_| ()).contains("no optimization profile"));
    let one = |config: &mut Config<'_>| {
        let range = ShapeRange { min: [1, 1].into(), opt: [1, 4].into(), max: [1, 8].into() };
        config.add_profile(&[(graph::TOKEN_IDS, range)]).unwrap();
    };
    assert!(attempt(&one).contains(graph::POSITIONS));
    fake.set("fail", "buildSerializedNetwork");
    let memory = "Requested amount of GPU memory (16106127360 bytes) could not be allocated";
    fake.set("fail_text", memory);
    assert!(attempt(&add_profiles_of).contains(memory));

    let mut config = builder.config().unwrap();
    let backwards = ShapeRange { min: [2].into(), opt: [1].into(), max: [3].into() };
    tensor_error(config.add_profile(&[("x", backwards)]).map(drop), "[2] <= [1] <= [3]");
    assert!(matches!(config.set_level(6), Err(TensorRtError::Argument { .. })));
    match config.set_level(5) {
        Ok(()) => assert!(Capability::Levels.is_there()),
        Err(error) => assert!(matches!(error, TensorRtError::Unsupported { .. }), "{error:?}"),
    }
    config.set_workspace_bytes(1 << 30).unwrap();
    config.set_flag(Flag::DetailedLayers).unwrap();
    for flag in [Flag::Fp16, Flag::Int8] {
        assert_eq!(config.set_flag(flag).is_ok(), Capability::WeaklyTyped.is_there());
    }
    let weak = builder.network(Typing::Weak).map(drop);
    assert_eq!(weak.is_ok(), Capability::WeaklyTyped.is_there(), "{weak:?}");
    let strong = builder.network(Typing::Strong).map(drop);
    assert_eq!(strong.is_ok(), Capability::StronglyTyped.is_there(), "{strong:?}");
}

fn add_profiles_of(config: &mut Config<'_>) {
    add_profiles(config);
}

#[test]
fn what_the_parser_says_comes_with_its_node() {
    let Some(fake) = Fake::take() else { return };
    let library = open(&fake);
    let builder = library.builder().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let parse = |path: &std::path::Path| builder.network(typing()).unwrap().parse_file(path);
    let complaint = |path: &std::path::Path| match parse(path).unwrap_err() {
        TensorRtError::Parse { path: named, detail, errors } => {
            assert_eq!(named, path);
            (detail, errors)
        }
        error => panic!("{error:?}"),
    };

    let path = MODEL.write_onnx(folder.path(), &["MatMul", "FancyAttention", "Add", "Trilu"]);
    let (detail, errors) = complaint(&path);
    assert!(detail.contains("FancyAttention"), "{detail}");
    assert_eq!(errors.iter().map(|it| it.node).collect::<Vec<_>>(), [Some(1), Some(3)]);
    // 8.x does not tell what the node is.
    if headers().unwrap().major >= 10 {
        let found: Vec<_> = errors.iter().map(|it| (it.op.as_str(), &it.node_name[..])).collect();
        assert_eq!(found, [("FancyAttention", "node_1"), ("Trilu", "node_3")]);
        let text = errors[0].to_string();
        assert!(text.starts_with("node 1 (FancyAttention 'node_1')"), "{text}");
    }

    let many = vec!["Nonsense"; 100];
    assert_eq!(complaint(&MODEL.write_onnx(folder.path(), &many)).1.len(), 32);

    let path = MODEL.write_onnx_with(folder.path(), OPS, &[("weights.bin", 16)]);
    assert!(complaint(&path).0.contains("weights.bin"));
    std::fs::write(folder.path().join("weights.bin"), [0; 15]).unwrap();
    assert!(complaint(&path).0.contains("ends before"));
    std::fs::write(folder.path().join("weights.bin"), [0; 16]).unwrap();
    parse(&path).unwrap();

    assert!(complaint(&folder.path().join("nothing.onnx")).0.contains("could not open"));
    std::fs::write(&path, b"\x3a\xff\xff").unwrap();
    complaint(&path);

    // The only place where TensorRT's interface may throw.
    let path = MODEL.write_onnx(folder.path(), &["Nonsense"]);
    fake.set("throw", "1");
    let error = parse(&path).unwrap_err();
    assert!(
        matches!(&error, TensorRtError::Exception { detail } if detail.contains("told to throw")),
        "{error:?}"
    );
}

/// The file that `hymt engine export-onnx` writes, through parser, profiles and plan: names, types and
/// dimensions are those of the contract, and weights lie where the graph says.
#[test]
fn the_exported_graph_becomes_a_plan() {
    let Some(fake) = Fake::take() else { return };
    let folder = tempfile::tempdir().unwrap();
    let (graph_file, config) = export(folder.path());
    let library = open(&fake);
    let builder = library.builder().unwrap();
    let mut network = builder.network(typing()).unwrap();
    network.parse_file(&graph_file).unwrap();

    let tensors = network.tensors().unwrap();
    let shape = |name: &str| tensors.iter().find(|it| it.name == name).map(|it| it.shape.0.clone());
    let (heads, place) = (config.n_kv_heads as i64, config.head_dim as i64);
    assert_eq!(shape(graph::TOKEN_IDS), Some(vec![-1, -1]));
    assert_eq!(shape(graph::PAST_LENGTHS), Some(vec![-1]));
    assert_eq!(shape(graph::LOGITS), Some(vec![-1, -1, config.vocab_size as i64]));
    for layer in 0..config.n_layers {
        assert_eq!(shape(&graph::past_key(layer)), Some(vec![-1, heads, 64, place]));
        assert_eq!(shape(&graph::new_value(layer)), Some(vec![-1, heads, -1, place]));
    }
    assert_eq!(tensors.len(), 5 + 4 * config.n_layers);

    fake.set("dla_cores", "1");
    let mut choices = builder.config().unwrap();
    choices.set_device(Device::Dla(0)).unwrap();
    let layers = network.layers().unwrap();
    let on_dla = |at: &usize| choices.layer_on_dla(&network, *at).unwrap();
    let on_dla = (0..layers.len()).filter(on_dla).count();
    assert!(on_dla > 0 && on_dla < layers.len(), "{on_dla} of {}", layers.len());

    choices.set_device(Device::Gpu).unwrap();
    let is_dynamic = |it: &&TensorInfo| it.mode == Mode::Input && it.shape.0.contains(&-1);
    let range = |it: &TensorInfo| {
        let with =
            |size| Shape(it.shape.0.iter().map(|it| if *it < 0 { size } else { *it }).collect());
        ShapeRange { min: with(1), opt: with(2), max: with(4) }
    };
    let inputs = tensors.iter().filter(is_dynamic);
    let ranges: Vec<_> = inputs.map(|it| (it.name.as_str(), range(it))).collect();
    choices.add_profile(&ranges).unwrap();
    let plan = builder.build(&mut network, &mut choices).unwrap();
    let engine = library.runtime().unwrap().deserialise(&plan).unwrap();
    assert_eq!(engine.tensors(), tensors);
}

/// A tiny random model as ONNX, with a cache of 64.
fn export(folder: &Path) -> (PathBuf, ModelConfig) {
    let model = folder.join("model");
    let options = SynthOptions { shape: SynthShape::Tiny, dtype: SynthDtype::Bf16, seed: 5 };
    write_model(&model, &options, &mut |_| {}).unwrap();
    let source = ModelSource::Dir(model);
    let (config, tensors) = (source.config().unwrap(), source.tensors().unwrap());
    let go_on = &mut |_| ControlFlow::Continue(());
    let prompts = [(0..30).collect::<Vec<_>>()];
    let scales = observe_activations(&tensors, &config, &prompts, 4096, Some(2), go_on).unwrap();
    let options = ExportOptions { context: 64, ..ExportOptions::default() };
    let go_on = &mut |_| ControlFlow::Continue(());
    let report =
        export_model(&source, &scales, &folder.join("onnx"), &options, false, go_on).unwrap();
    (report.graph, config)
}

#[test]
fn without_a_parser_plans_are_run_and_not_built() {
    let Some(fake) = Fake::take() else { return };
    let plan = build(&open(&fake).builder().unwrap());
    let library = Library::open(&fake.libraries().without_parser(), Box::new(|_, _| ())).unwrap();
    assert!(!library.has_parser());
    library.runtime().unwrap().deserialise(&plan).unwrap();
    let builder = library.builder().unwrap();
    let error = builder.network(typing()).unwrap().parse_file("x.onnx".as_ref()).unwrap_err();
    assert!(
        matches!(&error, TensorRtError::LibraryMissing { library: "libnvonnxparser", .. }),
        "{error:?}"
    );

    let with_parser = |path: &str| {
        let libraries = Libraries { parser: Parser::At(path.into()), ..fake.libraries() };
        Library::open(&libraries, Box::new(|_, _| ())).unwrap_err()
    };
    let path = "/nowhere/libnvonnxparser.so.11";
    let error = with_parser(path);
    let TensorRtError::LibraryMissing { library: "libnvonnxparser", tried } = &error else {
        panic!("{error:?}")
    };
    assert!(tried[0].starts_with(path), "{tried:?}");
    let error = with_parser("libc.so.6");
    assert!(
        matches!(&error, TensorRtError::SymbolMissing { detail }
            if detail.starts_with("libc.so.6 has no createNvOnnxParser")),
        "{error:?}"
    );
}
