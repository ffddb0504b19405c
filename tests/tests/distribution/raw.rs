//! A client that shows every message.

use crate::controller::{Controller, NAME, Trust};
use prost::Message as _;
use sluice_ir::{self as ir, ResourceKey, ResourceKind};
use sluice_tests::soon;
use sluice_xds::connect::Connection;
use sluice_xds::{
    BatchMark, DeltaDiscoveryRequest, DeltaDiscoveryResponse, ErrorDetail, Node, Refusal, client, kind_of,
    type_url, unpack,
};
use std::collections::{BTreeMap, HashMap};
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{Status, Streaming};

/// Versions by key, as a client keeps them.
pub(crate) type Versions = BTreeMap<ResourceKey, String>;

/// A stream.
pub(crate) struct Raw {
    requests: mpsc::UnboundedSender<DeltaDiscoveryRequest>,
    responses: Streaming<DeltaDiscoveryResponse>,
    _connection: Connection,
    /// What it has.
    pub(crate) has: Versions,
    pub(crate) snapshot: ir::Snapshot,
    /// Every byte that came.
    pub(crate) bytes: Vec<u8>,
}

/// A whole batch.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) responses: Vec<DeltaDiscoveryResponse>,
}

impl Batch {
    /// Keys that it brings.
    pub(crate) fn upserts(&self) -> Vec<String> {
        self.keys(|response| response.resources.iter().map(|it| it.name.clone()).collect())
    }

    /// Keys that it takes away.
    pub(crate) fn removals(&self) -> Vec<String> {
        self.keys(|response| response.removed_resources.clone())
    }

    fn keys(&self, names: impl Fn(&DeltaDiscoveryResponse) -> Vec<String>) -> Vec<String> {
        let of = |response: &DeltaDiscoveryResponse| {
            let kind = kind_of(&response.type_url).expect("a kind of ours");
            names(response).into_iter().map(move |name| kind.key(&name).to_string()).collect::<Vec<_>>()
        };
        self.responses.iter().flat_map(of).collect()
    }
}

impl Raw {
    /// As the data plane of a Gateway, with nothing.
    pub(crate) async fn of(controller: &Controller, trust: &Trust, gateway: &str) -> Self {
        let (namespace, name) = gateway.split_once('/').unwrap();
        let token = format!("{namespace}/{name}-sluice");
        Self::connect(controller, trust, &token, gateway, Versions::new()).await.expect("a stream")
    }

    pub(crate) async fn connect(
        controller: &Controller,
        trust: &Trust,
        token: &str,
        gateway: &str,
        has: Versions,
    ) -> Result<Self, Status> {
        Self::named("raw", controller, trust, token, gateway, has).await
    }

    /// As the data plane of this name.
    pub(crate) async fn named(
        name: &str,
        controller: &Controller,
        trust: &Trust,
        token: &str,
        gateway: &str,
        has: Versions,
    ) -> Result<Self, Status> {
        let address = format!("https://{}", controller.address).parse().unwrap();
        let connection = Connection::open(&address, Some(NAME), trust.root.certificate().as_bytes());
        let connection = connection.await.expect("a connection");
        let (requests, stream) = mpsc::unbounded_channel();
        for kind in ResourceKind::ALL {
            let own = has.iter().filter(|(key, _)| key.kind() == kind);
            let versions: HashMap<_, _> =
                own.map(|(key, version)| (key.as_str().to_owned(), version.clone())).collect();
            let node = Node {
                id: name.to_owned(),
                cluster: gateway.to_owned(),
                user_agent_version: env!("CARGO_PKG_VERSION").to_owned(),
                ..Node::default()
            };
            let first = DeltaDiscoveryRequest {
                node: Some(node),
                type_url: type_url(kind),
                initial_resource_versions: versions,
                ..DeltaDiscoveryRequest::default()
            };
            requests.send(first).unwrap();
        }
        let stream = UnboundedReceiverStream::new(stream);
        let responses =
            soon("an answer", client::delta(connection.service(), token, stream, 1 << 26)).await?;
        let (snapshot, bytes) = (ir::Snapshot::default(), Vec::new());
        Ok(Self { requests, responses, _connection: connection, has, snapshot, bytes })
    }

    /// The next batch, taken over.
    pub(crate) async fn batch(&mut self) -> Result<Batch, Status> {
        let mut batch = Batch::default();
        loop {
            let next = soon("a response", self.responses.message()).await?;
            let response = next.ok_or_else(|| Status::ok("the end of the stream"))?;
            self.bytes.extend(response.encode_to_vec());
            self.take(&response);
            let last = BatchMark::parse(&response.system_version_info).last;
            batch.responses.push(response);
            if last {
                return Ok(batch);
            }
        }
    }

    /// The next batch, acknowledged.
    pub(crate) async fn acknowledged(&mut self) -> Batch {
        let batch = self.batch().await.expect("a batch");
        self.answer(&batch, &[]);
        batch
    }

    fn take(&mut self, response: &DeltaDiscoveryResponse) {
        let kind = kind_of(&response.type_url).expect("a kind of ours");
        let mut delta = ir::Delta::default();
        for message in &response.resources {
            let (resource, _) = unpack(kind, message).expect("a resource");
            self.has.insert(resource.key(), message.version.clone());
            delta.upserts.push(resource);
        }
        for name in &response.removed_resources {
            self.has.remove(&kind.key(name));
            delta.removals.push(kind.key(name));
        }
        self.snapshot.apply(&delta);
    }

    /// Answers each response of a batch; the last one refuses these.
    pub(crate) fn answer(&self, batch: &Batch, refusals: &[(ResourceKey, &str)]) {
        let details: Vec<_> = refusals.iter().map(|(key, why)| Refusal::new(key, why).to_any()).collect();
        for response in &batch.responses {
            let last = BatchMark::parse(&response.system_version_info).last && !details.is_empty();
            let error = ErrorDetail { code: 3, message: "refused".to_owned(), details: details.clone() };
            let request = DeltaDiscoveryRequest {
                type_url: response.type_url.clone(),
                response_nonce: response.nonce.clone(),
                error_detail: last.then_some(error),
                ..DeltaDiscoveryRequest::default()
            };
            self.requests.send(request).unwrap();
        }
    }
}
