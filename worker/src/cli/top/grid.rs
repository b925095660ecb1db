//! A table that can be sorted and filtered.

use std::cmp::Ordering;

use sandfleet_common::PrintableText;

/// What stands in a row, and what it is sorted by. Text is printable, whatever it was made of.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Cell {
    pub(super) text: String,
    by: Key,
}

#[derive(Debug, Clone, PartialEq)]
enum Key {
    Text,
    Number(f64),
}

impl Cell {
    pub(super) fn text(text: impl std::fmt::Display) -> Self {
        Self { text: PrintableText::new(text).into(), by: Key::Text }
    }

    pub(super) fn number(number: impl TryInto<u32>, text: impl std::fmt::Display) -> Self {
        let number = number.try_into().unwrap_or(u32::MAX);
        Self { text: PrintableText::new(text).into(), by: Key::Number(number.into()) }
    }

    pub(super) fn count(count: usize) -> Self {
        Self::number(count, count)
    }

    fn cmp(&self, other: &Self) -> Ordering {
        match (&self.by, &other.by) {
            (Key::Number(one), Key::Number(two)) => one.total_cmp(two),
            (Key::Text, Key::Text) => self.text.cmp(&other.text),
            (Key::Number(_), Key::Text) => Ordering::Greater,
            (Key::Text, Key::Number(_)) => Ordering::Less,
        }
    }
}

/// A row, and what it is about.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct GridRow {
    /// What tells it from others, in every sample.
    pub(super) id: String,
    pub(super) cells: Vec<Cell>,
}

/// A table.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Grid {
    pub(super) header: Vec<&'static str>,
    pub(super) rows: Vec<GridRow>,
}

/// How a table is sorted: by which column, and whether the greatest comes first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Order {
    pub(super) column: usize,
    pub(super) descends: bool,
}

impl Grid {
    /// Keeps the rows one of whose cells holds `filter`, whatever the case of its letters, and sorts them.
    pub(super) fn arrange(&mut self, filter: &str, order: Order) {
        if !filter.is_empty() {
            let wanted = filter.to_lowercase();
            self.rows.retain(|row| {
                row.cells.iter().any(|cell| cell.text.to_lowercase().contains(&wanted))
            });
        }
        self.rows.sort_by(|one, two| {
            let by = match (one.cells.get(order.column), two.cells.get(order.column)) {
                (Some(one), Some(two)) => one.cmp(two),
                _ => Ordering::Equal,
            };
            let by = if order.descends { by.reverse() } else { by };
            by.then_with(|| one.id.cmp(&two.id))
        });
    }

    /// The rows as text, the header first.
    pub(super) fn texts(&self, max: usize) -> Vec<Vec<String>> {
        let header = self.header.iter().map(|it| (*it).to_owned()).collect();
        let rows = self.rows.iter().take(max);
        let rows = rows.map(|row| row.cells.iter().map(|cell| cell.text.clone()).collect());
        std::iter::once(header).chain(rows).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_sorted_by_numbers_or_text_and_filtered() {
        let row = |id: &str, count: usize| GridRow {
            id: id.into(),
            cells: vec![Cell::text(id), Cell::count(count)],
        };
        let grid =
            Grid { header: vec!["A", "B"], rows: vec![row("b", 9), row("a", 10), row("Xb", 10)] };
        let ids = |filter, column, descends| {
            let mut grid = grid.clone();
            grid.arrange(filter, Order { column, descends });
            grid.rows.into_iter().map(|row| row.id).collect::<Vec<_>>()
        };
        assert_eq!(ids("", 1, true), ["Xb", "a", "b"]);
        assert_eq!(ids("", 1, false), ["b", "Xb", "a"]);
        assert_eq!(ids("B", 0, false), ["Xb", "b"]);
        assert_eq!(ids("10", 0, true), ["a", "Xb"]);
        assert!(ids("no", 0, false).is_empty());
        assert_eq!(Cell::text("\u{1b}[2J").text, "\\u{1b}[2J");
    }
}
