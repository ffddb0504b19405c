//! What was measured: named figures per scenario, peer and round; their medians, ratios, and the file they live in.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::peers::Peer;
use crate::scenario::Scenario;

/// One measured number. The order is that of the columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Figure {
    /// CPU time of the proxy per request, µs.
    CpuPerRequest,
    /// CPU time of the proxy per GiB of bodies, s.
    CpuPerGib,
    /// CPU time per handshake with many hosts, as a share of that with one.
    OfOneHost,
    /// CPU time per request, as a share of that without.
    OfWithout,
    /// CPU time per request without, µs.
    CpuWithout,
    /// Most requests that failed by one flip of an endpoint.
    FailuresPerFlip,
    /// Longest time from the moment an endpoint is well again to its first request, ms.
    ReturnTime,
    /// CPU time per handshake with one host, µs.
    CpuOneHost,
    /// Time from the first byte of a change of everything to the last new answer, ms.
    RenewalTime,
    /// Answers per second.
    Rate,
    /// Median latency, µs.
    LatencyP50,
    /// 99th percentile of the latency, µs.
    LatencyP99,
    /// Most answers per second that a backend can give.
    PeakRate,
    /// 99th percentile of the latency at that rate, µs.
    PeakP99,
    /// Answers per second under overload, as a share of the most.
    GoodputShare,
    /// 99th percentile under overload, as a share of that at the most.
    LatencyShare,
    /// Requests that were refused because of the load.
    Refused,
    /// 99th percentile under overload that nothing bounds, µs.
    UnboundedP99,
    /// Resident memory per idle connection, KiB.
    MemoryPerConnection,
    /// Resident memory with one route, MiB.
    MemoryAt1,
    /// Resident memory with 1,000 routes, MiB.
    MemoryAt1000,
    /// Resident memory with 5,000 routes, MiB.
    MemoryAt5000,
    /// Resident memory with 10,000 routes, MiB.
    MemoryAt10000,
    /// Resident memory of each route after the first, KiB.
    MemoryPerRoute,
    /// Resident memory after the load, MiB.
    Memory,
    /// Most resident memory, MiB.
    PeakMemory,
    /// Configuration changes made.
    Changes,
    /// Median time from writing a file to the first changed answer, ms.
    ChangeP50,
    /// 99th percentile of that time, ms.
    ChangeP99,
    /// Requests answered well.
    Requests,
    /// Requests sent again because a kept connection had been closed.
    Reconnects,
    /// From the signal to the end of the process, ms.
    ExitTime,
    /// Requests that failed.
    Failures,
    /// Share of its core that the proxy used, per cent.
    CoreUsed,
    /// Share of the more disturbed core that neither the proxy nor the load used, per cent: the noise.
    CoreOther,
}

