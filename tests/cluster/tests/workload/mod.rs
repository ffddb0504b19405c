//! The controller's authority of workloads in the process of the test.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use http::Uri;
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::PostParams;
use kube::core::ObjectMeta;
use rcgen::{CertificateParams, KeyPair};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use sluice_cluster_tests::Space;
use sluice_controller::admin::Metrics;
use sluice_controller::ca::ServingCertificate;
use sluice_controller::identity::{
    AuthorityOptions, Current, Distribution, Domains, Issuer, Keeper, distribute,
};
use sluice_controller::serve::{AUDIENCE, Distributor, MESH_AUDIENCE, ServeOptions, TokenReviewer, serve};
use sluice_proxy::identity::{Identity, IdentityClient, IdentityOptions};
use sluice_xds::connect::Connection;
use sluice_xds::identity::{CertificateRequest, create_certificate};
use sluice_xds::svid::Roots;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::Status;

const NAME: &str = "controller";

/// A controller that issues certificates, with its Secrets and the mesh's configuration in the space.
pub(crate) struct Stand {
    address: Uri,
    ca: String,
    authority: Current,
    folder: TempDir,
    stop: CancellationToken,
    _end: DropGuard,
}

impl Stand {
    /// Waits until there is an authority.
    pub(crate) async fn start(space: &Space, root_wait_s: u64) -> Self {
        let stop = CancellationToken::new();
        let metrics = Arc::new(Metrics::default());
        let root = sluice_controller::ca::Root::generate(SystemTime::now()).unwrap();
        let serving = ServingCertificate::new(&root, vec![NAME.to_owned()], SystemTime::now()).unwrap();
        let options = AuthorityOptions {
            namespace: space.namespace.clone(),
            root_namespace: space.namespace.clone(),
            domains: Domains::default(),
            root_wait: Duration::from_secs(root_wait_s),
        };
        let (keeper, mut authority) = Keeper::new(space.client.clone(), options, metrics.clone());
        tokio::spawn(keeper.run(stop.clone()));
        let mut options = ServeOptions::new("127.0.0.1:0".parse().unwrap(), "controller-0");
        options.issuer = Some(Arc::new(Issuer::new(authority.clone(), Duration::from_secs(86_400), metrics)));
        let reviewer = Arc::new(TokenReviewer::new(space.client.clone(), &[AUDIENCE, MESH_AUDIENCE]));
        let bound =
            serve(Distributor::new(), options, reviewer, Arc::new(serving), stop.clone()).await.unwrap();
        let ready = authority.wait_for(Option::is_some);
        tokio::time::timeout(sluice_cluster_tests::DEADLINE, ready).await.expect("an authority").unwrap();
        Self {
            address: format!("https://127.0.0.1:{}", bound.port()).parse().unwrap(),
            ca: root.certificate().to_owned(),
            authority,
            folder: tempfile::tempdir().unwrap(),
            _end: stop.clone().drop_guard(),
            stop,
        }
    }

    /// Its port.
    pub(crate) fn port(&self) -> u16 {
        self.address.port_u16().unwrap()
    }

    /// What vouches for the controller.
    pub(crate) fn ca(&self) -> &str {
        &self.ca
    }

    /// The roots that are trusted now.
    pub(crate) async fn bundle(&self) -> String {
        self.authority.borrow().as_ref().unwrap().bundle.clone()
    }

    /// Writes the ConfigMaps while `is_leader`.
    pub(crate) fn distribute(&self, space: &Space, is_leader: watch::Receiver<bool>) {
        let distribution = Distribution {
            authority: self.authority.clone(),
            controller: watch::channel(self.ca.clone()).1,
            is_leader,
        };
        tokio::spawn(distribute(space.client.clone(), distribution, self.stop.clone()));
    }

    /// Asks for a certificate, by a token, by an identity, or by both.
    pub(crate) async fn get(&self, token: Option<&str>, by: Option<&Identity>) -> Result<Identity, Status> {
        let key = KeyPair::generate().unwrap();
        let csr = CertificateParams::default().serialize_request(&key).unwrap().pem().unwrap();
        let request = CertificateRequest { csr, validity_duration: 3600, metadata: None };
        let shown = by.map(|it| it.certified.clone());
        let opened = Connection::open_as(&self.address, Some(NAME), self.ca.as_bytes(), shown);
        let connection = opened.await.map_err(|error| Status::internal(error.to_string()))?;
        let mut answer = create_certificate(connection.service(), token, request).await?.cert_chain;
        let roots = Roots::from_pem(answer.pop().unwrap().as_bytes()).unwrap();
        let chain = answer.iter().map(|it| CertificateDer::from_pem_slice(it.as_bytes()).unwrap()).collect();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        Ok(Identity::new(chain, key, Arc::new(roots), SystemTime::now()).unwrap())
    }

    /// Writes the roots as the kubelet does for a pod that mounts them; gives the file.
    pub(crate) async fn mount_roots(&self) -> PathBuf {
        let file = self.folder.path().join("root-cert.pem");
        tokio::fs::write(&file, self.bundle().await).await.unwrap();
        file
    }

    /// A workload of an account with its own client, which runs until the stand is gone.
    pub(crate) async fn client(
        &self,
        space: &Space,
        account: &str,
        validity: Duration,
        roots_file: Option<PathBuf>,
    ) -> watch::Receiver<Option<Arc<Identity>>> {
        let token_file = self.folder.path().join(account);
        tokio::fs::write(&token_file, token(space, account, MESH_AUDIENCE).await).await.unwrap();
        let ca_file = self.folder.path().join("ca.crt");
        tokio::fs::write(&ca_file, &self.ca).await.unwrap();
        let options = IdentityOptions {
            controller: self.address.clone(),
            server_name: Some(NAME.to_owned()),
            token_file,
            ca_file,
            roots_file,
            validity,
        };
        let (client, identity) = IdentityClient::new(options);
        tokio::spawn(client.run(self.stop.clone()));
        identity
    }
}

/// Makes a service account.
pub(crate) async fn account(space: &Space, name: &str) {
    let metadata = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
    let account = ServiceAccount { metadata, ..ServiceAccount::default() };
    space.api::<ServiceAccount>().create(&PostParams::default(), &account).await.unwrap();
}

/// A token of a service account.
pub(crate) async fn token(space: &Space, account: &str, audience: &str) -> String {
    let spec = TokenRequestSpec {
        audiences: vec![audience.to_owned()],
        expiration_seconds: Some(600),
        ..TokenRequestSpec::default()
    };
    let request = TokenRequest { spec, ..TokenRequest::default() };
    let accounts = space.api::<ServiceAccount>();
    let answer = accounts.create_token_request(account, &PostParams::default(), &request).await.unwrap();
    answer.status.unwrap().token
}
