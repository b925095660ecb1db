//! `sandfleet top`: the fleet as it is now, on a screen that keeps up.

mod app;
mod details;
mod draw;
mod grid;
mod grids;
mod poll;
mod sample;
mod screen;
mod summary;
#[cfg(test)]
mod tests;

use std::{process::ExitCode, sync::Arc, time::Duration};

use clap::Args;
use ratatui::crossterm::event::{Event, KeyEventKind};
use sandfleet_common::{JobId, PrintableText};
use sandfleet_transport::records::{Action, Cancellation, RedisStore};
use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval},
};

use self::{
    app::{App, Effect, Step},
    poll::Poll,
    sample::Sample,
    screen::Screen,
};
use super::{
    exit::{Exit, Failure},
    fleet::own_name,
    quantity, terminal,
};
use crate::{causes::in_one_line, config::Settings, shutdown::Signals};

#[derive(Args)]
pub(super) struct Arguments {
    /// Print what is known now as text, and end
    #[arg(long)]
    once: bool,

    /// With --once: print it as JSON, one object
    #[arg(long, requires = "once")]
    json: bool,

    /// How often broker and store are asked, such as 500ms or 10s
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = quantity::duration)]
    interval: Duration,
}

/// The shortest time between two samples: more would be load for nothing.
const SHORTEST: Duration = Duration::from_millis(100);

pub(super) async fn run(arguments: Arguments, settings: &Settings) -> Result<ExitCode, Failure> {
    if arguments.interval < SHORTEST {
        return Err(Exit::Usage.with(format!("--interval: use {SHORTEST:?} or more")));
    }
    let mut poll = Poll::new(settings)?;
    if arguments.once {
        return once(poll.sample().await, arguments.json);
    }
    if !terminal::has_screen() {
        return Err(Exit::Usage.with("top needs a terminal; --once prints what is known now"));
    }
    watch(poll, arguments.interval, settings).await
}

/// Fails if neither service could be asked: there is nothing to show then.
fn once(sample: &Sample, json: bool) -> Result<ExitCode, Failure> {
    match json {
        true => terminal::print(&(terminal::bounded_json(&summary::json(sample), false)? + "\n"))?,
        false => terminal::print(&terminal::lines(&summary::text(sample)))?,
    }
    match (&sample.broker_trouble, &sample.store_trouble) {
        (Some(_), Some(_)) => Ok(Exit::Unavailable.into()),
        _ => Ok(Exit::Success.into()),
    }
}

async fn watch(poll: Poll, pause: Duration, settings: &Settings) -> Result<ExitCode, Failure> {
    let failed = |error: std::io::Error| Exit::Internal.with(format!("the terminal: {error}"));
    let mut signals = Signals::listen();
    let fleet = Fleet {
        store: Arc::clone(&poll.store),
        result_ttl: Duration::from_millis(settings.store.result_ttl_ms),
    };
    let empty = Sample { prefix: settings.queue.prefix.clone(), ..Sample::default() };
    let mut app = App::new(empty);
    app.note = "asking broker and store".into();
    let mut screen = Screen::open().map_err(failed)?;
    let mut events = screen::events();
    // Beside the screen: a service that doesn't answer must not keep it from taking keys.
    let (sender, mut samples) = mpsc::channel(1);
    let polling = tokio::spawn(poll_regularly(poll, pause, sender));
    let (answer, mut answers) = mpsc::channel(4);
    let ended = loop {
        if let Err(error) = screen.draw(|frame| draw::draw(frame, &mut app)) {
            break Err(failed(error));
        }
        tokio::select! {
            () = signals.next() => break Ok(()),
            event = events.recv() => match event {
                Some(Event::Key(key)) if key.kind != KeyEventKind::Release => match app.key(key) {
                    Step::Stay => {}
                    Step::Quit => break Ok(()),
                    Step::Do(effect) => {
                        app.note = "asking the store".into();
                        let (fleet, answer) = (fleet.clone(), answer.clone());
                        tokio::spawn(async move {
                            // The screen may be gone.
                            let _ = answer.send(fleet.act(effect).await).await;
                        });
                    }
                },
                // A change of its size: it is drawn anew.
                Some(_) => {}
                None => break Ok(()),
            },
            Some(sample) = samples.recv() => {
                if app.note == "asking broker and store" {
                    app.note.clear();
                }
                app.take(sample);
            }
            Some(answer) = answers.recv() => match answer {
                Answer::Note(note) => app.note = note,
                Answer::Job(id, state) => {
                    app.note.clear();
                    let lines = details::job(&app.sample, &id, *state);
                    app.show(format!("job {id}"), lines);
                }
            },
        }
    };
    polling.abort();
    drop(screen);
    ended.map(|()| Exit::Success.into())
}

async fn poll_regularly(mut poll: Poll, pause: Duration, samples: mpsc::Sender<Sample>) {
    let mut turns = interval(pause);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        turns.tick().await;
        let sample = poll.sample().await.clone();
        if samples.send(sample).await.is_err() {
            return;
        }
    }
}

/// What the screen does to the fleet.
#[derive(Clone)]
struct Fleet {
    store: Arc<RedisStore>,
    result_ttl: Duration,
}

/// What came of it.
enum Answer {
    Note(String),
    Job(JobId, Box<sandfleet_common::JobState>),
}

impl Fleet {
    async fn act(&self, effect: Effect) -> Answer {
        let by = own_name();
        let done = match effect {
            Effect::Look(job) => match self.store.get(&job).await {
                Ok(state) => return Answer::Job(job, Box::new(state)),
                Err(error) => Err(in_one_line(&error)),
            },
            Effect::Cancel(job) => match self.store.cancel(&job, &by, self.result_ttl).await {
                Ok(Cancellation::Cancelled) => {
                    Ok(format!("{job}: cancelled before it was started"))
                }
                Ok(Cancellation::Requested) => Ok(format!("{job}: its worker was told to end it")),
                Ok(Cancellation::Ended(status)) => Ok(format!("{job}: had ended before: {status}")),
                Ok(Cancellation::Unknown) => Ok(format!("{job}: unknown")),
                Err(error) => Err(in_one_line(&error)),
            },
            Effect::Hold(scope) => match self.store.throw(Action::Hold, &scope, &by).await {
                Ok(()) => Ok(format!("hold {scope}: such jobs wait; running ones go on")),
                Err(error) => Err(in_one_line(&error)),
            },
            Effect::Release(scope) => match self.store.release_hold(&scope).await {
                Ok(true) => Ok(format!("released {scope}")),
                Ok(false) => Ok(format!("{scope} is not held")),
                Err(error) => Err(in_one_line(&error)),
            },
        };
        Answer::Note(PrintableText::from(done.unwrap_or_else(|why| why)).into())
    }
}
