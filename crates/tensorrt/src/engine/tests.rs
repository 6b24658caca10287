//! The engine on the Rust FAKE of TensorRT and a device in ordinary memory.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use hymt_llm::engine::{BatchRow, Engine, EngineError, LogitsWanted, Shortlist, Slot};
use hymt_llm::testkit::conformance::run_conformance;

use super::fake::{FakePlan, LastWord, OVERFLOWING};
use super::limits::{ContractError, Limits, ProfileLimits};
use super::{Graphs, SetupError, TensorRtEngine};
use crate::device::host::HostDevice;
use crate::safe::{DataType, Shape};

type FakeEngine = TensorRtEngine<FakePlan, HostDevice>;

fn limits(element_bytes: usize) -> Limits {
    Limits {
        layers: 3,
        kv_heads: 2,
        head_dim: 4,
        element_bytes,
        vocab: 41,
        context: 48,
        prefill: ProfileLimits { batch: 3, tokens: 14, logits: 4 },
        decode: ProfileLimits { batch: 6, tokens: 5, logits: 5 },
    }
}

fn engine(limits: Limits, graphs: Graphs) -> (FakeEngine, HostDevice) {
    let device = HostDevice::new();
    let plan = FakePlan::new(limits, &device);
    (TensorRtEngine::new(plan, device.clone(), graphs).unwrap(), device)
}

fn row(slot: u16, position: usize, tokens: &[u32], logits: LogitsWanted) -> BatchRow<'_> {
    BatchRow { slot: Slot(slot), position, tokens, logits }
}

#[test]
fn the_engine_conforms() {
    for (element_bytes, graphs) in [(2, Graphs::On), (4, Graphs::On), (2, Graphs::Off)] {
        run_conformance(&mut || Box::new(engine(limits(element_bytes), graphs).0));
    }
}

/// Padding of a short row beside a long one must not reach past the end of the cache, where the next
/// head and the next slot begin.
#[test]
fn padding_at_the_end_of_the_cache_is_not_kept() {
    let long: Vec<u32> = (0..47).map(|i| (i * 7 + 3) % 41).collect();
    let alone = |tokens: &[u32]| {
        let (mut engine, _) = engine(limits(2), Graphs::On);
        let mut logits = Vec::new();
        let (last, before) = tokens.split_last().unwrap();
        for (index, chunk) in before.chunks(14).enumerate() {
            engine.step(&[row(0, index * 14, chunk, LogitsWanted::None)], &mut logits).unwrap();
        }
        engine.step(&[row(0, before.len(), &[*last], LogitsWanted::Last)], &mut logits).unwrap();
        logits
    };
    let (mut engine, _) = engine(limits(2), Graphs::On);
    let mut logits = Vec::new();
    engine.step(&[row(0, 0, &long[..41], LogitsWanted::None)], &mut logits).unwrap();
    engine.step(&[row(1, 0, &long[..8], LogitsWanted::None)], &mut logits).unwrap();
    // Both take more tokens than a decode pass has, so they share a prefill pass.
    let batch = [
        row(1, 8, &long[8..22], LogitsWanted::None),
        row(0, 41, &long[41..47], LogitsWanted::None),
    ];
    engine.step(&batch, &mut logits).unwrap();
    let batch = [row(0, 47, &[5], LogitsWanted::Last), row(1, 22, &[5], LogitsWanted::Last)];
    engine.step(&batch, &mut logits).unwrap();
    assert_eq!(logits[..41], alone(&[&long[..], &[5]].concat()));
    assert_eq!(logits[41..], alone(&[&long[..22], &[5]].concat()));
}

/// The network multiplies what is beyond a row's past by 0: an infinity there would be a NaN in every
/// later answer of the slot.
#[test]
fn what_a_sequence_or_a_draft_leaves_behind_is_not_seen() {
    let answers = |engine: &mut FakeEngine, slot: u16, draft: &[u32]| {
        let mut all = Vec::new();
        let mut say = |position, tokens: &[u32]| {
            let mut logits = Vec::new();
            engine.step(&[row(slot, position, tokens, LogitsWanted::All)], &mut logits).unwrap();
            // Of a draft, the first token is taken.
            all.push(logits[..41].to_vec());
        };
        say(0, &[1, 2, 3, 4, 5, 6, 7, 8, 9]);
        (9..13).for_each(|position| say(position, &[3]));
        say(13, draft);
        (14..17).for_each(|position| say(position, &[3]));
        all
    };
    for element_bytes in [2, 4] {
        let expected = answers(&mut engine(limits(element_bytes), Graphs::On).0, 2, &[5]);
        assert!(expected.iter().flatten().all(|logit| logit.is_finite()));
        let (mut used, _) = engine(limits(element_bytes), Graphs::On);
        let mut logits = Vec::new();
        let mut long = [4; 30];
        [12, 20, 29].iter().for_each(|at| long[*at] = OVERFLOWING);
        for slot in [1, 2] {
            used.step(&[row(slot, 0, &long, LogitsWanted::None)], &mut logits).unwrap();
            used.release(Slot(slot));
        }
        assert_eq!(answers(&mut used, 2, &[5]), expected, "after another sequence");
        let draft = [5, OVERFLOWING, 7, OVERFLOWING];
        assert_eq!(answers(&mut used, 1, &draft), expected, "after a refused draft");
    }
}

