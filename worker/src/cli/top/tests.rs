//! The screen against data, on ratatui's terminal in memory.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use ratatui::{
    Terminal,
    backend::TestBackend,
    crossterm::event::{KeyCode, KeyEvent, KeyModifiers},
};
use sandfleet_common::{
    EndedJob, Isolation, JobState, Priority, QueuedJob, RunningJob, WorkerInfo, is_printable,
};
use sandfleet_transport::records::{Action, LiveJob, Scope, Switch};

use super::{
    app::{App, Effect, Overlay, Step},
    draw::draw,
    grids::Tab,
    sample::{QueueNow, Sample},
    summary,
};

const HOSTILE: &str = "ev\u{1b}[2Jil\u{202e}\nname\u{7}";
const NOW: i64 = 1_800_000_000;

fn at(seconds_ago: i64) -> Timestamp {
    Timestamp::from_second(NOW - seconds_ago).expect("a time")
}

fn worker(id: &str, busy: usize) -> WorkerInfo {
    WorkerInfo {
        worker_id: id.into(),
        version: "1.2.3".into(),
        backend: "native".into(),
        isolation: Isolation::Container,
        languages: vec!["python".into()],
        priorities: Priority::ALL.to_vec(),
        protocol_version: 1,
        protocol_minor: 0,
        max_job_bytes: 0,
        slots: 8,
        busy,
        stopping: false,
        ready: true,
        started_at: at(7300),
    }
}

fn live(number: usize, tenant: &str) -> LiveJob {
    let (is_running, queued_at) = (number.is_multiple_of(4), Some(at(number as i64)));
    let tenant = Some(tenant.to_owned());
    let queued = QueuedJob {
        queued_at,
        tenant: tenant.clone(),
        priority: Some(Priority::ALL[number % 2]),
        ..QueuedJob::default()
    };
    LiveJob {
        id: format!("job-{number}").parse().expect("an id"),
        state: match is_running {
            true => JobState::Running(RunningJob {
                worker_id: format!("worker-{}", number % 7),
                attempt: 1,
                started_at: queued_at,
                cancelled: false,
            }),
            false => JobState::Queued(queued),
        },
        tenant,
        language: Some("python".into()),
        queue: Some("sandfleet.jobs.container.batch".into()),
        queued_at,
    }
}

fn ended(number: usize, verdict: &str) -> EndedJob {
    serde_json::from_value(serde_json::json!({
        "job_id": format!("ended-{number}"), "tenant": "acme", "language": "python", "status": "succeeded",
        "verdict": verdict, "message": "", "finished_at": at(number as i64 % 50), "worker_id": "worker-1",
        "attempt": 1, "timing": { "queue_ms": 7, "setup_ms": 0, "run_ms": 3, "collect_ms": 0 },
    }))
    .expect("an entry")
}

fn fleet(workers: usize, jobs: usize) -> Sample {
    let queue = |name: &str, kind, messages, priority| QueueNow {
        name: name.into(),
        kind,
        messages,
        consumers: 1,
        priority,
    };
    Sample {
        at: at(0),
        prefix: "sandfleet".into(),
        queues: vec![
            queue("sandfleet.jobs.container.batch", "jobs", 30, Some(Priority::Batch)),
            queue("sandfleet.jobs.container.batch.7", "tenant_jobs", 0, Some(Priority::Batch)),
            queue("sandfleet.dead", "dead", 2, None),
            queue("sandfleet.dead.unreadable", "unreadable", 3, None),
        ],
        workers: (0..workers)
            .map(|number| worker(&format!("worker-{number}"), number % 9))
            .collect(),
        live: (0..jobs).map(|number| live(number, ["acme", "shop"][number % 2])).collect(),
        ended: (0..30)
            .map(|number| {
                ended(number, ["accepted", "runtime_error"][usize::from(number.is_multiple_of(10))])
            })
            .collect(),
        ..Sample::default()
    }
}

fn screen(app: &mut App, width: u16, height: u16) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("in memory");
    terminal.draw(|frame| draw(frame, app)).expect("drawn");
    let buffer = terminal.backend().buffer();
    let cells = buffer.content.chunks(usize::from(width).max(1));
    cells.map(|row| row.iter().map(|cell| cell.symbol()).collect()).collect()
}

fn press(app: &mut App, code: KeyCode) -> Step {
    app.key(KeyEvent::new(code, KeyModifiers::NONE))
}

fn type_text(app: &mut App, text: &str) {
    text.chars().for_each(|c| _ = press(app, KeyCode::Char(c)));
}

