//! Through a proxy (`tunnel` of a DestinationRule), and for so long (`maxConnectionDuration`, `idleTimeout`).

use super::*;
use sluice_tests::tls::{connect as shake, trusting};
use sluice_tests::{Ask, TlsBackend, TlsBackendOptions, Wire};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A proxy that takes CONNECT to `db.example.com:443` and leads to one address; the heads that came.
struct Proxy {
    address: SocketAddr,
    heads: mpsc::UnboundedReceiver<String>,
    /// Connections that are refused before the first one that is not.
    refusals: Arc<AtomicUsize>,
}

impl Proxy {
    async fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, heads) = mpsc::unbounded_channel();
        let refusals = Arc::<AtomicUsize>::default();
        let left = refusals.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (sender, left) = (sender.clone(), left.clone());
                tokio::spawn(async move {
                    let mut head = Vec::new();
                    while !head.ends_with(b"\r\n\r\n") {
                        let Ok(byte) = stream.read_u8().await else { return };
                        head.push(byte);
                    }
                    sender.send(String::from_utf8(head).unwrap()).unwrap();
                    let refuses =
                        left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |it| it.checked_sub(1)).is_ok();
                    if refuses {
                        let _ = stream.write_all(b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n").await;
                        return;
                    }
                    let mut target = TcpStream::connect(target).await.unwrap();
                    stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut stream, &mut target).await;
                });
            }
        });
        Self { address, heads, refusals }
    }

    async fn head(&mut self) -> String {
        soon("a CONNECT", self.heads.recv()).await.unwrap()
    }
}

fn rule(policy: &str) -> String {
    format!(
        "---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: app}}\nspec: {{host: app, \
         trafficPolicy: {policy}}}\n"
    )
}

const TUNNEL: &str = "tunnel: {targetHost: db.example.com, targetPort: 443}";
const ASKED: &str = "CONNECT db.example.com:443 HTTP/1.1\r\nHost: db.example.com:443\r\n\r\n";

fn tcp(endpoint: SocketAddr, policy: &str) -> String {
    [
        gateway(&["name: tcp, port: 9000, protocol: TCP"], ""),
        service("app", "TCP", &[endpoint]),
        route("TCPRoute", "app", "port: 9000", "", &[("app", 1)]),
        rule(policy),
    ]
    .concat()
}

#[tokio::test]
async fn a_stream_goes_through_the_proxy_to_its_target() {
    let target = named("the target").await;
    let mut proxy = Proxy::start(target).await;
    let stand = stand(&tcp(proxy.address, &format!("{{{TUNNEL}}}"))).await;
    let mut client = connect(&stand, 9000).await;
    assert_eq!(rest(&mut client).await.unwrap(), b"the target");
    assert_eq!(proxy.head().await, ASKED);
}

#[tokio::test]
async fn a_proxy_that_refuses_ends_the_connection_and_nothing_goes_past_it() {
    let target = named("the target").await;
    let mut proxy = Proxy::start(target).await;
    proxy.refusals.store(1, Ordering::SeqCst);
    let stand = stand(&tcp(proxy.address, &format!("{{{TUNNEL}}}"))).await;
    let mut client = connect(&stand, 9000).await;
    assert!(rest(&mut client).await.is_err(), "a reset");
    assert_eq!(proxy.head().await, ASKED);
    let mut client = connect(&stand, 9000).await;
    assert_eq!(rest(&mut client).await.unwrap(), b"the target", "the next one may be let through");
}

/// TLS of the client within, TLS with the proxy outside.
#[tokio::test]
async fn tls_is_spoken_with_the_proxy_and_the_clients_own_goes_through() {
    let mut stand = Stand::empty(Endpoints::AsWritten).await;
    let echo = stand.echo("within").await;
    let options = |name: &str| -> TlsBackendOptions {
        let text = format!("certificate: {{signed_by: first, names: [{name}]}}");
        serde_saphyr::from_str(&text).unwrap()
    };
    let within = TlsBackend::start(&options("db.example.com"), echo).await;
    let mut proxy = Proxy::start(within.address()).await;
    let outside = TlsBackend::start(&options("app.default.svc.cluster.local"), proxy.address).await;
    let yaml = [
        gateway(&["name: tls, port: 8883, protocol: TLS, tls: {mode: Passthrough}"], ""),
        service("app", "TCP", &[outside.address()]),
        route("TLSRoute", "app", "port: 8883", "db.example.com", &[("app", 1)]),
        rule(&format!("{{{TUNNEL}, tls: {{mode: SIMPLE, insecureSkipVerify: true}}}}")),
    ];
    stand.apply(&yaml.concat()).await;
    let tls = shake(stand.address(8883), "db.example.com", trusting(&["http/1.1"]));
    let mut wire = Wire::over(Box::new(tls.await.unwrap()));
    let answer = wire.ask(&Ask::get("https://db.example.com/")).await;
    assert_eq!((answer.status, answer.backend()), (200, Some("within")));
    assert_eq!(proxy.head().await, ASKED);
    let seen = outside.latest().unwrap();
    assert_eq!(seen.server_name.as_deref(), Some("app.default.svc.cluster.local"));
}

#[tokio::test]
async fn a_stream_is_silent_as_long_as_the_rule_lets_it() {
    let mut backend = Backend::start().await;
    let stand = stand(&tcp(backend.address, "{connectionPool: {tcp: {idleTimeout: 300ms}}}")).await;
    let mut client = connect(&stand, 9000).await;
    let _endpoint = backend.next().await;
    let begun = std::time::Instant::now();
    assert_eq!(rest(&mut client).await.unwrap(), b"");
    assert!(begun.elapsed() >= Duration::from_millis(250), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_stream_ends_when_it_is_as_old_as_the_rule_lets_it_become() {
    let mut backend = Backend::start().await;
    let policy = "{connectionPool: {tcp: {maxConnectionDuration: 400ms}}}";
    let stand = stand(&tcp(backend.address, policy)).await;
    let mut client = connect(&stand, 9000).await;
    let mut endpoint = backend.next().await;
    let begun = std::time::Instant::now();
    let talk = async {
        // Silence has nothing to do with it.
        loop {
            if client.write_all(b"x").await.is_err() || endpoint.read_u8().await.is_err() {
                break;
            }
            tokio::task::yield_now().await;
        }
    };
    soon("the end", talk).await;
    assert!(begun.elapsed() >= Duration::from_millis(350), "{:?}", begun.elapsed());
    let ended = sluice_tests::eventually("it is counted", || async {
        metric(&stand, "sluice_streams_total").await.iter().any(|it| it.contains("outcome=\"aged\""))
    });
    ended.await;
}
