//! Mirrors of `diagnostic_msgs`.

use super::{Header, interface};

interface! {
    /// A value and what it is.
    pub struct KeyValue = "diagnostic_msgs/msg/KeyValue" {
        /// What it is.
        key: String,
        /// The value, as text.
        value: String,
    }
}

interface! {
    /// How one part of the robot is.
    pub struct DiagnosticStatus = "diagnostic_msgs/msg/DiagnosticStatus" [
        /// All is well.
        const OK: u8 = 0;
        /// Something needs attention.
        const WARN: u8 = 1;
        /// Something does not work.
        const ERROR: u8 = 2;
        /// Nothing was heard of it for long; never sent by a live node.
        const STALE: u8 = 3;
    ] {
        /// One of the constants; `byte` in the interface file, which is the same on the wire.
        level: u8,
        /// Which part, as in `translator: Engine`.
        name: String,
        /// How it is, in words.
        message: String,
        /// The hardware it runs on.
        hardware_id: String,
        /// Figures.
        values: Vec<KeyValue>,
    }
}

interface! {
    /// How several parts are.
    pub struct DiagnosticArray = "diagnostic_msgs/msg/DiagnosticArray" {
        /// When.
        header: Header,
        /// The parts.
        status: Vec<DiagnosticStatus>,
    }
}
