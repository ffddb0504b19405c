//! Policies as connections meet them, that are carried whole: they have no method, path, host, field or token. A rule of ALLOW
//! that asks for one of those lets nobody in; a rule of the other actions asks no longer for it, and so holds for more (Istio).

use sluice_ir::{Authorization, AuthorizationAction, AuthorizationRule, Operation, Source, Values};
use std::sync::Arc;

/// The policy as it holds for connections.
pub(super) fn of(policy: &Arc<Authorization>) -> Arc<Authorization> {
    if !policy.rules.iter().any(asks_for_requests) {
        return policy.clone();
    }
    let rules = match policy.action {
        AuthorizationAction::Allow => {
            policy.rules.iter().filter(|it| !asks_for_requests(it)).cloned().collect()
        }
        AuthorizationAction::Deny | AuthorizationAction::Audit | AuthorizationAction::Custom(_) => {
            policy.rules.iter().map(without_requests).collect()
        }
    };
    Arc::new(Authorization { rules, ..Authorization::clone(policy) })
}

fn asks_for_requests(rule: &AuthorizationRule) -> bool {
    rule.reads_tokens()
        || rule.to.iter().any(|it| {
            it.hosts != Values::default() || it.methods != Values::default() || it.paths != Values::default()
        })
        || rule.when.iter().any(|it| it.attribute.is_of_request())
}

fn without_requests(rule: &AuthorizationRule) -> AuthorizationRule {
    let source = |it: &Source| Source { request_principals: Values::default(), ..it.clone() };
    let operation = |it: &Operation| Operation { ports: it.ports.clone(), ..Operation::default() };
    let mut from: Vec<Source> = rule.from.iter().map(source).collect();
    let mut to: Vec<Operation> = rule.to.iter().map(operation).collect();
    // One that asks for nothing any more takes everything.
    if from.contains(&Source::default()) {
        from.clear();
    }
    if to.contains(&Operation::default()) {
        to.clear();
    }
    let when = rule.when.iter().filter(|it| !it.attribute.is_of_request()).cloned().collect();
    AuthorizationRule { from, to, when }
}
