//! kqueue on Linux.

pub(crate) mod epoll_rules;
pub mod fd_table;
pub mod fork;
pub mod hidden;
pub(crate) mod queue;
pub mod raw;
