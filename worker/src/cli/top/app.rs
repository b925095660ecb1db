//! What the screen shows of a sample, and what keys do.

use std::collections::BTreeMap;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use sandfleet_common::{JobId, PrintableText};
use sandfleet_transport::records::{Action, Scope};

use super::{
    grid::{Grid, Order},
    grids::Tab,
    sample::{NO_TENANT, Sample},
};

/// What keys there are.
pub(super) const HELP: &[&str] = &[
    "1-5, Tab      workers, queues, tenants, jobs, ended jobs",
    "up, down, PgUp, PgDn, Home, End   choose a row",
    "Enter         show the worker, the tenant's jobs or the job",
    "s, S          sort by the next column; the other way round",
    "/             keep the rows that hold a text; Esc ends that",
    "c             cancel the chosen job",
    "h             hold the chosen tenant's jobs, or let them go on",
    "d             drain: no worker takes a job, or let them go on",
    "p             pause the screen",
    "q, Ctrl-C     quit",
];

/// Something that is asked of the fleet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Effect {
    Cancel(JobId),
    Hold(Scope),
    Release(Scope),
    /// To show what is known of a job.
    Look(JobId),
}

/// What follows from a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    Stay,
    Quit,
    Do(Effect),
}

/// What lies over the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Overlay {
    Text { title: String, lines: Vec<String>, scroll: u16 },
    Question { text: String, effect: Effect },
}

/// The state of the screen.
pub(super) struct App {
    pub(super) sample: Sample,
    pub(super) tab: Tab,
    pub(super) filter: String,
    /// Whether keys go to the filter.
    pub(super) is_typing: bool,
    pub(super) is_paused: bool,
    pub(super) overlay: Option<Overlay>,
    /// The last thing to say.
    pub(super) note: String,
    /// The table as it is shown.
    pub(super) grid: Grid,
    pub(super) chosen: usize,
    /// How many rows fit on the screen, as was seen when it was drawn.
    pub(super) page: usize,
    orders: BTreeMap<usize, Order>,
}

impl App {
    pub(super) fn new(sample: Sample) -> Self {
        let mut app = Self {
            sample,
            tab: Tab::Workers,
            filter: String::new(),
            is_typing: false,
            is_paused: false,
            overlay: None,
            note: String::new(),
            grid: Grid::default(),
            chosen: 0,
            page: 10,
            orders: BTreeMap::new(),
        };
        app.arrange();
        app
    }

    /// Shows another sample, unless the screen is paused.
    pub(super) fn take(&mut self, sample: Sample) {
        if !self.is_paused {
            self.sample = sample;
            self.arrange();
        }
    }

    pub(super) fn order(&self) -> Order {
        self.orders.get(&(self.tab as usize)).copied().unwrap_or(self.tab.order())
    }

    /// Makes the table anew. The chosen row stays the same, wherever it is now.
    fn arrange(&mut self) {
        let chosen = self.chosen_id();
        self.grid = self.tab.grid(&self.sample);
        self.grid.arrange(&self.filter, self.order());
        let at = chosen.and_then(|id| self.grid.rows.iter().position(|row| row.id == id));
        self.chosen = at.unwrap_or(self.chosen).min(self.grid.rows.len().saturating_sub(1));
    }

    fn chosen_id(&self) -> Option<String> {
        self.grid.rows.get(self.chosen).map(|row| row.id.clone())
    }

    fn choose_tab(&mut self, tab: Tab) {
        (self.tab, self.chosen) = (tab, 0);
        self.grid = Grid::default();
        self.arrange();
    }

    pub(super) fn show(&mut self, title: impl Into<String>, lines: Vec<String>) {
        let title = PrintableText::from(title.into()).into();
        self.overlay = Some(Overlay::Text { title, lines, scroll: 0 });
    }

