//! What holds for the normal form of every path and host.

use sluice_route::{host, path};
use std::borrow::Cow;

/// Panics when a law is broken.
pub(crate) fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(normal) = path::normalize(text) {
        let is_clean = |byte: u8| (b'!'..=b'~').contains(&byte) && byte != b'#' && byte != b'?';
        assert!(normal.bytes().all(is_clean), "{normal:?}");
        assert!(normal == "*" || normal.starts_with('/'), "{normal:?}");
        assert!(!normal.split('/').any(|element| element == "." || element == ".."), "{normal:?}");
        let again = path::normalize(&normal);
        assert!(matches!(again, Ok(Cow::Borrowed(same)) if same == normal), "{normal:?} -> {again:?}");
        assert!(normal.len() <= 3 * text.len(), "{normal:?}");
    }
    if let Ok((name, port)) = host::host_of(text) {
        assert!(!name.is_empty() && name.len() <= host::MAX_HOST_BYTES, "{name:?}");
        assert!(!name.bytes().any(|byte| byte.is_ascii_uppercase()), "{name:?}");
        assert_eq!(host::host_of(&name), Ok((Cow::Borrowed(&*name), None)));
        if let Some(port) = port {
            assert_eq!(host::host_of(&format!("{name}:{port}")), Ok((Cow::Borrowed(&*name), Some(port))));
        }
    }
}
