//! `sluice run` obtains certificates from a real authority (Pebble) by each challenge, keeps them over its end and renews
//! them under load.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod scene;

use scene::{Scene, names, serial};
use sluice_tests::acme::{Allow, PebbleOptions};
use sluice_tests::{eventually, tls};
use std::process::Command;
use std::time::Duration;

const LISTENERS: &str = r#"
  - {name: http, port: 80, protocol: HTTP}
  - {name: plain, port: 443, protocol: HTTPS, hostname: plain.example.test}
  - {name: alpn, port: 443, protocol: HTTPS, hostname: alpn.example.test, tls: {certificateRefs: [{name: alpn}]}}
  - {name: wild, port: 443, protocol: HTTPS, hostname: "*.wild.example.test"}
"#;

const SOLVERS: &str = r#"
  - {type: HTTP01, names: [plain.example.test]}
  - {type: TLSALPN01, names: [alpn.example.test]}
  - type: DNS01
    rfc2136: {server: "DNS", tsig: {keyName: KEY_NAME, secretRef: {name: tsig}}}
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_challenge_gives_its_certificate_which_outlives_the_process() {
    let scene = Scene::start(PebbleOptions::default(), SOLVERS, LISTENERS).await;
    let mut sluice = scene.run();
    sluice.ready().await;
    for (host, name) in [
        ("plain.example.test", "plain.example.test"),
        ("alpn.example.test", "alpn.example.test"),
        ("a.wild.example.test", "*.wild.example.test"),
    ] {
        scene.served(&sluice, host, &[name]).await;
    }
    assert_eq!((scene.pebble.orders(), scene.pebble.accounts()), (3, 1), "{}", scene.pebble.said());
    let before = serial(&sluice, "plain.example.test").await.unwrap();
    // Who looks between a certificate's arrival and the record of it sees the order's last step.
    eventually("all are recorded", || async { scene.certificates(false).matches("Valid").count() == 3 })
        .await;
    let shown = scene.certificates(true);
    assert!(shown.contains("default/alpn") && shown.contains("*.wild.example.test"), "{shown}");
    assert_eq!(shown.matches("Valid").count(), 3, "{shown}");
    assert!(!shown.contains("PRIVATE"), "{shown}");
    scene.nobody_else_reads_the_state();
    assert!(sluice.terminate().await.success());

    // They are served again at once, and nothing is ordered.
    let mut again = scene.run();
    again.ready().await;
    let after = serial(&again, "plain.example.test").await;
    assert_eq!(after, Some(before), "{}", again.said());
    scene.served(&again, "a.wild.example.test", &["*.wild.example.test"]).await;
    assert_eq!((scene.pebble.orders(), scene.pebble.accounts()), (3, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_short_lived_certificate_is_renewed_under_load_without_a_failed_handshake() {
    let validity = Duration::from_secs(30);
    let options = PebbleOptions { validity, ..PebbleOptions::default() };
    let listeners = "
  - {name: http, port: 80, protocol: HTTP}
  - {name: plain, port: 443, protocol: HTTPS, hostname: plain.example.test}
";
    let scene = Scene::start(options, "\n  - {type: HTTP01}\n", listeners).await;
    let mut sluice = scene.run();
    sluice.ready().await;
    scene.served(&sluice, "plain.example.test", &["plain.example.test"]).await;
    let first = serial(&sluice, "plain.example.test").await.unwrap();
    let (mut handshakes, mut serials) = (0, vec![first]);
    let begun = std::time::Instant::now();
    while serials.len() < 3 {
        assert!(begun.elapsed() < 4 * validity, "not renewed: {}", sluice.said());
        let config = tls::trusting(&["http/1.1"]);
        let stream =
            tls::connect(sluice.address(443), "plain.example.test", config).await.expect("a handshake");
        let leaf = stream.get_ref().1.peer_certificates().unwrap()[0].clone();
        assert_eq!(names(&leaf), ["plain.example.test"]);
        let serial = scene::serial_of(&leaf);
        if !serials.contains(&serial) {
            serials.push(serial);
        }
        handshakes += 1;
    }
    println!("{handshakes} handshakes over {} renewals, none failed", serials.len() - 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_can_not_be_proven_holds_no_other_one_up() {
    let options = PebbleOptions { refused_domain: Some("bad.example.test".to_owned()), ..Default::default() };
    let listeners = "
  - {name: http, port: 80, protocol: HTTP}
  - {name: bad, port: 443, protocol: HTTPS, hostname: bad.example.test}
  - {name: elsewhere, port: 443, protocol: HTTPS, hostname: elsewhere.example.com}
  - {name: good, port: 443, protocol: HTTPS, hostname: good.example.test}
";
    let scene = Scene::start(options, "\n  - {type: HTTP01}\n", listeners).await;
    let mut sluice = scene.run();
    sluice.ready().await;
    scene.served(&sluice, "good.example.test", &["good.example.test"]).await;
    let refused = tls::connect(sluice.address(443), "bad.example.test", tls::trusting(&[]))
        .await
        .err()
        .expect("a refusal");
    assert!(refused.to_string().contains("UnrecognisedName"), "{refused}");
    eventually("the table says what is wrong", || async {
        let shown = scene.certificates(false);
        shown.contains("bad.example.test") && shown.contains("DNS") && shown.matches("\n  ").count() >= 2
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_is_obtained_at_its_first_handshake_and_unknown_ones_cost_nothing() {
    const UNKNOWN: usize = 2_000;
    let allow = Allow::start().await;
    let solvers = format!("\n  - {{type: HTTP01}}\n  onDemand: {{allow: \"{}\"}}\n", allow.url());
    let listeners = "
  - {name: http, port: 80, protocol: HTTP}
  - {name: shops, port: 443, protocol: HTTPS, hostname: \"*.shops.example.test\"}
  - {name: own, port: 443, protocol: HTTPS, hostname: good-own.shops.example.test}
";
    let scene = Scene::start(PebbleOptions::default(), &solvers, listeners).await;
    let mut sluice = scene.run();
    sluice.ready().await;
    scene.served(&sluice, "good-own.shops.example.test", &["good-own.shops.example.test"]).await;
    assert_eq!((scene.pebble.orders(), allow.questions()), (1, 0), "a listener of its own asks nobody");

    // Twenty handshakes at once for a new name: each waits for the same certificate.
    let host = "good-1.shops.example.test";
    let address = sluice.address(443);
    let shaken = (0..20).map(|_| tls::connect(address, host, tls::trusting(&["http/1.1"])));
    for stream in futures::future::join_all(shaken).await {
        let stream = stream.unwrap_or_else(|error| panic!("{error}: {}", sluice.said()));
        assert_eq!(names(&stream.get_ref().1.peer_certificates().unwrap()[0]), [host]);
    }
    assert_eq!((scene.pebble.orders(), allow.questions()), (2, 1));

    // Names that nobody knows.
    let refused = async |number: usize| {
        let host = format!("bad-{number}.shops.example.test");
        let refused = tls::connect(address, &host, tls::trusting(&[])).await.err().expect("a refusal");
        assert!(refused.to_string().contains("UnrecognisedName"), "{refused}");
    };
    for number in 0..200 {
        refused(number).await;
    }
    let before = sluice.resident_bytes();
    for number in 200..UNKNOWN {
        refused(number).await;
    }
    // Each is remembered for a minute.
    refused(UNKNOWN - 1).await;
    let grown_kib = sluice.resident_bytes().saturating_sub(before) >> 10;
    println!("{UNKNOWN} unknown names: {grown_kib} KiB more");
    assert!(grown_kib < 4096, "{grown_kib} KiB more after {UNKNOWN} names");
    assert_eq!((scene.pebble.orders(), allow.questions()), (2, 1 + UNKNOWN));
    let shown = scene.certificates(true);
    assert!(shown.contains(host) && !shown.contains("bad-"), "{shown}");
    assert!(sluice.terminate().await.success());

    // What was obtained is served again at once; nobody is asked.
    let mut again = scene.run();
    again.ready().await;
    scene.served(&again, host, &[host]).await;
    assert_eq!((scene.pebble.orders(), allow.questions()), (2, 1 + UNKNOWN));
}

#[test]
fn without_a_state_folder_the_command_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(sluice_tests::binary());
    command.arg("certificates").arg("--state").arg(folder.path());
    let done = command.output().unwrap();
    assert_eq!(done.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&done.stderr).contains("does sluice run use this folder?"));
}
