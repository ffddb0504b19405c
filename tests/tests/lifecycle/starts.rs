//! Starting: what is served, and what is said when something can't be.

use crate::Scene;
use sluice_tests::{Ask, Sluice, binary, loopback, soon};
use std::process::Output;
use tokio::process::Command;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_is_served_and_a_signal_ends_it() {
    let scene = Scene::new().await;
    let sluice = scene.run().await;
    let answer = sluice.request(&Ask::get("http://a.example/x")).await;
    assert_eq!((answer.status, answer.header("x-version")), (200, Some("0")));
    let status = sluice.terminate().await;
    assert_eq!(status.code(), Some(0));
}

async fn run_to_its_end(arguments: &[&str]) -> Output {
    let run = Command::new(binary()).arg("run").args(arguments).kill_on_drop(true).output();
    soon("the end of sluice run", run).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_that_is_taken_is_named() {
    let scene = Scene::new().await;
    let first = scene.run().await;
    let (bind, folder) = (first.bind().to_string(), scene.path().to_str().unwrap());
    let second = run_to_its_end(&[folder, "--bind", &bind, "--port-offset", "20000", "--no-admin"]).await;
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert_eq!(second.status.code(), Some(1), "{said}");
    assert!(said.contains(&first.address(80).to_string()), "{said}");
    assert!(
        said.to_lowercase().contains("address already in use") || said.contains("another gateway"),
        "{said}"
    );
    // The admin port is taken too.
    let admin = first.admin().to_string();
    let second = run_to_its_end(&[
        folder,
        "--bind",
        &loopback().to_string(),
        "--port-offset",
        "20000",
        "--admin",
        &admin,
    ])
    .await;
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert_eq!(second.status.code(), Some(2), "{said}");
    assert!(said.contains(&admin), "{said}");
    // The first goes on.
    assert_eq!(first.request(&Ask::get("http://a.example/")).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_that_is_not_there_is_an_error() {
    let output = run_to_its_end(&["/nowhere/at/all", "--no-admin"]).await;
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("/nowhere/at/all"));
}

/// One bad document spoils only itself, and is named with its file and line.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mistake_in_one_file_leaves_the_rest_served() {
    let scene = Scene::new().await;
    scene.write(
        "broken.yaml",
        "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: broken\n",
    );
    let sluice = Sluice::run(scene.path(), &[]).await;
    assert_eq!(sluice.request(&Ask::get("http://a.example/")).await.status, 200);
    let said = sluice.said();
    assert!(said.contains("broken.yaml:"), "{said}");
}
