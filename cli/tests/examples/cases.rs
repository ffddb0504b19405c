//! The form of `requests.yaml`.

use crate::support::LOOPBACK;
use http::Uri;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;

/// A whole file.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Cases {
    #[serde(rename = "apiVersion")]
    _api_version: String,
    #[serde(rename = "kind")]
    _kind: String,
    /// Who vouches for the gateway's certificates, below the example's folder.
    #[serde(default)]
    pub(crate) authority: Option<String>,
    /// Backends: `ADDRESS:PORT=NAME[,tls=FOLDER|,tcp|,udp]`.
    pub(crate) echo: Vec<String>,
    /// Further arguments of the gateway.
    #[serde(default)]
    pub(crate) run: Vec<String>,
    /// A Redis server: `ADDRESS:PORT[,password=WORD]`.
    #[serde(default)]
    pub(crate) redis: Option<String>,
    pub(crate) requests: Vec<Case>,
}

/// One request, or several of a kind, and what must come back.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct Case {
    /// The sentence that it proves.
    pub(crate) name: String,
    /// Ends this backend of `echo` before the request.
    pub(crate) stop: Option<String>,
    /// Starts it again.
    pub(crate) start: Option<String>,
    /// URL of a GET, with the port of the manifest.
    pub(crate) get: Option<String>,
    /// URL with `method`.
    pub(crate) url: Option<String>,
    pub(crate) method: Option<String>,
    /// URL of a gRPC call that sends `messages`.
    pub(crate) grpc: Option<String>,
    /// URL of a WebSocket that sends `messages`, each after the answer to the one before.
    pub(crate) websocket: Option<String>,
    /// `tcp://`, `tls://` or `udp://` of a connection that sends `messages` as lines or datagrams, each after the answer
    /// to the one before.
    pub(crate) stream: Option<String>,
    pub(crate) messages: Vec<String>,
    /// URL of the forward proxy that the client asks, with the port of the manifest.
    pub(crate) proxy: Option<String>,
    /// By curl, which asks for an answer in a coding and unpacks it.
    pub(crate) compressed: bool,
    pub(crate) headers: BTreeMap<String, String>,
    /// Who vouches for the certificate that comes, instead of the file's `authority`.
    pub(crate) authority: Option<String>,
    /// The client's own certificate: tls.crt and tls.key of this folder below the example's.
    pub(crate) certificate: Option<String>,
    pub(crate) body: Option<String>,
    /// A body of that size.
    pub(crate) body_bytes: Option<usize>,
    /// One more header field of that size.
    pub(crate) header_bytes: Option<usize>,
    /// Where to connect; 127.0.0.1 by default.
    pub(crate) address: Option<IpAddr>,
    /// How often; once by default.
    pub(crate) repeat: Option<u32>,
    /// So many requests at one time.
    pub(crate) at_once: Option<u32>,
    /// What the client brings back from answer to answer.
    pub(crate) session: Option<Session>,
    pub(crate) expect: Expect,
}

/// A cookie or header by name.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Session {
    Cookie(String),
    Header(String),
}

/// What is expected; what is absent may be anything.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct Expect {
    pub(crate) status: Option<u16>,
    /// Of requests at one time: how many got each status.
    pub(crate) statuses: BTreeMap<u16, u32>,
    /// No answer comes.
    pub(crate) refused: bool,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) no_headers: Vec<String>,
    /// Fields of the JSON answer.
    pub(crate) json: Map<String, Value>,
    /// Header fields that reached the backend; several of one name are joined by a comma.
    pub(crate) sent: BTreeMap<String, String>,
    pub(crate) not_sent: Vec<String>,
    pub(crate) body: Option<String>,
    /// How many answers came from each backend.
    pub(crate) shares: Option<BTreeMap<String, u32>>,
    /// All answers came from one backend.
    pub(crate) one_backend: bool,
    /// Ask again until it is so, within a deadline.
    pub(crate) eventually: bool,
    pub(crate) grpc_status: Option<u32>,
    /// Messages that come back.
    pub(crate) messages: Vec<String>,
    pub(crate) backend: Option<String>,
}

impl Cases {
    pub(crate) fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap();
        serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }
}

impl Case {
    /// The URL, of whatever kind.
    pub(crate) fn uri(&self) -> Uri {
        let urls = [&self.get, &self.url, &self.grpc, &self.websocket, &self.stream];
        let url = urls.into_iter().flatten().next().expect("a case has get, url, grpc, websocket or stream");
        url.parse().unwrap()
    }

    pub(crate) fn is_tls(&self) -> bool {
        matches!(self.uri().scheme_str(), Some("https" | "tls"))
    }

    /// Address and port of the manifest.
    pub(crate) fn target(&self) -> (IpAddr, u16) {
        let proxy = self.proxy.as_ref().map(|it| it.parse().unwrap());
        let default = if proxy.is_none() && self.is_tls() { 443 } else { 80 };
        let uri: Uri = proxy.unwrap_or_else(|| self.uri());
        (self.address.unwrap_or(LOOPBACK), uri.port_u16().unwrap_or(default))
    }
}
