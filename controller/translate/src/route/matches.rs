//! Matches of HTTPRoute and GRPCRoute rules.

use super::faults::Faults;
use crate::syntax;
use sluice_crds::grpcroutes::{
    GrpcRouteRulesMatches, GrpcRouteRulesMatchesHeadersType, GrpcRouteRulesMatchesMethodType,
};
use sluice_crds::httproutes::{
    HttpRouteRulesMatches, HttpRouteRulesMatchesHeadersType, HttpRouteRulesMatchesMethod,
    HttpRouteRulesMatchesPath, HttpRouteRulesMatchesPathType, HttpRouteRulesMatchesQueryParamsType,
};
use sluice_ir::{GrpcMethodMatch, HeaderMatch, Match, PathMatch, QueryMatch, StringMatch};

/// Reads one match of an HTTPRoute.
pub(crate) fn http(it: &HttpRouteRulesMatches, field: &str, faults: &mut Faults) -> Match {
    let mut query: Vec<QueryMatch> = Vec::new();
    for (index, it) in it.query_params.iter().flatten().enumerate() {
        let field = format!("{field}.queryParams[{index}]");
        let is_regex = it.r#type == Some(HttpRouteRulesMatchesQueryParamsType::RegularExpression);
        if it.name.is_empty() {
            faults.value(format!("{field}.name"), "must not be empty", "");
        }
        let value = string(&it.value, is_regex, &format!("{field}.value"), faults);
        // HTTPQueryParamMatch: of several entries of one name the first counts.
        if !query.iter().any(|other| other.name == it.name) {
            query.push(QueryMatch { name: it.name.clone(), value });
        }
    }
    let headers = it.headers.iter().flatten().map(|it| {
        let is_regex = it.r#type == Some(HttpRouteRulesMatchesHeadersType::RegularExpression);
        (it.name.as_str(), it.value.as_str(), is_regex)
    });
    Match {
        path: it.path.as_ref().map_or_else(all_paths, |it| path(it, &format!("{field}.path"), faults)),
        method: it.method.as_ref().map(|it| method(it).into()),
        headers: header_list(headers, field, faults),
        query,
    }
}

/// Reads one match of a GRPCRoute.
pub(crate) fn grpc(it: &GrpcRouteRulesMatches, field: &str, faults: &mut Faults) -> Match {
    let mut method = GrpcMethodMatch::default();
    if let Some(it) = &it.method {
        let field = format!("{field}.method");
        let is_regex = it.r#type == Some(GrpcRouteRulesMatchesMethodType::RegularExpression);
        let filled = |it: &Option<String>| it.clone().filter(|it| !it.is_empty());
        let service = filled(&it.service);
        let name = filled(&it.method);
        if service.is_none() && name.is_none() {
            faults.value(field.clone(), "needs a service, a method or both", "add one, or remove `method`");
        }
        let mut part = |value: String, part: &str| {
            let field = format!("{field}.{part}");
            if !is_regex && !is_grpc_name(&value, part == "service") {
                faults.value(field.clone(), format!("{value:?} is no gRPC {part} name"), "");
            }
            string(&value, is_regex, &field, faults)
        };
        method.service = service.map(|it| part(it, "service"));
        method.method = name.map(|it| part(it, "method"));
    }
    let headers = it.headers.iter().flatten().map(|it| {
        let is_regex = it.r#type == Some(GrpcRouteRulesMatchesHeadersType::RegularExpression);
        (it.name.as_str(), it.value.as_str(), is_regex)
    });
    Match {
        path: PathMatch::Grpc(Box::new(method)),
        method: None,
        headers: header_list(headers, field, faults),
        query: Vec::new(),
    }
}

/// The default of an HTTPRoute.
pub(crate) fn all_paths() -> PathMatch {
    PathMatch::Prefix("/".into())
}

/// GRPCMethodMatch: letters, digits, `_`; services also `.` between parts.
fn is_grpc_name(text: &str, is_service: bool) -> bool {
    let is_part = |part: &str| {
        part.bytes().next().is_some_and(|it| it.is_ascii_alphabetic() || it == b'_')
            && part.bytes().all(|it| it.is_ascii_alphanumeric() || it == b'_')
    };
    if is_service { text.split('.').all(is_part) } else { is_part(text) }
}

fn path(it: &HttpRouteRulesMatchesPath, field: &str, faults: &mut Faults) -> PathMatch {
    let value = it.value.clone().unwrap_or_else(|| "/".to_owned());
    let field = format!("{field}.value");
    match it.r#type {
        Some(HttpRouteRulesMatchesPathType::Exact) => {
            faults.check(field, syntax::path(&value));
            PathMatch::Exact(value.into())
        }
        Some(HttpRouteRulesMatchesPathType::PathPrefix) | None => {
            faults.check(field, syntax::path(&value));
            PathMatch::Prefix(value.into())
        }
        Some(HttpRouteRulesMatchesPathType::RegularExpression) => {
            faults.check(field, syntax::regex(&value));
            PathMatch::Regex(value.into())
        }
    }
}

fn header_list<'a>(
    list: impl Iterator<Item = (&'a str, &'a str, bool)>,
    field: &str,
    faults: &mut Faults,
) -> Vec<HeaderMatch> {
    let mut headers: Vec<HeaderMatch> = Vec::new();
    for (index, (name, value, is_regex)) in list.enumerate() {
        let field = format!("{field}.headers[{index}]");
        faults.check(format!("{field}.name"), syntax::header_name(name));
        let name = name.to_ascii_lowercase();
        let value = string(value, is_regex, &format!("{field}.value"), faults);
        // HTTPHeaderMatch: names are case-insensitive; of several entries of one name the first counts.
        if !headers.iter().any(|other| other.name == name) {
            headers.push(HeaderMatch { name, value });
        }
    }
    headers
}

fn string(value: &str, is_regex: bool, field: &str, faults: &mut Faults) -> StringMatch {
    if !is_regex {
        return StringMatch::Exact(value.to_owned());
    }
    faults.check(field, syntax::regex(value));
    StringMatch::Regex(value.to_owned())
}

fn method(it: &HttpRouteRulesMatchesMethod) -> &'static str {
    match it {
        HttpRouteRulesMatchesMethod::Get => "GET",
        HttpRouteRulesMatchesMethod::Head => "HEAD",
        HttpRouteRulesMatchesMethod::Post => "POST",
        HttpRouteRulesMatchesMethod::Put => "PUT",
        HttpRouteRulesMatchesMethod::Delete => "DELETE",
        HttpRouteRulesMatchesMethod::Connect => "CONNECT",
        HttpRouteRulesMatchesMethod::Options => "OPTIONS",
        HttpRouteRulesMatchesMethod::Trace => "TRACE",
        HttpRouteRulesMatchesMethod::Patch => "PATCH",
    }
}
