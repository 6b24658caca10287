//! From an ONNX file to logits against a FAKE TensorRT: the build in a process of its own, the plan's
//! description, the engine with its cache, profiles and graphs, and a fault in every call.
//!
//! The fake is `tests/fake/`; what it computes without a cache is [`FakeModel::logits`]. Memory is a
//! [`HostDevice`]. Nothing is learnt about TensorRT or a GPU.

#![allow(unsafe_code, reason = "the fake is opened by hand")]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
#![allow(clippy::print_stderr, reason = "what a test lacks is said aloud")]
#![allow(clippy::print_stdout, reason = "a process that a test starts answers there")]

#[path = "fake/control.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod control;
#[path = "fake/model.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod model;

use std::ffi::OsString;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hymt_llm::engine::{BatchRow, Engine, EngineError, LogitsWanted, Slot};
use hymt_llm::quant::activation_scales::observe_activations;
use hymt_llm::synth::{SynthDtype, SynthOptions, SynthShape, write_model};
use hymt_llm::testkit::conformance::run_conformance;
use hymt_llm::weights::ModelSource;
use hymt_tensorrt::build::supervisor::WorkerCommand;
use hymt_tensorrt::build::{BuildError, BuildRequest, Message, worker};
use hymt_tensorrt::device::cuda::CudaDevice;
use hymt_tensorrt::device::host::{HostBuffer, HostDevice, HostGraph};
use hymt_tensorrt::device::{Append, Clear, Device, DeviceError, Shorten, probe};
use hymt_tensorrt::engine::limits::Limits;
use hymt_tensorrt::engine::{Graphs, SetupError, TensorRtEngine};
use hymt_tensorrt::onnx::{ExportOptions, FloatType, export_model};
use hymt_tensorrt::plan::{LayerReport, PlanShapes, Target};
use hymt_tensorrt::safe::{self, Capability, Library, Stream};

use control::Fake;
use model::FakeModel;

const MODEL: FakeModel = FakeModel { layers: 2, kv_heads: 2, head_dim: 4, context: 48, vocab: 50 };
const OPS: &[&str] = &["Gather", "MatMul", "Mul", "Sigmoid", "Softmax", "Add"];
/// Set for processes that the tests start.
const ENV_WORKER: &str = "HYMT_TEST_BUILD_WORKER";

/// A slot of the fake model's cache is 768 bytes, so a pass begins at every slot.
fn shapes() -> PlanShapes {
    PlanShapes {
        slots: 5,
        context_tokens: MODEL.context,
        prefill_rows: 2,
        prefill_tokens: 20,
        prefill_logits: 3,
        decode_tokens: 4,
    }
}

// ---- building -------------------------------------------------------------------------------------

/// Not a test: the process that the others start.
#[test]
fn build_worker() {
    if std::env::var_os(ENV_WORKER).is_some() {
        // A worker that fails has said so on its standard output.
        std::panic::set_hook(Box::new(|_| ()));
        assert!(worker::serve().unwrap());
    }
}

/// Not a test: it has the fake as CUDA driver, and says what becomes of a device there.
#[test]
fn open_the_device() {
    if std::env::var_os(ENV_WORKER).is_some() {
        let opened = CudaDevice::open(&probe(0).unwrap());
        println!("{:?}", opened.err().unwrap());
    }
}

/// A folder to build in, where the fake is the CUDA driver too.
struct Workshop {
    folder: tempfile::TempDir,
    fake: PathBuf,
}

