//! Names from outside: repositories, revisions, files, patterns.

use super::FetchError;

/// Longest repository, revision or file name. Bytes.
const NAME_BYTES_MAX: usize = 255;

/// A checked `owner/name`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepoName(String);

impl RepoName {
    /// Checks a repository's name.
    ///
    /// # Errors
    /// When it is not `owner/name` of letters, digits, `-`, `_` and `.`.
    pub fn parse(given: &str) -> Result<Self, FetchError> {
        let is_part = |part: &str| {
            let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
            !part.is_empty()
                && part.len() <= 96
                && !part.starts_with(['.', '-'])
                && !part.contains("..")
                && part.chars().all(is_allowed)
        };
        match given.split_once('/') {
            Some((owner, name)) if is_part(owner) && is_part(name) => Ok(Self(given.to_owned())),
            _ => Err(FetchError::Invalid {
                what: "repository",
                given: crate::words::shortened(given),
                allowed: "give owner/name, for example tencent/Hy-MT2-1.8B",
            }),
        }
    }

    /// `owner/name`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part after the owner: the folder that the model gets when none is named.
    pub fn name(&self) -> &str {
        self.0.split_once('/').map_or(&self.0, |(_, name)| name)
    }
}

/// Checks a branch, tag or commit.
///
/// # Errors
/// When it is empty, too long, or has characters that no revision has.
pub fn check_revision(given: &str) -> Result<(), FetchError> {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/');
    if given.is_empty()
        || given.len() > NAME_BYTES_MAX
        || given.contains("..")
        || !given.chars().all(is_allowed)
    {
        return Err(FetchError::Invalid {
            what: "revision",
            given: crate::words::shortened(given),
            allowed: "give a branch, a tag or a commit, for example main",
        });
    }
    Ok(())
}

/// True for a listed file name that stays inside its folder on every system.
pub fn is_safe_path(path: &str) -> bool {
    let is_safe = |part: &str| {
        !part.is_empty()
            && part != "."
            && part != ".."
            && !part.ends_with(PART_SUFFIX)
            && !part.chars().any(|c| c.is_control() || matches!(c, '\\' | ':'))
    };
    path.len() <= NAME_BYTES_MAX && path.split('/').all(is_safe)
}

/// What a file ends in while it is not complete.
pub const PART_SUFFIX: &str = ".part";

/// True when `name` fits `pattern`, in which `*` stands for anything and `?` for one character.
pub fn fits(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<_>, Vec<_>) = (pattern.chars().collect(), name.chars().collect());
    let (mut p, mut n) = (0, 0);
    // Where the last `*` stands and how much of the name it has taken; one is enough to go back to.
    let mut star = None;
    while n < name.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(c) if *c == '?' || *c == name[n] => (p, n) = (p + 1, n + 1),
            _ => match star {
                Some((at, taken)) => {
                    star = Some((at, taken + 1));
                    (p, n) = (at + 1, taken + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

/// `text` as a part of a URL's path; `/` stays.
pub fn url_path(text: &str) -> String {
    let mut url = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~/".contains(&byte) {
            url.push(char::from(byte));
        } else {
            url.push_str(&format!("%{byte:02X}"));
        }
    }
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_leave_their_place_are_refused() {
        for good in ["tencent/Hy-MT2-1.8B", "a/b_c.d"] {
            assert_eq!(RepoName::parse(good).unwrap().as_str(), good);
        }
        for bad in ["", "a", "a/", "/a", "a/b/c", "../x", "a/..", "a/b?x=1", "a b/c", "a/-x", "ä/b"]
        {
            assert!(RepoName::parse(bad).is_err(), "{bad}");
        }
        for good in ["config.json", "onnx/model.onnx", "a b.txt", "ü"] {
            assert!(is_safe_path(good), "{good}");
        }
        let long = "x".repeat(300);
        for bad in [
            "", "/etc/x", "../x", "a/../x", "a//b", "a/", ".", "C:\\x", "a\\b", "a\0", "x.part",
            &long,
        ] {
            assert!(!is_safe_path(bad), "{bad}");
        }
        for bad in ["", "..", "a/../b", "a b", "x?y"] {
            assert!(check_revision(bad).is_err(), "{bad}");
        }
        assert!(check_revision("refs/pr/3").is_ok());
    }

    #[test]
    fn patterns_fit_like_a_shells() {
        for (pattern, name, expected) in [
            ("*.gguf", "model-Q8_0.gguf", true),
            ("*.gguf", "model.gguf.txt", false),
            ("model-?.bin", "model-1.bin", true),
            ("model-?.bin", "model-12.bin", false),
            ("*a*b*c*", "xxaxxbxxc", true),
            ("*a*b*c*", "xxaxxcxxb", false),
            ("", "", true),
            ("*", "", true),
            ("config.json", "config.json", true),
            ("*ab", "aab", true),
        ] {
            assert_eq!(fits(pattern, name), expected, "{pattern} {name}");
        }
        // A pattern that makes backtracking matchers explode.
        assert!(!fits(&"*a".repeat(40), &"a".repeat(39)));
        assert_eq!(url_path("a b/ü#?.txt"), "a%20b/%C3%BC%23%3F.txt");
    }
}
