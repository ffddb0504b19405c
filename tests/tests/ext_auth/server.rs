//! An authoriser that speaks gRPC: tonic, and messages of its own by the field numbers of Envoy's API.

use sluice_tests::eventually;
use std::collections::HashMap;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::body::Body;
use tonic::codegen::{Service, http};
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct CheckRequest {
    #[prost(message, optional, tag = "1")]
    pub(crate) attributes: Option<Attributes>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Attributes {
    #[prost(message, optional, tag = "1")]
    pub(crate) source: Option<Peer>,
    #[prost(message, optional, tag = "2")]
    pub(crate) destination: Option<Peer>,
    #[prost(message, optional, tag = "4")]
    pub(crate) request: Option<Asked>,
    #[prost(map = "string, string", tag = "10")]
    pub(crate) context_extensions: HashMap<String, String>,
    #[prost(message, optional, tag = "12")]
    pub(crate) tls_session: Option<Text>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Peer {
    #[prost(message, optional, tag = "1")]
    pub(crate) address: Option<Address>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Address {
    #[prost(message, optional, tag = "1")]
    pub(crate) socket_address: Option<SocketAddress>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct SocketAddress {
    #[prost(int32, tag = "1")]
    pub(crate) protocol: i32,
    #[prost(string, tag = "2")]
    pub(crate) address: String,
    #[prost(uint32, tag = "3")]
    pub(crate) port_value: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Text {
    #[prost(string, tag = "1")]
    pub(crate) text: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Asked {
    #[prost(message, optional, tag = "2")]
    pub(crate) http: Option<Http>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Http {
    #[prost(string, tag = "1")]
    pub(crate) id: String,
    #[prost(string, tag = "2")]
    pub(crate) method: String,
    #[prost(map = "string, string", tag = "3")]
    pub(crate) headers: HashMap<String, String>,
    #[prost(string, tag = "4")]
    pub(crate) path: String,
    #[prost(string, tag = "5")]
    pub(crate) host: String,
    #[prost(string, tag = "6")]
    pub(crate) scheme: String,
    #[prost(int64, tag = "9")]
    pub(crate) size: i64,
    #[prost(string, tag = "10")]
    pub(crate) protocol: String,
    #[prost(string, tag = "11")]
    pub(crate) body: String,
    #[prost(bytes, tag = "12")]
    pub(crate) raw_body: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct CheckResponse {
    #[prost(message, optional, tag = "1")]
    pub(crate) status: Option<RpcStatus>,
    #[prost(message, optional, tag = "2")]
    pub(crate) denied: Option<Denied>,
    #[prost(message, optional, tag = "3")]
    pub(crate) ok: Option<Ok>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct RpcStatus {
    #[prost(int32, tag = "1")]
    pub(crate) code: i32,
    #[prost(string, tag = "2")]
    pub(crate) message: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Denied {
    #[prost(message, optional, tag = "1")]
    pub(crate) status: Option<HttpStatus>,
    #[prost(message, repeated, tag = "2")]
    pub(crate) headers: Vec<HeaderOption>,
    #[prost(string, tag = "3")]
    pub(crate) body: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct HttpStatus {
    #[prost(int32, tag = "1")]
    pub(crate) code: i32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Ok {
    #[prost(message, repeated, tag = "2")]
    pub(crate) headers: Vec<HeaderOption>,
    #[prost(string, repeated, tag = "5")]
    pub(crate) headers_to_remove: Vec<String>,
    #[prost(message, repeated, tag = "6")]
    pub(crate) response_headers_to_add: Vec<HeaderOption>,
    #[prost(message, repeated, tag = "7")]
    pub(crate) query_parameters_to_set: Vec<Parameter>,
    #[prost(string, repeated, tag = "8")]
    pub(crate) query_parameters_to_remove: Vec<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Parameter {
    #[prost(string, tag = "1")]
    pub(crate) key: String,
    #[prost(string, tag = "2")]
    pub(crate) value: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct HeaderOption {
    #[prost(message, optional, tag = "1")]
    pub(crate) header: Option<Header>,
    #[prost(message, optional, tag = "2")]
    pub(crate) append: Option<Flag>,
    #[prost(int32, tag = "3")]
    pub(crate) append_action: i32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Header {
    #[prost(string, tag = "1")]
    pub(crate) key: String,
    #[prost(string, tag = "2")]
    pub(crate) value: String,
    #[prost(bytes, tag = "3")]
    pub(crate) raw_value: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Flag {
    #[prost(bool, tag = "1")]
    pub(crate) value: bool,
}

/// A field that replaces what is there.
pub(crate) fn set(key: &str, value: &str) -> HeaderOption {
    let header = Header { key: key.to_owned(), value: value.to_owned(), raw_value: Vec::new() };
    HeaderOption { header: Some(header), ..HeaderOption::default() }
}

/// A field beside those that are there.
pub(crate) fn append(key: &str, value: &str) -> HeaderOption {
    HeaderOption { append: Some(Flag { value: true }), ..set(key, value) }
}

/// Lets a request go on with these changes.
pub(crate) fn ok(changes: Ok) -> CheckResponse {
    CheckResponse { status: Some(RpcStatus::default()), ok: Some(changes), denied: None }
}

/// Denies it.
pub(crate) fn denied(code: i32, status: i32, headers: Vec<HeaderOption>, body: &str) -> CheckResponse {
    CheckResponse {
        status: Some(RpcStatus { code, message: "no".to_owned() }),
        denied: Some(Denied { status: Some(HttpStatus { code: status }), headers, body: body.to_owned() }),
        ok: None,
    }
}

type Answer = Result<CheckResponse, Status>;
type Script = dyn Fn(&Http) -> Pin<Box<dyn Future<Output = Answer> + Send>> + Send + Sync;

/// A running server. It stops when dropped.
pub(crate) struct Authorizer {
    pub(crate) address: SocketAddr,
    pub(crate) asked: Arc<Mutex<Vec<CheckRequest>>>,
    _stop: DropGuard,
}

impl Authorizer {
    /// Answers as the script says.
    pub(crate) async fn scripted(script: impl Fn(&Http) -> Answer + Send + Sync + 'static) -> Self {
        Self::slow(move |http| {
            let answer = script(http);
            Box::pin(async move { answer })
        })
        .await
    }

    /// The same, when it is ready.
    pub(crate) async fn slow(
        script: impl Fn(&Http) -> Pin<Box<dyn Future<Output = Answer> + Send>> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::default();
        let server = Server { script: Arc::new(script), asked: Arc::clone(&asked) };
        let stop = CancellationToken::new();
        let stopped = stop.clone().cancelled_owned();
        let served = tonic::transport::Server::builder()
            .add_service(server)
            .serve_with_incoming_shutdown(TcpListenerStream::new(listener), stopped);
        tokio::spawn(served);
        Self { address, asked, _stop: stop.drop_guard() }
    }

    /// What it was told last.
    pub(crate) fn latest(&self) -> Attributes {
        self.asked.lock().unwrap().last().cloned().unwrap().attributes.unwrap()
    }

    /// The request of it.
    pub(crate) fn latest_http(&self) -> Http {
        self.latest().request.unwrap().http.unwrap()
    }

    /// Waits until it was asked so often.
    pub(crate) async fn wait_asked(&self, times: usize) {
        eventually("a question", || async { self.asked.lock().unwrap().len() >= times }).await;
    }
}

#[derive(Clone)]
struct Server {
    script: Arc<Script>,
    asked: Arc<Mutex<Vec<CheckRequest>>>,
}

impl NamedService for Server {
    const NAME: &'static str = "envoy.service.auth.v3.Authorization";
}

impl Service<http::Request<Body>> for Server {
    type Response = http::Response<Body>;
    type Error = std::convert::Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Result::Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        assert_eq!(request.uri().path(), "/envoy.service.auth.v3.Authorization/Check");
        let method = Method(self.clone());
        Box::pin(async move { Result::Ok(Grpc::new(ProstCodec::default()).unary(method, request).await) })
    }
}

struct Method(Server);

impl UnaryService<CheckRequest> for Method {
    type Response = CheckResponse;
    type Future = Pin<Box<dyn Future<Output = Result<Response<CheckResponse>, Status>> + Send>>;

    fn call(&mut self, request: Request<CheckRequest>) -> Self::Future {
        let request = request.into_inner();
        let http = request.attributes.clone().unwrap().request.unwrap().http.unwrap();
        self.0.asked.lock().unwrap().push(request);
        let answer = (self.0.script)(&http);
        Box::pin(async move { answer.await.map(Response::new) })
    }
}
