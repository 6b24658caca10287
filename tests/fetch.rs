//! `hymt fetch` against a hub in this process that serves, cuts, lies and redirects.
//!
//! The real hub was never reached from here; its protocol is as its documentation and clients say.

#![cfg(feature = "fetch")]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hymt_ros::fetch::FetchError;
use hymt_ros::fetch::download::{Download, Outcome};
use hymt_ros::fetch::hub::{Hub, RemoteFile};
use hymt_ros::fetch::name::RepoName;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

const REPO: &str = "tencent/Hy-MT2-1.8B";
const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const TOKEN: &str = "hf_secret";

/// A request as it came.
#[derive(Debug, Clone)]
struct Request {
    path: String,
    headers: Vec<(String, String)>,
}

impl Request {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Where a range begins.
    fn from(&self) -> usize {
        let range = self.header("range").and_then(|range| range.strip_prefix("bytes="));
        range.and_then(|range| range.strip_suffix('-')).map_or(0, |from| from.parse().unwrap())
    }
}

/// What a hub answers.
struct Reply {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    /// The connection ends after so many bytes of the body.
    cut: Option<usize>,
}

impl Reply {
    fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: Vec::new(), body: body.into(), cut: None }
    }

    fn json(value: &Value) -> Self {
        Self::new(200, value.to_string())
    }

    fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

/// A server that answers every request with a closure, one connection a request.
struct Server {
    address: String,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    fn start(answer: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        let answer = Arc::new(answer);
        // Ends with the process; a test takes no longer than that.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (seen, answer) = (Arc::clone(&seen), Arc::clone(&answer));
                std::thread::spawn(move || {
                    let Some(request) = read_request(&stream.as_ref().unwrap()) else { return };
                    seen.lock().unwrap().push(request.clone());
                    write_reply(stream.unwrap(), &answer(&request));
                });
            }
        });
        Self { address, requests }
    }

    fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    fn resolved(&self) -> usize {
        self.requests().iter().filter(|request| request.path.contains("/resolve/")).count()
    }
}

fn read_request(stream: &&TcpStream) -> Option<Request> {
    let mut lines = BufReader::new(*stream).lines();
    let path = lines.next()?.ok()?.split(' ').nth(1)?.to_owned();
    let mut headers = Vec::new();
    for line in lines {
        let line = line.ok()?;
        let Some((name, value)) = line.split_once(": ") else { break };
        headers.push((name.to_lowercase(), value.to_owned()));
    }
    Some(Request { path, headers })
}

fn write_reply(mut stream: TcpStream, reply: &Reply) {
    let mut head = format!("HTTP/1.1 {} x\r\nconnection: close\r\n", reply.status);
    for (name, value) in &reply.headers {
        head += &format!("{name}: {value}\r\n");
    }
    head += &format!("content-length: {}\r\n\r\n", reply.body.len());
    let sent = &reply.body[..reply.cut.unwrap_or(reply.body.len())];
    // A client that has seen enough hangs up.
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(sent));
}

/// A repository: files with their content, and the licence.
#[derive(Clone)]
struct Repo {
    name: &'static str,
    licence: &'static str,
    files: Vec<(&'static str, Vec<u8>)>,
}

impl Repo {
    fn model() -> Self {
        let weights: Vec<u8> = (0..300_000u32).flat_map(u32::to_le_bytes).collect();
        Self {
            name: REPO,
            licence: "apache-2.0",
            files: vec![
                ("config.json", b"{}".to_vec()),
                ("model.safetensors", weights),
                ("tokenizer.json", b"{\"a\":1}".to_vec()),
                ("LICENSE.txt", b"free".to_vec()),
                ("README.md", b"read me".to_vec()),
                ("onnx/model.safetensors", b"other".to_vec()),
                ("empty.gguf", Vec::new()),
            ],
        }
    }

    fn content(&self, name: &str) -> &[u8] {
        &self.files.iter().find(|(file, _)| *file == name).unwrap().1
    }

