//! Paths and hosts of rewritten requests and of redirects.

use sluice_ir::PathEdit;

/// The path that `edit` makes of `path`. `matched` is the length in bytes of the prefix that the rule matched; a
/// prefix is only replaced where there is one (the translation refuses other combinations).
///
/// Gateway API, HTTPPathModifier.replacePrefixMatch: `/foo/bar` with prefix `/foo` and `/xyz` or `/xyz/` gives
/// `/xyz/bar`, with the empty string or `/` it gives `/bar`.
pub fn edit_path(edit: &PathEdit, path: &str, matched: Option<usize>) -> String {
    match edit {
        PathEdit::Full(full) => rooted(full),
        PathEdit::Prefix(replacement) => {
            let rest = matched.and_then(|end| path.get(end..)).unwrap_or_default();
            replace_prefix(replacement, rest)
        }
    }
}

fn replace_prefix(replacement: &str, rest: &str) -> String {
    if rest.is_empty() {
        return rooted(replacement);
    }
    let base = replacement.trim_end_matches('/');
    let slash = if rest.starts_with('/') { "" } else { "/" };
    rooted(&format!("{base}{slash}{rest}"))
}

fn rooted(path: &str) -> String {
    if path.starts_with('/') { path.to_owned() } else { format!("/{path}") }
}

/// `path?query` as it goes on the wire.
pub(crate) fn path_and_query(path: &str, query: Option<&str>) -> String {
    match query {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replaced_prefix_follows_the_table_of_the_specification() {
        // Gateway API, HTTPPathModifier.replacePrefixMatch: request path, prefix, replacement, result.
        let table = [
            ("/foo/bar", "/foo", "/xyz", "/xyz/bar"),
            ("/foo/bar", "/foo", "/xyz/", "/xyz/bar"),
            ("/foo/bar", "/foo/", "/xyz", "/xyz/bar"),
            ("/foo/bar", "/foo/", "/xyz/", "/xyz/bar"),
            ("/foo", "/foo", "/xyz", "/xyz"),
            ("/foo/", "/foo", "/xyz", "/xyz/"),
            ("/foo/bar", "/foo", "", "/bar"),
            ("/foo/", "/foo", "", "/"),
            ("/foo", "/foo", "", "/"),
            ("/foo/", "/foo", "/", "/"),
            ("/foo", "/foo", "/", "/"),
            ("/bar", "/", "/xyz", "/xyz/bar"),
            ("/", "/", "/xyz", "/xyz/"),
        ];
        for (path, prefix, replacement, expected) in table {
            let matched = prefix.trim_end_matches('/').len();
            let result = edit_path(&PathEdit::Prefix(replacement.to_owned()), path, Some(matched));
            assert_eq!(result, expected, "{path} {prefix} {replacement}");
        }
    }

    #[test]
    fn a_full_path_replaces_all() {
        assert_eq!(edit_path(&PathEdit::Full("/new".to_owned()), "/old/path", None), "/new");
    }
}
