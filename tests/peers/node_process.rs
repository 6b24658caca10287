//! The node's executable as a child process.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    time::Instant,
};

use crate::support::PATIENCE;

/// A running `hymt_node`, killed when dropped.
pub(crate) struct NodeProcess {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
}

impl NodeProcess {
    /// Starts it with parameters as `NAME:=VALUE` and waits until it is ready.
    pub(crate) fn start(domain: u16, parameters: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hymt_node"));
        command
            .env("ROS_DOMAIN_ID", domain.to_string())
            .env("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
            .env("NO_COLOR", "1")
            .env_remove("ROS_LOCALHOST_ONLY")
            .env_remove("RUST_LOG")
            .arg("--ros-args");
        for parameter in parameters {
            command.args(["-p", parameter]);
        }
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("start the node");
        let stderr = BufReader::new(child.stderr.take().expect("it is piped"));
        let lines = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&lines);
        // Somebody must read all of it, or the node would wait for room in the pipe.
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                sink.lock().expect("no reader panics").push(line);
            }
        });
        let mut node = Self { child, lines };
        let start = Instant::now();
        while !node.lines().iter().any(|line| line.ends_with("ready")) {
            assert!(node.is_alive(), "the node ended early: {:?}", node.lines());
            assert!(start.elapsed() < PATIENCE, "not ready: {:?}", node.lines());
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        node
    }

    /// What it has logged.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.lines.lock().expect("no writer panics").clone()
    }

    /// Its resident memory in KiB, as Linux counts it.
    #[allow(dead_code, reason = "only the soak asks")]
    pub(crate) fn resident_kib(&self) -> u64 {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(path).expect("the node has a status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let word = line.and_then(|line| line.split_whitespace().next());
        word.and_then(|word| word.parse().ok()).expect("a number of KiB")
    }

    /// True while it runs.
    pub(crate) fn is_alive(&mut self) -> bool {
        self.child.try_wait().expect("ask for the node's state").is_none()
    }

    #[allow(dead_code, reason = "each test uses a part of it")]
    /// Asks it to end as an operating system does, and waits for it.
    pub(crate) fn terminate(mut self) -> (ExitStatus, Vec<String>) {
        let kill = format!("kill -TERM {}", self.child.id());
        let sent = Command::new("sh").args(["-c", &kill]).status().expect("run a shell");
        assert!(sent.success(), "{kill}");
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("ask for the node's state") {
                return (status, self.lines());
            }
            assert!(start.elapsed() < PATIENCE, "it does not end: {:?}", self.lines());
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }
}

impl Drop for NodeProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
