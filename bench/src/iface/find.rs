//! Finds the interfaces on Linux: libc's, those of our C libraries, and whatever exports kqueue.

use std::path::Path;

use anyhow::Result;

use super::capi::{CloseApi, EpollApi, PollApi, SelectApi};
use super::kq::Source;
use super::libs::{self, Lib};
use super::{Choice, Interfaces, Select, rust};

impl Interfaces {
    /// What there is, untried.
    pub(super) fn find(choice: &Choice) -> Result<Self> {
        let libc = libs::libc()?;
        let mut missing = Vec::new();
        let mut preloaded = |file: &str, symbol: &str| -> Option<Lib> {
            let lib = libs::preloaded(&choice.dir, file);
            match &lib {
                None => missing.push(format!("{file} is not there: its rows are left out")),
                Some(l) if !l.exports(symbol) => {
                    missing.push(format!("{file} exports no {symbol}: its rows are left out"));
                    return None;
                }
                Some(_) => {}
            }
            lib
        };
        let epoll = preloaded("libkqcompat_epoll.so", "epoll_wait");
        let poll = preloaded("libkqcompat_poll.so", "poll");
        let select = preloaded("libkqcompat_select.so", "select");
        let hooks = poll.as_ref().or(select.as_ref()).filter(|lib| lib.exports("close"));
        let mut this = Self {
            epoll: EpollApi::load(&libc)?,
            poll: PollApi::load(&libc)?,
            select: SelectApi::load(&libc)?,
            close: CloseApi::load(&libc)?,
            compat_epolls: vec![("compat-epoll-rust", rust::epoll())],
            compat_polls: vec![("compat-poll-rust", rust::poll())],
            compat_selects: vec![("compat-select-rust", Select::Crate)],
            hooked_close: hooks.map(CloseApi::load).transpose()?,
            kqueues: vec![Source::core()],
            all: Vec::new(),
            only: choice.only.clone(),
            missing,
        };
        if let Some(lib) = &epoll {
            this.compat_epolls.insert(0, ("compat-epoll", EpollApi::load(lib)?));
        }
        if let Some(lib) = &poll {
            this.compat_polls.insert(0, ("compat-poll", PollApi::load(lib)?));
        }
        if let Some(lib) = &select {
            this.compat_selects.insert(0, ("compat-select", Select::C(SelectApi::load(lib)?)));
        }
        this.open_kqueues(choice);
        Ok(this)
    }

    fn open_kqueues(&mut self, choice: &Choice) {
        let ours = choice.dir.join("libkqcompat_kqueue.so");
        let ours = [("kqueue-c".to_owned(), ours.as_path())];
        let peers = choice.peers.iter().map(|p| (stem(p), p.as_path()));
        for (name, path) in ours.into_iter().chain(peers) {
            if !path.exists() {
                self.missing.push(format!("{name} is left out: its library is not there"));
                continue;
            }
            match libs::open(path).and_then(|lib| Source::library(&name, &lib)) {
                Ok(lib) => self.kqueues.push(lib),
                Err(e) => self.missing.push(format!("{name} is left out: {e:#}")),
            }
        }
    }
}

fn stem(path: &Path) -> String {
    let stem = path.file_name().unwrap_or_default().to_string_lossy();
    let stem = stem.split(".so").next().unwrap_or(&stem);
    stem.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_called_by_its_file() {
        assert_eq!(stem(Path::new("/usr/lib/libkqueue.so.0")), "libkqueue");
    }

    #[test]
    fn a_library_that_is_not_there_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let choice = Choice { dir: dir.path().to_owned(), ..Choice::default() };
        let found = Interfaces::find(&choice).unwrap();
        assert_eq!(found.missing.len(), 4, "{:?}", found.missing);
    }
}
