//! Edits of the folder while requests go on.

use crate::{Scene, version};
use sluice_tests::load::Load;
use sluice_tests::{Answer, Ask, Sluice, Wire, eventually};
use std::fs;
use std::time::{Duration, Instant};
use tokio::time::sleep;

/// Generous, for a machine that does other things too; the figure is printed.
const LIVE: Duration = Duration::from_secs(1);
const CONNECTIONS: usize = 8;

fn load(sluice: &Sluice) -> Load {
    Load::start(sluice.address(80), CONNECTIONS, Ask::get("http://a.example/").to_http1(), |_| Ok(()))
}

/// Asks on one connection until an answer fits; how long that took.
async fn until(wire: &mut Wire, what: &str, fits: impl Fn(&Answer) -> bool) -> Duration {
    let started = Instant::now();
    loop {
        let answer = wire.ask(&Ask::get("http://a.example/")).await;
        if fits(&answer) {
            return started.elapsed();
        }
        assert!(started.elapsed() < LIVE, "{what}: not live after {LIVE:?}: {answer:?}");
        sleep(Duration::from_millis(1)).await;
    }
}

async fn until_version(wire: &mut Wire, number: u32) -> Duration {
    let wanted = number.to_string();
    until(wire, &wanted, |answer| answer.header("x-version") == Some(&wanted)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edit_is_live_at_once_and_fails_no_request() {
    let scene = Scene::new().await;
    let sluice = scene.run().await;
    let load = load(&sluice);
    let mut wire = Wire::connect(sluice.address(80)).await;
    let mut times = Vec::new();
    for number in 1..=20 {
        load.more(20).await;
        scene.write("route.yaml", &version(number));
        times.push(until_version(&mut wire, number).await);
    }
    times.sort();
    println!("an edit was live after {:?} in the median, {:?} at most", times[10], times[19]);
    let account = load.finish().await;
    account.expect_all_200();
    println!("{} requests meanwhile, none failed", account.answered());
}

/// Written in place instead of renamed: half a file is never served.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_written_in_place_is_live_when_it_is_whole() {
    let scene = Scene::new().await;
    let sluice = scene.run().await;
    let load = load(&sluice);
    let mut wire = Wire::connect(sluice.address(80)).await;
    for number in 1..=10 {
        fs::write(scene.path().join("route.yaml"), version(number)).unwrap();
        until_version(&mut wire, number).await;
    }
    load.finish().await.expect_all_200();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_hundred_changes_fail_no_request() {
    let scene = Scene::new().await;
    let sluice = scene.run().await;
    let load = load(&sluice);
    let mut wire = Wire::connect(sluice.address(80)).await;
    let started = Instant::now();
    let mut slowest = Duration::ZERO;
    for number in 1..=500_u32 {
        scene.write("route.yaml", &version(number));
        if number % 5 == 0 {
            // Other objects come, change and go at the same time.
            let other = sluice_tests::manifests::route("other", &["other.test"], "main.test", 80);
            scene.write(
                "other.yaml",
                &other.replace("metadata: {name: other}", &format!("metadata: {{name: other-{number}}}")),
            );
        }
        slowest = slowest.max(until_version(&mut wire, number).await);
    }
    println!("500 changes in {:?}, the slowest was live after {slowest:?}", started.elapsed());
    let account = load.finish().await;
    account.expect_all_200();
    println!("{} requests meanwhile, none failed", account.answered());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_file_keeps_its_last_good_version() {
    let scene = Scene::new().await;
    let sluice = scene.run().await;
    let load = load(&sluice);
    let mut wire = Wire::connect(sluice.address(80)).await;
    for broken in ["spec: [", "kind: HTTPRoute\nspec: {rules: [{matches", "\u{0}\u{1}", "- - -"] {
        scene.write("route.yaml", broken);
        let before = sluice.said();
        eventually("the mistake is named", || async {
            let said = sluice.said();
            said.strip_prefix(&before).is_some_and(|new| new.contains("route.yaml"))
        })
        .await;
        assert_eq!(wire.ask(&Ask::get("http://a.example/")).await.status, 200, "{broken:?}");
        scene.write("route.yaml", &version(7));
        until_version(&mut wire, 7).await;
        scene.write("route.yaml", &version(8));
        until_version(&mut wire, 8).await;
    }
    load.finish().await.expect_all_200();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_come_and_go() {
    let scene = Scene::new().await;
    let sluice = scene.run().await;
    let mut wire = Wire::connect(sluice.address(80)).await;
    fs::remove_file(scene.path().join("route.yaml")).unwrap();
    until(&mut wire, "the route goes", |answer| answer.status == 404).await;
    fs::create_dir(scene.path().join("more")).unwrap();
    fs::write(scene.path().join("more").join("route.yaml"), version(3)).unwrap();
    until_version(&mut wire, 3).await;
    fs::remove_dir_all(scene.path().join("more")).unwrap();
    until(&mut wire, "the folder goes", |answer| answer.status == 404).await;
    scene.write("route.yaml", &version(4));
    until_version(&mut wire, 4).await;
}

/// A listener can be added, edited and removed while connections to the others stay.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn listeners_come_and_go_without_touching_the_others() {
    let scene = Scene::new().await;
    let sluice = scene.run().await;
    let load = load(&sluice);
    let gateway = sluice_tests::manifests::GATEWAY;
    for _ in 0..5 {
        scene.write("gateway.yaml", &format!("{gateway}  - {{name: more, port: 81, protocol: HTTP}}\n"));
        eventually("the new port answers", || async {
            let Ok(stream) = tokio::net::TcpStream::connect(sluice.address(81)).await else { return false };
            let mut wire = Wire::over(Box::new(stream));
            wire.send(Ask::get("http://a.example:81/").to_http1()).await;
            wire.read(false).await.is_ok_and(|answer| answer.status == 200)
        })
        .await;
        scene.write("gateway.yaml", gateway);
        eventually("the port is released", || async {
            tokio::net::TcpStream::connect(sluice.address(81)).await.is_err()
        })
        .await;
    }
    let account = load.finish().await;
    account.expect_all_200();
    assert_eq!(account.announced, 0, "connections of the other port were closed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hangup_reads_everything_again_and_ends_nothing() {
    let scene = Scene::new().await;
    let sluice = scene.run().await;
    let load = load(&sluice);
    for _ in 0..5 {
        sluice.signal("HUP").await;
        load.more(20).await;
    }
    load.finish().await.expect_all_200();
}