/// TensorRT frees its memory in the CUDA context that the device keeps alive.
#[test]
fn the_plan_goes_before_memory_and_device() {
    let (device, bytes) = (HostDevice::new(), Arc::default());
    let mut plan = FakePlan::new(limits(2), &device);
    plan.last = Some(Arc::new(LastWord(device.clone(), Arc::clone(&bytes))));
    let engine = TensorRtEngine::new(plan, device.clone(), Graphs::On).unwrap();
    let held = device.bytes() as u64;
    drop(engine);
    assert_eq!((bytes.load(Ordering::Relaxed), device.bytes()), (held, 0));
}

#[test]
fn decode_steps_of_one_shape_become_one_graph() {
    let (mut engine, device) = engine(limits(2), Graphs::On);
    let mut logits = Vec::new();
    engine.step(&[row(0, 0, &[1, 2, 3, 4, 5, 6, 7], LogitsWanted::None)], &mut logits).unwrap();
    let count = |name: &str| device.calls().iter().filter(|call| **call == name).count();
    for position in 7..12 {
        engine.step(&[row(0, position, &[9], LogitsWanted::Last)], &mut logits).unwrap();
        // A prompt in another slot has a context of its own and ends no graph.
        engine.step(&[row(1, 0, &[3; 9], LogitsWanted::Last)], &mut logits).unwrap();
    }
    assert_eq!((count("end_capture"), count("launch")), (1, 4));
    // Another batch is another shape: once plain, then a graph of its own.
    for position in 12..15 {
        let batch = [
            row(0, position, &[9], LogitsWanted::Last),
            row(1, position - 3, &[9], LogitsWanted::Last),
        ];
        engine.step(&batch, &mut logits).unwrap();
    }
    assert_eq!((count("end_capture"), count("launch")), (2, 6));
}

#[test]
fn shortlists_are_the_head_of_the_logits() {
    let (mut engine, _) = engine(Limits { vocab: 700, ..limits(2) }, Graphs::On);
    let mut logits = Vec::new();
    let prompts: Vec<[u32; 3]> = (0..5).map(|slot| [slot, 5, 9]).collect();
    for (slot, prompt) in (0..).zip(&prompts) {
        engine.step(&[row(slot, 0, prompt, LogitsWanted::None)], &mut logits).unwrap();
    }
    for slots in [vec![0], vec![4, 1, 2], vec![3], vec![0, 1, 2, 3, 4]] {
        let batch: Vec<_> =
            slots.iter().map(|slot| row(*slot, 3, &[7], LogitsWanted::Last)).collect();
        engine.step(&batch, &mut logits).unwrap();
        let mut lists = Vec::new();
        assert!(engine.step_shortlist(&batch, 1, &mut lists).unwrap());
        assert_eq!(lists.len(), slots.len());
        for (index, Shortlist { entries, bound }) in lists.iter().enumerate() {
            let expected = &logits[index * 700..][..700];
            assert!(entries.len() < 700 && !entries.is_empty());
            for (token, logit) in entries {
                assert_eq!(expected[*token as usize], *logit);
            }
            for (token, logit) in (0..).zip(expected) {
                let listed = entries.iter().any(|entry| entry.0 == token);
                assert!(listed || logit <= bound, "token {token} is lost");
            }
            let mut again = Vec::new();
            engine.logits_of(index, &mut again).unwrap();
            assert_eq!(again, expected);
        }
        assert!(engine.logits_of(slots.len(), &mut Vec::new()).is_err());
    }
    // A draft wants several rows, a prompt is long: both go the other way.
    let mut lists = Vec::new();
    let draft = [row(0, 3, &[7, 8], LogitsWanted::Tail(2))];
    assert!(!engine.step_shortlist(&draft, 1, &mut lists).unwrap());
    assert!(
        !engine.step_shortlist(&[row(0, 0, &[7; 9], LogitsWanted::Last)], 1, &mut lists).unwrap()
    );
}

