//! What happens to one delivery, from its taking to its settlement, as spans of its job's trace.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use sandfleet_common::{JobId, SpanId, TraceContext, TraceId};
use sandfleet_transport::MessageTrace;

use super::span::{Kind, Span, SpanSender, Value, text};
use crate::labels::Stage;

/// What is known of a job's trace.
#[derive(Debug, Clone, Default)]
pub struct JobTrace {
    /// Its id, if it has one.
    pub id: Option<TraceId>,
    /// Why something that its message says was ignored.
    pub ignored: Option<String>,
    /// Where its spans go.
    pub timeline: Timeline,
}

impl JobTrace {
    /// The trace of a job whose message says `message` of it, and of which no spans are made.
    pub fn of(message: &MessageTrace) -> Self {
        let id = message.context.as_ref().map(|context| context.trace_id);
        Self { id, ignored: message.ignored.clone(), timeline: Timeline::default() }
    }
}

/// Begins timelines; the default begins none.
#[derive(Debug, Clone, Default)]
pub struct Tracer(Option<Arc<Settings>>);

#[derive(Debug)]
struct Settings {
    sender: SpanSender,
    /// Which share of the traces that begin here is sampled.
    ratio: f64,
    /// What jobs are children of whose message names nothing.
    parent: Option<TraceContext>,
}

/// The steps of one delivery. Clones are the same; the default keeps nothing.
#[derive(Clone, Default)]
pub struct Timeline(Option<Arc<Shared>>);

struct Shared {
    settings: Arc<Settings>,
    context: Option<TraceContext>,
    /// All times follow from one reading of the clock, which may jump afterwards.
    taken: Instant,
    wall: SystemTime,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The span of all, once the job is known; none if its trace isn't sampled.
    root: Option<Root>,
    steps: Vec<Span>,
    attributes: Vec<(&'static str, Value)>,
    is_failed: bool,
}

#[derive(Clone, Copy)]
struct Root {
    trace_id: TraceId,
    span_id: SpanId,
}

impl Tracer {
    pub(super) fn new(sender: SpanSender, ratio: f64, parent: Option<TraceContext>) -> Self {
        Self(Some(Arc::new(Settings { sender, ratio, parent })))
    }

    /// Begins the timeline of a delivery that was taken just now.
    pub fn follow(&self, message: &MessageTrace) -> Timeline {
        let Some(settings) = &self.0 else { return Timeline::default() };
        Timeline(Some(Arc::new(Shared {
            settings: Arc::clone(settings),
            context: message.context.clone().or_else(|| settings.parent.clone()),
            taken: Instant::now(),
            wall: SystemTime::now(),
            state: Mutex::default(),
        })))
    }

    /// The span of a submission, as whose children the jobs go that are submitted in the returned context. It ends with
    /// [`Timeline::end_submission`].
    pub fn submission(&self, parent: Option<TraceContext>) -> (Timeline, Option<TraceContext>) {
        let Some(settings) = &self.0 else { return (Timeline::default(), parent) };
        let timeline = self.follow(&MessageTrace { context: parent.clone(), ignored: None });
        let context = match parent {
            Some(parent) => parent.child(),
            None => TraceContext::generate(settings.ratio),
        };
        if let Some(shared) = timeline.0.as_ref().filter(|_| context.is_sampled) {
            let root = Root { trace_id: context.trace_id, span_id: context.span_id };
            shared.lock().root = Some(root);
        }
        (timeline, Some(context))
    }
}

impl Timeline {
    /// Says whose delivery it is; gives back the trace of that job, whose message says `message` of it.
    pub fn trace_of(&self, message: &MessageTrace, job: &JobId) -> JobTrace {
        let of_message = JobTrace::of(message);
        let id = self.identify(job).or(of_message.id);
        JobTrace { id, timeline: self.clone(), ..of_message }
    }

    /// Says whose delivery it is; gives back the id of the job's trace.
    pub(super) fn identify(&self, job: &JobId) -> Option<TraceId> {
        let shared = self.0.as_ref()?;
        let (trace_id, is_sampled) = match &shared.context {
            Some(context) => (context.trace_id, context.is_sampled),
            // Every attempt has the same trace, whichever worker makes it.
            None => {
                let id = TraceId::of_job(job);
                (id, id.is_in(shared.settings.ratio))
            }
        };
        if is_sampled {
            let mut state = shared.lock();
            state.root.get_or_insert_with(|| Root { trace_id, span_id: SpanId::generate() });
            state.attributes.push(("sandfleet.job_id", text(job.as_str())));
        }
        (is_sampled || shared.context.is_some()).then_some(trace_id)
    }

