//! TensorRT says no, or is not what it should be: each time that is the error it is.

use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use hymt_tensorrt::error::{TensorRtError, Version};
use hymt_tensorrt::graph;
use hymt_tensorrt::safe::{Config, Library, Severity, ShapeRange, Stream, headers};

use crate::control::Fake;
use crate::decoder::Decoder;
use crate::support::{
    MODEL, OPS, add_profiles, build, engine, next_version, open, packed, parsed, typing,
};

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
            Box::new(|| engine.context()?.set_profile(1, &Stream::DEFAULT)),
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

/// TensorRT's threads and destructors log when they like, to the first logger that they were given.
#[test]
fn what_is_logged_after_the_end_does_no_harm() {
    let Some(fake) = Fake::take() else { return };
    let listen = || {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&lines);
        let (entered, entries) = mpsc::sync_channel(1);
        let log = move |_, text: &str| {
            // Whoever lets go of the library meanwhile has to wait.
            if text == "slow" {
                entered.send(()).unwrap();
                std::thread::sleep(Duration::from_millis(200));
            }
            sink.lock().unwrap().push(text.to_owned());
        };
        (Library::open(&fake.libraries(), Box::new(log)).unwrap(), lines, entries)
    };
    let (library, lines, _) = listen();
    library.runtime().unwrap();
    drop(library);
    lines.lock().unwrap().clear();
    fake.log_late("nobody hears this");
    assert!(lines.lock().unwrap().is_empty(), "a closed library's log is called");

    // Libraries opened one after the other have one logger, so that they may be any number.
    let (library, lines, entries) = listen();
    fake.log_late("the next one does");
    assert_eq!(*lines.lock().unwrap(), ["the next one does"]);
    std::thread::scope(|scope| {
        scope.spawn(|| fake.log_late("slow"));
        entries.recv().unwrap();
        drop(library);
        assert_eq!(lines.lock().unwrap().len(), 2, "its log was still in use");
    });
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
