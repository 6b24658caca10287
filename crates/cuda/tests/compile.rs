//! NVRTC compiles every kernel for every architecture, without a GPU, and within bounds of
//! registers spilled to memory. Needs the compilers of CUDA 12 and 13, for example out of the
//! wheels `nvidia-cuda-nvrtc-cu12` and `nvidia-cuda-nvrtc`; says so without.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test says what it skipped")]

#[path = "support/shape.rs"]
mod shape;

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::PathBuf;

use hymt_cuda::nvrtc::{Compiled, Nvrtc};
use hymt_cuda::program::{MachineCode, Program, Shape, Source, Target};

use crate::shape::config;

/// Bytes that one kernel may spill, stores and loads together. The decode kernels keep the state
/// of a whole pass in registers; what they spill lies outside their inner loops.
const SPILL_BYTES_MAX: usize = 700;

/// Architecture, shared memory of a block in KiB (CUDA C++ Programming Guide, compute
/// capabilities), and the compiler's major version.
const TARGETS: [(u32, usize, i32); 11] = [
    (72, 96, 12),
    (75, 64, 13),
    (80, 163, 13),
    (86, 99, 13),
    (87, 163, 13),
    (89, 99, 13),
    (90, 227, 13),
    (100, 227, 13),
    (101, 227, 12),
    (110, 227, 13),
    (120, 99, 13),
];

/// Width, feed-forward width, layers, heads, key heads, head width, vocabulary.
const SHAPES: [(&str, [usize; 7]); 2] =
    [("1.8B", [2048, 6144, 32, 16, 4, 128, 120_818]), ("tiny", [64, 112, 2, 4, 2, 16, 300])];

/// The compiler of one CUDA version, from `HYMT_NVRTC_12` or `HYMT_NVRTC_13` or by name.
fn compiler(major: i32) -> Option<Nvrtc> {
    let variable = format!("HYMT_NVRTC_{major}");
    let named = std::env::var_os(&variable).map(PathBuf::from);
    let path = named.unwrap_or_else(|| format!("libnvrtc.so.{major}").into());
    match Nvrtc::open(Some(&path)) {
        Ok(nvrtc) => Some(nvrtc),
        Err(error) => {
            // Straight to the stream: the test runner swallows what the macros print.
            let said = format!("\n*** SKIPPED for CUDA {major}: set {variable}: {error} ***\n");
            let _ = writeln!(std::io::stderr(), "{said}");
            let required = std::env::var_os("HYMT_REQUIRE_NVRTC").is_some();
            assert!(!required, "HYMT_REQUIRE_NVRTC is set, but: {error}");
            None
        }
    }
}

/// Every `N bytes spill stores, M bytes spill loads` of a log, as N + M.
fn spills(log: &str) -> Vec<usize> {
    log.lines()
        .filter(|line| line.contains("bytes spill stores"))
        .map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let before = |mark: &str| {
                let at = words.windows(3).position(|w| w[1] == "bytes" && w[2] == "spill").unwrap();
                let all: Vec<usize> = words[at..]
                    .windows(4)
                    .filter(|w| w[1] == "bytes" && w[3].starts_with(mark))
                    .map(|w| w[0].parse().unwrap())
                    .collect();
                all[0]
            };
            before("stores") + before("loads")
        })
        .collect()
}

/// All parts, compiled at the same time.
fn side_by_side(program: &Program, nvrtc: &Nvrtc) -> Vec<Compiled> {
    std::thread::scope(|scope| {
        let compile = |source| scope.spawn(move || Source::compile_with_report(source, nvrtc));
        let threads: Vec<_> = program.sources().map(compile).collect();
        threads.into_iter().map(|thread| thread.join().unwrap().unwrap()).collect()
    })
}