/// What every step of a little story yields: prompts, decode steps that become a graph, a draft, a
/// shortlist. `None` once the engine has failed.
fn story(engine: &mut FakeEngine) -> Vec<Option<Vec<f32>>> {
    let prompt = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16];
    let mut told = Vec::new();
    let mut failed = false;
    let mut say = |engine: &mut FakeEngine, batch: &[BatchRow<'_>]| {
        if failed {
            return told.push(None);
        }
        let mut logits = Vec::new();
        match engine.step(batch, &mut logits) {
            Ok(()) => told.push(Some(logits)),
            Err(error) => {
                assert!(matches!(error, EngineError::Device { .. }), "{error}");
                assert!(error.is_fatal());
                for row in batch {
                    assert_eq!(engine.held[usize::from(row.slot.0)], 0, "a slot is not released");
                }
                failed = true;
                told.push(None);
            }
        }
    };
    say(
        engine,
        &[row(0, 0, &prompt, LogitsWanted::Last), row(1, 0, &prompt[..8], LogitsWanted::All)],
    );
    for position in 0..4 {
        let batch = [
            row(0, 16 + position, &[3], LogitsWanted::Last),
            row(1, 8 + position, &[4], LogitsWanted::Last),
        ];
        say(engine, &batch);
    }
    say(engine, &[row(1, 12, &[5, 6, 7], LogitsWanted::Tail(2))]);
    say(engine, &[row(1, 13, &[9], LogitsWanted::Last)]);
    told
}

#[test]
fn any_call_may_fail_and_no_answer_is_wrong() {
    let (mut sound, device) = engine(limits(2), Graphs::On);
    let setup_calls = device.calls().len();
    let expected = story(&mut sound);
    assert!(expected.iter().all(Option::is_some));
    let calls = device.calls().len() - setup_calls;
    assert!(calls > 100, "{calls} calls; is the fault injection blind?");
    let mut survived = Vec::new();
    for n in 0..calls {
        let (mut engine, device) = engine(limits(2), Graphs::On);
        device.fail_in(n);
        let told = story(&mut engine);
        for (step, (got, expected)) in told.iter().zip(&expected).enumerate() {
            assert!(got.is_none() || got == expected, "step {step} with a fault in call {n}");
        }
        if told.iter().all(Option::is_some) {
            survived.push(device.calls()[setup_calls + n]);
        }
    }
    // Only what belongs to making a graph can be done without.
    survived.dedup();
    assert_eq!(survived, ["begin_capture", "enqueue", "append", "end_capture"]);
}

#[test]
fn a_fault_at_the_start_is_an_error_and_frees_everything() {
    let (sound, device) = engine(limits(2), Graphs::On);
    let calls = device.calls().len();
    drop(sound);
    assert_eq!(device.bytes(), 0, "dropping an engine frees its memory");
    for n in 0..calls {
        let device = HostDevice::new();
        let plan = FakePlan::new(limits(2), &device);
        device.fail_in(n);
        let made = TensorRtEngine::new(plan, device.clone(), Graphs::On);
        assert!(made.is_err(), "call {n} of {calls} failed and nobody noticed");
        drop(made);
        assert_eq!(device.bytes(), 0, "memory is kept after a fault in call {n}");
    }
}

#[test]
fn plans_of_others_are_refused_by_name() {
    let refused = |change: &dyn Fn(&mut FakePlan)| {
        let device = HostDevice::new();
        let mut plan = FakePlan::new(limits(2), &device);
        change(&mut plan);
        match TensorRtEngine::new(plan, device, Graphs::On).err() {
            Some(SetupError::Contract(error @ ContractError::Contract { .. })) => error.to_string(),
            other => panic!("{other:?}"),
        }
    };
    let rename = |from: &'static str, to: &'static str| {
        move |plan: &mut FakePlan| {
            let tensor = plan.tensors.iter_mut().find(|tensor| tensor.name == from).unwrap();
            tensor.name = to.to_owned();
        }
    };
    type Case<'a> = (&'a dyn Fn(&mut FakePlan), &'a str);
    let cases: [Case<'_>; 10] = [
        (&|plan| plan.profiles = 1, "1 profiles"),
        (&rename("token_ids", "input_ids"), "'token_ids'"),
        (&rename("past_value_2", "x"), "'past_value_2'"),
        (&rename("new_key_0", "x"), "'new_key_0'"),
        (&|plan| plan.tensors[0].dtype = DataType::I64, "'token_ids' is I64"),
        (&|plan| plan.tensors[4].shape = Shape(vec![-1, -1, -1]), "'logits' is [-1, -1, -1]"),
        (&|plan| plan.tensors[5].shape = Shape(vec![-1, 2, 0, 4]), "'past_key_0'"),
        (&|plan| plan.limits.prefill.batch = 7, "prefill takes 7 rows, decode 6"),
        (&|plan| plan.limits.decode.batch = 1 << 20, "1048576 slots; at most 1024"),
        // 2^77 bytes, which would be none in 64 bits.
        (
            &|plan| {
                for tensor in &mut plan.tensors[5..] {
                    let sizes = tensor.shape.0[1..].iter_mut().filter(|size| **size > 0);
                    sizes.for_each(|size| *size = 1 << 24);
                }
            },
            "cache of [6, 16777216, 16777216, 33554432] bytes",
        ),
    ];
    for (change, reason) in cases {
        let said = refused(change);
        assert!(said.contains(reason) && said.contains("hymt engine build"), "{reason}: {said}");
    }
}
