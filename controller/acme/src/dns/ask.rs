//! One question to one server, over TCP: no truncation, no forged answers from elsewhere.

use hickory_proto::op::{Message, Query};
use hickory_proto::rr::{Name, RData, RecordType};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Longest time of a question with its answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Sends a message and returns the answer's bytes (RFC 7766: two bytes of length before each).
pub(crate) async fn exchange(server: SocketAddr, message: &[u8]) -> Result<Vec<u8>, String> {
    let talk = async {
        let mut stream = TcpStream::connect(server).await?;
        let len = u16::try_from(message.len()).map_err(|_| io::Error::other("the message is too long"))?;
        let mut framed = len.to_be_bytes().to_vec();
        framed.extend_from_slice(message);
        stream.write_all(&framed).await?;
        let len = stream.read_u16().await?;
        let mut answer = vec![0; usize::from(len)];
        stream.read_exact(&mut answer).await?;
        Ok::<_, io::Error>(answer)
    };
    match tokio::time::timeout(TIMEOUT, talk).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(format!("DNS server {server}: {error}")),
        Err(_) => Err(format!("DNS server {server}: no answer within {} s", TIMEOUT.as_secs())),
    }
}

/// Asks a server for records.
pub(crate) async fn ask(server: SocketAddr, name: &Name, kind: RecordType) -> Result<Message, String> {
    let mut question = Message::query();
    question.metadata.recursion_desired = false;
    question.add_query(Query::query(name.clone(), kind));
    let bytes = question.to_vec().map_err(|error| error.to_string())?;
    let answer = exchange(server, &bytes).await?;
    let answer = Message::from_vec(&answer).map_err(|error| format!("DNS server {server}: {error}"))?;
    if answer.metadata.id != question.metadata.id {
        return Err(format!("DNS server {server}: the answer is to another question"));
    }
    Ok(answer)
}

/// The values of TXT records, each with its strings joined.
pub(crate) fn texts(answer: &Message) -> impl Iterator<Item = Vec<u8>> + '_ {
    answer.answers.iter().filter_map(|record| match &record.data {
        RData::TXT(txt) => Some(txt.txt_data.concat()),
        _ => None,
    })
}
