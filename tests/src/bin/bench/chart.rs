//! A bar for each lane, as a share of its group's first: an SVG without any library.

use super::{memory, printing, rounds::Row};

const WIDTH: f64 = 960.0;
const LABELS: f64 = 420.0;
const BAR: f64 = 18.0;
const STEP: f64 = 24.0;

pub(crate) fn draw(rows: &[Row]) -> String {
    let shown: Vec<&Row> = rows
        .iter()
        .filter(|row| {
            row.ratio > 0.0 && ![memory::GROUP, printing::GROUP].contains(&row.group.as_str())
        })
        .collect();
    let most = shown.iter().map(|row| row.ratio).fold(1.0, f64::max);
    let scale = (WIDTH - LABELS - 80.0) / most;
    let (mut body, mut y, mut group) = (String::new(), 10.0, "");
    for row in shown {
        if row.group != group {
            group = &row.group;
            y += STEP;
            body += &text(10.0, y, "bold", &format!("{group} (jobs/s as a share of the first)"));
            y += STEP / 2.0;
        }
        let colour = if row.problem.is_some() { "#bbbbbb" } else { "#3b6ea5" };
        body += &text(20.0, y + 13.0, "normal", &row.lane);
        let width = (row.ratio * scale).max(1.0);
        body += &format!(
            "<rect x=\"{LABELS}\" y=\"{y}\" width=\"{width:.1}\" height=\"{BAR}\" fill=\"{colour}\"/>\n"
        );
        body += &text(LABELS + width + 6.0, y + 13.0, "normal", &format!("{:.3}", row.ratio));
        y += STEP;
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"13\">\n<rect width=\"100%\" height=\"100%\" \
         fill=\"white\"/>\n{body}</svg>\n",
        height = y + STEP
    )
}

fn text(x: f64, y: f64, weight: &str, text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    format!("<text x=\"{x:.1}\" y=\"{y:.1}\" font-weight=\"{weight}\">{text}</text>\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_measured_lane_has_a_bar_and_its_name_is_text() {
        let row = |lane: &str, ratio| Row { lane: lane.into(), ratio, ..Row::default() };
        let svg = draw(&[row("a < b", 1.0), row("absent", 0.0), row("c", 2.0)]);
        assert_eq!(svg.matches("<rect x=").count(), 2);
        assert!(svg.contains("a &lt; b") && !svg.contains("absent"), "{svg}");
    }
}
