//! A subject's name as text (RFC 2253, RFC 4514): the last element first, separators escaped.

use std::fmt::Write as _;
use x509_parser::prelude::{AttributeTypeAndValue, X509Name};

/// Short names of attribute types (RFC 4514 §3, and what clients commonly have besides).
const SHORT: [(&str, &str); 10] = [
    ("2.5.4.3", "CN"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.6", "C"),
    ("2.5.4.9", "STREET"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("0.9.2342.19200300.100.1.1", "UID"),
    ("1.2.840.113549.1.9.1", "emailAddress"),
];

/// `CN=client,O=Example`.
pub(super) fn rfc2253(name: &X509Name<'_>) -> String {
    let elements: Vec<_> =
        name.iter_rdn().map(|rdn| rdn.iter().map(attribute).collect::<Vec<_>>().join("+")).collect();
    elements.into_iter().rev().collect::<Vec<_>>().join(",")
}

fn attribute(attribute: &AttributeTypeAndValue<'_>) -> String {
    let id = attribute.attr_type().to_id_string();
    let short = SHORT.iter().find(|(known, _)| *known == id).map(|(_, short)| *short);
    match (short, attribute.as_str()) {
        (Some(short), Ok(text)) => format!("{short}={}", escaped(text)),
        // RFC 4514 §2.4: the bytes in hexadecimal.
        (short, _) => {
            let mut out = format!("{}=#", short.unwrap_or(&id));
            for byte in attribute.attr_value().data {
                let _ = write!(out, "{byte:02x}");
            }
            out
        }
    }
}

/// RFC 4514 §2.4.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let last = text.chars().count().saturating_sub(1);
    for (place, char) in text.chars().enumerate() {
        let is_special = match char {
            ',' | '+' | '"' | '\\' | '<' | '>' | ';' => true,
            '#' => place == 0,
            ' ' => place == 0 || place == last,
            _ => false,
        };
        if is_special {
            out.push('\\');
        }
        out.push(char);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::escaped;

    #[test]
    fn what_separates_is_escaped() {
        assert_eq!(escaped(r#" a,b+c"d\e<f>g;#h "#), r#"\ a\,b\+c\"d\\e\<f\>g\;#h\ "#);
        assert_eq!(escaped("#a=b"), r"\#a=b");
    }
}
