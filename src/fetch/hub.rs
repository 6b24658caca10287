//! The three requests of the hub's protocol: about a repository, its files, and one file.

use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use ureq::config::RedirectAuthHeaders;
use ureq::http::Response;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Body};

use super::name::{RepoName, check_revision, is_safe_path, url_path};
use super::{FILE_BYTES_MAX, FetchError, LISTED_FILES_MAX};

/// The hub that is asked when neither `--endpoint` nor `HF_ENDPOINT` names another.
pub const ENDPOINT: &str = "https://huggingface.co";

/// Longest JSON document that is read. Bytes.
const JSON_BYTES_MAX: u64 = 16 << 20;
/// Most pages of a listing.
const PAGES_MAX: usize = 20;
/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
/// Longest silence of a server.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// A hub, with the right to read from it.
pub struct Hub {
    agent: Agent,
    endpoint: String,
    token: Option<String>,
}

impl std::fmt::Debug for Hub {
    /// Without the token, which must not reach a log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hub").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

/// What the hub says about a repository.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RepoInfo {
    /// The commit that the revision stands for now; everything is read from it.
    pub commit: String,
    /// Short name of the licence.
    pub licence: Option<String>,
    /// Its name where the short one is `other`.
    pub licence_name: Option<String>,
}

/// One file of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteFile {
    /// Path inside the repository.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// SHA-256 in lower-case hexadecimal, which the hub knows of large files.
    pub sha256: Option<String>,
}

impl Hub {
    /// The hub at `endpoint`. A token goes to it alone: not to where it redirects, and not over an
    /// unencrypted connection, except on this machine. `root_certs_pem` replaces the certificate
    /// authorities of the web, for a mirror with its own.
    ///
    /// # Errors
    /// When the address, the token or the certificates cannot be such, or this processor lacks what
    /// HTTPS needs.
    pub fn new(
        endpoint: &str,
        token: Option<String>,
        root_certs_pem: Option<&[u8]>,
    ) -> Result<Self, FetchError> {
        let endpoint = endpoint.trim_end_matches('/');
        let is_https = endpoint.starts_with("https://");
        let host = endpoint.split_once("://").map_or("", |(_, rest)| rest);
        let is_plain = |c: char| c.is_ascii_graphic() && !matches!(c, '@' | '?' | '#');
        if !(is_https || endpoint.starts_with("http://"))
            || host.is_empty()
            || !host.chars().all(is_plain)
        {
            return Err(FetchError::Invalid {
                what: "endpoint",
                given: crate::words::shortened(endpoint),
                allowed: "give a URL such as https://hf-mirror.example, without user and query",
            });
        }
        let token = token.filter(|token| !token.is_empty());
        if token.as_ref().is_some_and(|token| !token.chars().all(|c| c.is_ascii_graphic())) {
            let allowed = "it has letters that no token has; check HF_TOKEN";
            return Err(FetchError::Invalid { what: "token", given: String::new(), allowed });
        }
        if token.is_some() && !is_https && !is_this_machine(host) {
            return Err(FetchError::Invalid {
                what: "endpoint",
                given: endpoint.to_owned(),
                allowed: "HF_TOKEN would be sent in the clear; use https:// or unset HF_TOKEN",
            });
        }
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .https_only(is_https)
            .redirect_auth_headers(RedirectAuthHeaders::Never)
            .user_agent(concat!("hymt/", env!("CARGO_PKG_VERSION")))
            .timeout_resolve(Some(CONNECT_TIMEOUT))
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_recv_response(Some(READ_TIMEOUT))
            .timeout_per_read(Some(READ_TIMEOUT));
        let config = if is_https { config.tls_config(tls_config(root_certs_pem)?) } else { config };
        Ok(Self { agent: config.build().new_agent(), endpoint: endpoint.to_owned(), token })
    }

