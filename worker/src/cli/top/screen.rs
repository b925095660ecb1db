//! The terminal as a screen: taken over at the beginning, and given back however the program ends.

use std::{
    io::{self, Stdout},
    panic,
    sync::Once,
    thread,
    time::Duration,
};

use ratatui::{
    Frame, Terminal,
    backend::CrosstermBackend,
    crossterm::{
        cursor::Show,
        event::{self, Event},
        execute,
        terminal::{
            Clear, ClearType, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode,
            enable_raw_mode,
        },
    },
};
use tokio::sync::mpsc;

use crate::cli::terminal;

/// How long it takes at most until the thread that reads keys notices that the screen is gone.
const KEY_POLL: Duration = Duration::from_millis(100);
/// How many keys may wait to be handled.
const BACKLOG: usize = 64;

/// The screen. Dropped it gives the terminal back; a panic does so before it is reported.
pub(super) struct Screen {
    terminal: Terminal<CrosstermBackend<Stdout>>,
}

impl Screen {
    pub(super) fn open() -> io::Result<Self> {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let before = panic::take_hook();
            panic::set_hook(Box::new(move |info| {
                restore_terminal();
                before(info);
            }));
        });
        enable_raw_mode()?;
        // From here on the terminal is given back.
        let screen = Terminal::new(CrosstermBackend::new(terminal::screen()))
            .map(|terminal| Self { terminal });
        if screen.is_err() {
            restore_terminal();
        }
        let mut screen = screen?;
        // Not `Terminal::clear`, which asks the terminal where its cursor is: not every terminal answers.
        let backend = screen.terminal.backend_mut();
        execute!(backend, EnterAlternateScreen, Clear(ClearType::All))?;
        Ok(screen)
    }

    pub(super) fn draw(&mut self, draw: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        self.terminal.draw(draw).map(drop)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        restore_terminal();
    }
}

/// Harmless if it was given back before. A terminal that is gone needs nothing.
fn restore_terminal() {
    let _ = disable_raw_mode();
    let _ = execute!(terminal::screen(), LeaveAlternateScreen, Show);
}

/// What happens at the terminal: keys, and changes of its size. Ends when the terminal does.
pub(super) fn events() -> mpsc::Receiver<Event> {
    let (sender, events) = mpsc::channel(BACKLOG);
    thread::spawn(move || {
        while !sender.is_closed() {
            let read = match event::poll(KEY_POLL) {
                Ok(true) => event::read(),
                Ok(false) => continue,
                Err(error) => Err(error),
            };
            let Ok(event) = read else { return };
            if sender.blocking_send(event).is_err() {
                return;
            }
        }
    });
    events
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// Only started by the test below, on a terminal.
    #[test]
    #[ignore = "a part of another test"]
    fn panics_on_a_screen() {
        let mut screen = Screen::open().expect("a terminal");
        screen.draw(|frame| frame.render_widget("drawn", frame.area())).expect("drawn");
        panic!("as it was meant");
    }

    #[test]
    fn a_panic_gives_the_terminal_back_before_it_is_reported() {
        let own = std::env::current_exe().expect("a path");
        let part = "cli::top::screen::tests::panics_on_a_screen";
        let command = format!(
            "stty rows 24 cols 80; {} --ignored --exact --nocapture {part}; stty -a",
            own.display()
        );
        let ran = Command::new("script").args(["-qec", &command, "/dev/null"]).output();
        let shown = String::from_utf8_lossy(&ran.expect("script is installed").stdout).into_owned();
        let at = |text: &str| shown.find(text).unwrap_or_else(|| panic!("{text:?}: {shown:?}"));
        assert!(at("\u{1b}[?1049h") < at("drawn"), "{shown:?}");
        assert!(at("drawn") < at("\u{1b}[?1049l"), "{shown:?}");
        assert!(at("\u{1b}[?1049l") < at("as it was meant"), "{shown:?}");
        assert!(shown.contains(" icanon") && shown.contains(" echo "), "{shown:?}");
    }
}
