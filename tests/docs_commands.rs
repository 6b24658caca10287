//! Every command that the documentation tells people to type is run by something, or says that it
//! needs a robot.
//!
//! A fenced `sh` block in README.md and docs/ stands below one of these lines:
//!
//! | line | what it promises |
//! |---|---|
//! | `<!-- tested: FILE -->`, `<!-- tested: FILE::NAME -->` | the file exists and has the name, or each command's first words |
//! | `<!-- transcript -->` | each command is in docs/ros2-transcripts.md, where a script put it with its answer |
//! | `<!-- needs a robot -->` | nobody has run it here |
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn pages() -> Vec<PathBuf> {
    let docs = fs::read_dir(root().join("docs")).unwrap();
    let mut pages: Vec<_> = docs.map(|entry| entry.unwrap().path()).collect();
    pages.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    pages.push(root().join("README.md"));
    pages
}

/// A block of commands and the line above it.
struct Block {
    page: String,
    marker: String,
    commands: Vec<String>,
}

fn blocks() -> Vec<Block> {
    let mut blocks = Vec::new();
    for path in pages() {
        let text = fs::read_to_string(&path).unwrap();
        let page = path.strip_prefix(root()).unwrap().display().to_string();
        let lines: Vec<_> = text.lines().collect();
        for (at, _) in lines.iter().enumerate().filter(|(_, line)| line.trim() == "```sh") {
            let inside = lines[at + 1..].iter().take_while(|line| line.trim() != "```");
            let commands = inside
                .map(|line| line.split(" # ").next().unwrap_or_default().trim().to_owned())
                .filter(|line| !line.is_empty() && !line.starts_with('#'))
                .collect();
            let marker = if at > 0 { lines[at - 1].trim().to_owned() } else { String::new() };
            blocks.push(Block { page: page.clone(), marker, commands });
        }
    }
    blocks
}

#[test]
fn every_command_is_run_by_something() {
    let blocks = blocks();
    assert!(blocks.len() > 5, "only {} blocks found; is the test blind?", blocks.len());
    let transcripts = fs::read_to_string(root().join("docs/ros2-transcripts.md")).unwrap();
    for Block { page, marker, commands } in blocks {
        if marker == "<!-- needs a robot -->" {
            continue;
        }
        if marker == "<!-- transcript -->" {
            for command in commands {
                let played = transcripts
                    .lines()
                    .filter_map(|line| line.strip_prefix("$ "))
                    .any(|line| line.trim_end_matches(" &") == command);
                assert!(played, "{page}: not in docs/ros2-transcripts.md: {command}");
            }
            continue;
        }
        let tested = marker
            .strip_prefix("<!-- tested: ")
            .and_then(|rest| rest.strip_suffix(" -->"))
            .unwrap_or_else(|| panic!("{page}: a block without a marker: {commands:?}"));
        let (file, name) = tested.split_once("::").map_or((tested, None), |(f, n)| (f, Some(n)));
        let source = fs::read_to_string(root().join(file))
            .unwrap_or_else(|error| panic!("{page}: {file}: {error}"));
        match name {
            Some(name) => {
                assert!(
                    source.contains(&format!("fn {name}(")),
                    "{page}: {file} has no test {name}"
                );
            }
            None => assert!(
                commands.iter().any(|command| {
                    let first: Vec<_> = command.split_whitespace().take(2).collect();
                    source.contains(&first.join(" "))
                }),
                "{page}: {file} runs none of {commands:?}"
            ),
        }
    }
}
