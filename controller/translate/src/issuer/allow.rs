//! Who may use an issuer, and who may have which name.

use crate::model::{NamespaceRule, Selector};
use crate::syntax;
use sluice_crds::{FromNamespaces, NamespacesSpec};

/// Names that listeners of some namespaces may have ordered.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct DomainRule {
    pub(crate) namespaces: NamespaceRule,
    pub(crate) names: Vec<String>,
}

impl DomainRule {
    /// Whether one of the names covers `name`, which may be a wildcard.
    pub(crate) fn covers(&self, name: &str) -> bool {
        self.names.iter().any(|it| covers(it, name))
    }
}

/// Whether a name of a rule covers `name`, which may be a wildcard.
pub(super) fn covers(pattern: &str, name: &str) -> bool {
    pattern == "*"
        || pattern == name
        || pattern.strip_prefix('*').is_some_and(|suffix| suffix.starts_with('.') && name.ends_with(suffix))
}

/// The namespaces that are let in; an operator that Kubernetes does not know is named.
pub(super) fn namespaces(spec: Option<&NamespacesSpec>) -> Result<NamespaceRule, String> {
    let Some(spec) = spec else { return Ok(NamespaceRule::Same) };
    match spec.from.unwrap_or_default() {
        FromNamespaces::Same => Ok(NamespaceRule::Same),
        FromNamespaces::All => Ok(NamespaceRule::All),
        FromNamespaces::Selector => {
            let spec = spec.selector.as_ref().ok_or("from: Selector needs a selector")?;
            let expressions = spec.match_expressions.iter();
            let selector = Selector {
                labels: spec.match_labels.clone(),
                expressions: expressions
                    .map(|it| (it.key.clone(), it.operator.clone(), it.values.clone()))
                    .collect(),
            };
            match selector.unknown_operator() {
                Some(operator) => Err(format!("unknown operator {operator:?}")),
                None => Ok(NamespaceRule::Selector(selector)),
            }
        }
    }
}

/// A name of a rule: a host name, a wildcard, or `*` for all.
pub(super) fn name(text: &str) -> Result<String, String> {
    if text == "*" {
        return Ok(text.to_owned());
    }
    syntax::hostname(text, true).map(|()| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::DomainRule;
    use crate::model::NamespaceRule;

    #[test]
    fn a_wildcard_covers_all_below_and_itself() {
        let rule = |name: &str| DomainRule { namespaces: NamespaceRule::All, names: vec![name.to_owned()] };
        assert!(rule("*.example.com").covers("shop.example.com"));
        assert!(rule("*.example.com").covers("a.shop.example.com"));
        assert!(rule("*.example.com").covers("*.example.com"));
        assert!(rule("*.example.com").covers("*.shop.example.com"));
        assert!(!rule("*.example.com").covers("example.com"));
        assert!(!rule("*.example.com").covers("badexample.com"));
        assert!(!rule("shop.example.com").covers("a.shop.example.com"));
        assert!(rule("*").covers("anything.example"));
    }
}
