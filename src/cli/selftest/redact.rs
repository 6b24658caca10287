//! Takes out of a report what names its author: paths, the user, the host.

use std::path::{Path, PathBuf};

use serde_json::Value;

/// Folders of the system, which are the same for everybody and say what is installed.
const SYSTEM_FOLDERS: [&str; 9] = [
    "/usr/",
    "/etc/",
    "/proc/",
    "/sys/",
    "/dev/",
    "/lib/",
    "/opt/tensorrt/",
    "/var/lib/nvpmodel/",
    "/var/lib/dpkg/",
];
/// Names that half of all boards have, or that are words of the report: taking `nvidia` out would leave
/// nothing to read.
const COMMON_NAMES: [&str; 16] = [
    "admin",
    "cpu",
    "cuda",
    "gpu",
    "hymt",
    "jetson",
    "linux",
    "localhost",
    "nvidia",
    "orin",
    "robot",
    "root",
    "tegra",
    "tensorrt",
    "ubuntu",
    "user",
];
/// Shorter names are parts of too many words. Characters.
const NAME_CHARS_MIN: usize = 3;
/// What a path does not hold where it stands in a text.
const PATH_ENDS: &[char] = &['"', '\'', '`', '<', '>', '(', ')', ',', ';', ':', '|', '\\'];

/// Knows what to take out.
#[derive(Debug)]
pub(super) struct Redactor {
    /// Longest first, because one may be the beginning of another.
    paths: Vec<String>,
    names: Vec<(String, &'static str)>,
}

impl Redactor {
    /// Knows the user, the host, and the folders of this process; and `paths` that were named to it.
    pub(super) fn of_this_process<'a>(paths: impl Iterator<Item = &'a Path>) -> Self {
        let variable = |name: &str| std::env::var(name).unwrap_or_default();
        let home = variable("HOME");
        let of_home = Path::new(&home).file_name().map(|name| name.to_string_lossy().into_owned());
        let host = crate::board::System::here().line("/proc/sys/kernel/hostname");
        let users = [variable("USER"), variable("LOGNAME"), of_home.unwrap_or_default()];
        let mut all: Vec<PathBuf> = paths.map(Path::to_owned).collect();
        all.extend(all.clone().iter().filter_map(|path| path.canonicalize().ok()));
        all.extend(std::env::current_dir());
        // Files that the environment names; they may have spaces in them.
        let named = ["HYMT_NVRTC", "HYMT_NVINFER", "HYMT_NVONNXPARSER", "XDG_CACHE_HOME"];
        all.extend(named.into_iter().filter_map(std::env::var_os).map(PathBuf::from));
        all.push(home.into());
        // Errors of a model name its folder, without where that is.
        let folders: Vec<_> = all.iter().filter_map(|path| quoted_name(path)).flatten().collect();
        let paths = all.iter().map(|path| path.display().to_string()).chain(folders);
        Self::new(paths, users.iter().map(String::as_str), &host)
    }

