//! Names of handshakes, asked of the controller over the connection that the configuration comes by.

use crate::tls::{NotObtained, Obtain};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use sluice_ir::GatewayKey;
use sluice_xds::connect::Service;
use sluice_xds::obtain::{ObtainRequest, obtain};
use tokio::sync::watch;
use tonic::{Code, Status};

/// The connection and the token of the stream that is open.
#[derive(Clone)]
pub(super) struct Link {
    pub(super) service: Service,
    pub(super) token: String,
}

/// Asks the controller that is connected.
pub(super) struct Asker(pub(super) watch::Receiver<Option<Link>>);

impl Obtain for Asker {
    fn obtain(&self, gateway: GatewayKey, name: String) -> BoxFuture<'static, Result<(), NotObtained>> {
        let link = self.0.borrow().clone();
        async move {
            let nobody = || NotObtained::Unavailable("the controller is not connected".to_owned());
            let Link { service, token } = link.ok_or_else(nobody)?;
            let request = ObtainRequest { gateway: gateway.to_string(), name, passed_on: false };
            obtain(service, &token, request).await.map_err(|status| not_obtained(&status))
        }
        .boxed()
    }
}

fn not_obtained(status: &Status) -> NotObtained {
    let message = status.message().to_owned();
    match status.code() {
        Code::PermissionDenied
        | Code::InvalidArgument
        | Code::FailedPrecondition
        | Code::ResourceExhausted => NotObtained::Refused(message),
        _ => NotObtained::Unavailable(message),
    }
}
