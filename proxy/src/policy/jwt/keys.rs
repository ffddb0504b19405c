//! Keys that tokens are verified with: a JSON Web Key Set (RFC 7517) as aws-lc reads it.
//!
//! A key says itself which algorithms it is for (RFC 8725 §3.1): a token's word on its algorithm only chooses among
//! those. Keys that are of no use here (secrets, keys for encryption, weak ones, unknown kinds) are passed over, as
//! RFC 7517 §5 asks.

use super::json::Json;
use aws_lc_rs::rsa::PublicKeyComponents;
use aws_lc_rs::signature::{self as aws, EcdsaVerificationAlgorithm, ParsedPublicKey, RsaParameters};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Most keys of a set; more are passed over.
const MOST_KEYS: usize = 64;
/// Most keys that one token is tried with.
const MOST_TRIES: usize = 8;
/// Longest name of a key.
pub(super) const ID_BYTES: usize = 512;
/// Least bits of an RSA modulus (RFC 7518 §3.3), and most.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// An algorithm of signatures (RFC 7518 §3.1, RFC 8037). There is none with a shared secret, and not `none`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Algorithm {
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    Es512,
    EdDsa,
}

impl Algorithm {
    pub(super) fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "RS256" => Self::Rs256,
            "RS384" => Self::Rs384,
            "RS512" => Self::Rs512,
            "PS256" => Self::Ps256,
            "PS384" => Self::Ps384,
            "PS512" => Self::Ps512,
            "ES256" => Self::Es256,
            "ES384" => Self::Es384,
            "ES512" => Self::Es512,
            "EdDSA" => Self::EdDsa,
            _ => return None,
        })
    }

    fn rsa(self) -> Option<&'static RsaParameters> {
        Some(match self {
            Self::Rs256 => &aws::RSA_PKCS1_2048_8192_SHA256,
            Self::Rs384 => &aws::RSA_PKCS1_2048_8192_SHA384,
            Self::Rs512 => &aws::RSA_PKCS1_2048_8192_SHA512,
            Self::Ps256 => &aws::RSA_PSS_2048_8192_SHA256,
            Self::Ps384 => &aws::RSA_PSS_2048_8192_SHA384,
            Self::Ps512 => &aws::RSA_PSS_2048_8192_SHA512,
            Self::Es256 | Self::Es384 | Self::Es512 | Self::EdDsa => return None,
        })
    }
}

/// Why a text is no key set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum KeySetError {
    /// Or it has a name twice.
    #[error("it is no JSON, or not strictly so")]
    Json,
    /// RFC 7517 §5.
    #[error("it has no list \"keys\"")]
    NoKeys,
}

/// The keys of an issuer that are of use.
#[derive(Debug, Default)]
pub(crate) struct KeySet {
    keys: Vec<Key>,
    /// Those that are not.
    passed_over: usize,
}

#[derive(Debug)]
struct Key {
    id: Option<Box<str>>,
    /// The only one that it is for, where it says so.
    algorithm: Option<Algorithm>,
    material: Material,
}

#[derive(Debug)]
enum Material {
    Rsa(PublicKeyComponents<Box<[u8]>>),
    /// Of one curve, and so for one algorithm.
    Point(Algorithm, ParsedPublicKey),
}

/// How a signature fared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tried {
    Valid,
    Invalid,
    /// The set has no key of that name and kind.
    NoKey,
}

impl KeySet {
    /// Reads a set.
    ///
    /// # Errors
    /// When it is none. Single keys that are of no use are no error.
    pub(crate) fn parse(text: &[u8]) -> Result<Self, KeySetError> {
        let set = Json::parse(text).ok_or(KeySetError::Json)?;
        let Some(Json::List(list)) = set.get("keys") else { return Err(KeySetError::NoKeys) };
        let keys: Vec<Key> = list.iter().filter_map(Key::read).take(MOST_KEYS).collect();
        let passed_over = list.len() - keys.len();
        Ok(Self { keys, passed_over })
    }

    /// Keys that are of use, and those that are not.
    pub(crate) fn len(&self) -> (usize, usize) {
        (self.keys.len(), self.passed_over)
    }

    /// Tries the keys that the token may mean: those of its `kid`, or that have none; all where it has none.
    pub(super) fn verify(
        &self,
        algorithm: Algorithm,
        id: Option<&str>,
        message: &[u8],
        signature: &[u8],
    ) -> Tried {
        let is_meant = |key: &&Key| {
            key.takes(algorithm)
                && match (id, key.id.as_deref()) {
                    (Some(wanted), Some(id)) => wanted == id,
                    (None, _) | (_, None) => true,
                }
        };
        // A key of that very name comes first.
        let named = self.keys.iter().filter(is_meant).filter(|key| key.id.is_some() && id.is_some());
        let others = self.keys.iter().filter(is_meant).filter(|key| key.id.is_none() || id.is_none());
        let mut tried = Tried::NoKey;
        for key in named.chain(others).take(MOST_TRIES) {
            if key.verifies(algorithm, message, signature) {
                return Tried::Valid;
            }
            tried = Tried::Invalid;
        }
        tried
    }
}

