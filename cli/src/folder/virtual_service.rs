//! Istio's VirtualService is not served: Gateway API's routes say the same. What each field of one is called there.

use serde_json::Value;

/// What to write in place of a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Way {
    /// `spec.http[0].retries`.
    pub(super) field: String,
    /// How Gateway API, or a policy of ours, says it.
    pub(super) instead: &'static str,
}

/// Ways of fields, by their path without indices; a path stands for all below it that has no line of its own.
const WAYS: &[(&str, &str)] = &[
    ("hosts", "name the hosts in spec.hostnames of an HTTPRoute (of a TLSRoute for tls)"),
    ("gateways", "name the Gateways, or a listener by sectionName, in spec.parentRefs of the route"),
    ("exportTo", "who may attach is said by allowedRoutes of the Gateway's listeners"),
    ("http.name", "set spec.rules[].name of the HTTPRoute"),
    ("http.match.name", "set spec.rules[].name of the HTTPRoute"),
    ("http.match.uri.exact", "use spec.rules[].matches[].path of type Exact"),
    (
        "http.match.uri.prefix",
        "use spec.rules[].matches[].path of type PathPrefix; it matches whole segments",
    ),
    ("http.match.uri.regex", "use spec.rules[].matches[].path of type RegularExpression"),
    ("http.match.ignoreUriCase", "use a path of type RegularExpression that begins with (?i)"),
    ("http.match.scheme", "attach the route to the listener of that protocol by parentRefs[].sectionName"),
    ("http.match.method", "use spec.rules[].matches[].method; it is one exact method"),
    ("http.match.authority", "use spec.hostnames of an HTTPRoute of its own"),
    ("http.match.headers", "use spec.rules[].matches[].headers of type Exact or RegularExpression"),
    (
        "http.match.withoutHeaders",
        "matches can't be negated: let a rule that matches the header lead elsewhere",
    ),
    ("http.match.queryParams", "use spec.rules[].matches[].queryParams of type Exact or RegularExpression"),
    ("http.match.port", "attach the route to the listener of that port by parentRefs[].port"),
    ("http.match.gateways", "attach an HTTPRoute of its own to that Gateway by spec.parentRefs"),
    ("http.match.sourceLabels", "a gateway knows no labels of clients: use clients of a TrafficPolicy"),
    (
        "http.match.sourceNamespace",
        "a gateway knows no namespaces of clients: use clients of a TrafficPolicy",
    ),
    ("http.match.statPrefix", "metrics carry the name of the route"),
    ("http.route.destination.host", "name the Service in backendRefs[].name, or the host by kind Hostname"),
    (
        "http.route.destination.subset",
        "use a backendRef of kind Subset (group networking.istio.io) named SUBSET.HOST",
    ),
    ("http.route.destination.port", "set backendRefs[].port"),
    ("http.route.weight", "set backendRefs[].weight"),
    ("http.route.headers", "use RequestHeaderModifier and ResponseHeaderModifier in backendRefs[].filters"),
    ("http.redirect", "use a filter RequestRedirect (scheme, hostname, path, port, statusCode)"),
    ("http.directResponse", "Gateway API has no such filter: lead to a Service that answers so"),
    ("http.delegate", "write an HTTPRoute in that namespace with the same hostnames and parentRefs"),
    (
        "http.rewrite.uriRegexRewrite",
        "paths are not rewritten by expressions: use URLRewrite with ReplacePrefixMatch",
    ),
    ("http.rewrite", "use a filter URLRewrite (hostname, path)"),
    ("http.timeout", "set spec.rules[].timeouts.request"),
    ("http.retries.attempts", "set spec.rules[].retry.attempts"),
    ("http.retries.perTryTimeout", "set spec.rules[].timeouts.backendRequest"),
    (
        "http.retries.retryOn",
        "list statuses in spec.rules[].retry.codes; connections that fail are tried again anyway",
    ),
    ("http.retries.backoff", "set spec.rules[].retry.backoff"),
    ("http.retries", "see spec.rules[].retry; a further try goes to another endpoint anyway"),
    ("http.fault", "use faults of a TrafficPolicy"),
    ("http.mirror", "use a filter RequestMirror"),
    ("http.mirrors", "use a filter RequestMirror for each"),
    ("http.mirrorPercentage", "set requestMirror.percent or requestMirror.fraction of the filter"),
    ("http.mirrorPercent", "set requestMirror.percent of the filter"),
    ("http.mirror_percent", "set requestMirror.percent of the filter"),
    ("http.corsPolicy", "use a filter CORS"),
    ("http.headers.request", "use a filter RequestHeaderModifier"),
    ("http.headers.response", "use a filter ResponseHeaderModifier"),
    ("tls.match.sniHosts", "use spec.hostnames of a TLSRoute"),
    ("tls.match.port", "attach the TLSRoute to the listener of that port by parentRefs[].port"),
    (
        "tls.route.destination.subset",
        "use a backendRef of kind Subset (group networking.istio.io) named SUBSET.HOST",
    ),
    ("tls.route", "use spec.rules[].backendRefs of a TLSRoute"),
    ("tcp.match.port", "attach a TCPRoute to the listener of that port by parentRefs[].port"),
    (
        "tcp.route.destination.subset",
        "use a backendRef of kind Subset (group networking.istio.io) named SUBSET.HOST",
    ),
    ("tcp.route", "use spec.rules[].backendRefs of a TCPRoute"),
];

