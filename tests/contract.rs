//! The wire structs against `msg/`, `srv/` and `action/`: names, order, types and constants.
//!
//! The structs record their own declarations; this test reads the interface files by itself.
#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

use std::path::Path;

use hymt_ros::ros::SerializedMessage;
use hymt_ros::ros::wire::action::{
    GetResultResponse, TranslateTextFeedback, TranslateTextGoal, TranslateTextResult, Uuid,
};
use hymt_ros::ros::wire::hri::LiveSpeechBoth;
use hymt_ros::ros::wire::hymt::{ListGlossaries, ListLanguages, SetGlossary};
use hymt_ros::ros::wire::{Message, Service, Status, Translate, Translation};

/// One side of the comparison: constants, then fields, each as `type name` or `type NAME=value`.
#[derive(Debug, PartialEq, Eq, Default)]
struct Interface {
    constants: Vec<String>,
    fields: Vec<String>,
}

#[test]
fn every_message_is_its_file() {
    for (name, expect) in
        [("Translation", declared::<Translation>()), ("Status", declared::<Status>())]
    {
        let [msg] = read(&format!("msg/{name}.msg"));
        assert_eq!(expect, msg, "{name}");
    }
}

#[test]
fn every_service_is_its_file() {
    fn check<S: Service>(name: &str) {
        assert_eq!(S::ROS_TYPE, format!("hymt_ros/srv/{name}"));
        let [request, response] = read(&format!("srv/{name}.srv"));
        assert_eq!(declared::<S::Request>(), request.or_empty(), "{name}");
        assert_eq!(declared::<S::Response>(), response.or_empty(), "{name}");
    }
    check::<Translate>("Translate");
    check::<ListLanguages>("ListLanguages");
    check::<SetGlossary>("SetGlossary");
    check::<ListGlossaries>("ListGlossaries");
}

#[test]
fn the_action_is_its_file() {
    let [goal, result, feedback] = read("action/TranslateText.action");
    assert_eq!(declared::<TranslateTextGoal>(), goal);
    assert_eq!(declared::<TranslateTextResult>(), result);
    assert_eq!(declared::<TranslateTextFeedback>(), feedback);
}

#[test]
fn every_interface_file_is_compared() {
    for (folder, expect) in [
        ("msg", vec!["Status.msg", "Translation.msg"]),
        (
            "srv",
            vec!["ListGlossaries.srv", "ListLanguages.srv", "SetGlossary.srv", "Translate.srv"],
        ),
        ("action", vec!["TranslateText.action"]),
    ] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        let mut files: Vec<_> = std::fs::read_dir(path)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| !name.starts_with('.'))
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
    check::<Status>();
    check::<LiveSpeechBoth>();
    check::<GetResultResponse>();
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

#[test]
fn an_identifier_travels_without_a_length() {
    let id = Uuid { uuid: [7; 16] };
    assert_eq!(SerializedMessage::encode(&id).unwrap().body.as_ref(), [7; 16]);
    assert_eq!(Uuid::fields()[0].ros_type, "uint8[16]");
}

impl Interface {
    /// rosidl gives an empty interface one unused octet.
    fn or_empty(mut self) -> Self {
        if self.fields.is_empty() {
            self.fields.push("uint8 structure_needs_at_least_one_member".to_owned());
        }
        self
    }
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
    let parts: Vec<_> = text.split("---\n").map(parse).collect();
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
