//! Who this data plane is to others of the mesh, and who they are to it.
//!
//! In: the address of a controller and a token. Out: an [`Identity`], a certificate with the roots that it is judged by,
//! always a fresh one, and what rustls needs to speak with peers by it. Keys are made here, stay in memory and never leave
//! the process. Which peer may do what is not decided here: only who it is.

mod client;
mod handshake;
mod own;

pub use client::{IdentityClient, IdentityOptions};
pub use handshake::peer_id;
pub use own::{Identity, IdentityError};

#[cfg(test)]
mod tests;
