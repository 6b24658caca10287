//! `--ros-args`: remaps, parameters, parameter files, log levels.
//!
//! The grammar is that of rcl (`arguments.c`): any number of `--ros-args ... [--]` sections, and
//! everything outside them belongs to the caller. Parameters apply in the order they are given, a
//! later one wins; of remap rules the first that matches wins.

use std::path::PathBuf;

use crate::ros::names::{NameError, NameResolver, RemapKind, RemapRule, check_node_name};
use crate::ros::param_file::{ParamFile, ParamFileError, parse_value};
use crate::ros::param_value::ParamValue;

/// Most arguments of a command line.
pub const ARGUMENTS_MAX: usize = 4096;

/// Flags without a value that rcl knows; those about logging to files change nothing here, because
/// this node writes no log files.
const SWITCHES: &[&str] = &[
    "--enable-rosout-logs",
    "--disable-rosout-logs",
    "--enable-stdout-logs",
    "--disable-stdout-logs",
    "--enable-external-lib-logs",
    "--disable-external-lib-logs",
];

/// Flags with a value.
const OPTIONS: &[&str] = &[
    "-r",
    "--remap",
    "-p",
    "--param",
    "--params-file",
    "--log-level",
    "--log-config-file",
    "--log-file-name",
    "-e",
    "--enclave",
];

/// Why a command line was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RosArgsError {
    /// A flag that is not known after `--ros-args`.
    #[error("unknown ROS argument '{flag}'{}", hint(.nearest))]
    Unknown {
        /// The flag.
        flag: String,
        /// The nearest known one.
        nearest: Option<&'static str>,
    },
    /// A flag whose value is missing.
    #[error("'{flag}' needs a value: {expected}")]
    MissingValue {
        /// The flag.
        flag: String,
        /// What it looks like.
        expected: &'static str,
    },
    /// A value that cannot be read.
    #[error("'{flag} {value}' is not valid; expected {expected}")]
    Malformed {
        /// The flag.
        flag: String,
        /// Its value.
        value: String,
        /// What it looks like.
        expected: &'static str,
    },
    /// More arguments than anyone types.
    #[error("{count} arguments given, at most {ARGUMENTS_MAX} are read")]
    TooMany {
        /// How many there are.
        count: usize,
    },
    /// A parameter file or value.
    #[error(transparent)]
    Params(#[from] ParamFileError),
    /// A name of the node, or a remap rule.
    #[error(transparent)]
    Name(#[from] NameError),
}

fn hint(nearest: &Option<&'static str>) -> String {
    nearest.map_or_else(String::new, |flag| format!("; did you mean '{flag}'?"))
}

/// Severity of a log message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum LogSeverity {
    /// Everything.
    Debug,
    /// The usual.
    #[default]
    Info,
    /// Only what needs attention.
    Warn,
    /// Only failures.
    Error,
    /// Only what ends the node.
    Fatal,
}

impl LogSeverity {
    /// `Some(None)` is rcl's `unset`: whatever holds without the flag.
    fn parse(text: &str) -> Option<Option<Self>> {
        Some(match text.to_ascii_lowercase().as_str() {
            "debug" => Some(Self::Debug),
            "info" => Some(Self::Info),
            "warn" => Some(Self::Warn),
            "error" => Some(Self::Error),
            "fatal" => Some(Self::Fatal),
            "unset" => None,
            _ => return None,
        })
    }
}

/// What a command line says about ROS.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RosArgs {
    /// Remap rules, `__node` and `__ns` excepted, in order.
    pub remaps: Vec<RemapRule>,
    /// New names of nodes: for which one, and the name.
    pub node_names: Vec<(Option<String>, String)>,
    /// New namespaces.
    pub namespaces: Vec<(Option<String>, String)>,
    /// Parameters and parameter files, in order.
    pub parameters: Vec<ParamSource>,
    /// `--log-level LEVEL`; the last one counts.
    pub log_level: Option<LogSeverity>,
    /// `--log-level name:=LEVEL`, in order.
    pub logger_levels: Vec<(String, LogSeverity)>,
    /// False after `--disable-rosout-logs`.
    pub rosout: Option<bool>,
    /// False after `--disable-stdout-logs`.
    pub stdout: Option<bool>,
}

