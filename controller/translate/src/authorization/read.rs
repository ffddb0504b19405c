//! From an AuthorizationPolicy to the model: each field is taken, or noted as a fault that closes.

use super::model::{ActionModel, AuthorizationModel};
use super::values::{self, Wrong};
use super::{attribute, template};
use crate::model::Meta;
use crate::targets;
use crate::values::Values as Notes;
use sluice_crds::{
    AuthorizationConditionSpec, AuthorizationOperationSpec, AuthorizationPolicy, AuthorizationPolicySpec,
    AuthorizationRuleSpec, AuthorizationSourceSpec, Kind,
};
use sluice_ir::{AuthorizationRule, Condition, Operation, Selector, Source, ValueMatch, Values};

/// Most rules (Istio's CRD).
const MOST_RULES: usize = 512;
/// Most service accounts of a source (Istio's CRD).
const MOST_ACCOUNTS: usize = 16;
/// Annotation: a match is only told.
const DRY_RUN: &str = "istio.io/dry-run";

/// Reads a policy; `root` is the mesh's root namespace.
pub(crate) fn read(it: &AuthorizationPolicy, root: &str) -> AuthorizationModel {
    let meta = Meta::read(Kind::AuthorizationPolicy, &it.metadata);
    let home = meta.reference.namespace.as_str();
    let spec = &it.spec;
    let mut notes = Notes::default();
    let action = action(spec, &mut notes);
    if spec.rules.len() > MOST_RULES {
        notes.fault(
            "rules",
            format!("has {} rules", spec.rules.len()),
            "use at most 512, or several policies",
        );
    }
    let allows = action == ActionModel::Allow;
    // More than may be: of ALLOW the rest lets nobody in, of the others it holds all the same.
    let taken = if allows { MOST_RULES } else { usize::MAX };
    let is_known_action = spec.action.as_deref().is_none_or(|it| ACTIONS.contains(&it));
    let rules = spec.rules.iter().take(if is_known_action { taken } else { 0 }).enumerate().filter_map(
        |(index, it)| {
            let mut reader = Reader {
                notes: &mut notes,
                home,
                allows,
                field: format!("rules[{index}]"),
                is_spoilt: false,
            };
            let rule = reader.rule(it);
            (!(allows && reader.is_spoilt)).then_some(rule)
        },
    );
    let rules = rules.collect();
    let annotation = it.metadata.annotations.as_ref().and_then(|it| it.get(DRY_RUN));
    let is_dry_run = annotation.is_some_and(|it| it.eq_ignore_ascii_case("true"));
    if let Some(word) =
        annotation.filter(|it| !it.eq_ignore_ascii_case("true") && !it.eq_ignore_ascii_case("false"))
    {
        let message = format!("annotation {DRY_RUN} is {word:?}: the policy is enforced");
        notes.warn("action", &message, "use \"true\" or \"false\"");
    }
    let targets = targets::read((spec.target_ref.as_ref(), &spec.target_refs), (home, root), &mut notes);
    targets::beside(spec.selector.is_some(), &targets, &mut notes);
    AuthorizationModel {
        selector: spec.selector.as_ref().map(|it| Selector(it.match_labels.clone())),
        targets,
        action,
        is_dry_run,
        rules,
        faults: notes.faults,
        warnings: notes.warnings,
        meta,
    }
}

const ACTIONS: [&str; 4] = ["ALLOW", "DENY", "AUDIT", "CUSTOM"];

/// An action that nobody knows lets nobody in.
fn action(spec: &AuthorizationPolicySpec, notes: &mut Notes) -> ActionModel {
    let provider = spec.provider.as_ref().map(|it| it.name.as_str()).unwrap_or_default();
    let word = spec.action.as_deref().unwrap_or("ALLOW");
    if word != "CUSTOM" && spec.provider.is_some() {
        notes.fault("provider", "is for action CUSTOM", "remove it, or use action CUSTOM");
    }
    match word {
        "ALLOW" => ActionModel::Allow,
        "DENY" => ActionModel::Deny,
        "AUDIT" => ActionModel::Audit,
        "CUSTOM" => {
            if provider.is_empty() {
                notes.fault(
                    "provider.name",
                    "is missing: what the rules match is refused",
                    "name a provider of the mesh's configuration",
                );
            }
            ActionModel::Custom(provider.to_owned())
        }
        other => {
            notes.fault(
                "action",
                format!("{other:?} is no action: nobody is let in"),
                "use ALLOW, DENY, AUDIT or CUSTOM",
            );
            ActionModel::Allow
        }
    }
}

/// Reads one rule.
struct Reader<'a> {
    notes: &'a mut Notes,
    /// Namespace of the policy.
    home: &'a str,
    allows: bool,
    /// Below `spec`.
    field: String,
    /// Whether something of the rule could not be read.
    is_spoilt: bool,
}

