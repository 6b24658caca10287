//! The parameter table and everything that is made from it, and how values are refused.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "parameters/configuration.rs"]
mod configuration;

use std::fs;
use std::path::Path;

use hymt_ros::config::NodeConfig;
use hymt_ros::parameters::{declare, help, reference_page, table, yaml};
use hymt_ros::ros::param_file::ParamFile;
use hymt_ros::ros::param_store::{
    Changes, Declaration, Listing, ParamSnapshot, ParameterStore, REQUEST_PARAMETERS_MAX,
};
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
    store.set_configured(true);
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
        ("detect.allowed", list(&["de", "DE"]), Some("detect.allowed[1] 'DE' given twice")),
        ("autostart", ParamValue::Bool(false), Some("--ros-args -p autostart:=VALUE")),
        ("autostart", ParamValue::Bool(true), None),
        ("engine", text("cpu"), Some("fixed while the node is configured")),
        ("max_input_chars", ParamValue::Integer(5), Some("did you mean 'limits.max_input_chars'?")),
        ("limits.deadline_ms", ParamValue::Double(5.0), Some("is an integer, got double")),
        ("use_sim_time", ParamValue::NotSet, Some("always has a value")),
        // What `ros2 param set NODE NAME "[]"` sends.
        ("target_locales", ParamValue::BoolArray(vec![]), Some("no target language given")),
        ("target_locales", ParamValue::BoolArray(vec![true]), Some("got bool_array")),
        ("use_sim_time", ParamValue::BoolArray(vec![]), Some("is a bool, got bool_array")),
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
fn a_conversation_has_two_sides() {
    let store = store();
    let both = |mode, targets| {
        let group = [("target.mode", text(mode)), ("target_locales", list(targets))];
        store.set_atomically(group.map(|(name, value)| (name.to_owned(), value)).to_vec())
    };
    let refused = both("other_party", &["en", "de", "fr"]).unwrap_err();
    assert!(refused.contains("target_locales has 3; name the two"), "{refused}");
    both("other_party", &["en", "fr"]).unwrap();
    let refused = store.set("target_locales", list(&["en"])).unwrap_err();
    assert!(refused.contains("target_locales has 1"), "{refused}");
    both("fixed", &["en"]).unwrap();
}

