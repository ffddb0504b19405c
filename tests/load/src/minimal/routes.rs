//! The route table of the minimal proxy: a map of hosts, and per host a map of path prefixes on segment borders.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use anyhow::{Context, Result};
use pingora_http::RequestHeader;

/// Known hosts and their path prefixes.
pub(super) struct Routes(HashMap<String, HashSet<String>>);

impl Routes {
    /// Reads "HOST PREFIX" lines.
    pub(super) fn read(file: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
        Self::parse(&text)
    }

    fn parse(text: &str) -> Result<Self> {
        let mut hosts: HashMap<String, HashSet<String>> = HashMap::new();
        for line in text.lines() {
            let (host, prefix) =
                line.split_once(' ').with_context(|| format!("not \"HOST PREFIX\": {line}"))?;
            hosts.entry(host.to_owned()).or_default().insert(prefix.trim_end_matches('/').to_owned());
        }
        Ok(Self(hosts))
    }

    /// Whether a route takes this request.
    pub(super) fn know(&self, request: &RequestHeader) -> bool {
        let named = request.uri.host().or_else(|| request.headers.get("host")?.to_str().ok());
        named.is_some_and(|host| self.find(host.split(':').next().unwrap_or(host), request.uri.path()))
    }

    fn find(&self, host: &str, path: &str) -> bool {
        let Some(prefixes) = self.0.get(host) else {
            return false;
        };
        let mut rest = path;
        loop {
            if prefixes.contains(rest) {
                return true;
            }
            match rest.rfind('/') {
                Some(slash) => rest = &rest[..slash],
                None => return false,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_prefix_takes_whole_segments() {
        let routes = Routes::parse("a.test /shop/cart\nb.test /").unwrap();
        assert!(routes.find("a.test", "/shop/cart"));
        assert!(routes.find("a.test", "/shop/cart/7/items"));
        assert!(!routes.find("a.test", "/shop/cartoon"));
        assert!(!routes.find("a.test", "/"));
        assert!(routes.find("b.test", "/anything"));
        assert!(!routes.find("c.test", "/"));
    }
}
