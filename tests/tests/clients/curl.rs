//! curl, as people use it.

use crate::{plain_stand, run, text, tls_manifests};
use serde_json::Value;
use sluice_tests::Stand;
use sluice_tests::tls::Authority;
use std::fs;

const MIB: usize = 1024 * 1024;

async fn curl(arguments: &[&str]) -> Vec<u8> {
    run("curl", &[&["-sS", "--max-time", "20", "--noproxy", "*"], arguments].concat()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plain_request_in_every_version() {
    let stand = plain_stand().await;
    let connect = format!("a.example:80:{}", stand.address(80));
    for (flag, version) in [("--http1.1", "1.1"), ("--http1.0", "1.1"), ("--http2-prior-knowledge", "2")] {
        let arguments = [
            flag,
            "--connect-to",
            &connect,
            "-w",
            "\n%{http_version} %{http_code}",
            "http://a.example/x?q=1",
        ];
        let output = String::from_utf8(curl(&arguments).await).unwrap();
        let (json, status) = output.rsplit_once('\n').unwrap();
        let json: Value = serde_json::from_str(json).unwrap();
        assert_eq!(
            (&json["path"], &json["query"], &json["host"]),
            (&"/x".into(), &"q=1".into(), &"a.example".into()),
            "{flag}"
        );
        assert_eq!(status, format!("{version} 200"), "{flag}");
    }
}

/// The server name chooses the certificate, ALPN the version; curl checks the certificate.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_with_both_versions_and_both_protocols() {
    let authority = Authority::new();
    let stand = Stand::start(&tls_manifests(&authority.issue(&["*.example.com"]).secret("web"))).await;
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    fs::write(&ca, authority.pem()).unwrap();
    let connect = format!("a.example.com:443:{}", stand.address(443));
    for (flags, version) in [
        (&["--http1.1", "--tlsv1.3"][..], "1.1"),
        (&["--http2", "--tlsv1.3"], "2"),
        (&["--http1.1", "--tls-max", "1.2"], "1.1"),
        (&["--http2", "--tls-max", "1.2"], "2"),
    ] {
        let common = [
            "--cacert",
            text(&ca),
            "--connect-to",
            &connect,
            "-w",
            "\n%{http_version} %{http_code}",
            "https://a.example.com/",
        ];
        let output = String::from_utf8(curl(&[flags, &common].concat()).await).unwrap();
        let (json, status) = output.rsplit_once('\n').unwrap();
        assert_eq!(status, format!("{version} 200"), "{flags:?}");
        let json: Value = serde_json::from_str(json).unwrap();
        let proto =
            json["headers"].as_array().unwrap().iter().find(|pair| pair[0] == "x-forwarded-proto").unwrap();
        assert_eq!(proto[1], "https");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mebibyte_up_and_down_with_expect_continue() {
    let stand = plain_stand().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("up");
    let body: Vec<u8> = (0..MIB).map(|number| number.to_le_bytes()[0]).collect();
    fs::write(&file, &body).unwrap();
    let upload = format!("@{}", text(&file));
    let url = format!("http://{}/stream", stand.address(80));
    for flags in [
        &["--http1.1", "-H", "Transfer-Encoding: chunked", "-H", "Expect:"][..],
        &["--http2-prior-knowledge"],
    ] {
        let came = curl(&[flags, &["--data-binary", &upload, &url]].concat()).await;
        assert!(came == body, "{flags:?}: {} bytes came back", came.len());
    }
    // curl sends the body when it is told to, or after ten seconds.
    let url = format!("http://{}/", stand.address(80));
    let flags =
        ["--http1.1", "-H", "Expect: 100-continue", "--expect100-timeout", "10", "-w", "\n%{time_total}"];
    let output = curl(&[&flags, &["--data-binary", &upload, &url][..]].concat()).await;
    let text = String::from_utf8(output).unwrap();
    let (json, seconds) = text.rsplit_once('\n').unwrap();
    let json: Value = serde_json::from_str(json).unwrap();
    assert_eq!(json["bodyBytes"], MIB);
    assert!(seconds.parse::<f64>().unwrap() < 5.0, "100 Continue did not come: {seconds} s");
    let url = format!("http://{}/bytes/{MIB}", stand.address(80));
    for flag in ["--http1.1", "--http2-prior-knowledge"] {
        assert_eq!(curl(&[flag, &url]).await.len(), MIB, "{flag}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn head_redirects_and_compression_pass() {
    let stand = plain_stand().await;
    let url = format!("http://{}/status/204", stand.address(80));
    let output = curl(&["-o", "/dev/null", "-w", "%{http_code}", "-X", "DELETE", &url]).await;
    assert_eq!(output, b"204");
    let url = format!("http://{}/", stand.address(80));
    let head = String::from_utf8(curl(&["-I", &url]).await).unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert!(head.ends_with("\r\n\r\n"), "{head}");
    let output = curl(&["--compressed", "-w", "%{http_code}", "-o", "/dev/null", &url]).await;
    assert_eq!(output, b"200");
}
