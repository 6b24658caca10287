//! Parameter values of a running node: declaration, validation, atomic sets.
//!
//! What rclcpp's node does with parameters, without a middleware: get, list, describe, set one by
//! one or as a group. A group is checked against a candidate copy of all values, rules across
//! parameters included, and swapped in once, so nobody ever sees half of it.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::ros::param_value::{ParamType, ParamValue};
use crate::words::{nearest_word, shortened};

/// Most parameters of one group.
pub const REQUEST_PARAMETERS_MAX: usize = 256;

/// What numbers a parameter takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Range {
    /// Integers, both ends included.
    Integer {
        /// Smallest.
        from: i64,
        /// Largest.
        to: i64,
    },
    /// Floats, both ends included.
    Double {
        /// Smallest.
        from: f64,
        /// Largest.
        to: f64,
    },
}

/// When a parameter may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Changes {
    /// At any time; the change works from the next text on.
    Live,
    /// While the node is unconfigured; it takes effect when the node is configured.
    Unconfigured,
    /// Only before the node starts.
    Never,
}

impl Changes {
    /// In words, for people.
    pub fn words(self) -> &'static str {
        match self {
            Self::Live => "may change",
            Self::Unconfigured => "fixed while configured",
            Self::Never => "fixed",
        }
    }
}

/// A parameter as its author declares it.
#[derive(Debug, Clone)]
pub struct Declaration {
    /// Dotted name.
    pub name: &'static str,
    /// Value until somebody sets another; also decides the type.
    pub default: ParamValue,
    /// What it is for.
    pub description: &'static str,
    /// What is allowed, in words.
    pub constraints: &'static str,
    /// When it may change.
    pub changes: Changes,
    /// What numbers are allowed.
    pub range: Option<Range>,
    /// Anything else that a value must satisfy; the error is a whole reason.
    pub check: fn(&ParamValue) -> Result<(), String>,
}

/// All values at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct ParamSnapshot(BTreeMap<&'static str, ParamValue>);

impl ParamSnapshot {
    /// The value of a declared parameter.
    pub fn get(&self, name: &str) -> Option<&ParamValue> {
        self.0.get(name)
    }

    /// A string parameter; empty for anything else.
    pub fn string(&self, name: &str) -> &str {
        match self.get(name) {
            Some(ParamValue::String(value)) => value,
            _ => "",
        }
    }

    /// A string array parameter; empty for anything else.
    pub fn strings(&self, name: &str) -> &[String] {
        match self.get(name) {
            Some(ParamValue::StringArray(values)) => values,
            _ => &[],
        }
    }

    /// A non-negative integer parameter; 0 for anything else.
    pub fn size(&self, name: &str) -> usize {
        match self.get(name) {
            Some(ParamValue::Integer(value)) => usize::try_from(*value).unwrap_or(0),
            _ => 0,
        }
    }

    /// A double parameter; 0 for anything else.
    pub fn double(&self, name: &str) -> f64 {
        match self.get(name) {
            Some(ParamValue::Double(value)) => *value,
            _ => 0.0,
        }
    }

    /// A bool parameter; false for anything else.
    pub fn bool(&self, name: &str) -> bool {
        matches!(self.get(name), Some(ParamValue::Bool(true)))
    }

    /// A string parameter as one of a type's words.
    ///
    /// # Errors
    /// The type's own error.
    pub fn parse<T: FromStr<Err: Display>>(&self, name: &str) -> Result<T, String> {
        self.string(name).parse().map_err(|error: T::Err| error.to_string())
    }
}

/// A change that was accepted.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// Which parameter.
    pub name: &'static str,
    /// Its new value.
    pub value: ParamValue,
}

/// What `list_parameters` answers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Listing {
    /// Matching names.
    pub names: Vec<String>,
    /// Groups they stand in.
    pub prefixes: Vec<String>,
}

/// A rule across parameters; the error is a whole reason.
pub type CrossCheck = fn(&ParamSnapshot) -> Result<(), String>;

/// The parameters of one node.
#[derive(Debug)]
pub struct ParameterStore {
    declarations: Vec<Declaration>,
    cross_check: CrossCheck,
    values: Mutex<ParamSnapshot>,
    configured: AtomicBool,
}

