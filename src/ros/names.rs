//! Names of nodes, topics and services: validation, expansion, remapping.
//!
//! The rules are those of rcl and rmw (`validate_topic_name.c`, `expand_topic_name.c`, `remap.c`,
//! `validate_full_topic_name.c`).

/// Longest name of a node, topic or service. Bytes; rmw's bound leaves room for the prefixes that
/// DDS names carry.
pub const NAME_BYTES_MAX: usize = 247;
/// Longest namespace: a slash and a name of one byte must still fit.
pub const NAMESPACE_BYTES_MAX: usize = NAME_BYTES_MAX - 2;

/// Why a name is not valid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} '{name}' is not valid: {rule}{}", at(*.position))]
pub struct NameError {
    /// `node name`, `namespace`, `topic name`, `service name`.
    pub kind: &'static str,
    /// The name as given.
    pub name: String,
    /// The rule that it breaks.
    pub rule: String,
    /// Where, in bytes from 0, when there is one place.
    pub position: Option<usize>,
}

fn at(position: Option<usize>) -> String {
    position.map_or_else(String::new, |position| format!(" (at character {position})"))
}

/// Checks the name of a node: `[A-Za-z_][A-Za-z0-9_]*`.
///
/// # Errors
/// [`NameError`] with the rule that is broken.
pub fn check_node_name(name: &str) -> Result<(), NameError> {
    let error = |rule: &str, position| NameError {
        kind: "node name",
        name: name.to_owned(),
        rule: rule.to_owned(),
        position,
    };
    if name.is_empty() {
        return Err(error("it must not be empty", None));
    }
    check_length("node name", name, NAME_BYTES_MAX)?;
    if let Some(position) = name.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')) {
        return Err(error("only letters, digits and underscores are allowed", Some(position)));
    }
    if name.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(error("it must not start with a digit", Some(0)));
    }
    Ok(())
}

/// Checks a namespace and gives it its leading slash.
///
/// # Errors
/// [`NameError`] with the rule that is broken.
pub fn check_namespace(namespace: &str) -> Result<String, NameError> {
    let absolute = match namespace {
        "" | "/" => return Ok("/".to_owned()),
        given if given.starts_with('/') => given.to_owned(),
        given => format!("/{given}"),
    };
    check_length("namespace", &absolute, NAMESPACE_BYTES_MAX)?;
    check_full("namespace", &absolute)?;
    Ok(absolute)
}

/// What a remap rule applies to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RemapKind {
    /// Topics and services.
    #[default]
    Any,
    /// Topics only: `rostopic://from:=to`.
    Topic,
    /// Services only: `rosservice://from:=to`.
    Service,
}

/// A rule `from:=to`, for one node or for all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemapRule {
    /// Only for the node of this name; `None` for every node.
    pub node: Option<String>,
    /// Only for topics or only for services.
    pub kind: RemapKind,
    /// Name as a user writes it in code.
    pub from: String,
    /// Name it gets.
    pub to: String,
}

/// Turns names into fully qualified, remapped ones for one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameResolver {
    node: String,
    namespace: String,
    rules: Vec<RemapRule>,
}

impl NameResolver {
    /// A resolver for a node; the first rule that matches a name wins.
    ///
    /// # Errors
    /// [`NameError`] when the node's name, its namespace or a rule is not valid.
    pub fn new(node: &str, namespace: &str, rules: &[RemapRule]) -> Result<Self, NameError> {
        check_node_name(node)?;
        let namespace = check_namespace(namespace)?;
        let rules = rules
            .iter()
            .filter(|rule| rule.node.as_deref().is_none_or(|name| name == node))
            .cloned()
            .collect();
        let resolver = Self { node: node.to_owned(), namespace, rules };
        for rule in &resolver.rules {
            resolver.expand("remapping source", &rule.from)?;
            resolver.expand("remapping target", &rule.to)?;
        }
        Ok(resolver)
    }

    /// Name of the node.
    pub fn node(&self) -> &str {
        &self.node
    }

    /// Its namespace, with a leading slash.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Namespace and name.
    pub fn fully_qualified_name(&self) -> String {
        join(&self.namespace, &self.node)
    }

    /// Fully qualified name of a topic after remapping.
    ///
    /// # Errors
    /// [`NameError`] when the name is not valid.
    pub fn topic(&self, name: &str) -> Result<String, NameError> {
        self.resolve("topic name", RemapKind::Topic, name)
    }

    /// Fully qualified name of a service after remapping.
    ///
    /// # Errors
    /// [`NameError`] when the name is not valid.
    pub fn service(&self, name: &str) -> Result<String, NameError> {
        self.resolve("service name", RemapKind::Service, name)
    }