/// Said of a field that no line stands for.
const NONE: &str = "Gateway API has no such field, nor has a policy of Sluice";

/// Whether it is one.
pub(super) fn is(api_version: &str, kind: &str) -> bool {
    kind == "VirtualService" && api_version.starts_with("networking.istio.io/")
}

/// The ways of all fields that a VirtualService has, in its order.
pub(super) fn ways(object: &Value) -> Vec<Way> {
    let mut ways = Vec::new();
    if let Some(spec) = object.get("spec") {
        walk(spec, "spec".to_owned(), String::new(), &mut ways);
    }
    ways
}

fn walk(value: &Value, field: String, name: String, ways: &mut Vec<Way>) {
    if !name.is_empty() && !has_lines_below(&name) {
        ways.push(Way { field, instead: of(&name) });
        return;
    }
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                let name = if name.is_empty() { key.clone() } else { format!("{name}.{key}") };
                walk(value, format!("{field}.{key}"), name, ways);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                walk(item, format!("{field}[{index}]"), name.clone(), ways);
            }
        }
        _ => ways.push(Way { field, instead: of(&name) }),
    }
}

fn has_lines_below(name: &str) -> bool {
    WAYS.iter().any(|(path, _)| path.strip_prefix(name).is_some_and(|rest| rest.starts_with('.')))
}

/// The line of a path, or of the nearest one above it.
fn of(name: &str) -> &'static str {
    let mut name = name;
    loop {
        if let Some((_, way)) = WAYS.iter().find(|(path, _)| *path == name) {
            return way;
        }
        match name.rsplit_once('.') {
            Some((above, _)) => name = above,
            None => return NONE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{NONE, Way, is, ways};
    use serde_json::json;

    #[test]
    fn each_field_has_its_way() {
        let found = ways(&json!({"spec": {
            "hosts": ["shop.example.com", "www.example.com"],
            "http": [
                {"match": [{"uri": {"prefix": "/cart"}}, {"uri": {"regex": "/a.*"}, "port": 80}],
                 "route": [{"destination": {"host": "cart", "subset": "v2", "port": {"number": 80}}, "weight": 10}],
                 "retries": {"attempts": 2, "retryRemoteLocalities": true}, "novelty": 1},
                {"fault": {"abort": {"httpStatus": 500}}},
            ],
            "tcp": [{"route": [{"destination": {"host": "db", "port": {"number": 5432}}}]}],
        }}));
        let fields: Vec<_> = found.iter().map(|way| way.field.as_str()).collect();
        let mut expected = [
            "spec.hosts",
            "spec.http[0].match[0].uri.prefix",
            "spec.http[0].match[1].port",
            "spec.http[0].match[1].uri.regex",
            "spec.http[0].novelty",
            "spec.http[0].retries.attempts",
            "spec.http[0].retries.retryRemoteLocalities",
            "spec.http[0].route[0].destination.host",
            "spec.http[0].route[0].destination.port",
            "spec.http[0].route[0].destination.subset",
            "spec.http[0].route[0].weight",
            "spec.http[1].fault",
            "spec.tcp[0].route[0].destination.host",
            "spec.tcp[0].route[0].destination.port",
        ];
        expected.sort_unstable();
        let mut sorted = fields.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, expected);
        let way = |field: &str| found.iter().find(|way| way.field == field).map(|way: &Way| way.instead);
        assert_eq!(way("spec.http[0].novelty"), Some(NONE));
        assert!(way("spec.http[1].fault").is_some_and(|it| it.contains("TrafficPolicy")));
        assert!(way("spec.http[0].retries.retryRemoteLocalities").is_some_and(|it| it.contains("retry")));
        assert!(way("spec.tcp[0].route[0].destination.host").is_some_and(|it| it.contains("TCPRoute")));
    }

    #[test]
    fn only_that_of_istio_is_one_and_an_empty_one_has_nothing_to_say() {
        assert!(is("networking.istio.io/v1", "VirtualService"));
        assert!(!is("networking.istio.io/v1", "DestinationRule") && !is("example.com/v1", "VirtualService"));
        assert!(ways(&json!({"metadata": {"name": "x"}})).is_empty());
        assert!(ways(&json!({"spec": []})).is_empty() && ways(&json!({"spec": {"http": []}})).is_empty());
    }
}
