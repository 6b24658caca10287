//! WebVTT: blocks between blank lines (<https://www.w3.org/TR/webvtt1/>).

use std::ops::Range;

use super::DocumentError;
use super::cue;
use super::srt::is_times;
use super::unit::{Found, bom_len, lines};

pub(super) fn find(found: &mut Found<'_>) -> Result<(), DocumentError> {
    let source = found.source;
    let is_header = |text: &str| {
        text.strip_prefix("WEBVTT")
            .is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t']))
    };
    let first = lines(source).next().unwrap_or(0..0);
    if !is_header(&source[bom_len(source).min(first.end)..first.end]) {
        return Err(found.syntax(0, "expected WEBVTT as the first line"));
    }
    let (mut cues, mut block) = (Vec::new(), Vec::new());
    let mut is_first = true;
    for line in lines(source).chain(std::iter::once(source.len()..source.len())) {
        if !source[line.clone()].is_empty() {
            block.push(line);
            continue;
        }
        // The first block holds the header and what it declares, which a cue may follow at once.
        let cue = match std::mem::take(&mut is_first) {
            true => block.iter().position(|line| source[line.clone()].contains("-->")),
            false => Some(0),
        };
        push_block(found, &block[cue.unwrap_or(block.len())..], &mut cues)?;
        block.clear();
    }
    cue::add_sentences(found, &cues);
    Ok(())
}

fn push_block(
    found: &mut Found<'_>,
    block: &[Range<usize>],
    cues: &mut Vec<usize>,
) -> Result<(), DocumentError> {
    let text = |line: &Range<usize>| &found.source[line.clone()];
    let Some(first) = block.first().map(text) else { return Ok(()) };
    let keyword = first.split_whitespace().next().unwrap_or_default();
    if matches!(keyword, "NOTE" | "STYLE" | "REGION") && !first.contains("-->") {
        return Ok(());
    }
    // An identifier may stand before the times. A block without times is not shown.
    let Some(times) = block.iter().take(2).position(|line| text(line).contains("-->")) else {
        return Ok(());
    };
    // Times end the text before them too, without a blank line.
    let mut heads: Vec<usize> =
        (times..block.len()).filter(|at| text(&block[*at]).contains("-->")).collect();
    if let Some(wrong) = heads.iter().find(|at| !is_times(text(&block[**at]))) {
        let problem = "expected times as 00:01.000 --> 00:02.500";
        return Err(found.syntax(block[*wrong].start, problem));
    }
    heads.push(block.len());
    heads.windows(2).try_for_each(|pair| cue::push(found, &block[pair[0] + 1..pair[1]], true, cues))
}
