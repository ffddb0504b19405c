//! Whether this data plane should get traffic, and if not, why.

use parking_lot::RwLock;
use std::borrow::Cow;
use std::sync::Arc;

/// Shared flag with a reason. A clone is the same flag.
#[derive(Clone)]
pub struct Readiness(Arc<RwLock<Option<Cow<'static, str>>>>);

impl Readiness {
    /// Not ready, for the reason given: `no configuration yet`.
    pub fn new(reason: impl Into<Cow<'static, str>>) -> Self {
        Self(Arc::new(RwLock::new(Some(reason.into()))))
    }

    /// The first complete configuration is served.
    pub fn set_ready(&self) {
        *self.0.write() = None;
    }

    /// No more traffic, please: `reason` is told to who asks, `draining`.
    pub fn set_not_ready(&self, reason: impl Into<Cow<'static, str>>) {
        *self.0.write() = Some(reason.into());
    }

    /// Whether traffic is welcome.
    pub fn is_ready(&self) -> bool {
        self.0.read().is_none()
    }

    /// Why traffic is not welcome; `None` when it is.
    pub fn reason(&self) -> Option<Cow<'static, str>> {
        self.0.read().clone()
    }
}