impl Figure {
    /// Column heading, with the unit.
    pub(crate) fn heading(self) -> &'static str {
        match self {
            Self::CpuPerRequest => "CPU µs/request",
            Self::CpuPerGib => "CPU s/GiB",
            Self::OfOneHost => "÷ one host",
            Self::OfWithout => "÷ without",
            Self::CpuWithout => "without CPU µs",
            Self::FailuresPerFlip => "failures/flip",
            Self::ReturnTime => "return ms",
            Self::CpuOneHost => "one host CPU µs",
            Self::RenewalTime => "renewal ms",
            Self::Rate => "requests/s",
            Self::LatencyP50 => "p50 µs",
            Self::LatencyP99 => "p99 µs",
            Self::PeakRate => "peak requests/s",
            Self::PeakP99 => "peak p99 µs",
            Self::GoodputShare => "goodput ÷ peak",
            Self::LatencyShare => "p99 ÷ peak",
            Self::Refused => "refused",
            Self::UnboundedP99 => "unbounded p99 µs",
            Self::MemoryPerConnection => "KiB/connection",
            Self::MemoryAt1 => "1 route MiB",
            Self::MemoryAt1000 => "1,000 MiB",
            Self::MemoryAt5000 => "5,000 MiB",
            Self::MemoryAt10000 => "10,000 MiB",
            Self::MemoryPerRoute => "KiB/route",
            Self::Memory => "RSS MiB",
            Self::PeakMemory => "peak MiB",
            Self::Changes => "changes",
            Self::ChangeP50 => "p50 ms",
            Self::ChangeP99 => "p99 ms",
            Self::Requests => "requests",
            Self::Reconnects => "reconnects",
            Self::ExitTime => "exit ms",
            Self::Failures => "failures",
            Self::CoreUsed => "core used %",
            Self::CoreOther => "others %",
        }
    }

    /// The number as it stands in a table.
    pub(crate) fn show(self, value: f64) -> String {
        match self {
            Self::CpuPerGib
            | Self::OfOneHost
            | Self::OfWithout
            | Self::GoodputShare
            | Self::LatencyShare
            | Self::MemoryPerRoute
            | Self::ChangeP50
            | Self::ChangeP99 => format!("{value:.2}"),
            Self::Rate
            | Self::PeakRate
            | Self::PeakP99
            | Self::Refused
            | Self::UnboundedP99
            | Self::LatencyP50
            | Self::LatencyP99
            | Self::Changes
            | Self::Requests
            | Self::Reconnects
            | Self::ExitTime
            | Self::RenewalTime
            | Self::FailuresPerFlip
            | Self::ReturnTime
            | Self::Failures
            | Self::CoreUsed
            | Self::CoreOther => format!("{value:.0}"),
            Self::CpuPerRequest
            | Self::CpuWithout
            | Self::CpuOneHost
            | Self::MemoryPerConnection
            | Self::MemoryAt1
            | Self::MemoryAt1000
            | Self::MemoryAt5000
            | Self::MemoryAt10000
            | Self::Memory
            | Self::PeakMemory => format!("{value:.1}"),
        }
    }

    /// Whether rounds are added up (a failure in one round is a failure) instead of taking their median.
    fn adds_up(self) -> bool {
        matches!(self, Self::Failures)
    }
}

/// The figures of one measurement.
pub(crate) type Figures = BTreeMap<Figure, f64>;

/// One measurement.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Sample {
    /// Who was measured.
    pub(crate) peer: Peer,
    /// In which round, from 0.
    pub(crate) round: u32,
    /// What was found.
    pub(crate) figures: Figures,
}

/// All samples of one run of a scenario.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Samples(pub(crate) Vec<Sample>);

impl Samples {
    /// Peers in the order of the tables.
    pub(crate) fn peers(&self) -> Vec<Peer> {
        let mut peers: Vec<Peer> = self.0.iter().map(|sample| sample.peer).collect();
        peers.sort_unstable();
        peers.dedup();
        peers
    }

    /// Every figure that any sample has.
    pub(crate) fn figures(&self) -> Vec<Figure> {
        let mut figures: Vec<Figure> =
            self.0.iter().flat_map(|sample| sample.figures.keys().copied()).collect();
        figures.sort_unstable();
        figures.dedup();
        figures
    }

    /// Median over the rounds (failures: the sum); `None` when `peer` has no such figure.
    pub(crate) fn value(&self, peer: Peer, figure: Figure) -> Option<f64> {
        let of_peer = self.0.iter().filter(|sample| sample.peer == peer);
        let values: Vec<f64> = of_peer.filter_map(|sample| sample.figures.get(&figure).copied()).collect();
        if figure.adds_up() && !values.is_empty() { Some(values.iter().sum()) } else { median(values) }
    }

    /// Median of `peer` divided by bare Pingora, round by round.
    pub(crate) fn ratio_to_pingora(&self, peer: Peer, figure: Figure) -> Option<f64> {
        self.ratio(peer, figure, |other| other == Peer::Pingora)
    }

    /// Median of `peer` divided by the best of all others, round by round.
    pub(crate) fn ratio_to_best(&self, peer: Peer, figure: Figure) -> Option<f64> {
        self.ratio(peer, figure, |other| other != peer)
    }

