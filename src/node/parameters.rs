//! The six parameter services, `/parameter_events`, and what a change does.

use std::sync::Arc;

use super::NodeError;
use super::shared::Shared;
use crate::ros::convert::{change_to_wire, descriptor_to_wire, value_from_wire, value_to_wire};
use crate::ros::param_store::{Change, ParamSnapshot, ParameterStore, REQUEST_PARAMETERS_MAX};
use crate::ros::param_value::ParamValue;
use crate::ros::qos::QosProfile;
use crate::ros::wire::rcl;
use crate::ros::{Node, Publisher, Server};

/// The services, alive as long as this is.
pub(super) struct ParameterServices {
    _describe: Server<rcl::DescribeParameters>,
    _get: Server<rcl::GetParameters>,
    _get_types: Server<rcl::GetParameterTypes>,
    _list: Server<rcl::ListParameters>,
    _set: Server<rcl::SetParameters>,
    _set_atomically: Server<rcl::SetParametersAtomically>,
}

/// What a change reaches.
struct Applier {
    shared: Arc<Shared>,
    events: Publisher<rcl::ParameterEvent>,
    node_name: String,
}

impl ParameterServices {
    pub(super) fn start(node: &Node, shared: &Arc<Shared>) -> Result<Self, NodeError> {
        let names = &shared.names;
        let events = node.publisher("/parameter_events", &QosProfile::PARAMETER_EVENTS)?;
        let applier = Arc::new(Applier {
            shared: Arc::clone(shared),
            events,
            node_name: names.fully_qualified_name(),
        });
        applier.announce();
        let service = |name: &str| names.service(&format!("~/{name}"));
        let share = || Arc::clone(shared);
        let (describe, get, types, list) = (share(), share(), share(), share());
        let (set, set_atomically) = (Arc::clone(&applier), applier);
        Ok(Self {
            _describe: node.service(
                &service("describe_parameters")?,
                move |request, responder| {
                    responder.respond_or_log(&describe_all(&describe.store, &request));
                },
            )?,
            _get: node.service(&service("get_parameters")?, move |request, responder| {
                responder.respond_or_log(&get_all(&get.store, &request));
            })?,
            _get_types: node.service(
                &service("get_parameter_types")?,
                move |request, responder| {
                    responder.respond_or_log(&types_of_all(&types.store, &request));
                },
            )?,
            _list: node.service(
                &service("list_parameters")?,
                move |request: rcl::ListParametersRequest, responder| {
                    let found = list.store.list(&request.prefixes, request.depth);
                    let result =
                        rcl::ListParametersResult { names: found.names, prefixes: found.prefixes };
                    responder.respond_or_log(&rcl::ListParametersResponse { result });
                },
            )?,
            _set: node.service(
                &service("set_parameters")?,
                move |request: rcl::SetParametersRequest, responder| {
                    let results = set.set_each(request.parameters);
                    responder.respond_or_log(&rcl::SetParametersResponse { results });
                },
            )?,
            _set_atomically: node.service(
                &service("set_parameters_atomically")?,
                move |request: rcl::SetParametersAtomicallyRequest, responder| {
                    let result = set_atomically.set(request.parameters);
                    responder.respond_or_log(&rcl::SetParametersAtomicallyResponse { result });
                },
            )?,
        })
    }
}

impl Applier {
    /// Sets each of several for itself, and makes what was taken work at once.
    fn set_each(&self, parameters: Vec<rcl::Parameter>) -> Vec<rcl::SetParametersResult> {
        let mut taken = Vec::new();
        let one = |(index, parameter): (usize, rcl::Parameter)| {
            // Each costs a check of all parameters; a client pairs results with its own list.
            if index >= REQUEST_PARAMETERS_MAX {
                return result(Err(format!("more than {REQUEST_PARAMETERS_MAX} at once")));
            }
            let group = vec![(parameter.name, value_from_wire(parameter.value))];
            result(self.store(group).map(|changes| taken.extend(changes)))
        };
        let results = parameters.into_iter().enumerate().map(one).collect();
        if !taken.is_empty() {
            self.apply(&taken);
        }
        results
    }

