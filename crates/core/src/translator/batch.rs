//! Asking all questions of some requests, in batches of bounded size.

use std::collections::VecDeque;

use super::BATCH_TARGETS_MAX;
use super::answers::{Answers, Epoch};
use super::attempt::{Attempt, Came, Outcome};
use super::plan::{Plan, Planned};
use super::progress::Progress;
use super::watch::Watch;
use crate::generate::{Flow, GenerateError, GenerateOptions, GeneratePrompt, Generator};

/// What is still to be asked, and what has been answered.
pub(super) struct Batches<'p, 'a> {
    answers: &'p Answers,
    epoch: Epoch,
    model: &'p str,
    watch: &'p Watch<'p>,
    progress: Vec<Progress<'p, 'a>>,
    waiting: VecDeque<Job<'p>>,
    batch: usize,
}

/// An attempt at a part of the text of a target.
struct Job<'p> {
    /// Index of its [`Progress`].
    target: usize,
    /// Index among the parts.
    part: usize,
    attempt: Attempt<'p>,
}

impl<'p, 'a> Batches<'p, 'a> {
    pub(super) fn new(
        planned: &'p [Planned<'a>],
        answers: &'p Answers,
        model: &'p str,
        watch: &'p Watch<'p>,
    ) -> Self {
        let (mut progress, mut waiting) = (Vec::new(), VecDeque::new());
        for (request, planned) in planned.iter().enumerate() {
            let first = progress.len();
            let mut all = Vec::new();
            for (index, plan) in planned.plans.iter().enumerate() {
                if let Plan::Ask(questions) = plan {
                    let target = planned.request.targets()[index];
                    let place = (request, index);
                    progress.push(Progress::new(place, target, &planned.pieces, questions));
                    all.push(questions);
                }
            }
            // The first part of all targets before the second, so that all can be shown early.
            let n_parts = all.first().map_or(0, |questions| questions.len());
            for part in 0..n_parts {
                let of_part = all.iter().enumerate().filter_map(|(n, questions)| {
                    let attempt = Attempt::first(questions[part].as_ref()?);
                    Some(Job { target: first + n, part, attempt })
                });
                waiting.extend(of_part);
            }
        }
        let epoch = answers.epoch();
        Self { answers, epoch, model, watch, progress, waiting, batch: 0 }
    }

    /// One per plan that asks, in order.
    pub(super) fn into_progress(self) -> Vec<Progress<'p, 'a>> {
        self.progress
    }

    /// Asks one batch; false when nothing is left to ask.
    pub(super) fn next(
        &mut self,
        generator: &dyn Generator,
        options: &GenerateOptions,
        on_partial: &mut dyn FnMut(usize, usize, &str),
    ) -> bool {
        let jobs = self.fill(on_partial);
        if jobs.is_empty() {
            return false;
        }
        let prompts: Vec<GeneratePrompt> =
            jobs.iter().map(|job| job.attempt.prompt().clone()).collect();
        let (progress, mut stopped) = (&mut self.progress, vec![false; jobs.len()]);
        let mut on_prompt = |prompt: usize, partial: &str| {
            let Some(job) = jobs.get(prompt) else { return Flow::Go };
            let question = job.attempt.question;
            if question.is_looping(partial) {
                stopped[prompt] = true;
                return Flow::Stop;
            }
            progress[job.target].show_growing(job.part, question, partial, on_partial);
            Flow::Go
        };
        let mut answers = generator.generate(&prompts, options, &mut on_prompt).into_iter();
        self.batch += 1;
        let mut again = Vec::new();
        for (job, is_stopped) in jobs.into_iter().zip(stopped) {
            let answer = answers.next().unwrap_or_else(|| Err(missing_answer()));
            if let Ok(generated) = &answer {
                self.progress[job.target].count(generated, Some(self.batch));
            }
            again.extend(self.settle(job, Came { answer, is_stopped }, on_partial));
        }
        // In front, for what comes behind in the text is shown behind.
        for job in again.into_iter().rev() {
            self.waiting.push_front(job);
        }
        true
    }

    /// The questions of the next batch; what was answered before is settled on the way.
    fn fill(&mut self, on_partial: &mut dyn FnMut(usize, usize, &str)) -> Vec<Job<'p>> {
        let mut jobs = Vec::new();
        while jobs.len() < BATCH_TARGETS_MAX {
            let Some(job) = self.waiting.pop_front() else { break };
            if self.progress[job.target].failure.is_some() {
                continue;
            }
            let Some(known) = self.answers.get(self.model, job.attempt.prompt()) else {
                jobs.push(job);
                continue;
            };
            self.progress[job.target].count(&known, None);
            let came = Came { answer: Ok(known), is_stopped: false };
            if let Some(again) = self.settle(job, came, on_partial) {
                self.waiting.push_front(again);
            }
        }
        jobs
    }

    /// Takes an answer; gives back what is to be asked instead. What a guard refused is not kept.
    fn settle(
        &mut self,
        job: Job<'p>,
        came: Came,
        on_partial: &mut dyn FnMut(usize, usize, &str),
    ) -> Option<Job<'p>> {
        let Job { target, part, attempt } = job;
        let asked = attempt.prompt().clone();
        let answer = came.answer.as_ref().ok().cloned();
        let (answers, epoch, model) = (self.answers, self.epoch, self.model);
        let progress = &mut self.progress[target];
        let again = match self.watch.read(attempt, came) {
            Outcome::Again(attempt, is_kept) => {
                if let Some(answer) = answer.filter(|_| is_kept) {
                    answers.insert(epoch, model, &asked, &answer);
                }
                Some(Job { target, part, attempt })
            }
            Outcome::Text(chosen) => {
                answers.insert(epoch, model, &chosen.prompt, &chosen.answer);
                progress.settle(part, *chosen);
                None
            }
            Outcome::Failed(code, why) => {
                progress.fail(part, code, &why);
                None
            }
        };
        progress.show(on_partial);
        again
    }
}

fn missing_answer() -> GenerateError {
    GenerateError::Engine { detail: "it gave fewer answers than prompts".to_owned() }
}