    fn tree(&self) -> Value {
        let entry = |(path, content): &(&str, Vec<u8>)| {
            let mut entry =
                json!({ "type": "file", "path": path, "size": content.len(), "oid": "git" });
            if path.ends_with(".safetensors") {
                entry["lfs"] = json!({ "oid": sha256(content), "size": content.len() });
            }
            entry
        };
        let mut tree: Vec<_> = self.files.iter().map(entry).collect();
        tree.push(json!({ "type": "directory", "path": "onnx", "oid": "git", "size": 0 }));
        Value::Array(tree)
    }

    /// What a hub that means well answers.
    fn answer(&self, request: &Request) -> Reply {
        let path = request.path.as_str();
        let api = format!("/api/models/{}", self.name);
        if path == format!("{api}/revision/main") {
            let card = json!({ "license": self.licence });
            return Reply::json(&json!({ "sha": COMMIT, "cardData": card, "tags": ["x"] }));
        }
        if path == format!("{api}/tree/{COMMIT}?recursive=true") {
            return Reply::json(&self.tree());
        }
        let file = path.strip_prefix(&format!("/{}/resolve/{COMMIT}/", self.name));
        let Some((_, content)) =
            file.and_then(|name| self.files.iter().find(|(path, _)| *path == name))
        else {
            return Reply::new(404, "nothing here");
        };
        match request.from() {
            0 => Reply::new(200, content.clone()),
            from => Reply::new(206, &content[from..]).with(
                "content-range",
                format!("bytes {from}-{}/{}", content.len() - 1, content.len()),
            ),
        }
    }

    fn serve(self) -> Server {
        Server::start(move |request| self.answer(request))
    }
}

fn sha256(content: &[u8]) -> String {
    Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Runs `hymt fetch` in a folder, with `input` typed.
fn fetch(
    at: &Path,
    endpoint: &str,
    arguments: &[&str],
    input: &str,
) -> (Option<i32>, String, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_hymt"))
        .arg("fetch")
        .args(arguments)
        .env("HF_ENDPOINT", endpoint)
        .env("HF_TOKEN", TOKEN)
        .env_remove("RUST_LOG")
        .env_remove("http_proxy")
        .env_remove("HTTP_PROXY")
        .env_remove("ALL_PROXY")
        .current_dir(at)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // One that asks nothing may have ended before.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let (out, err) = (text(output.stdout), text(output.stderr));
    assert!(!out.contains(TOKEN) && !err.contains(TOKEN), "the token is shown: {out}{err}");
    assert!(!err.contains("panicked"), "{err}");
    (output.status.code(), out, err)
}

#[track_caller]
fn fails(ended: (Option<i32>, String, String), code: i32, words: &[&str]) {
    let (got, out, err) = ended;
    assert_eq!(got, Some(code), "{out}{err}");
    for word in words {
        assert!(err.contains(word), "'{word}' is not in: {err}");
    }
}

/// Names of what is in a folder.
fn names(folder: &Path) -> Vec<String> {
    let name = |entry: std::io::Result<std::fs::DirEntry>| entry.unwrap().file_name();
    let mut names: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| name(entry).into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_model_folder_comes_complete_and_once() {
    let (at, repo) = (TempDir::new().unwrap(), Repo::model());
    let server = repo.clone().serve();
    let (code, out, err) = fetch(at.path(), &server.address, &[REPO, "--json"], "");
    assert_eq!(code, Some(0), "{err}");
    let report: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(report["commit"], COMMIT);
    assert_eq!(report["licence"], "apache-2.0");
    assert_eq!(report["was_complete"], false);
    assert_eq!(names(at.path()), ["Hy-MT2-1.8B"], "nothing unfinished is left");
    let folder = at.path().join("Hy-MT2-1.8B");
    let expected = ["LICENSE.txt", "config.json", "model.safetensors", "tokenizer.json"];
    assert_eq!(names(&folder), expected);
    for name in expected {
        assert_eq!(std::fs::read(folder.join(name)).unwrap(), repo.content(name), "{name}");
    }
    let bearer = format!("Bearer {TOKEN}");
    assert!(server.requests().iter().all(|r| r.header("authorization") == Some(&bearer)));

    let resolved = server.resolved();
    let (code, out, _) = fetch(at.path(), &server.address, &[REPO, "--json"], "");
    let report: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &report["was_complete"]), (Some(0), &json!(true)));
    assert_eq!(server.resolved(), resolved, "nothing is fetched twice");

    std::fs::write(folder.join("model.safetensors"), vec![0; 1_200_000]).unwrap();
    let ended = fetch(at.path(), &server.address, &[REPO], "");
    fails(ended, 1, &["holds something else", "--out"]);
}

#[test]
fn a_cut_connection_goes_on_where_it_ended() {
    let (at, repo) = (TempDir::new().unwrap(), Repo::model());
    let expected = repo.content("model.safetensors").to_vec();
    let server = Server::start(move |request| {
        let mut reply = repo.answer(request);
        if request.path.ends_with("model.safetensors") && request.from() < 500_000 {
            reply.cut = Some(400_000);
        }
        reply
    });
    let (code, _, err) = fetch(at.path(), &server.address, &[REPO, "--out", "m"], "");
    assert_eq!(code, Some(0), "{err}");
    assert_eq!(std::fs::read(at.path().join("m/model.safetensors")).unwrap(), expected);
    let begins: Vec<_> = server
        .requests()
        .iter()
        .filter(|request| request.path.ends_with("model.safetensors"))
        .map(Request::from)
        .collect();
    assert_eq!(begins, [0, 400_000, 800_000]);
}

/// The download below the command line, with short waits.
struct Below {
    at: TempDir,
    repo: RepoName,
    files: Vec<RemoteFile>,
}

impl Below {
    fn new(content: &[u8]) -> Self {
        let file = RemoteFile {
            path: "model.safetensors".to_owned(),
            size: content.len() as u64,
            sha256: Some(sha256(content)),
        };
        let repo = RepoName::parse(REPO).unwrap();
        Self { at: TempDir::new().unwrap(), repo, files: vec![file] }
    }