impl ParameterStore {
    /// Declares the parameters and applies what files and command line say, a later value winning.
    ///
    /// The second part of the result are remarks for the log: names that are not declared, with the
    /// nearest one that is.
    ///
    /// # Errors
    /// The reasons of all values that are refused.
    pub fn new(
        declarations: Vec<Declaration>,
        cross_check: CrossCheck,
        overrides: &[(String, ParamValue)],
    ) -> Result<(Self, Vec<String>), Vec<String>> {
        let values = declarations.iter().map(|d| (d.name, d.default.clone())).collect();
        let store = Self {
            declarations,
            cross_check,
            values: Mutex::new(ParamSnapshot(values)),
            configured: AtomicBool::new(false),
        };
        let (mut remarks, mut errors) = (Vec::new(), Vec::new());
        let mut candidate = store.snapshot();
        for (name, value) in last_of_each(overrides) {
            match store.declaration(name) {
                Err(unknown) => remarks.push(unknown),
                Ok(declaration) => match check(declaration, value.clone()) {
                    Ok(value) => drop(candidate.0.insert(declaration.name, value)),
                    Err(reason) => errors.push(reason),
                },
            }
        }
        if errors.is_empty()
            && let Err(reason) = cross_check(&candidate)
        {
            errors.push(reason);
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        *store.lock() = candidate;
        Ok((store, remarks))
    }

    /// All values.
    pub fn snapshot(&self) -> ParamSnapshot {
        self.lock().clone()
    }

    /// What was declared, in the author's order.
    pub fn declarations(&self) -> &[Declaration] {
        &self.declarations
    }

    /// The value of one parameter; [`ParamValue::NotSet`] when it is not declared.
    pub fn get(&self, name: &str) -> ParamValue {
        self.lock().get(name).cloned().unwrap_or_default()
    }

    /// What is known about one parameter.
    pub fn describe(&self, name: &str) -> Option<&Declaration> {
        self.declarations.iter().find(|declaration| declaration.name == name)
    }

    /// Names below `prefixes` (all when there are none), at most `depth` levels down (0 for any),
    /// as rclcpp's `list_parameters`.
    pub fn list(&self, prefixes: &[String], depth: u64) -> Listing {
        let shallow = |name: &str| depth == 0 || (name.matches('.').count() as u64) < depth;
        let matches = |name: &str| {
            prefixes.is_empty() && shallow(name)
                || prefixes.iter().any(|prefix| {
                    name == prefix
                        || name
                            .strip_prefix(prefix.as_str())
                            .and_then(|rest| rest.strip_prefix('.'))
                            .is_some_and(shallow)
                })
        };
        let mut listing = Listing::default();
        for name in self.lock().0.keys().filter(|name| matches(name)) {
            listing.names.push((*name).to_owned());
            if let Some((group, _)) = name.rsplit_once('.')
                && !listing.prefixes.iter().any(|prefix| prefix == group)
            {
                listing.prefixes.push(group.to_owned());
            }
        }
        listing
    }

    /// Sets one parameter.
    ///
    /// # Errors
    /// The reason, in words that name the value and what is allowed.
    pub fn set(&self, name: &str, value: ParamValue) -> Result<Change, String> {
        let mut changes = self.set_atomically(vec![(name.to_owned(), value)])?;
        changes.pop().ok_or_else(|| "nothing was set".to_owned())
    }

    /// Sets a group of parameters, all or none.
    ///
    /// # Errors
    /// The first reason; nothing has changed then.
    pub fn set_atomically(
        &self,
        parameters: Vec<(String, ParamValue)>,
    ) -> Result<Vec<Change>, String> {
        self.set_atomically_if(parameters, |_| Ok(()))
    }

    /// As [`Self::set_atomically`], if `agrees` has nothing against the values as they would be.
    ///
    /// # Errors
    /// The first reason, that of `agrees` included; nothing has changed then.
    pub fn set_atomically_if(
        &self,
        parameters: Vec<(String, ParamValue)>,
        agrees: impl FnOnce(&ParamSnapshot) -> Result<(), String>,
    ) -> Result<Vec<Change>, String> {
        let count = parameters.len();
        if count > REQUEST_PARAMETERS_MAX {
            return Err(format!("{count} parameters given, the limit is {REQUEST_PARAMETERS_MAX}"));
        }
        let mut values = self.lock();
        let mut candidate = values.clone();
        let mut changes = Vec::with_capacity(count);
        for (name, value) in parameters {
            let declaration = self.declaration(&name)?;
            // A dump that is loaded again holds the fixed ones as they are.
            if values.get(declaration.name) != Some(&value) {
                self.check_time(declaration)?;
            }
            let value = check(declaration, value)?;
            candidate.0.insert(declaration.name, value.clone());
            changes.push(Change { name: declaration.name, value });
        }
        (self.cross_check)(&candidate)?;
        agrees(&candidate)?;
        *values = candidate;
        Ok(changes)
    }

    /// Fixes what is fixed while configured, or lets it loose.
    pub fn set_configured(&self, configured: bool) {
        self.configured.store(configured, Ordering::Release);
    }

    /// Whether a parameter may change now.
    fn check_time(&self, declaration: &Declaration) -> Result<(), String> {
        let name = declaration.name;
        match declaration.changes {
            Changes::Live => Ok(()),
            Changes::Unconfigured if !self.configured.load(Ordering::Acquire) => Ok(()),
            Changes::Unconfigured => Err(format!(
                "parameter '{name}' is fixed while the node is configured; `ros2 lifecycle set` it \
                 to cleanup first, or start it with --ros-args -p {name}:=VALUE"
            )),
            Changes::Never => Err(format!(
                "parameter '{name}' is fixed while the node runs; start it with --ros-args -p \
                 {name}:=VALUE"
            )),
        }
    }

    fn declaration(&self, name: &str) -> Result<&Declaration, String> {
        self.describe(name).ok_or_else(|| {
            let hint = self
                .nearest_name(name)
                .map_or_else(String::new, |near| format!("; did you mean '{near}'?"));
            format!("parameter '{}' is not declared{hint}", shortened(name))
        })
    }

    /// The declared name that was probably meant: one whose group is missing, or a similar one.
    fn nearest_name(&self, given: &str) -> Option<&'static str> {
        let names = || self.declarations.iter().map(|declaration| declaration.name);
        let mut ungrouped =
            names().filter(|name| name.rsplit_once('.').is_some_and(|(_, last)| last == given));
        match (ungrouped.next(), ungrouped.next()) {
            (Some(name), None) => Some(name),
            _ => nearest_word(given, names()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, ParamSnapshot> {
        // A snapshot is replaced whole, so it is sound whoever panicked.
        self.values.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The overrides without those that a later one replaces, in their order. A wrong value in a file
/// can so be mended on the command line, as with rcl.
fn last_of_each(overrides: &[(String, ParamValue)]) -> impl Iterator<Item = (&str, &ParamValue)> {
    let last: BTreeMap<&str, usize> =
        overrides.iter().enumerate().map(|(index, (name, _))| (name.as_str(), index)).collect();
    overrides
        .iter()
        .enumerate()
        .filter(move |(index, (name, _))| last.get(name.as_str()) == Some(index))
        .map(|(_, (name, value))| (name.as_str(), value))
}

/// The value as it is stored, if it is allowed.
fn check(declaration: &Declaration, value: ParamValue) -> Result<ParamValue, String> {
    let value = typed(declaration, value)?;
    let name = declaration.name;
    match (declaration.range, &value) {
        (Some(Range::Integer { from, to }), ParamValue::Integer(given))
            if !(from..=to).contains(given) =>
        {
            return Err(format!("{name} is {given}; allowed: {from} to {to}"));
        }
        (Some(Range::Double { from, to }), ParamValue::Double(given))
            if !(from..=to).contains(given) =>
        {
            return Err(format!("{name} is {given}; allowed: {from} to {to}"));
        }
        _ => {}
    }
    (declaration.check)(&value)?;
    Ok(value)
}

/// The value, if it has the declared type. An empty array has every array type: `ros2 param set`
/// sends `[]` as a bool array, and without this no list could be emptied with it.
fn typed(declaration: &Declaration, value: ParamValue) -> Result<ParamValue, String> {
    let Declaration { name, default, .. } = declaration;
    let (declared, given) = (default.kind(), value.kind());
    if given == declared {
        return Ok(value);
    }
    if value.is_empty_array()
        && let Some(empty) = ParamValue::empty_array(declared)
    {
        return Ok(empty);
    }
    let hint = match (declared, &value) {
        (_, ParamValue::NotSet) => "; a declared parameter always has a value".to_owned(),
        (ParamType::Double, ParamValue::Integer(given)) => format!("; write {given}.0"),
        // YAML as ROS reads it: `no`, the code of a language, is a bool.
        (
            ParamType::String | ParamType::StringArray,
            ParamValue::Bool(_) | ParamValue::Double(_),
        )
        | (ParamType::StringArray, ParamValue::BoolArray(_) | ParamValue::DoubleArray(_)) => {
            "; quote it in YAML, for example 'no'".to_owned()
        }
        (ParamType::StringArray, ParamValue::String(given)) => {
            format!("; write ['{}']", shortened(given))
        }
        _ => String::new(),
    };
    let article = if declared.to_string().starts_with('i') { "an" } else { "a" };
    Err(format!("parameter '{name}' is {article} {declared}, got {given}{hint}"))
}
