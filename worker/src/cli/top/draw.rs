//! Draws the screen. Every text on it is printable before it comes here.

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Color, Modifier, Style},
    text::{Line, Span},
    widgets::{Block, Cell, Clear, Paragraph, Row, Table, TableState, Wrap},
};

use super::{
    app::{App, Overlay},
    grids::Tab,
    summary,
};

/// Below this a table can't be read.
const MIN_WIDTH: u16 = 20;
const MIN_HEIGHT: u16 = 6;
/// The widest column, but for the last.
const MAX_COLUMN: usize = 44;

const BOLD: Style = Style::new().add_modifier(Modifier::BOLD);
const CHOSEN: Style = Style::new().add_modifier(Modifier::REVERSED);
const TROUBLE: Style = Style::new().fg(Color::Red).add_modifier(Modifier::BOLD);
const NOTICE: Style = Style::new().fg(Color::Yellow);

pub(super) fn draw(frame: &mut Frame<'_>, app: &mut App) {
    let area = frame.area();
    if area.width < MIN_WIDTH || area.height < MIN_HEIGHT {
        frame.render_widget(Paragraph::new("too small; q quits"), area);
        return;
    }
    let troubles = summary::troubles(&app.sample);
    let lines = summary::lines(&app.sample);
    let above = heading(app, &troubles, &lines);
    // However much there is to say, the table keeps a few rows.
    let height = u16::try_from(above.len()).unwrap_or(u16::MAX).min(area.height - 4);
    let [top, tabs, table, bottom] = Layout::vertical([
        Constraint::Length(height),
        Constraint::Length(1),
        Constraint::Min(2),
        Constraint::Length(1),
    ])
    .areas(area);
    frame.render_widget(Paragraph::new(above), top);
    frame.render_widget(tab_line(app), tabs);
    draw_table(frame, app, table);
    frame.render_widget(footer(app), bottom);
    draw_overlay(frame, app, area);
}

fn heading(app: &App, troubles: &[String], lines: &[String]) -> Vec<Line<'static>> {
    let paused = if app.is_paused { " · paused" } else { "" };
    let title = format!("sandfleet {} · {:.0}{paused}", app.sample.prefix, app.sample.at);
    let title = sandfleet_common::PrintableText::from(title);
    let title = Line::styled(title.to_string(), BOLD);
    let troubles = troubles.iter().map(|line| Line::styled(line.clone(), TROUBLE));
    let lines = lines.iter().map(|line| match line.starts_with("switch: ") {
        true => Line::styled(line.clone(), NOTICE),
        false => Line::raw(line.clone()),
    });
    std::iter::once(title).chain(troubles).chain(lines).collect()
}

fn tab_line(app: &App) -> Line<'static> {
    let spans = Tab::ALL.into_iter().enumerate().map(|(at, tab)| {
        let style = if tab == app.tab { CHOSEN } else { Style::new() };
        Span::styled(format!(" {} {} ", at + 1, tab.title()), style)
    });
    let mut line: Line<'static> = spans.collect::<Vec<_>>().into();
    line.push_span(Span::raw(format!(" {} rows", app.grid.rows.len())));
    if app.is_typing || !app.filter.is_empty() {
        let cursor = if app.is_typing { "_" } else { "" };
        let filter = sandfleet_common::PrintableText::new(&app.filter);
        line.push_span(Span::styled(format!(" · with {filter}{cursor}"), NOTICE));
    }
    line
}

fn draw_table(frame: &mut Frame<'_>, app: &mut App, area: Rect) {
    app.page = usize::from(area.height.saturating_sub(1)).max(1);
    // Only what fits is laid out: there may be ten thousand rows.
    let first = (app.chosen + 1).saturating_sub(app.page);
    let rows = app.grid.rows.iter().skip(first).take(app.page);
    let order = app.order();
    let header: Vec<String> = app
        .grid
        .header
        .iter()
        .enumerate()
        .map(|(at, name)| match (at == order.column, order.descends) {
            (true, true) => format!("{name}▼"),
            (true, false) => format!("{name}▲"),
            (false, _) => (*name).to_owned(),
        })
        .collect();
    let mut widths: Vec<usize> = header.iter().map(|name| Line::raw(name).width()).collect();
    for row in rows.clone() {
        for (width, cell) in widths.iter_mut().zip(&row.cells) {
            *width = Line::raw(&cell.text).width().max(*width);
        }
    }
    let last = widths.len().saturating_sub(1);
    let widths = widths.iter().enumerate().map(|(at, width)| match at == last {
        true => Constraint::Fill(1),
        false => Constraint::Length(u16::try_from((*width).min(MAX_COLUMN)).unwrap_or(u16::MAX)),
    });
    let rows = rows.map(|row| Row::new(row.cells.iter().map(|cell| Cell::new(cell.text.as_str()))));
    let table = Table::new(rows, widths)
        .header(Row::new(header).style(BOLD))
        .column_spacing(2)
        .row_highlight_style(CHOSEN);
    let chosen = (!app.grid.rows.is_empty()).then(|| app.chosen - first);
    let mut state = TableState::new().with_selected(chosen);
    frame.render_stateful_widget(table, area, &mut state);
}

fn footer(app: &App) -> Line<'static> {
    match app.note.as_str() {
        "" => Line::raw(
            "? keys · Enter details · s sort · / filter · c cancel · h hold · d drain · q quit",
        ),
        note => Line::styled(note.to_owned(), NOTICE),
    }
}

fn draw_overlay(frame: &mut Frame<'_>, app: &mut App, area: Rect) {
    let (title, lines, scroll, style) = match &app.overlay {
        None => return,
        Some(Overlay::Question { text, .. }) => (
            "question".to_owned(),
            vec![text.clone(), "y does it, any other key doesn't".into()],
            0,
            NOTICE,
        ),
        Some(Overlay::Text { title, lines, scroll }) => {
            (title.clone(), lines.clone(), *scroll, Style::new())
        }
    };
    let widths: Vec<usize> = lines.iter().map(|line| Line::raw(line).width()).collect();
    let longest = widths.iter().copied().max().unwrap_or(0);
    let width = u16::try_from(longest.max(title.len()) + 2).unwrap_or(u16::MAX).min(area.width);
    // A line that is longer than the frame takes several.
    let inside = usize::from(width.saturating_sub(2)).max(1);
    let height: usize = widths.iter().map(|width| width.div_ceil(inside).max(1)).sum();
    let height = u16::try_from(height + 2).unwrap_or(u16::MAX).min(area.height);
    let place = Rect {
        x: area.x + (area.width - width) / 2,
        y: area.y + (area.height - height) / 2,
        width,
        height,
    };
    let paragraph = Paragraph::new(lines.into_iter().map(Line::raw).collect::<Vec<_>>())
        .block(Block::bordered().title(title).border_style(style))
        .wrap(Wrap { trim: false })
        .scroll((scroll, 0));
    frame.render_widget(Clear, place);
    frame.render_widget(paragraph, place);
}
