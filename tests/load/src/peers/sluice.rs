//! Sluice: `sluice run` on a folder of Gateway API objects, as a user would write them.

use std::fmt::Write;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::job::{HOST, Job, free_port, local};
use crate::certificate::Certificate;

/// Routes in one file, so that start-up reads files of a size that people have.
const ROUTES_PER_FILE: usize = 100;

pub(super) fn command(job: &Job, program: &Path) -> Result<Command> {
    write_base(job)?;
    if job.passthrough.is_some() {
        write(job, "route.yaml", &passthrough(job))?;
        return run(job, program);
    }
    let entries = job.routes.entries();
    for (index, routes) in entries.chunks(ROUTES_PER_FILE).enumerate() {
        let mut text = String::new();
        for (place, (host, prefix)) in routes.iter().enumerate() {
            let name = format!("route-{:05}", index * ROUTES_PER_FILE + place);
            writeln!(text, "{}---", route(&name, host, prefix, None, job))?;
        }
        write(job, &format!("routes-{index:03}.yaml"), &text)?;
    }
    run(job, program)
}

/// Only the command: the folder has been written already.
pub(super) fn run(job: &Job, program: &Path) -> Result<Command> {
    let admin = local(free_port()?).to_string();
    let mut command = Command::new(program);
    command.arg("run").arg(job.file("manifests"));
    command.args(["--port-offset", "0", "--bind", "127.0.0.1", "--admin", &admin]);
    Ok(command)
}

/// Everything but routes: Gateway, its parameters, the certificate and the backend.
pub(super) fn write_base(job: &Job) -> Result<()> {
    std::fs::create_dir_all(job.file("manifests"))?;
    write(job, "gateway.yaml", &gateway(job))?;
    write(job, "backend.yaml", &backend(job))?;
    if let Some((_, certificate)) = &job.tls {
        write(job, "certificate.yaml", &secret(certificate))?;
    }
    Ok(())
}

/// Writes a manifest the way an editor saves: whole, by renaming.
pub(crate) fn write(job: &Job, name: &str, text: &str) -> Result<()> {
    let folder = job.file("manifests");
    std::fs::create_dir_all(&folder)?;
    let path = folder.join(name);
    let beside = job.file("next");
    std::fs::write(&beside, text).with_context(|| beside.display().to_string())?;
    std::fs::rename(&beside, &path).with_context(|| path.display().to_string())
}

fn gateway(job: &Job) -> String {
    let log = if job.access_log { "JSON" } else { "Disabled" };
    let mut text = format!(
        "apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {{name: sluice}}
spec: {{controllerName: sluice.dev/gateway-controller}}
---
apiVersion: sluice.dev/v1alpha1
kind: GatewayParameters
metadata: {{name: load, namespace: default}}
spec:
  accessLog: {log}
  limits: {{connections: 20000, connectionsPerClient: 20000, resetsPerSecond: 10000}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{name: load, namespace: default}}
spec:
  gatewayClassName: sluice
  infrastructure:
    parametersRef: {{group: sluice.dev, kind: GatewayParameters, name: load}}
  listeners:
  - {{name: load, port: {}, protocol: {}}}
",
        job.port,
        if job.passthrough.is_some() { "TLS, tls: {mode: Passthrough}" } else { "HTTP" }
    );
    if let Some((port, _)) = &job.tls {
        text.push_str(&format!(
            "  - {{name: https, port: {port}, protocol: HTTPS, tls: {{certificateRefs: [{{name: load}}]}}}}\n"
        ));
    }
    text
}

fn backend(job: &Job) -> String {
    let endpoints: Vec<String> = std::iter::once(&job.backend)
        .chain(&job.others)
        .map(|it| format!("{{address: {}, ports: {{http: {}}}}}", it.ip(), it.port()))
        .collect();
    format!(
        "apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: backend, namespace: default}}
spec:
  hosts: [backend.local]
  ports: [{{number: {}, name: http, protocol: HTTP}}]
  resolution: STATIC
  endpoints: [{}]
{}",
        job.backend.port(),
        endpoints.join(", "),
        job.policies
    )
}

/// The Secret of the TLS listener.
pub(crate) fn secret(certificate: &Certificate) -> String {
    format!(
        "apiVersion: v1
kind: Secret
metadata: {{name: load, namespace: default}}
type: kubernetes.io/tls
data:
  tls.crt: {}
  tls.key: {}
",
        BASE64_STANDARD.encode(&certificate.chain_pem),
        BASE64_STANDARD.encode(&certificate.key_pem)
    )
}

