//! `hymt demo`: the whole chain in one process, joined only by ROS 2 topics.
//!
//! A node hears and translates; a talker says a dozen sentences and shows what comes back. The two
//! have a DDS participant each and share nothing else, so what is shown here travelled as it would
//! between two computers.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Args;
use crossbeam_channel::Receiver;
use hymt_core::language::Language;

use crate::app::EngineOptions;
use crate::cli::ModelArgs;
use crate::cli::output::{Output, Style};
use crate::cli::progress;
use crate::cli::translate::load_with_bar;
use crate::node::{NODE_NAME, TranslatorNode};
use crate::parameters;
use crate::ros::args::RosArgs;
use crate::ros::convert::value_to_wire;
use crate::ros::param_value::ParamValue;
use crate::ros::qos::QosProfile;
use crate::ros::wire::rcl::{self, SetParametersAtomicallyRequest};
use crate::ros::wire::{StringMsg, Translate, TranslateRequest, Translation};
use crate::ros::{
    Client, Context, ContextOptions, DiscoveryRange, MessageInfo, Middleware, Node, Publisher,
    QosOverrides, Subscription,
};

/// Namespace of the demo's nodes: its own, so that it answers neither a real robot nor another demo.
fn namespace() -> String {
    format!("/hymt_demo_{}", std::process::id())
}

/// Longest wait for discovery; on a loopback without multicast it takes several seconds.
const DISCOVERY_PATIENCE: Duration = Duration::from_secs(30);
/// Longest wait for the translations of one sentence.
const ANSWER_PATIENCE: Duration = Duration::from_secs(20);

/// What is said, in six languages.
const SENTENCES: [&str; 12] = [
    "Hello.",
    "Where is the charging station?",
    "Please follow me.",
    "Bitte bringen Sie mich zum Aufzug.",
    "Ma batterie est à 27 pour cent.",
    "请把棕色的毛巾放在包裹旁边。",
    "The meeting on Thursday is cancelled.",
    "¿Dónde está la oficina de correos?",
    "郵便局は23時35分に開きます。",
    "I will guide you to the exit.",
    "Die Bushaltestelle schließt am Montag um 10:35 Uhr.",
    "Thank you.",
];

/// A sentence and the term that changes its translation into German.
const TERM_SENTENCE: &str = "Where is the charging station?";
const TERM: &str = "charging station=Stromtankstelle";

/// Arguments of `hymt demo`.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Languages to translate into.
    #[arg(long, value_delimiter = ',', default_value = "de,zh,es", value_name = "LANG,...")]
    to: Vec<String>,
    #[command(flatten)]
    model: ModelArgs,
}

/// Plays the demo.
///
/// # Errors
/// When the model cannot be loaded, the participants do not find each other, or a translation does
/// not come back.
pub fn run(args: &DemoArgs, output: &mut Output) -> anyhow::Result<ExitCode> {
    let options = context_options()?;
    let (node_context, node) = start_node(args, &options, output)?;
    let talker = Talker::start(&options)?;
    let bar = progress::spinner("the two participants discover each other");
    let started = Instant::now();
    talker.wait_for_node()?;
    bar.finish_and_clear();
    let found = format!("found each other in {:.0} ms\n", started.elapsed().as_secs_f64() * 1e3);
    output.line(output.styled(Style::Dim, &found))?;
    for sentence in SENTENCES {
        talker.say(sentence)?;
        talker.show(sentence, args.to.len(), output)?;
    }
    show_term(&talker, args, output)?;
    show_service(&talker, output)?;
    print_next(output)?;
    node.shutdown(Duration::from_secs(2));
    node_context.shutdown();
    Ok(ExitCode::SUCCESS)
}

/// The environment's domain, but this machine only.
fn context_options() -> anyhow::Result<ContextOptions> {
    let options = ContextOptions::from_env(&|name| std::env::var(name).ok())
        .map_err(|error| super::UsageError(error.to_string()))?;
    Ok(ContextOptions { discovery_range: DiscoveryRange::Localhost, ..options })
}

