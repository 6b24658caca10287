//! The shim against the real lean runtime of TensorRT, which PyPI has and which needs no GPU to load.
//!
//! `HYMT_LEAN_LIB` is its path, of the headers' major; `HYMT_LEAN_LIB_OLD` one of another major. Without
//! them the tests say aloud that they were skipped, with `HYMT_REQUIRE_PEERS` they fail. With a GPU
//! (`HYMT_REQUIRE_CUDA` demands one) the runtime is created for real and refuses plans.

#![cfg(feature = "shim")]
#![allow(unsafe_code, reason = "the fake CUDA driver is opened by hand")]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
#![allow(clippy::print_stderr, reason = "what a test lacks is said aloud")]

#[path = "fake/control.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod control;

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use hymt_tensorrt::error::TensorRtError;
use hymt_tensorrt::safe::{self, Libraries, Library, Runtime, Severity};

type Lines = Arc<Mutex<Vec<(Severity, String)>>>;

/// The path in a variable, or a skip said aloud.
fn path_in(variable: &str) -> Option<PathBuf> {
    let path = std::env::var_os(variable).map(PathBuf::from);
    if path.is_none() {
        let how = format!("{variable} is not set (tensorrt-lean-cu12-libs of PyPI has the file)");
        assert!(std::env::var_os("HYMT_REQUIRE_PEERS").is_none(), "{how}");
        eprintln!("SKIPPED: {how}");
    }
    path
}

fn open(libraries: &Libraries) -> Result<(Library, Lines), TensorRtError> {
    let lines = Lines::default();
    let sink = Arc::clone(&lines);
    let log = move |severity, text: &str| sink.lock().unwrap().push((severity, text.to_owned()));
    Ok((Library::open(libraries, Box::new(log))?, lines))
}

fn lean() -> Option<(Library, Lines)> {
    let nvinfer = Some(path_in("HYMT_LEAN_LIB")?);
    Some(open(&Libraries { nvinfer, ..Libraries::default() }).unwrap())
}

/// The runtime, where there is a GPU; where there is none, the answer has to be `NoCuda`.
fn runtime(library: &Library) -> Option<Runtime> {
    match library.runtime() {
        Ok(runtime) => Some(runtime),
        Err(TensorRtError::NoCuda { detail }) => {
            assert!(std::env::var_os("HYMT_REQUIRE_CUDA").is_none(), "{detail}");
            eprintln!("SKIPPED: no GPU here: {detail}");
            None
        }
        Err(error) => panic!("{error:?}"),
    }
}

#[test]
fn the_version_is_read() {
    let Some((library, _)) = lean() else { return };
    let (version, headers) = (library.version(), safe::headers().unwrap());
    assert_eq!(version.major, headers.major);
    assert!((version.minor, version.build > 0) >= (headers.minor, true), "{version}");
    assert!(!library.has_parser());
}

#[test]
fn another_major_is_refused() {
    let Some(path) = path_in("HYMT_LEAN_LIB_OLD") else { return };
    let libraries = Libraries { nvinfer: Some(path.clone()), ..Libraries::default() };
    let error = open(&libraries).unwrap_err();
    let TensorRtError::WrongVersion { headers, library, path: named } = &error else {
        panic!("{error:?}")
    };
    assert_ne!(headers.major, library.major);
    assert_eq!(named, &path.to_string_lossy());
    assert!(error.to_string().contains("rebuild on this machine"), "{error}");
}

/// Either a runtime or the typed error; never the segmentation fault of TensorRT itself.
#[test]
fn without_a_gpu_the_answer_is_typed() {
    let Some((library, _)) = lean() else { return };
    let Err(error) = library.cuda_devices() else { return };
    assert!(std::env::var_os("HYMT_REQUIRE_CUDA").is_none(), "{error}");
    assert!(matches!(error, TensorRtError::NoCuda { .. }), "{error:?}");
    assert_eq!(library.runtime().unwrap_err(), error);
}

/// Needs a GPU. A call on the runtime is what tells an object from an address: it goes through the
/// table of functions.
#[test]
fn with_a_gpu_the_runtime_is_real() {
    let Some((library, lines)) = lean() else { return };
    let Some(mut first) = runtime(&library) else { return };
    assert!(library.cuda_devices().unwrap() > 0);
    let (other_library, _) = lean().unwrap();
    let mut second = other_library.runtime().unwrap();
    // Each keeps what it needs, whoever lets go first.
    drop((library, other_library));
    let counted = first.dla_cores().unwrap();
    drop(first);
    assert_eq!(second.dla_cores().unwrap(), counted);
    let lines = lines.lock().unwrap();
    eprintln!("logged: {lines:?}");
    assert!(lines.iter().all(|(severity, _)| *severity > Severity::Error), "{lines:?}");
}

