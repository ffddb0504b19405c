//! Answers that are kept for those who ask again: the settings of a policy, and what it keeps.

mod store;

pub(crate) use store::{Arriving, Entry, Name, Store};

use sluice_ir as ir;
use std::sync::Arc;

/// Compiled [`ir::Cache`]. A setting that changed begins with nothing kept.
pub(crate) struct Cache {
    pub(crate) settings: ir::Cache,
    pub(crate) store: Arc<Store>,
}

impl Cache {
    pub(crate) fn compile(it: &ir::Cache) -> Self {
        Self { settings: it.clone(), store: Store::new(it.most_bytes) }
    }
}
