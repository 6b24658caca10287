//! `csrc/hymt_trt.h` in Rust: the same names, the same numbers, nothing checked.
//!
//! The file declares foreign functions, hence `unsafe`. Without the feature `shim` the same names
//! are functions that answer [`NOT_BUILT`], so that everything above compiles the same either way;
//! as nothing can be opened then, nothing of it is ever reached but `hymt_trt_abi`.
#![allow(unsafe_code)]
#![allow(missing_docs, reason = "the header says what each name promises")]

use std::ffi::{c_char, c_void};

/// `HYMT_TRT_ABI` of the header that this file repeats.
pub const ABI: i32 = 1;
/// The answer of every function without the feature `shim`.
pub const NOT_BUILT: i32 = -1;
pub const RANK_MAX: usize = 8;
pub const TEXT_BYTES: usize = 2048;

/// `enum hymt_trt_code`.
pub mod code {
    pub const OK: i32 = 0;
    pub const ARGUMENT: i32 = 1;
    pub const LIBRARY_MISSING: i32 = 2;
    pub const SYMBOL_MISSING: i32 = 3;
    pub const WRONG_VERSION: i32 = 4;
    pub const NO_CUDA: i32 = 5;
    pub const BOGUS_POINTER: i32 = 6;
    pub const DLA_UNAVAILABLE: i32 = 7;
    pub const PLAN: i32 = 8;
    pub const TENSOR: i32 = 9;
    pub const ENQUEUE: i32 = 10;
    pub const PARSE: i32 = 11;
    pub const BUILD: i32 = 12;
    pub const CANCELLED: i32 = 13;
    pub const UNSUPPORTED: i32 = 14;
    pub const REFUSED: i32 = 15;
    pub const EXCEPTION: i32 = 16;
}

#[repr(C)]
#[derive(Debug, Clone)]
pub struct Error {
    pub code: i32,
    pub text: [c_char; TEXT_BYTES],
}

#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Version {
    pub major: i32,
    pub minor: i32,
    pub patch: i32,
    pub build: i32,
}

#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Dims {
    pub rank: i32,
    pub sizes: [i64; RANK_MAX],
}

#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Tensor {
    pub name: *const c_char,
    pub mode: i32,
    pub dtype: i32,
    pub on_host: i32,
    pub shape: Dims,
}

#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Layer {
    pub name: *const c_char,
    pub kind: *const c_char,
}

#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct ParserError {
    pub code: i32,
    pub node: i32,
    pub node_name: *const c_char,
    pub op: *const c_char,
    pub text: *const c_char,
}

#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    pub phase: *const c_char,
    pub parent: *const c_char,
    pub step: i32,
    pub steps: i32,
    pub finished: i32,
}

pub type LogFn = unsafe extern "C" fn(user: *mut c_void, severity: i32, text: *const c_char);
pub type ProgressFn = unsafe extern "C" fn(user: *mut c_void, progress: *const Progress) -> i32;

#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct OpenOptions {
    pub nvinfer: *const c_char,
    pub onnx_parser: *const c_char,
    pub cuda: *const c_char,
    pub log: Option<LogFn>,
    pub log_user: *mut c_void,
}

/// Handles: types that exist behind pointers only.
macro_rules! opaque {
    ($($name:ident),*) => {$(
        #[repr(C)]
        #[derive(Debug)]
        pub struct $name {
            _private: [u8; 0],
        }
    )*};
}
opaque!(Library, Runtime, Engine, Context, Builder, Network, Profile, Config, Bytes);

/// What a function answers where there is no shim.
#[cfg(not(feature = "shim"))]
trait Absent {
    const ABSENT: Self;
}

#[cfg(not(feature = "shim"))]
mod absent {
    use super::{Absent, NOT_BUILT, c_void};

    impl Absent for i32 {
        const ABSENT: Self = NOT_BUILT;
    }
    impl Absent for () {
        const ABSENT: Self = ();
    }
    impl Absent for usize {
        const ABSENT: Self = 0;
    }
    impl Absent for *const c_void {
        const ABSENT: Self = std::ptr::null();
    }
}

macro_rules! functions {
    ($(fn $name:ident($($argument:ident: $kind:ty),* $(,)?) $(-> $answer:ty)?;)*) => {
        #[cfg(feature = "shim")]
        unsafe extern "C" {
            $(pub fn $name($($argument: $kind),*) $(-> $answer)?;)*
        }

        $(
            /// # Safety
            /// None needed: it does nothing.
            #[cfg(not(feature = "shim"))]
            #[allow(clippy::unused_unit, reason = "the type is named once for all answers")]
            pub unsafe fn $name($(_: $kind),*) -> functions!(@answer $($answer)?) {
                Absent::ABSENT
            }
        )*
    };
    (@answer) => { () };
    (@answer $answer:ty) => { $answer };
}

type Name = *const c_char;