impl Reader<'_> {
    fn rule(&mut self, it: &AuthorizationRuleSpec) -> AuthorizationRule {
        let rule = self.field.clone();
        let mut read = AuthorizationRule::default();
        let mut is_anywhere = false;
        for (index, from) in it.from.iter().enumerate() {
            self.field = format!("{rule}.from[{index}].source");
            let empty = AuthorizationSourceSpec::default();
            let source = from.source.as_ref().unwrap_or(&empty);
            if *source == empty {
                self.spoilt("", ("says nothing".to_owned(), "add a field, or remove the entry"));
            }
            let source = self.source(source);
            is_anywhere |= source == Source::default();
            read.from.push(source);
        }
        let mut is_anything = false;
        for (index, to) in it.to.iter().enumerate() {
            self.field = format!("{rule}.to[{index}].operation");
            let empty = AuthorizationOperationSpec::default();
            let operation = to.operation.as_ref().unwrap_or(&empty);
            if *operation == empty {
                self.spoilt("", ("says nothing".to_owned(), "add a field, or remove the entry"));
            }
            let operation = self.operation(operation);
            is_anything |= operation == Operation::default();
            read.to.push(operation);
        }
        // One that takes everything makes the others needless.
        if is_anywhere {
            read.from.clear();
        }
        if is_anything {
            read.to.clear();
        }
        for (index, when) in it.when.iter().enumerate() {
            self.field = format!("{rule}.when[{index}]");
            read.when.extend(self.condition(when));
        }
        read
    }

    fn source(&mut self, it: &AuthorizationSourceSpec) -> Source {
        let has_accounts = !it.service_accounts.is_empty() || !it.not_service_accounts.is_empty();
        let has_others = [&it.principals, &it.not_principals, &it.namespaces, &it.not_namespaces];
        if has_accounts && has_others.iter().any(|it| !it.is_empty()) {
            let message = "stands beside principals or namespaces".to_owned();
            self.spoilt("serviceAccounts", (message, "use one of them"));
        }
        if it.service_accounts.len().max(it.not_service_accounts.len()) > MOST_ACCOUNTS {
            let message = "names too many".to_owned();
            self.spoilt("serviceAccounts", (message, "use at most 16, and several sources"));
        }
        let home = self.home;
        Source {
            principals: self.list(
                ("principals", &it.principals),
                ("notPrincipals", &it.not_principals),
                values::principal,
            ),
            request_principals: self.list(
                ("requestPrincipals", &it.request_principals),
                ("notRequestPrincipals", &it.not_request_principals),
                values::text,
            ),
            namespaces: self.list(
                ("namespaces", &it.namespaces),
                ("notNamespaces", &it.not_namespaces),
                values::namespace,
            ),
            service_accounts: self.list(
                ("serviceAccounts", &it.service_accounts),
                ("notServiceAccounts", &it.not_service_accounts),
                |it| values::service_account(it, home),
            ),
            addresses: self.list(
                ("ipBlocks", &it.ip_blocks),
                ("notIpBlocks", &it.not_ip_blocks),
                values::block,
            ),
            remote_addresses: self.list(
                ("remoteIpBlocks", &it.remote_ip_blocks),
                ("notRemoteIpBlocks", &it.not_remote_ip_blocks),
                values::block,
            ),
            trust_domains: self.list(
                ("trustDomains", &it.trust_domains),
                ("notTrustDomains", &it.not_trust_domains),
                values::text,
            ),
        }
    }

    fn operation(&mut self, it: &AuthorizationOperationSpec) -> Operation {
        if let Some(method) = it.methods.iter().find(|it| it.bytes().any(|it| it.is_ascii_lowercase())) {
            let message = format!("{method:?} has small letters, which no usual method has");
            self.notes.warn(&format!("{}.methods", self.field), &message, "write it in capitals");
        }
        Operation {
            hosts: self.list(("hosts", &it.hosts), ("notHosts", &it.not_hosts), |it| {
                values::text(&it.to_ascii_lowercase())
            }),
            ports: self.list(("ports", &it.ports), ("notPorts", &it.not_ports), values::port),
            methods: self.list(("methods", &it.methods), ("notMethods", &it.not_methods), values::text),
            paths: self.list(("paths", &it.paths), ("notPaths", &it.not_paths), template::path),
        }
    }

    /// `None`: of a policy that does not allow, a condition that can't be read is none.
    fn condition(&mut self, it: &AuthorizationConditionSpec) -> Option<Condition> {
        let attribute = match attribute::read(&it.key) {
            Ok(attribute) => attribute,
            Err(wrong) => {
                self.spoilt("key", wrong);
                return None;
            }
        };
        if it.values.is_empty() && it.not_values.is_empty() {
            self.spoilt("values", ("says nothing".to_owned(), "add values or notValues"));
            return None;
        }
        let home = self.home;
        let read = |it: &str| attribute::value(&attribute, it, home);
        let values: Values<ValueMatch> =
            self.list(("values", &it.values), ("notValues", &it.not_values), read);
        (values != Values::default()).then_some(Condition { attribute, values })
    }

    /// Both lists of a field; nothing, where one of their values can't be read.
    fn list<T>(
        &mut self,
        any: (&str, &[String]),
        none: (&str, &[String]),
        read: impl Fn(&str) -> Result<T, Wrong>,
    ) -> Values<T> {
        let mut is_whole = true;
        let mut take = |(name, list): (&str, &[String])| {
            let mut taken = Vec::with_capacity(list.len());
            for (index, value) in list.iter().enumerate() {
                match read(value) {
                    Ok(value) => taken.push(value),
                    Err(wrong) => {
                        is_whole = false;
                        self.spoilt(&format!("{name}[{index}]"), wrong);
                    }
                }
            }
            taken
        };
        let values = Values { any: take(any), none: take(none) };
        if is_whole { values } else { Values::default() }
    }

    fn spoilt(&mut self, part: &str, (message, next_step): Wrong) {
        self.is_spoilt = true;
        let effect = if self.allows { "; the rule lets nobody in" } else { "; it is taken for absent" };
        let dot = if part.is_empty() { "" } else { "." };
        let field = format!("{}{dot}{part}", self.field);
        self.notes.fault(field, format!("{message}{effect}"), next_step);
    }
}
