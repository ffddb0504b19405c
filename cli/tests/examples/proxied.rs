//! Plays a case through a forward proxy, by curl: the client that people use for it.

use crate::cases::Case;
use crate::client::Client;
use serde_json::Value;
use tokio::process::Command;

/// Plays it; the error says what was different.
pub(crate) async fn run(client: &Client, case: &Case) -> Result<(), String> {
    let mut command = Command::new("curl");
    command.args(["--silent", "--max-time", "20", "--write-out", "\n%{http_connect} %{http_code}"]);
    command.args(["--noproxy", "", "--proxy", &format!("http://{}", client.at(case))]);
    command.arg("--cacert").arg(client.authority(case));
    let done = command.arg(case.uri().to_string()).output().await;
    let done = done.map_err(|error| format!("curl: {error}; install the Debian package curl"))?;
    let said = String::from_utf8_lossy(&done.stdout);
    let (body, codes) = said.rsplit_once('\n').ok_or("curl says nothing")?;
    let codes: Vec<u16> = codes.split(' ').filter_map(|it| it.parse().ok()).collect();
    // A tunnel that is refused has no answer within.
    let status = codes.iter().copied().find(|it| !matches!(it, 0 | 200)).or(codes.get(1).copied());
    if status != case.expect.status {
        return Err(format!("status {status:?}: {said}"));
    }
    let answer: Value = serde_json::from_str(body).unwrap_or_default();
    for (field, wanted) in &case.expect.json {
        if answer[field] != *wanted {
            return Err(format!("{field} is {}", answer[field]));
        }
    }
    let sent = answer["headers"].to_string().to_ascii_lowercase();
    match case.expect.not_sent.iter().find(|it| sent.contains(&format!("\"{it}\""))) {
        Some(field) => Err(format!("{field} was sent: {sent}")),
        None => Ok(()),
    }
}
