//! One scenario's samples as a markdown table, which is also what the terminal shows.

use crate::results::Samples;
use crate::scenario::Scenario;

/// A row per peer: medians, then the ratios of the scenario's first figure.
pub(crate) fn render(scenario: Scenario, samples: &Samples) -> String {
    let figures = samples.figures();
    let primary = scenario.primary();
    let mut head = vec!["peer".to_owned()];
    head.extend(figures.iter().map(|figure| figure.heading().to_owned()));
    if primary.is_some() {
        head.extend(["÷ Pingora".to_owned(), "÷ best other".to_owned()]);
    }
    let mut rows = vec![head];
    for peer in samples.peers() {
        let mut row = vec![peer.name().to_owned()];
        row.extend(
            figures.iter().map(|figure| shown(samples.value(peer, *figure), |value| figure.show(value))),
        );
        if let Some(figure) = primary {
            for ratio in [samples.ratio_to_pingora(peer, figure), samples.ratio_to_best(peer, figure)] {
                row.push(shown(ratio, |value| format!("{value:.2}")));
            }
        }
        rows.push(row);
    }
    align(&rows)
}

fn shown(value: Option<f64>, show: impl Fn(f64) -> String) -> String {
    value.map_or_else(|| "–".to_owned(), show)
}

/// Pads every column to its widest cell; names left, numbers right.
fn align(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let width =
        |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0).max(3)).collect();
    let mut text = String::new();
    for (index, row) in rows.iter().enumerate() {
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let padding = " ".repeat(width - cell.chars().count());
            text += &if column == 0 { format!("| {cell}{padding} ") } else { format!("| {padding}{cell} ") };
        }
        text += "|\n";
        if index == 0 {
            for (column, width) in widths.iter().enumerate() {
                text += &if column == 0 {
                    format!("|{}", "-".repeat(width + 2))
                } else {
                    format!("|{}:", "-".repeat(width + 1))
                };
            }
            text += "|\n";
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peers::Peer;
    use crate::results::{Figure, Sample};

    #[test]
    fn a_table_lines_up_and_names_what_is_missing() {
        let sample = |peer, figures: &[(Figure, f64)]| Sample {
            peer,
            round: 0,
            figures: figures.iter().copied().collect(),
        };
        let samples = Samples(vec![
            sample(Peer::Pingora, &[(Figure::CpuPerRequest, 20.0), (Figure::Failures, 0.0)]),
            sample(Peer::Nginx, &[(Figure::CpuPerRequest, 14.0)]),
        ]);
        let expected = "\
| peer         | CPU µs/request | failures | ÷ Pingora | ÷ best other |
|--------------|---------------:|---------:|----------:|-------------:|
| bare Pingora |           20.0 |        0 |      1.00 |         1.43 |
| nginx        |           14.0 |        – |      0.70 |         0.70 |
";
        assert_eq!(render(Scenario::Http1, &samples), expected);
    }
}
