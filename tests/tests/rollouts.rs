//! Backends that come and go under load: what users of a gateway notice first when it goes wrong.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use sluice_ir as ir;
use sluice_tests::load::Load;
use sluice_tests::{Ask, Stand, ir_samples};
use std::net::SocketAddr;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// A backend in this process that can be told to end.
struct Backend {
    address: SocketAddr,
    stop: CancellationToken,
    serving: JoinHandle<std::io::Result<()>>,
}

impl Backend {
    async fn start(name: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let serving = tokio::spawn(sluice::echo::serve(listener, name.to_owned(), stop.clone()));
        Self { address, stop, serving }
    }

    /// Ends as a well-behaved server does: no new connections, open requests to their end.
    async fn end(self) {
        self.stop.cancel();
        self.serving.await.unwrap().unwrap();
    }
}

fn snapshot(protocol: ir::BackendProtocol, backends: &[&Backend]) -> ir::Snapshot {
    let addresses: Vec<_> = backends.iter().map(|backend| backend.address).collect();
    let mut snapshot = ir_samples::everything_to_speaking(addresses[0], protocol);
    let set = ir_samples::endpoints("main", &addresses);
    snapshot.endpoint_sets.insert(set.key.clone(), set);
    snapshot
}

/// A rollout as Kubernetes does it: a new pod becomes ready, then the old one leaves the endpoints, then it ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollout_fails_no_request() {
    for protocol in [ir::BackendProtocol::Http1, ir::BackendProtocol::H2c] {
        let mut current = Backend::start("v0").await;
        let mut stand = Stand::of_snapshot(snapshot(protocol, &[&current])).await;
        let request = Ask::get("http://a.example/").to_http1();
        let load = Load::start(stand.address(80), 8, request, |_| Ok(()));
        for number in 1..=10 {
            load.more(50).await;
            let next = Backend::start(&format!("v{number}")).await;
            stand.apply_snapshot(snapshot(protocol, &[&current, &next])).await;
            load.more(50).await;
            stand.apply_snapshot(snapshot(protocol, &[&next])).await;
            // What was sent to the old one before is answered by it.
            load.more(50).await;
            current.end().await;
            current = next;
        }
        load.finish().await.expect_all_200();
    }
}

/// A backend that ends while it is still listed, as when a node dies or readiness comes late: what had reached it is
/// answered by another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backend_that_ends_while_listed_fails_no_request() {
    for protocol in [ir::BackendProtocol::Http1, ir::BackendProtocol::H2c] {
        let stays = Backend::start("stays").await;
        let mut stand = Stand::of_snapshot(snapshot(protocol, &[&stays])).await;
        let request = Ask::get("http://a.example/").to_http1();
        let load = Load::start(stand.address(80), 8, request, |_| Ok(()));
        for number in 0..10 {
            let ends = Backend::start(&format!("v{number}")).await;
            stand.apply_snapshot(snapshot(protocol, &[&stays, &ends])).await;
            load.more(50).await;
            ends.end().await;
            load.more(100).await;
            stand.apply_snapshot(snapshot(protocol, &[&stays])).await;
        }
        load.finish().await.expect_all_200();
    }
}
