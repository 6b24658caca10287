//! What a model's licence asks of whoever downloads it.

use super::hub::RepoInfo;
use super::name::RepoName;

/// Licences without conditions that a download could break.
const FREE: &[&str] =
    &["apache-2.0", "mit", "bsd-2-clause", "bsd-3-clause", "cc0-1.0", "cc-by-4.0", "unlicense"];

/// What stands in the Tencent HY Community License; HY-MT1.5 and Hunyuan-MT are under it.
const TENCENT_NOTE: &str = "it does not allow use in the European Union, the United Kingdom and \
                            South Korea, and has more conditions; Hy-MT2 is under Apache-2.0";

/// A licence, and whether somebody has to agree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Licence {
    /// Its name as the hub says it.
    pub name: String,
    /// True when somebody has to agree first.
    pub is_asked: bool,
    /// What is known of its conditions; may be empty.
    pub note: &'static str,
}

/// The licence of a repository. What is not known to be free is asked for. A copy of HY-MT1.5 that
/// somebody labels otherwise keeps the conditions that its makers gave it.
pub fn of(repo: &RepoName, info: &RepoInfo) -> Licence {
    let repo = repo.name().to_lowercase();
    let name = match (info.licence.as_deref(), info.licence_name.as_deref()) {
        (Some("other") | None, Some(name)) => name.to_owned(),
        (Some(licence), _) => licence.to_owned(),
        (None, None) => "not stated".to_owned(),
    };
    let lower = name.to_lowercase();
    let is_tencent = ["hy-mt1.5", "hunyuan-mt"].iter().any(|model| repo.contains(model))
        || ["tencent", "hunyuan"].iter().any(|word| lower.contains(word));
    let is_asked = is_tencent || !FREE.contains(&lower.as_str());
    Licence { name, is_asked, note: if is_tencent { TENCENT_NOTE } else { "" } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_free_is_asked_for() {
        for (repo, licence, name, is_asked, says) in [
            ("tencent/Hy-MT2-1.8B", Some("apache-2.0"), None, false, ""),
            ("tencent/HY-MT1.5-1.8B", Some("other"), Some("tencent-hy-community"), true, "Korea"),
            ("someone/hy-mt1.5-1.8b-int8", Some("apache-2.0"), None, true, "Korea"),
            ("someone/model", None, None, true, ""),
            ("someone/model", Some("cc-by-nc-4.0"), None, true, ""),
        ] {
            let info = RepoInfo {
                commit: String::new(),
                licence: licence.map(str::to_owned),
                licence_name: name.map(str::to_owned),
            };
            let licence = of(&RepoName::parse(repo).unwrap(), &info);
            assert_eq!(licence.is_asked, is_asked, "{repo}");
            assert!(licence.note.contains(says), "{repo}");
        }
    }
}
