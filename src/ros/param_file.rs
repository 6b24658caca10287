//! ROS 2 parameter YAML files.
//!
//! The format is that of rcl's parameter parser: nodes by name with wildcards, `ros__parameters`,
//! nested groups that become dotted names, scalars typed as rcl types them (`yes` is a bool, `"5"` a
//! string, `0x10` an integer), arrays of one type. Anchors and aliases are refused, as rcl refuses
//! them, so a small file cannot become a large one.

mod scalar;
mod tree;

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use self::tree::{Entry, Tree};
use crate::ros::names::check_node_name;
use crate::ros::param_value::ParamValue;

/// Largest parameter file. Bytes.
pub const FILE_BYTES_MAX: u64 = 1 << 20;
/// Deepest nesting.
pub const DEPTH_MAX: usize = 16;
/// Most scalars of one file.
pub const VALUES_MAX: usize = 10_000;
/// Longest name of a parameter with its groups, and longest node pattern. Bytes; without it, a long
/// group name repeated before each of its members would make a small file large.
pub const NAME_BYTES_MAX: usize = 1024;

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
    #[error("parameter file {} has more than the {FILE_BYTES_MAX} bytes that are read", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
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
        let mut text = String::new();
        // A pipe or a device has no size to ask for beforehand.
        let mut file = File::open(path).map_err(read)?.take(FILE_BYTES_MAX + 1);
        let result = file.read_to_string(&mut text);
        if file.limit() == 0 {
            return Err(ParamFileError::TooLarge { path: path.to_owned() });
        }
        result.map_err(read)?;
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
                if prefix.is_empty() {
                    return Err(refuse(format!(
                        "'{PARAMETERS_KEY}' must stand below the name of a node; write '/**:' \
                         above it for every node"
                    )));
                }
                let Some(entries) = value.entries() else {
                    return Err(refuse(format!("'{PARAMETERS_KEY}' must hold parameter names")));
                };
                let mut parameters = Vec::new();
                walk_parameters("", entries, &mut parameters)?;
                self.sections.push((prefix.to_owned(), parameters));
                continue;
            }
            let pattern = join_pattern(prefix, key);
            check_pattern(&pattern).map_err(refuse)?;
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
        None => {
            let detail = "there is no value; write '' for an empty string".to_owned();
            Err(refusal(tree::Refusal { line: 1, detail }))
        }
        Some(tree) => tree.value().map_err(refusal),
    }
}

fn walk_parameters(
    group: &str,
    entries: &[Entry],
    into: &mut Vec<(String, ParamValue)>,
) -> Result<(), tree::Refusal> {
    for Entry { key, line, value } in entries {
        let name = if group.is_empty() { key.clone() } else { format!("{group}.{key}") };
        check_name_length(&name).map_err(|detail| tree::Refusal { line: *line, detail })?;
        match value.entries() {
            Some(entries) => walk_parameters(&name, entries, into)?,
            None => into.push((name, value.value()?)),
        }
    }
    Ok(())
}

fn check_name_length(name: &str) -> Result<(), String> {
    if name.len() <= NAME_BYTES_MAX {
        return Ok(());
    }
    Err(format!("a name has {} bytes, at most {NAME_BYTES_MAX} are allowed", name.len()))
}

/// A pattern that no node's name can match is a mistake that would otherwise go unnoticed.
fn check_pattern(pattern: &str) -> Result<(), String> {
    check_name_length(pattern)?;
    let is_valid = |part: &str| matches!(part, "" | "*" | "**") || check_node_name(part).is_ok();
    match pattern.split('/').find(|part| !is_valid(part)) {
        None => Ok(()),
        Some(part) => Err(format!(
            "'{part}' in the node name '{pattern}' is neither '*', '**' nor letters, digits and \
             underscores"
        )),
    }
}

fn join_pattern(prefix: &str, key: &str) -> String {
    let key = key.trim_start_matches('/');
    format!("{}/{key}", prefix.trim_end_matches('/'))
}

/// `*` stands for one part of a name, `**` for any number of them, none included.
fn matches_node(pattern: &str, node: &str) -> bool {
    fn parts(name: &str) -> Vec<&str> {
        name.split('/').filter(|part| !part.is_empty()).collect()
    }
    let (pattern, node) = (parts(pattern), parts(node));
    // What the pattern's parts so far match: the first `i` parts of the name for each true `[i]`.
    let mut reached = vec![false; node.len() + 1];
    reached[0] = true;
    for part in pattern {
        if part == "**" {
            if let Some(first) = reached.iter().position(|&is_reached| is_reached) {
                reached[first..].fill(true);
            }
            continue;
        }
        for end in (1..=node.len()).rev() {
            reached[end] = reached[end - 1] && (part == "*" || part == node[end - 1]);
        }
        reached[0] = false;
    }
    reached[node.len()]
}

#[cfg(test)]
mod tests;