    fn new<'a>(
        paths: impl Iterator<Item = String>,
        users: impl Iterator<Item = &'a str>,
        host: &str,
    ) -> Self {
        // `/` alone, or a bare file name such as the report's, says nothing of anybody.
        let is_telling = |path: &String| path.len() > 1 && path.contains(['/', '\'']);
        let mut paths: Vec<_> = paths.filter(is_telling).collect();
        paths.sort_by_key(|path| std::cmp::Reverse(path.len()));
        let is_telling = |name: &str| {
            name.chars().count() >= NAME_CHARS_MIN
                && !COMMON_NAMES.contains(&name.to_lowercase().as_str())
        };
        let users = users.map(|user| (user.to_owned(), "<user>"));
        // Also without its domain.
        let hosts = [host, host.split('.').next().unwrap_or_default()];
        let names = users.chain(hosts.map(|host| (host.to_owned(), "<host>")));
        Self { paths, names: names.filter(|(name, _)| is_telling(name)).collect() }
    }

    /// A document of which every string is without them; its keys are ours.
    pub(super) fn redact_json(&self, value: &mut Value) {
        match value {
            Value::String(text) => *text = self.redact(text),
            Value::Array(values) => values.iter_mut().for_each(|value| self.redact_json(value)),
            Value::Object(map) => map.values_mut().for_each(|value| self.redact_json(value)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// `text` without them.
    pub(super) fn redact(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for path in &self.paths {
            text = text.replace(path.as_str(), "<path>");
        }
        text = without_paths(&text);
        for (name, instead) in &self.names {
            text = replace_word(&text, name, instead);
        }
        text
    }
}

/// The last name of a path in quotes, and as the beginning of a path in quotes; without them it may be
/// any word.
fn quoted_name(path: &Path) -> Option<[String; 2]> {
    let name = path.file_name()?.to_string_lossy();
    Some([format!("'{name}'"), format!("'{name}/")])
}

/// Replaces absolute paths but those of the system.
fn without_paths(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('/') {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        let is_end = |c: char| c.is_whitespace() || PATH_ENDS.contains(&c);
        let path = &from[..from.find(is_end).unwrap_or(from.len())];
        // `a/b`, `</tag>` and `https://` are no absolute paths; `<path>/more` is the rest of one.
        let begins = match before.chars().next_back().or_else(|| out.chars().next_back()) {
            Some('<') => false,
            Some(':') => !path.starts_with("//"),
            Some('>') => out.ends_with("<path>"),
            Some(c) => !c.is_alphanumeric() && !matches!(c, '.' | '/' | '_' | '-' | '*'),
            None => true,
        };
        let is_system = SYSTEM_FOLDERS.iter().any(|folder| path.starts_with(folder));
        if !begins || is_system || path.len() < 2 {
            out.push_str(path);
        } else if !out.ends_with("<path>") {
            out.push_str("<path>");
        }
        rest = &from[path.len()..];
    }
    out + rest
}

/// Replaces `name` where it is a word of its own.
fn replace_word(text: &str, name: &str, instead: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(name) {
        let end = at + name.len();
        let is_inside = |c: char| c.is_alphanumeric() || c == '_';
        let before = rest[..at].chars().next_back().or_else(|| out.chars().next_back());
        let is_word = !before.is_some_and(is_inside) && !rest[end..].starts_with(is_inside);
        out.push_str(&rest[..at]);
        out.push_str(if is_word { instead } else { name });
        rest = &rest[end..];
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redactor() -> Redactor {
        let paths =
            ["/home/ann-lee/my models/x", "/home/ann-lee", "out.md", "/", "'my int8'", "'my int8/"];
        let paths = paths.into_iter().map(str::to_owned);
        Redactor::new(paths, ["ann-lee", "nvidia", "al"].into_iter(), "kitchen-7")
    }

    #[test]
    fn what_names_somebody_goes_and_what_explains_stays() {
        let cases = [
            (
                "model folder '/home/ann-lee/my models/x' not found",
                "model folder '<path>' not found",
            ),
            ("cannot read /home/ann-lee/a/b.gguf: no", "cannot read <path>: no"),
            ("/srv/secret project/y", "<path> project/y"),
            ("'/mnt/data/secret'", "'<path>'"),
            ("ann-lee@kitchen-7: joann-lee", "<user>@<host>: joann-lee"),
            ("/usr/lib/x.so and /etc/nvpmodel.conf", "/usr/lib/x.so and /etc/nvpmodel.conf"),
            ("NVIDIA nvidia al 12 MB/s, 3/4 n/a", "NVIDIA nvidia al 12 MB/s, 3/4 n/a"),
            ("https://host/x <b>a</b> ../a ./b", "https://host/x <b>a</b> ../a ./b"),
            ("| `export HYMT_NVRTC=/data/n.so` |", "| `export HYMT_NVRTC=<path>` |"),
            ("out.md / x", "out.md / x"),
            ("cannot load 'my int8': my int8", "cannot load <path>: my int8"),
            ("in 'my int8/config.json'", "in <path>config.json'"),
            ("LD_LIBRARY_PATH=/usr/lib:/mnt/falcon/lib", "LD_LIBRARY_PATH=/usr/lib:<path>"),
            ("", ""),
        ];
        let redact = |text: &str| redactor().redact(text);
        for (text, expected) in cases {
            assert_eq!(redact(text), expected, "{text}");
            assert_eq!(redact(&redact(text)), expected, "twice: {text}");
        }
    }

    #[test]
    fn every_string_of_a_document_is_cleaned() {
        let mut value = serde_json::json!({
            "a": "/home/ann-lee/\"q\"/é", "b": ["/mnt/x\n/mnt/y", {"c": "\t/mnt/z"}], "d": 1
        });
        redactor().redact_json(&mut value);
        let expected = serde_json::json!({
            "a": "<path>/\"q\"<path>", "b": ["<path>\n<path>", {"c": "\t<path>"}], "d": 1
        });
        assert_eq!(value, expected);
    }
}