impl Workshop {
    fn new() -> Self {
        let fake: PathBuf = std::env::var_os(control::ENV_FAKE).unwrap().into();
        let fake = fake.canonicalize().unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(&fake, folder.path().join("libcuda.so.1")).unwrap();
        MODEL.write_onnx(folder.path(), OPS);
        Self { folder, fake }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn request(&self, target: Target, gpu_fallback: bool) -> BuildRequest {
        BuildRequest {
            onnx: self.path("fake.onnx"),
            plan: self.path("plan.part"),
            timing_cache: self.path("timings"),
            target,
            gpu_fallback,
            shapes: shapes(),
            workspace_bytes: 1 << 28,
            level: Capability::Levels.is_there().then_some(3),
        }
    }

    /// This test program as worker, with switches of the fake.
    fn worker(&self, switches: &str) -> WorkerCommand {
        WorkerCommand {
            program: "/usr/bin/env".into(),
            arguments: self.one_test("build_worker", switches),
            patience: Duration::from_secs(20),
        }
    }

    /// Arguments of `env` that run one test of this program, told to be in a process of its own.
    fn one_test(&self, test: &str, switches: &str) -> Vec<OsString> {
        let set = |name: &str, value: &Path| {
            let mut variable = OsString::from(format!("{name}="));
            variable.push(value);
            variable
        };
        vec![
            set("LD_LIBRARY_PATH", self.folder.path()),
            set(safe::ENV_NVINFER, &self.fake),
            set(safe::ENV_ONNX_PARSER, &self.fake),
            set(ENV_WORKER, Path::new("1")),
            set("HYMT_FAKE_TENSORRT_SET", Path::new(switches)),
            std::env::current_exe().unwrap().into(),
            "--exact".into(),
            test.into(),
            "--nocapture".into(),
        ]
    }

    fn build(
        &self,
        request: &BuildRequest,
        switches: &str,
    ) -> (Result<u64, BuildError>, Vec<Message>) {
        let mut heard = Vec::new();
        let stop = AtomicBool::new(false);
        let worker = self.worker(switches);
        let built = worker.build(request, 1 << 30, &stop, &mut |m| heard.push(m.clone()));
        assert_eq!(request.plan.exists(), built.is_ok(), "a plan, or nothing");
        (built, heard)
    }

    fn plan(&self) -> Vec<u8> {
        let request = self.request(Target::Gpu, false);
        let (built, _) = self.build(&request, "");
        let plan = std::fs::read(&request.plan).unwrap();
        assert_eq!(built.unwrap(), plan.len() as u64);
        plan
    }
}

#[test]
fn a_build_reports_and_keeps_its_timings() {
    let Some(_fake) = Fake::take() else { return };
    let workshop = Workshop::new();
    let request = workshop.request(Target::Gpu, false);
    let (built, heard) = workshop.build(&request, "steps=7");
    built.unwrap();
    let steps = heard.iter().filter(|message| matches!(message, Message::Progress { .. })).count();
    // TensorRT 8 builds in silence.
    assert!(steps >= 7 || !Capability::Monitor.is_there(), "{steps} of 7 steps");
    let layers = Message::Layers(LayerReport { total: OPS.len(), ..LayerReport::default() });
    assert!(heard.contains(&layers), "{heard:?}");
    // The fake's cache grows by a sign with each build that was given it.
    let first = std::fs::read_to_string(&request.timing_cache).unwrap();
    workshop.build(&request, "").0.unwrap();
    let second = std::fs::read_to_string(&request.timing_cache).unwrap();
    assert_eq!(second, format!("{first}+"));
    // Timings of somebody else are begun anew.
    std::fs::write(&request.timing_cache, "of another version").unwrap();
    workshop.build(&request, "").0.unwrap();
    assert_eq!(std::fs::read_to_string(&request.timing_cache).unwrap(), first);
}

#[test]
fn a_build_that_fails_says_why() {
    let Some(_fake) = Fake::take() else { return };
    let workshop = Workshop::new();
    let request = workshop.request(Target::Gpu, false);
    for (switches, reason) in [
        ("fail=buildSerializedNetwork", "cannot build the engine"),
        ("fail=parseFromFile", "cannot read"),
        ("fail=createNetworkV2", "createNetworkV2"),
        ("fail=addOptimizationProfile", "addOptimizationProfile"),
        ("kill=buildSerializedNetwork", "killed by signal 9"),
        ("bogus=buildSerializedNetwork", "0x228"),
    ] {
        let said = workshop.build(&request, switches).0.unwrap_err().to_string();
        assert!(said.to_lowercase().contains(&reason.to_lowercase()), "{switches}: {said}");
    }
    let shorter = PlanShapes { context_tokens: 40, ..shapes() };
    let (built, _) = workshop.build(&BuildRequest { shapes: shorter, ..request.clone() }, "");
    let said = built.unwrap_err().to_string();
    assert!(said.contains("expected a cache of 40 tokens"), "{said}");
    MODEL.write_onnx(workshop.folder.path(), &["MatMul", "Attention"]);
    let said = workshop.build(&request, "").0.unwrap_err().to_string();
    assert!(said.contains("node 1 "), "{said}");
}

#[test]
fn a_builder_that_falls_over_at_its_end_has_built_all_the_same() {
    let Some(_fake) = Fake::take() else { return };
    let workshop = Workshop::new();
    let request = workshop.request(Target::Gpu, false);
    let (built, _) = workshop.build(&request, "kill=~IBuilder");
    let plan = std::fs::metadata(&request.plan).unwrap();
    assert_eq!(built.unwrap(), plan.len());
}

#[test]
fn a_cancelled_build_keeps_its_timings_only() {
    let Some(_fake) = Fake::take() else { return };
    if !Capability::Monitor.is_there() {
        eprintln!("SKIPPED: these headers' TensorRT cannot be asked to stop; it is killed instead");
        return;
    }
    let workshop = Workshop::new();
    let request = workshop.request(Target::Gpu, false);
    let stop = AtomicBool::new(false);
    let built = workshop.worker("steps=1000000000").build(&request, 0, &stop, &mut |message| {
        if matches!(message, Message::Progress { .. }) {
            stop.store(true, Ordering::Relaxed);
        }
    });
    assert!(matches!(built, Err(BuildError::Cancelled)), "{built:?}");
    assert!(!request.plan.exists());
    assert!(request.timing_cache.exists(), "it ended by itself, and kept what it had measured");
}

#[test]
fn dla_is_refused_by_layer_or_reported() {
    let Some(_fake) = Fake::take() else { return };
    let workshop = Workshop::new();
    // The fake's DLA runs Mul, Sigmoid and Add.
    let (built, _) = workshop.build(&workshop.request(Target::Dla1, false), "dla_cores=2");
    match built.unwrap_err() {
        BuildError::Dla { report } => {
            assert_eq!((report.on_dla, report.total), (3, OPS.len()));
            assert!(report.off_dla[0].contains("node_0"), "{report:?}");
            assert_eq!(report.off_dla.len(), 3);
        }
        other => panic!("{other:?}"),
    }
    let (built, heard) = workshop.build(&workshop.request(Target::Dla1, true), "dla_cores=2");
    built.unwrap();
    let report = heard.iter().find_map(|message| match message {
        Message::Layers(report) => Some(report.on_dla),
        _ => None,
    });
    assert_eq!(report, Some(3));
    let (built, _) = workshop.build(&workshop.request(Target::Dla0, true), "dla_cores=0");
    let said = built.unwrap_err().to_string();
    assert!(said.contains("no DLA core 0") && said.contains("gpu.device"), "{said}");
}

/// After a fault of a kernel the driver goes on to report it when it is asked for a context. The engine
/// is then made anew in vain, and has to say that only another process helps.
#[test]
fn a_device_that_a_fault_has_taken_is_lost() {
    let Some(_fake) = Fake::take() else { return };
    let workshop = Workshop::new();
    let opened = |status: &str| {
        let switches = format!("context_status={status}");
        let arguments = workshop.one_test("open_the_device", &switches);
        let child = Command::new("/usr/bin/env").args(arguments).output();
        String::from_utf8(child.unwrap().stdout).unwrap()
    };
    // An illegal address; a launch that failed.
    for status in ["700", "719"] {
        let said = opened(status);
        assert!(
            said.contains("Cuda(Lost { ordinal: 0, detail: \"cuDevicePrimaryCtxRetain"),
            "{said}"
        );
    }
    let said = opened("201");
    assert!(said.contains("Cuda(Call { call: \"cuDevicePrimaryCtxRetain\""), "{said}");
}

// ---- running --------------------------------------------------------------------------------------

/// Host memory whose captures also hold what the fake would have run.
struct FakeDevice {
    host: HostDevice,
    // Opened once more; it is the same library.
    fake: Arc<libloading::Library>,
}

struct FakeGraph {
    runs: i64,
    work: HostGraph,
}

impl FakeDevice {
    fn new(host: &HostDevice) -> Self {
        let path = std::env::var_os(control::ENV_FAKE).unwrap();
        // SAFETY: our own library, which is open already.
        let fake = Arc::new(unsafe { libloading::Library::new(path) }.unwrap());
        Self { host: host.clone(), fake }
    }

