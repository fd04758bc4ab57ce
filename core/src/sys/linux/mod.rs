//! kqueue on Linux.

pub mod fd_table;
pub mod fork;
pub mod hidden;
pub mod raw;
