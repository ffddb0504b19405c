//! Cross-origin resource sharing (Fetch standard, GEP-1767): preflights are answered here, answers are marked.

use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, Method};
use pingora_error::Result;
use pingora_http::ResponseHeader;
use sluice_ir as ir;

/// A compiled [`ir::Cors`].
#[derive(Debug)]
pub(crate) struct Cors {
    origins: Vec<ir::CorsOrigin>,
    credentials: bool,
    methods: AllowList,
    headers: AllowList,
    expose: Option<HeaderValue>,
    max_age: HeaderValue,
}

/// A list of methods or header names for an answer.
#[derive(Debug)]
enum AllowList {
    /// Nothing configured: the header is left out.
    None,
    /// `*`.
    Any,
    /// The list, joined.
    These(HeaderValue),
}

impl AllowList {
    fn compile(names: &[String]) -> Self {
        if names.iter().any(|name| name == "*") {
            return Self::Any;
        }
        match joined(names) {
            Some(value) => Self::These(value),
            None => Self::None,
        }
    }

    /// The header's value, given what the client asked for. With credentials `*` is no wildcard, so the question is
    /// echoed (Fetch, CORS-preflight fetch).
    fn answer(&self, asked: &HeaderValue, credentials: bool) -> Option<HeaderValue> {
        match self {
            Self::None => None,
            Self::Any if credentials => Some(asked.clone()),
            Self::Any => Some(HeaderValue::from_static("*")),
            Self::These(value) => Some(value.clone()),
        }
    }
}

impl Cors {
    pub(crate) fn compile(cors: &ir::Cors) -> Self {
        Self {
            origins: cors.allow_origins.clone(),
            credentials: cors.allow_credentials,
            methods: AllowList::compile(&cors.allow_methods),
            headers: AllowList::compile(&cors.allow_headers),
            expose: joined(&cors.expose_headers),
            max_age: HeaderValue::from(cors.max_age.as_secs()),
        }
    }

    /// Whether the request is a preflight.
    pub(crate) fn is_preflight(method: &Method, headers: &HeaderMap) -> bool {
        method == Method::OPTIONS
            && headers.contains_key(header::ORIGIN)
            && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
    }

