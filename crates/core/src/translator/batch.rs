//! Asking all questions of some requests, in batches of bounded size.

use std::collections::VecDeque;

use super::BATCH_TARGETS_MAX;
use super::answers::{Answers, Epoch};
use super::plan::{Plan, Planned};
use super::progress::Progress;
use super::question::Question;
use crate::generate::{GenerateError, GenerateOptions, GeneratePrompt, Generated, Generator};

/// What is still to be asked, and what has been answered.
pub(super) struct Batches<'p, 'a> {
    answers: &'p Answers,
    epoch: Epoch,
    model: &'p str,
    progress: Vec<Progress<'p, 'a>>,
    waiting: VecDeque<Job<'p>>,
    batch: usize,
}

/// A question for a part of the text of a target.
struct Job<'p> {
    /// Index of its [`Progress`].
    target: usize,
    /// Index among the parts.
    part: usize,
    question: &'p Question,
}

impl<'p, 'a> Batches<'p, 'a> {
    pub(super) fn new(planned: &'p [Planned<'a>], answers: &'p Answers, model: &'p str) -> Self {
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
                    Some(Job { target: first + n, part, question: questions[part].as_ref()? })
                });
                waiting.extend(of_part);
            }
        }
        Self { answers, epoch: answers.epoch(), model, progress, waiting, batch: 0 }
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
            jobs.iter().map(|job| job.question.prompt.clone()).collect();
        let progress = &mut self.progress;
        let mut on_prompt = |prompt: usize, partial: &str| {
            if let Some(job) = jobs.get(prompt) {
                progress[job.target].show_growing(job.part, job.question, partial, on_partial);
            }
        };
        let mut answers = generator.generate(&prompts, options, &mut on_prompt).into_iter();
        self.batch += 1;
        let mut again = Vec::new();
        for job in jobs {
            let answer = answers.next().unwrap_or_else(|| Err(missing_answer()));
            if let Ok(generated) = &answer {
                self.answers.insert(self.epoch, self.model, &job.question.prompt, generated);
                self.progress[job.target].count(generated, Some(self.batch));
            }
            again.extend(self.settle(&job, answer, on_partial));
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
            let Some(known) = self.answers.get(self.model, &job.question.prompt) else {
                jobs.push(job);
                continue;
            };
            self.progress[job.target].count(&known, None);
            if let Some(again) = self.settle(&job, Ok(known), on_partial) {
                self.waiting.push_front(again);
            }
        }
        jobs
    }

    /// Takes an answer; gives back what is to be asked instead.
    fn settle(
        &mut self,
        job: &Job<'p>,
        answer: Result<Generated, GenerateError>,
        on_partial: &mut dyn FnMut(usize, usize, &str),
    ) -> Option<Job<'p>> {
        let Job { target, part, question } = *job;
        let progress = &mut self.progress[target];
        let again = progress.settle(part, question, answer);
        progress.show(on_partial);
        again.map(|question| Job { target, part, question })
    }
}

fn missing_answer() -> GenerateError {
    GenerateError::Engine { detail: "it gave fewer answers than prompts".to_owned() }
}
