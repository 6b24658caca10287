//! Plans are run: shapes, addresses, profiles, captures, and a cache fed back.

use hymt_tensorrt::error::TensorRtError;
use hymt_tensorrt::graph;
use hymt_tensorrt::safe::{Mode, Shape, Stream};

use crate::control::Fake;
use crate::decoder::Decoder;
use crate::host::Buffer;
use crate::support::{MODEL, PROMPT_MAX, engine, open, parsed, ranges, tensor_error};

#[test]
fn a_plan_says_what_went_into_it() {
    let Some(fake) = Fake::take() else { return };
    let library = open(&fake);
    let builder = library.builder().unwrap();
    let wanted = parsed(&builder).tensors().unwrap();
    let engine = engine(&library);
    assert_eq!(engine.tensors(), wanted);
    assert_eq!(wanted.iter().filter(|it| it.mode == Mode::Input).count(), 4 + 2 * MODEL.layers);
    assert_eq!(wanted[0].shape, Shape(vec![-1, -1]));
    assert_eq!(engine.profiles().unwrap(), 2);
    let range = engine.profile_range(graph::TOKEN_IDS, 0).unwrap();
    assert_eq!((range.min, range.max), ([1, 1].into(), [1, PROMPT_MAX].into()));
    assert_eq!(engine.profile_range(graph::TOKEN_IDS, 1).unwrap().max, [1, 1].into());
    let wrong = engine.profile_range(graph::TOKEN_IDS, 2).unwrap_err();
    assert!(matches!(wrong, TensorRtError::Argument { .. }), "{wrong:?}");
    tensor_error(engine.profile_range(graph::LOGITS, 0).map(|_| ()), "is an output");
    fake.set("device_memory", "12345");
    assert_eq!(engine.device_memory_bytes().unwrap(), 12345);
    assert!(engine.layers_json().unwrap().contains("node_1"));
}

/// The prompt at once, or token by token, or anything between: what the fake computes depends on the
/// whole cache, so this holds only if every key and value is where it belongs.
#[test]
fn steps_with_the_cache_fed_back_are_the_whole() {
    let Some(fake) = Fake::take() else { return };
    let engine = engine(&open(&fake));
    let tokens: Vec<u32> = (0..20).map(|it| it * 7 % 50).collect();
    for cuts in [vec![8, 8, 4], vec![5, 1, 1, 1, 8, 4], vec![1; 20]] {
        let mut decoder = Decoder::new(&engine);
        for cut in cuts {
            let past = decoder.past;
            let profile = usize::from(cut == 1);
            decoder.context.set_profile(profile, &Stream::DEFAULT).unwrap();
            let logits = decoder.step(&tokens[past..past + cut]);
            assert_eq!(logits, MODEL.logits(&tokens[..past + cut]), "after {past} and {cut}");
        }
    }
    // The check must be able to fail: one value in the wrong place.
    let mut decoder = Decoder::new(&engine);
    decoder.step(&tokens[..8]);
    decoder.buffer(&graph::past_value(2)).bytes_mut().swap(0, 2);
    let logits = decoder.step(&tokens[8..16]);
    assert_ne!(logits, MODEL.logits(&tokens[..16]));
}

