//! The suite finds what is wrong: engines that break one rule each.

use super::*;
use crate::engine::scripted::ScriptedEngine;

/// What a faulty engine does wrong.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    None,
    /// One logit moves by the least there is when two sequences run together.
    Company,
    /// One logit moves when a sequence goes on.
    Chunks,
    /// Leaves what was in the buffer.
    Appends,
    /// Keeps what it should forget.
    KeepsReleased,
    /// Runs what it should refuse.
    RunsTwice,
    /// Takes a broken batch for its own end.
    DiesOfABrokenBatch,
    /// A refusal empties all slots.
    RefusalForgets,
    Nan,
    Deaf,
    /// One entry of a shortlist moves by the least there is.
    ShortlistMoves,
    /// A shortlist lacks its best entry.
    ShortlistLoses,
    /// One shortlist for each row of the batch that wants some.
    ShortlistOfLastToken,
    /// Whole rows are counted by rows of the batch, also those that want none.
    CountsUnwanted,
}

struct Faulty {
    inner: ScriptedEngine,
    fault: Fault,
}

impl Faulty {
    fn new(fault: Fault) -> Self {
        let script = |held: &[TokenId]| {
            held.iter().fold(7, |hash: u32, id| hash.wrapping_mul(31).wrapping_add(*id)) % 40
        };
        Self { inner: ScriptedEngine::new(40, 4, Box::new(script)).with_shortlists(3), fault }
    }
}

impl Engine for Faulty {
    fn spec(&self) -> &EngineSpec {
        self.inner.spec()
    }

    fn step(&mut self, batch: &[BatchRow<'_>], logits: &mut Vec<f32>) -> Result<(), EngineError> {
        let before = logits.clone();
        if self.fault == Fault::RunsTwice && batch.len() == 2 && batch[0].slot == batch[1].slot {
            return Ok(());
        }
        if let Err(error) = self.inner.step(batch, logits) {
            if self.fault == Fault::RefusalForgets {
                (0..4).for_each(|slot| self.inner.release(Slot(slot)));
            }
            return Err(match self.fault {
                Fault::DiesOfABrokenBatch => {
                    EngineError::Device { engine: "faulty".to_owned(), source: Box::new(error) }
                }
                _ => error,
            });
        }
        let Some(first) = logits.first_mut() else { return Ok(()) };
        match self.fault {
            Fault::Company if batch.len() > 1 => *first = first.next_up(),
            Fault::Chunks if batch[0].position > 0 => *first = first.next_up(),
            Fault::Nan => *first = f32::NAN,
            Fault::Appends => *logits = [before, logits.clone()].concat(),
            Fault::Deaf => logits.fill(0.5),
            _ => {}
        }
        Ok(())
    }

    fn step_shortlist(
        &mut self,
        batch: &[BatchRow<'_>],
        kept: usize,
        shortlists: &mut Vec<Shortlist>,
    ) -> Result<bool, EngineError> {
        let gives_some = self.inner.step_shortlist(batch, kept, shortlists)?;
        let (first, last) = (&mut shortlists[0].entries, batch.len() - 1);
        match self.fault {
            Fault::ShortlistMoves => first[2].1 = first[2].1.next_up(),
            Fault::ShortlistLoses => drop(first.remove(0)),
            Fault::ShortlistOfLastToken => shortlists.truncate(last),
            _ => {}
        }
        Ok(gives_some)
    }

    fn logits_of(&mut self, row: usize, logits: &mut Vec<f32>) -> Result<(), EngineError> {
        let row = if self.fault == Fault::CountsUnwanted { row.saturating_sub(1) } else { row };
        self.inner.logits_of(row, logits)
    }

    fn release(&mut self, slot: Slot) {
        if self.fault != Fault::KeepsReleased {
            self.inner.release(slot);
        }
    }
}

#[test]
fn each_fault_is_found_by_the_check_that_looks_for_it() {
    let heads = "shortlists are the head of the logits";
    let cases = [
        (Fault::Company, "company changes nothing", "1 of"),
        (Fault::Chunks, "chunks change nothing", "chunks of 1 tokens: "),
        (Fault::Appends, "logits come in the wanted number", "logits instead of"),
        (Fault::KeepsReleased, "release forgets", "in a released slot: ran instead of being"),
        (Fault::RunsTwice, "broken batches are refused", "slot twice: ran"),
        (Fault::DiesOfABrokenBatch, "broken batches are refused", "ended the engine"),
        (
            Fault::RefusalForgets,
            "a refused batch leaves other slots alone",
            "failed: invalid batch",
        ),
        (Fault::Nan, "logits come in the wanted number", "no finite number"),
        (Fault::Deaf, "logits come in the wanted number", "are the same"),
        (Fault::ShortlistMoves, heads, "shortlist 0 of 4: token 1 has "),
        (Fault::ShortlistLoses, heads, "is beyond the bound 0e0"),
        (Fault::ShortlistOfLastToken, heads, "2 shortlists instead of 4"),
        (Fault::CountsUnwanted, heads, "row of logits 1 of 4, whole: 2 of 40 logits differ"),
    ];
    for (fault, rule, words) in cases {
        let check = CHECKS.iter().find(|check| check.rule == rule).unwrap();
        let violation = check.run(&mut Faulty::new(fault)).expect_err(rule);
        assert!(violation.detail.contains(words), "{fault:?}: {violation}");
    }
    for check in CHECKS {
        assert_eq!(check.run(&mut Faulty::new(Fault::None)), Ok(()), "{}", check.rule);
    }
}

#[test]
#[should_panic(expected = "company changes nothing: prefill of 2 sequences at once: 1 of")]
fn a_test_that_runs_the_suite_fails_with_what_was_found() {
    run_conformance(&mut || Box::new(Faulty::new(Fault::Company)));
}

#[test]
#[should_panic(expected = "the engine is too small: slots: 2; the suite needs 4")]
fn an_engine_without_room_is_not_passed_over() {
    run_conformance(&mut || Box::new(ScriptedEngine::new(40, 2, Box::new(|_| 1))));
}

#[test]
fn rules_have_names_of_their_own() {
    let names: std::collections::BTreeSet<_> = CHECKS.iter().map(|check| check.rule).collect();
    assert_eq!(names.len(), CHECKS.len());
}
