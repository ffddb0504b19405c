//! Pingora's cache over our stores. Pingora asks one storage of the process; which policy's store is meant, the key says.

use crate::policy::{Arriving, Entry, Name, Store};
use async_trait::async_trait;
use bytes::Bytes;
use http::header::{self, HeaderValue};
use pingora_cache::key::CacheHashKey as _;
use pingora_cache::storage::{
    HandleHit, HandleMiss, HitHandler, MissFinishType, MissHandler, PurgeOutcome, PurgeTarget, PurgeType,
    Storage,
};
use pingora_cache::trace::SpanHandle;
use pingora_cache::{CacheKey, CacheMeta};
use pingora_error::{Error, ErrorType, Result};
use pingora_http::ResponseHeader;
use std::any::Any;
use std::sync::Arc;

/// Bytes of a kept body that go out at a time.
const PIECE: usize = 64 * 1_024;

/// All stores.
pub(super) struct Stores;

fn store(key: &CacheKey) -> Result<&Arc<Store>> {
    let store = key.extensions.get::<Arc<Store>>();
    store.ok_or_else(|| Error::explain(ErrorType::InternalError, "a cache key without its store"))
}

#[async_trait]
impl Storage for Stores {
    async fn lookup(
        &'static self,
        key: &CacheKey,
        _trace: &SpanHandle,
    ) -> Result<Option<(CacheMeta, HitHandler)>> {
        let Some(entry) = store(key)?.get(&key.combined_bin()) else { return Ok(None) };
        let meta = meta(&entry, key.variance_bin().is_none())?;
        Ok(Some((meta, Box::new(Kept { end: entry.body.len(), at: 0, body: entry.body.clone() }))))
    }

    async fn get_miss_handler(
        &'static self,
        key: &CacheKey,
        meta: &CacheMeta,
        _trace: &SpanHandle,
    ) -> Result<MissHandler> {
        let store = store(key)?;
        Ok(Box::new(Filling {
            name: key.combined_bin(),
            entry: entry(meta, Bytes::new()),
            body: Vec::new(),
            arriving: Some(store.arriving()),
        }))
    }

    /// Asked by an eviction manager only, of which there is none: stores let go by themselves.
    async fn purge(
        &'static self,
        _target: PurgeTarget<'_>,
        _why: PurgeType,
        _trace: &SpanHandle,
    ) -> Result<PurgeOutcome> {
        Ok(PurgeOutcome::NotFound)
    }

    async fn update_meta(
        &'static self,
        key: &CacheKey,
        meta: &CacheMeta,
        _trace: &SpanHandle,
    ) -> Result<bool> {
        let (store, name) = (store(key)?, key.combined_bin());
        let Some(before) = store.get(&name) else { return Ok(false) };
        Ok(store.put(name, Arc::new(entry(meta, before.body.clone()))))
    }

    fn as_any(&self) -> &(dyn Any + Send + Sync + 'static) {
        self
    }
}

/// What Pingora knows of an entry. Variants are asked to be no older than the first entry of their URL, which is the one
/// that is found without a variance.
fn meta(entry: &Entry, is_first: bool) -> Result<CacheMeta> {
    let mut header = ResponseHeader::build(entry.status, Some(entry.headers.len()))?;
    for (name, value) in &entry.headers {
        header.append_header(name.clone(), value.clone())?;
    }
    let created = if is_first { entry.provenance } else { entry.created };
    let (revalidating, error) = (entry.stale_while_revalidate_s, entry.stale_if_error_s);
    let mut meta = CacheMeta::new(entry.fresh_until, created, revalidating, error, header);
    meta.set_epoch_override(entry.epoch);
    if let Some(variance) = entry.variance {
        meta.set_variance(variance);
    }
    Ok(meta)
}

fn entry(meta: &CacheMeta, body: Bytes) -> Entry {
    Entry {
        status: meta.response_header().status.as_u16(),
        headers: meta.headers().clone(),
        fresh_until: meta.fresh_until(),
        created: meta.created(),
        epoch: meta.epoch(),
        provenance: meta.provenance(),
        stale_while_revalidate_s: meta.stale_while_revalidate_sec(),
        stale_if_error_s: meta.stale_if_error_sec(),
        variance: meta.variance(),
        body,
    }
}

/// A kept body on its way out.
struct Kept {
    body: Bytes,
    at: usize,
    end: usize,
}

#[async_trait]
impl HandleHit for Kept {
    async fn read_body(&mut self) -> Result<Option<Bytes>> {
        let next = self.end.min(self.at.saturating_add(PIECE));
        if self.at >= next {
            return Ok(None);
        }
        let piece = self.body.slice(self.at..next);
        self.at = next;
        Ok(Some(piece))
    }

    async fn finish(
        self: Box<Self>,
        _storage: &'static (dyn Storage + Sync),
        _key: &CacheKey,
        _trace: &SpanHandle,
    ) -> Result<()> {
        Ok(())
    }

    fn can_seek(&self) -> bool {
        true
    }

    fn seek(&mut self, start: usize, end: Option<usize>) -> Result<()> {
        if start >= self.body.len() {
            return Error::e_explain(ErrorType::InternalError, "a range that begins after the end");
        }
        self.at = start;
        self.end = end.unwrap_or(self.body.len()).min(self.body.len());
        Ok(())
    }

    fn get_eviction_weight(&self) -> usize {
        self.body.len()
    }

    fn as_any(&self) -> &(dyn Any + Send + Sync) {
        self
    }

    fn as_any_mut(&mut self) -> &mut (dyn Any + Send + Sync) {
        self
    }
}

/// A body that arrives. It is kept when it is complete; dropped before, nothing is.
struct Filling {
    name: Name,
    entry: Entry,
    body: Vec<u8>,
    /// `None`: there was no room, and what comes is not kept.
    arriving: Option<Arriving>,
}

#[async_trait]
impl HandleMiss for Filling {
    async fn write_body(&mut self, data: Bytes, _is_last: bool) -> Result<()> {
        if let Some(arriving) = &mut self.arriving {
            if arriving.more(data.len()) {
                self.body.extend_from_slice(&data);
            } else {
                self.arriving = None;
                self.body = Vec::new();
            }
        }
        Ok(())
    }

    async fn finish(mut self: Box<Self>) -> Result<MissFinishType> {
        let Some(arriving) = self.arriving.take() else { return Ok(MissFinishType::Created(0)) };
        let body = Bytes::from(std::mem::take(&mut self.body).into_boxed_slice());
        let size = body.len();
        let mut entry = self.entry;
        // The length is known now: ranges, and the end of a body that is compressed, rest on it.
        if entry.status != 204 {
            entry.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(size));
        }
        entry.body = body;
        arriving.keep(self.name, Arc::new(entry));
        Ok(MissFinishType::Created(size))
    }
}
