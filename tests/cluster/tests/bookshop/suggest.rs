//! `sluice suggest policy` asks the sidecars of a namespace, and what it writes is what was called.

use super::stand::{Shop, meshed, publisher};
use anyhow::bail;
use sluice_cluster_tests::eventually;

/// What `sluice suggest policy` makes of the calls so far, once it has seen all of these.
async fn suggested(shop: &Shop, all: &[&str]) -> String {
    eventually("what was called is suggested", async || {
        let text = shop.space.sluice(&["suggest", "policy", "-n", &shop.namespace]).await?;
        match all.iter().find(|it| !text.contains(**it)) {
            None => Ok(text),
            Some(missing) => bail!("{missing} is not in\n{text}"),
        }
    })
    .await
}

#[test]
fn what_was_seen_becomes_what_is_allowed_and_nothing_else() {
    meshed(async |shop| {
        let outside = publisher(8).await;
        let (books, book) = ("http://reviews:9080/books/7", "http://reviews:9080/books/8");
        let ratings = "http://ratings:9080/count/stars";
        shop.answers("productpage", &[books], 200).await;
        shop.answers("intruder", &["-X", "POST", ratings], 200).await;
        shop.answers("productpage", &["-H", "Host: example.com", &format!("http://{outside}/")], 200).await;
        // Nobody is allowed what was not there.
        shop.answers("intruder", &["http://reviews:9080/status/404"], 404).await;
        let text = suggested(&shop, &["/books/{*}", "/count/stars", "example.com"]).await;
        assert!(!text.contains("/status"), "{text}");
        assert!(!text.contains("could not be asked"), "{text}");
        assert_eq!(text.matches("istio.io/dry-run").count(), 2, "{text}");

        shop.space.apply(&text).await;
        // In a dry run nothing is refused: what is not allowed is counted where it would be.
        shop.answers("intruder", &[books], 200).await;
        shop.space.apply(&text.replace("istio.io/dry-run", "example.com/was-dry-run")).await;
        shop.answers("intruder", &[books], 403).await;
        shop.answers("productpage", &["-X", "DELETE", books], 403).await;
        shop.answers("productpage", &["http://reviews:9080/other"], 403).await;
        shop.answers("productpage", &[ratings], 403).await;
        shop.answers("productpage", &[books], 200).await;
        shop.answers("productpage", &[book], 200).await;
        shop.answers("intruder", &["-X", "POST", ratings], 200).await;
    });
}
