//! What the tests of this workspace share: a harness that runs each test in a process of its own,
//! helpers for threads and signals, one of each kind of descriptor, and random programs over them.
//!
//! Only for tests (feature `test-support`), with no promise of stability. A failing helper panics:
//! a test whose ground is not as it thinks must not go on.
//!
//! The calls under test reach a test through a backend (native, compat, ...); everything else here
//! goes to the kernel by libc, or by [`crate::raw`] where a library of this workspace exports libc's
//! symbol.

pub mod bitmaps;
mod census;
pub mod compare;
mod deeds;
pub mod defences;
pub mod echo;
pub mod epoll;
mod epoll_native;
pub mod faults;
pub mod filter;
pub mod harness;
pub mod in_process;
pub mod isolate;
pub mod leak;
pub mod ops;
pub mod passing;
pub mod poll_rules;
pub mod preload;
pub mod random;
pub mod select_rules;
pub mod sets;
pub mod settle;
pub mod signals;
pub mod sockets;
pub mod sys;
pub mod threads;
pub mod under;
pub mod watched;
pub mod world;
pub mod zoo;
