//! A CertificateIssuer object, judged: what an engine needs, or what is wrong with which field.

use super::allow::{self, DomainRule};
use super::plan::{
    AccountPlan, BudgetPlan, IssuerPlan, IssuerStanding, OnDemandPlan, PreflightPlan, Rfc2136Plan,
    SolverPlan, SolverWay, WebhookPlan,
};
use crate::authorities;
use crate::model::{IssuerModel, NamespaceRule, ObjectReference};
use crate::problem::{Problem, Problems, Severity};
use crate::status::{Condition, IssuerStatus};
use crate::syntax;
use crate::view::View;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use sluice_crds::{
    AccountBindingSpec, BudgetsSpec, CertificateIssuerSpec, Kind, ObjectRef, OnDemandSpec, PreflightSpec,
    Rfc2136Spec, SecretName, SolverSpec, SolverType, WebhookSpec,
};
use sluice_ir::SecretBytes;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// Keys of Secrets that an issuer reads.
const EAB_KEY: &str = "eab-key";
const TSIG_KEY: &str = "tsig-key";
const HEADER_KEY: &str = "webhook-header";

/// What an issuer comes to.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct IssuerOutcome {
    /// `None`: it can't be used.
    pub(crate) plan: Option<Arc<IssuerPlan>>,
    /// Why not.
    pub(crate) fault: Option<String>,
    /// Whose Gateways and ListenerSets may name it.
    pub(crate) allowed: NamespaceRule,
    /// Who may have what; empty: everybody everything.
    pub(crate) domains: Vec<DomainRule>,
}

/// Judges the object.
pub(crate) fn judge(view: &View<'_>, model: &IssuerModel) -> (IssuerOutcome, Vec<Problem>) {
    let mut reader = Reader { view, model, problems: Problems::of(&model.meta.reference), is_good: true };
    let allowed = reader.namespaces();
    let domains = reader.domains();
    let plan = reader.plan();
    let (is_good, problems) = (reader.is_good, reader.problems.into_list());
    let first = problems.iter().find(|it| it.severity == Severity::Error);
    let outcome = IssuerOutcome {
        plan: plan.filter(|_| is_good).map(Arc::new),
        fault: first.filter(|_| !is_good).map(|it| format!("{}: {}", it.field, it.message)),
        allowed,
        domains,
    };
    (outcome, problems)
}

/// The conditions of an issuer.
pub(crate) fn status(
    outcome: &IssuerOutcome,
    standing: Option<&IssuerStanding>,
    generation: Option<i64>,
) -> IssuerStatus {
    let (accepted, ready) = match (&outcome.fault, standing) {
        (Some(fault), _) => (
            Condition::no("Accepted", "Invalid", fault.clone(), generation),
            Condition::no("Ready", "Invalid", fault.clone(), generation),
        ),
        (None, standing) => {
            let ready = match standing {
                Some(IssuerStanding::Ready) => Condition::yes("Ready", "AccountRegistered", generation),
                Some(IssuerStanding::NotReady(message)) => {
                    Condition::no("Ready", "AccountNotRegistered", message.clone(), generation)
                }
                None => {
                    Condition::no("Ready", "Pending", "its account has not been looked at yet", generation)
                }
            };
            (Condition::yes("Accepted", "Accepted", generation), ready)
        }
    };
    IssuerStatus { conditions: vec![accepted, ready] }
}

struct Reader<'a, 'v> {
    view: &'a View<'v>,
    model: &'a IssuerModel,
    problems: Problems,
    is_good: bool,
}

impl Reader<'_, '_> {
    fn spec(&self) -> &CertificateIssuerSpec {
        &self.model.spec
    }

    /// Notes what is wrong with a field, which makes the issuer useless.
    fn wrong(&mut self, field: impl Into<String>, message: impl Into<String>, next_step: impl Into<String>) {
        self.is_good = false;
        self.problems.error(field, message, next_step);
    }

    fn namespaces(&mut self) -> NamespaceRule {
        allow::namespaces(self.spec().allowed_namespaces.as_ref()).unwrap_or_else(|message| {
            self.wrong("spec.allowedNamespaces", message, "use from: Same, All or Selector with a selector");
            NamespaceRule::None
        })
    }

