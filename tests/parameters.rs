//! The parameter table and everything that is made from it, and how values are refused.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::fs;
use std::path::Path;

use hymt_ros::config::NodeConfig;
use hymt_ros::parameters::{declare, help, reference_page, table, yaml};
use hymt_ros::ros::param_file::ParamFile;
use hymt_ros::ros::param_store::{Listing, ParameterStore};
use hymt_ros::ros::param_value::ParamValue;
use proptest::prelude::*;

fn store() -> ParameterStore {
    declare(&[]).unwrap().0
}

fn text(value: &str) -> ParamValue {
    ParamValue::String(value.to_owned())
}

fn list(values: &[&str]) -> ParamValue {
    ParamValue::StringArray(values.iter().map(|value| (*value).to_owned()).collect())
}

/// Compares a generated file with the tree; `HYMT_UPDATE=1` writes it instead.
fn check_generated(file: &str, expected: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    if std::env::var_os("HYMT_UPDATE").is_some() {
        fs::write(&path, expected).unwrap();
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(found, expected, "{file} is stale; run `just update`");
}

#[test]
fn generated_files_are_fresh() {
    check_generated("config/translator.yaml", &yaml());
    check_generated("docs/parameters.md", &reference_page());
}

#[test]
fn the_yaml_file_holds_exactly_the_defaults() {
    let file = ParamFile::parse(&yaml(), "config/translator.yaml").unwrap();
    let found: Vec<_> = file.overrides_for("/translator").cloned().collect();
    let expected: Vec<_> = table().into_iter().map(|d| (d.name.to_owned(), d.default)).collect();
    assert_eq!(found, expected);
}

#[test]
fn every_parameter_is_described_and_its_default_is_allowed() {
    for declaration in table() {
        let name = declaration.name;
        assert!(declaration.description.ends_with('.'), "{name}: a description is a sentence");
        assert!(!declaration.constraints.is_empty(), "{name}");
        assert!(help().contains(name), "{name} is missing from --help");
        (declaration.check)(&declaration.default).unwrap();
    }
    NodeConfig::from_parameters(&store().snapshot()).unwrap();
}

#[test]
fn refusals_name_the_value_and_the_way_out() {
    let store = store();
    for (name, value, part) in [
        ("source_locale", text("fra"), None),
        (
            "source_locale",
            text("frr"),
            Some("source_locale 'frr' is not supported; did you mean 'fr'?"),
        ),
        ("source_locale", text("cn"), Some("country code")),
        ("target_locales", list(&["fr", "fr"]), Some("target_locales[1] 'fr' given twice")),
        ("target_locales", list(&["de", "xx"]), Some("target_locales[1] 'xx' is not supported")),
        ("target_locales", list(&[]), Some("target_locales: no target language given")),
        ("target_locale", list(&["fr"]), Some("did you mean 'target_locales'?")),
        ("target_locales", text("fr"), Some("is a string_array, got string; write ['fr']")),
        ("target_locales", ParamValue::NotSet, Some("got not set")),
        (
            "detect.min_confidence",
            ParamValue::Integer(1),
            Some("is a double, got integer; write 1.0"),
        ),
        ("detect.min_confidence", ParamValue::Double(1.5), Some("is 1.5; allowed: 0 to 1")),
        ("detect.min_confidence", ParamValue::Double(f64::NAN), Some("allowed: 0 to 1")),
        ("limits.deadline_ms", ParamValue::Integer(-1), Some("allowed: 0 to 60000")),
        ("glossary.terms", list(&["dock=Ladesäule", "broken"]), Some("term 1 'broken'")),
        ("detect.allowed", list(&["de", "qq"]), Some("detect.allowed[1]")),
        ("engine", text("cpu"), Some("fixed while the node runs")),
    ] {
        match (store.set(name, value.clone()), part) {
            (Ok(change), None) => assert_eq!(change.value, value),
            (Err(reason), Some(part)) => assert!(reason.contains(part), "{name}: {reason}"),
            (result, _) => panic!("{name} := {value}: {result:?}"),
        }
    }
}

/// `ros2 param load` of a `ros2 param dump` sends an empty list as a bool array.
#[test]
fn an_empty_array_of_any_type_empties_a_list() {
    let store = store();
    store.set("glossary.terms", list(&["dock=Ladesäule"])).unwrap();
    store.set("glossary.terms", ParamValue::BoolArray(vec![])).unwrap();
    assert_eq!(store.get("glossary.terms"), list(&[]));
    let filled = store.set("glossary.terms", ParamValue::BoolArray(vec![true])).unwrap_err();
    assert!(filled.contains("got bool_array"), "{filled}");
    assert!(store.set("source_locale", ParamValue::BoolArray(vec![])).is_err());
    assert!(store.set("target_locales", ParamValue::BoolArray(vec![])).is_err(), "1 at least");
}

#[test]
fn start_values_are_checked_together_and_unknown_names_reported() {
    let given = [
        ("engine".to_owned(), text("cuda")),
        ("precision".to_owned(), text("int9")),
        ("target_locale".to_owned(), list(&["fr"])),
    ];
    let errors = declare(&given).unwrap_err();
    assert!(errors[0].contains("'cuda' is not part of this build"), "{errors:?}");
    assert!(errors[1].contains("did you mean 'int8'?"), "{errors:?}");
    let (store, remarks) = declare(&given[2..]).unwrap();
    assert_eq!(
        remarks,
        ["parameter 'target_locale' is not declared; did you mean 'target_locales'?"]
    );
    assert_eq!(store.get("target_locales"), list(&["de", "zh"]));
    let twice =
        [("source_locale".to_owned(), text("de")), ("source_locale".to_owned(), text("fr"))];
    assert_eq!(declare(&twice).unwrap().0.get("source_locale"), text("fr"), "the later one wins");
}

#[test]
fn a_group_is_taken_whole_or_not_at_all() {
    let store = store();
    let before = store.snapshot();
    let group = |confidence| {
        vec![
            ("target_locales".to_owned(), list(&["fr"])),
            ("detect.min_confidence".to_owned(), ParamValue::Double(confidence)),
        ]
    };
    assert!(store.set_atomically(group(2.0)).is_err());
    assert_eq!(store.snapshot(), before);
    let changes = store.set_atomically(group(0.5)).unwrap();
    assert_eq!(changes.len(), 2);
    assert_eq!(store.get("target_locales"), list(&["fr"]));
}

/// The expectations are what rclcpp's `NodeParameters::list_parameters` gives for these names.
#[test]
fn listing_follows_rclcpp() {
    let store = store();
    let names = |prefixes: &[&str], depth| {
        let prefixes: Vec<_> = prefixes.iter().map(|prefix| (*prefix).to_owned()).collect();
        store.list(&prefixes, depth)
    };
    assert_eq!(names(&[], 0).names.len(), table().len());
    assert!(names(&[], 1).names.iter().all(|name| !name.contains('.')));
    assert_eq!(names(&[], 1).prefixes, Vec::<String>::new());
    assert_eq!(names(&[], 2).names.len(), table().len());
    let cpu = Listing {
        names: vec!["cpu.slots".to_owned(), "cpu.threads".to_owned()],
        prefixes: vec!["cpu".to_owned()],
    };
    assert_eq!(names(&["cpu"], 0), cpu);
    assert_eq!(names(&["cpu"], 1), cpu);
    assert_eq!(names(&["engine"], 0).names, ["engine"]);
    assert_eq!(names(&["cp"], 0), Listing::default());
    assert_eq!(names(&["cpu."], 0), Listing::default());
}

#[test]
fn an_undeclared_name_has_no_value() {
    let store = store();
    assert_eq!(store.get("nonsense"), ParamValue::NotSet);
    assert!(store.describe("nonsense").is_none());
}

proptest! {
    #[test]
    fn any_value_is_taken_or_refused(name in "[a-z_.]{0,20}", value in any::<String>()) {
        let store = store();
        let _ = store.set(&name, text(&value));
        for declaration in table() {
            let _ = store.set(declaration.name, text(&value));
            let _ = store.set(declaration.name, list(&[&value, &value]));
        }
        prop_assert!(NodeConfig::from_parameters(&store.snapshot()).is_ok());
    }
}
