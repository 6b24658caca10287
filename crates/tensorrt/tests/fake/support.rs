//! What the tests against the FAKE TensorRT share: a model, its profiles, and how a plan is made of it.

use hymt_tensorrt::error::{TensorRtError, Version};
use hymt_tensorrt::graph;
use hymt_tensorrt::safe::{
    Builder, Bytes, Capability, Config, Engine, Library, Network, Shape, ShapeRange, Typing,
};

use crate::control::Fake;
use crate::model::FakeModel;

pub(crate) const MODEL: FakeModel =
    FakeModel { layers: 3, kv_heads: 2, head_dim: 4, context: 24, vocab: 50 };
pub(crate) const OPS: &[&str] = &["Gather", "MatMul", "Add", "Mul", "Sigmoid", "Softmax"];
/// Longest prompt of profile 0; profile 1 is a decode step.
pub(crate) const PROMPT_MAX: i64 = 8;

pub(crate) fn open(fake: &Fake) -> Library {
    Library::open(&fake.libraries(), Box::new(|_, _| ())).unwrap()
}

/// Strong, where these headers know it.
pub(crate) fn typing() -> Typing {
    if Capability::StronglyTyped.is_there() { Typing::Strong } else { Typing::Weak }
}

/// A version as TensorRT packs it: 8502 is 8.5.2, 100300 is 10.3.0.
pub(crate) fn packed(major: i32, minor: i32, patch: i32) -> String {
    let scale = if major < 10 { 1000 } else { 10_000 };
    (major * scale + minor * 100 + patch).to_string()
}

/// The version after that of the library.
pub(crate) fn next_version(library: &Library) -> String {
    let Version { major, minor, .. } = library.version();
    packed(major, minor + 1, 0)
}

pub(crate) fn parsed<'b>(builder: &'b Builder) -> Network<'b> {
    let folder = tempfile::tempdir().unwrap();
    let mut network = builder.network(typing()).unwrap();
    network.parse_file(&MODEL.write_onnx(folder.path(), OPS)).unwrap();
    network
}

/// Ranges of a profile for steps of up to `tokens`.
pub(crate) fn ranges(tokens: i64) -> Vec<(String, ShapeRange)> {
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

pub(crate) fn cache_shape(length: usize) -> Vec<i64> {
    [1, MODEL.kv_heads, length, MODEL.head_dim].map(|size| size as i64).to_vec()
}

pub(crate) fn add_profiles(config: &mut Config<'_>) {
    for (index, tokens) in [PROMPT_MAX, 1].into_iter().enumerate() {
        let ranges = ranges(tokens);
        let ranges: Vec<_> = ranges.iter().map(|(name, it)| (name.as_str(), it.clone())).collect();
        assert_eq!(config.add_profile(&ranges).unwrap(), index);
    }
}

pub(crate) fn build(builder: &Builder) -> Bytes {
    let mut config = builder.config().unwrap();
    add_profiles(&mut config);
    builder.build(&mut parsed(builder), &mut config).unwrap()
}

pub(crate) fn engine(library: &Library) -> Engine {
    let plan = build(&library.builder().unwrap());
    library.runtime().unwrap().deserialise(&plan).unwrap()
}

pub(crate) fn tensor_error(result: Result<(), TensorRtError>, word: &str) {
    match result.unwrap_err() {
        TensorRtError::Tensor { detail } => assert!(detail.contains(word), "'{word}': {detail}"),
        error => panic!("'{word}': {error:?}"),
    }
}
