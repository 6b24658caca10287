//! The command line, `hymt`.