    /// Status and headers of a preflight's answer: 204, or 403 for a foreign origin.
    pub(crate) fn preflight(&self, headers: &HeaderMap) -> (u16, Vec<(HeaderName, HeaderValue)>) {
        let Some(allowed) = headers.get(header::ORIGIN).and_then(|origin| self.allowed(origin)) else {
            return (403, vec![(header::VARY, HeaderValue::from_static("Origin"))]);
        };
        let mut answer = self.common(allowed);
        if let Some(asked) = headers.get(header::ACCESS_CONTROL_REQUEST_METHOD)
            && let Some(value) = self.methods.answer(asked, self.credentials)
        {
            answer.push((header::ACCESS_CONTROL_ALLOW_METHODS, value));
        }
        if let Some(asked) = headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS)
            && let Some(value) = self.headers.answer(asked, self.credentials)
        {
            answer.push((header::ACCESS_CONTROL_ALLOW_HEADERS, value));
        }
        answer.push((header::ACCESS_CONTROL_MAX_AGE, self.max_age.clone()));
        (204, answer)
    }

    /// Marks the answer to an actual request. What the backend said itself is replaced, so that one party decides.
    pub(crate) fn mark(&self, origin: &HeaderValue, response: &mut ResponseHeader) -> Result<()> {
        for name in [
            header::ACCESS_CONTROL_ALLOW_ORIGIN,
            header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
            header::ACCESS_CONTROL_EXPOSE_HEADERS,
        ] {
            response.remove_header(&name);
        }
        let Some(allowed) = self.allowed(origin) else { return Ok(()) };
        for (name, value) in self.common(allowed) {
            if name == header::VARY {
                response.append_header(name, value)?;
            } else {
                response.insert_header(name, value)?;
            }
        }
        Ok(())
    }

    fn common(&self, allowed: HeaderValue) -> Vec<(HeaderName, HeaderValue)> {
        let mut fields = Vec::with_capacity(7);
        if allowed != "*" {
            fields.push((header::VARY, HeaderValue::from_static("Origin")));
        }
        fields.push((header::ACCESS_CONTROL_ALLOW_ORIGIN, allowed));
        if self.credentials {
            fields.push((header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true")));
        }
        if let Some(expose) = &self.expose {
            fields.push((header::ACCESS_CONTROL_EXPOSE_HEADERS, expose.clone()));
        }
        fields
    }

    /// The value of Access-Control-Allow-Origin, or `None` for a foreign origin.
    fn allowed(&self, origin: &HeaderValue) -> Option<HeaderValue> {
        let text = origin.to_str().ok()?;
        for pattern in &self.origins {
            let fits = match pattern {
                ir::CorsOrigin::Any if !self.credentials => return Some(HeaderValue::from_static("*")),
                ir::CorsOrigin::Any => true,
                ir::CorsOrigin::Exact(exact) => exact.eq_ignore_ascii_case(text),
                ir::CorsOrigin::Wildcard { scheme, suffix } => wildcard(text, scheme, suffix),
            };
            if fits {
                return Some(origin.clone());
            }
        }
        None
    }
}

/// Whether `origin` is `SCHEME` + one or more labels + `SUFFIX`.
fn wildcard(origin: &str, scheme: &str, suffix: &str) -> bool {
    let origin = origin.to_ascii_lowercase();
    origin
        .strip_prefix(scheme)
        .and_then(|rest| rest.strip_suffix(suffix))
        .is_some_and(|labels| !labels.is_empty() && !labels.contains(['/', ':']))
}

fn joined(names: &[String]) -> Option<HeaderValue> {
    if names.is_empty() {
        return None;
    }
    HeaderValue::from_str(&names.join(", ")).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::time::Duration;

    fn cors(credentials: bool, origins: Vec<ir::CorsOrigin>) -> Cors {
        Cors::compile(&ir::Cors {
            allow_origins: origins,
            allow_credentials: credentials,
            allow_methods: vec!["*".to_owned()],
            allow_headers: vec!["X-One".to_owned(), "X-Two".to_owned()],
            expose_headers: vec!["X-Seen".to_owned()],
            max_age: Duration::from_secs(5),
        })
    }

    fn ask(origin: &str, with_headers: bool) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::ORIGIN, origin.parse().unwrap());
        headers.insert(header::ACCESS_CONTROL_REQUEST_METHOD, "PUT".parse().unwrap());
        if with_headers {
            headers.insert(header::ACCESS_CONTROL_REQUEST_HEADERS, "x-one".parse().unwrap());
        }
        headers
    }

    fn get<'a>(fields: &'a [(HeaderName, HeaderValue)], name: &str) -> Option<&'a str> {
        fields.iter().find(|(field, _)| field == name).map(|(_, value)| value.to_str().unwrap())
    }

    #[test]
    fn with_credentials_a_star_becomes_what_was_asked() {
        let (status, fields) =
            cors(true, vec![ir::CorsOrigin::Any]).preflight(&ask("https://a.example", true));
        assert_eq!(status, 204);
        assert_eq!(get(&fields, "access-control-allow-origin"), Some("https://a.example"));
        assert_eq!(get(&fields, "access-control-allow-methods"), Some("PUT"));
        assert_eq!(get(&fields, "access-control-allow-credentials"), Some("true"));
        let (_, fields) = cors(false, vec![ir::CorsOrigin::Any]).preflight(&ask("https://a.example", true));
        assert_eq!(get(&fields, "access-control-allow-origin"), Some("*"));
        assert_eq!(get(&fields, "access-control-allow-methods"), Some("*"));
        assert_eq!(get(&fields, "access-control-allow-credentials"), None);
    }

    #[test]
    fn allow_headers_are_left_out_when_not_asked_for() {
        let (_, fields) = cors(false, vec![ir::CorsOrigin::Any]).preflight(&ask("https://a.example", false));
        assert_eq!(get(&fields, "access-control-allow-headers"), None);
        assert_eq!(get(&fields, "access-control-max-age"), Some("5"));
    }

    #[test]
    fn a_foreign_origin_is_refused() {
        let exact = ir::CorsOrigin::Exact("https://a.example".to_owned());
        let (status, fields) = cors(false, vec![exact]).preflight(&ask("https://b.example", true));
        assert_eq!(status, 403);
        assert_eq!(get(&fields, "access-control-allow-origin"), None);
    }

    #[test]
    fn a_wildcard_covers_labels_but_not_ports_or_schemes() {
        assert!(wildcard("https://a.b.example.com", "https://", ".example.com"));
        assert!(!wildcard("http://a.example.com", "https://", ".example.com"));
        assert!(!wildcard("https://.example.com", "https://", ".example.com"));
        assert!(!wildcard("https://a.example.com:8443", "https://", ".example.com"));
        assert!(wildcard("https://a.example.com:8443", "https://", ".example.com:8443"));
    }
}
