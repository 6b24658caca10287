//! `hymt fetch`: a model folder from the Hugging Face hub or a mirror of it.

use std::path::PathBuf;

use clap::Args;

/// Arguments of `hymt fetch`.
#[derive(Debug, Args)]
pub struct FetchArgs {
    /// Repository, for example tencent/Hy-MT2-1.8B.
    #[arg(value_name = "OWNER/NAME")]
    repo: String,
    /// Branch, tag or commit.
    #[arg(long, default_value = "main", value_name = "REVISION")]
    revision: String,
    /// Folder to make; without it the repository's name, here.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Files to take, with * and ?, for example '*Q8_0.gguf'; repeat for more. Without it what a
    /// model folder needs.
    #[arg(long, value_name = "PATTERN")]
    include: Vec<String>,
    /// URL of another hub; without it HF_ENDPOINT, or huggingface.co.
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,
    /// Agree to the model's licence.
    #[arg(long)]
    yes: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Fetches.
///
/// # Errors
/// When the hub cannot be reached or the licence is not agreed to.
#[cfg(not(feature = "fetch"))]
pub fn run(
    args: &FetchArgs,
    _: &mut crate::cli::output::Output,
) -> anyhow::Result<std::process::ExitCode> {
    anyhow::bail!("this build cannot fetch (feature 'fetch'); {}", by_hand(&args.repo))
}

/// How to do without `hymt fetch`.
fn by_hand(repo: &str) -> String {
    format!(
        "on any machine with a network, `pip install huggingface_hub` and `hf download {repo} \
         --local-dir DIR`, or curl -LO each file from https://huggingface.co/{repo}/tree/main; \
         then copy DIR here and give --model DIR"
    )
}

#[cfg(feature = "fetch")]
pub use with_hub::run;

#[cfg(feature = "fetch")]
mod with_hub {
    use std::io::BufRead;
    use std::path::PathBuf;
    use std::process::ExitCode;
    use std::time::Duration;

    use anyhow::Context as _;
    use hymt_llm::weights::read_bounded;
    use serde_json::json;

    use super::{FetchArgs, by_hand};
    use crate::cli::output::{self, Output};
    use crate::cli::{UsageError, progress};
    use crate::fetch::FetchError;
    use crate::fetch::download::{Download, Outcome, wanted};
    use crate::fetch::hub::{ENDPOINT, Hub, RemoteFile};
    use crate::fetch::licence::{self, Licence};
    use crate::fetch::name::RepoName;

    /// Wait before the second attempt at a broken connection.
    const RETRY_WAIT: Duration = Duration::from_secs(1);
    /// Largest file of certificates. Bytes.
    const CERTIFICATES_BYTES_MAX: usize = 4 << 20;
    /// Longest answer to the question about the licence. Bytes.
    const ANSWER_BYTES_MAX: u64 = 64;

    /// Fetches.
    ///
    /// # Errors
    /// When the hub cannot be reached or the licence is not agreed to.
    pub fn run(args: &FetchArgs, output: &mut Output) -> anyhow::Result<ExitCode> {
        fetch(args, output).map_err(|error| match error.downcast_ref::<FetchError>() {
            Some(FetchError::Invalid { .. }) => UsageError(error.to_string()).into(),
            Some(FetchError::Unreachable { .. } | FetchError::Processor { .. }) => {
                let by_hand = by_hand(&args.repo);
                error.context(format!("no network? name a mirror with --endpoint, or {by_hand}"))
            }
            _ => error,
        })
    }

    fn fetch(args: &FetchArgs, output: &mut Output) -> anyhow::Result<ExitCode> {
        let repo = RepoName::parse(&args.repo)?;
        let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let endpoint = args.endpoint.clone().or_else(|| variable("HF_ENDPOINT"));
        let certificates = variable("SSL_CERT_FILE")
            .map(|path| read_bounded(path.as_ref(), CERTIFICATES_BYTES_MAX))
            .transpose()?;
        let hub = Hub::new(
            endpoint.as_deref().unwrap_or(ENDPOINT),
            variable("HF_TOKEN"),
            certificates.as_deref(),
        )?;
        let info = hub.info(&repo, &args.revision)?;
        let files = wanted(hub.files(&repo, &info.commit)?, &args.include)?;
        let total: u64 = files.iter().map(|file| file.size).sum();
        let licence = licence::of(&repo, &info);
        if !args.json || licence.is_asked {
            about(&repo, &files, total, &licence);
        }
        agree(&licence, args.yes)?;
        let folder = args.out.clone().unwrap_or_else(|| PathBuf::from(repo.name()));
        let download = Download {
            hub: &hub,
            repo: &repo,
            commit: &info.commit,
            files: &files,
            folder: &folder,
            retry_wait: RETRY_WAIT,
        };
        let bar = progress::transfer_bar("fetching", total);
        let outcome = download.run(&mut |bytes| bar.set_position(bytes));
        bar.finish_and_clear();
        let outcome = outcome.with_context(|| {
            let unfinished = download.unfinished_folder();
            format!("not complete; what came is kept in '{}'", unfinished.display())
        })?;
        if args.json {
            output.json(&json!({
                "repository": repo.as_str(),
                "commit": info.commit,
                "licence": licence.name,
                "folder": folder.display().to_string(),
                "was_complete": outcome == Outcome::WasComplete,
                "bytes": total,
                "files": files.iter().map(file_json).collect::<Vec<_>>(),
            }))?;
            return Ok(ExitCode::SUCCESS);
        }
        let verb = match outcome {
            Outcome::Fetched => "fetched and checked",
            Outcome::WasComplete => "was complete already",
        };
        let shown = folder.display();
        output.line(format!("{shown} {verb}; try\n  hymt inspect --model {shown}"))?;
        Ok(ExitCode::SUCCESS)
    }

    fn file_json(file: &RemoteFile) -> serde_json::Value {
        json!({ "path": file.path, "bytes": file.size, "sha256": file.sha256 })
    }

    /// Says what is about to be fetched.
    fn about(repo: &RepoName, files: &[RemoteFile], total: u64, licence: &Licence) {
        let n = files.len();
        let gigabytes = total as f64 / 1e9;
        output::note(&format!("{}: {n} files, {gigabytes:.3} GB", repo.as_str()));
        output::note(&format!("licence: {}", licence.name));
        if !licence.note.is_empty() {
            output::note(&format!("  {}", licence.note));
        }
    }

    /// Asks where somebody has to agree.
    fn agree(licence: &Licence, yes: bool) -> anyhow::Result<()> {
        if !licence.is_asked || yes {
            return Ok(());
        }
        output::note("Do you agree to this licence? Type yes:");
        let mut answer = String::new();
        std::io::Read::take(std::io::stdin().lock(), ANSWER_BYTES_MAX).read_line(&mut answer)?;
        anyhow::ensure!(
            answer.trim() == "yes",
            "nothing was fetched: the licence '{}' was not agreed to; read it on the hub's page, \
             then type yes or give --yes",
            licence.name
        );
        Ok(())
    }
}
