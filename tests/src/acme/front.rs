//! Stands before Pebble as its only door. It counts, adds what Debian's version lacks (renewal information, profiles),
//! and makes single requests fail: refused by a limit, or swallowed after Pebble has acted on them.

use crate::pki::{Pki, Wish};
use crate::places::loopback;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, ServerConfig, crypto};
use rustls_pki_types::ServerName;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio_rustls::{TlsAcceptor, TlsConnector};

const PORT: u16 = 14_001;

/// Pebble's path of new orders.
const NEW_ORDER: &str = "/order-plz";

/// What happens to the next new order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Orders {
    /// Pebble gets it and answers.
    #[default]
    Pass,
    /// Refused as `rateLimited`, with a time to come back.
    Limited(Duration),
    /// Pebble gets it; the answer never arrives.
    Swallowed,
}

/// The door.
pub struct Front {
    address: SocketAddr,
    rules: Arc<Rules>,
}

#[derive(Default)]
struct Rules {
    /// What Pebble is reached at.
    pebble: Mutex<Option<SocketAddr>>,
    orders: Mutex<Orders>,
    window: Mutex<Option<(String, String)>>,
    profiles: Mutex<Vec<String>>,
    identities: Mutex<Vec<String>>,
    /// Payloads of new orders, as they came.
    asked: Mutex<Vec<Value>>,
    swallowed: Notify,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Front {
    /// Opens the door.
    pub async fn start(pebble: SocketAddr) -> Self {
        let address = SocketAddr::new(loopback(), PORT);
        let rules = Arc::new(Rules { pebble: Mutex::new(Some(pebble)), ..Rules::default() });
        let wish =
            Wish { signed_by: "first".to_owned(), names: vec![address.ip().to_string()], uris: Vec::new() };
        let (chain, key) = wish.issue();
        let config = ServerConfig::builder_with_provider(Arc::new(crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("protocol versions")
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .expect("a certificate with its key");
        let listener = TcpListener::bind(address).await.expect("a free port");
        tokio::spawn(serve(listener, TlsAcceptor::from(Arc::new(config)), rules.clone()));
        Self { address, rules }
    }

    /// URL of the directory.
    pub fn directory(&self) -> String {
        format!("https://{}/dir", self.address)
    }

    /// What happens to new orders from now on; [`Orders::Limited`] and [`Orders::Swallowed`] happen once.
    pub fn orders(&self, orders: Orders) {
        *lock(&self.rules.orders) = orders;
    }

    /// Suggests this window (RFC 3339) for every certificate.
    pub fn window(&self, start: &str, end: &str) {
        *lock(&self.rules.window) = Some((start.to_owned(), end.to_owned()));
    }

    /// Offers these profiles.
    pub fn profiles(&self, names: &[&str]) {
        *lock(&self.rules.profiles) = names.iter().map(|it| (*it).to_owned()).collect();
    }

    /// Says that CAA records name it so.
    pub fn caa_identities(&self, names: &[&str]) {
        *lock(&self.rules.identities) = names.iter().map(|it| (*it).to_owned()).collect();
    }

    /// Payloads of the new orders that came.
    pub fn asked(&self) -> Vec<Value> {
        lock(&self.rules.asked).clone()
    }

    /// Leads to another Pebble from now on, as when one was restarted: it has forgotten everything.
    pub fn lead_to(&self, pebble: SocketAddr) {
        *lock(&self.rules.pebble) = Some(pebble);
    }

    /// Until an order was swallowed.
    pub async fn swallowed(&self) {
        self.rules.swallowed.notified().await;
    }
}

async fn serve(listener: TcpListener, acceptor: TlsAcceptor, rules: Arc<Rules>) {
    while let Ok((stream, _)) = listener.accept().await {
        let (acceptor, rules) = (acceptor.clone(), rules.clone());
        tokio::spawn(async move {
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let service = service_fn(move |request| {
                let rules = rules.clone();
                async move { Ok::<_, Infallible>(answer(&rules, request).await.map(Full::new)) }
            });
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn answer(rules: &Rules, request: Request<Incoming>) -> Response<Bytes> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map(|it| it.to_bytes()).unwrap_or_default();
    let (method, path) = (parts.method.clone(), parts.uri.path().to_owned());
    let host =
        parts.headers.get(http::header::HOST).and_then(|it| it.to_str().ok()).unwrap_or_default().to_owned();
    if path.starts_with("/renewal-info/") {
        return window(rules);
    }
    let is_order = method == Method::POST && path == NEW_ORDER;
    let payload = if is_order { payload(&body) } else { Value::Null };
    if is_order {
        lock(&rules.asked).push(payload.clone());
        let rule = std::mem::take(&mut *lock(&rules.orders));
        match rule {
            Orders::Pass => {}
            Orders::Limited(pause) => return limited(pause),
            Orders::Swallowed => {
                forward(rules, Request::from_parts(parts, Full::new(body))).await;
                rules.swallowed.notify_one();
                return std::future::pending().await;
            }
        }
    }
    let answer = forward(rules, Request::from_parts(parts, Full::new(body))).await;
    if path == "/dir" {
        return changed(answer, |directory| extend(rules, directory, &host));
    }
    match payload.get("replaces") {
        Some(replaced) => changed(answer, |order| order["replaces"] = replaced.clone()),
        None => answer,
    }
}

/// The payload of a signed request, without looking at its signature.
fn payload(body: &[u8]) -> Value {
    let signed: Value = serde_json::from_slice(body).expect("a signed request");
    let payload = URL_SAFE_NO_PAD.decode(signed["payload"].as_str().unwrap_or_default()).expect("base64url");
    serde_json::from_slice(&payload).unwrap_or(Value::Null)
}

fn limited(pause: Duration) -> Response<Bytes> {
    let problem = json!({
        "type": "urn:ietf:params:acme:error:rateLimited", "detail": "too many orders of this test", "status": 429,
    });
    let answer = Response::builder()
        .status(StatusCode::TOO_MANY_REQUESTS)
        .header(RETRY_AFTER, pause.as_secs())
        .header(CONTENT_TYPE, "application/problem+json");
    answer.body(Bytes::from(problem.to_string())).expect("a response")
}

fn window(rules: &Rules) -> Response<Bytes> {
    let Some((start, end)) = lock(&rules.window).clone() else {
        return Response::builder()
            .status(StatusCode::NOT_FOUND)
            .body(Bytes::from("{}"))
            .expect("a response");
    };
    let body = json!({ "suggestedWindow": { "start": start, "end": end } }).to_string();
    Response::builder().header(RETRY_AFTER, 3600).body(Bytes::from(body)).expect("a response")
}

fn extend(rules: &Rules, directory: &mut Value, host: &str) {
    if lock(&rules.window).is_some() {
        directory["renewalInfo"] = json!(format!("https://{host}/renewal-info"));
    }
    let identities = lock(&rules.identities).clone();
    directory["meta"]["caaIdentities"] = json!(identities);
    for profile in lock(&rules.profiles).iter() {
        directory["meta"]["profiles"][profile] = json!("a profile of this test");
    }
}

/// The answer with its JSON changed; one of an error stays.
fn changed(answer: Response<Bytes>, change: impl FnOnce(&mut Value)) -> Response<Bytes> {
    if !answer.status().is_success() {
        return answer;
    }
    let (mut parts, body) = answer.into_parts();
    let mut value: Value = serde_json::from_slice(&body).expect("JSON");
    change(&mut value);
    let text = value.to_string();
    parts.headers.insert(CONTENT_LENGTH, HeaderValue::from(text.len()));
    Response::from_parts(parts, Bytes::from(text))
}

/// Sends a request on as it came, also its Host: Pebble's URLs then lead through this door.
async fn forward(rules: &Rules, request: Request<Full<Bytes>>) -> Response<Bytes> {
    let pebble = lock(&rules.pebble).expect("where Pebble is");
    let config = ClientConfig::builder_with_provider(Arc::new(crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("protocol versions")
        .with_root_certificates(Pki::named("first").roots())
        .with_no_client_auth();
    let stream = TcpStream::connect(pebble).await.expect("Pebble answers");
    let name = ServerName::from(pebble.ip());
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.expect("Pebble speaks TLS");
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.expect("Pebble speaks HTTP");
    tokio::spawn(connection);
    let (parts, body) = sender.send_request(request).await.expect("Pebble answers").into_parts();
    let body = body.collect().await.expect("a whole answer").to_bytes();
    Response::from_parts(parts, body)
}
