//! Checks, before anything slow is built, that a ROS 2 installation is sourced that `r2r` knows.
//!
//! Only with the feature `r2r`. Its own build scripts check the same, but say it in a panic.
#![allow(clippy::print_stdout, reason = "this is how a build script speaks to cargo")]

/// What `r2r` 0.9.7 accepts.
const DISTROS: &[&str] = &["foxy", "galactic", "humble", "iron", "jazzy", "lyrical", "rolling"];

/// Those that have only `ROS_LOCALHOST_ONLY` and no discovery range.
const BEFORE_IRON: &[&str] = &["foxy", "galactic", "humble"];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=ROS_DISTRO");
    println!("cargo::rerun-if-env-changed=AMENT_PREFIX_PATH");
    println!("cargo::rustc-check-cfg=cfg(ros_before_iron)");
    if std::env::var_os("CARGO_FEATURE_R2R").is_none() {
        return;
    }
    match distro() {
        Ok(distro) if BEFORE_IRON.contains(&distro.as_str()) => {
            println!("cargo::rustc-cfg=ros_before_iron");
        }
        Ok(_) => {}
        Err(reason) => println!("cargo::error={reason}"),
    }
}

fn distro() -> Result<String, String> {
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let (Some(distro), Some(_)) = (set("ROS_DISTRO"), set("AMENT_PREFIX_PATH")) else {
        return Err("the feature 'r2r' builds against a ROS 2 installation, and none is sourced: \
                    ROS_DISTRO and AMENT_PREFIX_PATH must be set; source \
                    /opt/ros/<distro>/setup.bash, or build with the feature 'dds', which needs no \
                    ROS"
        .to_owned());
    };
    if DISTROS.contains(&distro.as_str()) {
        return Ok(distro);
    }
    Err(format!(
        "the feature 'r2r' does not know ROS 2 '{distro}' (ROS_DISTRO); it knows {}. Build with \
         '--no-default-features --features dds' instead: that node needs no ROS to be built and \
         talks to {distro} all the same",
        DISTROS.join(", ")
    ))
}
