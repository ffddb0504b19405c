//! An allow endpoint: says which names of handshakes may have a certificate.

use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tokio::net::TcpListener;

/// Allows names that begin with `good`, and counts questions. Ends with the test's runtime.
#[derive(Clone)]
pub struct Allow {
    address: SocketAddr,
    questions: Arc<AtomicUsize>,
    is_closed: Arc<AtomicBool>,
}

impl Allow {
    /// On a port of 127.0.0.1.
    pub async fn start() -> Self {
        Self::at(Ipv4Addr::LOCALHOST.into()).await
    }

    /// On a port of this address.
    pub async fn at(ip: IpAddr) -> Self {
        let listener = TcpListener::bind((ip, 0)).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let allow = Self { address, questions: Arc::default(), is_closed: Arc::default() };
        tokio::spawn(allow.clone().serve(listener));
        allow
    }

    async fn serve(self, listener: TcpListener) {
        while let Ok((stream, _)) = listener.accept().await {
            let allow = self.clone();
            let service = service_fn(move |request: Request<Incoming>| {
                let answer = Response::builder().status(allow.says(&request)).body(String::new());
                async move { Ok::<_, Infallible>(answer.expect("a response")) }
            });
            let http = hyper::server::conn::http1::Builder::new();
            tokio::spawn(http.serve_connection(TokioIo::new(stream), service));
        }
    }

    fn says(&self, request: &Request<Incoming>) -> StatusCode {
        self.questions.fetch_add(1, Ordering::SeqCst);
        let is_good = request.uri().query().is_some_and(|it| it.starts_with("domain=good"));
        match is_good && !self.is_closed.load(Ordering::SeqCst) {
            true => StatusCode::OK,
            false => StatusCode::FORBIDDEN,
        }
    }

    /// Where it is asked.
    pub fn url(&self) -> String {
        format!("http://{}/allow", self.address)
    }

    /// How often it was asked.
    pub fn questions(&self) -> usize {
        self.questions.load(Ordering::SeqCst)
    }

    /// Allows nothing any more.
    pub fn close(&self) {
        self.is_closed.store(true, Ordering::SeqCst);
    }
}