/// One `-p` or `--params-file`.
#[derive(Debug, Clone, PartialEq)]
pub enum ParamSource {
    /// `-p [node:]name:=value`.
    Value {
        /// Only for the node of this name.
        node: Option<String>,
        /// Name of the parameter.
        name: String,
        /// Its value.
        value: ParamValue,
    },
    /// `--params-file FILE`.
    File(PathBuf),
}

impl RosArgs {
    /// Splits `arguments` (without the program's name) into ROS's part and the caller's.
    ///
    /// # Errors
    /// [`RosArgsError`] names the flag and what it expects.
    pub fn parse(arguments: &[String]) -> Result<(Self, Vec<String>), RosArgsError> {
        if arguments.len() > ARGUMENTS_MAX {
            return Err(RosArgsError::TooMany { count: arguments.len() });
        }
        let (mut args, mut rest) = (Self::default(), Vec::new());
        let mut in_section = false;
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--ros-args" => in_section = true,
                "--" if in_section => in_section = false,
                _ if !in_section => rest.push(argument.clone()),
                flag if SWITCHES.contains(&flag) => args.switch(flag),
                flag if OPTIONS.contains(&flag) => {
                    let expected = expected(flag);
                    let value =
                        arguments.next().filter(|value| *value != "--").ok_or_else(|| {
                            RosArgsError::MissingValue { flag: flag.to_owned(), expected }
                        })?;
                    args.option(flag, value)?;
                }
                flag => return Err(unknown(flag)),
            }
        }
        Ok((args, rest))
    }

    /// The node's names after remapping.
    ///
    /// # Errors
    /// [`NameError`] when a name or a rule is not valid.
    pub fn resolver(&self, name: &str, namespace: &str) -> Result<NameResolver, NameError> {
        let remapped = |rules: &[(Option<String>, String)], name: &str, default: &str| {
            rules
                .iter()
                .find(|(node, _)| node.as_deref().is_none_or(|node| node == name))
                .map_or_else(|| default.to_owned(), |(_, to)| to.clone())
        };
        // As in rcl, all rules after the one for the name see the new name.
        let node = remapped(&self.node_names, name, name);
        let namespace = remapped(&self.namespaces, &node, namespace);
        NameResolver::new(&node, &namespace, &self.remaps)
    }

    /// Values for the node of these names, in order, a later one wins; reads the files.
    ///
    /// rcl instead collects values by node pattern, so there `-p x:=1` can lose against a file that
    /// stands before it and names the node; and `node:` matches a node without a namespace only.
    /// Here the order on the command line and the node's bare name decide, which is what both mean
    /// to whoever types them.
    ///
    /// # Errors
    /// [`ParamFileError`] with file and line.
    pub fn overrides(
        &self,
        names: &NameResolver,
    ) -> Result<Vec<(String, ParamValue)>, ParamFileError> {
        let full_name = names.fully_qualified_name();
        let mut overrides = Vec::new();
        for source in &self.parameters {
            match source {
                ParamSource::File(path) => {
                    overrides.extend(ParamFile::read(path)?.overrides_for(&full_name).cloned());
                }
                ParamSource::Value { node, name, value } => {
                    if node.as_deref().is_none_or(|node| node == names.node()) {
                        overrides.push((name.clone(), value.clone()));
                    }
                }
            }
        }
        Ok(overrides)
    }

    fn switch(&mut self, flag: &str) {
        let on = flag.starts_with("--enable");
        if flag.ends_with("rosout-logs") {
            self.rosout = Some(on);
        } else if flag.ends_with("stdout-logs") {
            self.stdout = Some(on);
        }
    }

    fn option(&mut self, flag: &str, value: &str) -> Result<(), RosArgsError> {
        let malformed = || RosArgsError::Malformed {
            flag: flag.to_owned(),
            value: value.to_owned(),
            expected: expected(flag),
        };
        match flag {
            "-r" | "--remap" => self.remap(value).ok_or_else(malformed)?,
            "-p" | "--param" => {
                let (name, text) = value.split_once(":=").ok_or_else(malformed)?;
                let (node, name) = node_prefix(name).ok_or_else(malformed)?;
                if name.is_empty() {
                    return Err(malformed());
                }
                let value = parse_value(text)?;
                self.parameters.push(ParamSource::Value { node, name: name.to_owned(), value });
            }
            "--params-file" => self.parameters.push(ParamSource::File(PathBuf::from(value))),
            "--log-level" => match value.split_once(":=") {
                Some(("", _)) => return Err(malformed()),
                Some((logger, level)) => {
                    self.logger_levels.retain(|(known, _)| known != logger);
                    if let Some(level) = LogSeverity::parse(level).ok_or_else(malformed)? {
                        self.logger_levels.push((logger.to_owned(), level));
                    }
                }
                None => self.log_level = LogSeverity::parse(value).ok_or_else(malformed)?,
            },
            // Enclaves are for DDS security and the other two for log files; neither exists here.
            _ => {}
        }
        Ok(())
    }

    fn remap(&mut self, value: &str) -> Option<()> {
        let (from, to) = value.split_once(":=")?;
        let (node, from, kind) = match remap_scheme(from) {
            Some((from, kind)) => (None, from, kind),
            None => {
                let (node, from) = node_prefix(from)?;
                let (from, kind) = remap_scheme(from).unwrap_or((from, RemapKind::Any));
                (node, from, kind)
            }
        };
        if from.is_empty() || to.is_empty() {
            return None;
        }
        match from {
            "__node" | "__name" => self.node_names.push((node, to.to_owned())),
            "__ns" => self.namespaces.push((node, to.to_owned())),
            from => {
                let (from, to) = (from.to_owned(), to.to_owned());
                self.remaps.push(RemapRule { node, kind, from, to });
            }
        }
        Some(())
    }
}

