//! A real Prometheus scrapes the pods that are annotated for it, at their merged metrics, and answers the queries
//! that Kiali draws its graph from.

use super::stand::{REVIEWS, Shop, meshed, publisher};
use anyhow::{Context, Result, bail};
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use sluice_cluster_tests::eventually;
use sluice_tests::{Ask, Wire};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;
use tokio::net::TcpStream;

/// What Kiali groups requests by, as far as Prometheus keeps it: empty labels are none.
const GROUPS: &str = "source_cluster,source_workload_namespace,source_workload,source_canonical_service,\
source_canonical_revision,destination_cluster,destination_service_namespace,destination_service,\
destination_service_name,destination_workload_namespace,destination_workload,destination_canonical_service,\
destination_canonical_revision,request_protocol,response_code,response_flags";

/// What Prometheus scrapes of pods that are annotated for it, in the form of a file of targets. Debian's Prometheus has no
/// discovery in Kubernetes, so it is made here by the rules of its usual configuration.
async fn targets(shop: &Shop) -> Vec<Value> {
    let pods: Api<Pod> = shop.api();
    let pods = pods.list(&ListParams::default()).await.unwrap().items;
    pods.iter()
        .filter_map(|pod| {
            let of = |name: &str| pod.annotations().get(&format!("prometheus.io/{name}"));
            let address = pod.status.as_ref()?.pod_ip.as_ref()?;
            let target = format!("{address}:{}", of("port")?);
            let path = of("path")?;
            (of("scrape")? == "true")
                .then(|| json!({"targets": [target], "labels": {"__metrics_path__": path}}))
        })
        .collect()
}

struct Prometheus {
    process: Child,
    address: SocketAddr,
    _folder: TempDir,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Prometheus {
    fn start(targets: &[Value]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let file = folder.path().join("prometheus.yml");
        let scrape = json!([{"job_name": "pods", "static_configs": targets}]);
        let interval = json!({"scrape_interval": "1s", "scrape_timeout": "1s"});
        let config = json!({"global": interval, "scrape_configs": scrape});
        std::fs::write(&file, config.to_string()).unwrap();
        let process = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--", "prometheus"])
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address={free}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("prometheus runs; it is Debian's package prometheus");
        Self { process, address: free, _folder: folder }
    }

    async fn query(&self, query: &str) -> Result<Vec<Value>> {
        let encoded: String = query.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let mut wire = Wire::over(Box::new(TcpStream::connect(self.address).await?));
        let url = format!("http://{}/api/v1/query?query={encoded}", self.address);
        wire.try_send(&Ask::get(&url).to_http1()).await?;
        let answer = wire.read(false).await.ok().context("no whole answer")?;
        let body: Value = serde_json::from_slice(&answer.body)?;
        assert!(body["status"] != "error", "{query}: {body}");
        Ok(body["data"]["result"].as_array().cloned().unwrap_or_default())
    }

    /// Asks until a series has these labels, while `call` keeps things moving. It has every label that it is grouped by.
    async fn has(&self, query: &str, labels: &[(&str, &str)], call: impl AsyncFn()) {
        let series = eventually(query, async || {
            call().await;
            let all = self.query(&format!("sum(rate({query}[15s])) by ({GROUPS}) > 0")).await?;
            let fits = |it: &&Value| labels.iter().all(|(name, value)| it["metric"][*name] == *value);
            match all.iter().find(fits) {
                Some(series) => Ok(series.clone()),
                None => bail!("{labels:?} is not in {all:#?}"),
            }
        })
        .await;
        for name in GROUPS.split(',') {
            assert!(series["metric"][name].is_string(), "{name} in {series}");
        }
    }
}

/// A Service whose endpoint is nobody's pod.
fn legacy(address: SocketAddr) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: legacy}}\nspec: {{ports: [{{name: http, port: 80}}]}}\n---\n\
         apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{name: legacy, labels: {{kubernetes.io/service-name: \
         legacy}}}}\naddressType: IPv4\nports: [{{name: http, port: {}}}]\nendpoints: [{{addresses: ['{}']}}]\n",
        address.port(),
        address.ip()
    )
}

#[test]
fn prometheus_scrapes_injected_pods_and_answers_the_queries_of_kialis_graph() {
    meshed(async |shop| {
        shop.space.apply(&legacy(publisher(11).await)).await;
        // A caller in another namespace, of what is no workload.
        let other = shop.beside(&format!("{}-other", shop.namespace)).await;
        other.label().await;
        let apps = other.file("apps.yaml");
        let intruder: Vec<&str> = apps.split("---\n").filter(|it| it.contains("name: intruder,")).collect();
        other.space.apply(&intruder.join("---\n")).await;
        other.rolled_out().await;
        let namespace = shop.namespace.as_str();
        let annotated = [targets(&shop).await, targets(&other).await].concat();
        assert!(annotated.len() > 3, "{annotated:?}");
        let prometheus = Prometheus::start(&annotated);

        let call = async || drop(shop.answers("productpage", &[REVIEWS], 200).await);
        let query =
            format!("istio_requests_total{{reporter=\"source\",source_workload_namespace=\"{namespace}\"}}");
        let edge = [
            ("source_workload", "productpage"),
            ("source_canonical_service", "productpage"),
            ("destination_workload", "reviews-v1"),
            ("destination_service_name", "reviews"),
            ("destination_service_namespace", namespace),
            ("request_protocol", "http"),
            ("response_code", "200"),
        ];
        prometheus.has(&query, &edge, call).await;
        let query = format!(
            "istio_requests_total{{reporter=~\"destination|waypoint\",destination_workload_namespace=\"{namespace}\"}}"
        );
        prometheus.has(&query, &edge, call).await;

        let url = format!("http://legacy.{namespace}/");
        let call = async || drop(other.answers("intruder", &[&url], 200).await);
        let query = format!(
            "istio_requests_total{{reporter=\"source\",source_workload_namespace!=\"{namespace}\",\
             destination_workload_namespace=\"unknown\",destination_workload=\"unknown\",\
             destination_service=~\"^.+\\\\.{namespace}\\\\..+$\"}}"
        );
        prometheus
            .has(&query, &[("source_workload", "intruder"), ("destination_service_name", "legacy")], call)
            .await;
    });
}
