//! Tokens are checked by the API server (TokenReview): signature, end, audience, and that the pod and the service
//! account are still there.

use super::auth::{Authenticator, Denied, ProxyIdentity};
use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, TokenReviewStatus, UserInfo};
use kube::api::PostParams;
use kube::core::ObjectMeta;
use kube::{Api, Client};
use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::Semaphore;

/// How long an answer is used again.
const KEPT: Duration = Duration::from_secs(60);
/// How long a refusal is used again, so that a loop of bad tokens does not reach the API server.
const REFUSED_KEPT: Duration = Duration::from_secs(10);
/// Answers that are kept.
const MOST_KEPT: usize = 10_000;
/// Questions to the API server at a time.
const QUESTIONS: usize = 16;
/// What the username of a service account begins with.
const SERVICE_ACCOUNT: &str = "system:serviceaccount:";
/// Where a bound token names its pod.
const POD_NAME: &str = "authentication.kubernetes.io/pod-name";

/// Asks the API server, and remembers answers for a moment by a hash of the token.
pub struct TokenReviewer {
    reviews: Api<TokenReview>,
    audiences: Vec<String>,
    kept: Mutex<HashMap<[u8; 32], Kept>>,
    questions: Semaphore,
}

struct Kept {
    until: Instant,
    answer: Result<ProxyIdentity, Denied>,
}

impl TokenReviewer {
    /// Accepts tokens made for one of these audiences only.
    pub fn new(client: Client, audiences: &[&str]) -> Self {
        Self {
            reviews: Api::all(client),
            audiences: audiences.iter().map(|&it| it.to_owned()).collect(),
            kept: Mutex::default(),
            questions: Semaphore::new(QUESTIONS),
        }
    }

    async fn ask(&self, token: &str) -> Result<ProxyIdentity, Denied> {
        let unavailable = |error: &dyn std::fmt::Display| Denied::Unavailable(error.to_string());
        let _slot = self.questions.acquire().await.map_err(|error| unavailable(&error))?;
        let review = TokenReview {
            metadata: ObjectMeta::default(),
            spec: TokenReviewSpec { token: Some(token.to_owned()), audiences: Some(self.audiences.clone()) },
            status: None,
        };
        let answer = self.reviews.create(&PostParams::default(), &review).await;
        // The error of the client never holds the request's body.
        let status = answer.map_err(|error| unavailable(&error))?.status.unwrap_or_default();
        let mut identity = judge(status, &self.audiences)?;
        identity.expires = expires(token);
        Ok(identity)
    }
}

#[async_trait]
impl Authenticator for TokenReviewer {
    async fn authenticate(&self, token: &str) -> Result<ProxyIdentity, Denied> {
        let id: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        if let Some(kept) = self.kept.lock().get(&id)
            && kept.until > Instant::now()
        {
            return kept.answer.clone();
        }
        let answer = self.ask(token).await;
        let time = match &answer {
            Ok(_) => KEPT,
            Err(Denied::Invalid(_)) => REFUSED_KEPT,
            Err(Denied::Unavailable(_)) => return answer,
        };
        let now = Instant::now();
        let mut kept = self.kept.lock();
        if kept.len() >= MOST_KEPT {
            kept.retain(|_, kept| kept.until > now);
            if kept.len() >= MOST_KEPT {
                kept.clear();
            }
        }
        kept.insert(id, Kept { until: now + time, answer: answer.clone() });
        answer
    }
}

/// What the API server's answer means. Only a service account, only for our audiences.
fn judge(status: TokenReviewStatus, audiences: &[String]) -> Result<ProxyIdentity, Denied> {
    if let Some(error) = status.error.filter(|error| !error.is_empty()) {
        return Err(Denied::Invalid(error));
    }
    if status.authenticated != Some(true) {
        return Err(Denied::Invalid("the API server does not know it".to_owned()));
    }
    // An API server that knows no audiences leaves the list out: then nothing says that the token is for us.
    if !status.audiences.unwrap_or_default().iter().any(|its| audiences.contains(its)) {
        return Err(Denied::Invalid(format!("it is not made for the audience {}", audiences.join(" or "))));
    }
    let UserInfo { username, extra, .. } = status.user.unwrap_or_default();
    let username = username.unwrap_or_default();
    let account = username.strip_prefix(SERVICE_ACCOUNT).and_then(|rest| rest.split_once(':'));
    let Some((namespace, service_account)) = account else {
        return Err(Denied::Invalid("it is not that of a service account".to_owned()));
    };
    Ok(ProxyIdentity {
        namespace: namespace.to_owned(),
        service_account: service_account.to_owned(),
        pod: extra.and_then(|extra| extra.get(POD_NAME)?.first().cloned()),
        expires: None,
    })
}

/// When a token ends by its own word (the claim `exp`). Only read of tokens that the API server has accepted.
fn expires(token: &str) -> Option<SystemTime> {
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    let claims: serde_json::Value = serde_json::from_slice(&payload).ok()?;
    Some(UNIX_EPOCH + Duration::from_secs(claims.get("exp")?.as_u64()?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{Denied, expires, judge};
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use k8s_openapi::api::authentication::v1::TokenReviewStatus;
    use serde_json::{Value, json};
    use std::time::{Duration, UNIX_EPOCH};

    fn status(edit: impl FnOnce(&mut Value)) -> TokenReviewStatus {
        let mut value = json!({
            "authenticated": true,
            "audiences": ["sluice-controller"],
            "user": {
                "username": "system:serviceaccount:shop:web-sluice",
                "extra": { "authentication.kubernetes.io/pod-name": ["web-sluice-1"] },
            },
        });
        edit(&mut value);
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_service_account_with_our_audience_is_let_in_and_nothing_else() {
        let audiences = ["sluice-controller".to_owned(), "istio-ca".to_owned()];
        let identity = judge(status(|_| {}), &audiences).unwrap();
        assert!(judge(status(|it| it["audiences"] = json!(["istio-ca"])), &audiences).is_ok());
        assert_eq!((identity.namespace.as_str(), identity.service_account.as_str()), ("shop", "web-sluice"));
        assert_eq!(identity.pod.as_deref(), Some("web-sluice-1"));
        let refused: [fn(&mut Value); 6] = [
            |it| it["authenticated"] = json!(false),
            |it| it["audiences"] = json!(["https://kubernetes.default.svc"]),
            |it| it["audiences"] = Value::Null,
            |it| it["user"]["username"] = json!("system:node:one"),
            |it| it["user"]["username"] = json!("system:serviceaccount:shop"),
            |it| it["error"] = json!("token has expired"),
        ];
        for edit in refused {
            let denied = judge(status(edit), &audiences).unwrap_err();
            assert!(matches!(denied, Denied::Invalid(_)), "{denied:?}");
        }
    }

    #[test]
    fn the_end_of_a_token_is_read_and_a_token_without_one_has_none() {
        let token = |claims: &str| format!("head.{}.signature", URL_SAFE_NO_PAD.encode(claims));
        assert_eq!(
            expires(&token(r#"{"exp":1700000000}"#)),
            Some(UNIX_EPOCH + Duration::from_secs(1_700_000_000))
        );
        for odd in ["", "a.b", "a.b.c", &token("{}"), &token(r#"{"exp":"soon"}"#)] {
            assert_eq!(expires(odd), None);
        }
    }
}
