//! What the injector took out of the pod's probes and hooks: one JSON object, from the path that is asked for here to
//! what is to be asked of the workload. The words are those of a pod; ports are numbers.

use serde::Deserialize;
use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;

/// By path.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Probes(BTreeMap<String, Probe>);

/// One question.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Probe {
    /// What is asked.
    #[serde(flatten)]
    pub kind: ProbeKind,
    /// Time for the answer, seconds; 0 is 1, as the kubelet has it.
    #[serde(default)]
    pub timeout_seconds: u32,
}

/// How the workload is asked.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ProbeKind {
    /// A request: a status from 200 to 399 is well.
    #[serde(rename_all = "camelCase")]
    HttpGet {
        /// Path and query; `/` where it is missing.
        #[serde(default)]
        path: String,
        /// The port.
        port: u16,
        /// `HTTP` (default) or `HTTPS`, whose certificate is not verified.
        #[serde(default)]
        scheme: Scheme,
        /// Name for the header field Host.
        #[serde(default)]
        host: String,
        /// Further header fields.
        #[serde(default)]
        http_headers: Vec<Header>,
    },
    /// A connection is well.
    TcpSocket {
        /// The port.
        port: u16,
    },
    /// The gRPC health service says SERVING.
    Grpc {
        /// The port.
        port: u16,
        /// The service; empty: the server as a whole.
        #[serde(default)]
        service: Option<String>,
    },
}

/// How an HTTP probe connects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Scheme {
    /// In the clear.
    #[default]
    Http,
    /// TLS.
    Https,
}

/// A header field of a probe.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Header {
    /// Its name.
    pub name: String,
    /// Its value.
    #[serde(default)]
    pub value: String,
}

impl Probes {
    /// What is to be asked when somebody asks for a path.
    pub fn get(&self, path: &str) -> Option<&Probe> {
        self.0.get(path)
    }
}

impl FromStr for Probes {
    type Err = String;

    /// Empty text is none.
    fn from_str(text: &str) -> Result<Self, String> {
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        let mut deserializer = serde_json::Deserializer::from_str(text);
        serde_path_to_error::deserialize(&mut deserializer).map_err(|error| error.to_string())
    }
}

impl Probe {
    /// Time for the answer.
    pub fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout_seconds.max(1).into())
    }
}

#[cfg(test)]
mod tests {
    use super::{ProbeKind, Probes, Scheme};
    use std::time::Duration;

    #[test]
    fn probes_are_read_in_the_words_of_a_pod() {
        let probes: Probes = r#"{
            "/app-health/web/livez": {"httpGet": {"path": "/live", "port": 8080, "scheme": "HTTPS",
                "httpHeaders": [{"name": "X", "value": "y"}]}, "timeoutSeconds": 3},
            "/app-health/web/readyz": {"tcpSocket": {"port": 8081}},
            "/app-health/api/startupz": {"grpc": {"port": 9000, "service": "health"}, "timeoutSeconds": 1},
            "/app-lifecycle/web/prestopz": {"httpGet": {"port": 80}, "timeoutSeconds": 30}
        }"#
        .parse()
        .unwrap();
        let live = probes.get("/app-health/web/livez").unwrap();
        assert_eq!(live.timeout(), Duration::from_secs(3));
        let ProbeKind::HttpGet { path, port: 8080, scheme: Scheme::Https, http_headers, .. } = &live.kind
        else {
            panic!("{live:?}")
        };
        assert_eq!((path.as_str(), http_headers.len()), ("/live", 1));
        let ready = probes.get("/app-health/web/readyz").unwrap();
        assert_eq!(ready.timeout(), Duration::from_secs(1));
        assert_eq!(ready.kind, ProbeKind::TcpSocket { port: 8081 });
        assert!(probes.get("/app-health/web").is_none());
        assert_eq!("".parse(), Ok(Probes::default()));
        let error = r#"{"/a": {"httpGet": {"port": "http"}}}"#.parse::<Probes>().unwrap_err();
        assert!(error.contains("/a"), "{error}");
    }
}
