//! Between the translation's words, the engine's, and the data plane's: pure.

use sluice_acme::{
    AccountBinding, Answer, Budgets, CertificateKey, Challenge, ChallengeId, Dns01, DomainSelector, Issuer,
    IssuerName, IssuerState, KeyType, Kind as ChallengeKind, OnDemand, Reason, Rfc2136, Scope, Secret,
    Solver, SolverKind, State, Status, TsigAlgorithm, Wanted, WantedSet, Webhook,
};
use sluice_crds::{KeyTypeSpec, Kind, ObjectRef, TsigAlgorithmSpec};
use sluice_ir as ir;
use sluice_translate::{
    CertificateStanding, Issuance, IssuerPlan, IssuerStanding, OnDemandPlan, Orders, SolverPlan, SolverWay,
    WaitingFor, WantedCertificate,
};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What the engine is to obtain.
pub fn wanted_set(orders: &Orders) -> WantedSet {
    let wanted = |it: &WantedCertificate| Wanted {
        key: key_of(&it.secret),
        issuer: issuer_name(&it.issuer),
        names: it.names.clone(),
        scope: scope(&it.gateways),
    };
    WantedSet {
        issuers: orders.issuers.iter().map(|it| Arc::new(issuer(it))).collect(),
        certificates: orders.certificates.iter().map(wanted).collect(),
        held: orders.held.iter().map(wanted).collect(),
        missing: orders.certificates.iter().filter(|it| !it.is_there).map(|it| key_of(&it.secret)).collect(),
    }
}

/// The key of a certificate: its Secret.
pub fn key_of(secret: &ObjectRef) -> CertificateKey {
    CertificateKey::new(format!("{}/{}", secret.namespace, secret.name))
}

/// The Secret of a certificate.
pub fn secret_of(key: &CertificateKey) -> ObjectRef {
    reference(Kind::Secret, key.as_str())
}

fn reference(kind: Kind, text: &str) -> ObjectRef {
    let (namespace, name) = text.split_once('/').unwrap_or(("", text));
    ObjectRef::new(kind, namespace, name)
}

pub(super) fn issuer_name(issuer: &ObjectRef) -> IssuerName {
    IssuerName::new(format!("{}/{}", issuer.namespace, issuer.name))
}

/// The Gateways that answer, as one word of the engine's.
pub(super) fn scope(gateways: &[ObjectRef]) -> Scope {
    let names: Vec<_> = gateways.iter().map(|it| format!("{}/{}", it.namespace, it.name)).collect();
    Scope::new(names.join(" "))
}

fn gateways(scope: &Scope) -> impl Iterator<Item = ir::GatewayKey> {
    scope.as_str().split(' ').filter(|it| !it.is_empty()).map(ir::GatewayKey::new)
}

/// A challenge as each Gateway of its scope is to answer it.
pub fn challenges(scope: &Scope, challenge: &Challenge) -> Vec<ir::Challenge> {
    let answer = match &challenge.answer {
        Answer::Http { token, key_authorization } => ir::ChallengeAnswer::Http01 {
            token: token.clone(),
            key_authorization: ir::SecretBytes::new(key_authorization.expose().to_vec()),
        },
        Answer::TlsAlpn { certificate, key } => ir::ChallengeAnswer::TlsAlpn01 {
            certificate: ir::SecretBytes::new(pem("CERTIFICATE", certificate).into_bytes()),
            private_key: ir::SecretBytes::new(pem("PRIVATE KEY", key.expose()).into_bytes()),
        },
    };
    let of = |gateway: ir::GatewayKey| {
        let (namespace, name) = gateway.as_str().split_once('/').unwrap_or_default();
        ir::Challenge {
            key: ir::Challenge::key_of(&gateway, &challenge.host, &answer),
            origin: ir::Origin::new("Gateway", namespace, name),
            host: challenge.host.clone(),
            answer: answer.clone(),
            gateway,
        }
    };
    gateways(scope).map(of).collect()
}

/// The keys of what [`challenges`] made.
pub fn withdrawn(scope: &Scope, id: &ChallengeId) -> Vec<ir::ChallengeKey> {
    let nothing = || ir::SecretBytes::new(Vec::new());
    let answer = match &id.kind {
        ChallengeKind::Http(token) => {
            ir::ChallengeAnswer::Http01 { token: token.clone(), key_authorization: nothing() }
        }
        ChallengeKind::TlsAlpn => {
            ir::ChallengeAnswer::TlsAlpn01 { certificate: nothing(), private_key: nothing() }
        }
    };
    gateways(scope).map(|gateway| ir::Challenge::key_of(&gateway, &id.host, &answer)).collect()
}

/// PEM (RFC 7468).
fn pem(label: &str, der: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let mut pem = format!("-----BEGIN {label}-----\n");
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(64));
        pem.push_str(line);
        pem.push('\n');
        rest = after;
    }
    pem.push_str(&format!("-----END {label}-----\n"));
    pem
}

/// What came of orders, for statuses.
pub fn issuance(
    statuses: &BTreeMap<CertificateKey, Arc<Status>>,
    issuers: &BTreeMap<IssuerName, IssuerState>,
) -> Issuance {
    let waiting = statuses.iter().filter(|(_, it)| it.current.is_none());
    let standing = |status: &Status| {
        let (reason, message) = match &status.state {
            State::Waiting { reason, message, .. } | State::Failed { reason, message, .. } => {
                (reason, message)
            }
            State::Valid { .. } => return None,
        };
        Some(CertificateStanding { waiting_for: waiting_for(*reason), message: message.clone() })
    };
    let issuer = |state: &IssuerState| match state {
        IssuerState::Ready { .. } => IssuerStanding::Ready,
        IssuerState::Registering => IssuerStanding::NotReady("its account is being registered".to_owned()),
        IssuerState::NotReady { message, .. } => IssuerStanding::NotReady(message.clone()),
    };
    Issuance {
        certificates: waiting.filter_map(|(key, it)| Some((secret_of(key), standing(it)?))).collect(),
        issuers: issuers
            .iter()
            .map(|(name, it)| (reference(Kind::CertificateIssuer, name.as_str()), issuer(it)))
            .collect(),
    }
}

