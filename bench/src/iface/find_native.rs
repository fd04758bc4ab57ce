//! The interfaces where the system has a kqueue: its own, and the crates that are linked into this
//! program. The C libraries are not among them: how one is put before libc in one process, and told
//! from it, is another matter on each system.

use anyhow::Result;

use super::capi::{CloseApi, PollApi, SelectApi};
use super::kq::Source;
use super::{Choice, Interfaces, Select, rust};

impl Interfaces {
    /// What there is, untried.
    pub(super) fn find(choice: &Choice) -> Result<Self> {
        Ok(Self {
            poll: PollApi { poll: libc::poll },
            select: SelectApi { select: libc::select },
            close: CloseApi { close: libc::close },
            compat_epolls: vec![("compat-epoll-rust", rust::epoll())],
            compat_polls: vec![("compat-poll-rust", rust::poll())],
            compat_selects: vec![("compat-select-rust", Select::Crate)],
            hooked_close: None,
            kqueues: vec![Source::core()],
            all: Vec::new(),
            only: choice.only.clone(),
            missing: vec!["the C libraries are measured on Linux alone".into()],
        })
    }
}