/// Takes off `rostopic://` or `rosservice://`, which limit a rule to topics or to services.
fn remap_scheme(from: &str) -> Option<(&str, RemapKind)> {
    let topic = from.strip_prefix("rostopic://").map(|name| (name, RemapKind::Topic));
    topic.or_else(|| from.strip_prefix("rosservice://").map(|name| (name, RemapKind::Service)))
}

/// Splits `node:rest`; `None` when what stands before the colon cannot be a node, because such a
/// rule would never apply and nobody would hear of it.
fn node_prefix(text: &str) -> Option<(Option<String>, &str)> {
    match text.split_once(':') {
        Some((node, rest)) => check_node_name(node).is_ok().then(|| (Some(node.to_owned()), rest)),
        None => Some((None, text)),
    }
}

fn expected(flag: &str) -> &'static str {
    match flag {
        "-r" | "--remap" => "[node:]from:=to",
        "-p" | "--param" => "[node:]name:=value",
        "--params-file" => "the path of a YAML file",
        "--log-level" => "[logger:=]debug, info, warn, error, fatal or unset",
        _ => "a value",
    }
}

fn unknown(flag: &str) -> RosArgsError {
    let nearest = SWITCHES
        .iter()
        .chain(OPTIONS)
        .map(|known| (strsim::damerau_levenshtein(known, flag), *known))
        .filter(|(distance, known)| *distance <= known.len() / 3)
        .min()
        .map(|(_, known)| known);
    RosArgsError::Unknown { flag: flag.to_owned(), nearest }
}

#[cfg(test)]
mod tests;
