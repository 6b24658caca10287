//! The shim and its safe layer, driven through every state against a FAKE TensorRT.
//!
//! The fake (`tests/fake/`) is built from the same headers as the shim (11.4 in CI, others by hand) and
//! stands behind their tables of virtual functions, so what is tested is the shim: that each call
//! arrives, that each refusal comes back as the error it is, and that nothing ends the process. Nothing
//! is learnt about TensorRT.

#![cfg(feature = "shim")]
#![allow(unsafe_code, reason = "runs write to addresses, and the fake is opened by hand")]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
#![allow(clippy::print_stderr, reason = "what a test lacks is said aloud")]

#[path = "fake/control.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod control;
#[path = "fake/host.rs"]
mod host;
#[path = "fake/model.rs"]
mod model;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use hymt_llm::config::ModelConfig;
use hymt_llm::quant::activation_scales::observe_activations;
use hymt_llm::synth::{SynthDtype, SynthOptions, SynthShape, write_model};
use hymt_llm::weights::ModelSource;
use hymt_tensorrt::error::{TensorRtError, Version};
use hymt_tensorrt::graph;
use hymt_tensorrt::onnx::{ExportOptions, export_model};
use hymt_tensorrt::safe::{
    Builder, Bytes, Capability, Config, Context, Device, Engine, Flag, Libraries, Library, Mode,
    Network, Parser, Severity, Shape, ShapeRange, Stream, TensorInfo, Typing, headers,
};

use control::Fake;
use host::Buffer;
use model::FakeModel;

const MODEL: FakeModel = FakeModel { layers: 3, kv_heads: 2, head_dim: 4, context: 24, vocab: 50 };
const OPS: &[&str] = &["Gather", "MatMul", "Add", "Mul", "Sigmoid", "Softmax"];
/// Longest prompt of profile 0; profile 1 is a decode step.
const PROMPT_MAX: i64 = 8;

fn open(fake: &Fake) -> Library {
    Library::open(&fake.libraries(), Box::new(|_, _| ())).unwrap()
}

/// Strong, where these headers know it.
fn typing() -> Typing {
    if Capability::StronglyTyped.is_there() { Typing::Strong } else { Typing::Weak }
}

/// A version as TensorRT packs it: 8502 is 8.5.2, 100300 is 10.3.0.
fn packed(major: i32, minor: i32, patch: i32) -> String {
    let scale = if major < 10 { 1000 } else { 10_000 };
    (major * scale + minor * 100 + patch).to_string()
}

/// The version after that of the library.
fn next_version(library: &Library) -> String {
    let Version { major, minor, .. } = library.version();
    packed(major, minor + 1, 0)
}

fn parsed<'b>(builder: &'b Builder) -> Network<'b> {
    let folder = tempfile::tempdir().unwrap();
    let mut network = builder.network(typing()).unwrap();
    network.parse_file(&MODEL.write_onnx(folder.path(), OPS)).unwrap();
    network
}

/// Ranges of a profile for steps of up to `tokens`.
fn ranges(tokens: i64) -> Vec<(String, ShapeRange)> {
    let range = |max: Vec<i64>| {
        let ones = |it: &i64| if *it <= PROMPT_MAX { 1 } else { *it };
        let min = Shape(max.iter().map(ones).collect());
        ShapeRange { min, opt: Shape(max.clone()), max: Shape(max) }
    };
    let mut all = vec![
        (graph::TOKEN_IDS.to_owned(), range(vec![1, tokens])),
        (graph::POSITIONS.to_owned(), range(vec![1, tokens])),
        (graph::PAST_LENGTHS.to_owned(), range(vec![1])),
        (graph::LOGITS_AT.to_owned(), range(vec![1, 1])),
    ];
    let cache = Shape(cache_shape(MODEL.context));
    for layer in 0..MODEL.layers {
        for name in [graph::past_key(layer), graph::past_value(layer)] {
            all.push((name, ShapeRange::fixed(cache.clone())));
        }
    }
    all
}

fn cache_shape(length: usize) -> Vec<i64> {
    [1, MODEL.kv_heads, length, MODEL.head_dim].map(|size| size as i64).to_vec()
}