    /// What `revision` of a repository is.
    ///
    /// # Errors
    /// When the hub cannot be reached, refuses, or answers with something else.
    pub fn info(&self, repo: &RepoName, revision: &str) -> Result<RepoInfo, FetchError> {
        check_revision(revision)?;
        let (repo, revision) = (repo.as_str(), url_path(revision).replace('/', "%2F"));
        let url = format!("{}/api/models/{repo}/revision/{revision}", self.endpoint);
        let info: JsonInfo = json(&mut self.get(&url, 0)?, &url)?;
        let is_commit = info.sha.len() == 40 && info.sha.chars().all(|c| c.is_ascii_hexdigit());
        if !is_commit {
            let given = crate::words::shortened(&info.sha);
            return Err(FetchError::Listing { detail: format!("'{given}' is no commit") });
        }
        let card = info.card_data.unwrap_or_default();
        let tag = info.tags.iter().find_map(|tag| tag.strip_prefix("license:")).map(str::to_owned);
        let word = |value: serde_json::Value| value.as_str().map(crate::words::shortened);
        Ok(RepoInfo {
            commit: info.sha,
            licence: card.license.and_then(word).or(tag),
            licence_name: card.license_name.and_then(word),
        })
    }

    /// The files of a repository at a commit.
    ///
    /// # Errors
    /// As [`Self::info`], and when a name or a size is out of bounds.
    pub fn files(&self, repo: &RepoName, commit: &str) -> Result<Vec<RemoteFile>, FetchError> {
        let first = format!("/api/models/{}/tree/{commit}?recursive=true", repo.as_str());
        let mut url = format!("{}{first}", self.endpoint);
        let mut files = Vec::new();
        for _ in 0..PAGES_MAX {
            let mut response = self.get(&url, 0)?;
            let entries: Vec<JsonEntry> = json(&mut response, &url)?;
            for entry in entries.into_iter().filter(|entry| entry.kind == "file") {
                files.push(entry.checked()?);
            }
            if files.len() > LISTED_FILES_MAX {
                let detail = format!("more than {LISTED_FILES_MAX} files");
                return Err(FetchError::Listing { detail });
            }
            let Some(next) = next_page(&response) else { return Ok(files) };
            // Another host would be sent our token.
            let Some(path) = next.find("/api/").map(|at| next[at..].to_owned()) else {
                return Err(FetchError::Listing {
                    detail: "its next page is elsewhere".to_owned(),
                });
            };
            url = format!("{}{path}", self.endpoint);
        }
        Err(FetchError::Listing { detail: format!("more than {PAGES_MAX} pages") })
    }

    /// A file's content from byte `from` on, and the byte with which the answer begins: 0 when the
    /// server cannot begin in the middle.
    ///
    /// # Errors
    /// When the hub cannot be reached or refuses.
    pub fn open(
        &self,
        repo: &RepoName,
        commit: &str,
        path: &str,
        from: u64,
    ) -> Result<(impl Read + use<>, u64), FetchError> {
        let (repo, path) = (repo.as_str(), url_path(path));
        let url = format!("{}/{repo}/resolve/{commit}/{path}", self.endpoint);
        let response = self.get(&url, from)?;
        let range = response.headers().get("content-range").and_then(|range| range.to_str().ok());
        let begins = response.status() == 206
            && range.is_some_and(|range| range.starts_with(&format!("bytes {from}-")));
        Ok((response.into_body().into_reader(), if begins { from } else { 0 }))
    }

    fn get(&self, url: &str, from: u64) -> Result<Response<Body>, FetchError> {
        let mut request = self.agent.get(url);
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        if from > 0 {
            request = request.header("range", format!("bytes={from}-"));
        }
        let url = url.split('?').next().unwrap_or(url).to_owned();
        let response = request.call().map_err(|error| FetchError::Unreachable {
            url: url.clone(),
            detail: error.to_string(),
        })?;
        let hint = match response.status().as_u16() {
            200 | 206 => return Ok(response),
            401 | 403 => {
                "it needs a token that may read it, in HF_TOKEN, after its terms were \
                          accepted on the hub's page; or its name is misspelt"
            }
            404 => "no such repository, revision or file; compare with the hub's page",
            416 => "the part that is here already is longer than the file",
            429 => "too many requests; wait a while",
            500..=599 => "the hub has a fault; try again later, or another one with --endpoint",
            _ => "not an answer of a hub; is the endpoint right?",
        };
        Err(FetchError::Status { url, status: response.status().as_u16(), hint })
    }
}

fn is_this_machine(host: &str) -> bool {
    let name = host.split('/').next().unwrap_or_default();
    let name = name.rsplit_once(':').map_or(name, |(name, _)| name);
    matches!(name, "localhost" | "127.0.0.1" | "[::1]")
}

