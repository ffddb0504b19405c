//! The shape of `traffic.yaml`.

use crate::client::Ask;
use crate::pki::Wish;
use crate::tls_backend::TlsBackendOptions;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// The file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Traffic {
    /// Services whose endpoints only record.
    #[serde(default)]
    pub recorders: Vec<String>,
    /// Services whose endpoints speak TLS in front of an echo.
    #[serde(default)]
    pub tls: BTreeMap<String, TlsBackendOptions>,
    /// In order.
    pub steps: Vec<Step>,
    /// How many requests each recorder got in the end.
    #[serde(default)]
    pub recorded: BTreeMap<String, usize>,
}

/// One request, or a change.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// What is sent.
    pub request: Option<Request>,
    /// What must come of it.
    #[serde(default)]
    pub expect: Expect,
    /// How often it is sent.
    #[serde(default = "once")]
    pub times: usize,
    /// Who answers how many of them.
    #[serde(default)]
    pub share: Share,
    /// A step of the fixture, by its path, that takes place before the request.
    pub apply: Option<String>,
}

/// Counts by name of the backend, or by status where no backend answered.
pub type Share = BTreeMap<String, usize>;

fn once() -> usize {
    1
}

/// What is sent.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    #[serde(default = "get")]
    method: String,
    url: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    body: String,
    /// 1 or 2.
    #[serde(default = "http1")]
    pub http: u8,
    /// Server name of the TLS handshake; the URL's host when absent.
    pub sni: Option<String>,
    /// The client's own certificate.
    pub certificate: Option<Wish>,
    /// The Gateway's address of `spec.addresses`.
    pub to: Option<IpAddr>,
}

fn get() -> String {
    "GET".to_owned()
}

fn http1() -> u8 {
    1
}

impl Request {
    /// The request.
    pub fn ask(&self) -> Ask {
        let mut ask = Ask::new(&self.method, &self.url).body(self.body.clone());
        for (name, value) in &self.headers {
            ask = ask.header(name, value);
        }
        ask
    }
}

/// What must come of a request. What is left out may be anything.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    /// Status; without it and without `share` it must be 200.
    pub status: Option<u16>,
    /// Who answered; null: the gateway itself.
    #[serde(default, deserialize_with = "given")]
    pub backend: Option<Option<String>>,
    /// Path that the backend saw.
    pub path: Option<String>,
    /// Query that the backend saw.
    pub query: Option<String>,
    /// Host that the backend saw.
    pub host: Option<String>,
    /// Method that the backend saw.
    pub method: Option<String>,
    /// Body that the backend saw.
    pub body: Option<String>,
    /// `HTTP/1.1` or `HTTP/2`, as the backend was spoken to.
    pub protocol: Option<String>,
    /// Fields of the answer.
    #[serde(default)]
    pub headers: BTreeMap<String, Wanted>,
    /// Fields of the request that the backend saw.
    #[serde(default)]
    pub backend_headers: BTreeMap<String, Wanted>,
    /// A part of the answer's body.
    pub body_contains: Option<String>,
    /// `grpc-status` of head or trailers.
    pub grpc_status: Option<u16>,
    /// A DNS name that the server's certificate carries.
    pub certificate: Option<String>,
    /// What the TLS backend that answered saw.
    pub handshake: Option<ExpectHandshake>,
    /// The connection ends without an answer.
    #[serde(default)]
    pub refused: bool,
}

/// What a TLS backend saw of the gateway's handshake.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExpectHandshake {
    /// SNI.
    pub server_name: Option<String>,
    /// A DNS name that the gateway's certificate carries; null: it showed none.
    pub certificate: Option<String>,
}

/// `null`: absent; `*`: present; else exactly this (several fields are joined by `, `).
pub type Wanted = Option<String>;

fn given<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<Option<String>>, D::Error> {
    Option::<String>::deserialize(from).map(Some)
}

#[cfg(test)]
mod tests {
    use super::Traffic;

    #[test]
    fn an_absent_backend_and_a_null_one_differ() {
        let traffic: Traffic = serde_saphyr::from_str(
            "steps:\n- request: {url: 'http://a/'}\n  expect: {backend: null, headers: {a: null, b: c}}\n- request: {url: 'http://a/'}\n",
        )
        .unwrap();
        assert_eq!(traffic.steps[0].expect.backend, Some(None));
        assert_eq!(traffic.steps[0].expect.headers["a"], None);
        assert_eq!(traffic.steps[1].expect.backend, None);
    }
}
