//! The API server's side: the MutatingWebhookConfiguration that `sluice install` has made names our Service; the leader
//! writes into it what vouches for our certificate, and writes it again when that changes or somebody has taken it out.

use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use kube::api::PostParams;
use kube::{Api, Client};
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Name of the object.
pub const NAME: &str = "sluice-injector";
/// How often the object is looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(30);
/// The first looks come quickly: an installation makes the object last, while the controller starts.
const FIRST_LOOKS: [Duration; 4] =
    [Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(5), Duration::from_secs(10)];

/// Keeps `caBundle` of each webhook what the authority says, while this replica leads, until `stop`. Without the object
/// there is nothing to do.
pub async fn keep(
    client: Client,
    mut bundle: watch::Receiver<String>,
    mut is_leader: watch::Receiver<bool>,
    stop: CancellationToken,
) {
    let api: Api<MutatingWebhookConfiguration> = Api::all(client);
    let mut first = FIRST_LOOKS.into_iter();
    loop {
        if *is_leader.borrow_and_update() {
            let wanted = bundle.borrow_and_update().clone();
            match settle(&api, &wanted).await {
                Ok(false) => {}
                Ok(true) => tracing::info!(webhook = NAME, "the API server trusts the webhook's certificate"),
                Err(error) => {
                    tracing::warn!(webhook = NAME, %error, "the webhook can't be registered; trying on")
                }
            }
        }
        let pause = if *is_leader.borrow() { first.next().unwrap_or(LOOK_INTERVAL) } else { LOOK_INTERVAL };
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
            changed = bundle.changed() => if changed.is_err() { return stop.cancelled().await },
            changed = is_leader.changed() => if changed.is_err() { return stop.cancelled().await },
        }
    }
}

/// Whether it had to write.
async fn settle(api: &Api<MutatingWebhookConfiguration>, bundle: &str) -> kube::Result<bool> {
    let Some(mut object) = api.get_opt(NAME).await? else { return Ok(false) };
    if !vouch(&mut object, bundle) {
        return Ok(false);
    }
    match api.replace(NAME, &PostParams::default(), &object).await {
        Ok(_) => Ok(true),
        // Somebody else has written meanwhile: the next look sees it.
        Err(kube::Error::Api(status)) if status.is_conflict() || status.is_not_found() => Ok(false),
        Err(error) => Err(error),
    }
}

/// Puts the bundle into each webhook; whether one had another.
fn vouch(object: &mut MutatingWebhookConfiguration, bundle: &str) -> bool {
    let mut is_changed = false;
    for webhook in object.webhooks.iter_mut().flatten() {
        let of_webhook = &mut webhook.client_config.ca_bundle;
        if of_webhook.as_ref().is_none_or(|it| it.0 != bundle.as_bytes()) {
            *of_webhook = Some(ByteString(bundle.as_bytes().to_vec()));
            is_changed = true;
        }
    }
    is_changed
}
