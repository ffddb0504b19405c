//! What a pod is told of itself by the downward API: labels in a file that changes with them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

/// Labels of a pod.
pub type Labels = BTreeMap<String, String>;

/// How often the file is looked at. The kubelet itself takes up to a minute to write it.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// Reads the labels now, and again whenever they have changed, as long as anybody listens. A file that is not there says
/// nothing: none at first, the last ones later.
pub fn watch_labels(file: &Path) -> watch::Receiver<Labels> {
    let now = std::fs::read_to_string(file).map(|text| read_labels(&text)).unwrap_or_default();
    let (sender, receiver) = watch::channel(now);
    tokio::spawn(look(file.to_owned(), sender));
    receiver
}

async fn look(file: PathBuf, labels: watch::Sender<Labels>) {
    let mut due = interval(LOOK_INTERVAL);
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = labels.closed() => return,
            _ = due.tick() => {}
        }
        let Ok(text) = tokio::fs::read_to_string(&file).await else { continue };
        let now = read_labels(&text);
        labels.send_if_modified(|known| {
            let changed = *known != now;
            if changed {
                *known = now;
            }
            changed
        });
    }
}

/// Reads lines `name="value"`, the value quoted as in Go (`strconv.Quote`), which the kubelet writes. Lines of another
/// form are passed over.
pub fn read_labels(text: &str) -> Labels {
    text.lines()
        .filter_map(|line| {
            let (name, quoted) = line.split_once('=')?;
            Some((name.trim().to_owned(), unquoted(quoted.trim())?))
        })
        .collect()
}

/// The text within quotes. A label's value has no letter that Go writes in another way than after a `\`.
fn unquoted(text: &str) -> Option<String> {
    let within = text.strip_prefix('"')?.strip_suffix('"')?;
    let mut value = String::with_capacity(within.len());
    let mut letters = within.chars();
    while let Some(letter) = letters.next() {
        value.push(match letter {
            '\\' => match letters.next()? {
                'n' => '\n',
                't' => '\t',
                'r' => '\r',
                other => other,
            },
            other => other,
        });
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::{read_labels, watch_labels};
    use std::time::Duration;

    #[test]
    fn labels_are_read_as_the_kubelet_writes_them() {
        let labels = read_labels("app=\"web\"\nempty=\"\"\na.b/c=\"x=\\\"y\\\\\"\nnonsense\nbare=web\n");
        let read: Vec<_> = labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(read, [("a.b/c", "x=\"y\\"), ("app", "web"), ("empty", "")]);
    }

    #[tokio::test(start_paused = true)]
    async fn changed_labels_are_told_and_a_lost_file_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("labels");
        std::fs::write(&file, "app=\"web\"\n").unwrap();
        let mut labels = watch_labels(&file);
        assert_eq!(labels.borrow_and_update()["app"], "web");
        std::fs::write(&file, "app=\"shop\"\n").unwrap();
        labels.changed().await.unwrap();
        assert_eq!(labels.borrow_and_update()["app"], "shop");
        std::fs::remove_file(&file).unwrap();
        tokio::time::sleep(Duration::from_secs(11)).await;
        assert!(!labels.has_changed().unwrap());
    }
}
