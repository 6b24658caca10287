//! A node in this process with the scripted engine in place of a model.
#![allow(dead_code, reason = "each test uses a part of it")]

use hymt_ros::app::{self, EngineOptions, LoadedModel};
use hymt_ros::node::{ModelLoader, NODE_NAME, TranslatorNode};
use hymt_ros::parameters;
use hymt_ros::ros::names::NameResolver;
use hymt_ros::ros::param_value::ParamValue;
use hymt_ros::ros::{Context, QosOverrides};

/// What a node loads unless a test says otherwise.
pub(crate) fn load(options: &EngineOptions) -> anyhow::Result<LoadedModel> {
    app::load(options, &mut |_| ())
}

/// Starts `/translator`, unconfigured: from English into German, unless `parameters` say otherwise.
pub(crate) fn scripted_node(
    context: &Context,
    parameters: &[(&str, ParamValue)],
    loader: ModelLoader,
) -> TranslatorNode {
    let text = |text: &str| ParamValue::String(text.to_owned());
    let mut given = vec![
        ("engine".to_owned(), text("scripted")),
        ("source_locale".to_owned(), text("en")),
        ("target_locales".to_owned(), ParamValue::StringArray(vec!["de".to_owned()])),
    ];
    given.extend(parameters.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
    let (store, _) = parameters::declare(&given).expect("valid parameters");
    let names = NameResolver::new(NODE_NAME, "/", &[]).expect("a valid name");
    TranslatorNode::start(context, names, store, QosOverrides::default(), loader)
        .expect("the node starts")
}
