"""ROS 2 interfaces for Cyclone DDS, written from the interface files, not from our Rust structs.

`message(name)` gives the struct of a topic, `service(name)` the two structs of a service with the
header that rmw_cyclonedds puts before both.
"""

from dataclasses import dataclass, field, fields, is_dataclass
from typing import get_type_hints

from cyclonedds.idl import IdlStruct
from cyclonedds.idl.types import (
    array, float32, float64, int32, int64, sequence, uint8, uint32, uint64,
)


def ros(name):
    """`pkg/kind/Name` becomes the DDS type `pkg::kind::dds_::Name_`."""
    package, kind, short = name.split("/")
    return f"{package}.{kind}.dds_.{short}_"


@dataclass
class Time(IdlStruct, typename=ros("builtin_interfaces/msg/Time")):
    sec: int32 = 0
    nanosec: uint32 = 0


@dataclass
class Header(IdlStruct, typename=ros("std_msgs/msg/Header")):
    stamp: Time = field(default_factory=Time)
    frame_id: str = ""


@dataclass
class String(IdlStruct, typename=ros("std_msgs/msg/String")):
    data: str = ""


@dataclass
class Octets(IdlStruct, typename=ros("std_msgs/msg/String")):
    """A string as it travels, length and octets, so that the octets may be anything."""

    data: sequence[uint8] = field(default_factory=list)


@dataclass
class LengthOnly(IdlStruct, typename=ros("std_msgs/msg/String")):
    """A string that ends after its length."""

    length: uint32 = 0


@dataclass
class TwoOctets(IdlStruct, typename=ros("std_msgs/msg/String")):
    """A string that ends within its length."""

    data: array[uint8, 2] = field(default_factory=lambda: [0, 0])


@dataclass
class Translation(IdlStruct, typename=ros("hymt_ros/msg/Translation")):
    header: Header = field(default_factory=Header)
    speaker_id: str = ""
    utterance_id: uint64 = 0
    revision: uint32 = 0
    is_final: bool = False
    source_text: str = ""
    source_locale: str = ""
    source_locale_confidence: float32 = 0.0
    target_locale: str = ""
    text: str = ""
    stable_chars: uint32 = 0
    status: uint8 = 0
    detail: str = ""
    glossary_applied: sequence[str] = field(default_factory=list)
    glossary_missed: sequence[str] = field(default_factory=list)
    from_cache: bool = False
    queue_ms: float32 = 0.0
    inference_ms: float32 = 0.0
    total_ms: float32 = 0.0
    tokens_in: uint32 = 0
    tokens_out: uint32 = 0


@dataclass
class TranslateRequest(IdlStruct, typename=ros("hymt_ros/srv/Translate_Request_Body")):
    texts: sequence[str] = field(default_factory=list)
    source_locale: str = ""
    target_locales: sequence[str] = field(default_factory=list)
    glossary: str = ""
    inline_terms: sequence[str] = field(default_factory=list)
    context: str = ""
    formality: uint8 = 0
    priority: uint8 = 128
    timeout_s: float32 = 0.0


@dataclass
class TranslateResponse(IdlStruct, typename=ros("hymt_ros/srv/Translate_Response_Body")):
    success: bool = False
    code: uint8 = 0
    message: str = ""
    results: sequence[Translation] = field(default_factory=list)


@dataclass
class TriggerRequest(IdlStruct, typename=ros("std_srvs/srv/Trigger_Request_Body")):
    structure_needs_at_least_one_member: uint8 = 0


@dataclass
class TriggerResponse(IdlStruct, typename=ros("std_srvs/srv/Trigger_Response_Body")):
    success: bool = False
    message: str = ""


@dataclass
class ParameterValue(IdlStruct, typename=ros("rcl_interfaces/msg/ParameterValue")):
    type: uint8 = 0
    bool_value: bool = False
    integer_value: int64 = 0
    double_value: float64 = 0.0
    string_value: str = ""
    byte_array_value: sequence[uint8] = field(default_factory=list)
    bool_array_value: sequence[bool] = field(default_factory=list)
    integer_array_value: sequence[int64] = field(default_factory=list)
    double_array_value: sequence[float64] = field(default_factory=list)
    string_array_value: sequence[str] = field(default_factory=list)


@dataclass
class Parameter(IdlStruct, typename=ros("rcl_interfaces/msg/Parameter")):
    name: str = ""
    value: ParameterValue = field(default_factory=ParameterValue)


@dataclass
class FloatingPointRange(IdlStruct, typename=ros("rcl_interfaces/msg/FloatingPointRange")):
    from_value: float64 = 0.0
    to_value: float64 = 0.0
    step: float64 = 0.0


@dataclass
class IntegerRange(IdlStruct, typename=ros("rcl_interfaces/msg/IntegerRange")):
    from_value: int64 = 0
    to_value: int64 = 0
    step: uint64 = 0


@dataclass
class ParameterDescriptor(IdlStruct, typename=ros("rcl_interfaces/msg/ParameterDescriptor")):
    name: str = ""
    type: uint8 = 0
    description: str = ""
    additional_constraints: str = ""
    read_only: bool = False
    dynamic_typing: bool = False
    floating_point_range: sequence[FloatingPointRange, 1] = field(default_factory=list)
    integer_range: sequence[IntegerRange, 1] = field(default_factory=list)


@dataclass
class SetParametersResult(IdlStruct, typename=ros("rcl_interfaces/msg/SetParametersResult")):
    successful: bool = False
    reason: str = ""


