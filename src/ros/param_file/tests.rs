//! What rcl's parser makes of the same text; the expectations follow its `get_value`.

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
        ("'5'", string("5")),
        ("-0x10", ParamValue::Integer(-16)),
        ("010", ParamValue::Integer(8)),
        ("09", ParamValue::Double(9.0)),
        ("9223372036854775807", ParamValue::Integer(i64::MAX)),
        ("9223372036854775808", ParamValue::Double(9_223_372_036_854_775_808.0)),
        ("-9223372036854775808", ParamValue::Integer(i64::MIN)),
        ("1.5", ParamValue::Double(1.5)),
        ("1e3", ParamValue::Double(1000.0)),
        (".5", ParamValue::Double(0.5)),
        ("-.inf", ParamValue::Double(f64::NEG_INFINITY)),
        ("1.5.2", string("1.5.2")),
        ("--5", string("--5")),
        ("hello world", string("hello world")),
        ("!!str 5", string("5")),
        ("", string("")),
        ("[de, zh]", ParamValue::StringArray(vec!["de".into(), "zh".into()])),
        ("[1, 2]", ParamValue::IntegerArray(vec![1, 2])),
        ("[1.0, 2.5]", ParamValue::DoubleArray(vec![1.0, 2.5])),
        ("[true, no]", ParamValue::BoolArray(vec![true, false])),
        ("[]", ParamValue::StringArray(vec![])),
    ] {
        assert_eq!(parse_value(text).unwrap(), expected, "{text}");
    }
    assert!(matches!(parse_value(".nan").unwrap(), ParamValue::Double(value) if value.is_nan()));
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
        ("a:\n  ros__parameters:\n    x:\n", 3, "has no value"),
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
    fn integers_survive(value in any::<i64>()) {
        prop_assert_eq!(parse_value(&value.to_string()).unwrap(), ParamValue::Integer(value));
    }
}