    /// A rule that can't be read lets nobody have anything.
    fn domains(&mut self) -> Vec<DomainRule> {
        let mut rules = Vec::new();
        for (index, spec) in self.model.spec.domains.iter().enumerate() {
            let field = format!("spec.domains[{index}]");
            let namespaces = allow::namespaces(spec.namespaces.as_ref()).unwrap_or_else(|message| {
                self.wrong(format!("{field}.namespaces"), message, "use from: Same, All or Selector");
                NamespaceRule::None
            });
            let mut names = Vec::new();
            for (position, name) in spec.names.iter().enumerate() {
                match allow::name(name) {
                    Ok(name) => names.push(name),
                    Err(message) => self.wrong(format!("{field}.names[{position}]"), message, ""),
                }
            }
            rules.push(DomainRule { namespaces, names });
        }
        rules
    }

    fn plan(&mut self) -> Option<IssuerPlan> {
        let spec = self.model.spec.clone();
        self.url("spec.directory", &spec.directory, &["https://"]);
        let account = spec.external_account_binding.as_ref().and_then(|it| self.account(it));
        let solvers = self.solvers(&spec.solvers);
        let resolvers = spec.resolvers.iter().enumerate();
        let resolvers = resolvers
            .filter_map(|(index, it)| self.server(&format!("spec.resolvers[{index}]"), it))
            .collect();
        Some(IssuerPlan {
            reference: self.model.meta.reference.clone(),
            directory: spec.directory.clone(),
            contacts: spec.contacts.clone(),
            account,
            key_type: spec.key_type.unwrap_or_default(),
            solvers,
            authorities: self.authorities(),
            profile: spec.profile.clone(),
            budgets: self.budgets(spec.budgets.as_ref()),
            preflight: self.preflight(spec.preflight.as_ref()),
            resolvers,
            on_demand: spec.on_demand.as_ref().map(|it| self.on_demand(it)),
        })
    }

    fn url(&mut self, field: &str, text: &str, schemes: &[&str]) {
        let rest = schemes.iter().find_map(|it| text.strip_prefix(it));
        if rest.is_none_or(|it| it.is_empty() || !it.bytes().all(|it| it.is_ascii_graphic())) {
            let message = format!("{text:?} is no URL that begins with {}", schemes.join(" or "));
            self.wrong(field, message, "write the whole URL");
        }
    }

    /// `ADDRESS` or `ADDRESS:PORT`.
    fn server(&mut self, field: &str, text: &str) -> Option<SocketAddr> {
        let with_port = text.parse::<SocketAddr>().ok();
        let found = with_port.or_else(|| text.parse::<IpAddr>().ok().map(|it| SocketAddr::new(it, 53)));
        if found.is_none() {
            let message = format!("{text:?} is no address of a DNS server");
            self.wrong(field, message, "write 192.0.2.53, 192.0.2.53:53 or [2001:db8::53]:53");
        }
        found
    }

    /// A key of a Secret of the issuer's own namespace.
    fn secret(&mut self, field: &str, name: &SecretName, key: &str) -> Option<Vec<u8>> {
        let namespace = self.model.meta.reference.namespace.clone();
        let reference = ObjectRef::new(Kind::Secret, namespace, name.name.clone());
        let shown = format!("Secret \"{}/{}\"", reference.namespace, reference.name);
        let found = self.view.secret(&reference).map(|it| it.keys.get(key).cloned());
        match found {
            Some(Some(bytes)) => Some(bytes),
            Some(None) => {
                self.wrong(field, format!("{shown} has no key {key}"), format!("add the key {key}"));
                None
            }
            None => {
                self.wrong(field, format!("{shown} not found"), format!("create it with the key {key}"));
                None
            }
        }
    }

    fn account(&mut self, spec: &AccountBindingSpec) -> Option<AccountPlan> {
        let field = "spec.externalAccountBinding.secretRef";
        let text = self.secret(field, &spec.secret_ref, EAB_KEY)?;
        // Authorities hand it out with and without padding.
        let trimmed = text.trim_ascii();
        let end = trimmed.iter().rposition(|it| *it != b'=').map_or(0, |it| it + 1);
        let Ok(key) = URL_SAFE_NO_PAD.decode(trimmed.get(..end).unwrap_or_default()) else {
            let message = format!("{EAB_KEY} of Secret {:?} is no base64url", spec.secret_ref.name);
            self.wrong(field, message, "put the HMAC key there as the authority gave it");
            return None;
        };
        Some(AccountPlan { key_id: spec.key_id.clone(), key: SecretBytes::new(key) })
    }

