//! Filters. The generated API has one type for each place a filter can stand in; the macros here read each into one
//! shape, and everything else is written once.

use super::auth::{self, RawAuth};
use super::cors::{self, RawCors};
use super::faults::Faults;
use crate::model::{BackendReference, FaultReason, FilterModel, MirrorModel, kind_name};
use crate::syntax;
use sluice_ir::{Filter, HeaderEdit, HeaderField, Match, PathEdit, PathMatch, Ratio, Redirect, Rewrite};

/// A filter of any place.
#[derive(Debug, Default)]
pub(crate) struct RawFilter {
    pub(crate) kind: &'static str,
    pub(crate) request_headers: Option<RawHeaders>,
    pub(crate) response_headers: Option<RawHeaders>,
    pub(crate) mirror: Option<RawMirror>,
    pub(crate) redirect: Option<RawRedirect>,
    pub(crate) rewrite: Option<(Option<String>, Option<RawPath>)>,
    pub(crate) cors: Option<RawCors>,
    pub(crate) auth: Option<RawAuth>,
    /// Group, kind, name.
    pub(crate) extension: Option<(String, String, String)>,
}

/// A header modifier.
#[derive(Debug)]
pub(crate) struct RawHeaders {
    pub(crate) set: Vec<(String, String)>,
    pub(crate) add: Vec<(String, String)>,
    pub(crate) remove: Vec<String>,
}

/// `requestMirror`.
#[derive(Debug)]
pub(crate) struct RawMirror {
    pub(crate) backend: BackendReference,
    pub(crate) percent: Option<i32>,
    pub(crate) fraction: Option<(i32, Option<i32>)>,
}

/// `requestRedirect`.
#[derive(Debug)]
pub(crate) struct RawRedirect {
    pub(crate) scheme: Option<&'static str>,
    pub(crate) hostname: Option<String>,
    pub(crate) path: Option<RawPath>,
    pub(crate) port: Option<i32>,
    pub(crate) status: Option<i64>,
}

/// `path` of a redirect or rewrite.
#[derive(Debug)]
pub(crate) struct RawPath {
    pub(crate) is_prefix: bool,
    pub(crate) full: Option<String>,
    pub(crate) prefix: Option<String>,
}

macro_rules! raw_backend {
    ($it:expr) => {{
        let it = $it;
        $crate::model::BackendReference::new(
            it.group.as_ref(),
            it.kind.as_ref(),
            it.namespace.as_ref(),
            &it.name,
            it.port,
        )
    }};
}
pub(crate) use raw_backend;

macro_rules! raw_headers {
    ($it:expr) => {
        $it.as_ref().map(|it| $crate::route::filters::RawHeaders {
            set: it.set.iter().flatten().map(|it| (it.name.clone(), it.value.clone())).collect(),
            add: it.add.iter().flatten().map(|it| (it.name.clone(), it.value.clone())).collect(),
            remove: it.remove.clone().unwrap_or_default(),
        })
    };
}
pub(crate) use raw_headers;

macro_rules! raw_mirror {
    ($it:expr) => {
        $it.as_ref().map(|it| $crate::route::filters::RawMirror {
            backend: $crate::route::filters::raw_backend!(&it.backend_ref),
            percent: it.percent,
            fraction: it.fraction.as_ref().map(|it| (it.numerator, it.denominator)),
        })
    };
}
pub(crate) use raw_mirror;

/// Where a filter stands.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    /// Path of the list: `spec.rules[0].filters`.
    pub(crate) list: String,
    /// Whether the list is a rule's, not a backendRef's.
    pub(crate) is_rule: bool,
    pub(crate) has_backends: bool,
    pub(crate) matches: &'a [Match],
}

/// Reads a list of filters: each for itself, then what must not stand together.
pub(crate) fn read(raw: Vec<RawFilter>, place: &Place<'_>, faults: &mut Faults) -> Vec<FilterModel> {
    let kinds: Vec<&'static str> = raw.iter().map(|it| it.kind).collect();
    combinations(&kinds, place, faults);
    let mut filters = Vec::with_capacity(raw.len());
    for (index, filter) in raw.into_iter().enumerate() {
        let field = format!("{}[{index}]", place.list);
        if let Some(filter) = one(filter, &field, place, faults) {
            filters.push(filter);
        }
    }
    filters
}

