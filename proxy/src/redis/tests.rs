//! Against servers that behave badly; the real one is met in the tests of the whole gateway.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::login::{Login, LoginError};
use super::{Failure, Redis, Script};
use crate::upstream::Resolver;
use sluice_ir as ir;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const TIME: Duration = Duration::from_millis(200);

fn server(address: SocketAddr) -> ir::RateServer {
    ir::RateServer {
        host: address.ip().to_string(),
        port: address.port(),
        database: 0,
        key_prefix: "sluice".to_owned(),
        username: None,
        password: None,
        tls: None,
        fail: None,
    }
}

/// A server that reads whatever comes and answers each read with the next of these; after the last one it is silent.
async fn says(answers: &'static [&'static str]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(talk(stream, answers));
        }
    });
    address
}

async fn talk(mut stream: TcpStream, answers: &[&str]) {
    let mut buffer = [0; 4096];
    let mut answers = answers.iter();
    while stream.read(&mut buffer).await.is_ok_and(|it| it > 0) {
        if let Some(answer) = answers.next() {
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    }
}

fn script() -> Script {
    let per = Duration::from_secs(1);
    let rule =
        ir::RateRule { name: "a".to_owned(), requests: 1, per, burst: 1, key: Vec::new(), most_keys: 0 };
    Script::new(&[rule])
}

async fn ask(redis: &Redis) -> Result<Vec<i64>, Failure> {
    redis.run(&script(), &["k"], TIME).await
}

async fn until(redis: &Redis, is_up: bool) {
    let end = Instant::now() + Duration::from_secs(10);
    while redis.is_up() != is_up {
        assert!(Instant::now() < end, "is_up is never {is_up}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn calls_wait_for_the_first_connection() {
    let address = says(&["*1\r\n:0\r\n", "*3\r\n:0\r\n:0\r\n:5\r\n"]).await;
    let redis = Redis::new(&server(address), Resolver::system());
    assert_eq!(ask(&redis).await, Ok(vec![0, 0, 5]));
    assert_eq!(redis.name(), format!("{address}/0"));
}

#[tokio::test]
async fn a_script_that_the_server_has_forgotten_is_sent_again() {
    const FORGOTTEN: &str = "-NOSCRIPT No matching script.\r\n";
    let address = says(&["*1\r\n:0\r\n", FORGOTTEN, "*3\r\n:0\r\n:0\r\n:5\r\n", FORGOTTEN, FORGOTTEN]).await;
    let redis = Redis::new(&server(address), Resolver::system());
    assert_eq!(ask(&redis).await, Ok(vec![0, 0, 5]));
    assert_eq!(ask(&redis).await, Err(Failure::Error), "not for ever");
}

#[tokio::test]
async fn who_gives_no_answers_is_not_waited_for_any_more() {
    let address = says(&["*1\r\n:0\r\n"]).await;
    let redis = Redis::new(&server(address), Resolver::system());
    until(&redis, true).await;
    let asked = (0..20).map(|_| ask(&redis));
    let started = Instant::now();
    let answers = futures::future::join_all(asked).await;
    // Who still waits when the connection is given up is told so.
    let none_came = |it: &_| matches!(it, Err(Failure::Timeout | Failure::Broken));
    assert!(answers.iter().all(none_came) && answers[0] == Err(Failure::Timeout), "{answers:?}");
    assert!(started.elapsed() < 3 * TIME);
    // The next one gets no answers either, for ever fewer requests.
    until(&redis, false).await;
    let started = Instant::now();
    assert_eq!(ask(&redis).await, Err(Failure::Down));
    assert!(started.elapsed() < TIME / 2);
}

#[tokio::test]
async fn a_connection_that_is_lost_is_told_to_who_waits_and_made_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let redis = Redis::new(&server(listener.local_addr().unwrap()), Resolver::system());
    let (mut first, _) = listener.accept().await.unwrap();
    let mut buffer = [0; 4096];
    let _ = first.read(&mut buffer).await.unwrap();
    first.write_all(b"*1\r\n:0\r\n").await.unwrap();
    until(&redis, true).await;
    let (answer, ()) = tokio::join!(ask(&redis), async {
        let _ = first.read(&mut buffer).await.unwrap();
        drop(first);
    });
    assert_eq!(answer, Err(Failure::Broken));
    let (second, _) = listener.accept().await.unwrap();
    tokio::spawn(talk(second, &["*1\r\n:0\r\n", "*3\r\n:0\r\n:0\r\n:5\r\n"]));
    until(&redis, true).await;
    assert_eq!(ask(&redis).await, Ok(vec![0, 0, 5]));
}

#[tokio::test]
async fn what_is_no_server_of_that_kind_is_never_counted_by() {
    for answer in ["HTTP/1.1 400 Bad Request\r\n\r\n", "*1\r\n:0\r\n:1\r\n", "*1000000\r\n"] {
        let answers: &'static [&'static str] = Box::leak(Box::new([answer]));
        let redis = Redis::new(&server(says(answers).await), Resolver::system());
        assert!(ask(&redis).await.is_err(), "{answer}");
        until(&redis, false).await;
    }
}

/// Some servers repeat what they were sent.
#[tokio::test]
async fn no_word_of_a_password_is_told() {
    let login = async |answers, error: fn(&LoginError) -> bool| {
        let server = ir::RateServer {
            username: Some("gateway".to_owned()),
            password: Some(ir::Password::new(*b"open sesame")),
            ..server(says(answers).await)
        };
        let login = Login::new(&server, Resolver::system()).unwrap();
        let Err(refused) = login.connect().await else { panic!("it lets us in") };
        assert!(error(&refused), "{refused:?}");
        let told = format!("{refused} {refused:?} {server:?}");
        assert!(!told.contains("sesame"), "{told}");
        refused.to_string()
    };
    let refused: fn(&LoginError) -> bool = |it| matches!(it, LoginError::Password(_));
    let told = login(&["-ERR unknown command 'AUTH', with args: 'open sesame'\r\n"], refused).await;
    assert!(told.contains("(ERR)"), "{told}");
    login(&["-open sesame\r\n"], refused).await;
    let told = login(&["-WRONGPASS invalid username-password pair\r\n"], refused).await;
    assert!(told.contains("WRONGPASS") && told.contains("credentialsRef"), "{told}");
    login(&["+OK\r\n", "-NOAUTH Authentication required.\r\n"], |it| matches!(it, LoginError::NoPassword))
        .await;
    login(&["+OK\r\n", "-NOPERM no scripts\r\n"], |it| matches!(it, LoginError::Refused { .. })).await;
}

#[tokio::test]
async fn a_server_that_can_not_be_used_is_not_tried() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let unusable = ir::RateServer { fail: Some("Secret not found".to_owned()), ..server(address) };
    let redis = Redis::new(&unusable, Resolver::system());
    assert_eq!(ask(&redis).await, Err(Failure::Down));
    let tried = tokio::time::timeout(Duration::from_millis(50), listener.accept()).await;
    assert!(tried.is_err(), "somebody connected");
}
