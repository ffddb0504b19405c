//! gRPC through a GRPCRoute, by tonic: all four shapes, metadata, statuses, trailers.

use futures::stream;
use sluice::echo::grpc::{EchoRequest, EchoResponse};
use sluice_tests::client::frames::{Frames, block, flag, kind};
use sluice_tests::{Stand, manifests, soon};
use std::time::Duration;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_prost::ProstCodec;

const ROUTE: &str = "
---
apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
metadata: {name: echo}
spec:
  parentRefs: [{name: web}]
  rules:
  - matches: [{method: {service: sluice.echo.v1.Echo}}, {method: {service: grpc.health.v1.Health}}]
    backendRefs: [{group: networking.istio.io, kind: Hostname, name: echo.test, port: 80}]
  - matches: [{method: {service: no.Endpoints}}]
    backendRefs: [{name: empty, port: 80}]
  - matches: [{method: {service: no.Backend}}]
    backendRefs: [{name: missing, port: 80}]
---
apiVersion: v1
kind: Service
metadata: {name: empty}
spec:
  ports: [{name: grpc, port: 80}]
";

struct Client {
    stand: Stand,
    channel: Channel,
}

impl Client {
    async fn start() -> Self {
        let stand =
            Stand::start(&[manifests::GATEWAY, &manifests::backend("echo.test", 80, "GRPC"), ROUTE].concat())
                .await;
        let endpoint = Endpoint::from_shared(format!("http://{}", stand.address(80))).unwrap();
        let channel = soon("connect", endpoint.connect()).await.unwrap();
        Self { stand, channel }
    }

    async fn grpc(&self) -> Grpc<Channel> {
        let mut grpc = Grpc::new(self.channel.clone());
        soon("a ready channel", grpc.ready()).await.unwrap();
        grpc
    }

    async fn unary(
        &self,
        path: &'static str,
        request: Request<EchoRequest>,
    ) -> Result<tonic::Response<EchoResponse>, Status> {
        let codec = ProstCodec::<EchoRequest, EchoResponse>::default();
        soon(path, self.grpc().await.unary(request, PathAndQuery::from_static(path), codec)).await
    }
}