    fn solvers(&mut self, specs: &[SolverSpec]) -> Vec<SolverPlan> {
        if specs.is_empty() {
            let all = |way| SolverPlan { way, names: Vec::new(), zones: Vec::new() };
            return vec![all(SolverWay::Http01), all(SolverWay::TlsAlpn01)];
        }
        let mut solvers = Vec::new();
        for (index, spec) in specs.iter().enumerate() {
            let field = format!("spec.solvers[{index}]");
            for (list, names) in [("names", &spec.names), ("zones", &spec.zones)] {
                for (position, name) in names.iter().enumerate() {
                    if let Err(message) = syntax::hostname(name, list == "names") {
                        self.wrong(format!("{field}.{list}[{position}]"), message, "");
                    }
                }
            }
            if let Some(way) = self.way(&field, spec) {
                solvers.push(SolverPlan { way, names: spec.names.clone(), zones: spec.zones.clone() });
            }
        }
        solvers
    }

    fn way(&mut self, field: &str, spec: &SolverSpec) -> Option<SolverWay> {
        match (spec.r#type, &spec.rfc2136, &spec.webhook) {
            (SolverType::Http01, None, None) => Some(SolverWay::Http01),
            (SolverType::TlsAlpn01, None, None) => Some(SolverWay::TlsAlpn01),
            (SolverType::Dns01, Some(it), None) => self.rfc2136(field, it).map(SolverWay::Rfc2136),
            (SolverType::Dns01, None, Some(it)) => self.webhook(field, it).map(SolverWay::Webhook),
            (SolverType::Dns01, _, _) => {
                self.wrong(field, "DNS01 needs rfc2136 or webhook, and not both", "add one of the two");
                None
            }
            (SolverType::Http01 | SolverType::TlsAlpn01, _, _) => {
                self.wrong(field, "rfc2136 and webhook are for DNS01", "remove them, or use type DNS01");
                None
            }
        }
    }

    fn rfc2136(&mut self, field: &str, spec: &Rfc2136Spec) -> Option<Rfc2136Plan> {
        let server = self.server(&format!("{field}.rfc2136.server"), &spec.server);
        let place = format!("{field}.rfc2136.tsig.secretRef");
        let text = self.secret(&place, &spec.tsig.secret_ref, TSIG_KEY)?;
        let Ok(key) = STANDARD.decode(text.trim_ascii()) else {
            let message = format!("{TSIG_KEY} of Secret {:?} is no base64", spec.tsig.secret_ref.name);
            self.wrong(place, message, "put the key there as the DNS server's configuration has it");
            return None;
        };
        Some(Rfc2136Plan {
            server: server?,
            zone: spec.zone.clone(),
            key_name: spec.tsig.key_name.clone(),
            algorithm: spec.tsig.algorithm.unwrap_or_default(),
            key: SecretBytes::new(key),
        })
    }

    fn webhook(&mut self, field: &str, spec: &WebhookSpec) -> Option<WebhookPlan> {
        self.url(&format!("{field}.webhook.url"), &spec.url, &["https://"]);
        let header = match &spec.header {
            None => None,
            Some(header) => {
                let place = format!("{field}.webhook.header");
                if let Err(message) = syntax::header_name(&header.name) {
                    self.wrong(format!("{place}.name"), message, "");
                }
                let value = self.secret(&format!("{place}.secretRef"), &header.secret_ref, HEADER_KEY)?;
                Some((header.name.clone(), SecretBytes::new(value.trim_ascii().to_vec())))
            }
        };
        let bundle = spec.ca_bundle.as_ref().map(|it| SecretBytes::new(it.clone().into_bytes()));
        let authorities =
            bundle.filter(|it| self.is_bundle(&format!("{field}.webhook.caBundle"), it.expose()));
        Some(WebhookPlan { url: spec.url.clone(), authorities, header, zone: spec.zone.clone() })
    }

