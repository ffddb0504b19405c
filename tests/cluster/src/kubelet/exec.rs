//! Runs a command inside a container that runs: in its root folder and its pod's network, as its user. The same is known of
//! whoever forwards a port of the pod.

use super::sandbox::User;
use super::server::EXEC;
use anyhow::{Context, Result, bail};
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::process::Command;
use tokio::time::timeout;

/// How to get into a container.
#[derive(Clone, Serialize)]
pub(crate) struct Entry {
    /// Words before those of the command.
    words: Vec<String>,
    /// The container's variables as `NAME=VALUE`.
    variables: Vec<String>,
    /// Its process.
    process: u32,
}

impl Entry {
    /// As the program `exec` reads it.
    pub(crate) fn text(&self) -> Result<String> {
        Ok(serde_json::to_string(self)?)
    }

    /// Runs a command inside.
    pub(crate) async fn output(&self, command: &[&str]) -> Result<std::process::Output> {
        let mut run = Command::new(&self.words[0]);
        run.args(&self.words[1..]).args(command).env_clear();
        run.envs(self.variables.iter().filter_map(|it| it.split_once('=')));
        Ok(run.stdin(Stdio::null()).kill_on_drop(true).output().await?)
    }
}

/// How to get into each container that runs, by namespace, pod and container.
#[derive(Clone, Default)]
pub(crate) struct Entries(Arc<Mutex<HashMap<[String; 3], Entry>>>);

impl Entries {
    pub(crate) fn of(&self, namespace: &str, pod: &str, container: &str) -> Option<Entry> {
        let entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        entries.get(&[namespace, pod, container].map(str::to_owned)).cloned()
    }

    /// The same of any container of a pod: they share their network.
    pub(crate) fn of_pod(&self, namespace: &str, pod: &str) -> Option<Entry> {
        let entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let newest = entries.iter().filter(|(key, _)| key[0] == namespace && key[1] == pod);
        newest.max_by_key(|(_, entry)| entry.process).map(|(_, entry)| entry.clone())
    }

    /// Notes a container; a later process of the same takes its place.
    pub(crate) fn note(
        &self,
        container: [String; 3],
        process: u32,
        user: &User,
        variables: &BTreeMap<String, String>,
    ) {
        let variables: Vec<String> =
            variables.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let entry = Entry { words: words(process, user), variables, process };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(container, entry);
    }
}

/// Runs the program that serves streams of commands, until the runtime ends.
pub(crate) async fn serve(program: PathBuf) {
    let child = Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "--"])
        .arg(program)
        .arg(EXEC.to_string())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .spawn();
    if let Ok(mut child) = child {
        let _ = child.wait().await;
    }
}

/// How a command gets into a container: the words before its own.
fn words(process: u32, user: &User) -> Vec<String> {
    let enter = ["/usr/bin/nsenter", "--mount", "--net", "--root", "--wd", "--target"];
    let mut words: Vec<String> = enter.map(str::to_owned).to_vec();
    words.extend([process.to_string(), "--".to_owned(), "/usr/bin/setpriv".to_owned()]);
    words.extend(user.rights());
    words.extend(["--no-new-privs", "--pdeathsig", "KILL", "--"].map(str::to_owned));
    words
}

/// Runs a command to its end. An error is its exit code and what it wrote.
pub(crate) async fn run(
    process: u32,
    user: &User,
    variables: &BTreeMap<String, String>,
    command: &[String],
    limit: Duration,
) -> Result<()> {
    let words = words(process, user);
    let mut run = Command::new(&words[0]);
    run.args(&words[1..]).args(command).env_clear().envs(variables);
    let child =
        run.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true).spawn()?;
    let output = timeout(limit, child.wait_with_output()).await.context("not within its time")??;
    if !output.status.success() {
        let said =
            String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
        bail!("{command:?}: {}: {said}", output.status);
    }
    Ok(())
}