    fn folder(&self) -> PathBuf {
        self.at.path().join("m")
    }

    fn run(&self, server: &Server) -> Result<Outcome, FetchError> {
        let hub = Hub::new(&server.address, None, None).unwrap();
        let download = Download {
            hub: &hub,
            repo: &self.repo,
            commit: COMMIT,
            files: &self.files,
            folder: &self.folder(),
            retry_wait: Duration::from_millis(1),
        };
        download.run(&mut |_| ())
    }
}

#[test]
fn what_one_run_got_the_next_one_keeps() {
    let repo = Repo::model();
    let content = repo.content("model.safetensors").to_vec();
    let below = Below::new(&content);
    let server = Server::start(move |request| {
        let mut reply = repo.answer(request);
        // Nothing comes after the first piece.
        reply.cut = Some(if request.from() == 0 { 700_000 } else { 0 });
        reply
    });
    let error = below.run(&server).unwrap_err();
    assert!(matches!(error, FetchError::Unreachable { .. }), "{error}");
    assert!(!below.folder().exists(), "a folder that is not complete has another name");
    assert!(server.resolved() > 3, "it tried again");
    let server = Repo::model().serve();
    assert_eq!(below.run(&server).unwrap(), Outcome::Fetched);
    assert_eq!(server.requests()[0].from(), 700_000);
    assert_eq!(std::fs::read(below.folder().join("model.safetensors")).unwrap(), content);
}

#[test]
fn a_server_that_cannot_resume_starts_over() {
    let content = Repo::model().content("model.safetensors").to_vec();
    let below = Below::new(&content);
    let body = content.clone();
    let server = Server::start(move |request| {
        let mut reply = Reply::new(200, body.clone());
        reply.cut = (request.from() == 0).then_some(100_000);
        reply
    });
    assert_eq!(below.run(&server).unwrap(), Outcome::Fetched);
    assert_eq!(std::fs::read(below.folder().join("model.safetensors")).unwrap(), content);
}

#[test]
fn a_wrong_file_never_gets_its_name() {
    let content = Repo::model().content("model.safetensors").to_vec();
    let below = Below::new(&content);
    let mut wrong = content.clone();
    wrong[77] ^= 1;
    let error = below.run(&Server::start(move |_| Reply::new(200, wrong.clone()))).unwrap_err();
    assert!(matches!(error, FetchError::Checksum { .. }), "{error}");
    assert!(!below.folder().exists());
    let endless = [content.as_slice(), &[0; 4_000_000]].concat();
    let error = below.run(&Server::start(move |_| Reply::new(200, endless.clone()))).unwrap_err();
    assert!(matches!(error, FetchError::Size { .. }), "{error}");
    // What was wrong is gone, so the next run begins anew and ends well.
    let server = Repo::model().serve();
    assert_eq!(below.run(&server).unwrap(), Outcome::Fetched);
    assert_eq!(server.requests()[0].from(), 0);
}

#[test]
fn the_token_does_not_follow_a_redirect() {
    let (at, repo) = (TempDir::new().unwrap(), Repo::model());
    let store_repo = repo.clone();
    let store = Server::start(move |request| store_repo.answer(request));
    let elsewhere = store.address.clone();
    let server = Server::start(move |request| {
        if request.path.contains("/resolve/") {
            return Reply::new(302, "").with("location", format!("{elsewhere}{}", request.path));
        }
        repo.answer(request)
    });
    let (code, _, err) = fetch(at.path(), &server.address, &[REPO], "");
    assert_eq!(code, Some(0), "{err}");
    assert_eq!(store.requests().len(), 4);
    assert!(store.requests().iter().all(|request| request.header("authorization").is_none()));
}

#[test]
fn an_answer_that_is_none_says_what_to_do() {
    let at = TempDir::new().unwrap();
    for (status, words) in
        [(401, "HF_TOKEN"), (403, "HF_TOKEN"), (404, "no such"), (429, "wait"), (500, "--endpoint")]
    {
        let server = Server::start(move |_| Reply::new(status, "no"));
        let ended = fetch(at.path(), &server.address, &[REPO], "");
        fails(ended, 1, &[&status.to_string(), words]);
    }
    let circle =
        Server::start(|request| Reply::new(302, "").with("location", request.path.clone()));
    fails(fetch(at.path(), &circle.address, &[REPO], ""), 1, &["redirect"]);
    let page = Server::start(|_| Reply::new(200, "<html>"));
    fails(fetch(at.path(), &page.address, &[REPO], ""), 1, &["not the JSON"]);
    // A port on which nobody listens any more.
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let ended = fetch(at.path(), &format!("http://{closed}"), &[REPO], "");
    fails(ended, 1, &["cannot reach", "hf download", "--endpoint", "--model DIR"]);
    assert_eq!(names(at.path()), [""; 0], "nothing was made");
}

#[test]
fn a_hostile_listing_is_refused() {
    let at = TempDir::new().unwrap();
    let entry = |path: &str, size: u64| json!([{ "type": "file", "path": path, "size": size }]);
    let lfs = |oid: &str| json!([{ "type": "file", "path": "a.safetensors", "lfs": { "oid": oid, "size": 1 } }]);
    let many: Vec<_> = (0..1_001)
        .map(|n| json!({ "type": "file", "path": format!("{n}.safetensors"), "size": 1 }))
        .collect();
    let too_many: Vec<_> =
        (0..10_001).map(|n| json!({ "type": "file", "path": format!("{n}"), "size": 1 })).collect();
    let large: Vec<_> = (0..5)
        .map(|n| json!({ "type": "file", "path": format!("{n}.safetensors"), "size": 60u64 << 30 }))
        .collect();
    for (tree, words) in [
        (entry("../../x.safetensors", 1), "leaves its folder"),
        (entry("/etc/x.safetensors", 1), "leaves its folder"),
        (entry("a\\..\\x.safetensors", 1), "leaves its folder"),
        (entry("\u{1b}[2J.safetensors", 1), "\\u{1b}"),
        (entry("a.safetensors", u64::MAX), "at most"),
        (json!([{ "type": "file", "path": "a.safetensors", "size": -1 }]), "not the JSON"),
        (lfs("1234"), "no SHA-256"),
        (lfs(&"g".repeat(64)), "no SHA-256"),
        (Value::Array(many), "at most 1000 files"),
        (Value::Array(too_many), "more than 10000 files"),
        (Value::Array(large), "at most"),
        (json!([]), "no *.safetensors"),
        (json!({}), "not the JSON"),
    ] {
        let repo = Repo::model();
        let server = Server::start(move |request| match request.path.contains("/tree/") {
            true => Reply::json(&tree),
            false => repo.answer(request),
        });
        fails(fetch(at.path(), &server.address, &[REPO], ""), 1, &[words]);
        assert_eq!(server.resolved(), 0, "{words}");
    }
    // A listing without end, and one that goes on at another host.
    for (link, words) in [
        (format!("</api/models/{REPO}/tree/{COMMIT}?cursor=x>; rel=\"next\""), "pages"),
        ("<https://evil.example/x>; rel=\"next\"".to_owned(), "elsewhere"),
    ] {
        let repo = Repo::model();
        let server = Server::start(move |request| match request.path.contains("/tree/") {
            true => Reply::json(&json!([])).with("link", link.clone()),
            false => repo.answer(request),
        });
        fails(fetch(at.path(), &server.address, &[REPO], ""), 1, &[words]);
    }
    assert_eq!(names(at.path()), [""; 0]);
    let long = Server::start(|_| Reply::new(200, vec![b' '; 17 << 20]));
    fails(fetch(at.path(), &long.address, &[REPO], ""), 1, &["limit"]);
    let sha = Server::start(|_| Reply::json(&json!({ "sha": "../../x" })));
    fails(fetch(at.path(), &sha.address, &[REPO], ""), 1, &["no commit"]);
}

#[test]
fn a_licence_with_conditions_is_agreed_to_first() {
    const RESTRICTED: &str = "tencent/HY-MT1.5-1.8B";
    let at = TempDir::new().unwrap();
    let repo = Repo { name: RESTRICTED, licence: "other", ..Repo::model() };
    let server = repo.serve();
    for answer in ["", "no\n", "y\n"] {
        let ended = fetch(at.path(), &server.address, &[RESTRICTED], answer);
        fails(ended, 1, &["South Korea", "not agreed to", "--yes"]);
    }
    assert_eq!(server.resolved(), 0);
    assert_eq!(names(at.path()), [""; 0]);
    for (out, arguments, answer) in [("a", &[][..], "yes\n"), ("b", &["--yes"], "")] {
        let arguments = [&[RESTRICTED, "--out", out], arguments].concat();
        let (code, _, err) = fetch(at.path(), &server.address, &arguments, answer);
        assert_eq!(code, Some(0), "{err}");
        assert!(at.path().join(out).join("LICENSE.txt").exists());
    }
}

#[test]
fn one_gguf_file_is_chosen_by_name() {
    let at = TempDir::new().unwrap();
    let files = vec![("a-Q4_K_M.gguf", b"q4".to_vec()), ("a b-Q8_0.gguf", b"q8".to_vec())];
    let repo = Repo { files, ..Repo::model() };
    let server = Server::start(move |request| {
        let path = request.path.replace("%20", " ");
        repo.answer(&Request { path, ..request.clone() })
    });
    let ended = fetch(at.path(), &server.address, &[REPO], "");
    fails(ended, 1, &["--include", "a-Q4_K_M.gguf", "a b-Q8_0.gguf"]);
    let ended = fetch(at.path(), &server.address, &[REPO, "--include", "*.bin"], "");
    fails(ended, 1, &["no file", "*.bin"]);
    let arguments = [REPO, "--include", "*Q8_0.gguf", "--out", "m"];
    let (code, out, err) = fetch(at.path(), &server.address, &arguments, "");
    assert_eq!(code, Some(0), "{err}");
    assert!(out.contains("fetched and checked"), "{out}");
    assert_eq!(names(&at.path().join("m")), ["a b-Q8_0.gguf"]);
}

#[test]
fn wrong_usage_is_said_before_anything_is_asked() {
    let at = TempDir::new().unwrap();
    let server = Repo::model().serve();
    for (arguments, words) in [
        (&["Hy-MT2-1.8B"][..], "owner/name"),
        (&["../x/y"], "owner/name"),
        (&[REPO, "--revision", "a b"], "revision"),
        (&[REPO, "--endpoint", "ftp://x"], "endpoint"),
        (&[REPO, "--endpoint", "https://user:pass@x"], "endpoint"),
        // The token would be readable on the way.
        (&[REPO, "--endpoint", "http://hub.example"], "HF_TOKEN"),
        (&[], "OWNER/NAME"),
    ] {
        fails(fetch(at.path(), &server.address, arguments, ""), 2, &[words]);
    }
    assert!(server.requests().is_empty());
}

/// HTTPS for real: `openssl s_server`, with a certificate authority made for this run.
#[test]
fn https_trusts_only_whom_it_should() {
    let at = TempDir::new().unwrap();
    let Some(mut server) = TlsServer::start(at.path()) else {
        eprintln!("SKIPPED: no `openssl` here, so no HTTPS connection was made; install it");
        return;
    };
    let endpoint = format!("https://localhost:{}", server.port);
    let run = |certificates: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_hymt"))
            .args(["fetch", REPO, "--endpoint", &endpoint, "--out", "m", "--include", "*.json"])
            .env("SSL_CERT_FILE", certificates)
            .env_remove("HF_TOKEN")
            .env_remove("https_proxy")
            .env_remove("HTTPS_PROXY")
            .env_remove("ALL_PROXY")
            .current_dir(at.path())
            .output()
            .unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, err) = run("");
    assert_eq!(code, Some(1), "{err}");
    assert!(err.contains("certificate") && err.contains("UnknownIssuer"), "{err}");
    let (code, err) = run("ca.pem");
    server.stop();
    assert_eq!(code, Some(0), "{err}");
    assert_eq!(names(&at.path().join("m")), ["config.json"]);
}