#[test]
fn start_values_are_checked_together_and_unknown_names_reported() {
    let given = [
        ("gpu.device".to_owned(), text("dla2")),
        ("precision".to_owned(), text("int9")),
        ("target_locale".to_owned(), list(&["fr"])),
    ];
    let errors = declare(&given).unwrap_err();
    assert!(errors[0].contains("'dla2' is not known; allowed: gpu, dla0, dla1"), "{errors:?}");
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

/// `ros2 param set` sends `[]` as an empty bool array (`rclpy.parameter.get_parameter_value`).
#[test]
fn a_list_can_be_emptied_from_the_command_line() {
    let store = store();
    store.set("glossary.terms", list(&["dock=Ladesäule"])).unwrap();
    let change = store.set("glossary.terms", ParamValue::BoolArray(vec![])).unwrap();
    assert_eq!(change.value, list(&[]));
    assert_eq!(store.get("glossary.terms"), list(&[]));
}

#[test]
fn a_wrong_value_in_a_file_can_be_mended_on_the_command_line() {
    let given = [
        ("engine".to_owned(), text("quack")),
        ("nonsense".to_owned(), text("a")),
        ("engine".to_owned(), text("scripted")),
        ("nonsense".to_owned(), text("b")),
    ];
    let (store, remarks) = declare(&given).unwrap();
    assert_eq!(store.get("engine"), text("scripted"));
    assert_eq!(remarks.len(), 1, "a name is reported once: {remarks:?}");
    assert!(declare(&given[..1]).is_err());
}

#[test]
fn an_absurd_name_or_value_costs_little_and_is_not_repeated() {
    let store = store();
    let absurd = "x".repeat(4_000_000);
    let started = std::time::Instant::now();
    let reasons = [
        store.set(&absurd, text("")).unwrap_err(),
        store.set("source_locale", text(&absurd)).unwrap_err(),
        store.set("target_locales", text(&absurd)).unwrap_err(),
        store.set("glossary.terms", list(&[&absurd])).unwrap_err(),
        declare(&[("engine".to_owned(), text(&absurd))]).unwrap_err().join(""),
        declare(&[("precision".to_owned(), text(&absurd))]).unwrap_err().join(""),
    ];
    for reason in reasons {
        assert!(reason.len() < 500, "{} bytes", reason.len());
    }
    assert!(started.elapsed().as_secs() < 10, "{:?}", started.elapsed());
    let many = vec![("source_locale".to_owned(), text("de")); REQUEST_PARAMETERS_MAX + 1];
    assert!(store.set_atomically(many).unwrap_err().contains("the limit is 256"));
    assert_eq!(store.get("source_locale"), text("auto"));
}

/// Integers of these names, which must not decrease in this order.
fn ordered_store(names: &[&'static str]) -> ParameterStore {
    fn in_order(values: &ParamSnapshot) -> Result<(), String> {
        if values.size("low") > values.size("low.high") {
            return Err("low is above low.high".to_owned());
        }
        Ok(())
    }
    let declare = |name: &&'static str| Declaration {
        name,
        default: ParamValue::Integer(0),
        description: "",
        constraints: "",
        changes: Changes::Live,
        range: None,
        check: |_| Ok(()),
    };
    ParameterStore::new(names.iter().map(declare).collect(), in_order, &[]).unwrap().0
}

#[test]
fn rules_across_parameters_see_the_whole_group() {
    let store = ordered_store(&["low", "low.high"]);
    let both = |low, high| {
        store.set_atomically(vec![
            ("low".to_owned(), ParamValue::Integer(low)),
            ("low.high".to_owned(), ParamValue::Integer(high)),
        ])
    };
    assert_eq!(store.set("low", ParamValue::Integer(5)).unwrap_err(), "low is above low.high");
    both(5, 9).expect("the first member alone would break the rule");
    assert!(both(8, 7).is_err());
    assert_eq!(store.get("low.high"), ParamValue::Integer(9));
    assert!(store.set("low.high", ParamValue::Integer(4)).is_err());
    assert_eq!(store.set_atomically(vec![]).unwrap(), []);
}

#[test]
fn nobody_sees_half_of_a_group() {
    let store = ordered_store(&["low", "low.high"]);
    std::thread::scope(|scope| {
        for writer in 0..2 {
            let store = &store;
            scope.spawn(move || {
                for step in 0..500 {
                    let value = ParamValue::Integer(step * 2 + writer);
                    let group = ["low", "low.high"].map(|name| (name.to_owned(), value.clone()));
                    store.set_atomically(group.to_vec()).unwrap();
                }
            });
        }
        for _ in 0..2000 {
            let seen = store.snapshot();
            assert_eq!(seen.get("low"), seen.get("low.high"));
        }
    });
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

/// `ros2 param dump` (ros2cli of Jazzy) nests names by their dots, and ends with a Python error where a
/// name is a parameter and the beginning of another one.
#[test]
fn no_name_begins_another() {
    let names: Vec<&str> = table().iter().map(|declaration| declaration.name).collect();
    for name in &names {
        let group = format!("{name}.");
        let inside: Vec<_> = names.iter().filter(|other| other.starts_with(&group)).collect();
        assert!(inside.is_empty(), "{name} is a parameter, and {inside:?} are in it");
    }
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

/// The expectations are what a node of rclpy 7.1.3 answers that declares these names.
#[test]
fn listing_counts_depth_below_the_prefix() {
    let store = ordered_store(&["a", "a.b", "a.b.c", "a.b.c.d", "ab.c", "low", "low.high"]);
    for (prefixes, depth, expected) in LISTINGS {
        let prefixes: Vec<_> = prefixes.iter().map(|prefix| (*prefix).to_owned()).collect();
        let listing = store.list(&prefixes, *depth);
        assert_eq!(listing.names, *expected, "{prefixes:?} depth {depth}");
    }
}

/// Prefixes, depth, names.
const LISTINGS: &[(&[&str], u64, &[&str])] = &[
    (&[], 0, &["a", "a.b", "a.b.c", "a.b.c.d", "ab.c", "low", "low.high"]),
    (&[], 1, &["a", "low"]),
    (&[], 2, &["a", "a.b", "ab.c", "low", "low.high"]),
    (&[], 3, &["a", "a.b", "a.b.c", "ab.c", "low", "low.high"]),
    (&["a"], 0, &["a", "a.b", "a.b.c", "a.b.c.d"]),
    (&["a"], 1, &["a", "a.b"]),
    (&["a"], 2, &["a", "a.b", "a.b.c"]),
    (&["a.b"], 1, &["a.b", "a.b.c"]),
    (&["a.b"], 2, &["a.b", "a.b.c", "a.b.c.d"]),
    (&["a.b", "ab"], 1, &["a.b", "a.b.c", "ab.c"]),
    (&["a", "low"], 1, &["a", "a.b", "low", "low.high"]),
    (&["a."], 0, &[]),
    (&[""], 0, &[]),
    (&["b"], 0, &[]),
    (&["a.b.c.d"], 1, &["a.b.c.d"]),
    (&["low", "low"], 5, &["low", "low.high"]),
];

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
