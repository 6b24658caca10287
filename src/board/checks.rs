//! From what was found to what to say: each line is all right, or comes with what to type.

use super::finding::Finding;
use super::jetpack::L4t;
use super::libraries::Library;
use super::module::Generation;
use super::plan::PlanState;
use super::{Machine, Module};

/// Installs TensorRT and CUDA in the versions that belong to the board.
const INSTALL_JETPACK: &str = "sudo apt-get update && sudo apt-get install nvidia-jetpack";
/// Makes the kernel hand back what it keeps of files and join free memory to larger pieces.
const MAKE_ROOM: &str = "sync && echo 3 | sudo tee /proc/sys/vm/drop_caches && echo 1 | sudo tee \
                         /proc/sys/vm/compact_memory";
/// Ends the desktop until the next start.
const STOP_DESKTOP: &str = "sudo systemctl isolate multi-user.target";
/// The first L4T of JetPack 6 whose kernel counts GPU memory more strictly (CVE-2025-33177), since
/// when allocations of about 1 GB are reported to fail beside gigabytes of free memory.
const STRICT_ALLOCATION: L4t = L4t { release: 36, major: 4, minor: 7 };
/// From here on it is worth a look. A rule of thumb, below where these boards slow themselves down.
const HOT_CELSIUS: f64 = 85.0;
/// First version of TensorRT without DLA, and the one in which it came back.
const NO_DLA: [(u32, u32); 2] = [(10, 8), (11, 4)];
/// Most strange versions that are listed.
const LISTED_MAX: usize = 4;

/// What the board is held against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wants {
    /// Whether the TensorRT engine was asked for, so that what it lacks is a failure.
    pub needs_tensorrt: bool,
    /// Whether the CUDA engine was asked for.
    pub needs_cuda: bool,
    /// Which model is to run.
    pub model: String,
    /// What it takes. Bytes.
    pub model_bytes: u64,
    /// State of its TensorRT plan.
    pub plan: PlanState,
    /// DLA cores as a loaded TensorRT counts them; `None` where it was not asked.
    pub dla_cores: Option<usize>,
}

/// What there is to say about a machine. On anything but a Jetson that is its memory.
pub fn findings(machine: &Machine, wants: &Wants) -> Vec<Finding> {
    let mut findings = vec![board(machine), memory(machine, wants)];
    if machine.is_jetson() {
        findings.push(jetpack(machine));
    }
    // Older boards have no use for any of it.
    if machine.board.generation.is_some_and(|generation| generation.arch().is_some()) {
        findings.extend(allocation(machine));
        findings.push(power(machine));
        findings.extend(clocks(machine));
        findings.push(temperature(machine));
        findings.push(driver(machine).failed_if(wants.needs_cuda || wants.needs_tensorrt));
        findings.push(nvrtc(machine).failed_if(wants.needs_cuda));
        findings.push(tensorrt(machine).failed_if(wants.needs_tensorrt));
        findings.push(dla(machine, wants));
    }
    findings.extend(plan(wants).map(|finding| finding.failed_if(wants.needs_tensorrt)));
    findings
}

fn board(machine: &Machine) -> Finding {
    let board = &machine.board;
    let what = "board";
    let Some(generation) = board.generation else {
        let name = match board.model.as_str() {
            "" => String::new(),
            model => format!(" ({model})"),
        };
        return Finding::ok(what, format!("no Jetson{name}; nothing of JetPack is looked for"));
    };
    let model = if board.model.is_empty() { "a Jetson without a name" } else { &board.model };
    let Some(arch) = generation.arch() else {
        let detail = format!("{model}: its GPU is too old for our engines, the CPU does the work");
        return Finding::note(what, detail);
    };
    let family = generation.name();
    match board.module {
        Some(Module { part, name, .. }) => {
            let kind = if board.is_super { ", Super settings" } else { "" };
            Finding::ok(what, format!("{model}: {name} ({part}{kind}), {family}, sm_{arch}"))
        }
        None => {
            let detail = format!("{model}: {family}, sm_{arch}; we do not know this module");
            Finding::note(what, detail)
                .fixed_by("hymt selftest   # and attach its report to an issue")
        }
    }
}

