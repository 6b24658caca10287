//! Wire structs: plain mirrors of the ROS interface files.
//!
//! Each struct is declared once, by the `interface!` macro, which also records its field names,
//! types and constants. `tests/contract.rs` holds those records against `msg/` and `srv/`, so a
//! change on one side alone fails. Serde in field order is exactly CDR: no field is renamed or
//! skipped.
//!
//! | module | interfaces |
//! |---|---|
//! | [`action`] | `action_msgs`, and our action `TranslateText` |
//! | [`common`] | `builtin_interfaces`, `rosgraph_msgs`, `std_msgs`, `std_srvs` |
//! | [`diagnostic`] | `diagnostic_msgs` |
//! | [`hri`] | `hri_msgs`: live speech |
//! | [`hymt`] | our own messages and services |
//! | [`lifecycle`] | `lifecycle_msgs` |
//! | [`rcl`] | `rcl_interfaces`: parameters and log |

pub mod action;
pub mod common;
pub mod diagnostic;
pub mod hri;
pub mod hymt;
pub mod lifecycle;
pub mod rcl;

use serde::{Serialize, de::DeserializeOwned};

use super::{RosError, SerializedMessage};

pub use common::{Header, StringMsg, Time, Trigger};
pub use hymt::{Status, Translate, TranslateRequest, TranslateResponse, Translation};

/// The ROS name of a wire type: `uint8`, `string[]`, `std_msgs/Header`.
pub trait WireType {
    /// The type as an interface file writes it.
    fn ros_type() -> String;
}

/// One field of an interface, as declared here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldDecl {
    /// The field's name.
    pub name: &'static str,
    /// The field's type, as an interface file writes it.
    pub ros_type: String,
}

/// One constant of an interface, as declared here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConstantDecl {
    /// The constant's name.
    pub name: &'static str,
    /// The constant's type, as an interface file writes it.
    pub ros_type: String,
    /// The constant's value in decimal.
    pub value: String,
}

/// A struct that travels as one ROS message (or one half of a service).
pub trait Message: Serialize + DeserializeOwned + Clone + Send + Sync + 'static {
    /// `package/msg/Name`, or `package/srv/Name_Request` and `package/srv/Name_Response`;
    /// parts of an action have `action` in the middle.
    const ROS_TYPE: &'static str;

    /// The declared fields, in order.
    fn fields() -> Vec<FieldDecl>;

    /// The declared constants, in order.
    fn constants() -> Vec<ConstantDecl>;

    /// Reads a message that was heard. A type with several layouts in the field tells them apart
    /// here.
    ///
    /// # Errors
    /// [`RosError::Malformed`] when it is none.
    fn read(sample: &SerializedMessage) -> Result<Self, RosError> {
        sample.decode()
    }

    /// The type name that ROS 2 gives to DDS: `package::msg::dds_::Name_`.
    #[must_use]
    fn dds_type_name() -> String {
        dds_type_name(Self::ROS_TYPE)
    }
}

/// A pair of request and response.
pub trait Service: 'static {
    /// `package/srv/Name`.
    const ROS_TYPE: &'static str;
    /// What a client sends.
    type Request: Message;
    /// What the server answers.
    type Response: Message;
}

/// `package/msg/Name` to `package::msg::dds_::Name_`, the name mangling of rosidl for DDS.
#[must_use]
pub fn dds_type_name(ros_type: &str) -> String {
    match ros_type.rsplit_once('/') {
        Some((scope, name)) => format!("{}::dds_::{name}_", scope.replace('/', "::")),
        None => format!("dds_::{ros_type}_"),
    }
}

/// The inverse of [`dds_type_name`]; `None` for a type that is not of ROS.
#[must_use]
pub fn ros_type_name(dds_type: &str) -> Option<String> {
    let (scope, name) = dds_type.split_once("::dds_::")?;
    Some(format!("{}/{}", scope.replace("::", "/"), name.strip_suffix('_')?))
}

macro_rules! wire_primitive {
    ($($rust:ty => $ros:literal),* $(,)?) => {
        $(impl WireType for $rust {
            fn ros_type() -> String {
                $ros.to_owned()
            }
        })*
    };
}

wire_primitive! {
    bool => "bool", i8 => "int8", u8 => "uint8", i32 => "int32", u32 => "uint32", i64 => "int64",
    u64 => "uint64", f32 => "float32", f64 => "float64", String => "string",
}

impl<T: WireType> WireType for Vec<T> {
    fn ros_type() -> String {
        format!("{}[]", T::ros_type())
    }
}

impl<T: WireType, const N: usize> WireType for [T; N] {
    fn ros_type() -> String {
        format!("{}[{N}]", T::ros_type())
    }
}

/// `std_msgs/msg/Header` as a field type is `std_msgs/Header`.
pub(crate) fn field_type_name(ros_type: &str) -> String {
    ros_type.replacen("/msg/", "/", 1)
}

/// Declares a wire struct, its constants, and the record that the contract test reads.
macro_rules! interface {
    (
        $(#[$meta:meta])*
        $vis:vis struct $name:ident = $ros:literal
        $([ $( $(#[$cmeta:meta])* const $cname:ident: $ctype:ty = $cvalue:expr; )* ])?
        { $( $(#[$fmeta:meta])* $field:ident: $ftype:ty, )* }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
        $vis struct $name {
            $( $(#[$fmeta])* pub $field: $ftype, )*
        }

        impl $name {
            $($( $(#[$cmeta])* pub const $cname: $ctype = $cvalue; )*)?
        }

        impl $crate::ros::wire::WireType for $name {
            fn ros_type() -> String {
                $crate::ros::wire::field_type_name($ros)
            }
        }

        impl $crate::ros::wire::Message for $name {
            const ROS_TYPE: &'static str = $ros;

            fn fields() -> Vec<$crate::ros::wire::FieldDecl> {
                vec![$( $crate::ros::wire::FieldDecl {
                    name: stringify!($field).trim_start_matches("r#"),
                    ros_type: <$ftype as $crate::ros::wire::WireType>::ros_type(),
                }, )*]
            }

            fn constants() -> Vec<$crate::ros::wire::ConstantDecl> {
                vec![$($( $crate::ros::wire::ConstantDecl {
                    name: stringify!($cname),
                    ros_type: <$ctype as $crate::ros::wire::WireType>::ros_type(),
                    value: Self::$cname.to_string(),
                }, )*)?]
            }
        }
    };
}

/// Declares a service from its two halves.
macro_rules! service {
    ($(#[$meta:meta])* pub struct $name:ident = $ros:literal: $request:ty => $response:ty) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy)]
        pub struct $name;

        impl $crate::ros::wire::Service for $name {
            const ROS_TYPE: &'static str = $ros;
            type Request = $request;
            type Response = $response;
        }
    };
}

pub(crate) use interface;
pub(crate) use service;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn type_names_are_mangled_as_rosidl_does() {
        for (ros, dds) in [
            ("std_msgs/msg/String", "std_msgs::msg::dds_::String_"),
            ("std_srvs/srv/Trigger_Request", "std_srvs::srv::dds_::Trigger_Request_"),
        ] {
            assert_eq!(dds_type_name(ros), dds);
            assert_eq!(ros_type_name(dds).as_deref(), Some(ros));
        }
        assert_eq!(ros_type_name("ShapeType"), None);
    }
}
