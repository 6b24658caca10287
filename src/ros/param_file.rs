//! ROS 2 parameter YAML files.
//!
//! The format is that of rcl's parameter parser: nodes by name with wildcards, `ros__parameters`,
//! nested groups that become dotted names, scalars typed as rcl types them (`yes` is a bool, `"5"` a
//! string, `0x10` an integer), arrays of one type. Anchors and aliases are refused, as rcl refuses
//! them, so a small file cannot become a large one.

mod scalar;
mod tree;

use std::path::{Path, PathBuf};

use self::tree::{Entry, Tree};
use crate::ros::param_value::ParamValue;

/// Largest parameter file. Bytes.
pub const FILE_BYTES_MAX: u64 = 1 << 20;
/// Deepest nesting.
pub const DEPTH_MAX: usize = 16;
/// Most scalars of one file.
pub const VALUES_MAX: usize = 10_000;

/// The key under which a node's parameters stand.
const PARAMETERS_KEY: &str = "ros__parameters";

/// Why a parameter file or value was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ParamFileError {
    /// The file is missing or unreadable.
    #[error("cannot read the parameter file {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The file is too large.
    #[error("parameter file {} has {bytes} bytes, at most {FILE_BYTES_MAX} are read", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
    },
    /// The content is not what a parameter file may hold.
    #[error("{origin} line {line}: {detail}")]
    Content {
        /// File name, or `parameter value`.
        origin: String,
        /// Counted from 1.
        line: usize,
        /// What is wrong and what is allowed.
        detail: String,
    },
}

/// A parsed parameter file.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ParamFile {
    /// Node pattern and its parameters, in file order.
    sections: Vec<(String, Vec<(String, ParamValue)>)>,
}

impl ParamFile {
    /// Reads and parses a file.
    ///
    /// # Errors
    /// [`ParamFileError`] with file and line.
    pub fn read(path: &Path) -> Result<Self, ParamFileError> {
        let read = |source| ParamFileError::Read { path: path.to_owned(), source };
        let bytes = std::fs::metadata(path).map_err(read)?.len();
        if bytes > FILE_BYTES_MAX {
            return Err(ParamFileError::TooLarge { path: path.to_owned(), bytes });
        }
        let text = std::fs::read_to_string(path).map_err(read)?;
        Self::parse(&text, &path.display().to_string())
    }

    /// Parses the text of a file; `origin` names it in errors.
    ///
    /// # Errors
    /// [`ParamFileError::Content`] with the line.
    pub fn parse(text: &str, origin: &str) -> Result<Self, ParamFileError> {
        let tree = Tree::parse(text).map_err(|error| error.in_file(origin))?;
        let mut file = Self::default();
        let Some(tree) = tree else { return Ok(file) };
        let entries = tree.entries().ok_or_else(|| {
            tree.refuse("a parameter file is a map of node names").in_file(origin)
        })?;
        file.walk_nodes("", entries).map_err(|error| error.in_file(origin))?;
        Ok(file)
    }

    /// Parameters that apply to the node of this fully qualified name; later ones win.
    pub fn overrides_for(&self, node: &str) -> impl Iterator<Item = &(String, ParamValue)> {
        self.sections
            .iter()
            .filter(move |(pattern, _)| matches_node(pattern, node))
            .flat_map(|(_, parameters)| parameters)
    }

    /// Node patterns of the file, for a message when none applies.
    pub fn patterns(&self) -> impl Iterator<Item = &str> {
        self.sections.iter().map(|(pattern, _)| pattern.as_str())
    }

    fn walk_nodes(&mut self, prefix: &str, entries: &[Entry]) -> Result<(), tree::Refusal> {
        for Entry { key, line, value } in entries {
            let refuse = |detail: String| tree::Refusal { line: *line, detail };
            if key == PARAMETERS_KEY {
                let Some(entries) = value.entries() else {
                    return Err(refuse(format!("'{PARAMETERS_KEY}' must hold parameter names")));
                };
                let mut parameters = Vec::new();
                walk_parameters("", entries, &mut parameters)?;
                let pattern = if prefix.is_empty() { "/**" } else { prefix };
                self.sections.push((pattern.to_owned(), parameters));
                continue;
            }
            let pattern = join_pattern(prefix, key);
            let Some(entries) = value.entries() else {
                return Err(refuse(format!(
                    "'{key}' must hold '{PARAMETERS_KEY}:' with the parameters below it"
                )));
            };
            self.walk_nodes(&pattern, entries)?;
        }
        Ok(())
    }
}

/// Reads the value of `-p name:=value`, typed as in a file.
///
/// # Errors
/// [`ParamFileError::Content`] when it is no scalar and no array of one type.
pub fn parse_value(text: &str) -> Result<ParamValue, ParamFileError> {
    let refusal = |error: tree::Refusal| error.in_file(&format!("parameter value '{text}'"));
    match Tree::parse(text).map_err(refusal)? {
        // rcl reads `name:=` as an empty string.
        None => Ok(ParamValue::String(String::new())),
        Some(tree) => tree.value().map_err(refusal),
    }
}

fn walk_parameters(
    group: &str,
    entries: &[Entry],
    into: &mut Vec<(String, ParamValue)>,
) -> Result<(), tree::Refusal> {
    for Entry { key, value, .. } in entries {
        let name = if group.is_empty() { key.clone() } else { format!("{group}.{key}") };
        match value.entries() {
            Some(entries) => walk_parameters(&name, entries, into)?,
            None => into.push((name, value.value()?)),
        }
    }
    Ok(())
}

fn join_pattern(prefix: &str, key: &str) -> String {
    let key = key.trim_start_matches('/');
    format!("{}/{key}", prefix.trim_end_matches('/'))
}

/// `*` stands for one part of a name, `**` for any number of them, none included.
fn matches_node(pattern: &str, node: &str) -> bool {
    fn matches(pattern: &[&str], name: &[&str]) -> bool {
        match pattern.split_first() {
            None => name.is_empty(),
            Some((&"**", rest)) => (0..=name.len()).any(|skip| matches(rest, &name[skip..])),
            Some((part, rest)) => name.split_first().is_some_and(|(first, name)| {
                (*part == "*" || part == first) && matches(rest, name)
            }),
        }
    }
    fn parts(name: &str) -> Vec<&str> {
        name.split('/').filter(|part| !part.is_empty()).collect()
    }
    matches(&parts(pattern), &parts(node))
}

#[cfg(test)]
mod tests;
