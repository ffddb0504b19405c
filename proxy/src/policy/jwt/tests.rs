#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;
use crate::policy::Token;
use crate::upstream::Resolver;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Value, json};
use std::sync::LazyLock;

const NOW_S: f64 = 1_000_000.0;

struct Signer(EcdsaKeyPair);

impl Signer {
    fn new() -> Self {
        Self(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
    }

    fn jwks(&self, id: &str) -> String {
        let (x, y) = self.0.public_key().as_ref()[1..].split_at(32);
        let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
        json!({"keys": [{"kty": "EC", "crv": "P-256", "kid": id, "x": x, "y": y}]}).to_string()
    }

    fn token(&self, claims: Value) -> String {
        let part = |it: Value| URL_SAFE_NO_PAD.encode(it.to_string());
        let signed = format!("{}.{}", part(json!({"alg": "ES256", "kid": "a"})), part(claims));
        let signature = self.0.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
    }
}

fn rule(issuer: &str, jwks: &str) -> ir::JwtRule {
    ir::JwtRule {
        issuer: issuer.to_owned(),
        audiences: Vec::new(),
        keys: ir::JwtKeys::Inline(jwks.to_owned()),
        headers: Vec::new(),
        parameters: Vec::new(),
        cookies: Vec::new(),
        forwards: false,
        payload_header: None,
        claim_headers: Default::default(),
        space_delimited: Vec::new(),
    }
}

fn compile(rules: Vec<ir::JwtRule>) -> Authenticator {
    let policy = ir::Authentication {
        origin: ir::Origin::new("RequestAuthentication", "shop", "a"),
        selector: Default::default(),
        rules,
    };
    Authenticator::compile(&[Arc::new(policy)], &Sources::new(Resolver::system())).unwrap()
}

fn judge(authenticator: &Authenticator, token: &str, now_s: f64) -> TokenVerdict {
    let mut headers = HeaderMap::new();
    headers.insert("authorization", format!("Bearer {token}").parse().unwrap());
    authenticator.judge(&headers, None, now_s)
}

#[test]
fn a_token_is_believed_once_verified_until_it_ends() {
    let signer = Signer::new();
    let mut rule = rule("id", &signer.jwks("a"));
    rule.claim_headers = [
        ("x-user".to_owned(), vec!["sub".to_owned()]),
        ("x-team".to_owned(), vec!["org".to_owned(), "team".to_owned()]),
        ("x-uri".to_owned(), vec!["https://a".to_owned(), "b/c".to_owned()]),
        ("x-admin".to_owned(), vec!["admin".to_owned()]),
        ("x-list".to_owned(), vec!["list".to_owned()]),
        ("x-bad".to_owned(), vec!["bad".to_owned()]),
    ]
    .into();
    rule.payload_header = Some("x-payload".to_owned());
    let authenticator = compile(vec![rule]);
    let token = signer
        .token(json!({"iss": "id", "sub": "u", "exp": 1_000_100, "org": {"team": 7}, "admin": true,
                                    "list": ["a"], "bad": "a\r\nb: c", "https://a.b/c": "dotted"}));
    for was_known in [false, true] {
        let TokenVerdict::Verified(identity) = judge(&authenticator, &token, NOW_S) else { panic!() };
        assert_eq!((identity.claims.principal(), identity.was_known), ("id/u", was_known));
        let fields: Vec<_> =
            identity.fields.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        let payload = token.split('.').nth(1).unwrap();
        assert_eq!(
            fields,
            [
                ("x-payload", payload),
                ("x-admin", "true"),
                ("x-team", "7"),
                ("x-uri", "dotted"),
                ("x-user", "u")
            ]
        );
        assert_eq!(*identity.stripped, [0]);
    }
    let verdict = judge(&authenticator, &token, 1_000_159.0);
    assert!(matches!(verdict, TokenVerdict::Verified(_)), "clocks may differ by a minute: {verdict:?}");
    assert!(matches!(judge(&authenticator, &token, 1_000_160.0), TokenVerdict::Refused(Refusal::Expired)));
    assert!(matches!(authenticator.judge(&HeaderMap::new(), None, NOW_S), TokenVerdict::Anonymous));
}

#[test]
fn every_token_of_a_request_must_be_good_by_a_rule_for_its_issuer_and_place() {
    let (one, two) = (Signer::new(), Signer::new());
    let mut second = rule("two", &two.jwks("a"));
    second.headers = vec![ir::TokenHeader { name: "x-two".to_owned(), prefix: String::new() }];
    second.forwards = true;
    let mut third = rule("one", &two.jwks("a"));
    third.audiences = vec!["shop".to_owned()];
    let authenticator = compile(vec![rule("one", &one.jwks("a")), second, third]);
    let of = |signer: &Signer, issuer: &str| signer.token(json!({"iss": issuer, "exp": 1_000_100}));
    let judged = |fields: &[(&'static str, &str)]| {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().unwrap());
        }
        authenticator.judge(&headers, None, NOW_S)
    };
    let (first, second) = (format!("Bearer {}", of(&one, "one")), of(&two, "two"));
    let TokenVerdict::Verified(identity) = judged(&[("x-two", &second), ("authorization", &first)]) else {
        panic!()
    };
    assert_eq!((identity.claims.principal(), &*identity.stripped), ("one/", &[0][..]));
    for (fields, refusal) in [
        (vec![("authorization", &*first), ("x-two", "x")], Refusal::Malformed),
        (vec![("authorization", &first), ("authorization", "bearer x.y.z")], Refusal::Malformed),
        (vec![("authorization", &format!("Bearer {second}"))], Refusal::Issuer),
        (vec![("x-two", &of(&one, "two"))], Refusal::Signature),
        (vec![("authorization", "Bearer"); 9], Refusal::TooMany),
        (vec![("authorization", &format!("Bearer {}", of(&two, "one")))], Refusal::Audience),
    ] {
        let verdict = judged(&fields);
        assert!(matches!(verdict, TokenVerdict::Refused(it) if it == refusal), "{refusal:?}: {verdict:?}");
    }
    // Another rule of the same issuer may believe it.
    let by_third = two.token(json!({"iss": "one", "aud": ["x", "shop"], "exp": 1_000_100}));
    assert!(matches!(judge(&authenticator, &by_third, NOW_S), TokenVerdict::Verified(_)));
    // A token that is known in one place is not in another.
    let verdict = judge(&authenticator, &second, NOW_S);
    assert!(matches!(verdict, TokenVerdict::Refused(Refusal::Issuer)), "{verdict:?}");
}

#[test]
fn fields_that_tokens_give_are_forged_in_every_spelling() {
    let signer = Signer::new();
    let mut rule = rule("id", &signer.jwks("a"));
    rule.claim_headers = [("x-user-id".to_owned(), vec!["sub".to_owned()])].into();
    let authenticator = compile(vec![rule]);
    let mut headers = HeaderMap::new();
    for name in ["x-user-id", "x_user_id", "x-user_id", "x-user-ids", "y-user-id"] {
        headers.append(name, "a".parse().unwrap());
    }
    let mut forged = authenticator.forged(&headers);
    forged.sort_by_key(|it| it.as_str().to_owned());
    assert_eq!(forged, ["x-user-id", "x-user_id", "x_user_id"]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Whatever bytes of a good token become, it is refused, or it is the same text.
    #[test]
    fn a_changed_token_is_refused(edits in vec((any::<Index>(), any::<u8>()), 1..3), cut in any::<Option<Index>>()) {
        static GOOD: LazyLock<(Authenticator, String)> = LazyLock::new(|| {
            let signer = Signer::new();
            (compile(vec![rule("id", &signer.jwks("a"))]), signer.token(json!({"iss": "id", "exp": 1_000_100})))
        });
        let (authenticator, good) = &*GOOD;
        let mut bytes = good.clone().into_bytes();
        for (at, byte) in edits {
            let at = at.index(bytes.len());
            // What no header field can hold never gets here.
            bytes[at] = if byte < 33 || byte == 127 { b'A' } else { byte };
        }
        bytes.truncate(cut.map_or(bytes.len(), |it| it.index(bytes.len())));
        let mut headers = HeaderMap::new();
        headers.insert("authorization", HeaderValue::from_bytes(&[b"Bearer ", &*bytes].concat()).unwrap());
        let is_believed = matches!(authenticator.judge(&headers, None, NOW_S), TokenVerdict::Verified(_));
        prop_assert_eq!(is_believed, bytes == good.as_bytes());
    }
}

#[test]
fn keys_of_no_use_are_passed_over_and_those_of_use_say_what_they_are_for() {
    let signer = Signer::new();
    let good: Value = serde_json::from_str(&signer.jwks("a")).unwrap();
    let mut keys = vec![
        json!({"kty": "oct", "k": "c2VjcmV0", "kid": "a"}),
        json!("x"),
        json!({"kty": "RSA", "n": "AQAB", "e": "AQAB"}),
    ];
    let with = |name: &str, value: Value| {
        let mut key = good["keys"][0].clone();
        key[name] = value;
        key
    };
    for (name, value) in [
        ("use", json!("enc")),
        ("key_ops", json!(["sign"])),
        ("alg", json!("RS256")),
        ("alg", json!("HS256")),
        ("crv", json!("P-384")),
        ("kid", json!(7)),
        ("y", good["keys"][0]["x"].clone()),
        ("x", json!("AAAA")),
    ] {
        keys.push(with(name, value));
    }
    let passed_over = keys.len();
    keys.push(with("alg", json!("ES256")));
    let set = KeySet::parse(json!({"keys": keys}).to_string().as_bytes()).unwrap();
    assert_eq!(set.len(), (1, passed_over));
    let many = vec![good["keys"][0].clone(); 1000];
    assert_eq!(KeySet::parse(json!({"keys": many}).to_string().as_bytes()).unwrap().len(), (64, 936));
    for bad in ["", "[]", "{}", r#"{"keys":{}}"#, r#"{"keys":[],"keys":[]}"#, "-----BEGIN PUBLIC KEY-----"] {
        assert!(KeySet::parse(bad.as_bytes()).is_err(), "{bad}");
    }
}
