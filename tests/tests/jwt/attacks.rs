//! Tokens that must not be believed, each through the gateway: 401, and the backend sees nothing.

use crate::{bearing, claims, claims_but, count, issuer, rule, stand, status};
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use serde_json::json;
use sluice_tests::{Ask, Issuer, Stand, TokenKey, now_s, part};

fn hs256(secret: &[u8], header: &str, payload: &str) -> String {
    let signed = format!("{}.{}", part(header), part(payload));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), signed.as_bytes());
    format!("{signed}.{}", part(tag.as_ref()))
}

async fn refused(stand: &Stand, what: &str, token: &str) {
    let answer = stand.request(&bearing(token)).await;
    assert_eq!((answer.status, answer.backend()), (401, None), "{what}: {token:.300}");
    let told = answer.header("www-authenticate").unwrap_or_default();
    assert_eq!(told, "Bearer realm=\"http://shop.example/cart\", error=\"invalid_token\"", "{what}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_algorithm_of_public_keys_is_taken_and_bound_to_its_key() {
    let names = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"];
    let keys: Vec<TokenKey> = names.iter().map(|name| TokenKey::new(name, name)).collect();
    let issuer = Issuer::start(&keys.iter().collect::<Vec<_>>()).await;
    let stand = stand(&rule(&issuer, "")).await;
    for key in &keys {
        assert_eq!(status(&stand, &key.token(&claims())).await, 200, "{}", key.algorithm);
        // A key that has no name may be any.
        let unnamed = key.token_with(&json!({"alg": key.algorithm}), &claims());
        assert_eq!(status(&stand, &unnamed).await, 200, "{} without kid", key.algorithm);
        for other in names.iter().filter(|it| **it != key.algorithm) {
            let header = json!({"alg": other, "kid": key.id});
            let token = key.token_with(&header, &claims());
            refused(&stand, &format!("{} that says {other}", key.algorithm), &token).await;
        }
    }
    // One RSA key is good for all of its kind, as long as it does not say for which.
    let signed = format!(
        "{}.{}",
        part(json!({"alg": "PS384", "kid": "RS256"}).to_string()),
        part(claims().to_string())
    );
    let token = format!("{signed}.{}", part(keys[0].sign_by("PS384", signed.as_bytes())));
    assert_eq!(status(&stand, &token).await, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_header_opens() {
    let (key, issuer) = issuer("RS256").await;
    let stand = stand(&rule(&issuer, ", audiences: [shop]")).await;
    let good = key.token(&claims());
    assert_eq!(status(&stand, &good).await, 200);
    let payload = claims().to_string();
    let unsigned = |header: &str| format!("{}.{}.", part(header), part(&payload));
    for name in ["none", "None", "NONE", "nOnE", ""] {
        let header = json!({"alg": name, "kid": "one"}).to_string();
        refused(&stand, name, &unsigned(&header)).await;
        refused(&stand, name, unsigned(&header).trim_end_matches('.')).await;
        refused(&stand, name, &format!("{}{}", unsigned(&header), good.rsplit('.').next().unwrap())).await;
    }
    // The public key taken for a shared secret.
    let jwk = key.jwk();
    let der = key.public_der();
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(&der));
    let modulus = URL_SAFE_NO_PAD.decode(jwk["n"].as_str().unwrap()).unwrap();
    let secrets = [
        der,
        pem.clone().into_bytes(),
        pem.trim().into(),
        modulus,
        jwk["n"].as_str().unwrap().into(),
        jwk.to_string().into_bytes(),
        b"".to_vec(),
        b"secret".to_vec(),
    ];
    for algorithm in ["HS256", "HS384", "HS512"] {
        for secret in &secrets {
            let header = json!({"alg": algorithm, "kid": "one"}).to_string();
            refused(&stand, algorithm, &hs256(secret, &header, &payload)).await;
        }
    }
    // Keys that the token brings itself, or that it says where to find.
    let own = TokenKey::new("RS256", "one");
    let evil = Issuer::start(&[&own]).await;
    for (name, value) in [
        ("jwk", own.jwk()),
        ("jku", json!(format!("{}/keys", evil.url()))),
        ("x5u", json!(format!("{}/keys", evil.url()))),
        ("x5c", json!(["MIIB"])),
        ("x5t", json!("AAAA")),
    ] {
        let mut header = json!({"alg": "RS256", "kid": "one"});
        header[name] = value;
        refused(&stand, name, &own.token_with(&header, &claims())).await;
        header.as_object_mut().unwrap().remove("kid");
        refused(&stand, name, &own.token_with(&header, &claims())).await;
    }
    assert!(evil.asked().is_empty(), "nobody is asked on a token's word");
    // Names of keys are compared, and nothing else is done with them.
    for id in [
        "../../../../dev/null",
        "/dev/null",
        "one' OR '1'='1",
        "one\0",
        "one ",
        "ONE",
        "",
        "file:///proc/self/environ",
        "http://localhost/keys",
        "; sleep 5",
        "one\r\nx: y",
    ] {
        refused(&stand, id, &key.token_with(&json!({"alg": "RS256", "kid": id}), &claims())).await;
        refused(&stand, id, &hs256(b"", &json!({"alg": "HS256", "kid": id}).to_string(), &payload)).await;
    }
    let long = "x".repeat(600);
    for header in [
        json!({"alg": "RS256", "kid": "one", "crit": ["exp"]}),
        json!({"alg": "RS256", "kid": "one", "crit": []}),
        json!({"alg": "RS256", "kid": "one", "crit": ["b64"], "b64": false}),
        json!({"alg": "RS256", "kid": "one", "b64": false}),
        json!({"alg": "RS256", "kid": "one", "zip": "DEF"}),
        json!({"alg": ["RS256"], "kid": "one"}),
        json!({"alg": null, "kid": "one"}),
        json!({"alg": "rs256", "kid": "one"}),
        json!({"alg": "RS256 ", "kid": "one"}),
        json!({"alg": "RS1", "kid": "one"}),
        json!({"alg": "ES256K", "kid": "one"}),
        json!({"kid": "one"}),
        json!({"alg": "RS256", "kid": ["one"]}),
        json!({"alg": "RS256", "kid": null}),
        json!({"alg": "RS256", "kid": long}),
        json!({"alg": "dir", "enc": "A256GCM", "kid": "one"}),
        json!(["RS256"]),
        json!("RS256"),
    ] {
        refused(&stand, &header.to_string(), &key.token_with(&header, &claims())).await;
    }
    for header in [
        r#"{"alg":"RS256","kid":"one","alg":"none"}"#,
        r#"{"alg":"none","alg":"RS256","kid":"one"}"#,
        r#"{"alg":"RS256","kid":"one","kid":"two"}"#,
        r#"{"alg":"RS256","\u0061lg":"RS256","kid":"one"}"#,
        r#"{"alg":"RS256","kid":"one"}{}"#,
        r#"{"alg":"RS256","kid":"one"},"#,
        r#"{"alg":"RS256","kid":"one",}"#,
        "{\"alg\":\"RS256\",\"kid\":\"one\"}\0",
        "\u{feff}{\"alg\":\"RS256\",\"kid\":\"one\"}",
        "",
    ] {
        refused(&stand, header, &key.token_of(header, &payload)).await;
    }
    assert_eq!(status(&stand, &good).await, 200);
    assert!(count(&stand, "sluice_jwt_requests_total", "algorithm") > 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_claim_opens_that_is_not_as_it_should_be() {
    let (key, issuer) = issuer("ES256").await;
    let stand = stand(&rule(&issuer, ", audiences: [shop, cart]")).await;
    let now = now_s();
    for good in [
        json!({}),
        json!({"aud": "cart"}),
        json!({"aud": ["x", "shop"]}),
        json!({"nbf": null, "iat": null, "sub": null}),
        json!({"exp": now - 30}),
        json!({"nbf": now + 30}),
        json!({"exp": now as f64 + 100.5}),
        json!({"exp": 9_007_199_254_740_993_u64}),
    ] {
        assert_eq!(status(&stand, &key.token(&claims_but(good.clone()))).await, 200, "{good}");
    }
    for bad in [
        json!({"exp": now - 120}),
        json!({"exp": null}),
        json!({"exp": 0}),
        json!({"exp": -1}),
        json!({"exp": (now + 3600).to_string()}),
        json!({"exp": true}),
        json!({"exp": [now + 3600]}),
        json!({"exp": {}}),
        json!({"nbf": now + 120}),
        json!({"nbf": "0"}),
        json!({"iat": now + 120}),
        json!({"iat": -5}),
        json!({"aud": null}),
        json!({"aud": "other"}),
        json!({"aud": ["other"]}),
        json!({"aud": []}),
        json!({"aud": "shop,cart"}),
        json!({"aud": "SHOP"}),
        json!({"aud": "shop\u{0}"}),
        json!({"aud": {"shop": 1}}),
        json!({"aud": ["shop", 1]}),
        json!({"iss": null}),
        json!({"iss": "https://id.test/"}),
        json!({"iss": "HTTPS://id.test"}),
        json!({"iss": "https://id.test\u{0}"}),
        json!({"iss": " https://id.test"}),
        json!({"iss": ["https://id.test"]}),
        json!({"iss": {"https://id.test": 1}}),
        json!({"iss": ""}),
        json!({"sub": ["alice"]}),
        json!({"sub": 7}),
    ] {
        refused(&stand, &bad.to_string(), &key.token(&claims_but(bad.clone()))).await;
    }
    let header = json!({"alg": "ES256", "kid": "one"}).to_string();
    let text = claims().to_string();
    let with = |more: &str| format!("{}{more}}}", text.trim_end_matches('}'));
    let nested = |deep: usize| format!(",\"x\":{}{}", "[".repeat(deep), "]".repeat(deep));
    assert_eq!(status(&stand, &key.token_of(&header, &with(&nested(10)))).await, 200);
    for payload in [
        with(",\"iss\":\"https://id.test\""),
        with(",\"exp\":99999999999"),
        with(",\"aud\":\"shop\""),
        with(",\"\\u0073ub\":\"admin\""),
        with(",\"x\":{\"a\":1,\"a\":2}"),
        with(&nested(17)),
        with(&nested(5_000)),
        format!("{text}{text}"),
        format!("{text} x"),
        format!("{text}\0"),
        format!("[{text}]"),
        "null".to_owned(),
        "\"text\"".to_owned(),
        String::new(),
        with(",\"exp\":1e999"),
    ] {
        refused(&stand, &payload, &key.token_of(&header, &payload)).await;
    }
    let raw = |payload: &[u8]| {
        let signed = format!("{}.{}", part(&header), part(payload));
        format!("{signed}.{}", part(key.sign(signed.as_bytes())))
    };
    refused(
        &stand,
        "not UTF-8",
        &raw(&[text.trim_end_matches('}').as_bytes(), b",\"x\":\"\xff\"}"].concat()),
    )
    .await;
    let large = with(&format!(",\"x\":\"{}\"", "y".repeat(13_000)));
    refused(&stand, "above 16 KiB", &key.token_of(&header, &large)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_change_of_a_good_token_goes_unseen() {
    for algorithm in ["ES256", "RS256", "EdDSA"] {
        let (key, issuer) = issuer(algorithm).await;
        let stand = stand(&rule(&issuer, "")).await;
        let good = key.token(&claims());
        assert_eq!(status(&stand, &good).await, 200);
        let parts: Vec<&str> = good.split('.').collect();
        let [header, payload, signature] = parts.as_slice() else { panic!() };
        let bytes = URL_SAFE_NO_PAD.decode(signature).unwrap();
        let signed_as = |signature: &[u8]| format!("{header}.{payload}.{}", part(signature));
        for at in [0, 1, bytes.len() / 2, bytes.len() - 1] {
            for bit in [0, 7] {
                let mut flipped = bytes.clone();
                flipped[at] ^= 1 << bit;
                refused(&stand, &format!("{algorithm}: bit {bit} of byte {at}"), &signed_as(&flipped)).await;
            }
        }
        let mut changed: Vec<(&str, String)> = vec![
            ("no signature", format!("{header}.{payload}.")),
            ("two parts", format!("{header}.{payload}")),
            ("four parts", format!("{good}.")),
            ("five parts, as JWE", format!("{good}.{header}.{payload}")),
            ("a shorter one", signed_as(&bytes[..bytes.len() - 1])),
            ("one with a zero before", signed_as(&[&[0], &bytes[..]].concat())),
            ("one with a zero behind", signed_as(&[&bytes[..], &[0]].concat())),
            ("zeros", signed_as(&vec![0; bytes.len()])),
            ("ones", signed_as(&vec![0xff; bytes.len()])),
            ("padded", format!("{header}.{payload}.{}", URL_SAFE.encode(&bytes))),
            ("more padded", format!("{good}==")),
            ("a space within", good.replacen('.', ". ", 1)),
            ("a slash", format!("{header}.{payload}./{}", &signature[1..])),
            ("a plus", format!("{header}.{payload}.+{}", &signature[1..])),
            ("percent encoding", good.replacen('.', "%2e", 1)),
            ("swapped", format!("{payload}.{header}.{signature}")),
            (
                "another's claims",
                format!("{header}.{}.{signature}", part(claims_but(json!({"sub": "root"})).to_string())),
            ),
        ];
        // The last character of base64 has bits that mean nothing: only zeros are canonical (RFC 4648 §3.5).
        let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        for (name, text, at) in
            [("signature", *signature, 2), ("payload", *payload, 1), ("header", *header, 0)]
        {
            if text.len() % 4 == 0 {
                continue;
            }
            let last = *text.as_bytes().last().unwrap();
            let value = alphabet.iter().position(|it| *it == last).unwrap();
            let mut other = text[..text.len() - 1].to_owned();
            other.push(char::from(alphabet[value | 1]));
            let mut parts = parts.clone();
            parts[at] = &other;
            changed.push((name, parts.join(".")));
        }
        if algorithm == "ES256" {
            // r or s is 0, or above the order of the curve; the form of X.509.
            let zero = [0; 32];
            let order = hex("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551");
            changed.push(("r = 0", signed_as(&[&zero, &bytes[32..]].concat())));
            changed.push(("s = 0", signed_as(&[&bytes[..32], &zero].concat())));
            changed.push(("r = n", signed_as(&[&order, &bytes[32..]].concat())));
            changed.push(("s = n", signed_as(&[&bytes[..32], &order].concat())));
            let number = |it: &[u8]| [&[2, 33, 0], it].concat();
            let der = [&[0x30, 70][..], &number(&bytes[..32]), &number(&bytes[32..])].concat();
            changed.push(("DER", signed_as(&der)));
        }
        for (what, token) in &changed {
            refused(&stand, &format!("{algorithm}: {what}"), token).await;
        }
        assert_eq!(status(&stand, &good).await, 200, "it is the token that counts, not who tried before");
    }
}

fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_of_one_issuer_are_no_keys_of_another() {
    let (one, two) = (TokenKey::new("ES256", "one"), TokenKey::new("ES256", "one"));
    let (first, second) = (Issuer::start(&[&one]).await, Issuer::start(&[&two]).await);
    let rules = format!(
        "[{{issuer: first, jwksUri: {}/keys}}, {{issuer: second, jwksUri: {}/keys}}]",
        first.url(),
        second.url()
    );
    let stand = stand(&rules).await;
    let of = |issuer: &str| claims_but(json!({"iss": issuer}));
    assert_eq!(status(&stand, &one.token(&of("first"))).await, 200);
    assert_eq!(status(&stand, &two.token(&of("second"))).await, 200);
    refused(&stand, "first's key, second's name", &one.token(&of("second"))).await;
    refused(&stand, "second's key, first's name", &two.token(&of("first"))).await;
    refused(&stand, "nobody's", &two.token(&of("third"))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_bad_token_among_good_ones_refuses_the_request() {
    let (key, issuer) = issuer("ES256").await;
    let stand = stand(&rule(&issuer, "")).await;
    let good = key.token(&claims());
    let bad = format!("{}x", &good[..good.len() - 1]);
    let ask = |url: &str, fields: &[&str]| {
        let ask = Ask::get(&format!("http://shop.example{url}"));
        fields.iter().fold(ask, |ask, it| ask.header("Authorization", it))
    };
    let bearer = |token: &str| format!("Bearer {token}");
    for (ask, status) in [
        (ask("/", &[]), 200),
        (ask("/", &["Basic YTpi"]), 200),
        (ask("/", &[&bearer(&good), &bearer(&good)]), 200),
        (ask(&format!("/?access_token={good}"), &[&bearer(&good)]), 200),
        (ask("/", &[&bearer(&good), &bearer(&bad)]), 401),
        (ask("/", &[&bearer(&bad), &bearer(&good)]), 401),
        (ask("/", &[&bearer(&good), "bearer x"]), 401),
        (ask("/", &[&format!("bEaReR\t{bad}")]), 401),
        (ask("/", &["Bearer"]), 401),
        (ask("/", &["Bearer "]), 401),
        (ask("/", &[&format!("{}, {}", bearer(&good), bearer(&good))]), 401),
        (ask(&format!("/?access_token={bad}"), &[]), 401),
        (ask(&format!("/?access_token={bad}"), &[&bearer(&good)]), 401),
        (ask(&format!("/?a=b&access%5ftoken={bad}"), &[]), 401),
        (ask(&format!("/?access_token={good}&access_token={bad}"), &[]), 401),
        (ask("/?access_token", &[]), 401),
        (ask(&format!("/?{}", vec![format!("access_token={good}"); 9].join("&")), &[]), 401),
    ] {
        let answer = stand.request(&ask).await;
        assert_eq!(answer.status, status, "{ask:?}");
    }
}
