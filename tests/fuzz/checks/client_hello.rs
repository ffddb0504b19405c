//! What holds for every ClientHello.

use rustls::server::Acceptor;
use sluice_proxy::listen::server_name;

/// Panics when a law is broken. The bytes arrive as a client's first flight; what is no ClientHello is refused.
pub(crate) fn check(data: &[u8]) {
    let mut acceptor = Acceptor::default();
    let mut rest = data;
    while !rest.is_empty() {
        if !acceptor.read_tls(&mut rest).is_ok_and(|read| read > 0) {
            return;
        }
        match acceptor.accept() {
            Ok(None) => {}
            Ok(Some(accepted)) => return named(server_name(&accepted.client_hello())),
            Err(_) => return,
        }
    }
}

/// A name is in the form in which listeners are looked up, so that no spelling chooses another listener.
fn named(name: Option<String>) {
    let Some(name) = name else { return };
    assert!(!name.is_empty() && !name.ends_with('.'), "{name:?}");
    assert!(!name.bytes().any(|byte| byte.is_ascii_uppercase() || byte <= b' ' || byte == b'*'), "{name:?}");
}
