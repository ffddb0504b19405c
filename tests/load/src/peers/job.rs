//! What a proxy has to do in a scenario, in words that every peer's configuration can say.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use anyhow::{Context, Result};
use bytes::Bytes;
use rustls::pki_types::ServerName;

use crate::certificate::{self, Certificate};
use crate::generator::Target;

/// The one host of `Routes::One` and `Routes::Paths`; also the TLS server name.
pub(crate) const HOST: &str = "one.load.test";

/// Which requests are routed; all of them go to the same backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Routes {
    /// One host, everything below `/`.
    One,
    /// So many hosts, everything below `/`.
    Hosts(u32),
    /// One host, so many path prefixes.
    Paths(u32),
}

impl Routes {
    /// Host and path prefix of each route.
    pub(crate) fn entries(self) -> Vec<(String, String)> {
        match self {
            Self::One => vec![(HOST.to_owned(), "/".to_owned())],
            Self::Hosts(count) => {
                (0..count).map(|n| (format!("h{n:05}.load.test"), "/".to_owned())).collect()
            }
            Self::Paths(count) => (0..count).map(|n| (HOST.to_owned(), format!("/p{n:05}/orders"))).collect(),
        }
    }

    /// A request for each route, far apart in their order so that no peer profits from neighbours.
    pub(crate) fn requests(self) -> Rc<[Bytes]> {
        let entries = self.entries();
        // 7,919 is prime: no table length shares a factor with it, so every route comes once.
        let order = (0..entries.len()).map(|n| n * 7_919 % entries.len());
        order.filter_map(|n| entries.get(n)).map(|(host, prefix)| request(host, prefix)).collect()
    }
}

/// A GET for something below `prefix`.
pub(crate) fn request(host: &str, prefix: &str) -> Bytes {
    let path = format!("{}/items", prefix.trim_end_matches('/'));
    format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nuser-agent: sluice-load\r\naccept: */*\r\n\r\n").into()
}

/// The job of one proxy.
pub(crate) struct Job {
    folder: tempfile::TempDir,
    /// Plain listener on loopback.
    pub(crate) port: u16,
    /// TLS listener on loopback and its certificate.
    pub(crate) tls: Option<(u16, Rc<Certificate>)>,
    /// Where every request goes.
    pub(crate) backend: SocketAddr,
    /// Further endpoints of the same backend; only Sluice is asked for that.
    pub(crate) others: Vec<SocketAddr>,
    /// Policies of the backend, as manifests; only Sluice is asked for that.
    pub(crate) policies: String,
    /// Body bytes of the backend's answers.
    pub(crate) body_bytes: u64,
    /// What is routed.
    pub(crate) routes: Routes,
    /// Write an access log in JSON.
    pub(crate) access_log: bool,
    /// Carry connections whole, by the server name of their ClientHello, which loads open with.
    pub(crate) passthrough: Option<Bytes>,
}

impl Job {
    /// A plain job with one route and no access log, in a new temporary folder.
    pub(crate) fn new(backend: SocketAddr, body_bytes: u64) -> Result<Self> {
        let folder =
            tempfile::Builder::new().prefix("sluice-load-").tempdir().context("no temporary folder")?;
        let (port, routes) = (free_port()?, Routes::One);
        let (tls, access_log, passthrough) = (None, false, None);
        let (others, policies) = (Vec::new(), String::new());
        Ok(Self { folder, port, tls, backend, others, policies, body_bytes, routes, access_log, passthrough })
    }

    /// The same job with a TLS listener too; loads go there.
    pub(crate) fn with_tls(mut self) -> Result<Self> {
        let certificate = certificate::generate(self.folder(), "load")?;
        self.tls = Some((free_port()?, Rc::new(certificate)));
        Ok(self)
    }

    /// The same job, with connections that are carried whole in the place of requests.
    pub(crate) fn with_passthrough(mut self) -> Result<Self> {
        let name = ServerName::try_from(HOST).context(HOST)?;
        self.passthrough = Some(certificate::client_hello(name)?);
        Ok(self)
    }

    /// Where configuration and logs go.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A file in the folder.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder().join(name)
    }

    /// Writes a file into the folder.
    pub(crate) fn write(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.file(name);
        std::fs::write(&path, text).with_context(|| path.display().to_string())?;
        Ok(path)
    }

    /// Where a load goes: the TLS listener when there is one.
    pub(crate) fn target(&self) -> Target {
        let tls = self.tls.as_ref().and_then(|(port, certificate)| {
            let config = certificate::client([&**certificate]).ok()?;
            Some((*port, config, ServerName::try_from(HOST).ok()?))
        });
        match tls {
            Some((port, config, name)) => Target::tls(local(port), config, name),
            None => Target { opening: self.passthrough.clone(), ..self.plain_target() },
        }
    }

    /// The plain listener, also when there is TLS.
    pub(crate) fn plain_target(&self) -> Target {
        Target::plain(local(self.port))
    }
}

/// An address on loopback.
pub(crate) fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// A TCP port of loopback that is free right now.
pub(crate) fn free_port() -> Result<u16> {
    let listener = std::net::TcpListener::bind(local(0)).context("no free port")?;
    Ok(listener.local_addr()?.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_is_requested_once() {
        let mut requests: Vec<Bytes> = Routes::Paths(5_000).requests().to_vec();
        requests.sort();
        requests.dedup();
        assert_eq!(requests.len(), 5_000);
    }

    #[test]
    fn neighbours_in_the_table_are_far_apart_in_the_load() {
        let requests = Routes::Hosts(5_000).requests();
        assert!(requests[0].starts_with(b"GET /items HTTP/1.1\r\nhost: h00000.load.test\r\n"));
        assert!(requests[1].starts_with(b"GET /items HTTP/1.1\r\nhost: h02919.load.test\r\n"));
    }
}
