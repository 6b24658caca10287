//! The context: its life, and what it must close when it ends.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::graph::R2rGraph;
use super::node::R2rNode;
use super::outbox::Outbox;
use super::slot::{Close, Slot};
use super::{rcl, spin::Spinner};
use crate::ros::port::{ContextPort, GraphPort, NodePort};
use crate::ros::{ContextOptions, RosError};

/// Start of the name of the node that looks at the graph while a context has none of its own. The
/// leading underscore hides it from `ros2 node list`.
const GRAPH_NODE: &str = "_hymt_graph";

/// One `rcl` context with its spin thread.
pub struct R2rContext {
    shared: Arc<Shared>,
}

/// What the context and everything made from it share.
pub(super) struct Shared {
    context: Slot<rcl::Context>,
    pub(super) spinner: Arc<Spinner>,
    pub(super) outbox: Arc<Outbox>,
    domain_id: u16,
    /// What `shutdown` closes, whoever still holds it.
    closables: Mutex<Vec<Weak<dyn Close>>>,
    nodes: Mutex<Vec<Weak<Slot<rcl::Node>>>>,
    graph_node: Slot<rcl::Node>,
}

impl R2rContext {
    /// Initialises ROS and starts the two threads.
    ///
    /// # Errors
    /// [`RosError::Create`] with what ROS says, [`RosError::Io`] when the thread cannot be started.
    pub fn new(options: &ContextOptions) -> Result<Self, RosError> {
        let what = || format!("a ROS context in domain {}", options.domain_id);
        let context = rcl::Context::new(options).map_err(|error| create_error(what(), error))?;
        let context = Arc::new(context);
        let spinner = Spinner::start(&context)?;
        let shared = Shared {
            context: Slot::of(Some(context)),
            spinner,
            outbox: Outbox::start()?,
            domain_id: options.domain_id,
            closables: Mutex::default(),
            nodes: Mutex::default(),
            graph_node: Slot::of(None),
        };
        Ok(Self { shared: Arc::new(shared) })
    }
}

impl ContextPort for R2rContext {
    fn create_node(&self, name: &str, namespace: &str) -> Result<Arc<dyn NodePort>, RosError> {
        let node = Arc::new(Slot::new(self.shared.new_node(name, namespace)?));
        let mut nodes = self.shared.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        nodes.retain(|node| node.strong_count() > 0);
        nodes.push(Arc::downgrade(&node));
        drop(nodes);
        self.shared.closes(&node);
        Ok(Arc::new(R2rNode::new(Arc::clone(&self.shared), node)))
    }

    fn graph(&self) -> Arc<dyn GraphPort> {
        Arc::new(R2rGraph::new(Arc::clone(&self.shared)))
    }

    fn domain_id(&self) -> u16 {
        self.shared.domain_id
    }

    fn shutdown(&self) {
        self.shared.shutdown();
    }
}

impl Shared {
    /// Closes `what` when the context ends.
    pub(super) fn closes<T: Send + Sync + 'static>(&self, what: &Arc<Slot<T>>) {
        let what = Arc::downgrade(what);
        let mut closables = self.closables.lock().unwrap_or_else(PoisonError::into_inner);
        closables.retain(|closable| closable.strong_count() > 0);
        closables.push(what);
    }

    /// Any node of this context, for questions to the graph.
    pub(super) fn any_node(&self) -> Option<Arc<rcl::Node>> {
        let nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(node) = nodes.iter().find_map(|node| node.upgrade()?.get()) {
            return Some(node);
        }
        drop(nodes);
        self.graph_node.get_or_make(|| {
            let made = self.new_node(&format!("{GRAPH_NODE}_{}", std::process::id()), "/");
            made.inspect_err(|error| tracing::debug!(%error, "the graph cannot be asked")).ok()
        })
    }

    fn new_node(&self, name: &str, namespace: &str) -> Result<rcl::Node, RosError> {
        let what = || format!("node {name} in {namespace}");
        let Some(context) = self.context.get() else {
            return Err(RosError::Closed { what: what() });
        };
        rcl::Node::new(&context, name, namespace).map_err(|error| create_error(what(), error))
    }

    fn shutdown(&self) {
        // First the context's own share, so that nothing is made any more, then the thread with
        // all handlers, then what they have said, then what was made, the last first. The
        // participant leaves with its last node.
        self.context.close();
        self.spinner.stop();
        self.outbox.stop();
        let closables =
            std::mem::take(&mut *self.closables.lock().unwrap_or_else(PoisonError::into_inner));
        for closable in closables.iter().rev().filter_map(Weak::upgrade) {
            closable.close();
        }
        self.graph_node.close();
    }
}

impl Drop for R2rContext {
    fn drop(&mut self) {
        self.shared.shutdown();
    }
}

/// Whether a node is one that only looks.
pub(super) fn is_graph_node(name: &str) -> bool {
    name.starts_with(GRAPH_NODE)
}

/// ROS refused to make something.
pub(super) fn create_error(what: String, error: rcl::RclError) -> RosError {
    match error {
        rcl::RclError::Interface { ros_type, reason } => RosError::NoInterface { ros_type, reason },
        error => RosError::Create { what, reason: error.to_string() },
    }
}
