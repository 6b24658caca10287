//! The expectations on values and on node names are what rclpy of ROS 2 Jazzy (rcl 9.2) answered to
//! the same text, except where a comment says that we differ.

use proptest::prelude::*;

use super::*;

fn string(text: &str) -> ParamValue {
    ParamValue::String(text.to_owned())
}

#[test]
fn scalars_are_typed_as_rcl_types_them() {
    for (text, expected) in [
        ("yes", ParamValue::Bool(true)),
        ("Off", ParamValue::Bool(false)),
        ("y", ParamValue::Bool(true)),
        ("tRUE", string("tRUE")),
        ("\"yes\"", string("yes")),
        ("5", ParamValue::Integer(5)),
        ("+5", ParamValue::Integer(5)),
        ("  5", ParamValue::Integer(5)),
        ("--- 5", ParamValue::Integer(5)),
        ("&a 5", ParamValue::Integer(5)),
        ("\u{feff}5", ParamValue::Integer(5)),
        ("|-\n  5", ParamValue::Integer(5)),
        ("|\n  5\n", string("5\n")),
        ("'5'", string("5")),
        ("-0x10", ParamValue::Integer(-16)),
        ("0x", string("0x")),
        ("010", ParamValue::Integer(8)),
        ("09", ParamValue::Double(9.0)),
        ("0b11", string("0b11")),
        ("0o17", string("0o17")),
        ("1_000", string("1_000")),
        ("9223372036854775807", ParamValue::Integer(i64::MAX)),
        ("9223372036854775808", ParamValue::Double(9_223_372_036_854_775_808.0)),
        ("-9223372036854775808", ParamValue::Integer(i64::MIN)),
        ("-9223372036854775809", ParamValue::Double(-9_223_372_036_854_775_808.0)),
        ("1.5", ParamValue::Double(1.5)),
        ("1.", ParamValue::Double(1.0)),
        ("1e3", ParamValue::Double(1000.0)),
        (".5", ParamValue::Double(0.5)),
        ("+.5", ParamValue::Double(0.5)),
        ("0e9", ParamValue::Double(0.0)),
        ("1e400", string("1e400")),
        ("1e-400", string("1e-400")),
        ("1e-310", string("1e-310")),
        ("-.inf", ParamValue::Double(f64::NEG_INFINITY)),
        ("+.inf", ParamValue::Double(f64::INFINITY)),
        (".Inf", ParamValue::Double(f64::INFINITY)),
        ("Inf", ParamValue::Double(f64::INFINITY)),
        ("-inf", ParamValue::Double(f64::NEG_INFINITY)),
        ("Infinity", ParamValue::Double(f64::INFINITY)),
        ("+.nan", string("+.nan")),
        ("-.nan", string("-.nan")),
        ("1.5.2", string("1.5.2")),
        ("1:30", string("1:30")),
        ("2026-11-24", string("2026-11-24")),
        ("a:b", string("a:b")),
        ("<<", string("<<")),
        ("--5", string("--5")),
        ("hello world", string("hello world")),
        ("hello # comment", string("hello")),
        ("''", string("")),
        ("'~'", string("~")),
        ("!!str 5", string("5")),
        ("!<tag:yaml.org,2002:str> 5", string("5")),
        ("!str 5", ParamValue::Integer(5)),
        ("!!float 5", ParamValue::Integer(5)),
        ("!!bool 'yes'", string("yes")),
        ("[de, zh]", ParamValue::StringArray(vec!["de".into(), "zh".into()])),
        ("[a, ]", ParamValue::StringArray(vec!["a".into()])),
        ("[1, 2]", ParamValue::IntegerArray(vec![1, 2])),
        ("[1.0, 2.5]", ParamValue::DoubleArray(vec![1.0, 2.5])),
        ("[true, no]", ParamValue::BoolArray(vec![true, false])),
        // rcl gives this no type, and rclpy and rclcpp then refuse the parameter.
        ("[]", ParamValue::StringArray(vec![])),
        // Hexadecimal floats, which strtod takes: 1.8446744073709552e19 and 3.0 in rcl.
        ("0xFFFFFFFFFFFFFFFF", string("0xFFFFFFFFFFFFFFFF")),
        ("0x1.8p1", string("0x1.8p1")),
    ] {
        assert_eq!(parse_value(text).unwrap(), expected, "{text}");
    }
    for text in [".nan", "nan", "NaN", "-nan"] {
        let value = parse_value(text).unwrap();
        assert!(matches!(value, ParamValue::Double(value) if value.is_nan()), "{text}");
    }
}

