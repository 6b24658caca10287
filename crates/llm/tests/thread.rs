//! The inference thread with a scripted engine: what callers see, and which batches ran.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hymt_llm::TokenId;
use hymt_llm::chat::{ChatFormat, Opener};
use hymt_llm::engine::cpu::{CpuEngine, CpuOptions};
use hymt_llm::engine::scripted::{BatchRecord, Fault, ScriptedEngine};
use hymt_llm::request::{FinishReason, GenerateError, GenerateRequest, SubmitError};
use hymt_llm::sampling::SamplingParams;
use hymt_llm::thread::{InferenceHandle, InferenceThread, ThreadConfig, TicketEvent};
use hymt_llm::tokenizer::Tokenizer;
use hymt_llm::weights::ModelSource;

/// Longest wait for something that must happen; far above what it takes.
const PATIENCE: Duration = Duration::from_secs(30);

struct Fixture {
    handle: InferenceHandle,
    tokenizer: Arc<Tokenizer>,
    chat: ChatFormat,
    record: BatchRecord,
}

impl Fixture {
    fn new(change: impl FnOnce(ScriptedEngine) -> ScriptedEngine, queue_limit: usize) -> Self {
        let tokenizer = Arc::new(Tokenizer::bytes());
        let chat = ChatFormat::detect(&tokenizer, Opener::Assistant).unwrap();
        let engine = change(ScriptedEngine::echo(&tokenizer, chat.stop()[0]));
        let record = engine.record();
        let config = ThreadConfig { queue_limit, ..ThreadConfig::default() };
        let handle = InferenceThread::spawn(Box::new(engine), Arc::clone(&tokenizer), config);
        Self { handle, tokenizer, chat, record }
    }

    fn slow() -> Self {
        Self::new(|engine| engine.with_delay(Duration::from_millis(5)), 64)
    }

    fn request(&self, text: &str) -> GenerateRequest {
        let user = format!("Translate this:\n\n{text}");
        GenerateRequest {
            prompt: self.chat.render(&self.tokenizer, None, &user).unwrap(),
            new_tokens_max: 500,
            sampling: SamplingParams::default(),
            stop: self.chat.stop(),
            priority: 128,
            deadline: None,
            draft: Vec::new(),
        }
    }