#[test]
fn the_screen_shows_what_the_fleet_does() {
    let mut app = App::new(fleet(3, 40));
    let shown = screen(&mut app, 140, 24).join("\n");
    for part in [
        "sandfleet sandfleet · 2027-01-15T08:00:00Z",
        "workers 3 ready, 0 other · slots 3/24 busy · running 10 · waiting 30 · messages 30 · dead 2 · unreadable 3",
        "oldest waits 39 s: job-39 (tenant shop, language python)",
        "ended 0.5/s in 60 s · accepted 27 · runtime_error 3",
        " 1 workers  2 queues ",
        "WORKER    BUSY▼  STATE  ENDED/MIN  SANDBOX",
        "worker-1  1/8    ready  30         native (container)  2 h  1.2.3    python",
    ] {
        assert!(shown.contains(part), "{part}\n{shown}");
    }
    for (tab, part) in [
        ('2', "sandfleet.jobs.container.batch  batch     30         39 s    1"),
        ('3', "acme    10        10           0      38 s    10       30         3 "),
        ('4', "job-36  running  36 s  acme    python    worker-1  1       sandfleet.jobs"),
        ('5', "ended-0   runtime_error  acme    python    7 ms   3 ms  worker-1"),
    ] {
        press(&mut app, KeyCode::Char(tab));
        let shown = screen(&mut app, 140, 24).join("\n");
        assert!(shown.contains(part), "{part}\n{shown}");
    }
    // Queues of tenants are many, and listed when something is in them.
    press(&mut app, KeyCode::Char('2'));
    assert!(!screen(&mut app, 140, 24).join("\n").contains("batch.7"));
}

#[test]
fn a_service_that_is_away_is_named_and_what_it_said_stays() {
    let mut app = App::new(fleet(2, 4));
    let away = Sample {
        broker_trouble: Some("connection refused".into()),
        store_trouble: Some(HOSTILE.into()),
        broker_is_blocked: true,
        ..fleet(2, 4)
    };
    app.take(away);
    let shown = screen(&mut app, 140, 24).join("\n");
    assert!(shown.contains("broker away, shown as it was: connection refused"), "{shown}");
    assert!(
        shown.contains("store away, shown as it was: ev\\u{1b}[2Jil\\u{202e}\\nname\\u{7}"),
        "{shown}"
    );
    assert!(shown.contains("worker-1") && shown.contains("it is blocked"), "{shown}");
}

#[test]
fn nothing_on_the_screen_is_obeyed_by_a_terminal() {
    let mut sample = fleet(2, 3);
    sample.prefix = HOSTILE.into();
    sample.workers[0].worker_id = HOSTILE.into();
    sample.workers[0].languages = vec![HOSTILE.into()];
    sample.workers[0].backend = HOSTILE.into();
    for job in &mut sample.live {
        (job.tenant, job.language, job.queue) =
            (Some(HOSTILE.into()), Some(HOSTILE.into()), Some(HOSTILE.into()));
    }
    sample.queues[0].name = HOSTILE.into();
    sample.switches = vec![Switch {
        action: Action::Hold,
        scope: Scope::Language(HOSTILE.into()),
        at: at(0),
        by: HOSTILE.into(),
    }];
    let text = summary::text(&sample);
    assert!(text.chars().all(|c| is_printable(c) || c == '\n'), "{text:?}");
    let mut app = App::new(sample);
    type_text(&mut app, "/\u{1b}x");
    press(&mut app, KeyCode::Esc);
    for tab in ['1', '2', '3', '4', '5'] {
        press(&mut app, KeyCode::Char(tab));
        for open in [KeyCode::Null, KeyCode::Enter] {
            press(&mut app, open);
            for line in screen(&mut app, 200, 30) {
                assert!(line.chars().all(is_printable), "{tab}: {line:?}");
            }
            press(&mut app, KeyCode::Esc);
        }
    }
}

#[test]
fn every_size_can_be_drawn() {
    let sizes = [0, 1, 2, 5, 6, 7, 19, 20, 21, 80, 300];
    let mut app = App::new(fleet(30, 100));
    app.sample.switches =
        vec![
            Switch { action: Action::Hold, scope: Scope::All, at: at(0), by: "an operator".into() };
            50
        ];
    for tab in ['1', '2', '3', '4', '5'] {
        for overlay in ["", "?", "d"] {
            press(&mut app, KeyCode::Char(tab));
            press(&mut app, KeyCode::End);
            type_text(&mut app, overlay);
            for width in sizes {
                for height in sizes {
                    screen(&mut app, width, height);
                }
            }
            press(&mut app, KeyCode::Esc);
        }
    }
    assert!(screen(&mut app, 19, 30).join("").contains("too small"));
}

#[test]
fn ten_thousand_jobs_and_a_thousand_workers_are_drawn_at_once() {
    let sample = fleet(1000, 10_000);
    let mut app = App::new(sample.clone());
    for tab in ['1', '2', '3', '4', '5'] {
        let begun = Instant::now();
        press(&mut app, KeyCode::Char(tab));
        app.take(sample.clone());
        press(&mut app, KeyCode::End);
        screen(&mut app, 200, 60);
        // Without optimisation; far less than it takes a person to be annoyed.
        assert!(begun.elapsed() < Duration::from_secs(2), "{tab}: {:?}", begun.elapsed());
    }
    press(&mut app, KeyCode::Char('4'));
    type_text(&mut app, "/job-99");
    assert_eq!(app.grid.rows.len(), 111, "99, 99x and 99xx");
}