    /// Sets a group, all or none, and makes it work.
    fn set(&self, parameters: Vec<rcl::Parameter>) -> rcl::SetParametersResult {
        let group = parameters.into_iter().map(|p| (p.name, value_from_wire(p.value))).collect();
        result(self.store(group).map(|changes| self.apply(&changes)))
    }

    /// Stores a group if all that hangs on it can follow.
    fn store(&self, group: Vec<(String, ParamValue)>) -> Result<Vec<Change>, String> {
        let agrees = |values: &ParamSnapshot| self.shared.check(values);
        self.shared.store.set_atomically_if(group, agrees)
    }

    fn apply(&self, changes: &[Change]) {
        if let Err(problems) = self.shared.apply(false, |_| Ok(())) {
            // The group was checked as a whole, so only a file that changed since can be in the way.
            tracing::error!(problems = problems.join("; "), "a change could not be applied");
        }
        for Change { name, value } in changes {
            // The value may hold user text (terms), which is never logged at info.
            tracing::info!(name, "parameter changed");
            tracing::debug!(name, %value, "its new value");
        }
        let changed_parameters = changes.iter().map(change_to_wire).collect();
        self.tell(&rcl::ParameterEvent { changed_parameters, ..self.event() });
    }

    /// Tells what was declared, as rclcpp does at the start.
    fn announce(&self) {
        let values = self.shared.store.snapshot();
        let declared = self.shared.store.declarations().iter();
        let new_parameters = declared
            .map(|declaration| rcl::Parameter {
                name: declaration.name.to_owned(),
                value: value_to_wire(values.get(declaration.name).unwrap_or(&ParamValue::NotSet)),
            })
            .collect();
        self.tell(&rcl::ParameterEvent { new_parameters, ..self.event() });
    }

    fn event(&self) -> rcl::ParameterEvent {
        rcl::ParameterEvent {
            stamp: self.shared.now(),
            node: self.node_name.clone(),
            ..rcl::ParameterEvent::default()
        }
    }

    fn tell(&self, event: &rcl::ParameterEvent) {
        if let Err(error) = self.events.publish(event) {
            tracing::warn!(%error, "a parameter event is lost");
        }
    }
}

fn result(set: Result<(), String>) -> rcl::SetParametersResult {
    match set {
        Ok(()) => rcl::SetParametersResult { successful: true, reason: String::new() },
        Err(reason) => {
            // The reason may quote a term, which is user text.
            tracing::debug!(reason, "a parameter change was refused");
            tracing::info!("a parameter change was refused; the caller has the reason");
            rcl::SetParametersResult { successful: false, reason }
        }
    }
}

fn describe_all(
    store: &ParameterStore,
    request: &rcl::DescribeParametersRequest,
) -> rcl::DescribeParametersResponse {
    let describe = |name: &String| match store.describe(name) {
        Some(declaration) => descriptor_to_wire(declaration),
        // As rclpy: a name that is not declared has no type.
        None => rcl::ParameterDescriptor { name: name.clone(), ..Default::default() },
    };
    rcl::DescribeParametersResponse { descriptors: request.names.iter().map(describe).collect() }
}

fn get_all(
    store: &ParameterStore,
    request: &rcl::GetParametersRequest,
) -> rcl::GetParametersResponse {
    let values = store.snapshot();
    let get = |name: &String| value_to_wire(values.get(name).unwrap_or(&ParamValue::NotSet));
    rcl::GetParametersResponse { values: request.names.iter().map(get).collect() }
}

fn types_of_all(
    store: &ParameterStore,
    request: &rcl::GetParameterTypesRequest,
) -> rcl::GetParameterTypesResponse {
    let values = store.snapshot();
    let kind = |name: &String| values.get(name).map_or(0, |value| value.kind() as u8);
    rcl::GetParameterTypesResponse { types: request.names.iter().map(kind).collect() }
}
