//! Manifests in, a running gateway out.

use crate::backends::Backends;
use crate::client::{Answer, Ask, H2, Wire, plain};
use crate::manifests::{self, Objects};
use crate::places::loopback;
use crate::tls;
use crate::wait::eventually;
use sluice_gateway::{Gateway, GatewayOptions};
use sluice_ir as ir;
use sluice_translate::{Options, Translator};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// Added to the ports of the manifests: port 80 is 20080.
pub const PORT_OFFSET: u16 = 20_000;

/// What stands behind the endpoints of the manifests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoints {
    /// An echo for each, named after its service.
    Echo,
    /// Whatever is at the address that the manifest names.
    AsWritten,
}

/// A gateway on an address of its own, with its backends, all in this process.
pub struct Stand {
    gateway: Gateway,
    bind: IpAddr,
    endpoints: Endpoints,
    backends: Backends,
    translator: Translator,
    objects: Objects,
    served: ir::Snapshot,
    addresses: BTreeMap<IpAddr, IpAddr>,
    failures: Vec<(ir::ListenerKey, String)>,
}

impl Stand {
    /// Serves these manifests with echoes as backends.
    pub async fn start(yaml: &str) -> Self {
        let mut stand = Self::empty(Endpoints::Echo).await;
        stand.apply(yaml).await;
        stand
    }

    /// Serves this snapshot as it is.
    pub async fn of_snapshot(snapshot: ir::Snapshot) -> Self {
        let mut stand = Self::empty(Endpoints::AsWritten).await;
        stand.apply_snapshot(snapshot).await;
        stand
    }

    /// A gateway without configuration.
    pub async fn empty(endpoints: Endpoints) -> Self {
        let bind = loopback();
        let options = GatewayOptions {
            bind,
            port_offset: PORT_OFFSET,
            admin: Some(SocketAddr::new(bind, 0)),
            ..GatewayOptions::default()
        };
        let translator = Translator::new(Options {
            controller_name: "sluice.dev/gateway-controller".to_owned(),
            standalone: true,
            ..Options::default()
        });
        Self {
            gateway: Gateway::start(options).await.expect("a gateway"),
            bind,
            endpoints,
            backends: Backends::default(),
            translator,
            objects: Objects::new(),
            served: ir::Snapshot::default(),
            addresses: BTreeMap::new(),
            failures: Vec::new(),
        }
    }

    /// Says where the gateway runs.
    pub fn set_locality(&self, place: &str) {
        self.gateway.proxy().set_locality(Some(place.parse().expect("a place")));
    }

    /// Puts something of the test's own behind all endpoints of a service. Takes effect with the next change.
    pub fn fix(&mut self, service: &str, address: SocketAddr) {
        self.backends.fix(service, address);
    }

    /// An echo of this name at an address of its own, for a test that puts something in front of it.
    pub async fn echo(&mut self, name: &str) -> SocketAddr {
        self.backends.start(name.to_owned()).await
    }

    /// Serves these manifests in place of the ones before.
    pub async fn apply(&mut self, yaml: &str) {
        self.serve(manifests::parse(yaml)).await;
    }

    /// Serves the manifests as a step changes them: see [`manifests::edited`].
    pub async fn edit(&mut self, step: &str) {
        self.serve(manifests::edited(&self.objects, step)).await;
    }

    async fn serve(&mut self, objects: Objects) {
        let changes = manifests::changes(&self.objects, &objects);
        self.translator.apply(changes);
        self.objects = objects;
        self.apply_snapshot(self.translator.snapshot().clone()).await;
    }

    /// Serves this snapshot in place of the one before.
    pub async fn apply_snapshot(&mut self, mut snapshot: ir::Snapshot) {
        if self.endpoints == Endpoints::Echo {
            for set in snapshot.endpoint_sets.values_mut() {
                *set = self.backends.replace(set).await;
            }
        }
        for listener in snapshot.listeners.values_mut().filter(|listener| !listener.addresses.is_empty()) {
            let addresses = listener.addresses.iter().map(|address| self.own_address(*address)).collect();
            *listener = Arc::new(ir::Listener { addresses, ..(**listener).clone() });
        }
        let delta = self.served.delta_to(&snapshot);
        self.failures = self.gateway.apply(&delta).await;
        self.served = snapshot;
    }

    /// A loopback address of this stand alone for each address that a Gateway names.
    fn own_address(&mut self, named: IpAddr) -> IpAddr {
        *self.addresses.entry(named).or_insert_with(loopback)
    }

    /// The address where a port of the manifest is served.
    pub fn address(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.bind, port + PORT_OFFSET)
    }

    /// The address where a port of a Gateway with `spec.addresses` is served.
    pub fn address_of(&self, named: IpAddr, port: u16) -> SocketAddr {
        let own = self.addresses.get(&named).unwrap_or_else(|| panic!("no Gateway names {named}"));
        SocketAddr::new(*own, port + PORT_OFFSET)
    }

    /// Where the admin server listens.
    pub fn admin(&self) -> SocketAddr {
        self.gateway.admin().expect("an admin server")
    }

    /// Listeners that could not be served, and why.
    pub fn failures(&self) -> &[(ir::ListenerKey, String)] {
        &self.failures
    }

    /// The configuration as the gateway has it.
    pub fn served(&self) -> &ir::Snapshot {
        &self.served
    }

    /// The translation of the manifests.
    pub fn translator(&self) -> &Translator {
        &self.translator
    }

    /// The gateway.
    pub fn gateway(&self) -> &Gateway {
        &self.gateway
    }

    /// Waits until no request is under way: a client may have its answer a moment before the request is counted, and its
    /// place and connection are free.
    pub async fn quiet(&self) {
        let is_quiet = || self.gateway.proxy().metrics().encode().contains("\nsluice_requests_in_flight 0\n");
        eventually("the end of all requests", async || is_quiet()).await;
    }

    /// Sends a request over a connection of its own in HTTP/1.1 and reads its answer.
    pub async fn request(&self, ask: &Ask) -> Answer {
        let mut wire = self.wire(ask).await;
        wire.ask(ask).await
    }

    /// The same in HTTP/2.
    pub async fn request_h2(&self, ask: &Ask) -> Answer {
        let (h2, connection) = self.h2(ask).await;
        let answer = h2.ask(ask).await;
        connection.abort();
        answer
    }

    /// A GET in HTTP/1.1.
    pub async fn get(&self, url: &str) -> Answer {
        self.request(&Ask::get(url)).await
    }

    /// An HTTP/1.1 connection to the listener that a request means.
    pub async fn wire(&self, ask: &Ask) -> Wire {
        let address = self.address(ask.port());
        if !ask.tls {
            return Wire::connect(address).await;
        }
        let stream = tls::connect(address, ask.host(), tls::trusting(&["http/1.1"])).await;
        Wire::over(Box::new(stream.unwrap_or_else(|error| panic!("TLS to {address}: {error}"))))
    }

    /// An HTTP/2 connection to the listener that a request means.
    pub async fn h2(&self, ask: &Ask) -> (H2, tokio::task::JoinHandle<Result<(), h2::Error>>) {
        let address = self.address(ask.port());
        if !ask.tls {
            return H2::over(plain(address).await).await;
        }
        let stream = tls::connect(address, ask.host(), tls::trusting(&["h2"])).await;
        H2::over(Box::new(stream.unwrap_or_else(|error| panic!("TLS to {address}: {error}")))).await
    }

    /// Drains; returns how many connections were cut at the deadline.
    pub async fn drain(self, deadline: Duration) -> usize {
        self.gateway.drain(deadline).await
    }
}
