//! Thousands of spellings of paths, against policies, through a real gateway to an echo. What the echo saw is then read as a
//! lenient backend might read it, by rules written here anew: whatever a policy keeps out must not be among them.

use super::{manifests_with, policy};
use sluice_tests::{Stand, Wire};
use std::collections::BTreeSet;

/// Ways to a segment below `/x`, and words that may be `admin`.
const STARTS: [&str; 5] = ["", "/x", "/public", "/x/y", "/public/y"];
const UPS: [&str; 14] = [
    "",
    "/..",
    "/%2e%2e",
    "/.%2E",
    "/../..",
    "/..;",
    "/..;a=b",
    "/%252e%252e",
    "/%25252e%25252e",
    "/..%00",
    "\\..",
    "/.;/..",
    "%2f..",
    "//..",
];
const SEPARATORS: [&str; 16] = [
    "/", "//", "%2f", "%2F", "\\", "%5c", "%5C", "%252f", "%255C", "/./", "/;/", "/%2e/", "/.;/", "/%20/../",
    "%2f%2f", "///",
];
const WORDS: [&str; 18] = [
    "admin",
    "%61dmin",
    "%61%64%6D%69%6e",
    "ADMIN",
    "%41dmin",
    "%2561dmin",
    "%25%36%31dmin",
    "%252561dmin",
    "admin;",
    "admin;a=b",
    "admin%3Bx",
    "admin%253bx",
    "admin/",
    "admin/.",
    "admin%2f",
    "admin\\",
    "admin%00",
    "admin%20",
];
const ENDS: [&str; 5] = ["", "/s", "%2fs", "?x=/public", "/../admin"];

/// Every raw target, each once.
fn corpus() -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for (number, start) in STARTS.iter().enumerate() {
        for up in UPS {
            for (place, separator) in SEPARATORS.iter().enumerate() {
                for (turn, word) in WORDS.iter().enumerate() {
                    // A fifth of the ends for each, so that all pairs are there.
                    let end = ENDS[(number + place + turn) % ENDS.len()];
                    let target = format!("{start}{up}{separator}{word}{end}");
                    if target.starts_with('/') {
                        all.insert(target);
                    }
                }
            }
        }
    }
    all
}

/// What a backend may take a path for: each combination of decoding once and more often, `\` for `/`, parameters dropped
/// before or after, slashes merged before or after dot segments.
fn readings(path: &str) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for rounds in 0..4 {
        for drops_first in [false, true] {
            let mut text = if drops_first { drop_parameters(path) } else { path.to_owned() };
            for _ in 0..rounds {
                text = decode(&text);
            }
            for is_windows in [false, true] {
                let text = if is_windows { text.replace('\\', "/") } else { text.clone() };
                for drops_last in [false, true] {
                    let text = if drops_last { drop_parameters(&text) } else { text.clone() };
                    all.insert(resolve(&text));
                    all.insert(merge(&resolve(&text)));
                    all.insert(resolve(&merge(&text)));
                }
            }
        }
    }
    all
}

fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::new();
    let mut index = 0;
    while index < bytes.len() {
        let hex = text.get(index + 1..index + 3).and_then(|it| u8::from_str_radix(it, 16).ok());
        match hex.filter(|_| bytes[index] == b'%') {
            Some(value) => {
                out.push(value);
                index += 3;
            }
            None => {
                out.push(bytes[index]);
                index += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn drop_parameters(text: &str) -> String {
    text.split('/').map(|it| it.split(';').next().unwrap()).collect::<Vec<_>>().join("/")
}

fn merge(text: &str) -> String {
    let mut text = text.to_owned();
    while text.contains("//") {
        text = text.replace("//", "/");
    }
    text
}

fn resolve(text: &str) -> String {
    let mut out: Vec<&str> = Vec::new();
    let segments: Vec<&str> = text.split('/').skip(1).collect();
    for (index, segment) in segments.iter().enumerate() {
        let is_last = index + 1 == segments.len();
        match *segment {
            "." if is_last => out.push(""),
            "." => {}
            ".." => {
                out.pop();
                if is_last {
                    out.push("");
                }
            }
            other => out.push(other),
        }
    }
    format!("/{}", out.join("/"))
}

fn is_admin(path: &str) -> bool {
    path == "/admin" || path.starts_with("/admin/")
}

/// Status, and the path that the backend saw, of each target.
async fn ask(stand: &Stand, targets: &BTreeSet<String>) -> Vec<(String, u16, String)> {
    let mut wire = Wire::connect(stand.address(80)).await;
    let mut all = Vec::new();
    for target in targets {
        wire.send(format!("GET {target} HTTP/1.1\r\nHost: a.test\r\n\r\n")).await;
        let answer = match wire.read(false).await {
            Ok(answer) => answer,
            Err(ended) => panic!("{target}: {ended:?}"),
        };
        if answer.closes() {
            wire = Wire::connect(stand.address(80)).await;
        }
        all.push((target.clone(), answer.status, answer.seen("path")));
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_gets_around_a_policy_by_spelling() {
    let corpus = corpus();
    assert!(corpus.len() > 500, "{}", corpus.len());
    let mut stand = Stand::start(&manifests_with(&policy(
        "admin",
        "",
        "DENY",
        "{to: [{operation: {paths: [/admin, /admin/*]}}]}",
    )))
    .await;
    let (mut passed, mut refused) = (0, 0);
    for (target, status, seen) in ask(&stand, &corpus).await {
        match status {
            200 => {
                passed += 1;
                let reached: Vec<_> = readings(&seen).into_iter().filter(|it| is_admin(it)).collect();
                assert!(reached.is_empty(), "{target}: the backend saw {seen}, and may read {reached:?}");
            }
            403 => refused += 1,
            400 => {}
            other => panic!("{target}: {other}"),
        }
    }
    assert!(passed > 500 && refused > 500, "{passed} passed, {refused} refused");
    stand
        .apply(&manifests_with(&policy(
            "public",
            "",
            "ALLOW",
            "{to: [{operation: {paths: [/public/*, /public]}}]}",
        )))
        .await;
    let mut passed = 0;
    for (target, status, seen) in ask(&stand, &corpus).await {
        if status == 200 {
            passed += 1;
            let is_public = |it: &String| it == "/public" || it.starts_with("/public/");
            let elsewhere: Vec<_> = readings(&seen).into_iter().filter(|it| !is_public(it)).collect();
            assert!(elsewhere.is_empty(), "{target}: the backend saw {seen}, and may read {elsewhere:?}");
        }
    }
    assert!(passed > 100, "{passed} passed");
}

/// As the mesh says: the backend sees what was authorised, and nothing that reads otherwise where that is not to be.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backend_sees_what_was_authorised() {
    let corpus = corpus();
    let deny = policy("admin", "", "DENY", "{to: [{operation: {paths: [/admin, /admin/*]}}]}");
    for how in ["BASE", "MERGE_SLASHES", "DECODE_AND_MERGE_SLASHES"] {
        let mesh = format!(
            "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{namespace: istio-system, name: istio}}\ndata:\n  mesh: \
             \"pathNormalization: {{normalization: {how}}}\"\n"
        );
        let stand = Stand::start(&manifests_with(&format!("{deny}{mesh}"))).await;
        for (target, status, seen) in ask(&stand, &corpus).await {
            if status != 200 {
                continue;
            }
            assert!(!is_admin(&seen), "{how} {target}: the backend saw {seen}");
            assert!(!seen.contains('\\'), "{how} {target}: the backend saw {seen}");
            let (merges, decodes) = (how != "BASE", how == "DECODE_AND_MERGE_SLASHES");
            assert!(!(merges && seen.contains("//")), "{how} {target}: the backend saw {seen}");
            let has_slash = ["%2F", "%5C"].iter().any(|it| seen.contains(it));
            assert!(!(decodes && has_slash), "{how} {target}: the backend saw {seen}");
        }
    }
}