    /// The median of what `peer` has divided by the least that any of `others` has in the same round.
    fn ratio(&self, peer: Peer, figure: Figure, others: impl Fn(Peer) -> bool) -> Option<f64> {
        let value = |sample: &Sample| sample.figures.get(&figure).copied();
        let ratio = |sample: &Sample| {
            let rivals = self.0.iter().filter(|other| other.round == sample.round && others(other.peer));
            let least = rivals.filter_map(value).min_by(f64::total_cmp)?;
            (least > 0.0).then_some(value(sample)? / least)
        };
        median(self.0.iter().filter(|sample| sample.peer == peer).filter_map(ratio).collect())
    }
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = *values.get(middle)?;
    if values.len() % 2 == 1 { Some(upper) } else { Some((values.get(middle - 1)? + upper) / 2.0) }
}

/// The results file: the last run of each scenario.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Results {
    /// The machine of the last run.
    pub(crate) machine: String,
    /// Versions as the programs gave them.
    pub(crate) versions: BTreeMap<Peer, String>,
    /// Samples per scenario.
    pub(crate) scenarios: BTreeMap<Scenario, Samples>,
}

impl Results {
    /// Reads `file`; a missing one is an empty one.
    pub(crate) fn load(file: &Path) -> Result<Self> {
        match std::fs::read(file) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .with_context(|| format!("{}: not a results file", file.display())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error).with_context(|| file.display().to_string()),
        }
    }

    /// Writes `file` and the folders above it.
    pub(crate) fn store(&self, file: &Path) -> Result<()> {
        if let Some(folder) = file.parent() {
            std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        }
        std::fs::write(file, serde_json::to_vec_pretty(self)?).with_context(|| file.display().to_string())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn samples(rows: &[(Peer, u32, f64)]) -> Samples {
        let sample =
            |&(peer, round, value)| Sample { peer, round, figures: [(Figure::CpuPerRequest, value)].into() };
        Samples(rows.iter().map(sample).collect())
    }

    #[test]
    fn a_ratio_is_taken_within_a_round_before_the_median() {
        // The machine was twice as slow in round 1: that must not show.
        let samples = samples(&[
            (Peer::Sluice, 0, 11.0),
            (Peer::Pingora, 0, 10.0),
            (Peer::Sluice, 1, 22.0),
            (Peer::Pingora, 1, 20.0),
            (Peer::Nginx, 1, 44.0),
        ]);
        assert_eq!(samples.ratio_to_pingora(Peer::Sluice, Figure::CpuPerRequest), Some(1.1));
        assert_eq!(samples.ratio_to_best(Peer::Sluice, Figure::CpuPerRequest), Some(1.1));
        assert_eq!(samples.ratio_to_best(Peer::Nginx, Figure::CpuPerRequest), Some(2.2));
        assert_eq!(samples.value(Peer::Sluice, Figure::CpuPerRequest), Some(16.5));
    }

    #[test]
    fn a_failure_in_one_round_stays_a_failure() {
        let row =
            |round, value| Sample { peer: Peer::Nginx, round, figures: [(Figure::Failures, value)].into() };
        let samples = Samples(vec![row(0, 0.0), row(1, 3.0), row(2, 0.0)]);
        assert_eq!(samples.value(Peer::Nginx, Figure::Failures), Some(3.0));
    }

    #[test]
    fn results_survive_their_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a/b.json");
        let mut results = Results::load(&file).unwrap();
        results.scenarios.insert(Scenario::Http1, samples(&[(Peer::Haproxy, 0, 14.25)]));
        results.versions.insert(Peer::Haproxy, "2.8".to_owned());
        results.store(&file).unwrap();
        let read = Results::load(&file).unwrap();
        assert_eq!(read.scenarios[&Scenario::Http1].value(Peer::Haproxy, Figure::CpuPerRequest), Some(14.25));
        assert_eq!(read.versions[&Peer::Haproxy], "2.8");
    }
}
