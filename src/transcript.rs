//! What was published, as a file: JSON lines, subtitles or plain lines.
//!
//! Pure: it is told translations and the time, and gives the bytes to append to which file;
//! `node/log_file.rs` writes them.
//!
//! | format | files | what is in them |
//! |---|---|---|
//! | `jsonl` | `NAME.jsonl` | one object per final translation, failures included |
//! | `txt` | `NAME.txt` | one line per text: UTC time, language, text |
//! | `vtt` | `NAME.de.vtt`, one per language | WebVTT (W3C), with `<v speaker>` |
//! | `srt` | `NAME.de.srt`, one per language | SubRip |
//!
//! Subtitles count from the source stamp of the first text of the file. A cue stays as long as its text
//! takes to read, and never into the next one.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use serde_json::json;

use crate::config::LogFormat;
use crate::ros::wire::Translation;

/// Reading speed that cues are timed for: what broadcasters' guidelines allow adults. Columns a second;
/// a wide character, such as a Chinese one, counts two.
pub const COLUMNS_PER_S: f64 = 17.0;
/// Shortest and longest time that a cue stays, whatever its length.
pub const CUE_MIN: Duration = Duration::from_millis(1200);
/// See [`CUE_MIN`].
pub const CUE_MAX: Duration = Duration::from_secs(7);

/// Something to append: the language whose file it is (empty for the one file of all), and what.
pub type Entry = (String, String);

/// Turns translations into entries of a file.
#[derive(Debug)]
pub struct Transcript {
    format: LogFormat,
    /// By language.
    tracks: BTreeMap<String, Track>,
    /// Source stamp of the first text. Nanoseconds.
    zero_ns: Option<i64>,
}

/// The subtitles of one language.
#[derive(Debug, Default)]
struct Track {
    n_cues: usize,
    /// Not written yet, since the next one may end it.
    last: Option<Cue>,
    /// When the last one that is written ends.
    written_until: Duration,
}

#[derive(Debug)]
struct Cue {
    start: Duration,
    end: Duration,
    speaker: String,
    text: String,
}

impl Transcript {
    /// An empty one.
    pub fn new(format: LogFormat) -> Self {
        Self { format, tracks: BTreeMap::new(), zero_ns: None }
    }

    /// Takes a translation; texts in progress are nothing to keep.
    pub fn add(&mut self, translation: &Translation) -> Option<Entry> {
        if !translation.is_final {
            return None;
        }
        if self.format == LogFormat::Jsonl {
            return Some((String::new(), record(translation)));
        }
        let has_text = matches!(
            translation.status,
            Translation::OK | Translation::PASSTHROUGH | Translation::TRUNCATED
        );
        if !has_text || translation.text.trim().is_empty() {
            return None;
        }
        if self.format == LogFormat::Txt {
            return Some((String::new(), line(translation)));
        }
        let stamp_ns = translation.header.stamp.as_nanos();
        let zero_ns = *self.zero_ns.get_or_insert(stamp_ns);
        let start = u64::try_from(stamp_ns.saturating_sub(zero_ns)).unwrap_or(0);
        let track = self.tracks.entry(translation.target_locale.clone()).or_default();
        // Stamps of several speakers need not be in order; cues are.
        let earliest = track.last.as_ref().map_or(track.written_until, |last| last.start);
        let start = Duration::from_nanos(start).max(earliest);
        let text = cue_text(&translation.text);
        let end = start + reading_time(&text);
        let cue = Cue { start, end, speaker: one_line(&translation.speaker_id), text };
        let before = track.last.replace(cue)?;
        let written = track.write(before, Some(start), self.format);
        Some((translation.target_locale.clone(), written))
    }

    /// What is still held back: the last cue of each language.
    pub fn flush(&mut self) -> Vec<Entry> {
        let mut entries = Vec::new();
        for (language, track) in &mut self.tracks {
            if let Some(last) = track.last.take() {
                entries.push((language.clone(), track.write(last, None, self.format)));
            }
        }
        entries
    }
}