    fn wait_until(&self, condition: impl Fn(&Self) -> bool) {
        let start = Instant::now();
        while !condition(self) {
            assert!(start.elapsed() < PATIENCE, "stats: {:?}", self.handle.stats());
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

#[test]
fn one_utterance_into_many_languages_is_one_batch() {
    let fixture = Fixture::new(|engine| engine, 64);
    let texts = ["guten Tag", "你好", "¡hola!"];
    let group = texts.iter().map(|text| fixture.request(text)).collect();
    let answers = fixture.handle.submit(group).unwrap().wait();
    for (text, answer) in texts.iter().zip(answers) {
        let answer = answer.unwrap();
        assert_eq!((answer.text.as_str(), answer.finish), (*text, FinishReason::Stop));
        assert_eq!(answer.tokens.len(), text.len(), "one token a byte");
    }
    let batches = fixture.record.batches();
    assert_eq!(batches[0].len(), 3, "prefill of all three at once: {batches:?}");
    assert_eq!(batches[1].len(), 3, "and decode too");
    assert_eq!(batches.len(), 1 + "guten Tag".len(), "as many steps as the longest answer alone");
}

#[test]
fn text_streams_in_whole_characters_and_adds_up() {
    let fixture = Fixture::slow();
    let mut group = fixture.handle.submit(vec![fixture.request("门 ist auf")]).unwrap();
    let (mut streamed, mut pieces) = (String::new(), 0);
    while let Some((index, event)) = group.next_event(Some(PATIENCE)) {
        assert_eq!(index, 0);
        match event {
            TicketEvent::Text { delta } => {
                assert!(!delta.contains('\u{FFFD}'), "{delta:?}");
                streamed.push_str(&delta);
                pieces += 1;
            }
            TicketEvent::Done(answer) => assert_eq!(answer.text, streamed),
            TicketEvent::Failed(error) => panic!("{error}"),
        }
    }
    assert_eq!(streamed, "门 ist auf");
    assert!(pieces > 1, "it must arrive in pieces");
}

#[test]
fn a_dropped_ticket_frees_its_slot() {
    let fixture = Fixture::slow();
    let group = fixture.handle.submit(vec![fixture.request(&"x".repeat(400))]).unwrap();
    fixture.wait_until(|f| f.handle.stats().running == 1);
    drop(group);
    fixture.wait_until(|f| f.handle.stats().cancelled == 1);
    let stats = fixture.handle.stats();
    assert_eq!((stats.running, stats.completed), (0, 0));
}

#[test]
fn a_passed_deadline_ends_a_running_request() {
    let fixture = Fixture::slow();
    let deadline = Some(Instant::now() + Duration::from_millis(40));
    let late = GenerateRequest { deadline, ..fixture.request(&"x".repeat(400)) };
    let answers = fixture.handle.submit(vec![late, fixture.request("ok")]).unwrap().wait();
    assert_eq!(answers[0], Err(GenerateError::DeadlineExceeded));
    assert_eq!(answers[1].as_ref().unwrap().text, "ok", "its neighbour is not touched");
}

#[test]
fn a_full_queue_refuses_at_once() {
    let fixture = Fixture::new(|engine| engine.with_delay(Duration::from_millis(20)), 2);
    let running: Vec<_> = (0..8)
        .map(|_| {
            let group = fixture.handle.submit(vec![fixture.request(&"x".repeat(100))]).unwrap();
            fixture.wait_until(|f| f.handle.stats().waiting == 0);
            group
        })
        .collect();
    let _waiting = fixture.handle.submit(vec![fixture.request("a"), fixture.request("b")]).unwrap();
    let refused = fixture.handle.submit(vec![fixture.request("c")]).unwrap_err();
    assert_eq!(refused, SubmitError::QueueFull { waiting: 2, limit: 2 });
    drop(running);
}

#[test]
fn a_fault_ends_its_step_and_nothing_else() {
    let fixture = Fixture::new(|engine| engine.with_fault(Fault::Error(1)), 64);
    let failed = fixture.handle.submit(vec![fixture.request("first")]).unwrap().wait();
    let Err(GenerateError::Engine { detail }) = &failed[0] else { panic!("{failed:?}") };
    assert!(detail.contains("scripted fault in step 1"), "{detail}");
    let fine = fixture.handle.submit(vec![fixture.request("second")]).unwrap().wait();
    assert_eq!(fine[0].as_ref().unwrap().text, "second");
    assert_eq!(fixture.handle.stats().failed, 1);
}

#[test]
fn a_broken_engine_answers_everyone_and_refuses_the_rest() {
    for (fault, expected) in [(Fault::Fatal(2), "fatal fault"), (Fault::Panic(2), "scripted panic")]
    {
        let fixture = Fixture::new(
            |engine| engine.with_fault(fault).with_delay(Duration::from_millis(5)),
            64,
        );
        // More requests than slots, so that some wait when it breaks.
        let group = (0..12).map(|_| fixture.request("hello")).collect();
        for answer in fixture.handle.submit(group).unwrap().wait() {
            let Err(GenerateError::Engine { detail }) = &answer else { panic!("{answer:?}") };
            assert!(detail.contains(expected), "{detail}");
        }
        let refused = fixture.handle.submit(vec![fixture.request("x")]).unwrap_err();
        assert!(refused.to_string().contains(expected), "{refused}");
        assert!(fixture.handle.stats().stopped.is_some());
    }
}

#[test]
fn shutdown_lets_work_end_within_its_grace() {
    let fixture = Fixture::slow();
    let group = fixture.handle.submit(vec![fixture.request("short")]).unwrap();
    fixture.handle.shutdown(PATIENCE);
    assert_eq!(group.wait()[0].as_ref().unwrap().text, "short");
    let refused = fixture.handle.submit(vec![fixture.request("x")]).unwrap_err();
    assert!(matches!(refused, SubmitError::Stopped { .. }), "{refused}");

    let fixture = Fixture::slow();
    let group = fixture.handle.submit(vec![fixture.request(&"x".repeat(400))]).unwrap();
    fixture.handle.shutdown(Duration::ZERO);
    assert_eq!(group.wait()[0], Err(GenerateError::Cancelled));
}

#[test]
fn many_callers_are_each_answered_once() {
    let fixture = Fixture::new(|engine| engine, 256);
    std::thread::scope(|scope| {
        for caller in 0..8 {
            let fixture = &fixture;
            scope.spawn(move || {
                for number in 0..25 {
                    let text = format!("caller {caller} text {number}");
                    let group = fixture.handle.submit(vec![fixture.request(&text)]).unwrap();
                    let answers = group.wait();
                    assert_eq!(answers.len(), 1);
                    assert_eq!(answers[0].as_ref().unwrap().text, text);
                }
            });
        }
    });
    let stats = fixture.handle.stats();
    assert_eq!((stats.completed, stats.waiting, stats.running), (200, 0, 0));
}

#[test]
fn invalid_sampling_is_refused_by_name() {
    let fixture = Fixture::new(|engine| engine, 64);
    let mut request = fixture.request("x");
    request.sampling.top_p = 0.0;
    let refused = fixture.handle.submit(vec![request]).unwrap_err().to_string();
    assert!(refused.contains("top_p"), "{refused}");
}

/// The real network: what runs beside a sequence must not change it.
#[test]
fn batched_answers_equal_those_given_alone() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../models/demo/int8");
    let tokenizer =
        Arc::new(Tokenizer::from_file(&Path::new(root).join("tokenizer.json")).unwrap());
    let chat = ChatFormat::detect(&tokenizer, Opener::Assistant).unwrap();
    let request = |target: &str, text: &str| {
        let user = format!(
            "Translate the following text into {target}. Note that you should only output the \
             translated result without any additional explanation:\n\n{text}"
        );
        GenerateRequest {
            prompt: chat.render(&tokenizer, None, &user).unwrap(),
            new_tokens_max: 64,
            sampling: SamplingParams::default(),
            stop: chat.stop(),
            priority: 128,
            deadline: None,
            draft: Vec::new(),
        }
    };
    let prompts: Vec<_> = ["German", "French", "Spanish"]
        .iter()
        .flat_map(|target| {
            ["Where is the charging station?", "Please follow me.", "The door is open."]
                .map(|text| request(target, text))
        })
        .collect();
    let engine = |step_tokens_max| {
        let options =
            CpuOptions { slots: 4, threads: Some(1), step_tokens_max, ..CpuOptions::default() };
        Box::new(CpuEngine::load(&ModelSource::Dir(root.into()), &options, &mut |_| ()).unwrap())
    };
    let start = |step_tokens_max| {
        let config = ThreadConfig::default();
        InferenceThread::spawn(engine(step_tokens_max), Arc::clone(&tokenizer), config)
    };
    let handle = start(512);
    let alone: Vec<Vec<TokenId>> = prompts
        .iter()
        .map(|prompt| handle.submit(vec![prompt.clone()]).unwrap().wait().remove(0).unwrap().tokens)
        .collect();
    // The second time a step is shorter than a prompt, so that prompts are cut.
    for step_tokens_max in [512, 24] {
        let together: Vec<Vec<TokenId>> = start(step_tokens_max)
            .submit(prompts.clone())
            .unwrap()
            .wait()
            .into_iter()
            .map(|answer| answer.unwrap().tokens)
            .collect();
        assert_eq!(alone, together, "{step_tokens_max} tokens a step");
    }
    assert!(prompts.iter().all(|request| request.prompt.len() > 24), "or nothing is cut");
    assert!(alone.iter().all(|tokens| !tokens.is_empty()));
}
