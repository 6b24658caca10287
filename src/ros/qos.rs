//! Quality of service profiles.