impl Track {
    fn write(&mut self, cue: Cue, next: Option<Duration>, format: LogFormat) -> String {
        let Cue { start, end, speaker, text } = cue;
        // Two texts of one moment follow each other by a moment.
        let end = next.map_or(end, |next| end.min(next)).max(start + Duration::from_millis(1));
        self.written_until = end;
        let mut out = String::new();
        if format == LogFormat::Vtt && self.n_cues == 0 {
            out += "WEBVTT\n\n";
        }
        self.n_cues += 1;
        let n = self.n_cues;
        let is_known = !speaker.is_empty();
        let _ = match format {
            LogFormat::Vtt => {
                let voice =
                    if is_known { format!("<v {}>", escape(&speaker)) } else { String::new() };
                let (start, end, text) = (clock(start, '.'), clock(end, '.'), escape(&text));
                write!(out, "{n}\n{start} --> {end}\n{voice}{text}\n\n")
            }
            _ => {
                let voice = if is_known { format!("{speaker}: ") } else { String::new() };
                let (start, end) = (clock(start, ','), clock(end, ','));
                let text = without_arrows(&format!("{voice}{text}"));
                write!(out, "{n}\n{start} --> {end}\n{text}\n\n")
            }
        };
        out
    }
}

fn record(translation: &Translation) -> String {
    let Translation { header, status, .. } = translation;
    let record = json!({
        "stamp": header.stamp.as_nanos() as f64 / 1e9,
        "utterance": translation.utterance_id,
        "revision": translation.revision,
        "speaker": translation.speaker_id,
        "source_locale": translation.source_locale,
        "source_confidence": translation.source_locale_confidence,
        "source_text": translation.source_text,
        "target_locale": translation.target_locale,
        "text": translation.text,
        "status": status_name(*status),
        "detail": translation.detail,
        "glossary_applied": translation.glossary_applied,
        "glossary_missed": translation.glossary_missed,
        "from_cache": translation.from_cache,
        "total_ms": translation.total_ms,
    });
    format!("{record}\n")
}

fn status_name(status: u8) -> &'static str {
    match status {
        Translation::OK => "OK",
        Translation::PASSTHROUGH => "PASSTHROUGH",
        Translation::TRUNCATED => "TRUNCATED",
        Translation::REJECTED => "REJECTED",
        _ => "FAILED",
    }
}