fn add_profiles(config: &mut Config<'_>) {
    for (index, tokens) in [PROMPT_MAX, 1].into_iter().enumerate() {
        let ranges = ranges(tokens);
        let ranges: Vec<_> = ranges.iter().map(|(name, it)| (name.as_str(), it.clone())).collect();
        assert_eq!(config.add_profile(&ranges).unwrap(), index);
    }
}

fn build(builder: &Builder) -> Bytes {
    let mut config = builder.config().unwrap();
    add_profiles(&mut config);
    builder.build(&mut parsed(builder), &mut config).unwrap()
}

fn engine(library: &Library) -> Engine {
    let plan = build(&library.builder().unwrap());
    library.runtime().unwrap().deserialise(&plan).unwrap()
}

/// A context with memory for everything, and a cache that is fed back by hand.
struct Decoder {
    context: Context,
    /// In the engine's order.
    buffers: Vec<Buffer>,
    past: usize,
}

impl Decoder {
    fn new(engine: &Engine) -> Self {
        let mut context = engine.context().unwrap();
        let length = |shape: &Shape| {
            let size = |it: &i64| if *it < 0 { PROMPT_MAX as usize } else { *it as usize };
            shape.0.iter().map(size).product::<usize>()
        };
        let buffer =
            |it: &TensorInfo| Buffer::new(length(&it.shape) * it.dtype.bits().unwrap() / 8);
        let buffers: Vec<_> = engine.tensors().iter().map(buffer).collect();
        for (tensor, buffer) in engine.tensors().iter().zip(&buffers) {
            context.set_address(&tensor.name, buffer.address()).unwrap();
        }
        Self { context, buffers, past: 0 }
    }

    fn buffer(&mut self, name: &str) -> &mut Buffer {
        let tensors = self.context.engine().tensors();
        let at = tensors.iter().position(|it| it.name == name).unwrap();
        &mut self.buffers[at]
    }

    fn set_shapes(&mut self, tokens: usize) {
        for (name, range) in ranges(tokens as i64) {
            self.context.set_input_shape(&name, &range.max).unwrap();
        }
    }

    fn write_inputs(&mut self, tokens: &[u32]) {
        let ids: Vec<i32> = tokens.iter().map(|it| *it as i32).collect();
        let positions: Vec<i32> = (0..tokens.len()).map(|it| (self.past + it) as i32).collect();
        let past = self.past as i32;
        self.buffer(graph::TOKEN_IDS).write(&ids);
        self.buffer(graph::POSITIONS).write(&positions);
        self.buffer(graph::PAST_LENGTHS).write(&[past]);
        self.buffer(graph::LOGITS_AT).write(&[tokens.len() as i32 - 1]);
    }

    fn enqueue(&mut self) -> Result<(), TensorRtError> {
        // SAFETY: the buffers live as long as the context, and the fake has run when this returns.
        unsafe { self.context.enqueue(Stream::DEFAULT) }
    }

    fn step(&mut self, tokens: &[u32]) -> Vec<f32> {
        self.set_shapes(tokens.len());
        self.context.infer_shapes().unwrap();
        self.write_inputs(tokens);
        self.enqueue().unwrap();
        self.keep(tokens.len());
        self.logits()
    }

    fn logits(&mut self) -> Vec<f32> {
        self.buffer(graph::LOGITS).read_f32(MODEL.vocab)
    }

    /// Copies the new keys and values to their place in the cache.
    fn keep(&mut self, tokens: usize) {
        let past = self.past;
        let row_bytes = MODEL.head_dim * 2;
        for layer in 0..MODEL.layers {
            let pairs = [
                (graph::new_key(layer), graph::past_key(layer)),
                (graph::new_value(layer), graph::past_value(layer)),
            ];
            for (new, kept) in pairs {
                let new = self.buffer(&new).bytes().to_vec();
                let kept = self.buffer(&kept).bytes_mut();
                for head in 0..MODEL.kv_heads {
                    let from = head * tokens * row_bytes;
                    let to = (head * MODEL.context + past) * row_bytes;
                    let length = tokens * row_bytes;
                    kept[to..to + length].copy_from_slice(&new[from..from + length]);
                }
            }
        }
        self.past += tokens;
    }
}

fn tensor_error(result: Result<(), TensorRtError>, word: &str) {
    match result.unwrap_err() {
        TensorRtError::Tensor { detail } => assert!(detail.contains(word), "'{word}': {detail}"),
        error => panic!("'{word}': {error:?}"),
    }
}