#[test]
fn values_that_are_none_are_refused() {
    for (text, part) in [
        ("", "write '' for an empty string"),
        ("!!bool", "write '' for an empty string"),
        // rcl reads these as the strings `~` and `null`.
        ("~", "write '' for an empty string"),
        ("null", "write '' for an empty string"),
        ("[a, ~]", "write '' for an empty string"),
        // rcl takes only the last document, and flattens or drops nested arrays.
        ("5\n--- 6", "only one YAML document"),
        ("[[1]]", "only scalars"),
        ("[1, 2.0]", "one type"),
        ("[en, no]", "string and bool"),
        ("[1,,2]", "not valid YAML"),
        ("{a: 1}", "cannot be a map"),
        ("a: b", "cannot be a map"),
        ("*a", ""),
    ] {
        let error = parse_value(text).unwrap_err().to_string();
        assert!(error.contains(part), "{text}: {error}");
    }
}

#[test]
fn sections_apply_to_the_nodes_that_rcl_gives_them_to() {
    for (pattern, applies) in [
        ("translator", false),
        ("/translator", false),
        ("/robot/translator", true),
        ("robot/translator", true),
        ("/**", true),
        ("/*", false),
        ("/*/translator", true),
        ("/**/translator", true),
        ("/robot/*", true),
        ("/robot/**", true),
        ("/**/**", true),
        ("/robot/translator/**", true),
        ("/robot/translator/*", false),
        ("/*/*/*", false),
        ("/**/robot", false),
        ("/**/robot/**", true),
        ("/other/**", false),
    ] {
        let file = ParamFile::parse(&format!("{pattern}: {{ros__parameters: {{x: 1}}}}"), "x");
        let count = file.unwrap().overrides_for("/robot/translator").count();
        assert_eq!(count == 1, applies, "{pattern}");
    }
    for text in [
        "/robot: {translator: {ros__parameters: {x: 1}}}",
        "robot: {/translator: {ros__parameters: {x: 1}}}",
    ] {
        let file = ParamFile::parse(text, "x").unwrap();
        assert_eq!(file.overrides_for("/robot/translator").count(), 1, "{text}");
    }
    let root = ParamFile::parse("/: {translator: {ros__parameters: {a.b: 1, a: {c: 2}}}}", "x");
    let root = root.unwrap();
    let names: Vec<_> = root.overrides_for("/translator").map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["a.b", "a.c"]);
}

#[test]
fn many_wildcards_are_matched_in_little_time() {
    let pattern = "/**".repeat(NAME_BYTES_MAX / 3);
    let node = "/a".repeat(120);
    assert!(matches_node(&pattern, &node));
    assert!(!matches_node(&format!("{pattern}/b"), &node));
}

#[test]
fn groups_become_dotted_names_and_wildcards_apply_in_order() {
    let text = "
/**:
  ros__parameters:
    source_locale: en
    limits: {queue: 8, max_input_chars: 100}
/robot:
  translator:
    ros__parameters:
      source_locale: de
/*/other:
  ros__parameters: {source_locale: fr}
/**/translator:
  ros__parameters: {engine: cpu}
translator:
  ros__parameters: {engine: scripted}
";
    let file = ParamFile::parse(text, "test.yaml").unwrap();
    let names = |node| -> Vec<_> {
        file.overrides_for(node).map(|(name, value)| format!("{name}={value}")).collect()
    };
    assert_eq!(
        names("/robot/translator"),
        [
            "source_locale=\"en\"",
            "limits.queue=8",
            "limits.max_input_chars=100",
            "source_locale=\"de\"",
            "engine=\"cpu\"",
        ]
    );
    assert_eq!(names("/a/other").last().unwrap(), "source_locale=\"fr\"");
    assert_eq!(names("/translator").last().unwrap(), "engine=\"scripted\"");
    assert_eq!(names("/a/b/c").len(), 3);
}

