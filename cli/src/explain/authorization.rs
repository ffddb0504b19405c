//! What RequestAuthentications and AuthorizationPolicies of the Gateway say of a request: by the functions that the proxy asks.

use super::Asked;
use super::places::Places;
use super::report::{Answer, Explanation, Part};
use sluice_ir::{Authorization, AuthorizationAction, AuthorizationRule, JwtRule};
use sluice_proxy::http::{Believed, Opinion, RequestView, Sender, believed, opinion};
use sluice_proxy::policy::{PolicyRule, Token, Verdict};
use sluice_proxy::snapshot::Port;
use sluice_proxy::telemetry::Outcome;
use std::time::SystemTime;

/// What refuses the request, in the order in which the proxy asks.
#[derive(Default)]
pub(super) struct Refusals {
    /// A token, whatever else becomes of the request.
    pub(super) token: Option<Answer>,
    /// Policies, where there is a rule or could be one.
    pub(super) policies: Option<Answer>,
}

/// Judges the request and notes what each policy says.
pub(super) fn judge(
    port: &Port,
    view: RequestView<'_>,
    asked: &Asked,
    places: &mut Places<'_>,
    explanation: &mut Explanation,
) -> Refusals {
    let token = match tokens(port, view, places, explanation) {
        Ok(token) => token,
        Err(answer) => return Refusals { token: Some(answer), policies: None },
    };
    let sender = Sender {
        identity: asked.identity.as_deref(),
        source: asked.client,
        remote: asked.client,
        destination: asked.address.unwrap_or(super::port::DEFAULT),
        port: port.port,
    };
    let token = match &token {
        Some(Believed::Token(token)) => Some(&**token),
        _ => None,
    };
    let found = opinion(port, view, sender, token);
    Refusals { token: None, policies: found.and_then(|it| policies(&it, token, places, explanation)) }
}

/// What the tokens of the request come to.
fn tokens(
    port: &Port,
    view: RequestView<'_>,
    places: &mut Places<'_>,
    explanation: &mut Explanation,
) -> Result<Option<Believed>, Answer> {
    let now_s = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    let found = believed(port, view, now_s);
    for policy in &port.gateway.authentication {
        let said = match &found {
            Some(Believed::Anonymous) => "the request has none",
            Some(Believed::Token(_)) => "the token is good",
            Some(Believed::Refused(why)) => *why,
            Some(Believed::KeysMissing) => "the token can't be judged here: its keys must be fetched",
            None => continue,
        };
        for (index, rule) in policy.rules.iter().enumerate() {
            let position = places.field(&policy.origin, &format!("spec.jwtRules[{index}]"));
            let text = format!("{}: tokens of {} in {}: {said}", policy.origin, rule.issuer, holders(rule));
            explanation.policies.push(Part::new(text, position));
        }
    }
    match found {
        Some(Believed::Refused(why)) => Err(Answer::refused(Outcome::Unauthenticated, why)),
        Some(Believed::KeysMissing) => {
            explanation
                .notes
                .push("taken for a request without a token: keys are not fetched here".to_owned());
            Ok(found)
        }
        found => Ok(found),
    }
}

/// Where tokens may stand.
fn holders(rule: &JwtRule) -> String {
    let fields = rule.headers.iter().map(|it| format!("field {}", it.name));
    let parameters = rule.parameters.iter().map(|it| format!("query parameter {it}"));
    let cookies = rule.cookies.iter().map(|it| format!("cookie {it}"));
    let named: Vec<_> = fields.chain(parameters).chain(cookies).collect();
    if named.is_empty() { "the usual places (RFC 6750)".to_owned() } else { named.join(", ") }
}

/// What each policy says, and what comes of it.
fn policies(
    opinion: &Opinion,
    token: Option<&dyn Token>,
    places: &mut Places<'_>,
    explanation: &mut Explanation,
) -> Option<Answer> {
    for (policy, rule) in &opinion.policies {
        let field = rule.as_ref().map(|it| format!("spec.rules[{}]", it.index()));
        let position = places.field(&policy.origin, field.as_deref().unwrap_or_default());
        explanation.policies.push(Part::new(said(policy, rule.as_ref()), position));
    }
    if opinion.policies.iter().any(|(policy, rule)| is_custom(policy) && rule.is_some()) {
        explanation.notes.push("the answer is that of a request which the authoriser lets go on".to_owned());
    }
    let text = match &opinion.judged.verdict {
        Verdict::Allowed => return None,
        Verdict::Denied(rule) => format!("{rule} denies it"),
        Verdict::Unmatched => "no AuthorizationPolicy allows it".to_owned(),
    };
    let needs_token =
        opinion.policies.iter().any(|(policy, _)| policy.rules.iter().any(AuthorizationRule::reads_tokens));
    if token.is_none() && needs_token {
        explanation.notes.push("some of the policies look at a token, and there is none".to_owned());
    }
    Some(Answer::refused(Outcome::Forbidden, text))
}

/// `AuthorizationPolicy shop/admin (DENY): rule 0 fits, so that it is denied`.
fn said(policy: &Authorization, rule: Option<&PolicyRule>) -> String {
    let (word, meaning) = match &policy.action {
        AuthorizationAction::Allow => ("ALLOW", "it is allowed"),
        AuthorizationAction::Deny => ("DENY", "it is denied"),
        AuthorizationAction::Audit => ("AUDIT", "it is marked in the log"),
        AuthorizationAction::Custom(_) => ("CUSTOM", "its authoriser is asked"),
    };
    let dry = if policy.is_dry_run { ", dry run" } else { "" };
    let would = if policy.is_dry_run { " in a dry run" } else { "" };
    match rule {
        Some(rule) => {
            format!("{} ({word}{dry}): rule {} fits, so that {meaning}{would}", policy.origin, rule.index())
        }
        None if policy.rules.is_empty() => format!("{} ({word}{dry}): has no rule", policy.origin),
        None => format!("{} ({word}{dry}): no rule fits", policy.origin),
    }
}

fn is_custom(policy: &Authorization) -> bool {
    matches!(policy.action, AuthorizationAction::Custom(_))
}
