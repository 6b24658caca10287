//! Mirrors of `builtin_interfaces`, `rosgraph_msgs`, `std_msgs` and `std_srvs`.

use std::time::{SystemTime, UNIX_EPOCH};

use super::{interface, service};

const NANOS_PER_S: i64 = 1_000_000_000;

interface! {
    /// A point in time since the epoch of its clock.
    pub struct Time = "builtin_interfaces/msg/Time" {
        /// Whole seconds.
        sec: i32,
        /// Nanoseconds in addition to `sec`, 0..=999_999_999.
        nanosec: u32,
    }
}

interface! {
    /// Time and frame of the data that follows.
    pub struct Header = "std_msgs/msg/Header" {
        /// Time of the source.
        stamp: Time,
        /// Coordinate frame of the source.
        frame_id: String,
    }
}

interface! {
    /// `std_msgs/String`; called `StringMsg` to leave the name `String` to the language.
    pub struct StringMsg = "std_msgs/msg/String" {
        /// The text.
        data: String,
    }
}

interface! {
    /// `std_msgs/Bool`; called `BoolMsg` as [`StringMsg`] is.
    pub struct BoolMsg = "std_msgs/msg/Bool" {
        /// The value.
        data: bool,
    }
}

interface! {
    /// The time of a simulation, on `/clock`.
    pub struct Clock = "rosgraph_msgs/msg/Clock" {
        /// The time now.
        clock: Time,
    }
}

interface! {
    /// Request of [`Trigger`]: empty, which rosidl writes as one unused octet.
    pub struct TriggerRequest = "std_srvs/srv/Trigger_Request" {
        /// Always 0.
        structure_needs_at_least_one_member: u8,
    }
}

interface! {
    /// Response of [`Trigger`].
    pub struct TriggerResponse = "std_srvs/srv/Trigger_Response" {
        /// Whether it worked.
        success: bool,
        /// What happened, in words.
        message: String,
    }
}

service! {
    /// `std_srvs/Trigger`: do the thing.
    pub struct Trigger = "std_srvs/srv/Trigger": TriggerRequest => TriggerResponse
}

impl Time {
    /// The time of the system clock now.
    #[must_use]
    pub fn now() -> Self {
        SystemTime::now().into()
    }

    /// From nanoseconds since the epoch.
    #[must_use]
    pub fn from_nanos(nanos: i64) -> Self {
        // The seconds of ROS time are 32 bits wide until 2038; saturate rather than wrap.
        Self {
            sec: i32::try_from(nanos.div_euclid(NANOS_PER_S)).unwrap_or(i32::MAX),
            nanosec: nanos.rem_euclid(NANOS_PER_S) as u32,
        }
    }

    /// Nanoseconds since the epoch.
    #[must_use]
    pub fn as_nanos(&self) -> i64 {
        i64::from(self.sec) * NANOS_PER_S + i64::from(self.nanosec)
    }
}

impl From<SystemTime> for Time {
    fn from(time: SystemTime) -> Self {
        let since_epoch = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self::from_nanos(i64::try_from(since_epoch.as_nanos()).unwrap_or(i64::MAX))
    }
}

impl From<&str> for StringMsg {
    fn from(text: &str) -> Self {
        Self { data: text.to_owned() }
    }
}