    pub(super) fn key(&mut self, key: KeyEvent) -> Step {
        if key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL) {
            return Step::Quit;
        }
        match (&mut self.overlay, self.is_typing) {
            (Some(_), _) => self.key_of_overlay(key.code),
            (None, true) => {
                self.type_filter(key.code);
                Step::Stay
            }
            (None, false) => self.key_of_table(key.code),
        }
    }

    fn key_of_overlay(&mut self, key: KeyCode) -> Step {
        match (&mut self.overlay, key) {
            (Some(Overlay::Question { effect, .. }), KeyCode::Char('y' | 'Y')) => {
                let effect = effect.clone();
                self.overlay = None;
                return Step::Do(effect);
            }
            (Some(Overlay::Text { scroll, .. }), KeyCode::Down | KeyCode::Char('j')) => {
                *scroll = scroll.saturating_add(1);
            }
            (Some(Overlay::Text { scroll, .. }), KeyCode::Up | KeyCode::Char('k')) => {
                *scroll = scroll.saturating_sub(1);
            }
            // Anything but `y` is no.
            (Some(Overlay::Question { .. }), _) => {
                self.overlay = None;
                self.note = "nothing was done".into();
            }
            (_, KeyCode::Esc | KeyCode::Enter | KeyCode::Char('q')) => self.overlay = None,
            _ => {}
        }
        Step::Stay
    }

    fn type_filter(&mut self, key: KeyCode) {
        match key {
            KeyCode::Char(c) => self.filter.push(c),
            KeyCode::Backspace => _ = self.filter.pop(),
            KeyCode::Enter => self.is_typing = false,
            KeyCode::Esc => {
                self.filter.clear();
                self.is_typing = false;
            }
            _ => return,
        }
        self.arrange();
    }

    fn key_of_table(&mut self, key: KeyCode) -> Step {
        self.note.clear();
        let last = self.grid.rows.len().saturating_sub(1);
        match key {
            KeyCode::Char('q') => return Step::Quit,
            KeyCode::Char(digit @ '1'..='5') => {
                self.choose_tab(Tab::ALL[digit as usize - '1' as usize]);
            }
            KeyCode::Tab => self.choose_tab(Tab::ALL[(self.tab as usize + 1) % Tab::ALL.len()]),
            KeyCode::BackTab => {
                let before = (self.tab as usize + Tab::ALL.len() - 1) % Tab::ALL.len();
                self.choose_tab(Tab::ALL[before]);
            }
            KeyCode::Up | KeyCode::Char('k') => self.chosen = self.chosen.saturating_sub(1),
            KeyCode::Down | KeyCode::Char('j') => self.chosen = (self.chosen + 1).min(last),
            KeyCode::PageUp => self.chosen = self.chosen.saturating_sub(self.page),
            KeyCode::PageDown => self.chosen = (self.chosen + self.page).min(last),
            KeyCode::Home => self.chosen = 0,
            KeyCode::End => self.chosen = last,
            KeyCode::Char('s') => self.sort(|order, columns| {
                order.column = (order.column + 1) % columns.max(1);
            }),
            KeyCode::Char('S') => self.sort(|order, _| order.descends = !order.descends),
            KeyCode::Char('/') => self.is_typing = true,
            KeyCode::Esc => {
                self.filter.clear();
                self.arrange();
            }
            KeyCode::Char('p') => self.is_paused = !self.is_paused,
            KeyCode::Char('?') => self.show("keys", HELP.iter().map(|it| (*it).into()).collect()),
            KeyCode::Enter => return self.drill(),
            KeyCode::Char('c') => self.ask_to_cancel(),
            KeyCode::Char('h') => self.ask_to_hold_tenant(),
            KeyCode::Char('d') => self.ask_about(Scope::All),
            _ => {}
        }
        Step::Stay
    }

    fn sort(&mut self, change: impl FnOnce(&mut Order, usize)) {
        let mut order = self.order();
        change(&mut order, self.grid.header.len());
        self.orders.insert(self.tab as usize, order);
        self.arrange();
    }

    /// Goes into what is chosen.
    fn drill(&mut self) -> Step {
        let Some(id) = self.chosen_id() else { return Step::Stay };
        match self.tab {
            Tab::Jobs | Tab::Ended => match id.parse() {
                Ok(job) => return Step::Do(Effect::Look(job)),
                Err(error) => self.note = PrintableText::new(error).into(),
            },
            Tab::Workers => {
                let lines = super::details::worker(&self.sample, &id);
                self.show(format!("worker {id}"), lines);
            }
            // The jobs of one.
            Tab::Tenants | Tab::Queues => {
                self.filter = PrintableText::from(id).into();
                self.choose_tab(Tab::Jobs);
            }
        }
        Step::Stay
    }

    fn ask(&mut self, text: String, effect: Effect) {
        self.overlay = Some(Overlay::Question { text: PrintableText::from(text).into(), effect });
    }

    fn ask_to_cancel(&mut self) {
        let job = match self.tab {
            Tab::Jobs => self.chosen_id().and_then(|id| id.parse::<JobId>().ok()),
            _ => None,
        };
        match job {
            Some(job) => self.ask(format!("cancel job {job}?"), Effect::Cancel(job)),
            None => self.note = "choose a job in the tab of jobs (4) to cancel it".into(),
        }
    }

    fn ask_to_hold_tenant(&mut self) {
        let tenant = match self.tab {
            Tab::Tenants => self.chosen_id().filter(|tenant| tenant != NO_TENANT),
            _ => None,
        };
        match tenant.map(|tenant| format!("tenant:{tenant}").parse::<Scope>()) {
            Some(Ok(scope)) => self.ask_about(scope),
            Some(Err(why)) => self.note = PrintableText::from(why).into(),
            None => self.note = "choose a tenant in the tab of tenants (3) to hold its jobs".into(),
        }
    }

    /// Asks to hold what isn't held, or to release what is.
    fn ask_about(&mut self, scope: Scope) {
        let mut switches = self.sample.switches.iter();
        let is_held = switches.any(|it| it.action == Action::Hold && it.scope == scope);
        match is_held {
            true => {
                self.ask(format!("let jobs go on that are held ({scope})?"), Effect::Release(scope))
            }
            false => self.ask(
                format!("hold jobs back ({scope})? They wait; running ones go on"),
                Effect::Hold(scope),
            ),
        }
    }
}