fn memory(machine: &Machine, wants: &Wants) -> Finding {
    let what = "memory";
    let memory = &machine.memory;
    let mib = |bytes: u64| bytes >> 20;
    let (Some(total), Some(available)) = (memory.total, memory.available) else {
        return Finding::note(what, "this system does not say how much is free");
    };
    let mut swap = Vec::new();
    if memory.swap > 0 {
        swap.push(format!("{} MiB of swap", mib(memory.swap)));
    }
    if memory.zram > 0 {
        swap.push(format!("{} MiB of zram", mib(memory.zram)));
    }
    let swap = match swap.as_slice() {
        [] => "no swap".to_owned(),
        parts => parts.join(" and "),
    };
    let shared = if machine.is_jetson() { ", shared with the GPU, which cannot swap" } else { "" };
    let (total, free, needed) = (mib(total), mib(available), mib(wants.model_bytes));
    let detail =
        format!("{free} of {total} MiB are free, {swap}{shared}; {} takes {needed}", wants.model);
    if available >= wants.model_bytes {
        return Finding::ok(what, detail);
    }
    let note = Finding::note(what, format!("{detail}: too little"));
    match machine.is_jetson() {
        true if total >= needed + needed / 4 => note.fixed_by(STOP_DESKTOP),
        _ => note,
    }
}

fn jetpack(machine: &Machine) -> Finding {
    let what = "jetpack";
    let l4t = match &machine.jetpack.l4t {
        Ok(l4t) => *l4t,
        Err(why) if machine.is_container => {
            let mount = "-v /etc/nv_tegra_release:/etc/nv_tegra_release:ro";
            let detail = format!("unknown in this container: {why}");
            return Finding::note(what, detail).fixed_by(format!("docker run {mount} ..."));
        }
        Err(why) => {
            return Finding::note(what, format!("unknown: {why}"))
                .fixed_by("sudo apt-get install --reinstall nvidia-l4t-core");
        }
    };
    let package = match machine.jetpack.packages.get("nvidia-jetpack") {
        Some(version) => format!(", package nvidia-jetpack {version}"),
        None => String::new(),
    };
    match l4t.jetpack() {
        _ if l4t.release < 35 => Finding::note(
            what,
            format!("L4T {l4t} is older than JetPack 5, which the GPU engines need"),
        ),
        Some(jetpack) => Finding::ok(what, format!("{jetpack} (L4T {l4t}){package}")),
        None => Finding::note(
            what,
            format!("L4T {l4t}{package}, which is not in our table; nothing is known against it"),
        ),
    }
}

/// A bug of some releases that looks like a lack of memory.
fn allocation(machine: &Machine) -> Option<Finding> {
    let l4t = machine.jetpack.l4t.as_ref().ok()?;
    let is_strict = l4t.release == STRICT_ALLOCATION.release && *l4t >= STRICT_ALLOCATION;
    let detail = format!(
        "L4T {l4t} is known to refuse GPU allocations of about 1 GB beside free memory; our largest \
         piece is 236 MiB (1.8B model). When even that is refused, make room and start again"
    );
    is_strict.then(|| Finding::note("allocation", detail).fixed_by(MAKE_ROOM))
}

fn power(machine: &Machine) -> Finding {
    let what = "power";
    let power = &machine.power;
    let query = "sudo nvpmodel -q";
    let Some(fastest) = power.fastest() else {
        if machine.is_container {
            return Finding::note(what, "the modes cannot be seen from inside this container");
        }
        return Finding::note(what, "no power modes in /etc/nvpmodel.conf").fixed_by(query);
    };
    let set = format!("sudo nvpmodel -m {}", fastest.id);
    match (power.mode(), power.current) {
        (Some(mode), _) if mode == fastest => Finding::ok(
            what,
            format!("mode {} ({}), the fastest of this board", mode.id, mode.name),
        ),
        (Some(mode), _) => {
            let detail = format!(
                "mode {} ({}); {} is faster, where supply and cooling allow it",
                mode.id, mode.name, fastest.name
            );
            Finding::note(what, detail).fixed_by(set)
        }
        (None, Some(id)) => {
            let detail = format!("mode {id}, which /etc/nvpmodel.conf does not name");
            Finding::note(what, detail).fixed_by(set)
        }
        (None, None) => {
            let detail = "no mode in /var/lib/nvpmodel/status".to_owned();
            Finding::note(what, detail).fixed_by(query)
        }
    }
}

