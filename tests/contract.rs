//! The wire structs against `msg/` and `srv/`: names, order, types and constants.
//!
//! The structs record their own declarations; this test reads the interface files by itself.
#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

use std::path::Path;

use hymt_ros::ros::wire::{Message, Service, Translate, Translation};

/// One side of the comparison: constants, then fields, each as `type name` or `type NAME=value`.
#[derive(Debug, PartialEq, Eq, Default)]
struct Interface {
    constants: Vec<String>,
    fields: Vec<String>,
}

#[test]
fn translation_is_its_msg_file() {
    let [msg] = read("msg/Translation.msg");
    assert_eq!(declared::<Translation>(), msg);
}

#[test]
fn translate_is_its_srv_file() {
    let [request, response] = read("srv/Translate.srv");
    assert_eq!(declared::<<Translate as Service>::Request>(), request);
    assert_eq!(declared::<<Translate as Service>::Response>(), response);
}

#[test]
fn every_interface_file_is_compared() {
    for (folder, expect) in [("msg", vec!["Translation.msg"]), ("srv", vec!["Translate.srv"])] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        let mut files: Vec<_> = std::fs::read_dir(path)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        files.sort();
        assert_eq!(files, expect, "a file in {folder}/ has no wire struct or no test");
    }
}

#[test]
fn serde_keeps_the_declared_order_and_names() {
    fn check<M: Message + Default>() {
        // JSON keeps the order in which serde visits the fields, as CDR does.
        let json = serde_json::to_string(&M::default()).unwrap();
        let mut from = 0;
        for field in M::fields() {
            let key = format!("\"{}\":", field.name);
            let at = json[from..].find(&key);
            from += at.unwrap_or_else(|| panic!("{key} is not in its place in {json}"));
        }
    }
    check::<Translation>();
    check::<<Translate as Service>::Request>();
    check::<<Translate as Service>::Response>();
}

#[test]
fn the_types_are_named_as_their_files() {
    assert_eq!(Translation::ROS_TYPE, "hymt_ros/msg/Translation");
    assert_eq!(Translate::ROS_TYPE, "hymt_ros/srv/Translate");
    assert_eq!(
        <Translate as Service>::Request::dds_type_name(),
        "hymt_ros::srv::dds_::Translate_Request_"
    );
    assert_eq!(
        <Translate as Service>::Response::dds_type_name(),
        "hymt_ros::srv::dds_::Translate_Response_"
    );
}

#[test]
fn the_parser_sees_what_it_should() {
    let text = "# c\nuint8 A=1 # one\nstring B = two\n\npkg/T[] f  # x\nstring[] g\n";
    let expect = Interface {
        constants: vec!["uint8 A=1".to_owned(), "string B=two".to_owned()],
        fields: vec!["pkg/T[] f".to_owned(), "string[] g".to_owned()],
    };
    assert_eq!(parse(text), expect);
}

fn declared<M: Message>() -> Interface {
    Interface {
        constants: M::constants()
            .iter()
            .map(|constant| format!("{} {}={}", constant.ros_type, constant.name, constant.value))
            .collect(),
        fields: M::fields()
            .iter()
            .map(|field| format!("{} {}", field.ros_type, field.name))
            .collect(),
    }
}

/// Reads a file of `N` parts.
fn read<const N: usize>(path: &str) -> [Interface; N] {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    let text = std::fs::read_to_string(&path).unwrap();
    let parts: Vec<_> = text.split("\n---\n").map(parse).collect();
    parts.try_into().unwrap_or_else(|parts| panic!("{} has other parts: {parts:?}", path.display()))
}

fn parse(text: &str) -> Interface {
    let mut interface = Interface::default();
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default().trim();
        let Some((kind, rest)) = line.split_once(char::is_whitespace) else {
            assert!(line.is_empty(), "not understood: {line}");
            continue;
        };
        match rest.split_once('=') {
            Some((name, value)) => {
                interface.constants.push(format!("{kind} {}={}", name.trim(), value.trim()));
            }
            None => interface.fields.push(format!("{kind} {}", rest.trim())),
        }
    }
    interface
}
