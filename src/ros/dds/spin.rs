//! The spin thread: takes samples, runs callbacks, retries what could not be sent.

use std::{
    collections::HashMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, PoisonError, Weak},
    thread::JoinHandle,
    time::Duration,
};

use crossbeam_channel::{Receiver, Sender, TrySendError};
use rustdds::mio1::{Events, Poll, Registry, Token, Waker};

use crate::ros::RosError;

/// Endpoints whose arrival the spin thread has not yet taken note of.
const COMMANDS_MAX: usize = 1024;
/// Samples taken from one endpoint before the others get their turn.
const DRAIN_BUDGET: usize = 64;
/// Readiness events taken from the operating system at once.
const EVENTS_MAX: usize = 256;
/// How soon a full outbox is tried again.
const RETRY_INTERVAL: Duration = Duration::from_millis(2);
/// How often housekeeping runs when nothing happens.
const IDLE_INTERVAL: Duration = Duration::from_secs(1);

const WAKE_TOKEN: Token = Token(0);

/// Something that becomes ready and is then drained on the spin thread.
pub(super) trait Source: Send {
    /// Handles at most `budget` items; true when more may be waiting.
    fn drain(&mut self, budget: usize) -> bool;
}

/// Something that could not send everything and wants to be tried again.
pub(super) trait Backlog: Send + Sync {
    /// Sends what it can; true when something is left.
    fn flush(&self) -> bool;
}

enum Command {
    Add(Token, Box<dyn Source>),
    Remove(Token),
    Stop,
}

/// The handle through which endpoints reach the spin thread.
pub(super) struct Spinner {
    commands: Sender<Command>,
    waker: Waker,
    registry: Registry,
    backlogs: Mutex<Vec<Weak<dyn Backlog>>>,
    token_next: std::sync::atomic::AtomicUsize,
    thread: Mutex<Option<JoinHandle<()>>>,
    thread_id: std::thread::ThreadId,
}

impl Spinner {
    /// Starts the thread.
    pub(super) fn start() -> Result<Arc<Self>, RosError> {
        let io = |action| move |source| RosError::Io { action, source };
        let poll = Poll::new().map_err(io("open the event queue"))?;
        let registry = poll.registry().try_clone().map_err(io("open the event queue"))?;
        let waker = Waker::new(poll.registry(), WAKE_TOKEN).map_err(io("open a waker"))?;
        let (commands, inbox) = crossbeam_channel::bounded(COMMANDS_MAX);
        let (give, take) = crossbeam_channel::bounded::<Arc<Self>>(1);
        let thread = std::thread::Builder::new()
            .name("dds-spin".to_owned())
            .spawn(move || {
                if let Ok(spinner) = take.recv() {
                    // Only a weak link: the thread must not keep its own handle alive.
                    let weak = Arc::downgrade(&spinner);
                    drop(spinner);
                    run(poll, &inbox, &weak);
                }
            })
            .map_err(io("start the spin thread"))?;
        let spinner = Arc::new(Self {
            commands,
            waker,
            registry,
            backlogs: Mutex::default(),
            token_next: std::sync::atomic::AtomicUsize::new(WAKE_TOKEN.0 + 1),
            thread_id: thread.thread().id(),
            thread: Mutex::new(Some(thread)),
        });
        // The receiver lives until it has received, so this cannot fail.
        let _ = give.send(Arc::clone(&spinner));
        Ok(spinner)
    }

    /// Where a source registers itself before it is handed to [`Self::add`].
    pub(super) fn registry(&self) -> &Registry {
        &self.registry
    }