#[test]
fn a_plan_says_what_went_into_it() {
    let Some(fake) = Fake::take() else { return };
    let library = open(&fake);
    let builder = library.builder().unwrap();
    let wanted = parsed(&builder).tensors().unwrap();
    let engine = engine(&library);
    assert_eq!(engine.tensors(), wanted);
    assert_eq!(wanted.iter().filter(|it| it.mode == Mode::Input).count(), 4 + 2 * MODEL.layers);
    assert_eq!(wanted[0].shape, Shape(vec![-1, -1]));
    assert_eq!(engine.profiles().unwrap(), 2);
    let range = engine.profile_range(graph::TOKEN_IDS, 0).unwrap();
    assert_eq!((range.min, range.max), ([1, 1].into(), [1, PROMPT_MAX].into()));
    assert_eq!(engine.profile_range(graph::TOKEN_IDS, 1).unwrap().max, [1, 1].into());
    let wrong = engine.profile_range(graph::TOKEN_IDS, 2).unwrap_err();
    assert!(matches!(wrong, TensorRtError::Argument { .. }), "{wrong:?}");
    tensor_error(engine.profile_range(graph::LOGITS, 0).map(|_| ()), "is an output");
    fake.set("device_memory", "12345");
    assert_eq!(engine.device_memory_bytes().unwrap(), 12345);
    assert!(engine.layers_json().unwrap().contains("node_1"));
}

/// The prompt at once, or token by token, or anything between: what the fake computes depends on the
/// whole cache, so this holds only if every key and value is where it belongs.
#[test]
fn steps_with_the_cache_fed_back_are_the_whole() {
    let Some(fake) = Fake::take() else { return };
    let engine = engine(&open(&fake));
    let tokens: Vec<u32> = (0..20).map(|it| it * 7 % 50).collect();
    for cuts in [vec![8, 8, 4], vec![5, 1, 1, 1, 8, 4], vec![1; 20]] {
        let mut decoder = Decoder::new(&engine);
        for cut in cuts {
            let past = decoder.past;
            let profile = usize::from(cut == 1);
            decoder.context.set_profile(profile, Stream::DEFAULT).unwrap();
            let logits = decoder.step(&tokens[past..past + cut]);
            assert_eq!(logits, MODEL.logits(&tokens[..past + cut]), "after {past} and {cut}");
        }
    }
    // The check must be able to fail: one value in the wrong place.
    let mut decoder = Decoder::new(&engine);
    decoder.step(&tokens[..8]);
    decoder.buffer(&graph::past_value(2)).bytes_mut().swap(0, 2);
    let logits = decoder.step(&tokens[8..16]);
    assert_ne!(logits, MODEL.logits(&tokens[..16]));
}

#[test]
fn shapes_and_addresses_are_asked_for_by_name() {
    let Some(fake) = Fake::take() else { return };
    let engine = engine(&open(&fake));
    let mut context = engine.context().unwrap();
    tensor_error(context.infer_shapes(), graph::TOKEN_IDS);
    let ids = graph::TOKEN_IDS;
    tensor_error(context.tensor_shape(ids).map(|_| ()), "is open");
    tensor_error(context.set_input_shape("nobody", &[1, 1].into()), "nobody");
    tensor_error(context.set_input_shape(graph::LOGITS, &[1, 1, 50].into()), "is an output");
    tensor_error(context.set_input_shape(ids, &[1, PROMPT_MAX + 1].into()), "outside the profile");
    tensor_error(context.set_input_shape(ids, &[1].into()), "outside the profile");
    let negative = context.set_input_shape(ids, &[1, -1].into()).unwrap_err();
    assert!(matches!(negative, TensorRtError::Argument { .. }), "{negative:?}");
    let long = context.set_input_shape(ids, &Shape(vec![1; 9])).unwrap_err();
    assert!(matches!(long, TensorRtError::Argument { .. }), "{long:?}");
    tensor_error(context.set_address(ids, 0), "is null");
    tensor_error(context.set_address(ids, 4097), "256 bytes");
    tensor_error(context.set_address("nobody", 4096), "nobody");
    let profile = context.set_profile(7, Stream::DEFAULT).unwrap_err();
    assert!(matches!(profile, TensorRtError::Argument { .. }), "{profile:?}");

    // What is bound is no longer named; what is not, is.
    context.set_address(ids, Buffer::new(64).address()).unwrap();
    // SAFETY: refused before anything is read.
    let unbound = unsafe { context.enqueue(Stream::DEFAULT) }.unwrap_err().to_string();
    assert!(unbound.contains(graph::POSITIONS) && !unbound.contains(ids), "{unbound}");

    // Shapes that fit each for itself and not together.
    for (name, range) in ranges(4) {
        context.set_input_shape(&name, &range.max).unwrap();
    }
    assert_eq!(context.tensor_shape(graph::LOGITS).unwrap(), [1, 1, 50].into());
    context.infer_shapes().unwrap();
    context.set_input_shape(ids, &[1, 3].into()).unwrap();
    tensor_error(context.infer_shapes(), "tokens");
}