    /// Says something of all of it.
    pub fn describe(&self, attributes: impl IntoIterator<Item = (&'static str, Value)>) {
        if let Some(shared) = &self.0 {
            shared.lock().attributes.extend(attributes);
        }
    }

    /// Notes that the fleet failed the job.
    pub fn fail(&self) {
        if let Some(shared) = &self.0 {
            shared.lock().is_failed = true;
        }
    }

    /// The job waited until now, since it was submitted.
    pub fn waited(&self, waited: Duration) {
        let Some(shared) = &self.0 else { return };
        let (mut state, now) = (shared.lock(), Instant::now());
        let Some(root) = state.root else { return };
        let end = shared.unix(now);
        let start = end.saturating_sub(nanoseconds(waited));
        let mut span = shared.span(&root, Stage::Queue.as_str(), Kind::Internal, (start, end));
        // It was over before this delivery began to be dealt with.
        if let Some(context) = &shared.context {
            span.parent = Some(context.span_id);
            span.has_remote_parent = true;
        }
        state.steps.push(span);
    }

    /// A service was called from `begun` until now.
    pub fn called(&self, name: &'static str, begun: Instant) {
        self.step(name, Kind::Client, (begun, Instant::now()), Vec::new());
    }

    /// A program was run from `begun` until now, in these stages one after the other.
    pub fn ran(
        &self,
        begun: Instant,
        stages: &[(Stage, Option<Duration>)],
        attributes: Vec<(&'static str, Value)>,
    ) {
        if self.0.is_none() {
            return;
        }
        let mut attributes = Some(attributes);
        // Two clocks measured them, so that together they may seem to take longer than the run did.
        let (mut from, now) = (begun, Instant::now());
        for (stage, took) in stages {
            let Some(took) = took else { continue };
            let to = (from + *took).min(now);
            let of_run = (*stage == Stage::Run).then(|| attributes.take()).flatten();
            self.step(stage.as_str(), Kind::Internal, (from, to), of_run.unwrap_or_default());
            from = to;
        }
    }

    fn step(
        &self,
        name: &'static str,
        kind: Kind,
        (from, to): (Instant, Instant),
        attributes: Vec<(&'static str, Value)>,
    ) {
        let Some(shared) = &self.0 else { return };
        let mut state = shared.lock();
        let Some(root) = state.root else { return };
        let span = shared.span(&root, name, kind, (shared.unix(from), shared.unix(to)));
        state.steps.push(Span { attributes, ..span });
    }

    /// The delivery was settled, which began at `begun`: hands all spans over.
    pub fn end(&self, begun: Instant) {
        self.called("settle", begun);
        self.close("process", Kind::Consumer);
    }

    /// The submission is over: hands its span over.
    pub fn end_submission(&self) {
        self.close("submit", Kind::Producer);
    }

    fn close(&self, name: &'static str, kind: Kind) {
        let Some(shared) = &self.0 else { return };
        let State { root, mut steps, attributes, is_failed } = std::mem::take(&mut *shared.lock());
        let Some(root) = root else { return };
        let times = (shared.unix(shared.taken), shared.unix(Instant::now()));
        let span = shared.span(&root, name, kind, times);
        let context = shared.context.as_ref();
        steps.push(Span {
            span_id: root.span_id,
            parent: context.map(|context| context.span_id),
            has_remote_parent: context.is_some(),
            attributes,
            is_failed,
            ..span
        });
        shared.settings.sender.send(steps);
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A child of the span of all.
    fn span(&self, root: &Root, name: &'static str, kind: Kind, (start, end): (u64, u64)) -> Span {
        let state = self.context.as_ref().and_then(TraceContext::tracestate);
        Span {
            trace_id: root.trace_id,
            span_id: SpanId::generate(),
            parent: Some(root.span_id),
            has_remote_parent: false,
            state: state.unwrap_or_default().to_owned(),
            name,
            kind,
            start,
            end,
            attributes: Vec::new(),
            is_failed: false,
        }
    }

    fn unix(&self, at: Instant) -> u64 {
        let taken = nanoseconds(self.wall.duration_since(UNIX_EPOCH).unwrap_or_default());
        taken.saturating_add(nanoseconds(at.saturating_duration_since(self.taken)))
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl fmt::Debug for Timeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Timeline")
    }
}
