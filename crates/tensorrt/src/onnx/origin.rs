//! Which model a graph was exported from.
//!
//! Two models of one architecture have the same graph but for its weights, and a plan is kept under its
//! model's hash. So the exporter writes that hash into the graph, and a build holds it against the
//! model that it was named.

use std::path::{Path, PathBuf};

use super::lint::{LintError, read_graph};
use super::proto::{ModelProto, StringStringEntryProto};

/// Key of the fact in the graph's metadata.
const MODEL: &str = "hymt.model";

/// The graph is not that of the model.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OriginError {
    /// It cannot be read.
    #[error(transparent)]
    Read(#[from] LintError),
    /// It does not say.
    #[error(
        "'{}' does not say which model it was exported from, so a plan of it could pass for any \
         model's; export it again with `hymt engine export-onnx`",
        graph.display()
    )]
    Unknown {
        /// The file.
        graph: PathBuf,
    },
    /// It is another one's.
    #[error(
        "'{}' was exported from another model ({exported:.12}, --model is {wanted:.12}); name its \
         model with --model, or export this one with `hymt engine export-onnx`",
        graph.display()
    )]
    OtherModel {
        /// The file.
        graph: PathBuf,
        /// Hash of the model that it was exported from.
        exported: String,
        /// Hash of the model that a plan is wanted for.
        wanted: String,
    },
}

/// The fact for a graph's metadata.
pub(super) fn fact(model: &str) -> StringStringEntryProto {
    StringStringEntryProto { key: MODEL.to_owned(), value: model.to_owned() }
}

/// Holds a graph against the hash of a model ([`crate::plan::fingerprint`]).
///
/// # Errors
/// [`OriginError`].
pub fn check_origin(graph: &Path, model: &str) -> Result<(), OriginError> {
    let ModelProto { metadata_props, .. } = read_graph(graph)?;
    let path = graph.to_owned();
    match metadata_props.into_iter().find(|fact| fact.key == MODEL) {
        Some(fact) if fact.value == model => Ok(()),
        // What is no hash is not repeated to anybody's terminal.
        Some(fact) if fact.value.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
            Err(OriginError::OtherModel {
                graph: path,
                exported: fact.value,
                wanted: model.to_owned(),
            })
        }
        _ => Err(OriginError::Unknown { graph: path }),
    }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;

    #[test]
    fn a_graph_is_held_against_its_model() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.onnx");
        let check = |facts: Vec<StringStringEntryProto>| {
            let graph = ModelProto { metadata_props: facts, ..ModelProto::default() };
            std::fs::write(&path, graph.encode_to_vec()).unwrap();
            check_origin(&path, &"ab".repeat(32)).map_err(|error| error.to_string())
        };
        assert_eq!(check(vec![fact(&"ab".repeat(32))]), Ok(()));
        let other = check(vec![fact(&"cd".repeat(32))]).unwrap_err();
        assert!(other.contains("another model (cdcdcdcdcdcd, --model is abababababab)"), "{other}");
        for unknown in [vec![], vec![fact("\u{1b}[2J")]] {
            let said = check(unknown).unwrap_err();
            assert!(said.contains("does not say which model"), "{said}");
        }
    }
}
