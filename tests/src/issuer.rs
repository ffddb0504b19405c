//! An issuer of tokens (JWT): keys that are made for a test, and a server that tells the public ones.

use crate::{Received, Recorder, Reply};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    self as aws, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair as _, RsaEncoding, RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

/// Seconds since 1970.
pub fn now_s() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a clock").as_secs()
}

/// In base64url without padding.
pub fn part(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

enum Pair {
    Rsa(RsaKeyPair),
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
}

/// A key pair.
pub struct TokenKey {
    /// `kid`.
    pub id: String,
    /// `alg`, such as `RS256`.
    pub algorithm: &'static str,
    pair: Pair,
}

impl TokenKey {
    /// A new one; takes a moment for RSA.
    pub fn new(algorithm: &'static str, id: &str) -> Self {
        let ec =
            |it: &'static EcdsaSigningAlgorithm| Pair::Ec(EcdsaKeyPair::generate(it).expect("a key pair"));
        let pair = match algorithm {
            "ES256" => ec(&aws::ECDSA_P256_SHA256_FIXED_SIGNING),
            "ES384" => ec(&aws::ECDSA_P384_SHA384_FIXED_SIGNING),
            "ES512" => ec(&aws::ECDSA_P521_SHA512_FIXED_SIGNING),
            "EdDSA" => Pair::Ed(Ed25519KeyPair::generate().expect("a key pair")),
            _ => Pair::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).expect("a key pair")),
        };
        Self { id: id.to_owned(), algorithm, pair }
    }

    /// The public key (RFC 7517), without `alg`.
    pub fn jwk(&self) -> Value {
        let mut jwk = match &self.pair {
            Pair::Rsa(pair) => {
                let (n, e) = modulus_and_exponent(pair.public_key().as_ref());
                json!({"kty": "RSA", "n": part(n), "e": part(e)})
            }
            Pair::Ec(pair) => {
                let point = &pair.public_key().as_ref()[1..];
                let (x, y) = point.split_at(point.len() / 2);
                let curve = match self.algorithm {
                    "ES256" => "P-256",
                    "ES384" => "P-384",
                    _ => "P-521",
                };
                json!({"kty": "EC", "crv": curve, "x": part(x), "y": part(y)})
            }
            Pair::Ed(pair) => json!({"kty": "OKP", "crv": "Ed25519", "x": part(pair.public_key())}),
        };
        jwk["kid"] = json!(self.id);
        jwk["use"] = json!("sig");
        jwk
    }

    /// The public key in the form that is signed with in attacks: of RSA its DER.
    pub fn public_der(&self) -> Vec<u8> {
        match &self.pair {
            Pair::Rsa(pair) => pair.public_key().as_ref().to_vec(),
            Pair::Ec(pair) => pair.public_key().as_ref().to_vec(),
            Pair::Ed(pair) => pair.public_key().as_ref().to_vec(),
        }
    }

    /// A signature by the key's algorithm.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.sign_by(self.algorithm, message)
    }

    /// A signature by another algorithm of the same kind of key.
    pub fn sign_by(&self, algorithm: &str, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Rsa(pair) => {
                let encoding: &'static dyn RsaEncoding = match algorithm {
                    "RS384" => &aws::RSA_PKCS1_SHA384,
                    "RS512" => &aws::RSA_PKCS1_SHA512,
                    "PS256" => &aws::RSA_PSS_SHA256,
                    "PS384" => &aws::RSA_PSS_SHA384,
                    "PS512" => &aws::RSA_PSS_SHA512,
                    _ => &aws::RSA_PKCS1_SHA256,
                };
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(encoding, &random, message, &mut signature).expect("a signature");
                signature
            }
            Pair::Ec(pair) => pair.sign(&random, message).expect("a signature").as_ref().to_vec(),
            Pair::Ed(pair) => pair.sign(message).as_ref().to_vec(),
        }
    }

    /// A token with these claims.
    pub fn token(&self, claims: &Value) -> String {
        self.token_with(&json!({"alg": self.algorithm, "kid": self.id, "typ": "JWT"}), claims)
    }

    /// The same with a header of one's own.
    pub fn token_with(&self, header: &Value, claims: &Value) -> String {
        self.token_of(&header.to_string(), &claims.to_string())
    }

    /// The same of texts that need not be JSON.
    pub fn token_of(&self, header: &str, claims: &str) -> String {
        let signed = format!("{}.{}", part(header), part(claims));
        let signature = part(self.sign(signed.as_bytes()));
        format!("{signed}.{signature}")
    }
}

