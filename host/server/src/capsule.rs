//! A capsule: one file with the whole kept history of an instance and the code that ran it.
//!
//! It is a bug report that replays on any machine, and a fixture that every later version must
//! replay. It holds all payloads as they were, so whatever personal data the instance was given is
//! in it.
//!
//! ```text
//! byte   0     magic, 8 bytes: 93 57 46 43 41 50 53 0a
//!        8     format version, 4 bytes, little-endian: 1
//!       12     sections, one behind the other:
//!                 byte 0    kind
//!                      1-4  length of the body in bytes, little-endian
//!                      5-   the body
//!
//! kind   1  header   once, first: a JSON object with host (the version that wrote the file),
//!                    exported_at, id, run, workflow, contract, feature_set, features
//!        2  record   one or more, in the order of the history, as `wfhost_core::codec` writes it,
//!                    with a format version of its own: of owner 0, each linked to the one before,
//!                    payloads of any size in place
//!        3  module   a JSON object: the description of a module that ran the workflow's code
//!        4  bytes    once, right behind a module: its bytes as they were uploaded
//!        5  component  behind the bytes of a module that was uploaded as a core module: the
//!                    component that was made of it, which is what runs
//!        0  end      once, last: the SHA-256 of all that stands before this section
//! ```
//!
//! Compiled code is never in it. What a reader does not know it refuses by its number: sections and
//! fields are added with a new format version alone, but for fields of JSON objects.

mod export;
mod format;
mod read;
mod replay;

pub use export::Exported;
pub(crate) use format::MAGIC;
pub use read::{Capsule, CapsuleError};