/// HTTPRouteRule: which filters exclude each other, and which may stand only once.
fn combinations(kinds: &[&'static str], place: &Place<'_>, faults: &mut Faults) {
    let field = place.list.as_str();
    let has = |kind: &str| kinds.contains(&kind);
    if has("RequestRedirect") && has("URLRewrite") {
        faults.add(
            FaultReason::IncompatibleFilters,
            field,
            "RequestRedirect and URLRewrite can't be used together",
            "put them into two rules",
        );
    }
    if has("RequestRedirect") && place.has_backends {
        faults.add(
            FaultReason::IncompatibleFilters,
            field,
            "a rule with RequestRedirect can't have backendRefs: its requests never reach a backend",
            "remove the backendRefs or the redirect",
        );
    }
    let once = [
        "RequestHeaderModifier",
        "ResponseHeaderModifier",
        "RequestRedirect",
        "URLRewrite",
        "CORS",
        "ExternalAuth",
    ];
    for kind in once {
        if kinds.iter().filter(|it| **it == kind).count() > 1 {
            faults.add(
                FaultReason::IncompatibleFilters,
                field,
                format!("{kind} stands more than once"),
                "merge the filters into one",
            );
        }
    }
}

fn one(raw: RawFilter, field: &str, place: &Place<'_>, faults: &mut Faults) -> Option<FilterModel> {
    let ready = |filter| Some(FilterModel::Ready(filter));
    match raw.kind {
        "RequestHeaderModifier" => {
            let field = format!("{field}.requestHeaderModifier");
            ready(Filter::RequestHeaders(headers(
                present(raw.request_headers, &field, faults)?,
                &field,
                faults,
            )))
        }
        "ResponseHeaderModifier" => {
            let field = format!("{field}.responseHeaderModifier");
            ready(Filter::ResponseHeaders(headers(
                present(raw.response_headers, &field, faults)?,
                &field,
                faults,
            )))
        }
        "RequestMirror" => {
            let field = format!("{field}.requestMirror");
            let raw = present(raw.mirror, &field, faults)?;
            Some(FilterModel::Mirror(Box::new(mirror(raw, &field, faults)?)))
        }
        "RequestRedirect" if place.is_rule => {
            let field = format!("{field}.requestRedirect");
            ready(Filter::Redirect(redirect(present(raw.redirect, &field, faults)?, &field, place, faults)?))
        }
        "URLRewrite" => {
            let field = format!("{field}.urlRewrite");
            ready(Filter::Rewrite(rewrite(present(raw.rewrite, &field, faults)?, &field, place, faults)?))
        }
        "CORS" if place.is_rule => {
            let field = format!("{field}.cors");
            ready(Filter::Cors(cors::read(present(raw.cors, &field, faults)?, &field, faults)?))
        }
        "ExternalAuth" if place.is_rule => {
            let field = format!("{field}.externalAuth");
            let raw = present(raw.auth, &field, faults)?;
            Some(FilterModel::Auth(Box::new(auth::read(raw, &field, faults)?)))
        }
        "RequestRedirect" | "CORS" | "ExternalAuth" => {
            faults.value(
                format!("{field}.type"),
                format!("{} is not supported on a backendRef", raw.kind),
                "move it to the filters of the rule",
            );
            None
        }
        "ExtensionRef" => {
            let field = format!("{field}.extensionRef");
            let (group, kind, name) = present(raw.extension, &field, faults)?;
            let message =
                format!("filter {} {name:?} is of a kind that is not supported", kind_name(&kind, &group));
            faults.add(
                FaultReason::InvalidKind,
                field,
                message.clone(),
                "remove the filter; requests get 500 until then",
            );
            Some(FilterModel::Unresolved(message))
        }
        _ => {
            faults.value(
                format!("{field}.type"),
                format!("{} is not supported yet", raw.kind),
                "remove the filter; requests get 500 until then",
            );
            None
        }
    }
}

/// The part that the filter's type asks for.
fn present<T>(part: Option<T>, field: &str, faults: &mut Faults) -> Option<T> {
    if part.is_none() {
        faults.value(field, "is missing, but the filter's type asks for it", "add it");
    }
    part
}

fn headers(raw: RawHeaders, field: &str, faults: &mut Faults) -> HeaderEdit {
    let mut fields = |list: Vec<(String, String)>, part: &str| -> Vec<HeaderField> {
        let mut read: Vec<HeaderField> = Vec::with_capacity(list.len());
        for (index, (name, value)) in list.into_iter().enumerate() {
            let field = format!("{field}.{part}[{index}]");
            let good = faults.check(format!("{field}.name"), syntax::header_name(&name))
                & faults.check(format!("{field}.value"), syntax::header_value(&value));
            // HTTPHeaderFilter: of several entries of one name the first counts.
            if good && !read.iter().any(|it| it.name.eq_ignore_ascii_case(&name)) {
                read.push(HeaderField { name, value });
            }
        }
        read
    };
    let set = fields(raw.set, "set");
    let add = fields(raw.add, "add");
    let mut remove = Vec::with_capacity(raw.remove.len());
    for (index, name) in raw.remove.into_iter().enumerate() {
        if faults.check(format!("{field}.remove[{index}]"), syntax::header_name(&name)) {
            remove.push(name.to_ascii_lowercase());
        }
    }
    HeaderEdit { set, add, remove }
}

fn mirror(raw: RawMirror, field: &str, faults: &mut Faults) -> Option<MirrorModel> {
    let fraction = match (raw.percent, raw.fraction) {
        (Some(_), Some(_)) => {
            faults.value(format!("{field}.percent"), "percent and fraction can't both be set", "remove one");
            return None;
        }
        (None, None) => Some(Ratio::ALL),
        (Some(percent), None) => ratio(percent, 100),
        (None, Some((numerator, denominator))) => ratio(numerator, denominator.unwrap_or(100)),
    };
    let Some(fraction) = fraction else {
        faults.value(
            format!("{field}.{}", if raw.percent.is_some() { "percent" } else { "fraction" }),
            "is no share: the numerator must be 0 up to the denominator, the denominator at least 1",
            "use 0 to 100 percent",
        );
        return None;
    };
    Some(MirrorModel { backend: raw.backend, fraction, field: format!("{field}.backendRef") })
}

fn ratio(numerator: i32, denominator: i32) -> Option<Ratio> {
    let numerator = u32::try_from(numerator).ok()?;
    let denominator = u32::try_from(denominator).ok().filter(|it| *it > 0)?;
    (numerator <= denominator).then_some(Ratio { numerator, denominator })
}

fn redirect(raw: RawRedirect, field: &str, place: &Place<'_>, faults: &mut Faults) -> Option<Redirect> {
    let before = faults.hard_count();
    if let Some(hostname) = &raw.hostname {
        faults.check(format!("{field}.hostname"), syntax::hostname(hostname, false));
    }
    let path = raw.path.and_then(|it| path_edit(it, &format!("{field}.path"), place, faults));
    let port = raw.port.and_then(|it| {
        let port = crate::model::port(i64::from(it));
        if port.is_none() {
            faults.value(format!("{field}.port"), format!("{it} is no port"), "use 1 to 65535");
        }
        port
    });
    let status = raw.status.unwrap_or(302);
    if ![301, 302, 303, 307, 308].contains(&status) {
        faults.value(
            format!("{field}.statusCode"),
            format!("{status} is no redirect"),
            "use 301, 302, 303, 307 or 308",
        );
    }
    (faults.hard_count() == before).then(|| Redirect {
        scheme: raw.scheme.map(str::to_owned),
        hostname: raw.hostname,
        path,
        port,
        status: u16::try_from(status).unwrap_or(302),
    })
}

fn rewrite(
    (hostname, path): (Option<String>, Option<RawPath>),
    field: &str,
    place: &Place<'_>,
    faults: &mut Faults,
) -> Option<Rewrite> {
    let before = faults.hard_count();
    if let Some(hostname) = &hostname {
        faults.check(format!("{field}.hostname"), syntax::hostname(hostname, false));
    }
    let path = path.and_then(|it| path_edit(it, &format!("{field}.path"), place, faults));
    (faults.hard_count() == before).then_some(Rewrite { hostname, path })
}

fn path_edit(raw: RawPath, field: &str, place: &Place<'_>, faults: &mut Faults) -> Option<PathEdit> {
    let (part, value, other) = if raw.is_prefix {
        ("replacePrefixMatch", raw.prefix, raw.full)
    } else {
        ("replaceFullPath", raw.full, raw.prefix)
    };
    let field = format!("{field}.{part}");
    if other.is_some() {
        faults.value(
            field,
            "the path has a value of the other type too",
            "keep only the one that `type` names",
        );
        return None;
    }
    let Some(value) = value else {
        faults.value(field, "is missing, but `type` names it", "add it");
        return None;
    };
    if !faults.check(field.clone(), syntax::path_characters(&value)) {
        return None;
    }
    if !raw.is_prefix {
        return Some(PathEdit::Full(value));
    }
    // HTTPRouteRule: replacePrefixMatch needs exactly one match, of type PathPrefix.
    if !matches!(place.matches, [Match { path: PathMatch::Prefix(_), .. }]) {
        faults.add(
            FaultReason::IncompatibleFilters,
            field,
            "replacePrefixMatch needs a rule with exactly one match, of type PathPrefix",
            "split the rule, or use replaceFullPath",
        );
        return None;
    }
    Some(PathEdit::Prefix(value))
}