fn line(translation: &Translation) -> String {
    let seconds = translation.header.stamp.as_nanos().max(0) / 1_000_000_000;
    let (h, m, s) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    let text = one_line(&translation.text);
    let speaker = match one_line(&translation.speaker_id).as_str() {
        "" => String::new(),
        speaker => format!("{speaker}: "),
    };
    format!("{h:02}:{m:02}:{s:02} {} {speaker}{text}\n", translation.target_locale)
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// SubRip has no escapes, and takes a line with an arrow for times.
fn without_arrows(text: &str) -> String {
    let mut text = text.to_owned();
    while text.contains("-->") {
        text = text.replace("-->", "->");
    }
    text
}

/// Without blank lines, which would end the cue. A `\r` ends a line of WebVTT too.
fn cue_text(text: &str) -> String {
    let lines = text.split(['\n', '\r']).map(str::trim).filter(|line| !line.is_empty());
    lines.collect::<Vec<_>>().join("\n")
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn reading_time(text: &str) -> Duration {
    let is_wide = |c: char| matches!(c, '\u{1100}'..='\u{115F}' | '\u{2E80}'..='\u{A4CF}' | '\u{AC00}'..='\u{D7A3}' | '\u{F900}'..='\u{FAFF}' | '\u{FF00}'..='\u{FF60}');
    let columns: u32 = text.chars().map(|c| if is_wide(c) { 2 } else { 1 }).sum();
    Duration::from_secs_f64(f64::from(columns) / COLUMNS_PER_S).clamp(CUE_MIN, CUE_MAX)
}

fn clock(time: Duration, point: char) -> String {
    let ms = time.as_millis();
    let (h, m, s) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60);
    format!("{h:02}:{m:02}:{s:02}{point}{:03}", ms % 1000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ros::wire::{Header, Time};

    fn said(ms: i64, speaker: &str, locale: &str, text: &str) -> Translation {
        let stamp = Time::from_nanos(1_700_000_000_000_000_000 + ms * 1_000_000);
        Translation {
            header: Header { stamp, frame_id: String::new() },
            speaker_id: speaker.to_owned(),
            is_final: true,
            source_text: "source".to_owned(),
            target_locale: locale.to_owned(),
            text: text.to_owned(),
            ..Translation::default()
        }
    }

    fn written(format: LogFormat, all: &[Translation]) -> BTreeMap<String, String> {
        let mut transcript = Transcript::new(format);
        let mut files = BTreeMap::<String, String>::new();
        let mut entries: Vec<Entry> = all.iter().filter_map(|one| transcript.add(one)).collect();
        entries.extend(transcript.flush());
        for (language, text) in entries {
            *files.entry(language).or_default() += &text;
        }
        files
    }

    #[test]
    fn subtitles_are_timed_by_their_length_and_never_overlap() {
        let all = [
            said(0, "", "de", "Guten Tag."),
            said(500, "anna", "de", "Wo ist <b>R&D</b>?\n\nLinks?"),
            said(400, "", "zh", "充电站在哪里？"),
            said(300, "", "de", "Zu spät, aber in der Reihe."),
            said(3_600_000, "", "de", &"lang ".repeat(100)),
        ];
        let files = written(LogFormat::Vtt, &all);
        assert_eq!(
            files["de"].split_inclusive("\n\n").take(4).collect::<String>(),
            "WEBVTT\n\n\
             1\n00:00:00.000 --> 00:00:00.500\nGuten Tag.\n\n\
             2\n00:00:00.500 --> 00:00:00.501\n<v anna>Wo ist &lt;b&gt;R&amp;D&lt;/b&gt;?\nLinks?\n\n\
             3\n00:00:00.500 --> 00:00:02.088\nZu spät, aber in der Reihe.\n\n"
        );
        assert!(files["de"].contains("4\n01:00:00.000 --> 01:00:07.000\n"), "{}", files["de"]);
        assert!(files["zh"].starts_with("WEBVTT\n\n1\n00:00:00.400 --> 00:00:01.600\n"));
        let srt = &written(LogFormat::Srt, &all[..2])["de"];
        assert!(srt.starts_with("1\n00:00:00,000 --> 00:00:00,500\nGuten Tag.\n\n2\n"), "{srt}");
        assert!(srt.ends_with("anna: Wo ist <b>R&D</b>?\nLinks?\n\n"), "{srt}");
    }

    #[test]
    fn a_late_text_comes_after_what_is_written() {
        let mut transcript = Transcript::new(LogFormat::Srt);
        transcript.add(&said(0, "", "de", "Erstens."));
        transcript.add(&said(10_000, "", "de", &"lang ".repeat(100)));
        assert_eq!(transcript.flush().len(), 1, "nothing came for a while");
        // It was said while the other is shown, and took long to translate.
        transcript.add(&said(12_000, "", "de", "Zweitens."));
        let (_, late) = transcript.flush().remove(0);
        assert_eq!(late, "3\n00:00:17,000 --> 00:00:18,200\nZweitens.\n\n");
    }

    #[test]
    fn nothing_that_is_said_ends_a_cue_or_a_line() {
        let all = [said(0, "a\n\n2\nb", "de", "x ---> y\r\r\nz")];
        let srt = &written(LogFormat::Srt, &all)["de"];
        assert_eq!(srt, "1\n00:00:00,000 --> 00:00:01,200\na 2 b: x -> y\nz\n\n");
        let vtt = &written(LogFormat::Vtt, &all)["de"];
        assert!(vtt.ends_with("\n<v a 2 b>x ---&gt; y\nz\n\n"), "{vtt}");
        let txt = &written(LogFormat::Txt, &all)[""];
        assert_eq!(txt, "22:13:20 de a 2 b: x ---> y z\n");
    }

    #[test]
    fn lines_hold_what_was_published() {
        let failed = Translation { status: Translation::FAILED, ..said(0, "", "fr", "") };
        let growing = Translation { is_final: false, ..said(0, "", "fr", "Bon") };
        let all = [said(0, "a", "de", "Guten\nTag."), failed, growing];
        let lines = &written(LogFormat::Txt, &all)[""];
        assert_eq!(lines, "22:13:20 de a: Guten Tag.\n");
        let json = &written(LogFormat::Jsonl, &all)[""];
        let records: Vec<serde_json::Value> =
            json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(records.len(), 2, "failures count, texts in progress do not");
        assert_eq!(
            (&records[0]["text"], &records[0]["status"]),
            (&json!("Guten\nTag."), &json!("OK"))
        );
        assert_eq!(records[1]["status"], "FAILED");
    }
}
