//! The interfaces under test: which there are, and how to open one.

use std::fmt;
#[cfg(target_os = "linux")]
use std::path::PathBuf;

use anyhow::{Result, bail, ensure};

pub(crate) mod callset;
pub(crate) mod capi;
#[cfg_attr(not(target_os = "linux"), path = "find_native.rs")]
mod find;
pub(crate) mod kq;
#[cfg(target_os = "linux")]
pub(crate) mod kq_library;
#[cfg(target_os = "linux")]
pub(crate) mod libs;
pub(crate) mod poller;
mod rust;
mod rust_select;

use capi::{CloseApi, EpollApi, PollApi, SelectApi};
use kq::{Kq, Source, WithKq};
use poller::{EpollPoller, KqPoller, PollPoller, Poller, SelectPoller, Want};

use crate::fixture::Pipe;

/// Which of the four an interface speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    Select,
    Poll,
    Epoll,
    Kqueue,
}

impl Family {
    /// The kernel's own queue: what a program would use, as Linux has no kqueue and no other system
    /// that is meant here an epoll of its own.
    pub(crate) const QUEUE: Self =
        if cfg!(target_os = "linux") { Self::Epoll } else { Self::Kqueue };

    /// The kernel's interface that this one is measured against.
    pub(crate) fn twin(self) -> Self {
        if matches!(self, Self::Epoll | Self::Kqueue) { Self::QUEUE } else { self }
    }
}

type Open = Box<dyn Fn(usize) -> Result<Box<dyn Poller>> + Send + Sync>;

/// One interface under test.
pub(crate) struct Interface {
    /// What the tables and `--interface` call it.
    pub(crate) name: String,
    pub(crate) family: Family,
    pub(crate) native: bool,
    open: Open,
}

impl fmt::Debug for Interface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Interface").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Interface {
    /// One that is no system's or library's.
    #[cfg(target_os = "linux")]
    pub(crate) fn of_our_own(
        name: impl Into<String>,
        family: Family,
        open: impl Fn(usize) -> Result<Box<dyn Poller>> + Send + Sync + 'static,
    ) -> Self {
        Self { name: name.into(), family, native: false, open: Box::new(open) }
    }

    /// A new, empty waiter that takes at most `max_events` events at once.
    pub(crate) fn open(&self, max_events: usize) -> Result<Box<dyn Poller>> {
        (self.open)(max_events)
    }
}

/// A way to call select. A crate's sets are no bitmaps in the caller's hand, so it is no table of
/// functions.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Select {
    /// A C function.
    C(SelectApi),
    /// compat-select, linked into this program.
    Crate,
}