struct TlsServer {
    port: u16,
    process: std::process::Child,
}

impl TlsServer {
    fn start(at: &Path) -> Option<Self> {
        let openssl = |arguments: &str| {
            let output =
                Command::new("openssl").args(arguments.split(' ')).current_dir(at).output();
            output.ok().filter(|output| output.status.success())
        };
        openssl("version")?;
        std::fs::write(at.join("leaf.ext"), "subjectAltName=DNS:localhost\n").unwrap();
        let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
        openssl(&format!("req -x509 {key} -keyout ca.key -out ca.pem -days 2 -subj /CN=test"))
            .unwrap();
        openssl(&format!("req {key} -keyout leaf.key -out leaf.csr -subj /CN=localhost")).unwrap();
        openssl(
            "x509 -req -in leaf.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out leaf.pem -days 2 \
             -extfile leaf.ext",
        )
        .unwrap();
        // `s_server -WWW` answers with the file of that name, question mark and all.
        let file = |path: String, content: &str| {
            let path = at.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        };
        let info = json!({ "sha": COMMIT, "tags": ["license:apache-2.0"] });
        file(format!("api/models/{REPO}/revision/main"), &info.to_string());
        let tree = json!([{ "type": "file", "path": "config.json", "size": 2 }]);
        file(format!("api/models/{REPO}/tree/{COMMIT}?recursive=true"), &tree.to_string());
        file(format!("{REPO}/resolve/{COMMIT}/config.json"), "{}");
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let process = Command::new("openssl")
            .args("s_server -WWW -quiet -cert leaf.pem -key leaf.key -accept".split(' '))
            .arg(port.to_string())
            .current_dir(at)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut server = Self { port, process };
        for _ in 0..200 {
            if TcpStream::connect(("localhost", port)).is_ok() {
                return Some(server);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        server.stop();
        panic!("openssl s_server does not listen");
    }

    fn stop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for TlsServer {
    fn drop(&mut self) {
        self.stop();
    }
}

#[test]
fn a_hub_without_a_token_sends_none() {
    let server = Repo::model().serve();
    let hub = Hub::new(&server.address, Some(String::new()), None).unwrap();
    let repo = RepoName::parse(REPO).unwrap();
    let (mut body, begins) = hub.open(&repo, COMMIT, "config.json", 0).unwrap();
    let mut text = String::new();
    body.read_to_string(&mut text).unwrap();
    assert_eq!((text.as_str(), begins), ("{}", 0));
    assert!(server.requests()[0].header("authorization").is_none());
}
