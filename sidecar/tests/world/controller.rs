//! A controller with one namespace: what governs its workloads, certificates for who asks, and no destination at all.

use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, CertifiedIssuer, DistinguishedName,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, SanType,
};
use sluice_ir as ir;
use sluice_xds::identity::{CertificateRequest, CertificateResponse, Create, Creating, Issuing};
use sluice_xds::server::{Answer, Delta, Discovery, Server};
use sluice_xds::{DESTINATION, DeltaDiscoveryRequest, DeltaDiscoveryResponse, Packed, type_url};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::channel;
use tokio::sync::watch;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::transport::{self, Identity, ServerTlsConfig};
use tonic::{Request, Response, Status, Streaming};

/// The namespace.
const NAMESPACE: &str = "shop";
/// Who everybody is.
const WHO: &str = "spiffe://cluster.local/ns/shop/sa/web";

/// A running one, on loopback.
pub(crate) struct Controller {
    port: u16,
    authority: String,
    workloads: watch::Sender<serde_json::Value>,
}

struct Inner {
    authority: CertifiedIssuer<'static, KeyPair>,
    workloads: watch::Receiver<serde_json::Value>,
}

impl Controller {
    /// Starts one in a thread of its own, in the network of this one.
    pub(crate) fn start() -> Self {
        // Fails only when another test was first.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let authority = authority();
        let root = authority.pem();
        let (workloads, followed) = watch::channel(serde_json::json!({}));
        let (tell, told) = channel();
        std::thread::spawn(move || {
            super::runtime().block_on(async move {
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
                tell.send(listener.local_addr().expect("a port").port()).expect("a test");
                let key = KeyPair::generate().expect("a key");
                let own = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
                let own = own.signed_by(&key, &authority).expect("a certificate");
                let tls = ServerTlsConfig::new().identity(Identity::from_pem(own.pem(), key.serialize_pem()));
                let inner = Arc::new(Inner { authority, workloads: followed });
                let router = transport::Server::builder()
                    .tls_config(tls)
                    .expect("TLS")
                    .add_service(Server::new(Delta::new(inner.clone(), 1 << 20)))
                    .add_service(Server::new(Create::new(inner)));
                router.serve_with_incoming(TcpListenerStream::new(listener)).await.expect("a server");
            });
        });
        Self { port: told.recv().expect("a server"), authority: root, workloads }
    }

    /// Fields of the namespace's `Workloads` that are not as usual.
    pub(crate) fn govern(&self, fields: serde_json::Value) {
        self.workloads.send_replace(fields);
    }

    /// Writes what a sidecar needs; the options that name it.
    pub(super) fn files(&self, folder: &Path) -> Vec<String> {
        for (name, text) in
            [("root.pem", self.authority.as_str()), ("token", "a token"), ("labels", "app=\"web\"\n")]
        {
            std::fs::write(folder.join(name), text).expect("a file");
        }
        let file = |name: &str| folder.join(name).display().to_string();
        let options = [
            ("--controller", format!("https://localhost:{}", self.port)),
            ("--ca-file", file("root.pem")),
            ("--roots-file", file("root.pem")),
            ("--token-file", file("token")),
            ("--labels-file", file("labels")),
        ];
        options.into_iter().flat_map(|(option, value)| [option.to_owned(), value]).collect()
    }
}

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("an authority")
}

fn packed(fields: &serde_json::Value) -> DeltaDiscoveryResponse {
    let mut workloads = serde_json::json!({
        "key": NAMESPACE,
        "origin": ir::Origin::new("Namespace", "", NAMESPACE),
        "trust_domains": ["cluster.local"],
    });
    for (name, value) in fields.as_object().into_iter().flatten() {
        workloads[name] = value.clone();
    }
    let workloads: ir::Workloads = serde_json::from_value(workloads).expect("workloads");
    let key = ir::ResourceKey::Workloads(workloads.key.clone());
    let packed = Packed::new(&ir::Resource::Workloads(Arc::new(workloads))).expect("a resource");
    DeltaDiscoveryResponse {
        type_url: type_url(ir::ResourceKind::Workloads),
        resources: vec![packed.message(&key)],
        ..DeltaDiscoveryResponse::default()
    }
}

impl Discovery for Inner {
    fn delta(
        self: Arc<Self>,
        request: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Answer<DeltaDiscoveryResponse> {
        Box::pin(async move {
            let mut requests = request.into_inner();
            let (answers, stream) = tokio::sync::mpsc::channel(16);
            let mut workloads = self.workloads.clone();
            workloads.mark_changed();
            tokio::spawn(async move {
                let mut number = 0;
                loop {
                    let answer = tokio::select! {
                        Ok(()) = workloads.changed() => packed(&workloads.borrow_and_update()),
                        asked = requests.message() => match asked {
                            Ok(Some(asked)) if asked.type_url == DESTINATION
                                && !asked.resource_names_subscribe.is_empty() => DeltaDiscoveryResponse {
                                type_url: asked.type_url,
                                removed_resources: asked.resource_names_subscribe,
                                ..DeltaDiscoveryResponse::default()
                            },
                            Ok(Some(_)) => continue,
                            Ok(None) | Err(_) => return,
                        },
                    };
                    number += 1;
                    let (system_version_info, nonce) = (number.to_string(), number.to_string());
                    let answer = DeltaDiscoveryResponse { system_version_info, nonce, ..answer };
                    if answers.send(Ok(answer)).await.is_err() {
                        return;
                    }
                }
            });
            let stream: sluice_xds::server::Responses<_> = Box::pin(ReceiverStream::new(stream));
            Ok(Response::new(stream))
        })
    }
}

impl Issuing for Inner {
    fn create(self: Arc<Self>, request: Request<CertificateRequest>) -> Creating {
        Box::pin(async move {
            let asked = CertificateSigningRequestParams::from_pem(&request.get_ref().csr);
            let mut asked = asked.map_err(|error| Status::invalid_argument(error.to_string()))?;
            asked.params.distinguished_name = DistinguishedName::new();
            asked.params.subject_alt_names = vec![SanType::URI(WHO.try_into().expect("a name"))];
            asked.params.is_ca = IsCa::ExplicitNoCa;
            asked.params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
            asked.params.extended_key_usages =
                vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
            let certificate = asked.signed_by(&self.authority).expect("a certificate");
            let cert_chain = vec![certificate.pem(), self.authority.pem()];
            Ok(Response::new(CertificateResponse { cert_chain }))
        })
    }
}
