//! Expectations marked so are what rclpy of ROS 2 Jazzy (rcl 9.2) did with the same arguments.

use proptest::prelude::*;

use super::*;

fn parse(line: &str) -> Result<(RosArgs, Vec<String>), RosArgsError> {
    RosArgs::parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
}

#[test]
fn sections_are_taken_out() {
    let (args, rest) = parse("a --ros-args -r text:=in -- b --ros-args --log-level debug").unwrap();
    assert_eq!(rest, ["a", "b"]);
    assert_eq!(args.remaps[0].to, "in");
    assert_eq!(args.log_level, Some(LogSeverity::Debug));
    let (_, rest) = parse("-r text:=in -- x").unwrap();
    assert_eq!(rest, ["-r", "text:=in", "--", "x"], "outside a section nothing is ROS's");
}

#[test]
fn names_are_remapped_for_the_right_node() {
    let line = "--ros-args -r other:__node:=wrong -r __node:=captions -r __ns:=/robot \
                -r captions:text:=/whisper/text -r other:text:=/wrong";
    let names = parse(line).unwrap().0.resolver("translator", "/").unwrap();
    assert_eq!(names.fully_qualified_name(), "/robot/captions");
    assert_eq!(names.topic("text").unwrap(), "/whisper/text");
}

/// Expectations are what rclpy's node of ROS 2 Jazzy answers to the same arguments.
#[test]
fn nodes_are_named_as_rcl_names_them() {
    for (line, expected) in [
        ("-r __node:=b -r translator:__ns:=/old", Some("/b")),
        ("-r __node:=b -r b:__ns:=/new", Some("/new/b")),
        ("-r __node:=b -r __node:=c", Some("/b")),
        ("-r translator:__node:=c", Some("/c")),
        ("-r __name:=d", Some("/d")),
        ("-r __ns:=/", Some("/translator")),
        ("-r __ns:=/a/b", Some("/a/b/translator")),
        ("--ros-args -r __node:=q", Some("/q")),
        ("-r __ns:=/a/", None),
        ("-r __ns:=~/a", None),
        ("-r __ns:=", None),
        ("-r __node:=a/b", None),
        ("-r __node:=7", None),
        ("-r __node:=", None),
        ("-r :a:=b", None),
        ("-r a::=b", None),
        ("-r 7:=c", None),
        ("-r a:=b:=c", None),
        ("-r a/*:=b", None),
        ("-r a:=\\1", None),
        ("-r text:=a//b", None),
        ("-r text:=b/", None),
        ("-p :x:=1", None),
        ("-p /robot/translator:x:=7", None),
        ("-p a=1", None),
        ("-p x:=", None),
        ("--log-level unset", Some("/translator")),
        ("--log-level warning", None),
        ("--log-level :=debug", None),
        ("--log-file-name x", Some("/translator")),
        ("--enclave", None),
        ("quack", None),
    ] {
        let name = parse(&format!("--ros-args {line}")).ok().and_then(|(args, _)| {
            Some(args.resolver("translator", "").ok()?.fully_qualified_name())
        });
        assert_eq!(name.as_deref(), expected, "{line}");
    }
}

/// As above.
#[test]
fn rules_can_be_for_topics_or_services_only() {
    for (rule, topic, service) in [
        ("rostopic://text:=b", "/robot/b", "/robot/text"),
        ("rosservice://text:=b", "/robot/text", "/robot/b"),
        ("rostopic:///robot/text:=b", "/robot/b", "/robot/text"),
        ("translator:rostopic://text:=b", "/robot/b", "/robot/text"),
        ("other:rostopic://text:=b", "/robot/text", "/robot/text"),
        ("text:=~/b", "/robot/translator/b", "/robot/translator/b"),
    ] {
        let args = parse(&format!("--ros-args -r {rule}")).unwrap().0;
        let names = args.resolver("translator", "/robot").unwrap();
        assert_eq!(names.topic("text").unwrap(), topic, "{rule}");
        assert_eq!(names.service("text").unwrap(), service, "{rule}");
    }
}

#[test]
fn log_levels_can_be_taken_back() {
    let line = "--ros-args --log-level a:=debug --log-level a:=warn --log-level b:=info \
                --log-level b:=unset --log-level error --log-level UNSET";
    let args = parse(line).unwrap().0;
    assert_eq!(args.logger_levels, [("a".to_owned(), LogSeverity::Warn)]);
    assert_eq!(args.log_level, None);
}

#[test]
fn parameters_apply_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("p.yaml");
    std::fs::write(&file, "/**:\n  ros__parameters: {engine: cpu, source_locale: de}\n").unwrap();
    let line = format!(
        "--ros-args -p engine:=auto --params-file {} -p source_locale:=fr -p other:x:=1 \
         -p target_locales:=[de,zh]",
        file.display()
    );
    let args = parse(&line).unwrap().0;
    let names = args.resolver("translator", "").unwrap();
    let shown: Vec<_> = args
        .overrides(&names)
        .unwrap()
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    assert_eq!(
        shown,
        [
            "engine=\"auto\"",
            "engine=\"cpu\"",
            "source_locale=\"de\"",
            "source_locale=\"fr\"",
            "target_locales=[\"de\", \"zh\"]",
        ]
    );
}

#[test]
fn log_settings() {
    let line = "--ros-args --log-level translator:=WARN --disable-rosout-logs \
                --log-level info --enable-stdout-logs";
    let args = parse(line).unwrap().0;
    assert_eq!(args.logger_levels, [("translator".to_owned(), LogSeverity::Warn)]);
    assert_eq!(args.log_level, Some(LogSeverity::Info));
    assert_eq!((args.rosout, args.stdout), (Some(false), Some(true)));
}

#[test]
fn refusals_say_what_is_expected() {
    for (line, part) in [
        ("--ros-args --remapp a:=b", "did you mean '--remap'?"),
        ("--ros-args --quack", "unknown ROS argument '--quack'"),
        ("--ros-args -r", "needs a value: [node:]from:=to"),
        ("--ros-args -r -- x", "needs a value"),
        ("--ros-args -r text", "expected [node:]from:=to"),
        ("--ros-args -r text:=", "expected [node:]from:=to"),
        ("--ros-args -p :=5", "expected [node:]name:=value"),
        ("--ros-args -p x:=[1,a]", "an array holds one type"),
        ("--ros-args --log-level loud", "debug, info, warn, error, fatal or unset"),
    ] {
        let error = parse(line).unwrap_err().to_string();
        assert!(error.contains(part), "{line}: {error}");
    }
    let names = parse("--ros-args -r __node:=a-b").unwrap().0.resolver("translator", "");
    assert_eq!(names.unwrap_err().name, "a-b");
    let args = parse("--ros-args --params-file /nonexistent.yaml").unwrap().0;
    let names = args.resolver("translator", "").unwrap();
    assert!(args.overrides(&names).unwrap_err().to_string().contains("/nonexistent.yaml"));
}

proptest! {
    #[test]
    fn any_command_line_is_parsed_or_refused(
        arguments in prop::collection::vec("--ros-args|-r|-p|--|[a-z:=_{}~/]{0,12}|.{0,8}", 0..12)
    ) {
        if let Ok((args, _)) = RosArgs::parse(&arguments) {
            let _ = args.resolver("translator", "/");
        }
    }
}