fn clocks(machine: &Machine) -> Option<Finding> {
    let detail = match machine.power.is_locked? {
        true => "held at their highest",
        false => "follow the load; for steady timings hold them with: sudo jetson_clocks",
    };
    Some(Finding::ok("clocks", detail))
}

fn temperature(machine: &Machine) -> Finding {
    let what = "heat";
    let hottest = machine.zones.iter().max_by(|a, b| a.celsius.total_cmp(&b.celsius));
    match hottest {
        None => Finding::note(what, "no temperature can be read below /sys/class/thermal"),
        Some(zone) if zone.celsius < HOT_CELSIUS => {
            Finding::ok(what, format!("{:.0} °C at most ({})", zone.celsius, zone.name))
        }
        Some(zone) => {
            let detail = format!(
                "{:.0} °C ({}): near where the board slows itself down; give it more air",
                zone.celsius, zone.name
            );
            Finding::note(what, detail).fixed_by("sudo jetson_clocks --fan")
        }
    }
}

fn driver(machine: &Machine) -> Finding {
    let what = "driver";
    match &machine.libraries.driver {
        Some(path) => Finding::ok(what, format!("CUDA driver: {path}")),
        None if machine.is_container => {
            Finding::note(what, "no CUDA driver (libcuda.so.1) in this container")
                .fixed_by("docker run --runtime nvidia ...")
        }
        None => Finding::note(what, "no CUDA driver: libcuda.so.1 is missing")
            .fixed_by("sudo apt-get update && sudo apt-get install --reinstall nvidia-l4t-cuda"),
    }
}

/// Major versions of CUDA whose NVRTC compiles for a generation: 13 begins at sm_75, and sm_110 is
/// Thor's name from 13 on.
fn nvrtc_majors(generation: Generation) -> std::ops::RangeInclusive<u32> {
    match generation {
        // What cannot run at all is said elsewhere.
        Generation::Older => 0..=u32::MAX,
        Generation::Xavier => 11..=12,
        Generation::Orin => 11..=u32::MAX,
        Generation::Thor => 13..=u32::MAX,
    }
}

fn nvrtc(machine: &Machine) -> Finding {
    let what = "nvrtc";
    let majors = machine.board.generation.map_or(0..=u32::MAX, nvrtc_majors);
    let found = &machine.libraries.nvrtc;
    let fits = |library: &&Library| library.is_whole && majors.contains(&library.version.major());
    if let Some(library) = found.iter().find(fits) {
        return Finding::ok(what, format!("{}: {}", library.version, library.path));
    }
    let wheel = match machine.board.generation {
        Some(Generation::Thor) => "nvidia-cuda-nvrtc",
        _ => "nvidia-cuda-nvrtc-cu12",
    };
    let detail = match found.as_slice() {
        [] => "the compiler of the CUDA engine, libnvrtc, is not found".to_owned(),
        others => format!("none that compiles for this board; there is {}", listed(others)),
    };
    let finding = Finding::note(what, detail);
    match found.is_empty() {
        true => finding.fixed_by(INSTALL_JETPACK),
        false => finding.fixed_by(format!(
            "python3 -m pip install {wheel}   # then set HYMT_NVRTC to its libnvrtc.so"
        )),
    }
}