fn start_node(
    args: &DemoArgs,
    options: &ContextOptions,
    output: &mut Output,
) -> anyhow::Result<(Context, TranslatorNode)> {
    let names = RosArgs::default().resolver(NODE_NAME, &namespace())?;
    let targets = ParamValue::StringArray(args.to.clone());
    let overrides = [("target_locales".to_owned(), targets)];
    let (store, _) =
        parameters::declare(&overrides).map_err(|reasons| super::UsageError(reasons.join("; ")))?;
    let engine = args.model.engine_options()?;
    // The demo takes its model from its own options, not from parameters.
    let loader = Arc::new(move |_: &EngineOptions| load_with_bar(&engine));
    let context = Context::new(Middleware::Dds, options).context("cannot join the ROS graph")?;
    let node = TranslatorNode::start(&context, names, store, QosOverrides::default(), loader)?;
    node.bring_up()?;
    let about = node.about().context("an active node has a model")?;
    output.line(output.styled(Style::Bold, "hymt demo: ROS 2 topics in, translations out"))?;
    output.line(format!("model      {}, loaded in {:.0} ms", about.model, about.load_ms))?;
    output.line(format!("engine     {} ({})", about.engine, about.reason))?;
    output.line(format!("domain     {} (loopback only)", options.domain_id))?;
    for line in node.interface()? {
        output.line(line)?;
    }
    Ok((context, node))
}

/// The other side: its own participant, as another computer would have.
struct Talker {
    text: Publisher<StringMsg>,
    translations: Receiver<(Translation, MessageInfo)>,
    translate: Client<Translate>,
    set_parameters: Client<rcl::SetParametersAtomically>,
    _subscription: Subscription<Translation>,
    _node: Node,
    _context: Context,
}

impl Talker {
    fn start(options: &ContextOptions) -> anyhow::Result<Self> {
        let context =
            Context::new(Middleware::Dds, options).context("cannot join the ROS graph")?;
        let node = context.create_node("talker", &namespace())?;
        let namespace = namespace();
        let of_node = |name: &str| format!("{namespace}/{NODE_NAME}/{name}");
        let (subscription, translations) =
            node.subscription_queue(&of_node("translation"), &QosProfile::DEFAULT, 64)?;
        Ok(Self {
            text: node.publisher(&format!("{namespace}/text"), &QosProfile::DEFAULT)?,
            translations,
            translate: node.client(&of_node("translate"))?,
            set_parameters: node.client(&of_node("set_parameters_atomically"))?,
            _subscription: subscription,
            _node: node,
            _context: context,
        })
    }

