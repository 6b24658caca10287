//! From parameters to the typed configuration.

use hymt_core::detect::DetectConfig;
use hymt_core::language::Language;
use hymt_core::request::{Limits, SourceChoice};
use hymt_ros::app::{EngineOptions, ModelChoice};
use hymt_ros::config::{EngineChoice, ModelFamily, NodeConfig, Precision};
use hymt_ros::parameters::{declare, table};
use hymt_ros::ros::param_store::{Declaration, Range};
use hymt_ros::ros::param_value::ParamValue;

use super::{list, store, text};

#[test]
fn hints_are_not_worse_than_none() {
    for (word, hint) in [
        ("CPU", "did you mean 'cpu'?"),
        ("tensort", "did you mean 'tensorrt'?"),
        ("script", "did you mean 'scripted'?"),
    ] {
        let error = word.parse::<EngineChoice>().unwrap_err().to_string();
        assert!(error.contains(hint), "{error}");
    }
    let error = "gpu".parse::<EngineChoice>().unwrap_err().to_string();
    assert_eq!(error, "engine 'gpu' is not known; allowed: auto, cpu, cuda, tensorrt, scripted");
    for choice in EngineChoice::WORDS.iter().map(|word| word.parse::<EngineChoice>().unwrap()) {
        let missing = (choice == EngineChoice::TensorRt && !cfg!(feature = "tensorrt-shim"))
            || (choice == EngineChoice::Cuda && !cfg!(feature = "cuda"));
        assert_eq!(choice.available().is_err(), missing, "{choice}");
    }
}

/// Every word reads as a variant that writes the same word.
#[test]
fn words_survive() {
    for word in EngineChoice::WORDS {
        assert_eq!(word.parse::<EngineChoice>().unwrap().to_string(), *word);
    }
    for word in Precision::WORDS {
        assert_eq!(word.parse::<Precision>().unwrap().to_string(), *word);
    }
    for word in ModelFamily::WORDS {
        assert_eq!(word.parse::<ModelFamily>().unwrap().to_string(), *word);
    }
}

/// What the node is told without any parameter is what the libraries recommend.
#[test]
fn defaults_are_those_of_the_libraries() {
    let config = NodeConfig::from_parameters(&store().snapshot()).unwrap();
    let library = EngineOptions::default();
    assert_eq!(config.engine, library);
    assert_eq!(config.live.detect, DetectConfig::default());
    assert_eq!(config.live.input_chars_max, Limits::default().input_chars_max);
    assert_eq!(config.live.defaults.targets, [Language::German, Language::Chinese]);
    assert_eq!(config.live.defaults.source, SourceChoice::Auto);
    assert_eq!(config.live.deadline, None);
    assert!(config.live.terms.is_empty());
}

/// No parameter is for show: each one changes the configuration.
#[test]
fn every_parameter_reaches_the_configuration() {
    let before = NodeConfig::from_parameters(&store().snapshot()).unwrap();
    for Declaration { name, default, range, .. } in table() {
        let other = match (name, &default) {
            ("source_locale", _) => text("fr"),
            ("output.log_file", _) => text("/tmp/captions.jsonl"),
            // Without a file its format is nothing.
            ("output.log_format", _) => continue,
            ("target.mode", _) => text("other_party"),
            ("engine", _) => text("scripted"),
            ("gpu.device", _) => text("dla1"),
            ("gpu.plan", _) => text("/plans/hy-mt.plan"),
            ("model.path", _) => text("/models/hy-mt"),
            ("model.family", _) => text("hy-mt1.5"),
            ("precision", _) => text("f32"),
            ("glossary.default", _) => text("hotel"),
            ("input.mode", _) => text("hri"),
            ("speech.ignore_while_speaking", _) => text("/robot_speaking"),
            ("glossary.terms", _) => list(&["dock=Ladesäule"]),
            (_, ParamValue::StringArray(_)) => list(&["fr", "ja"]),
            (_, ParamValue::Double(_)) => match range {
                Some(Range::Double { from, to }) => ParamValue::Double(from.midpoint(to)),
                _ => panic!("{name} needs a range"),
            },
            (_, ParamValue::Integer(value)) => match range {
                Some(Range::Integer { to, .. }) if *value < to => ParamValue::Integer(value + 1),
                _ => panic!("{name} needs an integer range above its default"),
            },
            (_, ParamValue::Bool(value)) => ParamValue::Bool(!value),
            _ => panic!("no other value known for {name}"),
        };
        let (store, _) = declare(&[(name.to_owned(), other)]).unwrap();
        let after = NodeConfig::from_parameters(&store.snapshot()).unwrap();
        assert_ne!(after, before, "{name} changes nothing");
    }
}

#[test]
fn parameters_become_typed_configuration() {
    let given = [
        ("model.path".to_owned(), text("/models/hy-mt")),
        ("source_locale".to_owned(), text("pt_BR")),
        ("target_locales".to_owned(), list(&["zh_Hant", "fr-CA"])),
        ("limits.deadline_ms".to_owned(), ParamValue::Integer(1500)),
        ("limits.queue".to_owned(), ParamValue::Integer(7)),
        ("cpu.threads".to_owned(), ParamValue::Integer(3)),
        ("detect.allowed".to_owned(), list(&["en", "de"])),
    ];
    let (store, _) = declare(&given).unwrap();
    let config = NodeConfig::from_parameters(&store.snapshot()).unwrap();
    assert_eq!(config.engine.model, ModelChoice::Folder("/models/hy-mt".into()));
    assert_eq!(config.engine.threads, 3);
    assert_eq!(config.queue_limit, 7);
    assert_eq!(config.live.defaults.source, SourceChoice::Given(Language::Portuguese));
    let targets = [Language::TraditionalChinese, Language::French];
    assert_eq!(config.live.defaults.targets, targets);
    assert_eq!(config.live.deadline, Some(std::time::Duration::from_millis(1500)));
    assert_eq!(config.live.detect.allowed, [Language::English, Language::German]);
}