    fn call<T>(&self, name: &str) -> T {
        // SAFETY: called with the type of each name; none takes an argument.
        unsafe { self.fake.get::<unsafe extern "C" fn() -> T>(name.as_bytes()).unwrap()() }
    }
}

impl Device for FakeDevice {
    type Buffer = HostBuffer;
    type Graph = FakeGraph;

    fn bind(&self) -> Result<(), DeviceError> {
        self.host.bind()
    }

    fn stream(&self) -> Stream {
        self.host.stream()
    }

    fn alloc(&mut self, what: &'static str, bytes: usize) -> Result<HostBuffer, DeviceError> {
        self.host.alloc(what, bytes)
    }

    fn address(&self, buffer: &HostBuffer) -> u64 {
        self.host.address(buffer)
    }

    fn write(&mut self, buffer: &HostBuffer, bytes: &[u8]) -> Result<(), DeviceError> {
        self.host.write(buffer, bytes)
    }

    fn read(&mut self, from: &HostBuffer, at: usize, into: &mut [u8]) -> Result<(), DeviceError> {
        self.host.read(from, at, into)
    }

    unsafe fn append(&mut self, append: &Append) -> Result<(), DeviceError> {
        // SAFETY: the caller's promise is the same.
        unsafe { self.host.append(append) }
    }