@dataclass
class ListParametersResult(IdlStruct, typename=ros("rcl_interfaces/msg/ListParametersResult")):
    names: sequence[str] = field(default_factory=list)
    prefixes: sequence[str] = field(default_factory=list)


@dataclass
class ParameterEvent(IdlStruct, typename=ros("rcl_interfaces/msg/ParameterEvent")):
    stamp: Time = field(default_factory=Time)
    node: str = ""
    new_parameters: sequence[Parameter] = field(default_factory=list)
    changed_parameters: sequence[Parameter] = field(default_factory=list)
    deleted_parameters: sequence[Parameter] = field(default_factory=list)


@dataclass
class Log(IdlStruct, typename=ros("rcl_interfaces/msg/Log")):
    stamp: Time = field(default_factory=Time)
    level: uint8 = 0
    name: str = ""
    msg: str = ""
    file: str = ""
    function: str = ""
    line: uint32 = 0


@dataclass
class Names(IdlStruct, typename=ros("rcl_interfaces/srv/Names_Body")):
    """The request of describe, get and get types."""

    names: sequence[str] = field(default_factory=list)


@dataclass
class DescribeResponse(IdlStruct, typename=ros("rcl_interfaces/srv/Describe_Body")):
    descriptors: sequence[ParameterDescriptor] = field(default_factory=list)


@dataclass
class GetResponse(IdlStruct, typename=ros("rcl_interfaces/srv/Get_Body")):
    values: sequence[ParameterValue] = field(default_factory=list)


@dataclass
class GetTypesResponse(IdlStruct, typename=ros("rcl_interfaces/srv/GetTypes_Body")):
    types: sequence[uint8] = field(default_factory=list)


@dataclass
class ListRequest(IdlStruct, typename=ros("rcl_interfaces/srv/List_Request_Body")):
    prefixes: sequence[str] = field(default_factory=list)
    depth: uint64 = 0


@dataclass
class ListResponse(IdlStruct, typename=ros("rcl_interfaces/srv/List_Response_Body")):
    result: ListParametersResult = field(default_factory=ListParametersResult)


@dataclass
class SetRequest(IdlStruct, typename=ros("rcl_interfaces/srv/Set_Request_Body")):
    parameters: sequence[Parameter] = field(default_factory=list)


@dataclass
class SetResponse(IdlStruct, typename=ros("rcl_interfaces/srv/Set_Response_Body")):
    results: sequence[SetParametersResult] = field(default_factory=list)


@dataclass
class SetAtomicallyResponse(IdlStruct, typename=ros("rcl_interfaces/srv/SetAtomically_Body")):
    result: SetParametersResult = field(default_factory=SetParametersResult)


@dataclass
class NodeEntities(IdlStruct, typename=ros("rmw_dds_common/msg/NodeEntitiesInfo")):
    node_namespace: str = ""
    node_name: str = ""
    reader_gid_seq: sequence[array[uint8, 16]] = field(default_factory=list)
    writer_gid_seq: sequence[array[uint8, 16]] = field(default_factory=list)


@dataclass
class ParticipantEntities(IdlStruct, typename=ros("rmw_dds_common/msg/ParticipantEntitiesInfo")):
    gid: array[uint8, 16] = field(default_factory=lambda: [0] * 16)
    node_entities_info_seq: sequence[NodeEntities] = field(default_factory=list)


MESSAGES = {
    "std_msgs/msg/String": String,
    "hymt_ros/msg/Translation": Translation,
    "rcl_interfaces/msg/ParameterEvent": ParameterEvent,
    "rcl_interfaces/msg/Log": Log,
    "rmw_dds_common/msg/ParticipantEntitiesInfo": ParticipantEntities,
}

BODIES = {
    "hymt_ros/srv/Translate": (TranslateRequest, TranslateResponse),
    "std_srvs/srv/Trigger": (TriggerRequest, TriggerResponse),
    "rcl_interfaces/srv/DescribeParameters": (Names, DescribeResponse),
    "rcl_interfaces/srv/GetParameters": (Names, GetResponse),
    "rcl_interfaces/srv/GetParameterTypes": (Names, GetTypesResponse),
    "rcl_interfaces/srv/ListParameters": (ListRequest, ListResponse),
    "rcl_interfaces/srv/SetParameters": (SetRequest, SetResponse),
    "rcl_interfaces/srv/SetParametersAtomically": (SetRequest, SetAtomicallyResponse),
}


def message(name):
    return MESSAGES[name]


def service(name):
    """Request and response of a service behind the header of rmw_cyclonedds."""

    def behind_header(kind, half):
        @dataclass
        class Wrapped(IdlStruct, typename=ros(f"{name}_{half}")):
            client: uint64
            number: int64
            body: kind

        return Wrapped

    request, response = BODIES[name]
    return request, behind_header(request, "Request"), behind_header(response, "Response")


def from_json(kind, value):
    """Builds a struct from plain JSON values, field by field."""
    if not is_dataclass(kind):
        return value
    hints = get_type_hints(kind, include_extras=True)
    unknown = set(value) - {member.name for member in fields(kind)}
    if unknown:
        raise SystemExit(f"{kind.__name__} has no field {sorted(unknown)}")
    built = {}
    for name, given in value.items():
        hint = hints[name]
        inner = getattr(hint, "__metadata__", [None])[0]
        element = getattr(inner, "subtype", None)
        if isinstance(given, list) and is_dataclass(element):
            built[name] = [from_json(element, each) for each in given]
        else:
            built[name] = from_json(hint, given) if isinstance(given, dict) else given
    return kind(**built)
