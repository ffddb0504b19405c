//! Echo backends behind the endpoints of a snapshot, so that manifests may name any address.

use sluice_ir::{Endpoint, EndpointAddress, EndpointSet, EndpointSetKey};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Backends that live as long as this. One echo for each endpoint of each set, whatever the configuration does.
#[derive(Default)]
pub struct Backends {
    echoes: BTreeMap<(EndpointSetKey, EndpointAddress), SocketAddr>,
    fixed: BTreeMap<String, SocketAddr>,
    stop: Option<DropGuard>,
}

impl Backends {
    /// All endpoints of services of this name (`shadow`, or `shop/shadow:80`) are at `address`, where the test has
    /// put something of its own.
    pub fn fix(&mut self, service: &str, address: SocketAddr) {
        self.fixed.insert(service.to_owned(), address);
    }

    /// The set with the addresses of running backends in place of those of the manifest.
    pub async fn replace(&mut self, set: &EndpointSet) -> Arc<EndpointSet> {
        let mut endpoints = Vec::with_capacity(set.endpoints.len());
        let name = name(&set.key);
        let alone = set.endpoints.len() < 2;
        for (index, endpoint) in set.endpoints.iter().enumerate() {
            let name = if alone { name.clone() } else { format!("{name}#{index}") };
            let address = self.address(&set.key, &endpoint.address, name).await;
            endpoints.push(Endpoint { address: EndpointAddress::Socket(address), ..endpoint.clone() });
        }
        endpoints.sort();
        Arc::new(EndpointSet {
            key: set.key.clone(),
            origin: set.origin.clone(),
            endpoints,
            is_external: false,
            takes_first: false,
            asked: None,
        })
    }

    async fn address(&mut self, key: &EndpointSetKey, of: &EndpointAddress, name: String) -> SocketAddr {
        if let Some((_, address)) = self.fixed.iter().find(|(service, _)| is_called(&name, service)) {
            return *address;
        }
        let place = (key.clone(), of.clone());
        if let Some(address) = self.echoes.get(&place) {
            return *address;
        }
        let address = self.start(name).await;
        self.echoes.insert(place, address);
        address
    }

    /// Starts one echo under this name.
    pub async fn start(&mut self, name: String) -> SocketAddr {
        let stop = self.stop.get_or_insert_with(|| CancellationToken::new().drop_guard());
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound port");
        let token = stop_of(stop);
        tokio::spawn(async move { sluice::echo::serve(listener, name, token).await });
        address
    }
}

/// A token that is cancelled with the guard.
fn stop_of(guard: &DropGuard) -> CancellationToken {
    guard.token().child_token()
}

/// What an echo calls itself: `NAMESPACE/NAME:PORT` for a Service, `HOST:PORT` for a host.
fn name(key: &EndpointSetKey) -> String {
    let text = key.as_str();
    text.split_once('/').map_or(text, |(_, name)| name).to_owned()
}

/// Whether a backend of this full name (`shop/cart:80#1`) may be called `wanted`: namespace, port and index can be
/// left out.
pub fn is_called(name: &str, wanted: &str) -> bool {
    let matches = |name: &str| {
        let without_port = name.split_once(':').map_or(name, |(name, _)| name);
        let short = |text: &str| text.rsplit_once('/').map_or(text, |(_, text)| text).to_owned();
        [name.to_owned(), without_port.to_owned(), short(name), short(without_port)]
            .iter()
            .any(|it| it == wanted)
    };
    matches(name) || name.split_once('#').is_some_and(|(name, _)| matches(name))
}

#[cfg(test)]
mod tests {
    use super::is_called;

    #[test]
    fn a_backend_is_known_by_its_full_and_its_short_names() {
        for wanted in ["shop/cart:80#1", "shop/cart:80", "shop/cart", "cart", "cart:80"] {
            assert!(is_called("shop/cart:80#1", wanted), "{wanted}");
        }
        for wanted in ["car", "shop", "cart:81", "other/cart", "cart#2"] {
            assert!(!is_called("shop/cart:80#1", wanted), "{wanted}");
        }
    }
}