fn waiting_for(reason: Reason) -> WaitingFor {
    match reason {
        Reason::Issuer => WaitingFor::Issuer,
        Reason::Name => WaitingFor::Name,
        Reason::Dns => WaitingFor::Dns,
        Reason::Quota => WaitingFor::Quota,
        Reason::Secret => WaitingFor::Secret,
        Reason::Challenge => WaitingFor::Challenge,
        Reason::Authority => WaitingFor::Authority,
    }
}

fn text(bytes: &ir::SecretBytes) -> String {
    String::from_utf8_lossy(bytes.expose()).into_owned()
}

fn issuer(plan: &IssuerPlan) -> Issuer {
    let mut issuer = Issuer::new(issuer_name(&plan.reference), plan.directory.clone());
    issuer.contacts.clone_from(&plan.contacts);
    issuer.account_binding = plan
        .account
        .as_ref()
        .map(|it| AccountBinding { key_id: it.key_id.clone(), key: Secret::new(it.key.expose()) });
    issuer.key_type = match plan.key_type {
        KeyTypeSpec::EcdsaP256 => KeyType::EcdsaP256,
        KeyTypeSpec::EcdsaP384 => KeyType::EcdsaP384,
        KeyTypeSpec::Rsa2048 => KeyType::Rsa2048,
        KeyTypeSpec::Rsa3072 => KeyType::Rsa3072,
        KeyTypeSpec::Rsa4096 => KeyType::Rsa4096,
    };
    issuer.solvers = plan.solvers.iter().map(solver).collect();
    issuer.authorities = plan.authorities.as_ref().map(text);
    issuer.profile.clone_from(&plan.profile);
    issuer.budgets = budgets(plan);
    issuer.preflight.enabled = plan.preflight.enabled;
    issuer.preflight.http_port = plan.preflight.http_port;
    issuer.preflight.tls_port = plan.preflight.tls_port;
    issuer.preflight.dns_port = plan.preflight.dns_port;
    issuer.resolvers.clone_from(&plan.resolvers);
    issuer.on_demand = plan.on_demand.as_ref().map(on_demand);
    issuer
}

fn budgets(plan: &IssuerPlan) -> Budgets {
    let (own, usual) = (plan.budgets, Budgets::default());
    Budgets {
        per_domain: own.per_domain.unwrap_or(usual.per_domain),
        domain_window: own.domain_window.unwrap_or(usual.domain_window),
        per_account: own.per_account.unwrap_or(usual.per_account),
        account_window: own.account_window.unwrap_or(usual.account_window),
    }
}

fn on_demand(plan: &OnDemandPlan) -> OnDemand {
    let usual = OnDemand::new(plan.allow.clone());
    OnDemand {
        max_names: plan.max_names.and_then(|it| usize::try_from(it).ok()).unwrap_or(usual.max_names),
        per_window: plan.per_window.unwrap_or(usual.per_window),
        window: plan.window.unwrap_or(usual.window),
        allowed_for: plan.allowed_for.unwrap_or(usual.allowed_for),
        refused_for: plan.refused_for.unwrap_or(usual.refused_for),
        ..usual
    }
}

fn solver(plan: &SolverPlan) -> Solver {
    let kind = match &plan.way {
        SolverWay::Http01 => SolverKind::Http01,
        SolverWay::TlsAlpn01 => SolverKind::TlsAlpn01,
        SolverWay::Rfc2136(it) => SolverKind::Dns01(Dns01::Rfc2136(Rfc2136 {
            server: it.server,
            zone: it.zone.clone(),
            key_name: it.key_name.clone(),
            algorithm: match it.algorithm {
                TsigAlgorithmSpec::HmacSha256 => TsigAlgorithm::HmacSha256,
                TsigAlgorithmSpec::HmacSha384 => TsigAlgorithm::HmacSha384,
                TsigAlgorithmSpec::HmacSha512 => TsigAlgorithm::HmacSha512,
            },
            key: Secret::new(it.key.expose()),
        })),
        SolverWay::Webhook(it) => SolverKind::Dns01(Dns01::Webhook(Webhook {
            url: it.url.clone(),
            authorities: it.authorities.as_ref().map(text),
            header: it.header.as_ref().map(|(name, value)| (name.clone(), Secret::new(value.expose()))),
            zone: it.zone.clone(),
        })),
    };
    Solver { kind, selector: DomainSelector { names: plan.names.clone(), zones: plan.zones.clone() } }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::{challenges, withdrawn};
    use sluice_acme::{Answer, Challenge, Scope, Secret};

    #[test]
    fn what_is_presented_to_several_gateways_is_withdrawn_from_each() {
        let scope = Scope::new("edge/web edge/internal");
        for answer in [
            Answer::Http { token: "t".to_owned(), key_authorization: Secret::new("t.k") },
            Answer::TlsAlpn { certificate: vec![1; 100], key: Secret::new(vec![2; 70]) },
        ] {
            let challenge = Challenge { host: "shop.example.com".to_owned(), answer };
            let made: Vec<_> = challenges(&scope, &challenge).into_iter().map(|it| it.key).collect();
            assert_eq!(made.len(), 2);
            assert_eq!(withdrawn(&scope, &challenge.id()), made);
        }
    }
}
