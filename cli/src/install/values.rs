//! The types of settings: which text each takes, and how to say so.

use std::fmt;

/// What values a setting takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// `true` or `false`.
    Bool,
    /// A whole number within bounds.
    Count {
        /// Least.
        least: u32,
        /// Most.
        most: u32,
    },
    /// A Kubernetes quantity: `100m`, `64Mi`.
    Quantity,
    /// The same, or nothing.
    OptionalQuantity,
    /// A reference to an image.
    Image,
    /// The name of a Kubernetes object.
    Name,
    /// The same, or nothing.
    OptionalName,
    /// `example.com/name`, as in `GatewayClass.spec.controllerName`.
    ControllerName,
    /// What `SLUICE_LOG` takes.
    Filter,
    /// One of these.
    Choice(&'static [&'static str]),
}

impl Type {
    /// One word for lists.
    pub fn word(self) -> String {
        match self {
            Self::Bool => "true|false".into(),
            Self::Count { .. } => "N".into(),
            Self::Quantity | Self::OptionalQuantity => "QUANTITY".into(),
            Self::Image => "IMAGE".into(),
            Self::Name | Self::OptionalName => "NAME".into(),
            Self::ControllerName => "DOMAIN/PATH".into(),
            Self::Filter => "FILTER".into(),
            Self::Choice(words) => words.join("|"),
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool => f.write_str("true or false"),
            Self::Count { least, most } => write!(f, "a whole number from {least} to {most}"),
            Self::Quantity | Self::OptionalQuantity => {
                f.write_str("an amount as Kubernetes writes it, for example 100m (CPU) or 64Mi (memory)")
            }
            Self::Image => {
                f.write_str("an image, for example registry.example.com/team/sluice-controller:0.1.0")
            }
            Self::Name | Self::OptionalName => {
                f.write_str("a DNS name of small letters, digits, '-' and '.' (at most 253)")
            }
            Self::ControllerName => f.write_str("DOMAIN/PATH, for example example.com/gateway-controller"),
            Self::Filter => f.write_str("a filter such as info or sluice_controller=debug,warn"),
            Self::Choice(words) => f.write_str(&words.join(" or ")),
        }
    }
}

/// Whether a type takes a value. No value that it takes can leave its place in a manifest.
pub(super) fn is_valid(r#type: Type, value: &str) -> bool {
    match r#type {
        Type::Bool => matches!(value, "true" | "false"),
        Type::Count { least, most } => {
            value.parse::<u32>().is_ok_and(|it| (least..=most).contains(&it) && it.to_string() == value)
        }
        Type::Quantity => is_quantity(value),
        Type::OptionalQuantity => value.is_empty() || is_quantity(value),
        Type::Image => is_image(value),
        Type::Name => is_name(value),
        Type::OptionalName => value.is_empty() || is_name(value),
        Type::ControllerName => {
            value.split_once('/').is_some_and(|(domain, path)| is_name(domain) && is_image(path))
        }
        Type::Filter => {
            let allowed = |it: char| it.is_ascii_alphanumeric() || "_:=,-.".contains(it);
            !value.is_empty() && value.len() <= 1024 && value.chars().all(allowed)
        }
        Type::Choice(words) => words.contains(&value),
    }
}

/// Digits with at most one point, then a suffix of the Kubernetes quantity format; not zero.
fn is_quantity(value: &str) -> bool {
    const SUFFIXES: [&str; 12] = ["", "m", "k", "M", "G", "T", "P", "Ki", "Mi", "Gi", "Ti", "Pi"];
    let end = value.find(|it: char| !it.is_ascii_digit() && it != '.').unwrap_or(value.len());
    let (number, suffix) = value.split_at(end);
    let is_positive = number.parse::<f64>().is_ok_and(|it| it > 0.0);
    is_positive
        && number.len() <= 16
        && number.starts_with(|it: char| it.is_ascii_digit())
        && SUFFIXES.contains(&suffix)
}

/// Loose on purpose (registries differ), but without scheme, blanks and quotes.
fn is_image(value: &str) -> bool {
    let allowed = |it: char| it.is_ascii_alphanumeric() || "._-/:@".contains(it);
    let edge = |it: Option<char>| it.is_some_and(|it| it.is_ascii_alphanumeric());
    value.len() <= 512
        && value.chars().all(allowed)
        && edge(value.chars().next())
        && edge(value.chars().next_back())
        && !value.contains("//")
}

/// A DNS subdomain (RFC 1123).
fn is_name(value: &str) -> bool {
    let label = |it: &str| {
        let inner = |it: char| it.is_ascii_lowercase() || it.is_ascii_digit() || it == '-';
        !it.is_empty() && it.chars().all(inner) && !it.starts_with('-') && !it.ends_with('-')
    };
    value.len() <= 253 && value.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::{Type, is_valid};

    #[test]
    fn quantities_are_read_as_kubernetes_reads_them() {
        for good in ["1", "0.5", "100m", "64Mi", "1Gi", "2k"] {
            assert!(is_valid(Type::Quantity, good), "{good}");
        }
        for bad in ["", "0", "0Mi", "-1", "64MB", "Mi", ".", "1e9x", "1 Gi", "1.2.3"] {
            assert!(!is_valid(Type::Quantity, bad), "{bad}");
        }
        assert!(is_valid(Type::OptionalQuantity, ""));
    }

    #[test]
    fn images_and_names_keep_to_their_letters() {
        assert!(is_valid(Type::Image, "registry.example.com:5000/a/b:1.0@sha256:00ff"));
        assert!(!is_valid(Type::Image, "https://registry.example.com/a"));
        assert!(is_valid(Type::ControllerName, "sluice.dev/gateway-controller"));
        assert!(!is_valid(Type::ControllerName, "sluice.dev/"));
        assert!(is_valid(Type::Name, "a-b.c"));
        assert!(!is_valid(Type::Name, "-a"));
    }
}