    fn is_bundle(&mut self, field: &str, pem: &[u8]) -> bool {
        match authorities::check(pem) {
            Ok(()) => true,
            Err(message) => {
                let message = message.replace("a ca.crt", "text").replace("ca.crt", "it");
                self.wrong(field, message, "put PEM certificates of authorities there");
                false
            }
        }
    }

    fn authorities(&mut self) -> Option<SecretBytes> {
        let spec = &self.model.spec;
        match (spec.ca_bundle.clone(), &spec.ca_bundle_ref) {
            (None, None) => None,
            (Some(_), Some(_)) => {
                self.wrong("spec.caBundleRef", "caBundle is there too", "use one of the two");
                None
            }
            (Some(pem), None) => {
                let pem = pem.into_bytes();
                self.is_bundle("spec.caBundle", &pem).then(|| SecretBytes::new(pem))
            }
            (None, Some(name)) => {
                let reference = ObjectReference {
                    group: String::new(),
                    kind: "ConfigMap".to_owned(),
                    namespace: None,
                    name: name.name.clone(),
                };
                let own = &self.model.meta.reference.namespace;
                let found = authorities::load(self.view, own, &[reference], |_| false);
                if let Some((_, fault)) = found.faults.first() {
                    self.wrong("spec.caBundleRef", fault.message.clone(), fault.next_step.clone());
                    return None;
                }
                Some(SecretBytes::new(found.pem))
            }
        }
    }

    fn duration(&mut self, field: &str, text: Option<&String>) -> Option<Duration> {
        match syntax::duration(text?) {
            Ok(duration) if !duration.is_zero() => Some(duration),
            Ok(_) => {
                self.wrong(field, "must be more than nothing", "for example 1h");
                None
            }
            Err(message) => {
                self.wrong(field, message, "");
                None
            }
        }
    }

    fn count(&mut self, field: &str, number: Option<i64>) -> Option<u32> {
        let number = number?;
        let fit = u32::try_from(number).ok().filter(|it| (1..=1_000_000).contains(it));
        if fit.is_none() {
            self.wrong(field, format!("{number} is out of range"), "use 1 to 1000000");
        }
        fit
    }

    fn port(&mut self, field: &str, number: Option<i64>, default: u16) -> u16 {
        let Some(number) = number else { return default };
        match u16::try_from(number) {
            Ok(port) if port != 0 => port,
            _ => {
                self.wrong(field, format!("{number} is no port"), "use 1 to 65535");
                default
            }
        }
    }

    fn budgets(&mut self, spec: Option<&BudgetsSpec>) -> BudgetPlan {
        let Some(spec) = spec else { return BudgetPlan::default() };
        BudgetPlan {
            per_domain: self.count("spec.budgets.perDomain", spec.per_domain),
            domain_window: self.duration("spec.budgets.domainWindow", spec.domain_window.as_ref()),
            per_account: self.count("spec.budgets.perAccount", spec.per_account),
            account_window: self.duration("spec.budgets.accountWindow", spec.account_window.as_ref()),
        }
    }

    fn preflight(&mut self, spec: Option<&PreflightSpec>) -> PreflightPlan {
        let spec = spec.cloned().unwrap_or_default();
        PreflightPlan {
            enabled: spec.enabled.unwrap_or(true),
            http_port: self.port("spec.preflight.httpPort", spec.http_port, 80),
            tls_port: self.port("spec.preflight.tlsPort", spec.tls_port, 443),
            dns_port: self.port("spec.preflight.dnsPort", spec.dns_port, 53),
        }
    }

    fn on_demand(&mut self, spec: &OnDemandSpec) -> OnDemandPlan {
        self.url("spec.onDemand.allow", &spec.allow, &["http://", "https://"]);
        OnDemandPlan {
            allow: spec.allow.clone(),
            max_names: self.count("spec.onDemand.maxNames", spec.max_names),
            per_window: self.count("spec.onDemand.perWindow", spec.per_window),
            window: self.duration("spec.onDemand.window", spec.window.as_ref()),
            allowed_for: self.duration("spec.onDemand.allowedFor", spec.allowed_for.as_ref()),
            refused_for: self.duration("spec.onDemand.refusedFor", spec.refused_for.as_ref()),
        }
    }
}