fn message(text: &str) -> EchoRequest {
    EchoRequest { message: text.to_owned(), ..EchoRequest::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_health_of_the_backend_is_seen() {
    let client = Client::start().await;
    let mut health = HealthClient::new(client.channel.clone());
    let check = health.check(HealthCheckRequest { service: "sluice.echo.v1.Echo".to_owned() });
    assert_eq!(soon("check", check).await.unwrap().into_inner().status(), ServingStatus::Serving);
    let unknown = soon("check", health.check(HealthCheckRequest { service: "other".to_owned() })).await;
    assert_eq!(unknown.unwrap_err().code(), Code::NotFound);
    // The first answer of a watch comes although the stream stays open.
    let mut watch = soon("watch", health.watch(HealthCheckRequest { service: String::new() }))
        .await
        .unwrap()
        .into_inner();
    let first = soon("the first state", watch.message()).await.unwrap().unwrap();
    assert_eq!(first.status(), ServingStatus::Serving);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_unary_call_carries_metadata_both_ways() {
    let client = Client::start().await;
    let mut request = Request::new(message("hello"));
    request.metadata_mut().insert("x-mine", "value".parse().unwrap());
    request.metadata_mut().insert_bin("x-mine-bin", MetadataValue::from_bytes(&[0, 1, 255]));
    request.metadata_mut().insert("x-echo-set-header", "x-yours: back".parse().unwrap());
    let answer = client.unary("/sluice.echo.v1.Echo/Unary", request).await.unwrap();
    assert_eq!(answer.metadata().get("x-yours").unwrap(), "back");
    let answer = answer.into_inner();
    assert_eq!((answer.message.as_str(), answer.backend.as_str()), ("hello", "echo.test:80"));
    let value =
        |name: &str| answer.metadata.iter().find(|field| field.name == name).map(|field| field.value.clone());
    assert_eq!(value("x-mine").as_deref(), Some("value"));
    assert_eq!(value("x-mine-bin").as_deref(), Some("AAH/"));
    assert_eq!(value("te").as_deref(), Some("trailers"));
    assert_eq!(value("x-forwarded-for").as_deref(), Some("127.0.0.1"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_pass_in_every_shape() {
    let client = Client::start().await;
    let codec = ProstCodec::<EchoRequest, EchoResponse>::default;
    let repeated = EchoRequest { repeat: 100, ..message("again") };
    let path = PathAndQuery::from_static("/sluice.echo.v1.Echo/ServerStream");
    let answers = client.grpc().await.server_streaming(Request::new(repeated), path, codec()).await.unwrap();
    let mut answers = answers.into_inner();
    for index in 0..100 {
        let answer = soon("an answer", answers.message()).await.unwrap().unwrap();
        assert_eq!((answer.index, answer.message.as_str()), (index, "again"));
    }
    assert_eq!(soon("the end", answers.message()).await.unwrap(), None);

    let path = PathAndQuery::from_static("/sluice.echo.v1.Echo/ClientStream");
    let many = stream::iter((0..100).map(|number| message(&number.to_string())));
    let answer = client.grpc().await.client_streaming(Request::new(many), path, codec()).await.unwrap();
    assert_eq!(answer.into_inner().message.split(',').count(), 100);
}

/// A conversation: the next message is sent only after the answer to the one before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_conversation_is_not_buffered() {
    let client = Client::start().await;
    let (sender, receiver) = tokio::sync::mpsc::channel(1);
    let messages = tokio_stream::wrappers::ReceiverStream::new(receiver);
    sender.send(message("0")).await.unwrap();
    let path = PathAndQuery::from_static("/sluice.echo.v1.Echo/BidiStream");
    let codec = ProstCodec::<EchoRequest, EchoResponse>::default();
    let mut grpc = client.grpc().await;
    let answers = soon("the head", grpc.streaming(Request::new(messages), path, codec)).await.unwrap();
    let mut answers = answers.into_inner();
    for number in 0..20 {
        let answer = soon("an answer", answers.message()).await.unwrap().unwrap();
        assert_eq!(answer.message, number.to_string());
        sender.send(message(&(number + 1).to_string())).await.unwrap();
    }
    drop(sender);
    assert_eq!(soon("the last answer", answers.message()).await.unwrap().unwrap().message, "20");
    assert_eq!(soon("the end", answers.message()).await.unwrap(), None);
}

/// Statuses of the backend pass unchanged, also in trailers without a message; ours follow GEP-1016.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn statuses_are_those_of_the_backend_or_say_what_is_wrong_here() {
    let client = Client::start().await;
    for code in [Code::NotFound, Code::PermissionDenied, Code::Unauthenticated, Code::DataLoss] {
        let mut request = Request::new(message("x"));
        request.metadata_mut().insert("x-echo-grpc-status", (code as i32).into());
        let status = client.unary("/sluice.echo.v1.Echo/Unary", request).await.unwrap_err();
        assert_eq!((status.code(), status.message()), (code, "asked for by x-echo-grpc-status"));
    }
    for (path, code) in [
        ("/sluice.echo.v1.Echo/NoSuchMethod", Code::Unimplemented),
        ("/no.such.Service/Method", Code::Unimplemented),
        ("/no.Endpoints/Method", Code::Unavailable),
        ("/no.Backend/Method", Code::Unavailable),
    ] {
        let status = client.unary(path, Request::new(message("x"))).await.unwrap_err();
        assert_eq!(status.code(), code, "{path}: {status:?}");
    }
}

/// A deadline ends the call at the client, and the gateway goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deadline_ends_a_call_and_nothing_else() {
    let client = Client::start().await;
    let slow = EchoRequest { repeat: 2, interval_ms: 60_000, ..message("slow") };
    let mut request = Request::new(slow);
    request.set_timeout(Duration::from_millis(200));
    let path = PathAndQuery::from_static("/sluice.echo.v1.Echo/ServerStream");
    let codec = ProstCodec::<EchoRequest, EchoResponse>::default();
    let mut grpc = client.grpc().await;
    let outcome = soon("the deadline", async {
        let mut answers = grpc.server_streaming(request, path, codec).await?.into_inner();
        while answers.message().await?.is_some() {}
        Ok::<_, Status>(())
    });
    let first = tokio::time::timeout(Duration::from_millis(600), outcome).await;
    // tonic bounds only the head by its deadline: an answer that has begun goes on until we drop it.
    assert!(first.is_err() || first.is_ok_and(|outcome| outcome.is_err()));
    let answer = client.unary("/sluice.echo.v1.Echo/Unary", Request::new(message("after"))).await.unwrap();
    assert_eq!(answer.into_inner().message, "after");
}

/// gRPC over HTTP/2, Responses: Trailers-Only is one header block that ends the stream. grpc-go takes an empty DATA
/// frame after it for an answer without trailers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_status_of_ours_is_one_header_block() {
    let client = Client::start().await;
    let mut frames = Frames::connect(client.stand.address(80), &[]).await;
    let fields: [(&str, &[u8]); 6] = [
        (":method", b"POST"),
        (":scheme", b"http"),
        (":path", b"/no.Route/Call"),
        (":authority", b"echo.test"),
        ("content-type", b"application/grpc"),
        ("te", b"trailers"),
    ];
    frames.headers(1, &block(&fields), true).await.unwrap();
    let answer = frames.outcome(1).await.unwrap();
    assert_eq!(answer.kind, kind::HEADERS);
    assert_ne!(answer.flags & flag::END_STREAM, 0, "{answer:?}");
}