    unsafe fn clear(&mut self, clear: &Clear) -> Result<(), DeviceError> {
        // SAFETY: as above.
        unsafe { self.host.clear(clear) }
    }

    unsafe fn shorten(&mut self, shorten: &Shorten) -> Result<(), DeviceError> {
        // SAFETY: as above.
        unsafe { self.host.shorten(shorten) }
    }

    fn begin_capture(&mut self) -> Result<(), DeviceError> {
        self.host.begin_capture()?;
        self.call::<()>("hymt_fake_begin_capture");
        Ok(())
    }

    fn end_capture(&mut self) -> Result<FakeGraph, DeviceError> {
        let runs = self.call("hymt_fake_end_capture");
        Ok(FakeGraph { runs, work: self.host.end_capture()? })
    }

    unsafe fn launch(&mut self, graph: &FakeGraph) -> Result<(), DeviceError> {
        // SAFETY: the function takes a number and checks it; that the contexts are there is the caller's
        // promise.
        let went_well = unsafe {
            let name = b"hymt_fake_launch";
            self.fake.get::<unsafe extern "C" fn(i64) -> i32>(name).unwrap()(graph.runs)
        };
        if went_well != 1 {
            let detail = "the fake's run failed".to_owned();
            return Err(DeviceError::Call { call: "hymt_fake_launch", detail });
        }
        // The network's run comes first in what the engine captures.
        // SAFETY: as above.
        unsafe { self.host.launch(&graph.work) }
    }

    fn synchronize(&mut self) -> Result<(), DeviceError> {
        self.host.synchronize()
    }
}

type FakeEngine = TensorRtEngine<safe::Engine, FakeDevice>;

fn engine(fake: &Fake, plan: &[u8], host: &HostDevice) -> Result<FakeEngine, SetupError> {
    let library = Library::open(&fake.libraries(), Box::new(|_, _| ()))?;
    let engine = library.runtime()?.deserialise(plan)?;
    TensorRtEngine::new(engine, FakeDevice::new(host), Graphs::On)
}

fn last_of(slot: u16, position: usize, tokens: &[u32]) -> BatchRow<'_> {
    BatchRow { slot: Slot(slot), position, tokens, logits: LogitsWanted::Last }
}

#[test]
fn the_engine_conforms_and_means_what_the_model_means() {
    let Some(fake) = Fake::take() else { return };
    let plan = Workshop::new().plan();
    let host = HostDevice::new();
    run_conformance(&mut || Box::new(engine(&fake, &plan, &host).unwrap()));
    let mut engine = engine(&fake, &plan, &host).unwrap();
    let mut tokens: Vec<u32> = (0..20).map(|i| (i * i * 7 + 3) % 50).collect();
    let mut logits = Vec::new();
    engine.step(&[last_of(3, 0, &tokens)], &mut logits).unwrap();
    while tokens.len() < MODEL.context {
        assert_eq!(logits, MODEL.logits(&tokens), "after {} tokens", tokens.len());
        let best = (0..50).max_by(|a, b| logits[*a].total_cmp(&logits[*b])).unwrap();
        tokens.push(best as u32);
        let next = [best as u32];
        engine.step(&[last_of(3, tokens.len() - 1, &next)], &mut logits).unwrap();
    }
    let graphs = host.calls().iter().filter(|call| **call == "end_capture").count();
    assert!(graphs > 0, "decode steps became no graph");
}

