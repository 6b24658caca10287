//! Two networks over the same tokens: how far quantisation moved the distributions.

use hymt_llm::TokenId;
use hymt_llm::engine::cpu::CpuEngine;
use hymt_llm::engine::{BatchRow, Engine, EngineError, LogitsWanted, Slot};

use super::divergence::{Divergences, divergence, top};

/// Positions whose logits two engines compute before they are compared.
const CHUNK_POSITIONS: usize = 32;
/// Most memory for the logits that the study by layer compares with. Bytes.
pub const LAYER_LOGITS_BYTES_MAX: usize = 256 << 20;
/// Most new tokens of a greedy answer.
pub const GREEDY_TOKENS_MAX: usize = 256;

/// A prompt with the answer that both networks are led through ("teacher forcing").
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sequence {
    /// Tokens of the prompt; not empty.
    pub prompt: Vec<TokenId>,
    /// Tokens of the reference translation and the token that ends the turn; not empty.
    pub answer: Vec<TokenId>,
}

impl Sequence {
    /// Number of predictions that are compared: one for each token of the answer.
    pub fn positions(&self) -> usize {
        self.answer.len()
    }

    /// What the network reads: everything but the last token, which nothing follows.
    fn tokens(&self) -> Vec<TokenId> {
        let answer = &self.answer[..self.answer.len() - 1];
        [&self.prompt[..], answer].concat()
    }
}

/// Leads both engines through `sequences`; `progress` is called after each.
///
/// # Errors
/// What an engine says, for example that a sequence is longer than a slot.
pub fn compare(
    reference: &mut dyn Engine,
    model: &mut dyn Engine,
    sequences: &[Sequence],
    progress: &mut dyn FnMut(),
) -> Result<Divergences, EngineError> {
    let mut divergences = Divergences::default();
    let vocab = reference.spec().vocab_size;
    let (mut expected, mut got) = (Vec::new(), Vec::new());
    for sequence in sequences {
        let tokens = sequence.tokens();
        let first = sequence.prompt.len() - 1;
        feed(reference, &tokens[..first], 0, LogitsWanted::None, &mut expected)?;
        feed(model, &tokens[..first], 0, LogitsWanted::None, &mut got)?;
        for (chunk, part) in tokens[first..].chunks(CHUNK_POSITIONS).enumerate() {
            let position = first + chunk * CHUNK_POSITIONS;
            feed(reference, part, position, LogitsWanted::All, &mut expected)?;
            feed(model, part, position, LogitsWanted::All, &mut got)?;
            for (expected, got) in expected.chunks_exact(vocab).zip(got.chunks_exact(vocab)) {
                divergences.add(divergence(expected, got));
            }
        }
        reference.release(Slot(0));
        model.release(Slot(0));
        progress();
    }
    Ok(divergences)
}

/// Appends `tokens` to slot 0 from `position` on, in steps that the engine takes; `logits` holds
/// all wanted rows afterwards.
fn feed(
    engine: &mut dyn Engine,
    tokens: &[TokenId],
    position: usize,
    wanted: LogitsWanted,
    logits: &mut Vec<f32>,
) -> Result<(), EngineError> {
    logits.clear();
    let (mut rows, step) = (Vec::new(), engine.spec().step_tokens_max);
    for (chunk, tokens) in tokens.chunks(step).enumerate() {
        let position = position + chunk * step;
        let row = BatchRow { slot: Slot(0), position, tokens, logits: wanted };
        engine.step(&[row], &mut rows)?;
        logits.append(&mut rows);
    }
    Ok(())
}

/// Greedy answers to `prompts`, each up to a token of `stop`, which is not part of it, or
/// `new_tokens_max`. As many at once as the engine has slots.
///
/// # Errors
/// What the engine says.
pub fn greedy(
    engine: &mut dyn Engine,
    prompts: &[&[TokenId]],
    stop: &[TokenId],
    new_tokens_max: usize,
    progress: &mut dyn FnMut(),
) -> Result<Vec<Vec<TokenId>>, EngineError> {
    let mut answers = Vec::with_capacity(prompts.len());
    let slots = engine.spec().slots;
    for prompts in prompts.chunks(slots) {
        answers.extend(greedy_batch(engine, prompts, stop, new_tokens_max)?);
        prompts.iter().for_each(|_| progress());
    }
    Ok(answers)
}