/// All interfaces of this run.
#[derive(Debug)]
pub(crate) struct Interfaces {
    #[cfg(target_os = "linux")]
    pub(crate) epoll: EpollApi,
    pub(crate) poll: PollApi,
    pub(crate) select: SelectApi,
    pub(crate) close: CloseApi,
    /// compat-epoll by its C library and by its crate.
    pub(crate) compat_epolls: Vec<(&'static str, EpollApi)>,
    /// compat-poll by its C library and by its crate.
    pub(crate) compat_polls: Vec<(&'static str, PollApi)>,
    /// compat-select by its C library and by its crate.
    pub(crate) compat_selects: Vec<(&'static str, Select)>,
    /// close and kin as this process's own code calls them, hooked where a library hooks them.
    pub(crate) hooked_close: Option<CloseApi>,
    /// Ours first, then those of `--lib`.
    pub(crate) kqueues: Vec<Source>,
    all: Vec<Interface>,
    only: Vec<String>,
    /// Interfaces that this run has to do without, and why.
    pub(crate) missing: Vec<String>,
}

/// What the command line says of interfaces.
#[derive(Clone, Debug, Default)]
pub(crate) struct Choice {
    #[cfg(target_os = "linux")]
    pub(crate) dir: PathBuf,
    #[cfg(target_os = "linux")]
    pub(crate) peers: Vec<PathBuf>,
    /// Names to keep; empty: all. Native ones always stay.
    pub(crate) only: Vec<String>,
}

impl Interfaces {
    /// Finds every interface, tries each once, and keeps those that work.
    pub(crate) fn load(choice: &Choice) -> Result<Self> {
        let mut this = Self::find(choice)?;
        this.list();
        this.keep(&choice.only)?;
        this.probe();
        Ok(this)
    }

    /// The table that the benchmarks of the ancestors walk through.
    fn list(&mut self) {
        let mut all: Vec<Interface> = Vec::new();
        let mut add = |name: &str, family, native, open: Open| {
            all.push(Interface { name: name.into(), family, native, open });
        };
        let selects =
            [("select", Select::C(self.select))].into_iter().chain(self.compat_selects.clone());
        for (name, select) in selects {
            let open: Open = match select {
                Select::C(api) => Box::new(move |_| Ok(Box::new(SelectPoller::new(api)) as _)),
                Select::Crate => {
                    Box::new(|_| Ok(Box::new(rust_select::SelectPoller::default()) as _))
                }
            };
            add(name, Family::Select, name == "select", open);
        }
        let polls = [("poll", self.poll)].into_iter().chain(self.compat_polls.clone());
        for (name, api) in polls {
            let open = Box::new(move |_| Ok(Box::new(PollPoller::new(api)) as _));
            add(name, Family::Poll, name == "poll", open);
        }
        #[cfg(target_os = "linux")]
        let native = [("epoll", self.epoll)];
        #[cfg(not(target_os = "linux"))]
        let native = [];
        for (name, api) in native.into_iter().chain(self.compat_epolls.clone()) {
            let open = Box::new(move |max| Ok(Box::new(EpollPoller::new(api, max)?) as _));
            add(name, Family::Epoll, name == "epoll", open);
        }
        for source in &self.kqueues {
            let native = Family::QUEUE == Family::Kqueue;
            add(&source.name, Family::Kqueue, native, source.with(Opener));
        }
        self.all = all;
    }

    /// Drops what was not asked for.
    fn keep(&mut self, only: &[String]) -> Result<()> {
        for name in only {
            let known = || self.all.iter().map(|i| i.name.as_str()).collect::<Vec<_>>().join(", ");
            ensure!(self.all.iter().any(|i| i.name == *name), "no {name} here: {}", known());
        }
        if !only.is_empty() {
            self.retain(|name| only.iter().any(|o| o == name));
        }
        Ok(())
    }

    /// Keeps the native interfaces and those of ours and the peers' that `keep` names.
    fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        self.all.retain(|i| i.native || keep(&i.name));
        self.kqueues.retain(|k| keep(&k.name));
        self.compat_epolls.retain(|(name, _)| keep(name));
        self.compat_polls.retain(|(name, _)| keep(name));
        self.compat_selects.retain(|(name, _)| keep(name));
    }

    /// Asks each interface for one byte in one pipe. One that cannot say so is left out, loudly:
    /// it would be quick at telling nothing.
    fn probe(&mut self) {
        let failed: Vec<(String, anyhow::Error)> =
            self.all.iter().filter_map(|i| Some((i.name.clone(), probe(i).err()?))).collect();
        self.retain(|name| !failed.iter().any(|(f, _)| f == name));
        for (name, why) in failed {
            self.missing.push(format!("{name} is left out: it failed its first use: {why:#}"));
        }
    }

    /// Whether the command line asks for this interface, as it does for all if it names none.
    pub(crate) fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|o| o == name)
    }

    /// Whether the command line names this interface.
    pub(crate) fn names(&self, name: &str) -> bool {
        self.only.iter().any(|o| o == name)
    }

    /// Each native interface with those that are measured against it.
    pub(crate) fn pairs(&self) -> Vec<(&Interface, Vec<&Interface>)> {
        let native = self.all.iter().filter(|i| i.native);
        native
            .map(|n| {
                let twins = |i: &&Interface| !i.native && i.family.twin() == n.family;
                (n, self.all.iter().filter(twins).collect())
            })
            .collect()
    }
}

/// Pollers over any kind of kqueue.
struct Opener;

impl WithKq for Opener {
    type Out = Open;

    fn run<K: Kq + 'static>(
        self,
        make: impl Fn() -> std::io::Result<K> + Send + Sync + 'static,
    ) -> Open {
        Box::new(move |max| Ok(Box::new(KqPoller::new(make()?, max)) as _))
    }
}

fn probe(interface: &Interface) -> Result<()> {
    let mut poller = interface.open(8)?;
    let pipe = Pipe::new()?;
    let mut ready = Vec::new();
    poller.add(pipe.read_fd(), Want::READ)?;
    poller.wait(0, &mut ready)?;
    ensure!(ready.is_empty(), "an empty pipe was reported as readable");
    pipe.send()?;
    poller.wait(1000, &mut ready)?;
    if ready != [pipe.read_fd()] {
        bail!("a pipe with a byte in it was reported as {ready:?}, not [{}]", pipe.read_fd());
    }
    poller.delete(pipe.read_fd())?;
    poller.wait(0, &mut ready)?;
    ensure!(ready.is_empty(), "a deleted registration was reported");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn native_interfaces_pass_their_probe() {
        let all = Interfaces::load(&Choice::default()).unwrap();
        let names: Vec<&str> = all.pairs().iter().map(|(n, _)| n.name.as_str()).collect();
        let queue = if cfg!(target_os = "linux") { "epoll" } else { "kqueue" };
        assert_eq!(names, ["select", "poll", queue]);
    }

    #[test]
    fn an_unknown_name_is_an_error() {
        let choice = Choice { only: vec!["kqeue".into()], ..Choice::default() };
        let message = Interfaces::load(&choice).unwrap_err().to_string();
        assert!(message.contains("kqeue") && message.contains("epoll"), "{message}");
    }
}
