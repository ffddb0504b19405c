//! HAProxy: one thread, shared upstream connections, a map file for many routes; connections that are carried whole are
//! spliced always: with `option splice-auto` it copies in this load, which costs it more.

use std::fmt::Write;
use std::process::Command;

use anyhow::Result;

use super::Routes;
use super::job::{HOST, Job};

pub(super) fn command(job: &Job) -> Result<Command> {
    let file = job.write("haproxy.cfg", &configuration(job)?)?;
    let mut command = Command::new("haproxy");
    command.arg("-db").arg("-f").arg(file);
    Ok(command)
}

fn configuration(job: &Job) -> Result<String> {
    if job.passthrough.is_some() {
        return Ok(passthrough(job));
    }
    let mut binds = format!("  bind 127.0.0.1:{}\n", job.port);
    if let Some((port, certificate)) = &job.tls {
        writeln!(
            binds,
            "  bind 127.0.0.1:{port} ssl crt {} alpn h2,http/1.1",
            certificate.combined.display()
        )?;
    }
    let (target, format) = if job.access_log {
        (
            "  log stdout format raw local0 info",
            r#"  log global
  http-request capture req.hdr(host) len 64
  log-format '{"time":%Ts.%ms,"method":"%HM","host":"%[capture.req.hdr(0)]","path":"%HP","status":%ST,"bytes":%B,"ms":%Ta}'"#,
        )
    } else {
        ("", "")
    };
    Ok(format!(
        r"global
  nbthread 1
  maxconn 7000
{target}
defaults
  mode http
  http-reuse always
  timeout connect 5s
  timeout client 120s
  timeout server 60s
  timeout http-keep-alive 120s
frontend load
{binds}{format}
{routing}
backend backend
  server one {backend}
",
        routing = routing(job)?,
        backend = job.backend
    ))
}

/// By the server name, as its manual shows it ("req.ssl_sni").
fn passthrough(job: &Job) -> String {
    format!(
        r"global
  nbthread 1
  maxconn 7000
defaults
  mode tcp
  option splice-request
  option splice-response
  timeout connect 5s
  timeout client 120s
  timeout server 120s
frontend load
  bind 127.0.0.1:{port}
  tcp-request inspect-delay 5s
  tcp-request content accept if {{ req.ssl_hello_type 1 }}
  use_backend backend if {{ req.ssl_sni -i {HOST} }}
backend backend
  server one {backend}
",
        port = job.port,
        backend = job.backend
    )
}

fn routing(job: &Job) -> Result<String> {
    let (lookup, column) = match job.routes {
        Routes::One => return Ok("  default_backend backend".to_owned()),
        Routes::Hosts(_) => ("req.hdr(host),field(1,:),lower,map", 0),
        Routes::Paths(_) => ("path,map_beg", 1),
    };
    let mut map = String::new();
    for (host, prefix) in job.routes.entries() {
        writeln!(map, "{} backend", if column == 0 { &host } else { &prefix })?;
    }
    let file = job.write("routes.map", &map)?;
    Ok(format!("  use_backend %[{lookup}({},none)]", file.display()))
}