/// One HTTPRoute; with `version` its answers carry `x-version`.
pub(crate) fn route(name: &str, host: &str, prefix: &str, version: Option<u32>, job: &Job) -> String {
    let filters = version.map_or_else(String::new, |version| {
        format!(
            "    filters:
    - type: ResponseHeaderModifier
      responseHeaderModifier: {{set: [{{name: x-version, value: \"{version}\"}}]}}
"
        )
    });
    format!(
        "apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: {name}, namespace: default}}
spec:
  parentRefs: [{{name: load}}]
  hostnames: [{host}]
  rules:
  - matches: [{{path: {{type: PathPrefix, value: {prefix}}}}}]
    backendRefs: [{{group: networking.istio.io, kind: Hostname, name: backend.local, port: {}}}]
{filters}",
        job.backend.port()
    )
}

/// The TLSRoute of connections that are carried whole.
fn passthrough(job: &Job) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1
kind: TLSRoute
metadata: {{name: load, namespace: default}}
spec:
  parentRefs: [{{name: load}}]
  hostnames: [{HOST}]
  rules:
  - backendRefs: [{{group: networking.istio.io, kind: Hostname, name: backend.local, port: {}}}]
",
        job.backend.port()
    )
}

/// The host that `Routes::One` routes.
pub(crate) fn host() -> &'static str {
    HOST
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use sluice_crds::{Object, Parsed};
    use sluice_translate::{Options, Severity, Translator, translate};

    use super::*;
    use crate::peers::Routes;

    /// Every object of the job's folder, translated.
    fn translated(job: &Job) -> Translator {
        let mut objects = Vec::new();
        for file in std::fs::read_dir(job.file("manifests")).unwrap() {
            let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
            let documents: Vec<serde_json::Value> = serde_saphyr::from_multiple(&text).unwrap();
            for document in documents.into_iter().filter(|document| !document.is_null()) {
                match Object::parse(document, "default") {
                    Ok(Parsed::Known { object, unknown_fields }) => {
                        assert_eq!(unknown_fields, [""; 0], "{}", object.reference());
                        objects.push(object);
                    }
                    Ok(Parsed::Ignored { kind, .. }) => panic!("Sluice does not read {kind}"),
                    Err(error) => panic!("{error}\n{text}"),
                }
            }
        }
        translate(Options::default(), objects)
    }

    #[test]
    fn the_manifests_translate_without_a_complaint() {
        for access_log in [false, true] {
            let mut job = Job::new(local(7), 1).unwrap().with_tls().unwrap();
            job.access_log = access_log;
            job.routes = Routes::Paths(250);
            command(&job, Path::new("sluice")).unwrap();
            write(&job, "watched.yaml", &route("watched", HOST, "/watched", Some(3), &job)).unwrap();
            let translator = translated(&job);
            let problems = translator.problems();
            let worse = problems.iter().filter(|problem| problem.severity != Severity::Note);
            assert_eq!(worse.collect::<Vec<_>>(), Vec::<&sluice_translate::Problem>::new());
            assert_eq!(translator.snapshot().routes.len(), 251);
            assert_eq!(translator.snapshot().certificates.len(), 1);
        }
    }

    /// Panics when a job with these policies of its backend translates with a complaint.
    pub(crate) fn expect_no_complaint(policies: String) {
        let mut job = Job::new(local(7), 1).unwrap();
        job.policies = policies;
        command(&job, Path::new("sluice")).unwrap();
        let problems = translated(&job).problems();
        assert_eq!(problems, Vec::<sluice_translate::Problem>::new());
    }

    #[test]
    fn the_manifests_of_passthrough_translate_without_a_complaint() {
        let job = Job::new(local(7), 1).unwrap().with_passthrough().unwrap();
        command(&job, Path::new("sluice")).unwrap();
        let translator = translated(&job);
        let problems = translator.problems();
        let worse = problems.iter().filter(|problem| problem.severity != Severity::Note);
        assert_eq!(worse.collect::<Vec<_>>(), Vec::<&sluice_translate::Problem>::new());
        assert_eq!(translator.snapshot().stream_routes.len(), 1);
    }
}