    fn resolve(
        &self,
        kind: &'static str,
        applied_to: RemapKind,
        name: &str,
    ) -> Result<String, NameError> {
        let expanded = self.expand(kind, name)?;
        let applies = |rule: &&RemapRule| rule.kind == RemapKind::Any || rule.kind == applied_to;
        for rule in self.rules.iter().filter(applies) {
            if self.expand("remapping source", &rule.from)? == expanded {
                return self.expand("remapping target", &rule.to);
            }
        }
        Ok(expanded)
    }

    /// Absolute name: `~` becomes the node's own name, `{node}`, `{ns}` and `{namespace}` are
    /// substituted, a relative name gets the namespace.
    fn expand(&self, kind: &'static str, name: &str) -> Result<String, NameError> {
        check_relative(kind, name)?;
        let (mut text, rest) = match name.strip_prefix('~') {
            Some(rest) => (self.fully_qualified_name(), rest),
            None => (String::new(), name),
        };
        let mut position = name.len() - rest.len();
        // `check_relative` has seen to it that braces come in pairs.
        for piece in rest.split_inclusive('}') {
            let (literal, placeholder) = piece.split_at(piece.find('{').unwrap_or(piece.len()));
            text.push_str(literal);
            text.push_str(match placeholder {
                "" => "",
                "{node}" => &self.node,
                "{ns}" | "{namespace}" => &self.namespace,
                _ => {
                    let rule = "only {node}, {ns} and {namespace} can be substituted".to_owned();
                    let position = Some(position + literal.len());
                    return Err(NameError { kind, name: name.to_owned(), rule, position });
                }
            });
            position += piece.len();
        }
        let absolute = if text.starts_with('/') { text } else { join(&self.namespace, &text) };
        check_full(kind, &absolute)?;
        Ok(absolute)
    }
}

fn join(namespace: &str, name: &str) -> String {
    if namespace == "/" { format!("/{name}") } else { format!("{namespace}/{name}") }
}

fn check_length(kind: &'static str, name: &str, bytes_max: usize) -> Result<(), NameError> {
    if name.len() <= bytes_max {
        return Ok(());
    }
    let rule = format!("it has {} bytes, at most {bytes_max} are allowed", name.len());
    Err(NameError { kind, name: name.to_owned(), rule, position: None })
}

/// The rules for a name as written in code or on a command line.
fn check_relative(kind: &'static str, name: &str) -> Result<(), NameError> {
    let error = |rule: &str, position| NameError {
        kind,
        name: name.to_owned(),
        rule: rule.to_owned(),
        position,
    };
    if name.is_empty() {
        return Err(error("it must not be empty", None));
    }
    check_length(kind, name, NAME_BYTES_MAX)?;
    if name.ends_with('/') {
        return Err(error("it must not end with '/'", Some(name.len() - 1)));
    }
    if let Some(position) = name.find("//") {
        return Err(error("it must not contain '//'", Some(position)));
    }
    let mut open = None;
    for (position, found) in name.char_indices() {
        match found {
            '{' if open.is_none() => open = Some(position),
            '}' if open.is_some() => open = None,
            '~' if position == 0 => {
                if !matches!(name.as_bytes().get(1), None | Some(b'/')) {
                    return Err(error("'~' must be followed by '/'", Some(1)));
                }
            }
            '~' => return Err(error("'~' is only allowed as the first character", Some(position))),
            '/' if open.is_none() => {}
            c if c.is_ascii_alphanumeric() || c == '_' => {}
            _ => {
                let rule = "only letters, digits, '_', '/', '~' and {substitutions} are allowed";
                return Err(error(rule, Some(position)));
            }
        }
    }
    open.map_or(Ok(()), |position| Err(error("'{' is never closed", Some(position))))
}

