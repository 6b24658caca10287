//! Do two participants of ROS 2 find each other on this machine?

use crate::board::Finding;

/// Joins the DDS domain of the environment and sends a text from one participant to another.
pub(super) fn findings() -> Vec<Finding> {
    use crate::ros::ContextOptions;

    let what = "ros 2";
    let options = match ContextOptions::from_env(&|name| std::env::var(name).ok()) {
        Ok(options) => options,
        Err(error) => {
            return vec![Finding::failed(what, error.to_string())];
        }
    };
    let (domain, range) = (options.domain_id, options.discovery_range);
    let detail = format!("DDS domain {domain}, discovery {range:?}; no ROS installation needed");
    let environment = Finding::ok(what, detail);
    let what = "loopback";
    let loopback = match round_trip(&options) {
        Ok(ms) => Finding::ok(
            what,
            format!("two participants found each other and talked within {ms:.0} ms"),
        ),
        Err(detail) => {
            Finding::failed(what, detail).fixed_by("export ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST")
        }
    };
    vec![environment, loopback]
}

fn round_trip(options: &crate::ros::ContextOptions) -> Result<f64, String> {
    use std::time::{Duration, Instant};

    use crate::ros::qos::QosProfile;
    use crate::ros::wire::StringMsg;
    use crate::ros::{Context, Middleware};

    const PATIENCE: Duration = Duration::from_secs(15);
    let started = Instant::now();
    let words = |error: crate::ros::RosError| error.to_string();
    let topic = format!("/hymt_doctor_{}/ping", std::process::id());
    let middleware = Middleware::from_env(&|name| std::env::var(name).ok()).map_err(words)?;
    let (here, there) = (Context::new(middleware, options), Context::new(middleware, options));
    let (here, there) = (here.map_err(words)?, there.map_err(words)?);
    let listener = there.create_node("hymt_doctor_listener", "/").map_err(words)?;
    let talker = here.create_node("hymt_doctor_talker", "/").map_err(words)?;
    let (_subscription, messages) =
        listener.subscription_queue::<StringMsg>(&topic, &QosProfile::DEFAULT, 8).map_err(words)?;
    let publisher = talker.publisher(&topic, &QosProfile::DEFAULT).map_err(words)?;
    while started.elapsed() < PATIENCE {
        publisher.publish(&StringMsg::from("ping")).map_err(words)?;
        if messages.recv_timeout(Duration::from_millis(50)).is_ok() {
            return Ok(started.elapsed().as_secs_f64() * 1e3);
        }
    }
    Err(format!(
        "two participants did not find each other within {} s; allow UDP multicast on this \
         machine (firewall, VPN), or set ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST",
        PATIENCE.as_secs()
    ))
}
