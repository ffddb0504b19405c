//! The Location of a redirect filter.

use super::rewrite::{edit_path, path_and_query};
use sluice_ir::Redirect;

/// What a redirect takes from the request where the filter is silent.
#[derive(Clone, Copy, Debug)]
pub struct RedirectInput<'a> {
    /// Whether the request came over TLS.
    pub tls: bool,
    /// Host of the request, without port.
    pub host: &'a str,
    /// Port of the listener as written in the manifest.
    pub listener_port: u16,
    /// Path of the request.
    pub path: &'a str,
    /// Query of the request.
    pub query: Option<&'a str>,
    /// Length of the prefix that the rule matched.
    pub matched: Option<usize>,
}

/// The Location. Gateway API, HTTPRequestRedirectFilter.port: a given port wins; else a given scheme means its
/// well-known port; else the listener's port. A port that the scheme implies is left out.
pub fn location(redirect: &Redirect, input: RedirectInput<'_>) -> String {
    let scheme = redirect.scheme.as_deref().unwrap_or(if input.tls { "https" } else { "http" });
    let host = redirect.hostname.as_deref().unwrap_or(input.host);
    let implied = if scheme == "https" { 443 } else { 80 };
    let port = match (redirect.port, &redirect.scheme) {
        (Some(port), _) => port,
        (None, Some(_)) => implied,
        (None, None) => input.listener_port,
    };
    let path = match &redirect.path {
        Some(edit) => edit_path(edit, input.path, input.matched),
        None => input.path.to_owned(),
    };
    let target = path_and_query(&path, input.query);
    if port == implied {
        format!("{scheme}://{host}{target}")
    } else {
        format!("{scheme}://{host}:{port}{target}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluice_ir::PathEdit;

    fn of(redirect: &Redirect, tls: bool, listener_port: u16) -> String {
        let input = RedirectInput {
            tls,
            host: "a.example",
            listener_port,
            path: "/x/y",
            query: Some("q=1"),
            matched: Some(2),
        };
        location(redirect, input)
    }

    fn plain() -> Redirect {
        Redirect { scheme: None, hostname: None, path: None, port: None, status: 302 }
    }

    #[test]
    fn the_port_follows_filter_then_scheme_then_listener() {
        let https = Redirect { scheme: Some("https".to_owned()), ..plain() };
        assert_eq!(of(&plain(), false, 80), "http://a.example/x/y?q=1");
        assert_eq!(of(&plain(), false, 8080), "http://a.example:8080/x/y?q=1");
        assert_eq!(of(&plain(), true, 443), "https://a.example/x/y?q=1");
        assert_eq!(of(&https, false, 8080), "https://a.example/x/y?q=1");
        assert_eq!(of(&Redirect { port: Some(8443), ..https }, false, 80), "https://a.example:8443/x/y?q=1");
        assert_eq!(of(&Redirect { port: Some(80), ..plain() }, true, 443), "https://a.example:80/x/y?q=1");
    }

    #[test]
    fn host_and_path_are_replaced_and_the_query_stays() {
        let redirect = Redirect {
            hostname: Some("b.example".to_owned()),
            path: Some(PathEdit::Prefix("/z".to_owned())),
            ..plain()
        };
        assert_eq!(of(&redirect, false, 80), "http://b.example/z/y?q=1");
    }
}
