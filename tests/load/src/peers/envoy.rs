//! Envoy: one worker, a virtual host or a route per route.

use std::process::Command;

use anyhow::Result;
use serde_json::{Value, json};

use super::Routes;
use super::job::Job;

pub(super) fn command(job: &Job) -> Result<Command> {
    let file = job.write("envoy.json", &configuration(job).to_string())?;
    let mut command = Command::new("envoy");
    command.args(["--concurrency", "1", "--disable-hot-restart", "--log-level", "error", "-c"]).arg(file);
    Ok(command)
}

fn configuration(job: &Job) -> Value {
    let mut listeners = vec![listener(job, "plain", job.port, Value::Null)];
    if let Some((port, certificate)) = &job.tls {
        let file = |path: &std::path::Path| json!({"filename": path.to_string_lossy()});
        let socket = json!({
            "name": "envoy.transport_sockets.tls",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
                "common_tls_context": {
                    "alpn_protocols": ["h2", "http/1.1"],
                    "tls_certificates": [{
                        "certificate_chain": file(&certificate.chain),
                        "private_key": file(&certificate.key),
                    }],
                },
            },
        });
        listeners.push(listener(job, "tls", *port, socket));
    }
    json!({"static_resources": {"listeners": listeners, "clusters": [cluster(job)]}})
}

fn listener(job: &Job, name: &str, port: u16, transport_socket: Value) -> Value {
    let mut chain = json!({"filters": [{"name": "http", "typed_config": manager(job)}]});
    if !transport_socket.is_null() {
        chain["transport_socket"] = transport_socket;
    }
    json!({
        "name": name,
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
        "filter_chains": [chain],
    })
}

fn manager(job: &Job) -> Value {
    let mut manager = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "load",
        "generate_request_id": false,
        "http_filters": [{
            "name": "router",
            "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"},
        }],
        "route_config": {"virtual_hosts": virtual_hosts(job)},
    });
    if job.access_log {
        manager["access_log"] = json!([{
            "name": "file",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
                "path": job.file("access.log").to_string_lossy(),
                "log_format": {"json_format": {
                    "time": "%START_TIME%", "method": "%REQ(:METHOD)%", "host": "%REQ(:AUTHORITY)%",
                    "path": "%REQ(:PATH)%", "status": "%RESPONSE_CODE%", "bytes": "%BYTES_SENT%", "ms": "%DURATION%",
                }},
            },
        }]);
    }
    manager
}

fn virtual_hosts(job: &Job) -> Value {
    let route = |prefix: &str| json!({"match": {"prefix": prefix}, "route": {"cluster": "backend"}});
    let entries = job.routes.entries();
    match job.routes {
        Routes::Hosts(_) => entries
            .iter()
            .map(|(host, prefix)| json!({"name": host, "domains": [host], "routes": [route(prefix)]}))
            .collect(),
        Routes::One | Routes::Paths(_) => {
            let routes: Vec<Value> = entries.iter().map(|(_, prefix)| route(prefix)).collect();
            json!([{"name": "one", "domains": ["*"], "routes": routes}])
        }
    }
}

fn cluster(job: &Job) -> Value {
    let address = json!({"socket_address": {"address": job.backend.ip().to_string(), "port_value": job.backend.port()}});
    json!({
        "name": "backend",
        "type": "STATIC",
        "connect_timeout": "5s",
        "circuit_breakers": {"thresholds": [
            {"max_connections": 100_000, "max_pending_requests": 100_000, "max_requests": 100_000},
        ]},
        "load_assignment": {
            "cluster_name": "backend",
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
        },
    })
}