fn greedy_batch(
    engine: &mut dyn Engine,
    prompts: &[&[TokenId]],
    stop: &[TokenId],
    new_tokens_max: usize,
) -> Result<Vec<Vec<TokenId>>, EngineError> {
    let (vocab, step) = (engine.spec().vocab_size, engine.spec().step_tokens_max);
    let mut answers = vec![Vec::new(); prompts.len()];
    let mut next = Vec::new();
    let mut logits = Vec::new();
    for (slot, prompt) in prompts.iter().enumerate() {
        for (chunk, tokens) in prompt.chunks(step).enumerate() {
            let (slot, position) = (Slot(slot as u16), chunk * step);
            let row = BatchRow { slot, position, tokens, logits: LogitsWanted::Last };
            engine.step(&[row], &mut logits)?;
        }
        next.push(top(&logits) as TokenId);
    }
    let room = engine.spec().context_tokens_max;
    loop {
        let is_open = |slot: &usize| {
            let held = prompts[*slot].len() + answers[*slot].len();
            !stop.contains(&next[*slot]) && answers[*slot].len() < new_tokens_max && held < room
        };
        let open: Vec<usize> = (0..prompts.len()).filter(is_open).take(step).collect();
        if open.is_empty() {
            break;
        }
        let batch: Vec<_> = open
            .iter()
            .map(|&slot| BatchRow {
                slot: Slot(slot as u16),
                position: prompts[slot].len() + answers[slot].len(),
                tokens: std::slice::from_ref(&next[slot]),
                logits: LogitsWanted::Last,
            })
            .collect();
        engine.step(&batch, &mut logits)?;
        for (slot, logits) in open.into_iter().zip(logits.chunks_exact(vocab)) {
            answers[slot].push(next[slot]);
            next[slot] = top(logits) as TokenId;
        }
    }
    (0..prompts.len()).for_each(|slot| engine.release(Slot(slot as u16)));
    Ok(answers)
}

/// How far two sets of greedy answers agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Agreement {
    /// Places of the longer of two answers.
    pub places: usize,
    /// Places with the same token in both.
    pub equal_places: usize,
    /// Answers.
    pub answers: usize,
    /// Answers that are equal throughout.
    pub equal_answers: usize,
}

impl Agreement {
    /// Adds two answers to one prompt.
    pub fn add(&mut self, reference: &[TokenId], model: &[TokenId]) {
        self.places += reference.len().max(model.len());
        self.equal_places += reference.iter().zip(model).filter(|(a, b)| a == b).count();
        self.answers += 1;
        self.equal_answers += usize::from(reference == model);
    }
}

/// What quantising one part of the network does to the distribution at its output.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LayerKl {
    /// Layer, from 0; the output head, with the final norm, comes after the last one.
    pub part: usize,
    /// Mean divergence with this part alone quantised. Nats.
    pub alone: f64,
    /// Mean divergence with this part and all before it quantised. Nats.
    pub up_to: f64,
}

/// The divergence at the output for each part of the network, quantised alone and with everything
/// before it, the rest being the reference's. No hidden state is read: the networks' parts are
/// exchanged. Both engines are as before afterwards.
///
/// # Errors
/// When the networks have different shapes, or what an engine says.
pub fn by_layer(
    reference: &mut CpuEngine,
    model: &mut CpuEngine,
    sequences: &[Sequence],
    progress: &mut dyn FnMut(),
) -> Result<Vec<LayerKl>, EngineError> {
    let expected = all_logits(reference, sequences)?;
    let parts = reference.config().n_layers + 1;
    let mut alone = Vec::with_capacity(parts);
    for part in 0..parts {
        reference.swap_part(model, part)?;
        let kl = kl_mean(reference, sequences, &expected);
        reference.swap_part(model, part)?;
        alone.push(kl?);
        progress();
    }
    let mut up_to = Vec::with_capacity(parts);
    let mut failure = None;
    for part in 0..parts {
        reference.swap_part(model, part)?;
        match kl_mean(reference, sequences, &expected) {
            Ok(kl) => up_to.push(kl),
            Err(error) => failure = failure.or(Some(error)),
        }
        progress();
    }
    for part in 0..parts {
        reference.swap_part(model, part)?;
    }
    if let Some(error) = failure {
        return Err(error);
    }
    let both = alone.into_iter().zip(up_to);
    Ok((0..).zip(both).map(|(part, (alone, up_to))| LayerKl { part, alone, up_to }).collect())
}

/// As many sequences from the front as the study by layer has memory for; at least one.
pub fn that_fit_layer_study(sequences: &[Sequence], vocab_size: usize) -> &[Sequence] {
    let positions_max = LAYER_LOGITS_BYTES_MAX / size_of::<f32>() / vocab_size.max(1);
    let mut positions = 0;
    let fits = |sequence: &&Sequence| {
        positions += sequence.positions();
        positions <= positions_max
    };
    let n = sequences.iter().take_while(fits).count().max(1).min(sequences.len());
    &sequences[..n]
}

fn all_logits(engine: &mut dyn Engine, sequences: &[Sequence]) -> Result<Vec<f32>, EngineError> {
    let (mut all, mut logits) = (Vec::new(), Vec::new());
    for sequence in sequences {
        let (tokens, first) = (sequence.tokens(), sequence.prompt.len() - 1);
        feed(engine, &tokens[..first], 0, LogitsWanted::None, &mut logits)?;
        feed(engine, &tokens[first..], first, LogitsWanted::All, &mut logits)?;
        engine.release(Slot(0));
        all.append(&mut logits);
    }
    Ok(all)
}

fn kl_mean(
    engine: &mut dyn Engine,
    sequences: &[Sequence],
    expected: &[f32],
) -> Result<f64, EngineError> {
    let vocab = engine.spec().vocab_size;
    let got = all_logits(engine, sequences)?;
    let mut divergences = Divergences::default();
    for (expected, got) in expected.chunks_exact(vocab).zip(got.chunks_exact(vocab)) {
        divergences.add(divergence(expected, got));
    }
    Ok(divergences.kl_mean())
}
