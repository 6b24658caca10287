//! SubRip: a number, a line of times, lines of text, a blank line.
//!
//! Files in the wild have blank lines inside a cue and cues without numbers. What follows a cue and is not
//! the head of another is text of it.

use std::ops::Range;

use super::DocumentError;
use super::cue;
use super::unit::{Found, bom_len, lines};

pub(super) fn find(found: &mut Found<'_>) -> Result<(), DocumentError> {
    let source = found.source;
    let mut lines: Vec<Range<usize>> = lines(source).collect();
    if let Some(first) = lines.first_mut() {
        first.start = first.start.max(bom_len(source));
    }
    let text = |line: &Range<usize>| source[line.clone()].trim();
    let (mut cues, mut body, mut in_cue) = (Vec::new(), Vec::new(), false);
    for (index, line) in lines.iter().enumerate() {
        let this = text(line);
        let next = lines.get(index + 1).map_or("", text);
        let is_head = this.contains("-->") || (is_number(this) && next.contains("-->"));
        if is_head || this.is_empty() {
            cue::push(found, &std::mem::take(&mut body), false, &mut cues)?;
        }
        if this.contains("-->") {
            check_times(found, line)?;
            in_cue = true;
        } else if !is_head && !this.is_empty() {
            if !in_cue {
                let problem = "expected the number of a cue, or its times as 00:00:01,000 --> \
                               00:00:02,500";
                return Err(found.syntax(line.start, problem));
            }
            body.push(line.clone());
        }
    }
    cue::push(found, &body, false, &mut cues)?;
    cue::add_sentences(found, &cues);
    Ok(())
}

fn is_number(line: &str) -> bool {
    !line.is_empty() && line.bytes().all(|byte| byte.is_ascii_digit())
}

fn check_times(found: &Found<'_>, line: &Range<usize>) -> Result<(), DocumentError> {
    let text = &found.source[line.clone()];
    let problem = "expected times as 00:00:01,000 --> 00:00:02,500";
    is_times(text).then_some(()).ok_or_else(|| found.syntax(line.start, problem))
}

/// Two times with an arrow between; what follows the second is settings.
pub(super) fn is_times(line: &str) -> bool {
    let Some((from, to)) = line.split_once("-->") else { return false };
    is_time(from.trim()) && to.split_whitespace().next().is_some_and(is_time)
}

/// `00:01:02,500`, with a dot too, and without hours. What was shifted may be below zero.
fn is_time(time: &str) -> bool {
    let (clock, fraction) = time.split_once([',', '.']).unwrap_or((time, "0"));
    let is_digits = |part: &str| {
        let part = part.strip_prefix('-').unwrap_or(part);
        (1..=9).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit())
    };
    (2..=3).contains(&clock.split(':').count())
        && clock.split(':').all(is_digits)
        && is_digits(fraction)
}
