//! kqueue on Linux.

pub mod raw;