fn tls_config(root_certs_pem: Option<&[u8]>) -> Result<TlsConfig, FetchError> {
    let missing = missing_processor_features();
    if !missing.is_empty() {
        return Err(FetchError::Processor { missing: missing.join(", ") });
    }
    let provider = Arc::new(rustls_graviola::default_provider());
    let config = TlsConfig::builder().unversioned_rustls_crypto_provider(provider);
    let Some(pem) = root_certs_pem else { return Ok(config.build()) };
    let certificates: Vec<Certificate<'static>> = parse_pem(pem)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect();
    if certificates.is_empty() {
        return Err(FetchError::Invalid {
            what: "certificate file",
            given: String::new(),
            allowed: "SSL_CERT_FILE must name a PEM file with certificates",
        });
    }
    Ok(config.root_certs(RootCerts::new_with_certs(&certificates)).build())
}

/// What `rustls-graviola` needs and ends the process without.
fn missing_processor_features() -> Vec<&'static str> {
    let mut missing = Vec::new();
    #[cfg(target_arch = "x86_64")]
    {
        macro_rules! check {
            ($($name:tt),*) => {
                $(if !std::arch::is_x86_feature_detected!($name) { missing.push($name); })*
            };
        }
        check!("aes", "ssse3", "avx", "avx2", "adx", "bmi1", "bmi2", "pclmulqdq");
    }
    #[cfg(target_arch = "aarch64")]
    {
        macro_rules! check {
            ($($name:tt),*) => {
                $(if !std::arch::is_aarch64_feature_detected!($name) { missing.push($name); })*
            };
        }
        check!("aes", "sha2", "pmull", "neon");
    }
    missing.sort_unstable();
    missing
}

#[derive(Debug, Deserialize)]
struct JsonInfo {
    sha: String,
    #[serde(default)]
    tags: Vec<String>,
    #[serde(default, rename = "cardData")]
    card_data: Option<JsonCard>,
}

/// People write model cards by hand, so that nothing in them has a certain type.
#[derive(Debug, Deserialize, Default)]
struct JsonCard {
    #[serde(default)]
    license: Option<serde_json::Value>,
    #[serde(default)]
    license_name: Option<serde_json::Value>,
}

#[derive(Debug, Deserialize)]
struct JsonEntry {
    #[serde(rename = "type")]
    kind: String,
    path: String,
    #[serde(default)]
    size: u64,
    #[serde(default)]
    lfs: Option<JsonLfs>,
}

#[derive(Debug, Deserialize)]
struct JsonLfs {
    oid: String,
    size: u64,
}

impl JsonEntry {
    fn checked(self) -> Result<RemoteFile, FetchError> {
        let listing = |detail| FetchError::Listing { detail };
        let shown = crate::words::shortened(&self.path).escape_debug().to_string();
        if !is_safe_path(&self.path) {
            return Err(listing(format!(
                "the file name '{shown}' leaves its folder or is no name"
            )));
        }
        let size = self.lfs.as_ref().map_or(self.size, |lfs| lfs.size);
        if size > FILE_BYTES_MAX {
            return Err(listing(format!("'{shown}' has {size} bytes; at most {FILE_BYTES_MAX}")));
        }
        let sha256 = self.lfs.map(|lfs| lfs.oid.to_ascii_lowercase());
        if sha256
            .as_ref()
            .is_some_and(|hex| hex.len() != 64 || !hex.chars().all(|c| c.is_ascii_hexdigit()))
        {
            return Err(listing(format!("the checksum of '{shown}' is no SHA-256")));
        }
        Ok(RemoteFile { path: self.path, size, sha256 })
    }
}

fn json<T: serde::de::DeserializeOwned>(
    response: &mut Response<Body>,
    url: &str,
) -> Result<T, FetchError> {
    let body = response.body_mut().with_config().limit(JSON_BYTES_MAX).read_to_vec();
    let body = body.map_err(|error| FetchError::Unreachable {
        url: url.to_owned(),
        detail: error.to_string(),
    })?;
    serde_json::from_slice(&body).map_err(|error| FetchError::Listing {
        detail: format!("it is not the JSON expected: {error}"),
    })
}

/// The address after `rel="next"` of a `Link` header.
fn next_page(response: &Response<Body>) -> Option<&str> {
    let link = response.headers().get("link")?.to_str().ok()?;
    let next = link.split(',').find(|link| link.contains("rel=\"next\""))?;
    next.split_once('<')?.1.split_once('>').map(|(url, _)| url)
}
