//! From a RequestAuthentication to the model: each field is taken, or noted as a fault that closes.

use super::keys;
use super::model::AuthenticationModel;
use crate::destination::parse_duration;
use crate::model::Meta;
use crate::targets;
use crate::values::Values;
use sluice_crds::{JwtRuleSpec, Kind, RequestAuthentication};
use sluice_ir::{JwtKeys, JwtRule, KeyReach, Selector, TokenHeader};
use std::collections::BTreeMap;
use std::time::Duration;

/// Most rules (Istio's CRD).
const MOST_RULES: usize = 4_096;
/// Most places of one rule where tokens are looked for.
const MOST_PLACES: usize = 16;
/// Most header fields that one rule gives.
const MOST_OUTPUTS: usize = 32;
/// Longest set of keys that is written out.
const KEYS_BYTES: usize = 256 * 1024;

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);
const LONGEST_TIMEOUT: Duration = Duration::from_secs(60);

/// Fields that frame or address a request, or that tokens come in: none of them can be given.
const NEVER_GIVEN: [&str; 13] = [
    "authorization",
    "connection",
    "content-length",
    "cookie",
    "expect",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
];

/// Reads a policy; `root` is the mesh's root namespace.
pub(crate) fn read(it: &RequestAuthentication, root: &str) -> AuthenticationModel {
    let meta = Meta::read(Kind::RequestAuthentication, &it.metadata);
    let home = meta.reference.namespace.as_str();
    let spec = &it.spec;
    let mut values = Values::default();
    if spec.jwt_rules.len() > MOST_RULES {
        let message = format!("has {} rules", spec.jwt_rules.len());
        values.fault("jwtRules", message, "use at most 4096, or several policies");
    }
    let rules = spec.jwt_rules.iter().take(MOST_RULES).enumerate();
    let rules = rules.map(|(index, it)| rule(it, &format!("jwtRules[{index}]"), &mut values)).collect();
    let targets = targets::read((spec.target_ref.as_ref(), &spec.target_refs), (home, root), &mut values);
    targets::beside(spec.selector.is_some(), &targets, &mut values);
    AuthenticationModel {
        selector: spec.selector.as_ref().map(|it| Selector(it.match_labels.clone())),
        targets,
        rules,
        faults: values.faults,
        warnings: values.warnings,
        meta,
    }
}

fn rule(spec: &JwtRuleSpec, field: &str, values: &mut Values) -> JwtRule {
    if spec.issuer.is_empty() {
        values.fault(
            format!("{field}.issuer"),
            "is missing: no token is for this rule",
            "name the claim iss",
        );
    }
    for (index, audience) in spec.audiences.iter().enumerate() {
        if audience.is_empty() {
            let field = format!("{field}.audiences[{index}]");
            values.fault(field, "is empty, and so no token's audience", "remove it, or name one");
        }
    }
    let places = spec.from_headers.len() + spec.from_params.len() + spec.from_cookies.len();
    if places > MOST_PLACES {
        values.fault(field, format!("looks for tokens in {places} places"), "use at most 16");
    }
    let headers: Vec<TokenHeader> = headers(spec, field, values).into_iter().take(MOST_PLACES).collect();
    let parameters = names(&spec.from_params, field, "fromParams", |_| true, values);
    let cookies = names(&spec.from_cookies, field, "fromCookies", is_token, values);
    JwtRule {
        issuer: spec.issuer.clone(),
        audiences: spec.audiences.clone(),
        keys: keys(spec, field, values),
        headers,
        parameters,
        cookies,
        forwards: spec.forward_original_token.unwrap_or_default(),
        payload_header: spec
            .output_payload_to_header
            .as_ref()
            .filter(|it| !it.is_empty())
            .and_then(|name| given(name, &format!("{field}.outputPayloadToHeader"), values)),
        claim_headers: claim_headers(spec, field, values),
        space_delimited: spec.space_delimited_claims.clone(),
    }
}

fn headers(spec: &JwtRuleSpec, field: &str, values: &mut Values) -> Vec<TokenHeader> {
    let mut headers = Vec::new();
    for (index, it) in spec.from_headers.iter().enumerate() {
        let field = format!("{field}.fromHeaders[{index}]");
        if !is_token(&it.name) {
            let message = format!("{:?} is no name of a header field", it.name);
            values.fault(format!("{field}.name"), message, "correct it: no token is looked for there");
            continue;
        }
        let prefix = it.prefix.clone().unwrap_or_default();
        if !prefix.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) {
            values.fault(
                format!("{field}.prefix"),
                "no header field begins so",
                "use letters, marks and spaces",
            );
            continue;
        }
        headers.push(TokenHeader { name: it.name.to_ascii_lowercase(), prefix });
    }
    headers
}

