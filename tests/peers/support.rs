//! Starts peers that others wrote, and reads what they print.
#![allow(dead_code, reason = "each test uses a part of it")]
#![allow(clippy::print_stderr, reason = "a skipped test must be heard")]

use std::{
    io::{BufRead, BufReader, Lines, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    sync::OnceLock,
    time::{Duration, Instant},
};

use hymt_ros::ros::{Context, ContextOptions, Middleware};

/// Generous, since the tests share a small machine; nothing waits this long when it works.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A domain for each test of each process; the low ones are left to people.
pub(crate) fn domain(test: u16) -> u16 {
    // Above 101 the ports of a domain lie among the ephemeral ports of Linux.
    10 + ((std::process::id() % 92) as u16 * 13 + test) % 92
}

/// A context that looks for others on this machine only.
pub(crate) fn context(domain: u16) -> Context {
    Context::new(Middleware::Dds, &ContextOptions::localhost(domain)).expect("join the domain")
}

/// A context as the node makes it: over the preferred middleware of this build, or the one that
/// `HYMT_MIDDLEWARE` names.
pub(crate) fn context_as_node(domain: u16) -> Context {
    let middleware =
        Middleware::from_env(&|name| std::env::var(name).ok()).expect("a middleware of this build");
    Context::new(middleware, &ContextOptions::localhost(domain)).expect("join the domain")
}

/// Waits until `condition` holds.
pub(crate) fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The Python that has Cyclone DDS, or `None` after saying loudly that there is none.
pub(crate) fn peer_python() -> Option<PathBuf> {
    let named = std::env::var_os("HYMT_PEER_PYTHON").map(PathBuf::from);
    let python = named.unwrap_or_else(|| PathBuf::from("python3"));
    let import = Command::new(&python).args(["-c", "import cyclonedds"]).output();
    if import.is_ok_and(|output| output.status.success()) {
        return Some(python);
    }
    skip(&format!(
        "{} cannot import cyclonedds; `pip install cyclonedds==11.0.1`, or name another Python in \
         HYMT_PEER_PYTHON",
        python.display()
    ));
    None
}

/// Says loudly that a test proves nothing, and fails where peers are required.
pub(crate) fn skip(why: &str) {
    // Straight to the stream: the test runner swallows what the macros print when a test passes.
    let _ = writeln!(std::io::stderr(), "\n*** SKIPPED: {why} ***\n");
    let required = std::env::var("HYMT_REQUIRE_PEERS").is_ok_and(|value| value == "1");
    assert!(!required, "HYMT_REQUIRE_PEERS=1, but {why}");
}

/// A small generator, so that every run does the same.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    /// A number below `n`.
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

/// A running peer, killed when dropped.
pub(crate) struct Peer {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Peer {
    /// Starts `ros_peer.py` with the words of `command`.
    pub(crate) fn start(python: &Path, domain: u16, command: &str) -> Self {
        Self::start_with(python, domain, command, &[])
    }

    /// As [`Self::start`], with arguments that are taken whole.
    pub(crate) fn start_with(
        python: &Path,
        domain: u16,
        command: &str,
        arguments: &[&str],
    ) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/ros_peer.py");
        let mut process = Command::new(python);
        process.arg(script).args(["--domain", &domain.to_string()]);
        process.args(command.split_whitespace()).args(arguments);
        Self::spawn(process)
    }

    /// Starts any program that prints lines of JSON.
    pub(crate) fn spawn(mut process: Command) -> Self {
        let mut child =
            process.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("start a peer");
        let stdout = child.stdout.take().expect("the output is piped");
        Self { child, lines: BufReader::new(stdout).lines() }
    }

    /// The next line, once it is there.
    pub(crate) fn next_line(&mut self) -> serde_json::Value {
        let line = self.lines.next().expect("the peer ended early").expect("read from the peer");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }

    /// Waits for the end, which must be a success, and gives the last line.
    pub(crate) fn last_line(mut self) -> serde_json::Value {
        let mut last = serde_json::Value::Null;
        for line in self.lines.by_ref() {
            let line = line.expect("read from the peer");
            last = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        }
        let status = self.child.wait().expect("wait for the peer");
        assert!(status.success(), "the peer failed with {status} after {last}");
        last
    }

    /// Waits for the end, which must be a success.
    pub(crate) fn finish(self) {
        self.last_line();
    }

    /// Waits for the end and says whether it was a success.
    pub(crate) fn succeeds(mut self) -> bool {
        self.child.wait().expect("wait for the peer").success()
    }

    /// Ends it with SIGKILL, so that it cannot say goodbye.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("kill the peer");
        let _ = self.child.wait();
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The compiled `enhanced_client.cpp`.
pub(crate) struct EnhancedClient {
    program: PathBuf,
}

impl EnhancedClient {
    /// A call of a service, ready to be started.
    pub(crate) fn call(&self, domain: u16, service: &str, kind: &str, words: &[&str]) -> Command {
        let mut process = Command::new(&self.program);
        process.args([&domain.to_string(), service, kind, &PATIENCE.as_secs().to_string()]);
        process.args(words);
        process
    }
}

/// Compiles the client on Fast DDS once, or gives `None` after saying loudly why it cannot.
pub(crate) fn enhanced_client() -> Option<EnhancedClient> {
    static COMPILED: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    match COMPILED.get_or_init(compile_enhanced_client) {
        Ok(program) => Some(EnhancedClient { program: program.clone() }),
        Err(why) => {
            skip(why);
            None
        }
    }
}

fn compile_enhanced_client() -> Result<PathBuf, String> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/enhanced_client.cpp");
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("enhanced_client");
    let missing = "needs g++ and Fast DDS 2.x; `apt-get install g++ libfastrtps-dev`";
    let compiler = std::env::var_os("CXX").unwrap_or_else(|| "g++".into());
    let probe = Command::new(&compiler)
        .args(["-std=c++17", "-fsyntax-only", "-xc++", "-include"])
        .args(["fastdds/dds/domain/DomainParticipant.hpp", "/dev/null"])
        .output();
    if !probe.is_ok_and(|output| output.status.success()) {
        return Err(missing.to_owned());
    }
    let output = Command::new(&compiler)
        .args(["-std=c++17", "-Wall", "-o"])
        .args([&program, &source])
        .args(["-lfastrtps", "-lfastcdr"])
        .output()
        .expect("run the compiler again");
    // The library is here, so a failure is a fault of ours and not a reason to skip.
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(program)
}