#[test]
fn refusals_name_file_line_and_remedy() {
    for (text, line, part) in [
        ("a:\n  ros__parameters:\n    x: [1, b]\n", 3, "integer and string"),
        ("a:\n  ros__parameters:\n    x:\n", 3, "there is no value"),
        ("a:\n  ros__parameters:\n    x:\n\n\n    y: 1\n", 3, "there is no value"),
        ("a:\n  ros__parameters:\n    x: 1\n    y: null\n", 4, "there is no value"),
        ("a:\n  ros__parameters:\n", 2, "must hold parameter names"),
        ("a:\n", 1, "'a' must hold 'ros__parameters:'"),
        ("ros__parameters: {x: 1}\n", 1, "write '/**:' above it"),
        ("/rob*/a:\n  ros__parameters: {x: 1}\n", 1, "'rob*' in the node name"),
        ("a:\n  b-c:\n    ros__parameters: {x: 1}\n", 2, "'b-c' in the node name"),
        ("a:\n  ros__parameters: 5\n", 2, "must hold parameter names"),
        ("a:\n  x: 5\n", 2, "'ros__parameters:'"),
        ("- a\n- b\n", 1, "map of node names"),
        ("a: &x\n  ros__parameters: {y: 1}\nb: *x\n", 3, "aliases are not supported"),
        ("a:\n  ros__parameters:\n    x: [[1]]\n", 3, "only scalars"),
        ("a: {ros__parameters: {x: 'never closed", 1, "not valid YAML"),
    ] {
        let error = ParamFile::parse(text, "test.yaml").unwrap_err().to_string();
        assert!(error.starts_with(&format!("test.yaml line {line}: ")), "{error}");
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn bounds_hold() {
    let deep = format!("{}1{}", "[".repeat(DEPTH_MAX + 1), "]".repeat(DEPTH_MAX + 1));
    assert!(parse_value(&deep).unwrap_err().to_string().contains("nested deeper"));
    let long = format!("[{}]", "1,".repeat(VALUES_MAX));
    assert!(parse_value(&long).unwrap_err().to_string().contains("more than"));
}

#[test]
fn long_names_do_not_make_a_small_file_large() {
    let long = "a".repeat(NAME_BYTES_MAX);
    for text in [
        format!("a:\n  ros__parameters:\n    ? {long}\n    : {{b: 1}}\n"),
        format!("? {long}\n: {{ros__parameters: {{x: 1}}}}\n"),
    ] {
        let error = ParamFile::parse(&text, "x").unwrap_err().to_string();
        assert!(error.contains("a name has"), "{error}");
    }
}

#[test]
fn a_file_is_read_to_its_bound_only() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("large.yaml");
    let text = "/**: {ros__parameters: {x: 1}}\n";
    let padding = "#".repeat(usize::try_from(FILE_BYTES_MAX).unwrap() - text.len());
    std::fs::write(&path, format!("{text}{padding}")).unwrap();
    assert_eq!(ParamFile::read(&path).unwrap().overrides_for("/a").count(), 1);
    std::fs::write(&path, format!("{text}{padding}#")).unwrap();
    assert!(matches!(ParamFile::read(&path), Err(ParamFileError::TooLarge { .. })));
    // It has no size and no end.
    assert!(matches!(
        ParamFile::read(Path::new("/dev/zero")),
        Err(ParamFileError::TooLarge { .. })
    ));
}

#[test]
fn an_empty_file_has_no_parameters() {
    for text in ["", "# only a comment\n", "---\n"] {
        assert_eq!(ParamFile::parse(text, "x").unwrap(), ParamFile::default(), "{text:?}");
    }
}

proptest! {
    #[test]
    fn any_text_is_parsed_or_refused(text in any::<String>()) {
        let _ = ParamFile::parse(&text, "x");
        let _ = parse_value(&text);
    }

    #[test]
    fn what_looks_like_yaml_is_parsed_or_refused(
        text in r"(/\*\*: ?|ros__parameters: ?|[a-z]: ?|\n( {0,6})|[\[\]{},&*!|>'\x22~-]|\? |- |[0-9.]{1,3}|yes){0,40}"
    ) {
        if let Ok(file) = ParamFile::parse(&text, "x") {
            prop_assert!(file.overrides_for("/a/b").count() <= VALUES_MAX);
        }
        let _ = parse_value(&text);
    }

    #[test]
    fn integers_survive(value in any::<i64>()) {
        prop_assert_eq!(parse_value(&value.to_string()).unwrap(), ParamValue::Integer(value));
    }
}
