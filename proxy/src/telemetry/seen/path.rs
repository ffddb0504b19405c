//! Which segments of a path name one thing of many: numbers, UUIDs, hashes, tokens, mail addresses. They become `{*}`, so that
//! paths can be told apart by what they mean, and no secret of a path is kept.

/// The operator for one segment, as AuthorizationPolicies have it.
pub const ONE: &str = "{*}";
/// Hexadecimal text that is so long is an identifier.
const HEX_LEN: usize = 16;
/// Text of letters and digits that is so long is one, with a few digits.
const TOKEN_LEN: usize = 20;
/// Digits that it has at least.
const TOKEN_DIGITS: usize = 4;
/// Text with letters of both cases that is so long is one, with two digits.
const MIXED_LEN: usize = 10;
/// Digits that it has at least.
const MIXED_DIGITS: usize = 2;
/// Text that is so long between its `-`, `_` and `.` is no word of any language.
const WORD_LEN: usize = 28;

/// The segments of a path as they may be kept. Cost: a look at each byte; nothing is allocated.
pub fn segments(path: &str) -> impl Iterator<Item = &str> {
    let segments = path.strip_prefix('/').unwrap_or(path).split('/');
    segments.map(|it| if is_identifier(it) || is_no_literal(it) { ONE } else { it })
}

/// Whether a path is a method of gRPC (`/package.Service/Method`), whose names are long and yet words. Without a package it is
/// judged as any other path.
pub(super) fn is_grpc_method(path: &str) -> bool {
    let is_name = |it: &str| {
        let mut bytes = it.bytes();
        bytes.next().is_some_and(|it| it.is_ascii_alphabetic() || it == b'_')
            && bytes.all(|it| it.is_ascii_alphanumeric() || it == b'_')
            && !is_hex(it.as_bytes())
    };
    let Some((service, method)) = path.strip_prefix('/').and_then(|it| it.split_once('/')) else {
        return false;
    };
    is_name(method) && service.contains('.') && service.split('.').all(is_name)
}

/// What a template can't have in a literal segment, nor plain text at its ends.
fn is_no_literal(segment: &str) -> bool {
    segment.bytes().any(|it| matches!(it, b'*' | b'{' | b'}'))
}

/// Whether a segment names one thing of many.
pub fn is_identifier(segment: &str) -> bool {
    let bytes = segment.as_bytes();
    let is_number = !bytes.is_empty() && bytes.iter().all(u8::is_ascii_digit);
    // Most words are shorter than anything else that is one.
    let is_long = || bytes.len() >= MIXED_LEN && (is_uuid(segment) || is_hex(bytes) || is_token(bytes));
    is_number || is_long() || is_mail(segment)
}

fn is_hex(bytes: &[u8]) -> bool {
    bytes.len() >= HEX_LEN && bytes.iter().all(u8::is_ascii_hexdigit) && bytes.iter().any(u8::is_ascii_digit)
}

fn is_token(bytes: &[u8]) -> bool {
    let is_text = bytes.iter().all(|it| it.is_ascii_alphanumeric() || b"-_=.~+%:,".contains(it));
    if !is_text {
        return false;
    }
    let digits = bytes.iter().filter(|it| it.is_ascii_digit()).count();
    let has_upper = bytes.iter().any(u8::is_ascii_uppercase);
    let has_lower = bytes.iter().any(u8::is_ascii_lowercase);
    let is_long = bytes.len() >= TOKEN_LEN && digits >= TOKEN_DIGITS && (has_upper || has_lower);
    let is_mixed = bytes.len() >= MIXED_LEN && digits >= MIXED_DIGITS && has_upper && has_lower;
    let longest = bytes.split(|it| b"-_.".contains(it)).map(<[u8]>::len).max().unwrap_or_default();
    is_long || is_mixed || longest >= WORD_LEN
}

fn is_uuid(segment: &str) -> bool {
    let groups = [8, 4, 4, 4, 12];
    segment.split('-').map(str::len).eq(groups)
        && segment.bytes().all(|it| it == b'-' || it.is_ascii_hexdigit())
}

fn is_mail(segment: &str) -> bool {
    if !segment.bytes().any(|it| matches!(it, b'@' | b'%')) {
        return false;
    }
    let at = segment.split_once('@').or_else(|| segment.split_once("%40"));
    at.is_some_and(|(name, host)| !name.is_empty() && host.contains('.'))
}

#[cfg(test)]
mod tests {
    use super::{is_grpc_method, is_identifier, segments};

    #[test]
    fn identifiers_and_secrets_are_told_from_words() {
        for it in [
            "7",
            "20261130",
            "123e4567-e89b-12d3-a456-426614174000",
            "d41d8cd98f00b204e9800998ecf8427e",
            "01ARZ3NDEKTSV4RRFFQ69G5FAV",
            "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0",
            "eyJhbGciOiJub25lIn0",
            "dQw4w9WgXcQ",
            "ghp_aBcDeFgHiJkLmNoPqRsTuVwXyZabcdefghij",
            "cGFzc3dvcmQ6aHVudGVydHdvZm91cg%3D%3D",
            "abcdefghijklmnopqrstuvwxyzabcdefgh",
            "alice@example.com",
            "alice%40example.com",
        ] {
            assert!(is_identifier(it), "{it}");
        }
        for it in [
            "",
            "cart",
            "v1",
            "2fa",
            "index.html",
            "deadbeef",
            "recommendations-by-customer",
            "favicon.ico",
            "@me",
            "getUserProfile",
            "oauth2Callback",
            "application-configuration_and.internationalization",
        ] {
            assert!(!is_identifier(it), "{it}");
        }
    }

    #[test]
    fn what_is_kept_of_a_path_has_no_identifier() {
        let kept = |path: &str| segments(path).collect::<Vec<_>>().join("/");
        assert_eq!(kept("/orders/7/items/8"), "orders/{*}/items/{*}");
        assert_eq!(kept("/reset/d41d8cd98f00b204e9800998ecf8427e"), "reset/{*}");
        assert_eq!(kept("/a*b/{x}/"), "{*}/{*}/");
        assert_eq!(kept("/"), "");
    }

    #[test]
    fn a_method_of_grpc_is_two_names() {
        assert!(is_grpc_method("/shop.v1beta1.RecommendationByCustomerHistoryService/ListAll2"));
        let hash = "/shop.Reset/d41d8cd98f00b204e9800998ecf8427e";
        for it in ["/", "/a", "/a/B", "/a.b/c/d", "/a.b/7", "/a..b/C", "/a.b/b%20c", "a.b/C", hash] {
            assert!(!is_grpc_method(it), "{it}");
        }
    }
}
