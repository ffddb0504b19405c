//! Plays a case and compares: plain requests, gRPC calls and WebSockets.

use crate::cases::{Case, Expect, Session};
use crate::client::{Answer, Client};
use crate::support::DEADLINE;
use crate::{compressed, proxied, streams};
use bytes::{BufMut, Bytes, BytesMut};
use futures::{SinkExt, StreamExt};
use http::{HeaderMap, HeaderName};
use prost::Message as _;
use serde_json::Value;
use sluice::echo::grpc::{EchoRequest, EchoResponse};
use std::collections::BTreeMap;
use std::time::Instant;
use tokio_tungstenite::tungstenite::Message;

type Check = Result<(), String>;

/// Plays a case; the error says what was different.
pub(crate) async fn run(client: &Client, case: &Case) -> Check {
    if case.proxy.is_some() {
        return proxied::run(client, case).await;
    }
    if case.compressed {
        return compressed::run(client, case).await;
    }
    if case.stream.is_some() {
        return streams::run(client, case).await;
    }
    if case.websocket.is_some() {
        return websocket(client, case).await;
    }
    if let Some(count) = case.at_once {
        return at_once(client, case, count).await;
    }
    let end = Instant::now() + DEADLINE;
    if case.expect.refused {
        return refused(client, case).await;
    }
    loop {
        let result = if case.grpc.is_some() { grpc(client, case).await } else { plain(client, case).await };
        if result.is_ok() || !case.expect.eventually || Instant::now() >= end {
            return result;
        }
        tokio::task::yield_now().await;
    }
}

async fn at_once(client: &Client, case: &Case, count: u32) -> Check {
    let headers = headers(case);
    let asked = (0..count).map(|_| client.send(case, "GET", &headers, Bytes::new()));
    let mut statuses = BTreeMap::new();
    for answer in futures::future::join_all(asked).await {
        *statuses.entry(answer?.status.as_u16()).or_insert(0_u32) += 1;
    }
    if statuses == case.expect.statuses {
        Ok(())
    } else {
        Err(format!("statuses are {statuses:?}, not {:?}", case.expect.statuses))
    }
}

async fn refused(client: &Client, case: &Case) -> Check {
    match client.send(case, "GET", &headers(case), Bytes::new()).await {
        Err(_) => Ok(()),
        Ok(answer) => Err(format!("it should have been refused: {answer:?}")),
    }
}

fn headers(case: &Case) -> HeaderMap {
    let name = |name: &str| -> HeaderName { name.parse().unwrap() };
    let mut headers: HeaderMap =
        case.headers.iter().map(|(key, value)| (name(key), value.parse().unwrap())).collect();
    if let Some(size) = case.header_bytes {
        headers.insert("x-large", "x".repeat(size).parse().unwrap());
    }
    headers
}

async fn plain(client: &Client, case: &Case) -> Check {
    let mut headers = headers(case);
    let body = match (&case.body, case.body_bytes) {
        (Some(text), _) => Bytes::from(text.clone()),
        (None, Some(size)) => Bytes::from(vec![b'x'; size]),
        (None, None) => Bytes::new(),
    };
    let method = case.method.as_deref().unwrap_or("GET");
    let mut backends = BTreeMap::new();
    for _ in 0..case.repeat.unwrap_or(1) {
        let answer = client.send(case, method, &headers, body.clone()).await?;
        compare(&answer, &case.expect)?;
        let backend = field(&answer.headers, "x-echo-backend").unwrap_or_default();
        *backends.entry(backend).or_insert(0_u32) += 1;
        carry(case.session.as_ref(), &answer, &mut headers)?;
    }
    if let Some(shares) = case.expect.shares.as_ref().filter(|shares| **shares != backends) {
        return Err(format!("shares are {backends:?}, not {shares:?}"));
    }
    if case.expect.one_backend && backends.len() != 1 {
        return Err(format!("more than one backend answered: {backends:?}"));
    }
    Ok(())
}

/// Takes the session's token from the answer into the next request.
fn carry(session: Option<&Session>, answer: &Answer, headers: &mut HeaderMap) -> Check {
    match session {
        None => {}
        Some(Session::Header(name)) => {
            let name: HeaderName = name.parse().unwrap();
            if let Some(token) = answer.headers.get(&name) {
                headers.insert(name, token.clone());
            } else if !headers.contains_key(&name) {
                return Err(format!("the answer has no {name}: {:?}", answer.headers));
            }
        }
        Some(Session::Cookie(name)) => {
            let cookies = answer.headers.get_all("set-cookie").iter().filter_map(|it| it.to_str().ok());
            let mut pairs = cookies.filter_map(|cookie| cookie.split(';').next());
            let found = pairs.rfind(|pair| pair.starts_with(&format!("{name}=")));
            if let Some(pair) = found {
                headers.insert("cookie", pair.parse().unwrap());
            } else if !headers.contains_key("cookie") {
                return Err(format!("the answer sets no cookie {name}: {:?}", answer.headers));
            }
        }
    }
    Ok(())
}

fn field(headers: &HeaderMap, name: &str) -> Option<String> {
    let values: Vec<_> =
        headers.get_all(name).iter().map(|it| String::from_utf8_lossy(it.as_bytes())).collect();
    if values.is_empty() { None } else { Some(values.join(",")) }
}

