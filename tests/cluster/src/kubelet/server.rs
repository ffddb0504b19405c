//! What a kubelet serves to the API server: logs, commands in containers and forwarded ports, whose streams are handed on to the program
//! `exec` (tests/cluster/tools/exec) byte by byte.

use super::exec::{Entries, Entry};
use super::logs::Logs;
use crate::network::HOST;
use anyhow::{Context, Result};
use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Empty, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// The port that a Node names as its kubelet's.
pub(crate) const PORT: u16 = 10_250;
/// Where the program `exec` listens.
pub(crate) const EXEC: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 10_251);
/// How to get into a container, for that program.
const ENTRY: &str = "x-sluice-exec";

/// Serves until the runtime ends.
pub(crate) async fn serve(logs: Logs, entries: Entries, certificate: &str, key: &str) -> Result<()> {
    let certificates: Vec<_> = CertificateDer::pem_file_iter(certificate)?.collect::<Result<_, _>>()?;
    let key = PrivateKeyDer::from_pem_file(key)?;
    let configuration =
        rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(certificates, key)?;
    let acceptor = TlsAcceptor::from(Arc::new(configuration));
    let listener = TcpListener::bind((HOST, PORT)).await.context("the kubelet's port")?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, logs, entries) = (acceptor.clone(), logs.clone(), entries.clone());
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let service = service_fn(|request: Request<Incoming>| {
                    let (logs, entries) = (logs.clone(), entries.clone());
                    async move { Ok::<_, Infallible>(answer(request, &logs, &entries).await) }
                });
                let _ = auto::Builder::new(TokioExecutor::new())
                    .serve_connection_with_upgrades(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
    Ok(())
}

async fn answer(request: Request<Incoming>, logs: &Logs, entries: &Entries) -> Response<Full<Bytes>> {
    let path = request.uri().path().to_owned();
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    match parts.as_slice() {
        ["exec", namespace, pod, container] => stream(request, entries.of(namespace, pod, container)).await,
        ["portForward", namespace, pod] | ["portForward", namespace, pod, _] => {
            stream(request, entries.of_pod(namespace, pod)).await
        }
        _ => logs.answer(&path, request.uri().query().unwrap_or_default()),
    }
}

async fn stream(request: Request<Incoming>, entry: Option<Entry>) -> Response<Full<Bytes>> {
    let Some(entry) = entry else {
        return failed(StatusCode::NOT_FOUND, format!("no such container: {}\n", request.uri().path()));
    };
    match hand_on(request, &entry).await {
        Ok(response) => response,
        Err(error) => failed(StatusCode::BAD_GATEWAY, format!("exec: {error:#}\n")),
    }
}

fn failed(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(text.into()));
    *response.status_mut() = status;
    response
}

/// Asks the program `exec` the same, and joins the two connections when it upgrades.
async fn hand_on(mut request: Request<Incoming>, entry: &Entry) -> Result<Response<Full<Bytes>>> {
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(TcpStream::connect(EXEC).await?)).await?;
    tokio::spawn(connection.with_upgrades());
    let mut same =
        Request::builder().method(request.method()).uri(request.uri()).body(Empty::<Bytes>::new())?;
    *same.headers_mut() = request.headers().clone();
    same.headers_mut().insert(ENTRY, HeaderValue::from_str(&entry.text()?)?);
    let mut answer = sender.send_request(same).await?;
    let (status, headers) = (answer.status(), answer.headers().clone());
    let body = if status == StatusCode::SWITCHING_PROTOCOLS {
        let (ours, theirs) = (hyper::upgrade::on(&mut request), hyper::upgrade::on(&mut answer));
        tokio::spawn(async move {
            let (Ok(ours), Ok(theirs)) = (ours.await, theirs.await) else { return };
            let _ = copy_bidirectional(&mut TokioIo::new(ours), &mut TokioIo::new(theirs)).await;
        });
        Bytes::new()
    } else {
        answer.into_body().collect().await?.to_bytes()
    };
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    Ok(response)
}
