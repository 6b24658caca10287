//! Mirrors of `rcl_interfaces`: parameters and log lines.

use super::{Time, interface, service};

interface! {
    /// The type tags of a parameter value. Carries no data; travels nowhere by itself.
    pub struct ParameterType = "rcl_interfaces/msg/ParameterType" [
        /// No value.
        const PARAMETER_NOT_SET: u8 = 0;
        /// `bool_value`.
        const PARAMETER_BOOL: u8 = 1;
        /// `integer_value`.
        const PARAMETER_INTEGER: u8 = 2;
        /// `double_value`.
        const PARAMETER_DOUBLE: u8 = 3;
        /// `string_value`.
        const PARAMETER_STRING: u8 = 4;
        /// `byte_array_value`.
        const PARAMETER_BYTE_ARRAY: u8 = 5;
        /// `bool_array_value`.
        const PARAMETER_BOOL_ARRAY: u8 = 6;
        /// `integer_array_value`.
        const PARAMETER_INTEGER_ARRAY: u8 = 7;
        /// `double_array_value`.
        const PARAMETER_DOUBLE_ARRAY: u8 = 8;
        /// `string_array_value`.
        const PARAMETER_STRING_ARRAY: u8 = 9;
    ] {
        /// Always 0; an empty struct has one unused octet.
        structure_needs_at_least_one_member: u8,
    }
}

interface! {
    /// A tagged union in the manner of ROS: every alternative has a field, `type` picks one.
    pub struct ParameterValue = "rcl_interfaces/msg/ParameterValue" {
        /// One of the constants of [`ParameterType`].
        r#type: u8,
        /// Set when `type` is `PARAMETER_BOOL`.
        bool_value: bool,
        /// Set when `type` is `PARAMETER_INTEGER`.
        integer_value: i64,
        /// Set when `type` is `PARAMETER_DOUBLE`.
        double_value: f64,
        /// Set when `type` is `PARAMETER_STRING`.
        string_value: String,
        /// Set when `type` is `PARAMETER_BYTE_ARRAY`.
        byte_array_value: Vec<u8>,
        /// Set when `type` is `PARAMETER_BOOL_ARRAY`.
        bool_array_value: Vec<bool>,
        /// Set when `type` is `PARAMETER_INTEGER_ARRAY`.
        integer_array_value: Vec<i64>,
        /// Set when `type` is `PARAMETER_DOUBLE_ARRAY`.
        double_array_value: Vec<f64>,
        /// Set when `type` is `PARAMETER_STRING_ARRAY`.
        string_array_value: Vec<String>,
    }
}

interface! {
    /// A named value.
    pub struct Parameter = "rcl_interfaces/msg/Parameter" {
        /// Name, for example `glossary.terms`.
        name: String,
        /// Value.
        value: ParameterValue,
    }
}

interface! {
    /// Bounds of a floating point parameter.
    pub struct FloatingPointRange = "rcl_interfaces/msg/FloatingPointRange" {
        /// Smallest value, inclusive.
        from_value: f64,
        /// Largest value, inclusive.
        to_value: f64,
        /// Step between values; 0: any.
        step: f64,
    }
}

interface! {
    /// Bounds of an integer parameter.
    pub struct IntegerRange = "rcl_interfaces/msg/IntegerRange" {
        /// Smallest value, inclusive.
        from_value: i64,
        /// Largest value, inclusive.
        to_value: i64,
        /// Step between values; 0: any.
        step: u64,
    }
}

interface! {
    /// What a parameter is and allows.
    pub struct ParameterDescriptor = "rcl_interfaces/msg/ParameterDescriptor" {
        /// Name.
        name: String,
        /// One of the constants of [`ParameterType`].
        r#type: u8,
        /// What it does.
        description: String,
        /// What it allows, in words.
        additional_constraints: String,
        /// Whether it is fixed after the start.
        read_only: bool,
        /// Whether its type may change.
        dynamic_typing: bool,
        /// At most one range.
        floating_point_range: Vec<FloatingPointRange>,
        /// At most one range.
        integer_range: Vec<IntegerRange>,
    }
}

interface! {
    /// Whether a set was accepted.
    pub struct SetParametersResult = "rcl_interfaces/msg/SetParametersResult" {
        /// Whether the value is now in force.
        successful: bool,
        /// Why not, when it is not.
        reason: String,
    }
}

interface! {
    /// Names found by a listing.
    pub struct ListParametersResult = "rcl_interfaces/msg/ListParametersResult" {
        /// Parameter names.
        names: Vec<String>,
        /// Prefixes that hold more names.
        prefixes: Vec<String>,
    }
}

interface! {
    /// What changed among the parameters of a node.
    pub struct ParameterEvent = "rcl_interfaces/msg/ParameterEvent" {
        /// When.
        stamp: Time,
        /// Fully qualified name of the node.
        node: String,
        /// Declared.
        new_parameters: Vec<Parameter>,
        /// Set to another value.
        changed_parameters: Vec<Parameter>,
        /// Undeclared.
        deleted_parameters: Vec<Parameter>,
    }
}