fn names(
    list: &[String],
    field: &str,
    what: &str,
    is_name: impl Fn(&str) -> bool,
    values: &mut Values,
) -> Vec<String> {
    let mut names = Vec::new();
    for (index, name) in list.iter().take(MOST_PLACES).enumerate() {
        if name.is_empty() || !is_name(name) {
            let message = format!("{name:?} is no name: no token is looked for there");
            values.fault(format!("{field}.{what}[{index}]"), message, "correct it");
            continue;
        }
        names.push(name.clone());
    }
    names
}

/// Keys that can't be used are none: the issuer's tokens are refused.
fn keys(spec: &JwtRuleSpec, field: &str, values: &mut Values) -> JwtKeys {
    let none = || JwtKeys::Inline(r#"{"keys":[]}"#.to_owned());
    let uri = spec.jwks_uri.as_deref().filter(|it| !it.is_empty());
    let refused = "its issuer's tokens are refused";
    if spec.issuer.is_empty() {
        return none();
    }
    if let Some(text) = spec.jwks.as_ref().filter(|it| !it.is_empty()) {
        let field = format!("{field}.jwks");
        if uri.is_some() {
            let message = format!("stands beside jwksUri: {refused}");
            values.fault(field, message, "remove one of the two");
            return none();
        }
        let keys = serde_json::from_str::<serde_json::Value>(text);
        let has_keys = keys.is_ok_and(|it| it.get("keys").is_some_and(serde_json::Value::is_array));
        if !has_keys || text.len() > KEYS_BYTES {
            let message = format!("is no JSON Web Key Set of at most 256 KiB: {refused}");
            values.fault(field, message, "write {\"keys\": [...]} (RFC 7517 §5)");
            return none();
        }
        return JwtKeys::Inline(text.clone());
    }
    let (field_of, asked) = match uri {
        Some(uri) => (format!("{field}.jwksUri"), uri),
        None => (format!("{field}.issuer"), spec.issuer.as_str()),
    };
    match keys::place(asked) {
        Ok(place) if !place.is_tls && !place.host.ends_with(".svc") && !place.host.contains(".svc.") => {
            let message = "keys come in the clear: whoever is on the way can have tokens believed";
            values.warn(&field_of, message, "use https");
        }
        Ok(_) => {}
        Err(message) => {
            let next_step = match uri {
                Some(_) => "write it as https://HOST/PATH",
                None => "set jwksUri or jwks: an issuer that is no address can't be asked for its keys",
            };
            values.fault(field_of, format!("{message}: {refused}"), next_step);
            return none();
        }
    }
    JwtKeys::Fetched {
        uri: uri.unwrap_or_default().to_owned(),
        timeout: timeout(spec, field, values),
        reach: KeyReach::Public,
    }
}

fn timeout(spec: &JwtRuleSpec, field: &str, values: &mut Values) -> Duration {
    let Some(text) = &spec.timeout else { return DEFAULT_TIMEOUT };
    match parse_duration(text) {
        Some(time) if !time.is_zero() && time <= LONGEST_TIMEOUT => time,
        _ => {
            let message = format!("{text:?} is no time from 1ms to 60s: 5s holds");
            values.fault(format!("{field}.timeout"), message, "write it as 5s");
            DEFAULT_TIMEOUT
        }
    }
}

fn claim_headers(spec: &JwtRuleSpec, field: &str, values: &mut Values) -> BTreeMap<String, Vec<String>> {
    let mut headers = BTreeMap::new();
    if spec.output_claim_to_headers.len() > MOST_OUTPUTS {
        let message = format!("gives {} header fields", spec.output_claim_to_headers.len());
        values.fault(format!("{field}.outputClaimToHeaders"), message, "use at most 32");
    }
    for (index, it) in spec.output_claim_to_headers.iter().take(MOST_OUTPUTS).enumerate() {
        let field = format!("{field}.outputClaimToHeaders[{index}]");
        let Some(name) = given(&it.header, &format!("{field}.header"), values) else { continue };
        if it.claim.is_empty() {
            values.fault(
                format!("{field}.claim"),
                "is missing: the field is only taken from clients",
                "name a claim",
            );
        }
        let path = it.claim.split('.').map(str::to_owned).collect();
        if headers.insert(name, path).is_some() {
            values.fault(
                format!("{field}.header"),
                "gets an earlier claim too: the later one counts",
                "use another one",
            );
        }
    }
    headers
}

/// A header field that tokens give, lower case.
fn given(name: &str, field: &str, values: &mut Values) -> Option<String> {
    let lower = name.to_ascii_lowercase();
    if !is_token(name) {
        values.fault(
            field,
            format!("{name:?} is no name of a header field"),
            "use letters, digits and hyphens",
        );
        return None;
    }
    if NEVER_GIVEN.contains(&lower.as_str()) {
        values.fault(field, format!("{name:?} is not set by tokens"), "use a name of your own, as x-user");
        return None;
    }
    Some(lower)
}

/// RFC 9110 §5.6.2.
fn is_token(name: &str) -> bool {
    let is_mark = |it: u8| b"!#$%&'*+-.^_`|~".contains(&it);
    !name.is_empty() && name.len() <= 256 && name.bytes().all(|it| it.is_ascii_alphanumeric() || is_mark(it))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::read;
    use serde_json::{Value, json};
    use sluice_ir::JwtKeys;

    fn with(change: Value) -> crate::authentication::AuthenticationModel {
        let mut rule = json!({"issuer": "https://id.example.com"});
        for (name, value) in change.as_object().unwrap() {
            rule[name] = value.clone();
        }
        let policy = json!({"metadata": {"name": "p", "namespace": "shop"}, "spec": {"jwtRules": [rule]},
                            "apiVersion": "security.istio.io/v1", "kind": "RequestAuthentication"});
        read(&serde_json::from_value(policy).unwrap(), "istio-system")
    }

    #[test]
    fn what_cannot_be_used_is_named_with_its_field() {
        let fields = |change: Value| -> Vec<String> {
            let model = with(change);
            model.faults.iter().chain(&model.warnings).map(|it| it.field.clone()).collect()
        };
        assert!(fields(json!({})).is_empty());
        for (change, field) in [
            (json!({"issuer": ""}), "issuer"),
            (json!({"issuer": "me"}), "issuer"),
            (json!({"issuer": "http://id.example.com"}), "issuer"),
            (json!({"audiences": ["a", ""]}), "audiences[1]"),
            (json!({"jwksUri": "ftp://a.example.com"}), "jwksUri"),
            (json!({"jwks_uri": "http://a.example.com/keys"}), "jwksUri"),
            (json!({"jwksUri": "https://u:p@a.example.com/keys"}), "jwksUri"),
            (json!({"jwks": "{}"}), "jwks"),
            (json!({"jwks": "{\"keys\":[]}", "jwksUri": "https://a.example.com/"}), "jwks"),
            (json!({"timeout": "soon"}), "timeout"),
            (json!({"timeout": "0s"}), "timeout"),
            (json!({"timeout": "61s"}), "timeout"),
            (json!({"fromHeaders": [{"name": "a b"}]}), "fromHeaders[0].name"),
            (json!({"fromHeaders": [{"name": "a", "prefix": "b\n"}]}), "fromHeaders[0].prefix"),
            (json!({"fromParams": ["a", ""]}), "fromParams[1]"),
            (json!({"fromCookies": ["a=b"]}), "fromCookies[0]"),
            (json!({"outputPayloadToHeader": "Host"}), "outputPayloadToHeader"),
            (
                json!({"outputClaimToHeaders": [{"header": "x", "claim": ""}]}),
                "outputClaimToHeaders[0].claim",
            ),
            (
                json!({"outputClaimToHeaders": [{"header": "Authorization", "claim": "sub"}]}),
                "outputClaimToHeaders[0].header",
            ),
            (
                json!({"outputClaimToHeaders": [{"header": ":path", "claim": "sub"}]}),
                "outputClaimToHeaders[0].header",
            ),
            (
                json!({"outputClaimToHeaders": [{"header": "x", "claim": "a"}, {"header": "X", "claim": "b"}]}),
                "outputClaimToHeaders[1].header",
            ),
        ] {
            assert_eq!(fields(change.clone()), [format!("spec.jwtRules[0].{field}")], "{change}");
        }
    }

    #[test]
    fn a_rule_whose_keys_cannot_be_used_has_none() {
        for change in
            [json!({"jwksUri": "file:///etc/passwd"}), json!({"jwks": "x"}), json!({"issuer": "me"})]
        {
            let model = with(change);
            let [rule] = model.rules.as_slice() else { panic!() };
            assert_eq!(rule.keys, JwtKeys::Inline("{\"keys\":[]}".to_owned()));
        }
        assert!(matches!(&with(json!({})).rules[0].keys, JwtKeys::Fetched { uri, .. } if uri.is_empty()));
    }
}
