//! A real Prometheus scrapes data planes of a mesh and answers the queries that Kiali draws its graph from
//! (graph/telemetry/istio of Kiali). Debian's package `prometheus`.

use super::mesh::{Wanted, application, get};
use serde_json::Value;
use sluice_proxy::admin::{self, AdminState, Readiness};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

/// What Kiali groups requests by.
const REQUESTS: &str = "source_cluster,source_workload_namespace,source_workload,source_canonical_service,\
source_canonical_revision,destination_cluster,destination_service_namespace,destination_service,\
destination_service_name,destination_workload_namespace,destination_workload,destination_canonical_service,\
destination_canonical_revision,request_protocol,response_code,grpc_response_status,response_flags";

/// The same of connections: they have neither code nor status, `app` comes from the scrape's own labels.
const CONNECTIONS: &str = "app,source_cluster,source_workload_namespace,source_workload,source_canonical_service,\
source_canonical_revision,destination_cluster,destination_service_namespace,destination_service,\
destination_service_name,destination_workload_namespace,destination_workload,destination_canonical_service,\
destination_canonical_revision,response_flags";

struct Prometheus {
    process: Child,
    address: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Prometheus {
    fn start(targets: &[SocketAddr]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let targets: Vec<_> = targets.iter().map(|it| format!("'{it}'")).collect();
        let config = format!(
            "global:\n  scrape_interval: 1s\n  scrape_timeout: 1s\nscrape_configs:\n- job_name: mesh\n  \
             metrics_path: /metrics\n  static_configs:\n  - targets: [{}]\n",
            targets.join(", ")
        );
        let file = folder.path().join("prometheus.yml");
        std::fs::write(&file, config).unwrap();
        let process = Command::new("prometheus")
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address={free}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("prometheus runs; it is Debian's package prometheus");
        Self { process, address: free, _folder: folder }
    }

    /// Series of a query; none while there is no answer.
    async fn query(&self, query: &str) -> Vec<Value> {
        let encoded: String = query.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let Ok(mut stream) = TcpStream::connect(self.address).await else { return Vec::new() };
        let request = format!("GET /api/v1/query?query={encoded} HTTP/1.0\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let Some((_, body)) = answer.split_once("\r\n\r\n") else { return Vec::new() };
        let body: Value = serde_json::from_str(body).unwrap_or(Value::Null);
        assert!(body["status"] != "error", "{query}: {body}");
        body["data"]["result"].as_array().cloned().unwrap_or_default()
    }

    /// Asks until there is an answer, while `call` keeps things moving.
    async fn answer(&self, query: &str, call: &dyn AsyncCall) -> Vec<Value> {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            call.call().await;
            let series = self.query(query).await;
            if !series.is_empty() {
                return series;
            }
            assert!(Instant::now() < deadline, "no answer to {query}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

#[tonic::async_trait]
trait AsyncCall: Sync {
    async fn call(&self);
}

/// Requests to each, and a connection to the last.
struct Calls(Vec<SocketAddr>, SocketAddr);

#[tonic::async_trait]
impl AsyncCall for Calls {
    async fn call(&self) {
        for address in &self.0 {
            get(*address, "/", "").await;
        }
        let mut stream = TcpStream::connect(self.1).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        let mut answer = [0; 64];
        let _ = stream.read(&mut answer).await.unwrap();
    }
}

/// Serves the metrics of a data plane as it does in a pod.
async fn scrape_target(plane: &super::mesh::DataPlane) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let metrics = plane.proxy.metrics().clone();
    let state = AdminState { readiness: Readiness::new("test"), metrics, pages: Vec::new() };
    tokio::spawn(admin::serve(listener, Arc::new(state), CancellationToken::new()));
    address
}

fn label<'a>(series: &'a Value, name: &str) -> &'a str {
    series["metric"][name].as_str().unwrap_or_default()
}

/// Whether a series has every label that it is grouped by. Prometheus leaves empty ones out: the status of gRPC where none
/// is, and `app`, which the scrape's own configuration adds.
fn has_all(series: &Value, groups: &str) {
    let named: BTreeSet<_> = series["metric"].as_object().unwrap().keys().map(String::as_str).collect();
    let wanted = groups.split(',').filter(|it| !matches!(*it, "grpc_response_status" | "app"));
    for name in wanted {
        assert!(named.contains(name), "{name} in {series}");
    }
}

/// Istio's graph of a namespace: three queries of requests, as Kiali asks them for namespace `shop`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prometheus_answers_the_queries_of_kialis_graph() {
    let app = application().await;
    let reviews = Wanted { is_inbound: true, ..Wanted::new("reviews", app) }.start().await;
    let web = Wanted { peer: Some("reviews"), ..Wanted::new("web", reviews.address) }.start().await;
    // Of another namespace, to an endpoint of which nobody knows what it is.
    let front = Wanted { namespace: "front", ..Wanted::new("front", app) }.start().await;
    let database = Wanted { peer: Some("db"), is_stream: true, ..Wanted::new("web", app) }.start().await;
    let mut targets = Vec::new();
    for plane in [&reviews, &web, &front, &database] {
        targets.push(scrape_target(plane).await);
    }
    let prometheus = Prometheus::start(&targets);
    let calls = Calls(vec![web.address, front.address], database.address);

    // 1. Traffic to unknown workloads, as seen by sources of other namespaces.
    let query = format!(
        "sum(rate(istio_requests_total{{reporter=\"source\",source_workload_namespace!=\"shop\",\
         destination_workload_namespace=\"unknown\",destination_workload=\"unknown\",\
         destination_service=~\"^.+\\\\.shop\\\\..+$\"}}[10s])) by ({REQUESTS}) > 0"
    );
    let unknown = prometheus.answer(&query, &calls).await;
    assert_eq!((unknown.len(), label(&unknown[0], "source_workload")), (1, "front-v1"));
    has_all(&unknown[0], REQUESTS);

    // 2. Traffic to the namespace, as seen by destinations.
    let query = format!(
        "sum(rate(istio_requests_total{{reporter=~\"destination|waypoint\",destination_workload_namespace=\"shop\"}}[10s])) \
         by ({REQUESTS}) > 0"
    );
    let to = prometheus.answer(&query, &calls).await;
    assert_eq!((to.len(), label(&to[0], "destination_workload")), (1, "reviews-v1"));
    has_all(&to[0], REQUESTS);

    // 3. Traffic from the namespace, as seen by sources.
    let query = format!(
        "sum(rate(istio_requests_total{{reporter=~\"source|waypoint\",source_workload_namespace=\"shop\"}}[10s])) \
         by ({REQUESTS}) > 0"
    );
    let from = prometheus.answer(&query, &calls).await;
    assert_eq!(from.len(), 1);
    for (name, value) in [
        ("source_workload", "web-v1"),
        ("source_canonical_service", "web"),
        ("destination_workload", "reviews-v1"),
        ("destination_service", "target.shop.svc.cluster.local"),
        ("destination_service_namespace", "shop"),
        ("request_protocol", "http"),
        ("response_code", "200"),
        ("response_flags", "-"),
        ("source_cluster", "Kubernetes"),
    ] {
        assert_eq!(label(&from[0], name), value, "{name}");
    }
    has_all(&from[0], REQUESTS);

    // The edges of connections.
    let query = format!(
        "sum(rate(istio_tcp_sent_bytes_total{{reporter=~\"source|waypoint\",source_workload_namespace=\"shop\"}}[10s])) \
         by ({CONNECTIONS}) > 0"
    );
    let bytes = prometheus.answer(&query, &calls).await;
    assert_eq!(label(&bytes[0], "destination_workload"), "db-v1");
    has_all(&bytes[0], CONNECTIONS);

    // Response times, as its side panel shows them.
    let query = "histogram_quantile(0.95, sum(rate(istio_request_duration_milliseconds_bucket\
                 {reporter=\"source\",source_workload=\"web-v1\"}[10s])) by (le,destination_service_name)) > 0";
    let quantile = prometheus.answer(query, &calls).await;
    assert_eq!(label(&quantile[0], "destination_service_name"), "target");
}