interface! {
    /// One line of `/rosout`.
    pub struct Log = "rcl_interfaces/msg/Log" [
        /// For developers.
        const DEBUG: u8 = 10;
        /// For operators.
        const INFO: u8 = 20;
        /// Something is not right.
        const WARN: u8 = 30;
        /// Something failed.
        const ERROR: u8 = 40;
        /// The node cannot go on.
        const FATAL: u8 = 50;
    ] {
        /// When.
        stamp: Time,
        /// One of the constants.
        level: u8,
        /// Name of the logger.
        name: String,
        /// The line.
        msg: String,
        /// Source file.
        file: String,
        /// Function.
        function: String,
        /// Line in the source file.
        line: u32,
    }
}

interface! {
    /// Request of [`DescribeParameters`].
    pub struct DescribeParametersRequest = "rcl_interfaces/srv/DescribeParameters_Request" {
        /// Which.
        names: Vec<String>,
    }
}

interface! {
    /// Response of [`DescribeParameters`].
    pub struct DescribeParametersResponse = "rcl_interfaces/srv/DescribeParameters_Response" {
        /// In the order of the names.
        descriptors: Vec<ParameterDescriptor>,
    }
}

interface! {
    /// Request of [`GetParameters`].
    pub struct GetParametersRequest = "rcl_interfaces/srv/GetParameters_Request" {
        /// Which.
        names: Vec<String>,
    }
}

interface! {
    /// Response of [`GetParameters`].
    pub struct GetParametersResponse = "rcl_interfaces/srv/GetParameters_Response" {
        /// In the order of the names; not set where unknown.
        values: Vec<ParameterValue>,
    }
}

interface! {
    /// Request of [`GetParameterTypes`].
    pub struct GetParameterTypesRequest = "rcl_interfaces/srv/GetParameterTypes_Request" {
        /// Which.
        names: Vec<String>,
    }
}

interface! {
    /// Response of [`GetParameterTypes`].
    pub struct GetParameterTypesResponse = "rcl_interfaces/srv/GetParameterTypes_Response" {
        /// In the order of the names; constants of [`ParameterType`].
        types: Vec<u8>,
    }
}

interface! {
    /// Request of [`ListParameters`].
    pub struct ListParametersRequest = "rcl_interfaces/srv/ListParameters_Request" [
        /// No limit of depth.
        const DEPTH_RECURSIVE: u64 = 0;
    ] {
        /// Only below these; empty: all.
        prefixes: Vec<String>,
        /// Levels, counted in dots, below a prefix.
        depth: u64,
    }
}

interface! {
    /// Response of [`ListParameters`].
    pub struct ListParametersResponse = "rcl_interfaces/srv/ListParameters_Response" {
        /// What was found.
        result: ListParametersResult,
    }
}

interface! {
    /// Request of [`SetParameters`].
    pub struct SetParametersRequest = "rcl_interfaces/srv/SetParameters_Request" {
        /// Each is set by itself.
        parameters: Vec<Parameter>,
    }
}

interface! {
    /// Response of [`SetParameters`].
    pub struct SetParametersResponse = "rcl_interfaces/srv/SetParameters_Response" {
        /// In the order of the parameters.
        results: Vec<SetParametersResult>,
    }
}

interface! {
    /// Request of [`SetParametersAtomically`].
    pub struct SetParametersAtomicallyRequest =
        "rcl_interfaces/srv/SetParametersAtomically_Request" {
        /// All or none are set.
        parameters: Vec<Parameter>,
    }
}

interface! {
    /// Response of [`SetParametersAtomically`].
    pub struct SetParametersAtomicallyResponse =
        "rcl_interfaces/srv/SetParametersAtomically_Response" {
        /// One result for all.
        result: SetParametersResult,
    }
}

service! {
    /// Descriptions, types and ranges of parameters.
    pub struct DescribeParameters = "rcl_interfaces/srv/DescribeParameters":
        DescribeParametersRequest => DescribeParametersResponse
}

service! {
    /// Values of parameters.
    pub struct GetParameters = "rcl_interfaces/srv/GetParameters":
        GetParametersRequest => GetParametersResponse
}

service! {
    /// Types of parameters.
    pub struct GetParameterTypes = "rcl_interfaces/srv/GetParameterTypes":
        GetParameterTypesRequest => GetParameterTypesResponse
}

service! {
    /// Names of parameters.
    pub struct ListParameters = "rcl_interfaces/srv/ListParameters":
        ListParametersRequest => ListParametersResponse
}

service! {
    /// Sets parameters one by one.
    pub struct SetParameters = "rcl_interfaces/srv/SetParameters":
        SetParametersRequest => SetParametersResponse
}

service! {
    /// Sets parameters together or not at all.
    pub struct SetParametersAtomically = "rcl_interfaces/srv/SetParametersAtomically":
        SetParametersAtomicallyRequest => SetParametersAtomicallyResponse
}