    /// A token that no one else has.
    pub(super) fn token(&self) -> Token {
        Token(self.token_next.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
    }

    /// Hands over a source, which is drained once at once and then whenever it is ready.
    pub(super) fn add(&self, token: Token, source: Box<dyn Source>) -> Result<(), RosError> {
        self.command(Command::Add(token, source)).map_err(|_| RosError::Create {
            what: "endpoint".to_owned(),
            reason: format!("{COMMANDS_MAX} endpoints already wait for the spin thread"),
        })
    }

    /// Lets a source go.
    pub(super) fn remove(&self, token: Token) {
        if self.command(Command::Remove(token)).is_err() {
            tracing::debug!(token = token.0, "a source stays until the context goes");
        }
    }

    /// Asks for `backlog` to be flushed until nothing is left in it.
    pub(super) fn retry(&self, backlog: Weak<dyn Backlog>) {
        self.lock_backlogs().push(backlog);
        self.wake();
    }

    /// Ends the thread and lets all sources go.
    pub(super) fn stop(&self) {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(thread) = thread else { return };
        // The queue may be full; the thread empties it, so waiting here ends.
        if !self.is_current() && self.commands.send(Command::Stop).is_ok() {
            self.wake();
            if thread.join().is_err() {
                tracing::error!("the spin thread panicked");
            }
        } else if self.command(Command::Stop).is_err() {
            tracing::error!("the spin thread could not be told to stop");
        }
    }

    /// Whether the caller runs on the spin thread.
    pub(super) fn is_current(&self) -> bool {
        std::thread::current().id() == self.thread_id
    }

    fn command(&self, command: Command) -> Result<(), TrySendError<Command>> {
        self.commands.try_send(command)?;
        self.wake();
        Ok(())
    }

    fn wake(&self) {
        if let Err(error) = self.waker.wake() {
            tracing::error!(%error, "could not wake the spin thread");
        }
    }

    fn lock_backlogs(&self) -> std::sync::MutexGuard<'_, Vec<Weak<dyn Backlog>>> {
        self.backlogs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Flushes all backlogs; true when something is left.
    fn flush(&self) -> bool {
        let backlogs = std::mem::take(&mut *self.lock_backlogs());
        let mut left: Vec<_> = backlogs
            .into_iter()
            .filter(|weak| weak.upgrade().is_some_and(|backlog| backlog.flush()))
            .collect();
        let mut current = self.lock_backlogs();
        current.append(&mut left);
        !current.is_empty()
    }
}

fn run(mut poll: Poll, inbox: &Receiver<Command>, spinner: &Weak<Spinner>) {
    let mut events = Events::with_capacity(EVENTS_MAX);
    let mut sources: HashMap<Token, Box<dyn Source>> = HashMap::new();
    let mut ready: Vec<Token> = Vec::new();
    loop {
        while let Ok(command) = inbox.try_recv() {
            match command {
                Command::Add(token, source) => {
                    sources.insert(token, source);
                    // It may have become ready before it was known here.
                    ready.push(token);
                }
                Command::Remove(token) => drop(sources.remove(&token)),
                Command::Stop => return,
            }
        }
        ready.retain(|token| drain(&mut sources, *token));
        let Some(backlog) = spinner.upgrade().map(|spinner| spinner.flush()) else { return };
        let timeout = match (ready.is_empty(), backlog) {
            (false, _) => Duration::ZERO,
            (true, true) => RETRY_INTERVAL,
            (true, false) => IDLE_INTERVAL,
        };
        if let Err(error) = poll.poll(&mut events, Some(timeout))
            && error.kind() != std::io::ErrorKind::Interrupted
        {
            tracing::error!(%error, "could not wait for DDS; trying again");
            std::thread::sleep(RETRY_INTERVAL);
        }
        for event in &events {
            if event.token() != WAKE_TOKEN && !ready.contains(&event.token()) {
                ready.push(event.token());
            }
        }
    }
}

/// Drains one source; true when it has more. A source that panics is let go.
fn drain(sources: &mut HashMap<Token, Box<dyn Source>>, token: Token) -> bool {
    let Some(source) = sources.get_mut(&token) else { return false };
    // Callbacks are caught closer to where they run; this is for faults of DDS itself.
    match catch_unwind(AssertUnwindSafe(|| source.drain(DRAIN_BUDGET))) {
        Ok(more) => more,
        Err(_) => {
            tracing::error!(token = token.0, "a DDS endpoint panicked and is closed");
            sources.remove(&token);
            false
        }
    }
}
