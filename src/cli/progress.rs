//! Progress bars where a person waits: on standard error, and only on a terminal.

use std::io::IsTerminal;
use std::time::Duration;

use hymt_llm::engine::cpu::LoadProgress;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A bar that counts bytes up to `total`.
pub fn bytes_bar(message: &str, total: u64) -> ProgressBar {
    let bar = bar(total);
    bar.set_style(style("{msg:<28} [{bar:30}] {bytes}/{total_bytes} {eta}"));
    bar.set_message(message.to_owned());
    bar
}

/// A bar that counts bytes up to `total` as they come over a network, with their speed.
pub fn transfer_bar(message: &str, total: u64) -> ProgressBar {
    let bar = bar(total);
    bar.set_style(style("{msg:<12} [{bar:30}] {bytes}/{total_bytes} {bytes_per_sec} {eta}"));
    bar.set_message(message.to_owned());
    bar
}

/// A bar that counts steps up to `total`.
pub fn steps_bar(message: &str, total: u64) -> ProgressBar {
    let bar = bar(total);
    bar.set_style(style("{msg:<28} [{bar:30}] {pos}/{len} {eta}"));
    bar.set_message(message.to_owned());
    bar
}

/// A bar that counts texts up to `total`, with their pace.
pub fn texts_bar(message: &str, total: u64) -> ProgressBar {
    let bar = bar(total);
    bar.set_style(style("{msg:<28} [{bar:30}] {pos}/{len} texts, {per_sec}, {eta} left"));
    bar.set_message(message.to_owned());
    // A batch of a large model takes a while, and a bar that stands still looks broken.
    bar.enable_steady_tick(Duration::from_secs(1));
    bar
}

/// Runs `load`, which tells how far the model is, under a bar.
pub fn while_loading<T>(load: impl FnOnce(&mut dyn FnMut(LoadProgress)) -> T) -> T {
    let bar = steps_bar("loading the model", 0);
    let loaded = load(&mut |step| {
        bar.set_length(step.total as u64);
        bar.set_position(step.done as u64);
    });
    bar.finish_and_clear();
    loaded
}

/// A spinner for work of unknown length.
pub fn spinner(message: &str) -> ProgressBar {
    let bar = bar(0);
    bar.set_style(style("{spinner} {msg}"));
    bar.set_message(message.to_owned());
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}

fn bar(total: u64) -> ProgressBar {
    let target = if std::io::stderr().is_terminal() {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    };
    ProgressBar::with_draw_target(Some(total), target)
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .expect("the templates in this file are valid")
        .progress_chars("=> ")
}