impl Key {
    /// `None`: of no use.
    fn read(it: &Json) -> Option<Self> {
        let text = |name: &str| it.get(name).and_then(Json::text);
        let is_for_signatures = text("use").is_none_or(|it| it == "sig")
            && match it.get("key_ops") {
                None => true,
                Some(Json::List(list)) => list.iter().any(|it| it.text() == Some("verify")),
                Some(_) => false,
            };
        let id = match it.get("kid") {
            None => None,
            Some(id) => Some(id.text().filter(|it| it.len() <= ID_BYTES)?.into()),
        };
        let algorithm = match it.get("alg") {
            None => None,
            Some(name) => Some(Algorithm::parse(name.text()?)?),
        };
        let bytes = |name: &str| URL_SAFE_NO_PAD.decode(text(name)?).ok();
        let material = match text("kty")? {
            "RSA" => Material::rsa(bytes("n")?, bytes("e")?)?,
            "EC" => Material::ec(text("crv")?, &bytes("x")?, &bytes("y")?)?,
            "OKP" if text("crv") == Some("Ed25519") => Material::ed25519(&bytes("x")?)?,
            _ => return None,
        };
        let key = Self { id, algorithm, material };
        let is_possible = algorithm.is_none_or(|it| key.material.takes(it));
        (is_for_signatures && is_possible).then_some(key)
    }

    fn takes(&self, algorithm: Algorithm) -> bool {
        self.algorithm.is_none_or(|own| own == algorithm) && self.material.takes(algorithm)
    }

    fn verifies(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        match &self.material {
            Material::Rsa(key) => {
                algorithm.rsa().is_some_and(|it| key.verify(it, message, signature).is_ok())
            }
            Material::Point(own, key) => *own == algorithm && key.verify_sig(message, signature).is_ok(),
        }
    }
}

impl Material {
    fn takes(&self, algorithm: Algorithm) -> bool {
        match self {
            Self::Rsa(_) => algorithm.rsa().is_some(),
            Self::Point(own, _) => *own == algorithm,
        }
    }

    fn rsa(n: Vec<u8>, e: Vec<u8>) -> Option<Self> {
        let n = trimmed(n)?;
        let e = trimmed(e)?;
        let bits = n.len() * 8 - n.first()?.leading_zeros() as usize;
        // With exponent 1 everybody can sign.
        let is_odd = e.last()? % 2 == 1 && n.last()? % 2 == 1;
        let is_sound = RSA_BITS.contains(&bits) && is_odd && *e != [1] && e.len() <= 8;
        let key = PublicKeyComponents { n, e };
        let is_readable = key.to_parsed_public_key(&aws::RSA_PKCS1_2048_8192_SHA256).is_ok();
        (is_sound && is_readable).then_some(Self::Rsa(key))
    }

    fn ec(curve: &str, x: &[u8], y: &[u8]) -> Option<Self> {
        let (algorithm, verifier, bytes): (_, &'static EcdsaVerificationAlgorithm, _) = match curve {
            "P-256" => (Algorithm::Es256, &aws::ECDSA_P256_SHA256_FIXED, 32),
            "P-384" => (Algorithm::Es384, &aws::ECDSA_P384_SHA384_FIXED, 48),
            "P-521" => (Algorithm::Es512, &aws::ECDSA_P521_SHA512_FIXED, 66),
            _ => return None,
        };
        if x.len() != bytes || y.len() != bytes {
            return None;
        }
        // Uncompressed (SEC 1 §2.3.3). That it is a point of the curve is looked at here.
        let point = [&[4], x, y].concat();
        Some(Self::Point(algorithm, ParsedPublicKey::new(verifier, point).ok()?))
    }

    fn ed25519(x: &[u8]) -> Option<Self> {
        let key = ParsedPublicKey::new(&aws::ED25519, x).ok()?;
        (x.len() == 32).then_some(Self::Point(Algorithm::EdDsa, key))
    }
}

/// Some writers put a zero before numbers whose first bit is set.
fn trimmed(number: Vec<u8>) -> Option<Box<[u8]>> {
    let first = number.iter().position(|byte| *byte != 0)?;
    Some(number.get(first..)?.into())
}
