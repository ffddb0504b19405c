//! The scenarios: what is asked of a proxy, and which figures answer.

mod certificates;
mod change;
mod detection;
mod drain;
mod ejection;
mod idle;
mod memory;
mod overload;
mod storm;
mod throughput;
mod window;

use anyhow::Result;
use clap::ValueEnum;

use crate::bench::Bench;
use crate::peers::Peer;
use crate::results::{Figure, Figures};

/// Something to measure.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Scenario {
    /// HTTP/1.1 keep-alive.
    Http1,
    /// HTTP/1.1 at a fixed rate.
    Http1Rate,
    /// HTTP/1.1 with an access log.
    Log,
    /// HTTP/1.1 over TLS.
    TlsHttp1,
    /// HTTP/2 over TLS.
    TlsH2,
    /// A TLS connection per request.
    Handshake,
    /// Large bodies.
    Bulk,
    /// Connections that are carried whole, from the backend.
    Passthrough,
    /// The same, to the backend.
    PassthroughUpload,
    /// Many hosts.
    #[value(name = "hosts-5000")]
    #[serde(rename = "hosts-5000")]
    Hosts5000,
    /// Many paths.
    #[value(name = "paths-5000")]
    #[serde(rename = "paths-5000")]
    Paths5000,
    /// Idle plain connections.
    IdlePlain,
    /// Idle TLS connections.
    IdleTls,
    /// Memory by number of routes.
    MemoryRoutes,
    /// From a changed file to a changed answer.
    #[value(name = "change-one-of-5000")]
    #[serde(rename = "change-one-of-5000")]
    ChangeOneOf5000,
    /// Changes under load.
    ReloadStorm,
    /// Termination under load.
    Drain,
    /// What outlier detection and circuit breakers cost.
    Detection,
    /// An endpoint that fails and is well again.
    Ejection,
    /// Ten thousand hosts with certificates of their own.
    #[value(name = "certificates-10000")]
    #[serde(rename = "certificates-10000")]
    Certificates10000,
    /// More than a backend can bear.
    Overload,
}

impl Scenario {
    /// Its word on the command line.
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// One sentence for tables and the report.
    pub(crate) fn about(self) -> &'static str {
        match self {
            Self::Http1 => "HTTP/1.1, 64 kept connections, closed loop, 1 KiB answers",
            Self::Http1Rate => {
                "HTTP/1.1, 64 kept connections, 3,000 requests/s whatever happens, 1 KiB answers"
            }
            Self::Log => "as http1, with a JSON access log to a file",
            Self::TlsHttp1 => "as http1, over TLS 1.3 (AES-256-GCM)",
            Self::TlsH2 => {
                "HTTP/2 over TLS 1.3, 16 connections with 10 streams each, HTTP/1.1 backend, 1 KiB answers"
            }
            Self::Handshake => {
                "a full TLS 1.3 handshake (P-256, X25519) and one request per connection, 16 at once"
            }
            Self::Bulk => "HTTP/1.1, 8 kept connections, 1 MiB answers",
            Self::Passthrough => {
                "TLS passed through by server name, 8 connections, 1 MiB from the backend at a time"
            }
            Self::PassthroughUpload => "as passthrough, 1 MiB to the backend at a time",
            Self::Hosts5000 => "as http1, requests spread over 5,000 hosts with one route each",
            Self::Paths5000 => "as http1, requests spread over 5,000 path prefixes of one host",
            Self::IdlePlain => "memory per plain connection that is idle after one request",
            Self::IdleTls => "memory per TLS connection that is idle after one request",
            Self::MemoryRoutes => "resident memory with 1 to 10,000 path prefixes, after one request",
            Self::ChangeOneOf5000 => "time from writing one of 5,000 route files to the first changed answer",
            Self::ReloadStorm => "routes, filters and certificates change under load; nothing may fail",
            Self::Drain => "asked to end in the middle of a load; no request may fail",
            Self::Detection => {
                "as http1, with outlier detection and circuit breakers on, against the same without"
            }
            Self::Ejection => {
                "256 paths to 4 endpoints of which one flips every 22 s, 2,000 requests/s, no retries"
            }
            Self::Overload => {
                "ten times the load that a backend of 16 slots of 20 ms can bear, with an adaptive limit and without"
            }
            Self::Certificates10000 => {
                "10,000 hosts with own certificates in one sluice-gateway: memory, full handshakes against one host, \
                 all certificates renewed under load"
            }
        }
    }

    /// The figure whose ratios matter; lower is better.
    pub(crate) fn primary(self) -> Option<Figure> {
        match self {
            Self::Http1
            | Self::Http1Rate
            | Self::Log
            | Self::TlsHttp1
            | Self::TlsH2
            | Self::Handshake
            | Self::Hosts5000
            | Self::Paths5000 => Some(Figure::CpuPerRequest),
            Self::Bulk | Self::Passthrough | Self::PassthroughUpload => Some(Figure::CpuPerGib),
            Self::IdlePlain | Self::IdleTls => Some(Figure::MemoryPerConnection),
            Self::MemoryRoutes => Some(Figure::MemoryAt5000),
            Self::Certificates10000 => Some(Figure::OfOneHost),
            Self::Detection => Some(Figure::OfWithout),
            Self::ChangeOneOf5000 | Self::ReloadStorm | Self::Drain | Self::Ejection | Self::Overload => None,
        }
    }

    /// Whether `peer` can do this at all.
    pub(crate) fn concerns(self, peer: Peer) -> bool {
        match self {
            Self::ChangeOneOf5000
            | Self::ReloadStorm
            | Self::Detection
            | Self::Ejection
            | Self::Overload
            | Self::Certificates10000 => peer == Peer::Sluice,
            Self::Passthrough | Self::PassthroughUpload => matches!(peer, Peer::Sluice | Peer::Haproxy),
            Self::Drain => peer.drain_signal().is_some(),
            _ => true,
        }
    }

    /// Starts `peer`, measures once, and ends it.
    pub(crate) async fn measure(self, peer: Peer, bench: &Bench) -> Result<Figures> {
        match self {
            Self::Http1
            | Self::Http1Rate
            | Self::Log
            | Self::TlsHttp1
            | Self::TlsH2
            | Self::Handshake
            | Self::Bulk
            | Self::Passthrough
            | Self::PassthroughUpload
            | Self::Hosts5000
            | Self::Paths5000 => throughput::measure(self, peer, bench).await,
            Self::IdlePlain => idle::measure(peer, false, bench).await,
            Self::IdleTls => idle::measure(peer, true, bench).await,
            Self::MemoryRoutes => memory::measure(peer, bench).await,
            Self::ChangeOneOf5000 => change::measure(bench).await,
            Self::ReloadStorm => storm::measure(bench).await,
            Self::Drain => drain::measure(peer, bench).await,
            Self::Detection => detection::measure(bench).await,
            Self::Ejection => ejection::measure(bench).await,
            Self::Certificates10000 => certificates::measure(bench).await,
            Self::Overload => overload::measure(bench).await,
        }
    }
}