#[test]
fn a_profile_change_forgets_shapes_and_keeps_addresses() {
    let Some(fake) = Fake::take() else { return };
    let engine = engine(&open(&fake));
    let mut decoder = Decoder::new(&engine);
    decoder.step(&[1, 2, 3]);
    decoder.context.set_profile(1, Stream::DEFAULT).unwrap();
    tensor_error(decoder.context.infer_shapes(), graph::TOKEN_IDS);
    let error = decoder.enqueue().unwrap_err();
    assert!(matches!(&error, TensorRtError::Enqueue { detail } if detail.contains("no shape")));
    let two = decoder.context.set_input_shape(graph::TOKEN_IDS, &[1, 2].into());
    tensor_error(two, "outside the profile");
    assert_eq!(decoder.step(&[4]), MODEL.logits(&[1, 2, 3, 4]));
}

#[test]
fn a_captured_run_is_done_when_launched_and_needs_a_run_before() {
    let Some(fake) = Fake::take() else { return };
    let engine = engine(&open(&fake));
    let mut decoder = Decoder::new(&engine);
    decoder.context.set_profile(1, Stream::DEFAULT).unwrap();
    decoder.set_shapes(1);
    decoder.write_inputs(&[9]);
    fake.begin_capture();
    let early = decoder.enqueue().unwrap_err();
    fake.end_capture();
    assert!(matches!(&early, TensorRtError::Enqueue { detail } if detail.contains("capturing")));

    let mut tokens = vec![9];
    decoder.step(&tokens);
    fake.begin_capture();
    decoder.write_inputs(&[10]);
    decoder.enqueue().unwrap();
    let graph = fake.end_capture();
    assert_eq!(decoder.logits(), MODEL.logits(&tokens), "captured, not done");
    for token in [10, 11, 12] {
        decoder.write_inputs(&[token]);
        assert!(fake.launch(graph));
        decoder.keep(1);
        tokens.push(token);
        assert_eq!(decoder.logits(), MODEL.logits(&tokens));
    }
}