/// The kernel of every `Compiling entry function 'NAME' for 'ARCH'` of a log.
fn entries(log: &str) -> Vec<String> {
    let after = |line: &str| Some(line.split_once("Compiling entry function '")?.1.to_owned());
    log.lines()
        .filter_map(after)
        .filter_map(|rest| Some(rest.split_once('\'')?.0.to_owned()))
        .collect()
}

#[test]
fn every_kernel_compiles_for_every_architecture() {
    for major in [12, 13] {
        let Some(nvrtc) = compiler(major) else { continue };
        for (arch, shared_kib, _) in TARGETS.into_iter().filter(|target| target.2 == major) {
            for (name, dimensions) in SHAPES {
                let shape = Shape::new(&config(dimensions)).unwrap();
                let target = Target { arch, shared_bytes: shared_kib << 10 };
                let program = Program::new(&shape, &target);
                let sizes = &program.decode_sizes;
                assert!(!sizes.is_empty(), "sm_{arch} {name}: no decode kernel fits");
                let (mut bytes, mut worst, mut kernels) = (0, 0, BTreeSet::new());
                for compiled in side_by_side(&program, &nvrtc) {
                    assert!(compiled.cubin.starts_with(b"\x7fELF"));
                    let (names, spills) = (entries(&compiled.log), spills(&compiled.log));
                    assert_eq!(names.len(), spills.len(), "a report for each: {}", compiled.log);
                    for kernel in names {
                        // A name is looked for in one part after the other.
                        assert!(kernels.insert(kernel.clone()), "{kernel} is in two parts");
                    }
                    worst = spills.into_iter().fold(worst, usize::max);
                    bytes += compiled.cubin.len();
                }
                eprintln!(
                    "sm_{arch} {name}: decode for {sizes:?}, {} KiB, worst spill {worst} bytes",
                    bytes >> 10
                );
                let decode: BTreeSet<_> = sizes.iter().map(|n| format!("decode_{n}")).collect();
                let found: BTreeSet<_> =
                    kernels.iter().filter(|name| name.starts_with("decode_")).cloned().collect();
                assert_eq!(found, decode, "sm_{arch} {name}");
                assert!(kernels.len() > 10, "sm_{arch} {name}: {kernels:?}");
                assert!(worst <= SPILL_BYTES_MAX, "sm_{arch} {name} spills {worst} bytes");
            }
        }
    }
}

#[test]
fn what_was_compiled_once_comes_from_the_cache_and_damage_does_not() {
    let Some(nvrtc) = compiler(13) else { return };
    let shape = Shape::new(&config(SHAPES[1].1)).unwrap();
    let program = Program::new(&shape, &Target { arch: 90, shared_bytes: 227 << 10 });
    let folder = tempfile::tempdir().unwrap();
    let codes = || -> Vec<MachineCode> {
        let mut codes = program.steps_code(&nvrtc, Some(folder.path())).unwrap();
        codes.sort_by(|a, b| a.cubin.cmp(&b.cubin));
        codes
    };
    let compiled = |codes: &[MachineCode]| codes.iter().filter(|c| c.compiled_in.is_some()).count();
    let first = codes();
    assert_eq!((first.len(), compiled(&first)), (program.steps.len(), program.steps.len()));
    let cubins = |codes: &[MachineCode]| codes.iter().map(|c| c.cubin.clone()).collect::<Vec<_>>();
    let second = codes();
    assert_eq!((compiled(&second), cubins(&second)), (0, cubins(&first)));
    let files: Vec<_> =
        std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files.len(), program.steps.len(), "{files:?}");
    std::fs::write(&files[0], b"not machine code").unwrap();
    let third = codes();
    assert_eq!((compiled(&third), cubins(&third)), (1, cubins(&first)));
}

#[test]
fn a_broken_program_is_refused_with_its_log() {
    let Some(nvrtc) = compiler(13) else { return };
    let error = nvrtc.compile("__global__ void broken( {", "sm_90", &[]).unwrap_err().to_string();
    assert!(error.contains("sm_90") && error.contains("error"), "{error}");
}