/// The graph that `hymt engine export-onnx` writes has what the builder's profiles and the engine expect:
/// names, types of the cache, shapes. The arithmetic is the fake's.
#[test]
fn an_exported_model_is_built_and_run() {
    let Some(fake) = Fake::take() else { return };
    let workshop = Workshop::new();
    let model = workshop.path("model");
    let synth = SynthOptions { shape: SynthShape::Tiny, dtype: SynthDtype::Bf16, seed: 9 };
    write_model(&model, &synth, &mut |_| {}).unwrap();
    let source = ModelSource::Dir(model);
    let (config, tensors) = (source.config().unwrap(), source.tensors().unwrap());
    let go_on = &mut |_| ControlFlow::Continue(());
    let prompts = [(0..20).collect::<Vec<_>>()];
    let scales = observe_activations(&tensors, &config, &prompts, 64, Some(1), go_on).unwrap();
    for (float, element_bytes) in [(FloatType::F16, 2), (FloatType::F32, 4)] {
        let options = ExportOptions { context: MODEL.context, float, ..ExportOptions::default() };
        let out = workshop.path(&format!("onnx-{element_bytes}"));
        let go_on = &mut |_| ControlFlow::Continue(());
        let report = export_model(&source, &scales, &out, &options, false, go_on).unwrap();
        let request = BuildRequest { onnx: report.graph, ..workshop.request(Target::Gpu, false) };
        workshop.build(&request, "").0.unwrap();
        let plan = std::fs::read(&request.plan).unwrap();
        let host = HostDevice::new();
        let made = engine(&fake, &plan, &host).unwrap();
        let Limits { layers, kv_heads, head_dim, vocab, .. } = *made.limits();
        assert_eq!(
            [layers, kv_heads, head_dim, vocab],
            [config.n_layers, config.n_kv_heads, config.head_dim, config.vocab_size]
        );
        assert_eq!(made.limits().element_bytes, element_bytes);
        drop(made);
        run_conformance(&mut || Box::new(engine(&fake, &plan, &host).unwrap()));
    }
}

/// Logits of a story with prompts, decode steps and a draft; `None` from the first failure on.
fn story(engine: &mut FakeEngine) -> Vec<Option<Vec<f32>>> {
    let prompt: Vec<u32> = (0..18).map(|i| (i * 11 + 5) % 50).collect();
    let row =
        |slot, position, tokens, logits| BatchRow { slot: Slot(slot), position, tokens, logits };
    let mut steps = vec![vec![
        row(0, 0, &prompt[..], LogitsWanted::Last),
        row(1, 0, &prompt[..9], LogitsWanted::Tail(5)),
    ]];
    for n in 0..3 {
        steps.push(vec![
            row(0, 18 + n, &prompt[n..=n], LogitsWanted::Last),
            row(1, 9 + n, &prompt[4..5], LogitsWanted::Last),
        ]);
    }
    steps.push(vec![row(1, 12, &prompt[..3], LogitsWanted::Tail(3))]);
    let mut told = Vec::new();
    for step in steps {
        let mut logits = Vec::new();
        let failed = told.iter().any(Option::is_none);
        told.push(match if failed { None } else { Some(engine.step(&step, &mut logits)) } {
            Some(Ok(())) => Some(logits),
            Some(Err(error)) => {
                assert!(matches!(error, EngineError::Device { .. }), "{error}");
                None
            }
            None => None,
        });
    }
    told
}

#[test]
fn a_fault_in_any_call_of_tensorrt_is_an_error_and_never_a_wrong_answer() {
    let Some(fake) = Fake::take() else { return };
    let plan = Workshop::new().plan();
    let host = HostDevice::new();
    let expected = story(&mut engine(&fake, &plan, &host).unwrap());
    assert!(expected.iter().all(Option::is_some));
    for call in [
        "deserializeCudaEngine",
        "createExecutionContext",
        "setOptimizationProfileAsync",
        "setTensorAddress",
        "setInputShape",
        "inferShapes",
        "enqueueV3",
    ] {
        let mut failures = 0;
        for n in [1, 2, 3, 4, 5, 9, 17, 26] {
            fake.set("fail", &format!("{call}@{n}"));
            match engine(&fake, &plan, &host) {
                Err(_) => failures += 1,
                Ok(mut engine) => {
                    let told = story(&mut engine);
                    failures += usize::from(told.iter().any(Option::is_none));
                    for (step, (got, expected)) in told.iter().zip(&expected).enumerate() {
                        assert!(got.is_none() || got == expected, "{call}@{n}, step {step}");
                    }
                }
            }
            assert_eq!(host.bytes(), 0, "{call}@{n} kept memory");
        }
        assert!(failures > 0, "{call} was never made to fail");
        fake.set("fail", "");
    }
    for foreign in [&b"no plan"[..], &plan[..plan.len() / 2]] {
        let refused = engine(&fake, foreign, &host).err().unwrap().to_string();
        assert!(refused.contains("refuses the plan"), "{refused}");
    }
}