fn tensorrt(machine: &Machine) -> Finding {
    let what = "tensorrt";
    let libraries = &machine.libraries;
    let Some(library) = libraries.tensorrt.iter().find(|library| library.is_whole) else {
        let Some(broken) = libraries.tensorrt.first() else {
            return Finding::note(what, "not installed; only the TensorRT engine needs it")
                .fixed_by(INSTALL_JETPACK);
        };
        let package = format!("libnvinfer{}", broken.version.major());
        return Finding::note(what, format!("{}: the link leads to nothing", broken.path))
            .fixed_by(format!(
                "sudo apt-get update && sudo apt-get install --reinstall {package}"
            ));
    };
    let (version, major) = (&library.version, library.version.major());
    let parses = |parser: &Library| parser.is_whole && parser.version.major() == major;
    if !libraries.parser.iter().any(parses) {
        let detail = format!("{version}, but its ONNX parser is missing, so no plan can be built");
        let package = format!("libnvonnxparsers{major}");
        return Finding::note(what, detail)
            .fixed_by(format!("sudo apt-get update && sudo apt-get install {package}"));
    }
    if (version.major(), version.minor()) < NO_DLA[0] && !libraries.has_dla_compiler {
        let detail = format!("{version}, which does not load without libnvdla_compiler.so");
        return Finding::note(what, detail)
            .fixed_by("sudo apt-get update && sudo apt-get install nvidia-l4t-dla-compiler");
    }
    let headers = match &libraries.headers {
        Some(headers) if headers.major() != major => {
            let detail = format!(
                "{version}, but its headers are of {headers}: a build of the engine here would fail"
            );
            return Finding::note(what, detail).fixed_by(
                "sudo apt-get update && sudo apt-get install --reinstall libnvinfer-dev",
            );
        }
        Some(headers) => format!(", headers {headers}"),
        None => ", no headers (needed to build the engine here only)".to_owned(),
    };
    let ships = machine.jetpack.l4t.as_ref().ok().and_then(|l4t| l4t.tensorrt());
    let shipped = match ships {
        Some((a, b)) if version.has_minor() && (a, b) != (version.major(), version.minor()) => {
            format!("; this JetPack comes with {a}.{b}")
        }
        _ => String::new(),
    };
    Finding::ok(what, format!("{version}: {}{headers}{shipped}", library.path))
}

fn dla(machine: &Machine, wants: &Wants) -> Finding {
    let by_table = machine.board.module.map(|module| module.dla_cores);
    let (cores, source) = match (wants.dla_cores, by_table) {
        (Some(cores), _) => (cores, "says TensorRT"),
        (None, Some(cores)) => (cores, "says the table of modules"),
        (None, None) => (machine.dla_nodes, "says the device tree"),
    };
    let what = "dla";
    if cores == 0 {
        return Finding::ok(what, format!("none, {source}; the GPU does the work"));
    }
    let version = machine.libraries.tensorrt.iter().find(|library| library.is_whole);
    let version = version.map(|library| (library.version.major(), library.version.minor()));
    // `libnvinfer.so.10` alone does not tell.
    let is_without = version.is_some_and(|v| v >= NO_DLA[0] && v < NO_DLA[1]);
    let usable = match is_without {
        true => "; this TensorRT cannot use them",
        false => "; a decoder's layers fall back to the GPU, so use gpu",
    };
    let nodes = machine.dla_nodes;
    let unlike = match nodes == cores {
        true => String::new(),
        false => format!(" (the device tree shows {nodes})"),
    };
    Finding::ok(what, format!("{cores}, {source}{unlike}{usable}"))
}

fn plan(wants: &Wants) -> Option<Finding> {
    let what = "plan";
    Some(match &wants.plan {
        PlanState::NoEngine if !wants.needs_tensorrt => return None,
        PlanState::NoEngine => Finding::failed(what, "this build has no TensorRT engine"),
        PlanState::NoModel => return None,
        PlanState::Missing { build } => {
            Finding::note(what, "none has been built for this model").fixed_by(build)
        }
        PlanState::Stale { reason, build } => {
            Finding::note(what, format!("stale: {reason}")).fixed_by(build)
        }
        PlanState::Ready { about } => Finding::ok(what, about),
    })
}

fn listed(libraries: &[Library]) -> String {
    let names = libraries.iter().take(LISTED_MAX).map(|library| library.path.as_str());
    names.collect::<Vec<_>>().join(", ")
}
