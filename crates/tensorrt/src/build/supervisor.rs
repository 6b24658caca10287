//! Starts the worker, listens to it, ends it, and explains how it ended.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use super::{BuildError, BuildRequest, Failure, LINE_BYTES_MAX, Message};

/// Messages that wait to be looked at.
const MESSAGES_MAX: usize = 64;
/// How often a request to stop is looked for.
const TICK: Duration = Duration::from_millis(100);
/// How long a cancelled worker may take to end by itself: TensorRT 10 asks between two tactics,
/// older versions never do.
pub const CANCEL_PATIENCE: Duration = Duration::from_secs(20);
/// Lines of the log that are kept for the error.
const LAST_WORDS: usize = 3;
/// The signal that nobody can catch; the kernel sends it to whoever took the memory.
const SIGKILL: i32 = 9;

/// How the worker is started: this program with a hidden command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerCommand {
    /// The executable.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// How long it may take to end when cancelled.
    pub patience: Duration,
}

impl WorkerCommand {
    /// Builds; `watch` hears every message, `stop` cancels. Free memory is for the explanation only.
    ///
    /// # Errors
    /// [`BuildError`]; the plan's file is removed then.
    pub fn build(
        &self,
        request: &BuildRequest,
        available_bytes: u64,
        stop: &AtomicBool,
        watch: &mut dyn FnMut(&Message),
    ) -> Result<u64, BuildError> {
        let built = self.run(request, available_bytes, stop, watch);
        if built.is_err() {
            // Absent where the worker did not come so far.
            let _ = std::fs::remove_file(&request.plan);
        }
        built
    }

