//! TLS sessions among the data planes of one Gateway: what one has begun the other resumes.

use anyhow::{Result, ensure};
use sluice_cluster_tests::eventually;
use std::net::SocketAddr;
use std::path::Path;
use tokio::process::Command;

/// A session that each data plane gave is resumed by the other, in both versions of TLS.
pub(super) async fn are_resumed_by_each_other(data_planes: &[SocketAddr; 2], host: &str) {
    let folder = tempfile::tempdir().unwrap();
    let [one, other] = *data_planes;
    for (from, to) in [(one, other), (other, one)] {
        for version in ["-tls1_2", "-tls1_3"] {
            let session = folder.path().join(format!("{from}{version}"));
            eventually(&format!("{to} resumes what {from} began, {version}"), async || {
                let begun = shake(from, host, version, ("-sess_out", &session)).await?;
                ensure!(begun.contains("New, TLSv1"), "{begun}");
                let resumed = shake(to, host, version, ("-sess_in", &session)).await?;
                ensure!(resumed.contains("Reused, TLSv1"), "{resumed}");
                anyhow::Ok(())
            })
            .await;
        }
    }
}

/// A handshake and a request; the server closes after its answer, before which a ticket of TLS 1.3 has come.
async fn shake(place: SocketAddr, host: &str, version: &str, session: (&str, &Path)) -> Result<String> {
    let script = r#"printf 'GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n' "$1" |
        timeout 10 openssl s_client -connect "$0" -servername "$1" "$2" -ign_eof "$3" "$4" 2>&1"#;
    let (option, file) = session;
    let (place, file) = (place.to_string(), file.to_string_lossy());
    let arguments = ["-c", script, &place, host, version, option, &file];
    let output = Command::new("sh").args(arguments).kill_on_drop(true).output().await?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(text.contains("HTTP/1.1 "), "no answer: {text}");
    Ok(text)
}
