//! Property tests of the store against slow and obvious answers.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
