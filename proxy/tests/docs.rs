//! The tables in `docs/reference` equal the code. `UPDATE_DOCS=1` rewrites them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use sluice_proxy::telemetry::Outcome;
use sluice_proxy::telemetry::access_log::record::FIELDS;
use sluice_proxy::telemetry::metrics::names::{ALL, Kind};
use std::path::Path;

const START: &str = "<!-- Written by: UPDATE_DOCS=1 cargo test -p sluice-proxy --test docs -->\n";
const END: &str = "<!-- end -->";

/// Compares or replaces what stands between the marks of a page.
fn table(page: &str, lines: impl IntoIterator<Item = String>) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference").join(page);
    let text = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(START).expect("the mark where the table begins");
    let (found, after) = rest.split_once(END).expect("the mark where the table ends");
    let wanted: String = lines.into_iter().map(|line| line + "\n").collect();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, format!("{before}{START}{wanted}{END}{after}")).unwrap();
    } else {
        assert_eq!(found, wanted, "docs/reference/{page} is stale: run with UPDATE_DOCS=1");
    }
}

fn head(columns: &str) -> [String; 2] {
    [
        columns.to_owned(),
        columns
            .split('|')
            .map(|cell| if cell.is_empty() { "" } else { " --- " })
            .collect::<Vec<_>>()
            .join("|"),
    ]
}

#[test]
fn outcomes_are_documented() {
    let rows = Outcome::ALL.into_iter().map(|outcome| {
        let status = outcome.status().map_or("-".to_owned(), |status| status.to_string());
        let grpc_status = outcome.status().map_or("-".to_owned(), |_| outcome.grpc_status().to_string());
        format!("| `{}` | {status} | {grpc_status} | {} |", outcome.word(), outcome.meaning())
    });
    table("outcomes.md", head("| word | status | grpc-status | meaning |").into_iter().chain(rows));
}

#[test]
fn metrics_are_documented() {
    let rows = ALL.iter().map(|metric| {
        let kind = match metric.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let labels: Vec<_> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
        format!("| `{}` | {kind} | {} | {}. |", metric.name, labels.join(", "), metric.help)
    });
    table("metrics.md", head("| name | kind | labels | meaning |").into_iter().chain(rows));
}

#[test]
fn access_log_fields_are_documented() {
    let rows = FIELDS.iter().map(|(name, always, meaning)| {
        let when = if *always { "always" } else { "if known" };
        format!("| `{name}` | {when} | {meaning} |")
    });
    table("access-log.md", head("| field | present | meaning |").into_iter().chain(rows));
}
