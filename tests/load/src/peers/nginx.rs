//! nginx: one worker, kept upstream connections, a location or a server per route.

use std::fmt::Write;
use std::process::Command;

use anyhow::Result;

use super::Routes;
use super::job::{HOST, Job};

pub(super) fn command(job: &Job) -> Result<Command> {
    let file = job.write("nginx.conf", &configuration(job)?)?;
    let mut command = Command::new("nginx");
    command.arg("-p").arg(job.folder()).arg("-e").arg(job.file("error.log")).arg("-c").arg(file);
    Ok(command)
}

fn configuration(job: &Job) -> Result<String> {
    let log =
        if job.access_log { "access_log access.log line buffer=64k flush=1s;" } else { "access_log off;" };
    let backend = job.backend;
    Ok(format!(
        r#"daemon off;
worker_processes 1;
worker_rlimit_nofile 16384;
pid nginx.pid;
events {{ worker_connections 8192; }}
http {{
  log_format line escape=json '{{"time":"$msec","method":"$request_method","host":"$host","path":"$uri","status":$status,"bytes":$body_bytes_sent,"seconds":$request_time}}';
  {log}
  keepalive_timeout 120s;
  keepalive_requests 1000000000;
  client_body_temp_path body;
  proxy_temp_path proxy;
  fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi;
  scgi_temp_path scgi;
  proxy_max_temp_file_size 0;
  server_names_hash_max_size 32768;
  server_names_hash_bucket_size 128;
  ssl_protocols TLSv1.2 TLSv1.3;
  proxy_http_version 1.1;
  proxy_set_header Connection "";
  proxy_set_header Host $host;
  upstream backend {{ server {backend}; keepalive 256; keepalive_requests 1000000000; }}
{servers}}}
"#,
        servers = servers(job)?
    ))
}

fn servers(job: &Job) -> Result<String> {
    let mut listen = format!("listen 127.0.0.1:{};", job.port);
    if let Some((port, certificate)) = &job.tls {
        let (chain, key) = (certificate.chain.display(), certificate.key.display());
        write!(
            listen,
            " listen 127.0.0.1:{port} ssl http2; ssl_certificate {chain}; ssl_certificate_key {key};"
        )?;
    }
    let mut text = String::new();
    match job.routes {
        Routes::Hosts(_) => {
            for (host, _) in job.routes.entries() {
                writeln!(
                    text,
                    "  server {{ {listen} server_name {host}; location / {{ proxy_pass http://backend; }} }}"
                )?;
            }
        }
        Routes::One | Routes::Paths(_) => {
            writeln!(text, "  server {{ {listen} server_name {HOST};")?;
            for (_, prefix) in job.routes.entries() {
                writeln!(text, "    location {prefix} {{ proxy_pass http://backend; }}")?;
            }
            writeln!(text, "  }}")?;
        }
    }
    Ok(text)
}