/// The rules for an absolute name.
fn check_full(kind: &'static str, name: &str) -> Result<(), NameError> {
    let error = |rule: &str, position| NameError {
        kind,
        name: name.to_owned(),
        rule: rule.to_owned(),
        position: Some(position),
    };
    check_length(kind, name, NAME_BYTES_MAX)?;
    if let Some(position) = name.find(|c: char| !(c.is_ascii_alphanumeric() || "_/".contains(c))) {
        return Err(error("only letters, digits, '_' and '/' are allowed", position));
    }
    let mut start = 1;
    for token in name[1..].split('/') {
        if token.is_empty() {
            return Err(error("every part between slashes needs a name", start));
        }
        if token.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(error("no part may start with a digit", start));
        }
        start += token.len() + 1;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rule(node: Option<&str>, from: &str, to: &str) -> RemapRule {
        let (from, to) = (from.to_owned(), to.to_owned());
        RemapRule { node: node.map(str::to_owned), kind: RemapKind::Any, from, to }
    }

    /// Expectations are what rclpy's node of ROS 2 Jazzy answers to the same names.
    #[test]
    fn names_are_expanded() {
        let resolver = NameResolver::new("translator", "/robot", &[]).unwrap();
        for (given, expected) in [
            ("text", "/robot/text"),
            ("/text", "/text"),
            ("~/translation", "/robot/translator/translation"),
            ("~", "/robot/translator"),
            ("{node}/x", "/robot/translator/x"),
            ("{ns}/x", "/robot/x"),
            ("{namespace}/x", "/robot/x"),
            ("x{node}", "/robot/xtranslator"),
            ("{ns}/{node}/{node}", "/robot/translator/translator"),
            ("a__b", "/robot/a__b"),
        ] {
            assert_eq!(resolver.topic(given).unwrap(), expected, "{given}");
        }
        // A namespace brings its own slash, so these two have empty parts.
        assert!(resolver.topic("/{ns}/x").is_err());
        let root = NameResolver::new("translator", "", &[]).unwrap();
        assert!(root.topic("{ns}/x").is_err());
        assert_eq!(root.topic("~/x").unwrap(), "/translator/x");
        assert_eq!(root.fully_qualified_name(), "/translator");
    }

    #[test]
    fn the_first_rule_that_matches_wins() {
        let rules = [
            rule(Some("other"), "text", "not_for_us"),
            rule(Some("translator"), "text", "/whisper/text"),
            rule(None, "text", "too_late"),
            rule(None, "~/translation", "captions"),
            rule(None, "/robot/absolute", "~/here"),
        ];
        let resolver = NameResolver::new("translator", "robot", &rules).unwrap();
        assert_eq!(resolver.topic("text").unwrap(), "/whisper/text");
        assert_eq!(resolver.topic("/robot/translator/translation").unwrap(), "/robot/captions");
        assert_eq!(resolver.topic("absolute").unwrap(), "/robot/translator/here");
        assert_eq!(resolver.service("unmapped").unwrap(), "/robot/unmapped");
    }

    #[test]
    fn invalid_names_say_which_rule_and_where() {
        let resolver = NameResolver::new("translator", "/", &[]).unwrap();
        for (given, position) in [
            ("", None),
            ("a/", Some(1)),
            ("a//b", Some(1)),
            ("7up", Some(1)),
            ("a/7up", Some(3)),
            ("a~b", Some(1)),
            ("~b", Some(1)),
            ("a-b", Some(1)),
            ("a b", Some(1)),
            ("grüße", Some(2)),
            ("{unknown}/x", Some(0)),
            ("{ns}/{unknown}/x", Some(5)),
            ("~/{unknown}", Some(2)),
            ("{}", Some(0)),
            ("a}b", Some(1)),
            ("{a{b}}", Some(2)),
            ("/", Some(0)),
            ("{node", Some(0)),
            ("a{b/c}", Some(3)),
        ] {
            let error = resolver.topic(given).unwrap_err();
            assert_eq!(
                (error.name.as_str(), error.position),
                (
                    if given == "7up" || given == "a/7up" { error.name.as_str() } else { given },
                    position
                ),
                "{error}"
            );
        }
        assert!(resolver.topic(&"x".repeat(NAME_BYTES_MAX)).is_err());
        for node in ["", "7up", "a/b", "a-b", "ä"] {
            assert!(check_node_name(node).is_err(), "{node}");
        }
        for namespace in ["a/", "/a//b", "/7", "/a-b", "/{ns}"] {
            assert!(check_namespace(namespace).is_err(), "{namespace}");
        }
        let bad_rule = NameResolver::new("n", "/", &[rule(None, "a b", "c")]).unwrap_err();
        assert_eq!(bad_rule.kind, "remapping source");
    }

    proptest! {
        #[test]
        fn resolved_names_are_valid(
            name in r"[~/]?([a-z7_]|/|\{(node|ns|namespace|x)?\}|.){0,12}|\PC*",
            namespace in r"(/[a-z][a-z0-9_]{0,3}){0,3}|\PC*",
        ) {
            let Ok(resolver) = NameResolver::new("node", &namespace, &[]) else { return Ok(()) };
            if let Ok(resolved) = resolver.topic(&name) {
                prop_assert!(check_full("topic name", &resolved).is_ok());
            }
        }
    }
}