#[test]
fn keys_choose_sort_filter_and_drill() {
    let mut app = App::new(fleet(3, 40));
    assert_eq!(app.grid.rows[0].id, "worker-2", "the busiest first");
    press(&mut app, KeyCode::Down);
    // The chosen worker stays chosen when it is somewhere else.
    press(&mut app, KeyCode::Char('S'));
    assert_eq!((app.chosen, app.grid.rows[app.chosen].id.as_str()), (1, "worker-1"));
    press(&mut app, KeyCode::Char('s'));
    assert_eq!(app.order().column, 2);
    press(&mut app, KeyCode::Enter);
    let Some(Overlay::Text { title, lines, .. }) = &app.overlay else { panic!("details") };
    assert_eq!(title, "worker worker-1");
    let lines = lines.join("\n");
    assert!(
        lines.contains("  job-8  8 s  python  tenant acme") && lines.contains("ended-1  accepted"),
        "{lines}"
    );
    press(&mut app, KeyCode::Esc);
    // A tenant's jobs.
    press(&mut app, KeyCode::Char('3'));
    let tenant = app.grid.rows[0].id.clone();
    press(&mut app, KeyCode::Enter);
    assert_eq!((app.tab, app.filter.as_str()), (Tab::Jobs, tenant.as_str()));
    assert_eq!(app.grid.rows.len(), 20);
    press(&mut app, KeyCode::Esc);
    assert_eq!(app.grid.rows.len(), 40);
    press(&mut app, KeyCode::Home);
    let job = app.grid.rows[0].id.parse().expect("an id");
    assert_eq!(press(&mut app, KeyCode::Enter), Step::Do(Effect::Look(job)));
    press(&mut app, KeyCode::Char('p'));
    app.take(fleet(0, 0));
    assert_eq!(app.grid.rows.len(), 40, "it is paused");
    assert_eq!(app.key(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL)), Step::Quit);
    assert_eq!(press(&mut app, KeyCode::Char('q')), Step::Quit);
}

#[test]
fn nothing_is_done_without_a_question() {
    let mut app = App::new(fleet(3, 40));
    press(&mut app, KeyCode::Char('c'));
    assert!(app.overlay.is_none() && app.note.contains("choose a job"), "{}", app.note);
    press(&mut app, KeyCode::Char('4'));
    let job = app.grid.rows[0].id.clone();
    for (answer, step) in [
        (KeyCode::Char('n'), Step::Stay),
        (KeyCode::Enter, Step::Stay),
        (KeyCode::Char('y'), Step::Do(Effect::Cancel(job.parse().expect("an id")))),
    ] {
        press(&mut app, KeyCode::Char('c'));
        let shown = screen(&mut app, 100, 20).join("\n");
        assert!(shown.contains(&format!("cancel job {job}?")), "{shown}");
        assert_eq!(press(&mut app, answer), step);
        assert!(app.overlay.is_none());
    }
    press(&mut app, KeyCode::Char('d'));
    assert_eq!(press(&mut app, KeyCode::Char('y')), Step::Do(Effect::Hold(Scope::All)));
    press(&mut app, KeyCode::Char('3'));
    press(&mut app, KeyCode::Char('h'));
    let tenant = Scope::Tenant(app.grid.rows[0].id.clone());
    assert_eq!(press(&mut app, KeyCode::Char('y')), Step::Do(Effect::Hold(tenant.clone())));
    // What is held is let go.
    let switch = Switch { action: Action::Hold, scope: tenant.clone(), at: at(5), by: "me".into() };
    app.take(Sample { switches: vec![switch], ..fleet(3, 40) });
    assert!(screen(&mut app, 140, 20).join("\n").contains("switch: hold tenant:"));
    press(&mut app, KeyCode::Char('h'));
    assert_eq!(press(&mut app, KeyCode::Char('y')), Step::Do(Effect::Release(tenant)));
}

#[test]
fn json_has_all_that_is_known() {
    let shown = summary::json(&fleet(3, 40));
    assert_eq!(
        (&shown["waiting"], &shown["running"], &shown["slots"]),
        (&30.into(), &10.into(), &24.into())
    );
    assert_eq!(shown["verdicts"], serde_json::json!({ "accepted": 27, "runtime_error": 3 }));
    assert_eq!(shown["oldest"]["job_id"], "job-39");
    assert_eq!(shown["tenants"][0]["tenant"], "acme");
    assert_eq!(
        (&shown["broker_error"], &shown["jobs"].as_array().map(Vec::len)),
        (&serde_json::Value::Null, &Some(40))
    );
}