/// The two numbers of an RSAPublicKey (RFC 8017 §A.1.1).
fn modulus_and_exponent(der: &[u8]) -> (Vec<u8>, Vec<u8>) {
    fn field(der: &[u8]) -> (&[u8], &[u8]) {
        let (length, start) = match usize::from(der[1]) {
            short @ 0..=127 => (short, 2),
            long => {
                let bytes = long - 128;
                let length = der[2..2 + bytes].iter().fold(0, |all, byte| all << 8 | usize::from(*byte));
                (length, 2 + bytes)
            }
        };
        (&der[start..start + length], &der[start + length..])
    }
    let (numbers, _) = field(der);
    let (n, rest) = field(numbers);
    let (e, _) = field(rest);
    let trimmed = |it: &[u8]| it.iter().copied().skip_while(|byte| *byte == 0).collect();
    (trimmed(n), trimmed(e))
}

struct Told {
    keys: Vec<Value>,
    /// What comes in place of an answer: head and body.
    instead: Option<(String, Vec<u8>)>,
    hangs: bool,
}

/// A server on loopback with `/keys` and `/.well-known/openid-configuration`.
pub struct Issuer {
    recorder: Recorder,
    told: Arc<Mutex<Told>>,
}

impl Issuer {
    /// Tells these keys.
    pub async fn start(keys: &[&TokenKey]) -> Self {
        let keys = keys.iter().map(|it| it.jwk()).collect();
        let told = Arc::new(Mutex::new(Told { keys, instead: None, hangs: false }));
        let script = told.clone();
        let recorder = Recorder::scripted(move |request: &Received| {
            let told = script.lock().expect("no panic");
            if told.hangs {
                return Reply::Hang;
            }
            if let Some((head, body)) = &told.instead {
                let head = format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\n\r\n", body.len());
                return Reply::Send([head.into_bytes(), body.clone()].concat());
            }
            if request.line().contains("openid-configuration") {
                let host = request.values("host").join("");
                let issuer = format!("http://{host}");
                let document = json!({"issuer": issuer, "jwks_uri": format!("{issuer}/keys")});
                return Reply::ok(&document.to_string());
            }
            Reply::ok(&json!({"keys": told.keys}).to_string())
        });
        Self { recorder: recorder.await, told }
    }

    /// Where it is, by a name: `http://localhost:PORT`.
    pub fn url(&self) -> String {
        format!("http://localhost:{}", self.recorder.address().port())
    }

    /// Its address.
    pub fn address(&self) -> std::net::SocketAddr {
        self.recorder.address()
    }

    /// Tells other keys from now on.
    pub fn set_keys(&self, keys: &[&TokenKey]) {
        self.told.lock().expect("no panic").keys = keys.iter().map(|it| it.jwk()).collect();
    }

    /// Answers everything so from now on: `302 Found\r\nLocation: ...`; `None`: as usual.
    pub fn answer(&self, instead: Option<(&str, &[u8])>) {
        self.told.lock().expect("no panic").instead =
            instead.map(|(head, body)| (head.to_owned(), body.to_vec()));
    }

    /// Answers nothing at all, or as usual again.
    pub fn hang(&self, hangs: bool) {
        self.told.lock().expect("no panic").hangs = hangs;
    }

    /// Request lines so far.
    pub fn asked(&self) -> Vec<String> {
        self.recorder.lines()
    }
}
