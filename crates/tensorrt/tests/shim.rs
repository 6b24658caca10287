//! The shim without any TensorRT: its header against its Rust, and what is said where it is missing.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
#![allow(clippy::print_stderr, reason = "what a test lacks is said aloud")]

use std::collections::BTreeSet;
use std::path::PathBuf;

use hymt_tensorrt::error::TensorRtError;
use hymt_tensorrt::safe::{self, Libraries, Library};
use hymt_tensorrt::sys;

const HEADER: &str = include_str!("../csrc/hymt_trt.h");
const RUST: &str = include_str!("../src/sys.rs");

/// The number that the header gives a name.
fn in_header(name: &str) -> i32 {
    let forms = [format!("HYMT_TRT_{name} = "), format!("#define HYMT_TRT_{name} ")];
    let rest = forms.iter().find_map(|form| HEADER.split_once(form.as_str())).unwrap().1;
    let end = rest.find(|it: char| !it.is_ascii_digit()).unwrap();
    rest[..end].parse().unwrap()
}

/// Names of functions: `hymt_trt_...` before a parenthesis, not before a star.
fn functions(text: &str) -> BTreeSet<&str> {
    let starts = text.match_indices("hymt_trt_").map(|(at, _)| &text[at..]);
    starts
        .filter_map(|rest| {
            let end = rest.find(|it: char| !(it.is_ascii_alphanumeric() || it == '_'))?;
            rest[end..].starts_with('(').then_some(&rest[..end])
        })
        .collect()
}

#[test]
fn numbers_are_those_of_the_header() {
    use sys::code;
    let pairs = [
        ("OK", code::OK),
        ("ARGUMENT", code::ARGUMENT),
        ("LIBRARY_MISSING", code::LIBRARY_MISSING),
        ("SYMBOL_MISSING", code::SYMBOL_MISSING),
        ("WRONG_VERSION", code::WRONG_VERSION),
        ("NO_CUDA", code::NO_CUDA),
        ("BOGUS_POINTER", code::BOGUS_POINTER),
        ("DLA_UNAVAILABLE", code::DLA_UNAVAILABLE),
        ("PLAN", code::PLAN),
        ("TENSOR", code::TENSOR),
        ("ENQUEUE", code::ENQUEUE),
        ("PARSE", code::PARSE),
        ("BUILD", code::BUILD),
        ("CANCELLED", code::CANCELLED),
        ("UNSUPPORTED", code::UNSUPPORTED),
        ("REFUSED", code::REFUSED),
        ("EXCEPTION", code::EXCEPTION),
        ("ABI", sys::ABI),
        ("RANK_MAX", sys::RANK_MAX as i32),
        ("TEXT_BYTES", sys::TEXT_BYTES as i32),
        ("FLAG_FP16", safe::Flag::Fp16 as i32),
        ("FLAG_INT8", safe::Flag::Int8 as i32),
        ("FLAG_GPU_FALLBACK", safe::Flag::GpuFallback as i32),
        ("FLAG_DETAILED_LAYERS", safe::Flag::DetailedLayers as i32),
        ("CAN_STRONGLY_TYPE", safe::Capability::StronglyTyped as i32),
        ("CAN_WEAKLY_TYPE", safe::Capability::WeaklyTyped as i32),
        ("CAN_MONITOR", safe::Capability::Monitor as i32),
        ("CAN_LEVEL", safe::Capability::Levels as i32),
    ];
    for (name, number) in pairs {
        assert_eq!(in_header(name), number, "{name}");
    }
}

#[test]
fn functions_are_those_of_the_header() {
    let (header, rust) = (functions(HEADER), functions(RUST));
    assert!(header.len() > 40, "the search found only {}", header.len());
    assert_eq!(header, rust);
}

#[test]
fn what_cannot_be_opened_is_named() {
    let path = "/nowhere/libnvinfer.so.11";
    let libraries = Libraries { nvinfer: Some(PathBuf::from(path)), ..Libraries::default() };
    let error = Library::open(&libraries, safe::log_to_tracing()).unwrap_err();
    if cfg!(feature = "shim") {
        let TensorRtError::LibraryMissing { library, tried } = &error else { panic!("{error:?}") };
        assert_eq!((*library, tried.len()), ("libnvinfer", 1));
        assert!(tried[0].contains(path), "{tried:?}");
    } else {
        assert_eq!(error, TensorRtError::NotBuilt);
        let text = error.to_string();
        assert!(text.contains("libnvinfer-dev") && text.contains("rebuild"), "{text}");
    }
}

#[cfg(feature = "shim")]
#[test]
fn every_usual_name_is_in_the_error() {
    match Library::open(&Libraries::default(), safe::log_to_tracing()) {
        Err(TensorRtError::LibraryMissing { tried, .. }) => {
            let tried = tried.join("; ");
            for name in ["libnvinfer.so.11", "libnvinfer.so.10", "libnvinfer.so.8"] {
                assert!(tried.contains(name), "{tried}");
            }
        }
        found => eprintln!("SKIPPED: a TensorRT is installed here: {found:?}"),
    }
}

#[cfg(feature = "shim")]
#[test]
fn another_library_is_not_taken_for_tensorrt() {
    let libraries = Libraries { nvinfer: Some("libc.so.6".into()), ..Libraries::default() };
    let error = Library::open(&libraries, safe::log_to_tracing()).unwrap_err();
    assert!(
        matches!(&error, TensorRtError::SymbolMissing { detail }
        if detail.contains("libc.so.6") && detail.contains("getInferLibVersion")),
        "{error:?}"
    );
}
