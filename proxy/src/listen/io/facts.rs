//! What Pingora wants to know of a connection besides its bytes.

use super::ConnIo;
use async_trait::async_trait;
use pingora_core::protocols::raw_connect::ProxyDigest;
use pingora_core::protocols::tls::SslDigest;
use pingora_core::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, TimingDigest,
    UniqueID, UniqueIDType,
};
use std::fmt;
use std::sync::Arc;

#[async_trait]
impl Shutdown for ConnIo {
    async fn shutdown(&mut self) {
        self.finish().await;
    }
}

impl UniqueID for ConnIo {
    fn id(&self) -> UniqueIDType {
        self.transport.fd()
    }
}

impl Ssl for ConnIo {
    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        self.shared.ssl.clone()
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        let tls = self.shared.info.tls.as_ref()?;
        Some(if tls.alpn_h2 { ALPN::H2 } else { ALPN::H1 })
    }
}

impl GetTimingDigest for ConnIo {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        vec![Some(self.shared.timing.clone())]
    }
}

impl GetProxyDigest for ConnIo {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        Some(self.shared.proxy.clone())
    }
}

impl GetSocketDigest for ConnIo {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        Some(self.shared.socket.clone())
    }
}

impl Peek for ConnIo {}

impl fmt::Debug for ConnIo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnIo")
            .field("port", &self.info().port)
            .field("peer", &self.info().peer)
            .finish_non_exhaustive()
    }
}
