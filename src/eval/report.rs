//! The figures of an evaluation, as JSON and as a table.

use std::collections::BTreeMap;

use hymt_core::language::Language;
use hymt_core::protect::{PartKind, ProtectOptions, parts_of};
use hymt_core::translator::{Status, Translation};
use serde::Serialize;

use super::bleu::{BleuStats, Tokenizer};
use super::chrf::{CHRF_PP_SIGNATURE, CHRF_SIGNATURE, ChrfStats};
use super::divergence::Divergences;
use super::network::{Agreement, LayerKl};
use super::repetition::repetition_rate;
use super::rows::Row;

/// Name and version of the JSON document's layout.
pub const SCHEMA: &str = "hymt-eval/1";

/// What must come back letter for letter; numbers with units and emphasis may change their look.
const KEPT_KINDS: &[PartKind] = &[
    PartKind::Markup,
    PartKind::Code,
    PartKind::Placeholder,
    PartKind::Url,
    PartKind::Email,
    PartKind::Emoji,
];

/// How many of how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Share {
    /// How many.
    pub n: usize,
    /// Of how many.
    pub of: usize,
}

impl Share {
    fn add(&mut self, holds: bool) {
        self.n += usize::from(holds);
        self.of += 1;
    }

    /// In per cent; `None` of nothing.
    pub fn percent(self) -> Option<f64> {
        (self.of > 0).then(|| 100.0 * self.n as f64 / self.of as f64)
    }
}

/// Figures of some translations.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Scores {
    /// Translations.
    pub rows: usize,
    /// Those that are the reference, letter for letter.
    pub exact: Share,
    /// Corpus BLEU; `None` over languages with different tokenisers.
    pub bleu: Option<f64>,
    /// sacreBLEU's signature of that figure.
    pub bleu_signature: Option<String>,
    /// Corpus chrF.
    pub chrf: f64,
    /// Corpus chrF++.
    pub chrf_pp: f64,
    /// Terms that the text has, and that the translation uses.
    pub terms: Share,
    /// Tags, code, links, placeholders and emoji that came back.
    pub kept: Share,
    /// Mean share of repeated 4-grams in the translations, 0 to 1.
    pub repetition: f64,
    /// The same of the references.
    pub repetition_of_references: f64,
    /// Translations that the output bound cut off.
    pub truncated: usize,
    /// Texts without a translation; they count as empty ones above.
    pub failed: usize,
    /// Tokens of the answers.
    pub tokens_out: usize,
}

/// Sums from which [`Scores`] follow.
#[derive(Debug, Clone, Default)]
struct Sums {
    rows: usize,
    tokenizer: Option<Tokenizer>,
    is_mixed: bool,
    bleu: BleuStats,
    chrf: ChrfStats,
    exact: Share,
    terms: Share,
    kept: Share,
    repetition: f64,
    repetition_of_references: f64,
    truncated: usize,
    failed: usize,
    tokens_out: usize,
}

impl Sums {
    fn add(&mut self, row: &Row, translation: &Translation) {
        let tokenizer = Tokenizer::of(row.target);
        self.is_mixed |= self.tokenizer.is_some_and(|other| other != tokenizer);
        self.tokenizer = Some(tokenizer);
        let text = translation.text.as_str();
        self.rows += 1;
        self.bleu.add(tokenizer, text, &row.reference);
        self.chrf.add(text, &row.reference);
        self.exact.add(text == row.reference);
        self.terms.n += translation.glossary_applied.len();
        self.terms.of += translation.glossary_applied.len() + translation.glossary_missed.len();
        self.add_kept(row, text);
        self.repetition += repetition_rate(text, row.target);
        self.repetition_of_references += repetition_rate(&row.reference, row.target);
        self.truncated += usize::from(translation.status == Status::Truncated);
        self.failed += usize::from(!translation.status.is_success());
        self.tokens_out += translation.tokens_out;
    }

    /// Each part counts as often as the text has it.
    fn add_kept(&mut self, row: &Row, translation: &str) {
        let options = ProtectOptions { kinds: KEPT_KINDS.to_vec(), ..ProtectOptions::default() };
        let mut wanted: BTreeMap<&str, usize> = BTreeMap::new();
        for (_, range) in parts_of(&row.text, &options) {
            *wanted.entry(&row.text[range]).or_default() += 1;
        }
        for part in &row.keep {
            wanted.entry(part).or_insert(1);
        }
        for (part, count) in wanted.into_iter().filter(|(part, _)| !part.is_empty()) {
            self.kept.n += translation.matches(part).count().min(count);
            self.kept.of += count;
        }
    }

