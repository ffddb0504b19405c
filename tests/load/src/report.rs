//! `sluice-load report`: the results file as the figures section of `docs/performance.md`.

use std::path::PathBuf;

use anyhow::{Result, ensure};

use crate::results::Results;
use crate::table;

/// Arguments of `sluice-load report`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Results of `run`.
    #[arg(long, default_value = crate::bench::RESULTS)]
    results: PathBuf,
}

/// Prints markdown to standard output.
pub(crate) fn print(options: &Options) -> Result<()> {
    let results = Results::load(&options.results)?;
    ensure!(
        !results.scenarios.is_empty(),
        "{}: nothing measured yet; try `sluice-load run`",
        options.results.display()
    );
    print!("{}", markdown(&results));
    Ok(())
}

fn markdown(results: &Results) -> String {
    let versions: Vec<String> =
        results.versions.iter().map(|(peer, version)| format!("{} {version}", peer.name())).collect();
    let mut text = format!("Machine: {}. Versions: {}.\n\n", results.machine, versions.join(", "));
    text += &table::summary(&results.scenarios);
    for (scenario, samples) in &results.scenarios {
        text += &format!("\n### {}\n\n{}.\n\n", scenario.name(), scenario.about());
        text += &table::render(*scenario, samples);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peers::Peer;
    use crate::results::{Figure, Sample, Samples};
    use crate::scenario::Scenario;

    #[test]
    fn every_measured_scenario_has_a_section() {
        let figures = [(Figure::MemoryPerConnection, 4.0)].into();
        let samples = Samples(vec![Sample { peer: Peer::Sluice, round: 0, figures }]);
        let results = Results {
            machine: "2 cores, some CPU".to_owned(),
            versions: [(Peer::Sluice, "0.1.0".to_owned())].into(),
            scenarios: [(Scenario::IdlePlain, samples)].into(),
        };
        let text = markdown(&results);
        assert!(text.starts_with("Machine: 2 cores, some CPU. Versions: Sluice 0.1.0.\n"), "{text}");
        assert!(text.contains("### idle-plain\n") && text.contains("| Sluice |"), "{text}");
    }
}
