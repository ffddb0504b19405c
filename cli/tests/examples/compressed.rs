//! Plays a case by `curl --compressed`: the client that people use for it.

use crate::cases::Case;
use crate::client::Client;
use serde_json::Value;
use tokio::process::Command;

/// Plays it; the error says what was different.
pub(crate) async fn run(client: &Client, case: &Case) -> Result<(), String> {
    let uri = case.uri();
    let (host, at) = (uri.host().unwrap_or_default(), client.at(case));
    let mut command = Command::new("curl");
    command.args(["--silent", "--compressed", "--max-time", "20", "--noproxy", "*", "--include"]);
    command.args(["--connect-to", &format!("{host}:{}:{at}", case.target().1)]);
    for (name, value) in &case.headers {
        command.args(["--header", &format!("{name}: {value}")]);
    }
    let done = command.arg(uri.to_string()).output().await;
    let done = done.map_err(|error| format!("curl: {error}; install the Debian package curl"))?;
    let said = String::from_utf8_lossy(&done.stdout);
    let (head, body) = said.split_once("\r\n\r\n").ok_or("curl says nothing")?;
    let head = head.to_ascii_lowercase();
    let status = head.split(' ').nth(1).and_then(|it| it.parse::<u16>().ok());
    if status != case.expect.status {
        return Err(format!("status {status:?}: {said}"));
    }
    if !head.contains("content-encoding: ") {
        return Err(format!("it is in no coding: {head}"));
    }
    let answer: Value = serde_json::from_str(body).map_err(|error| format!("{error}: {body}"))?;
    for (field, wanted) in &case.expect.json {
        if answer[field] != *wanted {
            return Err(format!("{field} is {}", answer[field]));
        }
    }
    Ok(())
}