    fn scores(&self) -> Scores {
        let tokenizer = self.tokenizer.filter(|_| !self.is_mixed);
        let rows = self.rows.max(1) as f64;
        Scores {
            rows: self.rows,
            exact: self.exact,
            bleu: tokenizer.map(|_| self.bleu.score()),
            bleu_signature: tokenizer.map(Tokenizer::signature),
            chrf: self.chrf.chrf(),
            chrf_pp: self.chrf.chrf_pp(),
            terms: self.terms,
            kept: self.kept,
            repetition: self.repetition / rows,
            repetition_of_references: self.repetition_of_references / rows,
            truncated: self.truncated,
            failed: self.failed,
            tokens_out: self.tokens_out,
        }
    }
}

/// Translations of a test set, by language pair.
#[derive(Debug, Clone, Default)]
pub struct Translations {
    pairs: BTreeMap<(&'static str, &'static str), Sums>,
    all: Sums,
}

impl Translations {
    /// Adds what became of one row.
    pub fn add(&mut self, row: &Row, translation: &Translation) {
        let pair = (Language::code(row.source), Language::code(row.target));
        self.pairs.entry(pair).or_default().add(row, translation);
        self.all.add(row, translation);
    }

    /// Figures over all languages.
    pub fn all(&self) -> Scores {
        self.all.scores()
    }

    /// Figures by pair, in the order of their names.
    pub fn pairs(&self) -> Vec<PairScores> {
        let pair = |((source, target), sums): (&(_, _), &Sums)| PairScores {
            pair: format!("{source}-{target}"),
            scores: sums.scores(),
        };
        self.pairs.iter().map(pair).collect()
    }
}

/// Figures of one language pair.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PairScores {
    /// `source-target`.
    pub pair: String,
    /// Its figures.
    #[serde(flatten)]
    pub scores: Scores,
}

/// How the network stands against the unquantised one.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AgainstScores {
    /// Name of the unquantised model.
    pub model: String,
    /// Its engine.
    pub engine: String,
    /// Predictions compared, with the reference translation forced on both.
    pub positions: usize,
    /// Mean divergence. Nats.
    pub kl_mean: f64,
    /// What 99 of 100 positions do not exceed. Nats.
    pub kl_p99: f64,
    /// Largest divergence. Nats.
    pub kl_max: f64,
    /// Share of positions with the same likeliest token, 0 to 1.
    pub top1_agreement: f64,
    /// Places of both greedy answers that hold the same token.
    pub greedy_tokens: Share,
    /// Greedy answers that are the same throughout.
    pub greedy_answers: Share,
    /// By part of the network, where asked for; the output head is last.
    pub layers: Vec<LayerScores>,
}

/// What quantising one part does at the output.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LayerScores {
    /// `layer 0` and so on, `output head`.
    pub part: String,
    /// Mean divergence with only this part quantised. Nats.
    pub kl_alone: f64,
    /// Mean divergence with this part and all before it quantised. Nats.
    pub kl_up_to: f64,
}

impl AgainstScores {
    /// The figures of a comparison.
    pub fn new(
        model: String,
        engine: String,
        divergences: &Divergences,
        agreement: &Agreement,
        layers: &[LayerKl],
    ) -> Self {
        Self {
            model,
            engine,
            positions: divergences.positions(),
            kl_mean: divergences.kl_mean(),
            kl_p99: divergences.kl_p99(),
            kl_max: divergences.kl_max(),
            top1_agreement: divergences.top_agreement(),
            greedy_tokens: Share { n: agreement.equal_places, of: agreement.places },
            greedy_answers: Share { n: agreement.equal_answers, of: agreement.answers },
            layers: layers
                .iter()
                .map(|one| LayerScores {
                    part: part_name(one.part, layers.len() - 1),
                    kl_alone: one.alone,
                    kl_up_to: one.up_to,
                })
                .collect(),
        }
    }
}

fn part_name(part: usize, n_layers: usize) -> String {
    if part == n_layers { "output head".to_owned() } else { format!("layer {part}") }
}