/// Everything that TensorRT may refuse, refused: each is the error it is, with what was logged.
#[test]
fn a_refusal_of_each_call_is_its_own_error() {
    let Some(fake) = Fake::take() else { return };
    let library = open(&fake);
    let engine = engine(&library);
    let plan = build(&library.builder().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let onnx = MODEL.write_onnx(folder.path(), OPS);

    type Try<'a> = Box<dyn Fn() -> Result<(), TensorRtError> + 'a>;
    let library = &library;
    let with_config = |act: fn(&mut Config<'_>) -> Result<(), TensorRtError>| -> Try<'_> {
        Box::new(move || act(&mut library.builder()?.config()?))
    };
    let cases: Vec<(&str, &str, Try<'_>)> = vec![
        ("createInferRuntime", "Refused", Box::new(|| library.runtime().map(drop))),
        ("createInferBuilder", "Refused", Box::new(|| library.builder().map(drop))),
        (
            "deserializeCudaEngine",
            "Plan",
            Box::new(|| library.runtime()?.deserialise(&plan).map(drop)),
        ),
        ("createExecutionContext", "Refused", Box::new(|| engine.context().map(drop))),
        ("createEngineInspector", "Refused", Box::new(|| engine.layers_json().map(drop))),
        ("getEngineInformation", "Refused", Box::new(|| engine.layers_json().map(drop))),
        (
            "setOptimizationProfileAsync",
            "Refused",
            Box::new(|| engine.context()?.set_profile(1, Stream::DEFAULT)),
        ),
        (
            "setInputShape",
            "Tensor",
            Box::new(|| engine.context()?.set_input_shape(graph::TOKEN_IDS, &[1, 1].into())),
        ),
        (
            "setTensorAddress",
            "Tensor",
            Box::new(|| engine.context()?.set_address(graph::TOKEN_IDS, 4096)),
        ),
        (
            "inferShapes",
            "Tensor",
            Box::new(|| {
                let mut decoder = Decoder::new(&engine);
                decoder.set_shapes(1);
                decoder.context.infer_shapes()
            }),
        ),
        (
            "enqueueV3",
            "Enqueue",
            Box::new(|| {
                let mut decoder = Decoder::new(&engine);
                decoder.set_shapes(1);
                decoder.write_inputs(&[1]);
                decoder.enqueue()
            }),
        ),
        ("createNetworkV2", "Refused", Box::new(|| library.builder()?.network(typing()).map(drop))),
        ("createBuilderConfig", "Refused", Box::new(|| library.builder()?.config().map(drop))),
        (
            "createNvOnnxParser",
            "Refused",
            Box::new(|| library.builder()?.network(typing())?.parse_file(&onnx)),
        ),
        (
            "parseFromFile",
            "Parse",
            Box::new(|| library.builder()?.network(typing())?.parse_file(&onnx)),
        ),
        (
            "createOptimizationProfile",
            "Refused",
            with_config(|config| config.add_profile(&[]).map(drop)),
        ),
        (
            "setDimensions",
            "Tensor",
            with_config(|config| {
                config.add_profile(&[("x", ShapeRange::fixed([1].into()))]).map(drop)
            }),
        ),
        (
            "addOptimizationProfile",
            "Refused",
            with_config(|config| config.add_profile(&[]).map(drop)),
        ),
        ("createTimingCache", "Refused", with_config(|config| config.set_timing_cache(&[]))),
        ("setTimingCache", "Refused", with_config(|config| config.set_timing_cache(&[]))),
        (
            "serialize",
            "Refused",
            with_config(|config| {
                config.set_timing_cache(&[])?;
                config.timing_cache().map(drop)
            }),
        ),
        (
            "buildSerializedNetwork",
            "Build",
            Box::new(|| {
                let builder = library.builder()?;
                let mut config = builder.config()?;
                add_profiles(&mut config);
                builder.build(&mut parsed(&builder), &mut config).map(drop)
            }),
        ),
    ];
    // Those of TensorRT's interfaces that have no logger of their own.
    let silent = ["setDimensions", "serialize"];
    for (call, kind, attempt) in cases {
        attempt().unwrap_or_else(|error| panic!("{call} fails by itself: {error:?}"));
        fake.set("fail", call);
        fake.set("fail_text", "the reason of the day");
        let error = attempt().unwrap_err();
        assert!(format!("{error:?}").starts_with(kind), "{call}: {error:?}");
        let is_told = error.to_string().contains("the reason of the day");
        assert_eq!(is_told, !silent.contains(&call), "{call}: {error}");
        attempt().unwrap_or_else(|error| panic!("{call} does not recover: {error:?}"));
    }
}

#[test]
fn an_address_that_is_no_object_is_never_touched() {
    let Some(fake) = Fake::take() else { return };
    let library = open(&fake);
    let builder = library.builder().unwrap();
    let plan = build(&builder);
    let engine = library.runtime().unwrap().deserialise(&plan).unwrap();
    let mut config = builder.config().unwrap();
    add_profiles(&mut config);
    let check = |call: &str, outcome: &mut dyn FnMut() -> Result<(), TensorRtError>| {
        fake.set("bogus", call);
        let error = outcome().unwrap_err();
        let TensorRtError::BogusPointer { detail } = &error else { panic!("{call}: {error:?}") };
        assert!(detail.contains("0x228"), "{detail}");
    };
    check("createInferRuntime", &mut || library.runtime().map(drop));
    check("createInferBuilder", &mut || library.builder().map(drop));
    check("deserializeCudaEngine", &mut || library.runtime()?.deserialise(&plan).map(drop));
    check("createExecutionContext", &mut || engine.context().map(drop));
    check("buildSerializedNetwork", &mut || {
        builder.build(&mut parsed(&builder), &mut config).map(drop)
    });
}

#[test]
fn without_cuda_nothing_is_created() {
    let Some(fake) = Fake::take() else { return };
    let library = open(&fake);
    assert_eq!(library.cuda_devices().unwrap(), 1);
    for (key, value, word) in [
        ("cuda_devices", "0", "counts no GPU"),
        ("cuda_status", "100", "no device"),
        ("cuda_status", "35", "35"),
    ] {
        fake.set(key, value);
        for error in
            [library.runtime().map(drop).unwrap_err(), library.builder().map(drop).unwrap_err()]
        {
            assert!(
                matches!(&error, TensorRtError::NoCuda { detail } if detail.contains(word)),
                "{error:?}"
            );
        }
    }
    let mut libraries = fake.libraries();
    libraries.cuda = Some("/nowhere/libcuda.so.1".into());
    let library = Library::open(&libraries, Box::new(|_, _| ())).unwrap();
    let error = library.runtime().unwrap_err();
    assert!(
        matches!(&error, TensorRtError::NoCuda { detail } if detail.contains("/nowhere/libcuda.so.1"))
    );
}

#[test]
fn only_the_version_of_the_headers_and_newer_is_opened() {
    let Some(fake) = Fake::take() else { return };
    let Version { major, minor, .. } = headers().unwrap();
    let mut others = vec![(major + 1, 0), (if major > 8 { 8 } else { 10 }, 5)];
    if minor > 0 {
        others.push((major, minor - 1));
    }
    for (major, minor) in others {
        fake.set("version", &packed(major, minor, 1));
        let error = Library::open(&fake.libraries(), Box::new(|_, _| ())).unwrap_err();
        let TensorRtError::WrongVersion { library, .. } = error else { panic!("{error:?}") };
        assert_eq!((library.major, library.minor, library.patch), (major, minor, 1));
    }
    fake.set("version", &packed(major, minor + 1, 2));
    fake.set("build", "17");
    let found = open(&fake).version();
    assert_eq!(found, Version { major, minor: minor + 1, patch: 2, build: 17 });
}

#[test]
fn plans_of_others_are_explained() {
    let Some(fake) = Fake::take() else { return };
    let library = open(&fake);
    let plan = build(&library.builder().unwrap());
    let mut runtime = library.runtime().unwrap();
    let mut refused = |bytes: &[u8], word: &str| {
        let error = runtime.deserialise(bytes).unwrap_err();
        assert!(
            matches!(&error, TensorRtError::Plan { detail } if detail.contains(word)),
            "{error:?}"
        );
        assert!(error.to_string().contains("hymt engine build"), "{error}");
    };
    refused(b"", "empty");
    refused(b"\0\x01\x02 garbage", "magic");
    refused(&plan[..plan.len() / 2], "");
    fake.set("version", &next_version(&library));
    let Version { major, minor, patch, .. } = library.version();
    refused(&plan, &format!("{major}.{minor}.{patch}"));
}

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

#[test]
fn the_log_arrives_and_may_fall_over() {
    let Some(fake) = Fake::take() else { return };
    let lines = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&lines);
    let log = move |severity, text: &str| {
        sink.lock().unwrap().push((severity, text.to_owned()));
        assert!(severity > Severity::Error, "a log that falls over");
    };
    let library = Library::open(&fake.libraries(), Box::new(log)).unwrap();
    let error = library.runtime().unwrap().deserialise(b"garbage").unwrap_err();
    assert!(matches!(error, TensorRtError::Plan { .. }));
    let lines = lines.lock().unwrap();
    assert_eq!(lines[0], (Severity::Info, "this is the fake TensorRT".to_owned()));
    assert_eq!(lines[1].0, Severity::Error);
}

/// Owners may go in any order and on any thread.
#[test]
fn what_is_needed_lives_on() {
    let Some(fake) = Fake::take() else { return };
    let engine = engine(&open(&fake));
    let threads: Vec<_> = (0..4)
        .map(|seed| {
            let engine = engine.clone();
            std::thread::spawn(move || {
                let mut decoder = Decoder::new(&engine);
                drop(engine);
                decoder.step(&[seed, 1]);
                assert_eq!(decoder.step(&[2]), MODEL.logits(&[seed, 1, 2]));
            })
        })
        .collect();
    drop(engine);
    for thread in threads {
        thread.join().unwrap();
    }
}
