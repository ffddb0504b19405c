//! Messages on the wire: a byte of flags, four bytes of length, the message.

use super::super::body::{Body, BoxError, streamed};
use super::Status;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures::{Stream, StreamExt, stream};
use http::{HeaderMap, HeaderValue};
use http_body_util::BodyExt;
use hyper::body::{Frame, Incoming};
use prost::Message;

/// The largest message that is read.
const MOST_MESSAGE_BYTES: usize = 4 * 1024 * 1024;
const PREFIX_BYTES: usize = 5;

/// The messages of a request.
pub(super) struct Messages {
    body: Incoming,
    buffer: BytesMut,
}

impl Messages {
    pub(super) fn new(body: Incoming) -> Self {
        Self { body, buffer: BytesMut::new() }
    }

    /// The next message, or `None` when the client has sent all.
    pub(super) async fn next<M: Message + Default>(&mut self) -> Result<Option<M>, Status> {
        loop {
            if let Some(bytes) = self.whole()? {
                let message = M::decode(bytes);
                return message
                    .map(Some)
                    .map_err(|_| Status::new(Status::INTERNAL, "the message can't be decoded"));
            }
            let Some(frame) = self.body.frame().await else {
                return if self.buffer.is_empty() {
                    Ok(None)
                } else {
                    Err(Status::new(Status::INTERNAL, "the message is cut off"))
                };
            };
            let frame = frame.map_err(|_| Status::new(Status::INTERNAL, "the request broke off"))?;
            if let Ok(data) = frame.into_data() {
                self.buffer.extend_from_slice(&data);
            }
        }
    }

    /// The only message of a call that sends one.
    pub(super) async fn only<M: Message + Default>(&mut self) -> Result<M, Status> {
        self.next().await?.ok_or_else(|| Status::new(Status::INTERNAL, "the request has no message"))
    }

    /// The first message of the buffer, if all of it is there.
    fn whole(&mut self) -> Result<Option<Bytes>, Status> {
        let Some([flags, a, b, c, d]) = self.buffer.first_chunk::<PREFIX_BYTES>().copied() else {
            return Ok(None);
        };
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        if flags != 0 {
            return Err(Status::new(Status::UNIMPLEMENTED, "the echo reads no compressed messages"));
        }
        if length > MOST_MESSAGE_BYTES {
            return Err(Status::new(Status::RESOURCE_EXHAUSTED, "the message is larger than 4 MiB"));
        }
        if self.buffer.len() < PREFIX_BYTES + length {
            return Ok(None);
        }
        self.buffer.advance(PREFIX_BYTES);
        Ok(Some(self.buffer.split_to(length).freeze()))
    }
}

/// A body of messages that ends with the trailers of a status: OK after the last, else the first error.
pub(super) fn body<M: Message + 'static>(
    messages: impl Stream<Item = Result<M, Status>> + Send + 'static,
) -> Body {
    let ends = messages.map(Some).chain(stream::once(async { None }));
    let frames = ends.scan(false, |ended, message| {
        let frame = match (*ended, message) {
            (true, _) => None,
            (false, Some(Ok(message))) => Some(Frame::data(framed(&message))),
            (false, Some(Err(status))) => Some(Frame::trailers(status.fields())),
            (false, None) => Some(Frame::trailers(success())),
        };
        *ended = frame.as_ref().is_none_or(Frame::is_trailers);
        std::future::ready(frame.map(Ok::<_, BoxError>))
    });
    streamed(frames)
}

fn framed(message: &impl Message) -> Bytes {
    let length = message.encoded_len();
    let mut bytes = BytesMut::with_capacity(PREFIX_BYTES + length);
    bytes.put_u8(0);
    bytes.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    bytes.extend_from_slice(&message.encode_to_vec());
    bytes.freeze()
}

fn success() -> HeaderMap {
    let mut fields = HeaderMap::new();
    fields.insert("grpc-status", HeaderValue::from(0));
    fields
}
