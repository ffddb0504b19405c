//! From the model to the IR: trust domains of principals are written out, providers become authorisers.

use super::model::{ActionModel, AuthorizationModel};
use super::provider;
use crate::backend::BackendId;
use crate::view::View;
use sluice_crds::ObjectRef;
use sluice_ir::{
    Attribute, Authorization, AuthorizationAction, AuthorizationRule, BackendTarget, ExtAuth, Origin,
    ValueMatch, Values,
};
use std::sync::Arc;

/// The trust domain that stands for the mesh's own, whatever that is called (Istio).
const LOCAL: &str = "cluster.local";

/// What a policy comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ResolvedAuthorization {
    pub(crate) policy: Arc<Authorization>,
    /// The Gateways and classes that it governs.
    pub(crate) objects: Vec<ObjectRef>,
    pub(crate) is_for_workloads: bool,
    pub(crate) created_s: i64,
    /// Why CUSTOM can't ask.
    pub(crate) failure: Option<String>,
}

/// The backend that a policy asks, as far as the mesh's configuration allows.
pub(crate) fn backend_id(view: &View<'_>, model: &AuthorizationModel) -> Option<BackendId> {
    let ActionModel::Custom(name) = &model.action else { return None };
    Some(find(view, model, name).ok()?.backend)
}

/// Computes what a policy comes to.
pub(crate) fn compute(view: &View<'_>, model: &AuthorizationModel) -> ResolvedAuthorization {
    let reference = &model.meta.reference;
    let mut failure = None;
    let action = match &model.action {
        ActionModel::Allow => AuthorizationAction::Allow,
        ActionModel::Deny => AuthorizationAction::Deny,
        ActionModel::Audit => AuthorizationAction::Audit,
        ActionModel::Custom(name) => match custom(view, model, name) {
            Ok(action) => action,
            // Whom nobody can be asked about is refused (Istio).
            Err(message) => {
                failure = Some(message);
                AuthorizationAction::Deny
            }
        },
    };
    let domains = view.mesh().trust_domains();
    let policy = Authorization {
        origin: Origin::new(reference.kind.name(), reference.namespace.clone(), reference.name.clone()),
        selector: model.selector.clone().unwrap_or_default(),
        action,
        is_dry_run: model.is_dry_run,
        rules: model.rules.iter().map(|it| written_out(it, &domains)).collect(),
    };
    ResolvedAuthorization {
        policy: Arc::new(policy),
        objects: model.objects().cloned().collect(),
        is_for_workloads: model.is_for_workloads(),
        created_s: model.meta.created_s,
        failure,
    }
}

fn find(view: &View<'_>, model: &AuthorizationModel, name: &str) -> Result<provider::Provider, String> {
    let root = view.options().root_namespace.as_str();
    let client = &model.meta.reference.namespace;
    provider::find(view.mesh(), name, (root, client), view.domain())
}

fn custom(view: &View<'_>, model: &AuthorizationModel, name: &str) -> Result<AuthorizationAction, String> {
    let provider::Provider { mut authorizer, backend } = find(view, model, name)?;
    authorizer.target = match view.backend(&backend).map(|it| &**it) {
        Some(Ok(resolved)) => BackendTarget::Backend(resolved.backend.key.clone()),
        Some(Err(failure)) => return Err(format!("extension provider {name:?}: {}", failure.message)),
        None => return Err(format!("extension provider {name:?}: backend not found")),
    };
    Ok(AuthorizationAction::Custom(Box::new(ExtAuth::Ask(Box::new(authorizer)))))
}

/// A rule whose principals name the mesh's trust domain by each of its names.
fn written_out(rule: &AuthorizationRule, domains: &[String]) -> AuthorizationRule {
    let mut rule = rule.clone();
    for source in &mut rule.from {
        write_out(&mut source.principals, domains);
    }
    for condition in &mut rule.when {
        if condition.attribute == Attribute::SourcePrincipal {
            write_out(&mut condition.values, domains);
        }
    }
    rule
}

fn write_out(values: &mut Values<ValueMatch>, domains: &[String]) {
    for list in [&mut values.any, &mut values.none] {
        let mut all = Vec::with_capacity(list.len());
        for value in list.drain(..) {
            for name in names(&value, domains) {
                if !all.contains(&name) {
                    all.push(name);
                }
            }
        }
        *list = all;
    }
}

/// The names of a principal: one in each of the mesh's trust domains, where it is in one of them.
fn names(value: &ValueMatch, domains: &[String]) -> Vec<ValueMatch> {
    let make: fn(String) -> ValueMatch = match value {
        ValueMatch::Exact(_) => ValueMatch::Exact,
        ValueMatch::Prefix(_) => ValueMatch::Prefix,
        // Of these the beginning is open, and so is the trust domain.
        ValueMatch::Suffix(_) | ValueMatch::Present | ValueMatch::Parts(_) | ValueMatch::Network(_) => {
            return vec![value.clone()];
        }
    };
    let (ValueMatch::Exact(text) | ValueMatch::Prefix(text)) = value else { return vec![value.clone()] };
    let own =
        text.split_once('/').filter(|(domain, _)| *domain == LOCAL || domains.iter().any(|it| it == domain));
    match own {
        None => vec![value.clone()],
        Some((_, rest)) => domains.iter().map(|domain| make(format!("{domain}/{rest}"))).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::names;
    use sluice_ir::ValueMatch::{self, Exact, Prefix, Present, Suffix};

    #[test]
    fn a_principal_of_the_mesh_has_a_name_in_each_of_its_trust_domains() {
        let domains = ["td.example".to_owned(), "old.example".to_owned()];
        let named = |it: ValueMatch| names(&it, &domains);
        let exact = |it: &str| Exact(it.to_owned());
        let both = [exact("td.example/ns/a/sa/b"), exact("old.example/ns/a/sa/b")];
        for own in ["td.example", "old.example", "cluster.local"] {
            assert_eq!(named(exact(&format!("{own}/ns/a/sa/b"))), both, "{own}");
        }
        assert_eq!(named(exact("else.example/ns/a/sa/b")), [exact("else.example/ns/a/sa/b")]);
        let begun = [Prefix("td.example/ns/a/".to_owned()), Prefix("old.example/ns/a/".to_owned())];
        assert_eq!(named(Prefix("cluster.local/ns/a/".to_owned())), begun);
        for open in [Suffix("/sa/b".to_owned()), Present, Prefix("td.exa".to_owned())] {
            assert_eq!(named(open.clone()), [open]);
        }
    }
}
