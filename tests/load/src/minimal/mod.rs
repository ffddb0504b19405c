//! `sluice-load minimal`: Pingora with as little around it as its API allows, as a normal Pingora server.
//!
//! It is the yardstick: what Pingora itself costs for the job. It has what a scenario asks of every peer (a route
//! lookup, an access log, TLS with HTTP/2) and nothing else: no limits, no metrics, no health.

mod log;
mod routes;

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context, Result, anyhow};
use async_trait::async_trait;
use pingora_core::listeners::tls::TlsSettings;
use pingora_core::server::Server;
use pingora_core::server::configuration::ServerConf;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_proxy::{ProxyHttp, Session, http_proxy_service};

use log::AccessLog;
use routes::Routes;

/// Arguments of `sluice-load minimal`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Address of the plain listener.
    #[arg(long)]
    listen: SocketAddr,
    /// Address of the TLS listener (HTTP/1.1 and HTTP/2).
    #[arg(long, requires_all = ["certificate", "key"])]
    listen_tls: Option<SocketAddr>,
    /// Certificate chain of the TLS listener, PEM.
    #[arg(long)]
    certificate: Option<String>,
    /// Private key of the TLS listener, PEM.
    #[arg(long)]
    key: Option<String>,
    /// Where every request goes.
    #[arg(long)]
    upstream: SocketAddr,
    /// Worker threads.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Known routes, one "HOST PREFIX" a line; other requests get 404. Absent: all requests are forwarded.
    #[arg(long)]
    routes: Option<PathBuf>,
    /// File for an access log in JSON.
    #[arg(long)]
    access_log: Option<PathBuf>,
}

/// Serves until SIGTERM, then drains for a second.
pub(crate) fn serve(options: Options) -> Result<()> {
    let configuration = ServerConf {
        threads: options.threads,
        grace_period_seconds: Some(1),
        graceful_shutdown_timeout_seconds: Some(5),
        ..ServerConf::default()
    };
    let mut server = Server::new_with_opt_and_conf(None, configuration);
    server.bootstrap();
    let proxy = Minimal {
        upstream: HttpPeer::new(options.upstream, false, String::new()),
        routes: options.routes.as_deref().map(Routes::read).transpose()?,
        log: options.access_log.as_deref().map(AccessLog::create).transpose()?,
    };
    let mut service = http_proxy_service(&server.configuration, proxy);
    service.add_tcp(&options.listen.to_string());
    if let Some(address) = options.listen_tls {
        let certificate = options.certificate.context("--listen-tls needs --certificate")?;
        let key = options.key.context("--listen-tls needs --key")?;
        let mut tls =
            TlsSettings::intermediate(&certificate, &key).map_err(|error| anyhow!("TLS: {error}"))?;
        tls.enable_h2();
        service.add_tls_with_settings(&address.to_string(), None, tls);
    }
    server.add_service(service);
    server.run_forever()
}

struct Minimal {
    upstream: HttpPeer,
    routes: Option<Routes>,
    log: Option<AccessLog>,
}

#[async_trait]
impl ProxyHttp for Minimal {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn upstream_peer(&self, session: &mut Session, _: &mut ()) -> pingora_core::Result<Box<HttpPeer>> {
        if let Some(routes) = &self.routes
            && !routes.know(session.req_header())
        {
            return pingora_core::Error::e_explain(pingora_core::ErrorType::HTTPStatus(404), "no such route");
        }
        Ok(Box::new(self.upstream.clone()))
    }

    async fn logging(&self, session: &mut Session, _: Option<&pingora_core::Error>, _: &mut ()) {
        if let Some(log) = &self.log {
            log.write(session);
        }
    }
}
