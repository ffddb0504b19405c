//! What containers write, kept with the time of each line, and given to the API server
//! (`/containerLogs/NAMESPACE/POD/CONTAINER`), which makes `pods/log` work.

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::Full;
use k8s_openapi::jiff::Timestamp;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};

/// More lines than any test reads.
const LINES: usize = 50_000;

/// The last lines of one container.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<VecDeque<(Timestamp, String)>>>);

/// The logs of all containers, by namespace, pod and container.
#[derive(Clone, Default)]
pub(crate) struct Logs(Arc<Mutex<HashMap<[String; 3], Log>>>);

impl Log {
    /// Reads a stream to its end.
    pub(crate) fn collect(&self, stream: impl AsyncRead + Send + Unpin + 'static) {
        let log = self.clone();
        tokio::spawn(async move {
            let mut lines = BufReader::new(stream).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                log.push(line);
            }
        });
    }

    /// Adds one line.
    pub(crate) fn push(&self, line: String) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == LINES {
            lines.pop_front();
        }
        lines.push_back((Timestamp::now(), line));
    }

    fn text(&self, wanted: &Wanted) -> String {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = |time: &Timestamp| wanted.since.is_none_or(|since| *time >= since);
        let fitting: Vec<_> = lines.iter().filter(|(time, _)| fits(time)).collect();
        let skipped = fitting.len().saturating_sub(wanted.tail.unwrap_or(usize::MAX));
        let mut text = String::new();
        for (time, line) in &fitting[skipped..] {
            if wanted.timestamps {
                text.push_str(&format!("{time} "));
            }
            text.push_str(line);
            text.push('\n');
        }
        text
    }
}

impl Logs {
    /// The log of a container, made when it is new.
    pub(crate) fn of(&self, namespace: &str, pod: &str, container: &str) -> Log {
        let mut logs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        logs.entry([namespace, pod, container].map(str::to_owned)).or_default().clone()
    }

    /// Everything that a pod wrote.
    pub(crate) fn of_pod(&self, namespace: &str, pod: &str) -> String {
        let logs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_pod = logs.iter().filter(|(key, _)| key[0] == namespace && key[1] == pod);
        of_pod.map(|(_, log)| log.text(&Wanted::default())).collect()
    }

    /// Answers a request for a log.
    pub(crate) fn answer(&self, path: &str, query: &str) -> Response<Full<Bytes>> {
        let parts: Vec<_> = path.trim_matches('/').split('/').collect();
        let found = match parts.as_slice() {
            ["containerLogs", namespace, pod, container] => {
                let logs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
                logs.get(&[*namespace, *pod, *container].map(str::to_owned)).cloned()
            }
            _ => None,
        };
        let (status, text) = match found {
            Some(log) => (StatusCode::OK, log.text(&Wanted::parse(query))),
            None => (StatusCode::NOT_FOUND, format!("no such log: {path}\n")),
        };
        let mut response = Response::new(Full::new(text.into()));
        *response.status_mut() = status;
        response
    }
}

/// What the query of a request asks for. A log is not followed: the answer ends with what is there.
#[derive(Default)]
struct Wanted {
    since: Option<Timestamp>,
    tail: Option<usize>,
    timestamps: bool,
}

impl Wanted {
    fn parse(query: &str) -> Self {
        let mut wanted = Self::default();
        for (name, value) in query.split('&').filter_map(|part| part.split_once('=')) {
            match name {
                "sinceTime" => wanted.since = value.replace("%3A", ":").replace("%2B", "+").parse().ok(),
                "sinceSeconds" => {
                    let seconds: i64 = value.parse().unwrap_or(i64::MAX / 2_000);
                    wanted.since = Timestamp::from_second(Timestamp::now().as_second() - seconds).ok();
                }
                "tailLines" => wanted.tail = value.parse().ok(),
                "timestamps" => wanted.timestamps = value == "true",
                _ => {}
            }
        }
        wanted
    }
}
