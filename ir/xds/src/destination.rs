//! Destinations that a data plane asks for when somebody calls them.
//!
//! A sidecar subscribes to names of type [`DESTINATION`] one by one, `IP:PORT` or `HOST:PORT`, at any time on its stream
//! (on-demand delta xDS). The answer comes at the end of the batch that holds what the destination needs: a resource of
//! this type that names the scope it belongs to, or the name among `removed_resources` when nobody has it. What is answered
//! is answered again when it changes, until it is unsubscribed.

use crate::{Any, Resource};
use prost::Message as _;
use sluice_ir::GatewayKey;

/// Type URL of [`Destination`].
pub const DESTINATION: &str = "type.sluice.dev/sync.v1.Destination";

/// Longest name of a destination that is looked up, in bytes.
pub const LONGEST_DESTINATION: usize = 320;

/// Whose a destination is.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Destination {
    /// Key of the Gateway whose listeners have it: `Mesh/Service/shop/cart`.
    #[prost(string, tag = "1")]
    pub scope: String,
}

impl Destination {
    /// The message that answers for a name.
    pub fn message(name: &str, scope: &GatewayKey) -> Resource {
        let it = Self { scope: scope.to_string() };
        Resource {
            version: scope.to_string(),
            resource: Some(Any { type_url: DESTINATION.to_owned(), value: it.encode_to_vec().into() }),
            name: name.to_owned(),
        }
    }

    /// Reads a message; `None` for one of another type.
    pub fn read(message: &Resource) -> Option<GatewayKey> {
        let body = message.resource.as_ref().filter(|body| body.type_url == DESTINATION)?;
        Some(GatewayKey::new(Self::decode(body.value.clone()).ok()?.scope))
    }
}

#[cfg(test)]
mod tests {
    use super::Destination;
    use sluice_ir::GatewayKey;

    #[test]
    fn an_answer_is_read_as_it_is_written() {
        let scope = GatewayKey::new("Mesh/Service/shop/cart@blog");
        let message = Destination::message("10.96.0.1:80", &scope);
        assert_eq!((message.name.as_str(), Destination::read(&message)), ("10.96.0.1:80", Some(scope)));
    }
}
