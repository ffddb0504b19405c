//! Samples as markdown tables, which are also what the terminal shows.

use std::collections::{BTreeMap, BTreeSet};

use crate::peers::Peer;
use crate::results::Samples;
use crate::scenario::Scenario;

/// A row per scenario: the medians of its main figure, and Sluice's ratios.
pub(crate) fn summary(scenarios: &BTreeMap<Scenario, Samples>) -> String {
    let peers: BTreeSet<Peer> = scenarios.values().flat_map(Samples::peers).collect();
    let mut head = vec!["main figure".to_owned()];
    head.extend(peers.iter().map(|peer| peer.name().to_owned()));
    head.extend(["Sluice ÷ Pingora".to_owned(), "Sluice ÷ best other".to_owned()]);
    let mut rows = vec![head];
    for (scenario, samples) in scenarios {
        let Some(figure) = scenario.primary() else { continue };
        let mut row = vec![format!("{}, {}", scenario.name(), figure.heading())];
        row.extend(peers.iter().map(|peer| shown(samples.value(*peer, figure), |value| figure.show(value))));
        let ratios =
            [samples.ratio_to_pingora(Peer::Sluice, figure), samples.ratio_to_best(Peer::Sluice, figure)];
        row.extend(ratios.map(|ratio| shown(ratio, |value| format!("{value:.2}"))));
        rows.push(row);
    }
    align(&rows)
}

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

    #[test]
    fn the_summary_has_a_row_for_each_scenario_with_a_main_figure() {
        let sample = |peer, figure, value| Sample { peer, round: 0, figures: [(figure, value)].into() };
        let cpu = Figure::CpuPerRequest;
        let scenarios = BTreeMap::from([
            (
                Scenario::Http1,
                Samples(vec![sample(Peer::Sluice, cpu, 22.0), sample(Peer::Pingora, cpu, 20.0)]),
            ),
            (Scenario::Drain, Samples(vec![sample(Peer::Sluice, Figure::Failures, 0.0)])),
            (Scenario::IdleTls, Samples(vec![sample(Peer::Pingora, Figure::MemoryPerConnection, 99.0)])),
        ]);
        let expected = "\
| main figure              | Sluice | bare Pingora | Sluice ÷ Pingora | Sluice ÷ best other |
|--------------------------|-------:|-------------:|-----------------:|--------------------:|
| http1, CPU µs/request    |   22.0 |         20.0 |             1.10 |                1.10 |
| idle-tls, KiB/connection |      – |         99.0 |                – |                   – |
";
        assert_eq!(summary(&scenarios), expected);
    }
}
