//! Cipher suites and key-exchange groups of TLS, by the names that IANA gives them.

use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! names {
    ($(#[$doc:meta])* $type:ident { $($variant:ident = $name:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum $type {
            $(#[doc = concat!("`", $name, "`.")] #[serde(rename = $name)] $variant,)+
        }

        impl $type {
            /// Every one, strongest first.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The name that IANA gives it.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }

            /// The one of that name.
            pub fn parse(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|it| it.name() == name)
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())
            }
        }
    };
}

names! {
    /// A cipher suite. All there are use AEADs, and forward secrecy.
    CipherSuite {
        Aes256GcmSha384 = "TLS_AES_256_GCM_SHA384",
        Aes128GcmSha256 = "TLS_AES_128_GCM_SHA256",
        Chacha20Poly1305Sha256 = "TLS_CHACHA20_POLY1305_SHA256",
        EcdheEcdsaAes256GcmSha384 = "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
        EcdheEcdsaAes128GcmSha256 = "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
        EcdheEcdsaChacha20Poly1305Sha256 = "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        EcdheRsaAes256GcmSha384 = "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
        EcdheRsaAes128GcmSha256 = "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
        EcdheRsaChacha20Poly1305Sha256 = "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
    }
}

names! {
    /// A group for the key exchange.
    KeyExchangeGroup {
        X25519MlKem768 = "X25519MLKEM768",
        X25519 = "x25519",
        Secp256r1 = "secp256r1",
        Secp384r1 = "secp384r1",
    }
}

impl CipherSuite {
    /// Whether it is one of TLS 1.3, which TLS 1.2 can't use, and the other way round.
    pub fn is_tls13(self) -> bool {
        matches!(self, Self::Aes256GcmSha384 | Self::Aes128GcmSha256 | Self::Chacha20Poly1305Sha256)
    }
}