#[test]
fn shapes_and_addresses_are_asked_for_by_name() {
    let Some(fake) = Fake::take() else { return };
    let engine = engine(&open(&fake));
    let mut context = engine.context().unwrap();
    tensor_error(context.infer_shapes(), graph::TOKEN_IDS);
    let ids = graph::TOKEN_IDS;
    tensor_error(context.tensor_shape(ids).map(|_| ()), "is open");
    tensor_error(context.set_input_shape("nobody", &[1, 1].into()), "nobody");
    tensor_error(context.set_input_shape(graph::LOGITS, &[1, 1, 50].into()), "is an output");
    tensor_error(context.set_input_shape(ids, &[1, PROMPT_MAX + 1].into()), "outside the profile");
    tensor_error(context.set_input_shape(ids, &[1].into()), "outside the profile");
    let negative = context.set_input_shape(ids, &[1, -1].into()).unwrap_err();
    assert!(matches!(negative, TensorRtError::Argument { .. }), "{negative:?}");
    let long = context.set_input_shape(ids, &Shape(vec![1; 9])).unwrap_err();
    assert!(matches!(long, TensorRtError::Argument { .. }), "{long:?}");
    tensor_error(context.set_address(ids, 0), "is null");
    tensor_error(context.set_address(ids, 4097), "256 bytes");
    tensor_error(context.set_address("nobody", 4096), "nobody");
    let profile = context.set_profile(7, &Stream::DEFAULT).unwrap_err();
    assert!(matches!(profile, TensorRtError::Argument { .. }), "{profile:?}");

    // What is bound is no longer named; what is not, is.
    context.set_address(ids, Buffer::new(64).address()).unwrap();
    // SAFETY: refused before anything is read.
    let unbound = unsafe { context.enqueue(&Stream::DEFAULT) }.unwrap_err().to_string();
    assert!(unbound.contains(graph::POSITIONS) && !unbound.contains(ids), "{unbound}");

    // Shapes that fit each for itself and not together.
    for (name, range) in ranges(4) {
        context.set_input_shape(&name, &range.max).unwrap();
    }
    assert_eq!(context.tensor_shape(graph::LOGITS).unwrap(), [1, 1, 50].into());
    context.infer_shapes().unwrap();
    context.set_input_shape(ids, &[1, 3].into()).unwrap();
    tensor_error(context.infer_shapes(), "tokens");
}

#[test]
fn a_profile_change_forgets_shapes_and_keeps_addresses() {
    let Some(fake) = Fake::take() else { return };
    let engine = engine(&open(&fake));
    let mut decoder = Decoder::new(&engine);
    decoder.step(&[1, 2, 3]);
    decoder.context.set_profile(1, &Stream::DEFAULT).unwrap();
    tensor_error(decoder.context.infer_shapes(), graph::TOKEN_IDS);
    let error = decoder.enqueue().unwrap_err();
    assert!(matches!(&error, TensorRtError::Enqueue { detail } if detail.contains("no shape")));
    let two = decoder.context.set_input_shape(graph::TOKEN_IDS, &[1, 2].into());
    tensor_error(two, "outside the profile");
    assert_eq!(decoder.step(&[4]), MODEL.logits(&[1, 2, 3, 4]));
}

#[test]
fn a_captured_run_is_done_when_launched_and_needs_a_run_before() {
    let Some(fake) = Fake::take() else { return };
    let engine = engine(&open(&fake));
    let mut decoder = Decoder::new(&engine);
    decoder.context.set_profile(1, &Stream::DEFAULT).unwrap();
    decoder.set_shapes(1);
    decoder.write_inputs(&[9]);
    fake.begin_capture();
    let early = decoder.enqueue().unwrap_err();
    fake.end_capture();
    assert!(matches!(&early, TensorRtError::Enqueue { detail } if detail.contains("capturing")));

    let mut tokens = vec![9];
    decoder.step(&tokens);
    fake.begin_capture();
    decoder.write_inputs(&[10]);
    decoder.enqueue().unwrap();
    let graph = fake.end_capture();
    assert_eq!(decoder.logits(), MODEL.logits(&tokens), "captured, not done");
    for token in [10, 11, 12] {
        decoder.write_inputs(&[token]);
        assert!(fake.launch(graph));
        decoder.keep(1);
        tokens.push(token);
        assert_eq!(decoder.logits(), MODEL.logits(&tokens));
    }
}

/// Owners may go in any order and on any thread.
/// Owners may go in any order and on any thread.
#[test]
fn what_is_needed_lives_on() {
    let Some(fake) = Fake::take() else { return };
    let engine = engine(&open(&fake));
    let threads: Vec<_> = (0..4)
        .map(|seed| {
            let engine = engine.clone();
            std::thread::spawn(move || {
                let mut decoder = Decoder::new(&engine);
                drop(engine);
                decoder.step(&[seed, 1]);
                assert_eq!(decoder.step(&[2]), MODEL.logits(&[seed, 1, 2]));
            })
        })
        .collect();
    drop(engine);
    for thread in threads {
        thread.join().unwrap();
    }
}
