//! The story of the README, from plain HTTP to a login on one path.

use super::stand::{REVIEWS, Shop, outside, prepared, publisher};
use anyhow::{Context, bail};
use sluice_cluster_tests::{eventually, own};
use sluice_tests::{Ask, Wire};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// How many of so many requests each version answered.
async fn shares(shop: &Shop, requests: usize) -> (usize, usize) {
    let (mut old, mut new) = (0, 0);
    for _ in 0..requests {
        let (status, body) = shop.curl("productpage", &[REVIEWS]).await.unwrap();
        assert_eq!(status, 200, "{body}");
        old += usize::from(body.contains("\"reviews-v1\""));
        new += usize::from(body.contains("\"reviews-v2\""));
    }
    assert_eq!(old + new, requests);
    (old, new)
}

#[test]
fn the_story_of_the_bookshop_is_true() {
    own(async |space| {
        prepared(&space).await;
        space.install_sluice(&[]).await.unwrap();
        let shop = Shop::open(space).await;
        let body = shop.answers("productpage", &[REVIEWS], 200).await;
        assert!(body.contains("reviews-v1") && !body.contains("spiffe://"), "{body}");

        shop.join_the_mesh().await;
        eventually("a call that proves who calls", async || {
            let (status, body) = shop.curl("productpage", &[REVIEWS]).await?;
            let proven = body.contains("spiffe://cluster.local/ns/bookshop/sa/productpage");
            if status == 200 && proven { Ok(()) } else { bail!("{status} {body}") }
        })
        .await;

        shop.apply("strict.yaml").await;
        shop.answers("productpage", &[REVIEWS], 200).await;
        outsiders_are_closed_out(&shop).await;

        shop.apply("policies.yaml").await;
        shop.answers("productpage", &["-X", "POST", REVIEWS], 403).await;
        shop.answers("intruder", &[REVIEWS], 403).await;
        shop.answers("productpage", &[REVIEWS], 200).await;

        shop.apply("canary.yaml").await;
        eventually("a tenth at the new version", async || {
            let (old, new) = shares(&shop, 50).await;
            if (1..=15).contains(&new) { Ok(()) } else { bail!("{old} {new}") }
        })
        .await;
        shop.apply("mirror.yaml").await;
        eventually("none at the new version", async || {
            let (old, new) = shares(&shop, 20).await;
            if new == 0 { Ok(()) } else { bail!("{old} {new}") }
        })
        .await;

        shop.apply("fault.yaml").await;
        shop.answers("productpage", &[REVIEWS], 503).await;
        shop.space.delete(&shop.file("fault.yaml")).await;
        shop.apply("retry.yaml").await;
        let mut key = 0;
        eventually("a second try", async || {
            // A backend that has failed twice fails no more: each time another one, to it.
            key += 1;
            let url = format!("http://ratings:9080/fail-first?n=2&key={key}&status=503");
            let (status, body) = shop.curl("productpage", &[&url]).await?;
            if status == 200 { Ok(()) } else { bail!("{status} {body}") }
        })
        .await;

        the_way_out(&shop).await;
        metrics_tell(&shop).await;

        shop.apply("login.yaml").await;
        let admin = "http://reviews:9080/admin";
        shop.answers("productpage", &[admin], 403).await;
        let token = format!("Authorization: Bearer {}", shop.file("token.txt").trim());
        shop.answers("productpage", &["-H", &token, admin], 200).await;
        shop.answers("productpage", &["-H", "Authorization: Bearer nonsense", REVIEWS], 401).await;
        shop.answers("productpage", &[REVIEWS], 200).await;
    });
}

async fn outsiders_are_closed_out(shop: &Shop) {
    eventually("plain text is refused", async || {
        let pod = shop.pod("app=reviews,version=v1").await?;
        let address = pod.status.and_then(|it| it.pod_ip).context("no address")?;
        let mut stream = tokio::net::TcpStream::connect(format!("{address}:9080")).await?;
        stream.write_all(b"GET / HTTP/1.1\r\nhost: reviews\r\nconnection: close\r\n\r\n").await?;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        if answer.is_empty() { Ok(()) } else { bail!("{}", String::from_utf8_lossy(&answer)) }
    })
    .await;
}

async fn the_way_out(shop: &Shop) {
    let address = publisher(7).await;
    // The example's host, at the address that is outside here.
    let allowed = shop.file("allowed.yaml").replace(
        "resolution: DNS",
        &format!("resolution: STATIC\n  endpoints: [{{address: {}}}]", address.ip()),
    );
    let url = format!("http://{address}/");
    let named = ["-H", "Host: example.com", url.as_str()];
    shop.answers("productpage", &named, 200).await;
    shop.apply("closed.yaml").await;
    shop.answers("productpage", &named, 502).await;
    shop.space.apply(&allowed).await;
    shop.answers("productpage", &["http://example.com/"], 200).await;
    shop.answers("productpage", &[&format!("http://{}:80/", outside(9))], 502).await;
}

async fn metrics_tell(shop: &Shop) {
    let pod = shop.pod("app=productpage").await.unwrap();
    let address = pod.status.and_then(|it| it.pod_ip).unwrap();
    // As a scraper does: from outside of the mesh.
    let stream = tokio::net::TcpStream::connect(format!("{address}:15020")).await.unwrap();
    let mut wire = Wire::over(Box::new(stream));
    let url = format!("http://{address}:15020/stats/prometheus");
    wire.try_send(&Ask::get(&url).to_http1()).await.unwrap();
    let text = wire.read(false).await.map_or_else(|_| String::new(), |it| it.text());
    let of_reviews = |line: &&str| {
        line.starts_with("istio_requests_total") && line.contains("destination_service_name=\"reviews\"")
    };
    let line = text.lines().find(of_reviews).unwrap_or_else(|| panic!("{text}"));
    for word in ["source_workload=\"productpage\"", "response_code=\"200\"", "request_protocol=\"http\""] {
        assert!(text.lines().filter(of_reviews).any(|it| it.contains(word)), "{word}: {line}");
    }
}
