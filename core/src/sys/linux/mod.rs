//! kqueue on Linux.

pub(crate) mod abi;
mod bell;
mod both_rules;
mod data;
mod descriptor;
pub(crate) mod epoll_rules;
pub mod fd_table;
mod file;
pub mod fork;
pub mod hidden;
mod inotify;
pub(crate) mod kevent;
mod knote;
mod lanes;
mod memory;
mod mounts;
pub(crate) mod queue;
pub mod raw;
mod report;
mod sink;
mod soft;
mod source;
mod timer;
mod token;
mod user;
mod vnode;