    fn run(
        &self,
        request: &BuildRequest,
        available_bytes: u64,
        stop: &AtomicBool,
        watch: &mut dyn FnMut(&Message),
    ) -> Result<u64, BuildError> {
        let start = |source| BuildError::Start { program: self.program.clone(), source };
        let mut line = serde_json::to_vec(request).map_err(|error| {
            let [onnx, plan] = [&request.onnx, &request.plan].map(|path| path.display());
            BuildError::Failed {
                detail: format!(
                    "'{onnx}' and '{plan}' cannot be told to the worker: {error}; choose folders \
                     with names in UTF-8"
                ),
            }
        })?;
        line.push(b'\n');
        let mut child = self.start().map_err(start)?;
        let mut input = child.stdin.take();
        // A worker that died at once cannot be written to; how it ended says more than that.
        let _ = input.as_mut().map(|input| input.write_all(&line));
        let messages = listen(child.stdout.take().expect("the output is piped"));
        let mut last = Last::default();
        let mut cancelled_at: Option<Instant> = None;
        // Since when the worker has had nothing more to do.
        let mut ended_at: Option<Instant> = None;
        loop {
            if stop.load(Ordering::Relaxed) && cancelled_at.is_none() {
                // Closes the worker's input, which cancels it.
                input = None;
                cancelled_at = Some(Instant::now());
            }
            let overdue = |at: Instant| at.elapsed() > self.patience;
            if cancelled_at.is_some_and(overdue) || ended_at.is_some_and(overdue) {
                let _ = child.kill();
            }
            match messages.recv_timeout(TICK) {
                Ok(message) => {
                    watch(&message);
                    if matches!(message, Message::Done { .. } | Message::Failed(_)) {
                        ended_at.get_or_insert_with(Instant::now);
                    }
                    last.keep(message);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        drop(input);
        let status = self.wait(&mut child).map_err(start)?;
        if cancelled_at.is_some() && !matches!(last.end, Some(Message::Done { .. })) {
            return Err(BuildError::Cancelled);
        }
        // Once a plan is written, how the worker ends says nothing about it: destructors of TensorRT
        // have crashed programs at their end, and that must not cost the minutes of a build.
        let written = std::fs::metadata(&request.plan).map_or(0, |plan| plan.len());
        match last.end {
            Some(Message::Done { plan_bytes }) if plan_bytes == written => {
                if !status.success() {
                    tracing::warn!(%status, "the builder fell over after its work; the plan is whole");
                }
                Ok(plan_bytes)
            }
            _ => Err(last.explain(status, (&request.plan, written), available_bytes)),
        }
    }

    fn start(&self) -> std::io::Result<Child> {
        Command::new(&self.program)
            .args(&self.arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Ctrl-C at the terminal reaches this process only, which decides.
            .process_group(0)
            .spawn()
    }

    /// A worker that closed its output has ended, or does so soon; one that does not is ended.
    fn wait(&self, child: &mut Child) -> std::io::Result<ExitStatus> {
        let closed_at = Instant::now();
        loop {
            match child.try_wait()? {
                Some(status) => return Ok(status),
                None if closed_at.elapsed() > self.patience => child.kill()?,
                None => std::thread::sleep(TICK / 10),
            }
        }
    }
}

/// What is kept of what the worker said.
#[derive(Default)]
struct Last {
    end: Option<Message>,
    words: VecDeque<String>,
}

impl Last {
    fn keep(&mut self, message: Message) {
        match message {
            Message::Log(text) => {
                if self.words.len() == LAST_WORDS {
                    self.words.pop_front();
                }
                self.words.push_back(text);
            }
            end @ (Message::Done { .. } | Message::Failed(_)) => self.end = Some(end),
            Message::Progress { .. } | Message::Layers(_) => {}
        }
    }

    /// Why there is no plan, or no whole one.
    fn explain(
        self,
        status: ExitStatus,
        (plan, written): (&Path, u64),
        available_bytes: u64,
    ) -> BuildError {
        let words = || {
            let words: Vec<String> = self.words.iter().cloned().collect();
            if words.is_empty() { "none".to_owned() } else { words.join("; ") }
        };
        match (status.signal(), &self.end) {
            (Some(SIGKILL), _) => BuildError::Killed { available_mib: available_bytes >> 20 },
            (Some(signal), _) => BuildError::Crashed { signal, words: words() },
            (None, Some(Message::Failed(failure))) => match failure.clone() {
                Failure::Cancelled => BuildError::Cancelled,
                Failure::Dla(report) => BuildError::Dla { report },
                Failure::Other(detail) => BuildError::Failed { detail },
            },
            (None, Some(Message::Done { plan_bytes })) => BuildError::Failed {
                detail: format!(
                    "the builder said that it wrote {plan_bytes} bytes, '{}' has {written}; is the \
                     disk full?",
                    plan.display()
                ),
            },
            (None, _) => {
                let code = status.code().unwrap_or(-1);
                BuildError::Silent { code, words: words() }
            }
        }
    }
}

/// Messages of the worker, until it closes its output.
fn listen(output: ChildStdout) -> Receiver<Message> {
    let (sender, receiver) = sync_channel(MESSAGES_MAX);
    std::thread::spawn(move || forward(output, &sender));
    receiver
}

fn forward(output: impl Read, sender: &SyncSender<Message>) {
    let mut output = BufReader::new(output);
    loop {
        let mut line = Vec::new();
        let limit = LINE_BYTES_MAX as u64;
        match output.by_ref().take(limit).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        if let Some(message) = message(&line)
            && sender.send(message).is_err()
        {
            return;
        }
    }
}

/// What is not JSON of ours was printed by a library.
fn message(line: &[u8]) -> Option<Message> {
    let text = String::from_utf8_lossy(line);
    let text = text.trim();
    if text.is_empty() {
        return None;
    }
    let printed = || Message::Log(text.chars().filter(|c| !c.is_control()).take(1000).collect());
    Some(serde_json::from_str(text).unwrap_or_else(|_| printed()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{LayerReport, PlanShapes, Target};

    /// A worker that is a few lines of shell; `$REQUEST` is its first line of input.
    fn worker(script: &str) -> (WorkerCommand, BuildRequest, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let request = BuildRequest {
            onnx: "model.onnx".into(),
            plan: folder.path().join("x.part"),
            timing_cache: folder.path().join("x.timing"),
            target: Target::Gpu,
            gpu_fallback: false,
            shapes: PlanShapes::default(),
            workspace_bytes: 1 << 29,
            level: None,
        };
        std::fs::write(&request.plan, b"half a plan").unwrap();
        let script = format!("read -r REQUEST; {script}");
        let command = WorkerCommand {
            program: "/bin/sh".into(),
            arguments: vec!["-c".into(), script.into()],
            patience: Duration::from_millis(300),
        };
        (command, request, folder)
    }

    fn run(script: &str) -> (Result<u64, BuildError>, Vec<Message>, bool) {
        let (command, request, _folder) = worker(script);
        let mut heard = Vec::new();
        let stop = AtomicBool::new(false);
        let built = command.build(&request, 5 << 30, &stop, &mut |m| heard.push(m.clone()));
        (built, heard, request.plan.exists())
    }

    #[test]
    fn a_worker_that_succeeds_is_heard() {
        let (built, heard, plan_is_kept) = run(
            r#"echo "$REQUEST" | grep -q '"onnx":"model.onnx"' || exit 7
            echo '{"progress":{"phase":"Timing","parent":"","step":1,"steps":4,"is_finished":false}}'
            echo 'a library prints this'; echo
            echo '{"layers":{"total":3,"on_dla":0,"off_dla":[]}}'
            echo '{"done":{"plan_bytes":11}}'"#,
        );
        assert_eq!(built.unwrap(), 11);
        assert!(plan_is_kept);
        assert_eq!(heard.len(), 4, "{heard:?}");
        assert_eq!(heard[1], Message::Log("a library prints this".to_owned()));
    }

    #[test]
    fn a_plan_outlives_whatever_ends_its_worker() {
        let ends = [
            "kill -11 $$",
            "kill -6 $$",
            "kill -9 $$",
            "exit 4",
            "exec 1>&- sleep 600",
            "exec sleep 600",
        ];
        for end in ends {
            let (built, _, plan_is_kept) =
                run(&format!("echo '{{\"done\":{{\"plan_bytes\":11}}}}'; {end}"));
            assert_eq!((built.unwrap(), plan_is_kept), (11, true), "{end}");
        }
    }

    #[test]
    fn every_end_is_explained_and_leaves_no_plan() {
        let off_dla = vec!["norm (Reduce)".to_owned()];
        let report = LayerReport { total: 2, on_dla: 1, off_dla };
        let dla = serde_json::to_string(&Message::Failed(Failure::Dla(report))).unwrap();
        let dla = format!("echo '{dla}'; exit 1");
        let cases: [(&str, &str); 8] = [
            ("kill -9 $$", "killed by signal 9, most likely because memory ran out (5120 MiB"),
            ("echo '{\"log\":\"tactic 7\"}'; kill -11 $$", "signal 11; its last words: tactic 7"),
            ("exit 3", "ended with code 3 and no result; its last words: none"),
            // To say so is not enough.
            ("echo '{\"done\":{\"plan_bytes\":12}}'", "wrote 12 bytes"),
            ("exec 1>&-; exit 0", "ended with code 0 and no result"),
            (
                "echo '{\"failed\":{\"other\":\"no importer for Foo\"}}'; exit 1",
                "no importer for Foo",
            ),
            ("echo '{\"failed\":\"cancelled\"}'; exit 1", "cancelled"),
            (&dla, "the DLA can run 1 of 2 layers; the first that it cannot: norm (Reduce)"),
        ];
        for (script, reason) in cases {
            let (built, _, plan_is_kept) = run(script);
            let said = built.unwrap_err().to_string();
            assert!(said.contains(reason), "{script}: {said}");
            assert!(!plan_is_kept, "{script}: half a plan is left");
        }
    }

    #[test]
    fn endless_lines_and_strange_bytes_are_bounded() {
        let (built, heard, _) = run(r#"head -c 300000 /dev/zero | tr '\0' 'x'
            printf '\n\377\376\033[2J{\n'; echo '{"done":{"plan_bytes":11}}'"#);
        assert_eq!(built.unwrap(), 11);
        for message in &heard[..heard.len() - 1] {
            let Message::Log(text) = message else { panic!("{message:?}") };
            assert!(text.len() <= 4000 && !text.contains('\u{1b}'));
        }
    }

    #[test]
    fn cancelling_closes_the_input_and_ends_who_does_not_listen() {
        for script in [
            // Listens: ends when its input does.
            "echo '{\"log\":\"ready\"}'; cat >/dev/null; echo '{\"failed\":\"cancelled\"}'; exit 1",
            // Does not listen.
            "echo '{\"log\":\"ready\"}'; exec sleep 600",
            // Closed its output and stays.
            "echo '{\"log\":\"ready\"}'; exec 1>&- sleep 600",
        ] {
            let (command, request, _folder) = worker(script);
            let stop = AtomicBool::new(false);
            let built =
                command.build(&request, 0, &stop, &mut |_| stop.store(true, Ordering::Relaxed));
            assert!(matches!(built, Err(BuildError::Cancelled)), "{script}: {built:?}");
            assert!(!request.plan.exists());
        }
    }

    #[test]
    fn a_path_that_is_no_text_is_refused() {
        use std::os::unix::ffi::OsStrExt as _;
        let (command, request, _folder) = worker("");
        let onnx = PathBuf::from(std::ffi::OsStr::from_bytes(b"/tmp/\xff/model.onnx"));
        let built = command.build(
            &BuildRequest { onnx, ..request },
            0,
            &AtomicBool::new(false),
            &mut |_| (),
        );
        let said = built.unwrap_err().to_string();
        assert!(said.contains("/model.onnx' and") && said.contains("UTF-8"), "{said}");
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let (command, request, _folder) = worker("");
        let command = WorkerCommand { program: "/nonexistent/hymt".into(), ..command };
        let built = command.build(&request, 0, &AtomicBool::new(false), &mut |_| ());
        assert_eq!(built.unwrap_err().to_string(), "cannot start '/nonexistent/hymt'");
    }
}