    /// Waits until both directions of topics and services are there.
    fn wait_for_node(&self) -> anyhow::Result<()> {
        let deadline = Instant::now() + DISCOVERY_PATIENCE;
        let left = || deadline.saturating_duration_since(Instant::now());
        let services =
            self.translate.wait_for_service(left()) && self.set_parameters.wait_for_service(left());
        while services && !left().is_zero() {
            if self.text.matched() > 0 && self._subscription.matched() > 0 {
                // That we have found the node does not say that it has found us.
                std::thread::sleep(Duration::from_millis(200));
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        anyhow::bail!(
            "the talker and the node did not find each other within {} s; run `hymt doctor`",
            DISCOVERY_PATIENCE.as_secs()
        )
    }

    fn say(&self, sentence: &str) -> anyhow::Result<()> {
        Ok(self.text.publish(&StringMsg::from(sentence))?)
    }

    /// Waits for the translations of `sentence` and shows them as captions.
    fn show(&self, sentence: &str, n_targets: usize, output: &mut Output) -> anyhow::Result<()> {
        let said = Instant::now();
        let mut captions = BTreeMap::new();
        while captions.len() < n_targets {
            let left = ANSWER_PATIENCE.saturating_sub(said.elapsed());
            let (translation, _) = self.translations.recv_timeout(left).with_context(|| {
                format!("no translation within {} s; see `hymt doctor`", ANSWER_PATIENCE.as_secs())
            })?;
            if translation.source_text != sentence {
                continue;
            }
            let accepted = [Translation::OK, Translation::PASSTHROUGH, Translation::TRUNCATED];
            anyhow::ensure!(accepted.contains(&translation.status), "{}", translation.detail);
            let elapsed_ms = said.elapsed().as_secs_f64() * 1e3;
            captions.insert(translation.target_locale.clone(), (translation, elapsed_ms));
        }
        let source = captions.values().next().map(|(first, _)| first.source_locale.clone());
        let source = output.styled(Style::Dim, &format!("{:>7}", source.unwrap_or_default()));
        output.line(format!("{source}  {}", output.styled(Style::Bold, sentence)))?;
        for (target, (translation, elapsed_ms)) in &captions {
            if translation.status == Translation::PASSTHROUGH {
                continue;
            }
            let tag = output.styled(Style::Dim, &format!("{target:>7}"));
            let time = output.styled(Style::Dim, &format!("{elapsed_ms:.0} ms"));
            output.line(format!("{tag}  {}  {time}", translation.text))?;
        }
        output.line("")?;
        Ok(())
    }
}

/// Sets a term through the parameter service and says a sentence again.
fn show_term(talker: &Talker, args: &DemoArgs, output: &mut Output) -> anyhow::Result<()> {
    let has_german = args.to.iter().any(|to| Language::parse(to) == Language::parse("de"));
    if !has_german {
        return Ok(());
    }
    let title = format!("now with the parameter glossary.terms = ['[de] {TERM}']\n");
    output.line(output.styled(Style::Dim, &title))?;
    let terms = ParamValue::StringArray(vec![format!("[de] {TERM}")]);
    let parameter =
        rcl::Parameter { name: "glossary.terms".to_owned(), value: value_to_wire(&terms) };
    let request = SetParametersAtomicallyRequest { parameters: vec![parameter] };
    let answer = talker.set_parameters.call(&request, ANSWER_PATIENCE)?;
    anyhow::ensure!(answer.result.successful, "{}", answer.result.reason);
    talker.say(TERM_SENTENCE)?;
    talker.show(TERM_SENTENCE, args.to.len(), output)
}

/// Calls the translate service once.
fn show_service(talker: &Talker, output: &mut Output) -> anyhow::Result<()> {
    output.line(output.styled(Style::Dim, "and as a service call, French into English\n"))?;
    let text = "Le cours en italien commence à 16 h 35.";
    let request = TranslateRequest {
        texts: vec![text.to_owned()],
        source_locale: "fr".to_owned(),
        target_locales: vec!["en".to_owned()],
        priority: 128,
        ..TranslateRequest::default()
    };
    let started = Instant::now();
    let answer = talker.translate.call(&request, ANSWER_PATIENCE)?;
    anyhow::ensure!(answer.success, "{}", answer.message);
    let result = answer.results.first().context("a successful call has a result")?;
    let time = format!("{:.0} ms", started.elapsed().as_secs_f64() * 1e3);
    let fr = output.styled(Style::Dim, &format!("{:>7}", "fr"));
    let en = output.styled(Style::Dim, &format!("{:>7}", "en"));
    output.line(format!("{fr}  {}", output.styled(Style::Bold, text)))?;
    output.line(format!("{en}  {}  {}\n", result.text, output.styled(Style::Dim, &time)))?;
    Ok(())
}

fn print_next(output: &mut Output) -> anyhow::Result<()> {
    let program = "cargo run --release --";
    output.line(output.styled(Style::Bold, "Next"))?;
    for (command, what) in [
        (format!("{program} translate --to zh \"Where is the charging station?\""), "without ROS"),
        (format!("{program} node"), "the node; any ROS 2 graph can talk to it"),
        (format!("{program} doctor"), "is this machine ready?"),
        (
            "ros2 topic pub -1 /text std_msgs/msg/String \"{data: Please follow me.}\"".to_owned(),
            "from a machine with ROS 2",
        ),
    ] {
        output.line(format!("  {command}\n      {}", output.styled(Style::Dim, what)))?;
    }
    Ok(())
}
