//! Model folders from a hub that speaks Hugging Face's protocol: listing, resumed download, checks.
//!
//! The crate `hf-hub` stands on tokio and reqwest, with OpenSSL or with `aws-lc-rs`, which is C, and
//! its plain downloads neither resume nor compare checksums. So the three requests that it takes
//! are made here, with `ureq`. TLS is rustls with the provider `rustls-graviola`, whose
//! primitives are Rust and assembly that rustc builds: no C library and no C compiler. It is young,
//! and pinned.
//!
//! Nothing that a server says is trusted: names, counts, sizes and redirects have bounds, a file
//! takes its final name only once its size and its SHA-256 are those of the listing, and the folder
//! appears under its name only once all files are there. The node never downloads anything;
//! `tests/architecture.rs` holds that.

pub mod download;
pub mod hub;
pub mod licence;
pub mod name;

use std::path::PathBuf;

/// Most files of a repository's listing.
pub const LISTED_FILES_MAX: usize = 10_000;
/// Most files of one download.
pub const FILES_MAX: usize = 1_000;
/// Largest file. Bytes.
pub const FILE_BYTES_MAX: u64 = 64 << 30;
/// Most bytes of one download.
pub const TOTAL_BYTES_MAX: u64 = 256 << 30;

/// Why a model could not be fetched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// A repository, revision, address or token that cannot be one.
    #[error("{what} '{given}' is not valid: {allowed}")]
    Invalid {
        /// What it should be.
        what: &'static str,
        /// What was given; empty for a secret.
        given: String,
        /// What is allowed.
        allowed: &'static str,
    },
    /// No answer: offline, a wrong address, a broken connection.
    #[error("cannot reach {url}: {detail}")]
    Unreachable {
        /// What was asked for.
        url: String,
        /// What the system or the connection said.
        detail: String,
    },
    /// The server answered, but not with what was asked for.
    #[error("{url} answered {status}: {hint}")]
    Status {
        /// What was asked for.
        url: String,
        /// HTTP status.
        status: u16,
        /// What to do.
        hint: &'static str,
    },
    /// The listing is no listing, or asks for more than is allowed.
    #[error("the hub's listing cannot be used: {detail}")]
    Listing {
        /// What is wrong, with the bound.
        detail: String,
    },
    /// No file of the repository is wanted.
    #[error("{detail}")]
    NothingWanted {
        /// What there is instead.
        detail: String,
    },
    /// A file has another length than listed.
    #[error("'{file}' has {got} bytes, the listing says {expected}; {hint}")]
    Size {
        /// Which file.
        file: String,
        /// Bytes that came.
        got: u64,
        /// Bytes that the listing says.
        expected: u64,
        /// What to do.
        hint: &'static str,
    },
    /// A file is not the one listed.
    #[error("'{file}' has SHA-256 {got}, the listing says {expected}; {hint}")]
    Checksum {
        /// Which file.
        file: String,
        /// Of what came.
        got: String,
        /// Of what was listed.
        expected: String,
        /// What to do.
        hint: &'static str,
    },
    /// A folder that is in the way.
    #[error("'{folder}' {why}", folder = folder.display())]
    Folder {
        /// Which folder.
        folder: PathBuf,
        /// Why it cannot be used, and what to do.
        why: &'static str,
    },
    /// The disk refused.
    #[error("cannot write '{path}'", path = path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// This processor lacks what the TLS code needs.
    #[error("this processor has no {missing}, which HTTPS needs here")]
    Processor {
        /// Names of the processor features.
        missing: String,
    },
}

impl FetchError {
    /// True when another attempt may succeed.
    fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Status { status, .. } => matches!(status, 408 | 429 | 500..=599),
            _ => false,
        }
    }
}