/// Everything, as `hymt eval --json` prints it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: &'static str,
    /// Name of the model.
    pub model: String,
    /// Engine and arithmetic.
    pub engine: String,
    /// The test set: a file, or the one we ship.
    pub data: String,
    /// Wall clock of translating. Seconds.
    pub seconds: f64,
    /// Tokens of all answers by that time.
    pub tokens_per_s: f64,
    /// sacreBLEU's signature of `chrf`.
    pub chrf_signature: &'static str,
    /// sacreBLEU's signature of `chrf_pp`.
    pub chrf_pp_signature: &'static str,
    /// Over all languages.
    pub all: Scores,
    /// By language pair.
    pub pairs: Vec<PairScores>,
    /// Against the unquantised model, where one was named.
    pub against: Option<AgainstScores>,
}

impl Report {
    /// The report on translations that took `seconds`.
    pub fn new(
        model: String,
        engine: String,
        data: String,
        done: &Translations,
        seconds: f64,
    ) -> Self {
        let all = done.all();
        Self {
            schema: SCHEMA,
            model,
            engine,
            data,
            seconds,
            tokens_per_s: all.tokens_out as f64 / seconds.max(1e-9),
            chrf_signature: CHRF_SIGNATURE,
            chrf_pp_signature: CHRF_PP_SIGNATURE,
            all,
            pairs: done.pairs(),
            against: None,
        }
    }

    /// The report as lines for people.
    pub fn table(&self) -> Vec<String> {
        let mut lines = vec![
            format!("model   {} on {}", self.model, self.engine),
            format!("data    {}, {} texts", self.data, self.all.rows),
            format!("speed   {:.1} tokens/s, {:.1} s", self.tokens_per_s, self.seconds),
            String::new(),
            format!(
                "{:<12} {:>5} {:>6} {:>6} {:>7} {:>7} {:>12} {:>12} {:>7} {:>5} {:>6}",
                "pair",
                "texts",
                "BLEU",
                "chrF",
                "chrF++",
                "exact",
                "terms",
                "tags",
                "repeat",
                "cut",
                "failed"
            ),
        ];
        lines.extend(self.pairs.iter().map(|pair| table_line(&pair.pair, &pair.scores)));
        lines.push(table_line("all", &self.all));
        lines.push(String::new());
        let mut signatures: Vec<_> =
            self.pairs.iter().filter_map(|pair| pair.scores.bleu_signature.clone()).collect();
        signatures.sort();
        signatures.dedup();
        lines.extend(signatures.iter().map(|signature| format!("BLEU    {signature}")));
        lines.push(format!("chrF    {}", self.chrf_signature));
        lines.push(format!("chrF++  {}", self.chrf_pp_signature));
        if let Some(against) = &self.against {
            lines.extend(against.lines());
        }
        lines
    }
}

impl AgainstScores {
    fn lines(&self) -> Vec<String> {
        let mut lines = vec![
            String::new(),
            format!("against {} on {}", self.model, self.engine),
            format!(
                "KL      mean {:.3e}, 99 % at most {:.3e}, largest {:.3e} nats at {} positions",
                self.kl_mean, self.kl_p99, self.kl_max, self.positions
            ),
            format!("top-1   {:.3} % of positions", 100.0 * self.top1_agreement),
            format!(
                "greedy  {} of the tokens, {} of the answers",
                percent(self.greedy_tokens),
                percent(self.greedy_answers)
            ),
        ];
        if !self.layers.is_empty() {
            lines.push(format!("{:<12} {:>12} {:>12}", "KL by part", "alone", "up to it"));
        }
        lines.extend(self.layers.iter().map(|layer| {
            format!("{:<12} {:>12.3e} {:>12.3e}", layer.part, layer.kl_alone, layer.kl_up_to)
        }));
        lines
    }
}

fn percent(share: Share) -> String {
    match share.percent() {
        Some(percent) => format!("{percent:.2} % ({}/{})", share.n, share.of),
        None => "–".to_owned(),
    }
}

fn table_line(name: &str, scores: &Scores) -> String {
    let of = |share: Share| match share.of {
        0 => "–".to_owned(),
        of => format!("{}/{of}", share.n),
    };
    let bleu = scores.bleu.map_or_else(|| "–".to_owned(), |bleu| format!("{bleu:.2}"));
    format!(
        "{name:<12} {:>5} {bleu:>6} {:>6.2} {:>7.2} {:>7} {:>12} {:>12} {:>7.4} {:>5} {:>6}",
        scores.rows,
        scores.chrf,
        scores.chrf_pp,
        scores.exact.percent().map_or_else(|| "–".to_owned(), |exact| format!("{exact:.1} %")),
        of(scores.terms),
        of(scores.kept),
        scores.repetition,
        scores.truncated,
        scores.failed,
    )
}
