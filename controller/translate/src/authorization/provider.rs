//! Whom action CUSTOM asks: a provider of the mesh's configuration, as an authoriser of the IR.

use crate::backend::{BackendId, Caller, Target};
use crate::destination::{ServiceDomain, parse_duration};
use crate::ext_auth::{self, Terms};
use crate::mesh_config::AuthorizerBodyConfig;
use crate::mesh_config::{CONFIG_MAP, MeshView};
use crate::model::{host_name, port};
use sluice_crds::{Kind, Name, ObjectRef};
use sluice_ir::{AuthProtocol, Authorizer, BackendTarget};
use std::collections::BTreeMap;
use std::time::Duration;

/// Longest time for an answer, and what counts where nothing is said.
const LONGEST: Duration = Duration::from_secs(60);
const USUAL: Duration = Duration::from_secs(10);
/// Status where nothing is said (Istio's `statusOnError`).
const FAILURE_STATUS: u16 = 403;

/// What a provider comes to, and the backend that it names.
#[derive(Debug)]
pub(super) struct Provider {
    pub(super) authorizer: Authorizer,
    pub(super) backend: BackendId,
}

/// What both kinds say.
struct Said<'a> {
    service: &'a str,
    port: i64,
    timeout: Option<&'a String>,
    status: Option<&'a String>,
    body: Option<&'a AuthorizerBodyConfig>,
    fails_open: bool,
}

/// The provider of that name, for policies of namespace `client`.
///
/// # Errors
/// Why it can't be used.
pub(super) fn find(
    mesh: MeshView<'_>,
    name: &str,
    (root, client): (&str, &Name),
    domain: &ServiceDomain,
) -> Result<Provider, String> {
    let place = || format!("ConfigMap \"{root}/{CONFIG_MAP}\"");
    if let Some(error) = mesh.error() {
        return Err(format!("{} can't be read: {error}", place()));
    }
    let mut all = mesh.config().into_iter().flat_map(|it| &it.extension_providers);
    let Some(found) = all.find(|it| it.name == name) else {
        return Err(format!("{} has no extension provider {name:?}", place()));
    };
    let wrong = |what: String| format!("extension provider {name:?} of {}: {what}", place());
    match (&found.envoy_ext_authz_http, &found.envoy_ext_authz_grpc) {
        (Some(it), None) => {
            let said = Said {
                service: &it.service,
                port: it.port,
                timeout: it.timeout.as_ref(),
                status: it.status_on_error.as_ref(),
                body: it.include_request_body_in_check.as_ref(),
                fails_open: it.fail_open,
            };
            let told: Vec<String> = it
                .include_request_headers_in_check
                .iter()
                .chain(&it.include_headers_in_check)
                .cloned()
                .collect();
            let terms = Terms {
                path: Some(it.path_prefix.as_str()).filter(|it| !it.is_empty()),
                headers: &told,
                response_headers: &it.headers_to_upstream_on_allow,
                max_size: None,
            };
            let mut fault = None;
            let read = ext_auth::read(&terms, "http", |field, message, _| {
                fault.get_or_insert(format!("{field}: {message}"));
            });
            if let Some(fault) = fault {
                return Err(wrong(fault));
            }
            let protocol =
                AuthProtocol::Http { prefix: read.prefix, response_headers: read.response_headers };
            let (mut authorizer, backend) =
                put_together(&said, protocol, Caller::Http, (root, client), domain).map_err(wrong)?;
            authorizer.request_headers = read.request_headers;
            Ok(Provider { authorizer, backend })
        }
        (None, Some(it)) => {
            let said = Said {
                service: &it.service,
                port: it.port,
                timeout: it.timeout.as_ref(),
                status: it.status_on_error.as_ref(),
                body: it.include_request_body_in_check.as_ref(),
                fails_open: it.fail_open,
            };
            let protocol = AuthProtocol::Grpc { context: BTreeMap::new() };
            let (authorizer, backend) =
                put_together(&said, protocol, Caller::Grpc, (root, client), domain).map_err(wrong)?;
            Ok(Provider { authorizer, backend })
        }
        _ => Err(wrong("is no authoriser; it needs envoyExtAuthzHttp or envoyExtAuthzGrpc".to_owned())),
    }
}

fn put_together(
    said: &Said<'_>,
    protocol: AuthProtocol,
    caller: Caller,
    (root, client): (&str, &Name),
    domain: &ServiceDomain,
) -> Result<(Authorizer, BackendId), String> {
    let timeout = match said.timeout {
        None => USUAL,
        Some(text) => {
            let time = parse_duration(text).filter(|it| !it.is_zero());
            time.ok_or_else(|| format!("timeout {text:?} is no duration"))?.min(LONGEST)
        }
    };
    let failure_status = match said.status {
        None => FAILURE_STATUS,
        Some(text) => {
            let status = text.parse::<u16>().ok().filter(|it| (400..600).contains(it));
            status.ok_or_else(|| format!("statusOnError {text:?} is no status of 400 to 599"))?
        }
    };
    let shown = said.body.map_or(0, |it| it.max_request_bytes).min(Authorizer::MOST_BODY_BYTES);
    let authorizer = Authorizer {
        target: BackendTarget::Fail(Box::new(ext_auth::unresolved())),
        protocol,
        request_headers: Vec::new(),
        body_bytes: shown,
        timeout,
        allows_on_failure: said.fails_open,
        failure_status,
    };
    Ok((authorizer, backend(said, caller, (root, client), domain)?))
}

/// `HOST` or `NAMESPACE/HOST`; a name without a dot is a Service's, of that namespace or the root's.
fn backend(
    said: &Said<'_>,
    caller: Caller,
    (root, client): (&str, &Name),
    domain: &ServiceDomain,
) -> Result<BackendId, String> {
    let port = port(said.port).ok_or_else(|| format!("{} is no port", said.port))?;
    let (namespace, host) = said.service.split_once('/').unwrap_or((root, said.service));
    let host = host_name(host);
    if host.is_empty() || namespace.is_empty() {
        return Err("names no service".to_owned());
    }
    let service = match domain.service(&host) {
        None if !host.contains('.') => Some(ObjectRef::new(Kind::Service, namespace, &*host)),
        whole => whole,
    };
    let (target, client) = match service {
        Some(service) => {
            let client = Some(client.clone()).filter(|it| *it != service.namespace);
            (Target::Service { service, port }, client)
        }
        None => (Target::Hostname { namespace: namespace.into(), host: host.into(), port }, None),
    };
    Ok(BackendId { target, caller, client, subset: None })
}
