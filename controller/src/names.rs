//! Names of what is made for a Gateway (GEP-1762): pure, so that the provisioner, the server and tests agree.

use sha2::{Digest, Sha256};
use std::fmt::Write as _;

/// The longest name that a Service, a label value and the pods of a Deployment all take.
const LONGEST: usize = 50;

/// Label that carries the Gateway's name, shortened like [`infrastructure`].
pub const GATEWAY_NAME_LABEL: &str = "gateway.networking.k8s.io/gateway-name";

/// Label that carries the GatewayClass.
pub const GATEWAY_CLASS_LABEL: &str = "gateway.networking.k8s.io/gateway-class-name";

/// Name of the ServiceAccount, Deployment and Service of a Gateway: `GATEWAY-CLASS`, and when that is too long its
/// beginning with ten digits of a hash of the whole, so that Gateways of up to 253 characters never share one.
pub fn infrastructure(gateway: &str, class: &str) -> String {
    shortened(&format!("{gateway}-{class}"), LONGEST)
}

/// The Gateway's name as a label value (at most 63 characters).
pub fn label_value(gateway: &str) -> String {
    shortened(gateway, 63)
}

/// `text` as it is when it is a DNS label of at most `most` characters, else its beginning and a hash.
fn shortened(text: &str, most: usize) -> String {
    // A Service's name is a DNS label: no dots, which a Gateway's name may have.
    if text.len() <= most && !text.contains('.') {
        return text.to_owned();
    }
    let mut hash = String::with_capacity(10);
    for byte in Sha256::digest(text.as_bytes()).iter().take(5) {
        let _ = write!(hash, "{byte:02x}");
    }
    let kept: String = text.replace('.', "-").chars().take(most - hash.len() - 1).collect();
    format!("{}-{hash}", kept.trim_end_matches('-'))
}

#[cfg(test)]
mod tests {
    use super::{infrastructure, label_value};

    #[test]
    fn a_short_name_is_kept_and_a_long_one_gets_a_hash_of_the_whole() {
        assert_eq!(infrastructure("web", "sluice"), "web-sluice");
        let (a, b) = ("a".repeat(252) + "x", "a".repeat(252) + "y");
        assert_ne!(infrastructure(&a, "sluice"), infrastructure(&b, "sluice"));
        assert!(infrastructure(&a, "sluice").len() <= 50 && label_value(&a).len() <= 63);
        assert!(!infrastructure("web.shop", "sluice").contains('.'));
    }
}