/// A driver that lies (the fake's) lets the real TensorRT fail as it does: it logs an error and hands
/// out an address that is no object.
#[test]
fn the_bogus_runtime_is_refused_with_what_tensorrt_logged() {
    let Some(path) = path_in("HYMT_LEAN_LIB") else { return };
    let Some(fake) = control::Fake::take() else { return };
    let (library, _) =
        open(&Libraries { nvinfer: Some(path.clone()), ..Libraries::default() }).unwrap();
    if library.cuda_devices().is_ok() {
        eprintln!("SKIPPED: with a GPU the runtime is no bogus one");
        return;
    }
    let libraries = Libraries { nvinfer: Some(path), ..fake.libraries().without_parser() };
    let (library, lines) = open(&libraries).unwrap();
    let error = library.runtime().unwrap_err();
    let TensorRtError::BogusPointer { detail } = &error else { panic!("{error:?}") };
    assert!(detail.contains("createInferRuntime_INTERNAL"), "{detail}");
    let lines = lines.lock().unwrap();
    let logged = lines.iter().find(|(severity, _)| *severity <= Severity::Error).unwrap();
    assert!(logged.1.contains("CUDA") && detail.contains(&logged.1), "{logged:?}; {detail}");
}

#[test]
fn the_lean_runtime_has_no_builder() {
    let Some((library, _)) = lean() else { return };
    let error = library.builder().unwrap_err();
    assert!(
        matches!(&error, TensorRtError::SymbolMissing { detail }
            if detail.contains("createInferBuilder_INTERNAL")),
        "{error:?}"
    );
}

/// Needs a GPU.
#[test]
fn what_is_no_plan_of_this_version_is_refused_through_the_log() {
    let Some((library, lines)) = lean() else { return };
    let Some(mut runtime) = runtime(&library) else { return };
    let garbage: Vec<u8> =
        (0..4096_u32).map(|it| (it.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    // What plans of 8.x and 10.x begin with, and then nothing of theirs.
    let foreign = |magic: &[u8]| [magic, &garbage].concat();
    let plans =
        [garbage.clone(), foreign(b"ptrt"), foreign(b"ftrt"), b"FAKE-TENSORRT-PLAN".to_vec()];
    for plan in plans {
        lines.lock().unwrap().clear();
        let error = runtime.deserialise(&plan).unwrap_err();
        let TensorRtError::Plan { detail } = &error else { panic!("{error:?}") };
        let lines = lines.lock().unwrap();
        let logged = lines.iter().find(|(severity, _)| *severity <= Severity::Error);
        let (_, text) = logged.unwrap_or_else(|| panic!("nothing was logged: {lines:?}"));
        eprintln!("refused: {text}");
        assert!(!text.is_empty() && detail.contains(text), "{detail}");
        assert!(error.to_string().contains("hymt engine build"), "{error}");
    }
    // What it refused has not hurt it.
    runtime.dla_cores().unwrap();
    let error = runtime.deserialise(&[]).unwrap_err();
    assert!(matches!(&error, TensorRtError::Plan { detail } if detail.contains("empty")));
}

/// Needs a GPU; no desktop or server GPU has DLA.
#[test]
fn dla_is_counted_and_refused() {
    let Some((library, _)) = lean() else { return };
    let Some(mut runtime) = runtime(&library) else { return };
    let counted = runtime.dla_cores().unwrap();
    eprintln!("TensorRT {} counts {counted} DLA cores", library.version());
    if cfg!(target_arch = "x86_64") {
        assert_eq!(counted, 0, "only Jetsons have DLA");
    }
    for core in 0..counted {
        runtime.set_dla_core(core).unwrap();
    }
    for wanted in [counted, counted + 1, -1] {
        let error = runtime.set_dla_core(wanted).unwrap_err();
        let TensorRtError::DlaUnavailable { core, cores, board, version } = &error else {
            panic!("{error:?}")
        };
        assert_eq!((*core, *cores, *version), (wanted, counted, library.version()));
        let named = safe::board_model().unwrap_or_else(|| "this machine".to_owned());
        assert_eq!(*board, named);
        eprintln!("refused: {error}");
        let said = error.to_string();
        let count = format!("no DLA core {wanted}: TensorRT {version} counts {counted} on {named}");
        assert!(said.contains(&count) && said.contains("set gpu.device to gpu"), "{said}");
    }
}
