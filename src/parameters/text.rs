//! What people read about the parameters, written from the table.

use std::fmt::Write as _;

use crate::parameters::table;
use crate::ros::param_store::{Changes, Declaration};
use crate::ros::param_value::ParamValue;

/// Width of comments in the YAML file.
const COMMENT_WIDTH: usize = 96;

/// `config/translator.yaml`: every parameter at its default, with its description.
pub fn yaml() -> String {
    let mut out = String::from(
        "# Every parameter of the translator node at its default. Made from the table in\n\
         # src/parameters.rs; `just update` writes it anew.\n\
         /**:\n  ros__parameters:\n",
    );
    for declaration in table() {
        let mut comment = declaration.description.to_owned();
        let _ = write!(comment, " [{}]", declaration.constraints);
        if declaration.changes != Changes::Live {
            let _ = write!(comment, " ({})", declaration.changes.words());
        }
        for line in wrap(&comment, COMMENT_WIDTH) {
            let _ = writeln!(out, "    # {line}");
        }
        let _ = writeln!(out, "    {}: {}\n", declaration.name, yaml_value(&declaration.default));
    }
    out.truncate(out.trim_end().len());
    out.push('\n');
    out
}

/// `docs/parameters.md`.
pub fn reference_page() -> String {
    let mut out = String::from(
        "# Parameters\n\n\
         Made from the table in `src/parameters.rs`; `just update` writes it anew.\n\n\
         Set them at start with `--ros-args -p name:=value` or `--params-file`, and while the node \
         runs with `ros2 param set`. A value that is not allowed is refused with a reason; a group \
         set atomically is taken whole or not at all. A name in a file that the node does not \
         know is reported at start, with the nearest one that it knows.\n\n\
         | name | type | default | allowed | while running | what it is for |\n\
         | --- | --- | --- | --- | --- | --- |\n",
    );
    for Declaration { name, default, description, constraints, changes, .. } in table() {
        let change = changes.words();
        let (kind, value) = (default.kind(), yaml_value(&default));
        let _ = writeln!(
            out,
            "| `{name}` | {kind} | `{value}` | {constraints} | {change} | {description} |"
        );
    }
    out.push_str(DIFFERENCES);
    out
}

const DIFFERENCES: &str = "
## Where this node differs from rcl

- `-p` and `--params-file` apply in the order of the command line, and the last one wins; rcl sorts \
by node pattern first.
- `-p node:name:=value` also reaches a node of that name inside a namespace.
- `~` and `null` are refused; rcl reads them as strings. `[]` is an empty list of the declared type.
- An unquoted `no`, `on`, `y` or `nan` is a bool or a number, as in rcl: quote such language codes.
- `--log-config-file` and `--enclave` are read and have no effect.
";

/// The parameters' part of `hymt node --help`.
pub fn help() -> String {
    let mut out = String::from("Parameters (-p name:=value):\n");
    for Declaration { name, default, description, constraints, changes, .. } in table() {
        let fixed = match changes {
            Changes::Live => String::new(),
            other => format!(", {}", other.words()),
        };
        let value = yaml_value(&default);
        let _ = writeln!(out, "  {name} ({}, default {value}{fixed})", default.kind());
        for line in wrap(&format!("{description} Allowed: {constraints}."), 88) {
            let _ = writeln!(out, "      {line}");
        }
    }
    out
}

fn yaml_value(value: &ParamValue) -> String {
    match value {
        ParamValue::String(text) => format!("'{text}'"),
        ParamValue::StringArray(texts) => {
            let quoted: Vec<_> = texts.iter().map(|text| format!("'{text}'")).collect();
            format!("[{}]", quoted.join(", "))
        }
        other => other.to_string(),
    }
}

/// Breaks a text into lines of at most `width` characters where words allow it.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("there is always a line");
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > width {
            lines.push(word.to_owned());
        } else {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}