functions! {
    fn hymt_trt_abi() -> i32;
    fn hymt_trt_headers(version: *mut Version);
    fn hymt_trt_supports(capability: i32) -> i32;
    fn hymt_trt_open(options: *const OpenOptions, library: *mut *mut Library, version: *mut Version, error: *mut Error) -> i32;
    fn hymt_trt_close(library: *mut Library);
    fn hymt_trt_has_parser(library: *const Library) -> i32;
    fn hymt_trt_cuda_devices(library: *mut Library, devices: *mut i32, error: *mut Error) -> i32;

    fn hymt_trt_runtime_create(library: *mut Library, runtime: *mut *mut Runtime, error: *mut Error) -> i32;
    fn hymt_trt_runtime_destroy(runtime: *mut Runtime);
    fn hymt_trt_runtime_dla_cores(runtime: *mut Runtime, cores: *mut i32, error: *mut Error) -> i32;
    fn hymt_trt_runtime_set_dla_core(runtime: *mut Runtime, core: i32, error: *mut Error) -> i32;
    fn hymt_trt_runtime_deserialise(runtime: *mut Runtime, plan: *const c_void, bytes: usize, engine: *mut *mut Engine, error: *mut Error) -> i32;

    fn hymt_trt_engine_destroy(engine: *mut Engine);
    fn hymt_trt_engine_tensors(engine: *const Engine, count: *mut i32, error: *mut Error) -> i32;
    fn hymt_trt_engine_tensor(engine: *const Engine, index: i32, tensor: *mut Tensor, error: *mut Error) -> i32;
    fn hymt_trt_engine_profiles(engine: *const Engine, count: *mut i32, error: *mut Error) -> i32;
    fn hymt_trt_engine_profile_shape(engine: *const Engine, name: Name, profile: i32, bound: i32, shape: *mut Dims, error: *mut Error) -> i32;
    fn hymt_trt_engine_device_memory(engine: *const Engine, bytes: *mut i64, error: *mut Error) -> i32;
    fn hymt_trt_engine_layers(engine: *const Engine, json: *mut *mut Bytes, error: *mut Error) -> i32;

    fn hymt_trt_context_create(engine: *mut Engine, context: *mut *mut Context, error: *mut Error) -> i32;
    fn hymt_trt_context_destroy(context: *mut Context);
    fn hymt_trt_context_set_profile(context: *mut Context, profile: i32, stream: *mut c_void, error: *mut Error) -> i32;
    fn hymt_trt_context_set_input_shape(context: *mut Context, name: Name, shape: *const Dims, error: *mut Error) -> i32;
    fn hymt_trt_context_tensor_shape(context: *const Context, name: Name, shape: *mut Dims, error: *mut Error) -> i32;
    fn hymt_trt_context_set_address(context: *mut Context, name: Name, address: *mut c_void, error: *mut Error) -> i32;
    fn hymt_trt_context_infer_shapes(context: *mut Context, error: *mut Error) -> i32;
    fn hymt_trt_context_enqueue(context: *mut Context, stream: *mut c_void, error: *mut Error) -> i32;

    fn hymt_trt_builder_create(library: *mut Library, builder: *mut *mut Builder, error: *mut Error) -> i32;
    fn hymt_trt_builder_destroy(builder: *mut Builder);
    fn hymt_trt_builder_dla_cores(builder: *mut Builder, cores: *mut i32, error: *mut Error) -> i32;
    fn hymt_trt_network_create(builder: *mut Builder, strongly_typed: i32, network: *mut *mut Network, error: *mut Error) -> i32;
    fn hymt_trt_network_destroy(network: *mut Network);
    fn hymt_trt_network_parse_file(network: *mut Network, path: Name, error: *mut Error) -> i32;
    fn hymt_trt_network_parser_errors(network: *const Network, count: *mut i32, error: *mut Error) -> i32;
    fn hymt_trt_network_parser_error(network: *const Network, index: i32, parser_error: *mut ParserError, error: *mut Error) -> i32;
    fn hymt_trt_network_layers(network: *const Network, count: *mut i32, error: *mut Error) -> i32;
    fn hymt_trt_network_layer(network: *mut Network, index: i32, layer: *mut Layer, error: *mut Error) -> i32;
    fn hymt_trt_network_tensors(network: *const Network, count: *mut i32, error: *mut Error) -> i32;
    fn hymt_trt_network_tensor(network: *const Network, index: i32, tensor: *mut Tensor, error: *mut Error) -> i32;
    fn hymt_trt_profile_create(builder: *mut Builder, profile: *mut *mut Profile, error: *mut Error) -> i32;
    fn hymt_trt_profile_destroy(profile: *mut Profile);
    fn hymt_trt_profile_set_shape(profile: *mut Profile, name: Name, min: *const Dims, opt: *const Dims, max: *const Dims, error: *mut Error) -> i32;
    fn hymt_trt_config_create(builder: *mut Builder, config: *mut *mut Config, error: *mut Error) -> i32;
    fn hymt_trt_config_destroy(config: *mut Config);
    fn hymt_trt_config_set_flag(config: *mut Config, flag: i32, error: *mut Error) -> i32;
    fn hymt_trt_config_set_workspace(config: *mut Config, bytes: usize, error: *mut Error) -> i32;
    fn hymt_trt_config_set_level(config: *mut Config, level: i32, error: *mut Error) -> i32;
    fn hymt_trt_config_set_device(config: *mut Config, device: i32, dla_core: i32, error: *mut Error) -> i32;
    fn hymt_trt_config_layer_on_dla(config: *const Config, network: *const Network, index: i32, can: *mut i32, error: *mut Error) -> i32;
    fn hymt_trt_config_add_profile(config: *mut Config, profile: *const Profile, index: *mut i32, error: *mut Error) -> i32;
    fn hymt_trt_config_set_timing_cache(config: *mut Config, bytes: *const c_void, length: usize, error: *mut Error) -> i32;
    fn hymt_trt_config_timing_cache(config: *const Config, bytes: *mut *mut Bytes, error: *mut Error) -> i32;
    fn hymt_trt_config_set_progress(config: *mut Config, progress: ProgressFn, user: *mut c_void, error: *mut Error) -> i32;
    fn hymt_trt_build(builder: *mut Builder, network: *mut Network, config: *mut Config, plan: *mut *mut Bytes, error: *mut Error) -> i32;

    fn hymt_trt_bytes_data(bytes: *const Bytes) -> *const c_void;
    fn hymt_trt_bytes_size(bytes: *const Bytes) -> usize;
    fn hymt_trt_bytes_destroy(bytes: *mut Bytes);
}
