//! Warm interpreters: which there are, when each is started and when another takes its place.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tracing::{info, warn};

use super::{
    roots::{self, Root},
    zygote::{StartError, Zygote},
};
use crate::{admission::catalogue::WarmStart, hooks::Observer, labels::InterpreterEvent};

/// A program alone is started sooner cold: an interpreter is worth its start from this program on.
const WORTH_IT: u32 = 2;

/// How long until the next try after an interpreter could not be started.
const LONGEST_PAUSE: Duration = Duration::from_secs(600);
const SHORTEST_PAUSE: Duration = Duration::from_secs(5);

/// An interpreter's name, and the digest of the image that it is of: each image has its own.
type PlaceKey = (String, String);

/// All warm starts that this worker offers.
pub(super) struct ZygotePool {
    starts: BTreeMap<String, Arc<WarmStart>>,
    places: Arc<Mutex<BTreeMap<PlaceKey, Place>>>,
    observer: Observer,
}

#[derive(Default)]
struct Place {
    root: Root,
    zygote: Option<Arc<Zygote>>,
    asked: u32,
    is_starting: bool,
    /// No interpreter of this command can be made warm.
    is_unfit: bool,
    pause: Duration,
    not_before: Option<Instant>,
}

impl ZygotePool {
    pub(super) fn new(starts: Vec<WarmStart>, observer: Observer) -> Self {
        let starts = starts.into_iter().map(|start| (start.name.clone(), Arc::new(start)));
        Self { starts: starts.collect(), places: Arc::default(), observer }
    }

    /// The zygote called `name` of `root`, if there is one now; if it is worth it, one is started for later.
    pub(super) fn zygote(&self, name: &str, root: &Root) -> Option<Arc<Zygote>> {
        let start = self.starts.get(name)?;
        let mut places = lock(&self.places);
        let place = places.entry(key(name, root)).or_insert_with(|| Place::of(root));
        place.asked = place.asked.saturating_add(1);
        let is_wanted =
            place.zygote.as_ref().map_or(place.asked >= WORTH_IT, |old| old.is_expired());
        if is_wanted && place.may_start() {
            place.is_starting = true;
            let same_command = |other: &&Arc<WarmStart>| other.command == start.command;
            let alike = self.starts.values().filter(same_command).map(|other| other.name.clone());
            let begun = begin(start.clone(), root.clone(), alike.collect(), self.places.clone());
            tokio::spawn(begun_by(begun, self.observer.clone()));
        }
        let zygote = place.zygote.clone()?;
        zygote.count();
        Some(zygote)
    }

    /// Gives up `zygote`: it doesn't do its part any more.
    pub(super) fn give_up(&self, name: &str, root: &Root, zygote: &Arc<Zygote>) {
        zygote.retire();
        self.observer.interpreter(InterpreterEvent::Lost);
        if let Some(place) = lock(&self.places).get_mut(&key(name, root))
            && place.zygote.as_ref().is_some_and(|present| Arc::ptr_eq(present, zygote))
        {
            place.zygote = None;
            place.back_off();
        }
    }

    /// Ends those of images that `keep` says no to. One that is being started goes the next time.
    pub(super) fn retain(&self, keep: impl Fn(&Root) -> bool) {
        lock(&self.places).retain(|_, place| place.is_starting || keep(&place.root));
    }

    /// Ends all.
    pub(super) fn close(&self) {
        for place in lock(&self.places).values_mut() {
            place.zygote = None;
            place.not_before = Some(Instant::now() + LONGEST_PAUSE);
        }
    }
}

fn key(name: &str, root: &Root) -> PlaceKey {
    (name.to_owned(), roots::digest(root).to_owned())
}

impl Place {
    fn of(root: &Root) -> Self {
        Self { root: root.clone(), ..Self::default() }
    }

    fn may_start(&self) -> bool {
        let is_due = self.not_before.is_none_or(|at| at <= Instant::now());
        is_due && !self.is_starting && !self.is_unfit
    }

    fn back_off(&mut self) {
        self.pause = (self.pause * 2).clamp(SHORTEST_PAUSE, LONGEST_PAUSE);
        self.not_before = Some(Instant::now() + self.pause);
    }
}

/// Awaits a start and tells how it went.
async fn begun_by(start: impl Future<Output = bool>, observer: Observer) {
    observer.interpreter(match start.await {
        true => InterpreterEvent::Started,
        false => InterpreterEvent::Failed,
    });
}

/// Starts an interpreter, and gives back whether it is warm. What makes it unfit makes those unfit too that have the same command.
async fn begin(
    start: Arc<WarmStart>,
    root: Root,
    alike: Vec<String>,
    places: Arc<Mutex<BTreeMap<PlaceKey, Place>>>,
) -> bool {
    let begun = Instant::now();
    let started = Zygote::start(&start, &root).await;
    let is_warm = started.is_ok();
    settle(&start, &root, alike, &mut lock(&places), started, begun);
    is_warm
}

fn settle(
    start: &WarmStart,
    root: &Root,
    alike: Vec<String>,
    places: &mut BTreeMap<PlaceKey, Place>,
    started: Result<Zygote, StartError>,
    begun: Instant,
) {
    let place = places.entry(key(&start.name, root)).or_insert_with(|| Place::of(root));
    place.is_starting = false;
    match started {
        Ok(zygote) => {
            let ms = begun.elapsed().as_millis();
            let image = root.as_ref().map_or("", |tree| &tree.facts.name);
            info!(interpreter = start.name, image, ms, "an interpreter is warm");
            if let Some(old) = place.zygote.replace(Arc::new(zygote)) {
                old.retire();
            }
            place.pause = Duration::ZERO;
        }
        Err(StartError::Unfit(reason)) => {
            let is_known = place.is_unfit;
            for name in alike {
                places.entry(key(&name, root)).or_insert_with(|| Place::of(root)).is_unfit = true;
            }
            if !is_known {
                let command = start.command.first().map_or("", String::as_str);
                warn!(
                    command,
                    reason, "this interpreter can't be started ahead: its programs start cold"
                );
            }
        }
        Err(StartError::Failed(error)) => {
            place.back_off();
            let pause = place.pause;
            warn!(
                interpreter = start.name, %error, ?pause,
                "no warm interpreter: its programs start cold; set sandbox.warm to false to stay so"
            );
        }
    }
}

fn lock(places: &Mutex<BTreeMap<PlaceKey, Place>>) -> MutexGuard<'_, BTreeMap<PlaceKey, Place>> {
    // Every change is whole before anything can panic.
    places.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::catalogue::Catalogue;

    #[test]
    fn an_unfit_interpreter_is_not_started_again_and_neither_is_one_of_the_same_command() {
        let starts = Catalogue::embedded().warm_starts();
        let mut places: BTreeMap<PlaceKey, Place> = BTreeMap::new();
        let failed = || Err(StartError::Failed(std::io::Error::other("for now")));
        settle(&starts[0], &None, Vec::new(), &mut places, failed(), Instant::now());
        let place = places.get_mut(&key(&starts[0].name, &None)).expect("settled");
        assert!(!place.may_start(), "not at once");
        place.not_before = None;
        assert!(place.may_start(), "what failed is tried again");
        let alike = starts.iter().map(|start| start.name.clone()).collect();
        let unfit = Err(StartError::Unfit("a debug build".into()));
        settle(&starts[0], &None, alike, &mut places, unfit, Instant::now());
        assert!(starts.len() > 1 && places.len() == starts.len());
        for (name, place) in &places {
            assert_eq!(place.not_before, None);
            assert!(!place.may_start(), "{name:?}");
        }
    }
}
