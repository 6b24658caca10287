//! The languages HY-MT knows, with their codes, names and aliases.