fn compare(answer: &Answer, expect: &Expect) -> Check {
    let shown =
        || format!("{} {:?} {}", answer.status, answer.headers, String::from_utf8_lossy(&answer.body));
    if let Some(status) = expect.status.filter(|status| answer.status != *status) {
        return Err(format!("expected status {status}: {}", shown()));
    }
    for (name, value) in &expect.headers {
        if field(&answer.headers, name).as_ref() != Some(value) {
            return Err(format!("expected {name}: {value}: {}", shown()));
        }
    }
    if let Some(name) = expect.no_headers.iter().find(|name| answer.headers.contains_key(name.as_str())) {
        return Err(format!("unexpected {name}: {}", shown()));
    }
    if let Some(body) = expect.body.as_ref().filter(|body| answer.body != body.as_bytes()) {
        return Err(format!("expected body {body:?}: {}", shown()));
    }
    let json: Value = serde_json::from_slice(&answer.body).unwrap_or(Value::Null);
    same(&json, expect)
}

/// What the backend saw.
fn same(json: &Value, expect: &Expect) -> Check {
    for (key, value) in &expect.json {
        if json.get(key) != Some(value) {
            return Err(format!("expected {key} = {value} in {json}"));
        }
    }
    let pairs = json.get("headers").and_then(Value::as_array).cloned().unwrap_or_default();
    let sent = |name: &str| {
        let values = pairs.iter().filter(|pair| pair[0] == name).filter_map(|pair| pair[1].as_str());
        values.collect::<Vec<_>>().join(",")
    };
    for (name, value) in &expect.sent {
        if sent(name) != *value {
            return Err(format!("expected the backend to get {name}: {value}, not {:?}", sent(name)));
        }
    }
    match expect.not_sent.iter().find(|name| !sent(name).is_empty()) {
        Some(name) => Err(format!("the backend got {name}: {}", sent(name))),
        None => Ok(()),
    }
}

async fn grpc(client: &Client, case: &Case) -> Check {
    let mut body = BytesMut::new();
    for message in &case.messages {
        let request = EchoRequest { message: message.clone(), ..EchoRequest::default() };
        body.put_u8(0);
        body.put_u32(u32::try_from(request.encoded_len()).unwrap());
        body.put_slice(&request.encode_to_vec());
    }
    let mut headers = headers(case);
    headers.insert("content-type", "application/grpc".parse().unwrap());
    headers.insert("te", "trailers".parse().unwrap());
    let answer = client.send(case, "POST", &headers, body.freeze()).await?;
    let expect = &case.expect;
    let status = field(&answer.trailers, "grpc-status").or_else(|| field(&answer.headers, "grpc-status"));
    let wanted = expect.grpc_status.unwrap_or(0).to_string();
    if status.as_ref() != Some(&wanted) {
        return Err(format!("expected grpc-status {wanted}: {answer:?}"));
    }
    let responses = decode(answer.body)?;
    let messages: Vec<_> = responses.iter().map(|response| response.message.clone()).collect();
    if messages != expect.messages {
        return Err(format!("expected messages {:?}, not {messages:?}", expect.messages));
    }
    match &expect.backend {
        Some(backend) if responses.iter().any(|response| response.backend != *backend) => {
            Err(format!("expected backend {backend}: {responses:?}"))
        }
        _ => Ok(()),
    }
}

fn decode(mut body: Bytes) -> Result<Vec<EchoResponse>, String> {
    let mut responses = Vec::new();
    while !body.is_empty() {
        let prefix: [u8; 5] =
            body.get(..5).and_then(|it| it.try_into().ok()).ok_or("a message is cut off")?;
        let [_, a, b, c, d] = prefix;
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        let message = body.get(5..5 + length).ok_or("a message is cut off")?;
        responses.push(EchoResponse::decode(message).map_err(|error| error.to_string())?);
        body = body.slice(5 + length..);
    }
    Ok(responses)
}

async fn websocket(client: &Client, case: &Case) -> Check {
    let stream = client.open(case).await?;
    let url = case.uri().to_string().replacen("http", "ws", 1);
    let conversation = async {
        let (mut socket, _) =
            tokio_tungstenite::client_async(url, stream).await.map_err(|error| error.to_string())?;
        let mut next = async |sent: Option<&String>| -> Result<String, String> {
            if let Some(sent) = sent {
                socket.send(Message::text(sent.clone())).await.map_err(|error| error.to_string())?;
            }
            let message =
                socket.next().await.ok_or("the socket was closed")?.map_err(|error| error.to_string())?;
            Ok(message.into_text().map_err(|error| error.to_string())?.to_string())
        };
        if !case.expect.json.is_empty() {
            let greeting = next(None).await?;
            same(&serde_json::from_str(&greeting).map_err(|error| error.to_string())?, &case.expect)?;
        }
        let mut back = Vec::new();
        for message in &case.messages {
            back.push(next(Some(message)).await?);
        }
        if back == case.expect.messages { Ok(()) } else { Err(format!("messages {back:?} came back")) }
    };
    tokio::time::timeout(DEADLINE, conversation).await.map_err(|_| "no answer in time".to_owned())?
}
