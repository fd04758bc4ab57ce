//! The connections of a soak, and what happens to them.

use std::collections::HashMap;
use std::os::fd::RawFd;

use anyhow::{Context, Result, bail, ensure};

use super::connection::{self, Connection};
use crate::iface::poller::{Poller, Want};
use crate::iface::{Family, Interface};

/// Only what is lost is waited for so long, in milliseconds.
const LONG: i32 = 20_000;
/// Deeds between two waits.
const DEEDS: usize = 8;
/// Waits between two moments at which everything sent has to have come.
const SETTLES: u64 = 64;

/// What a soak did.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    /// Opened, used, and closed.
    pub(super) connections: u64,
    pub(super) bytes: u64,
    pub(super) waits: u64,
    pub(super) events: u64,
    /// There was nothing to read.
    pub(super) fruitless: u64,
}

/// See the module.
pub(super) struct World {
    poller: Box<dyn Poller>,
    family: Family,
    want: Want,
    open: usize,
    random: fastrand::Rng,
    /// By the number of the watched end.
    connections: HashMap<RawFd, Connection>,
    /// Those numbers again, to choose from.
    numbers: Vec<RawFd>,
    /// Duplicates that keep a file alive whose number was closed.
    kept: Vec<RawFd>,
    ready: Vec<RawFd>,
    counts: Counts,
}

impl World {
    pub(super) fn new(interface: &Interface, want: Want, open: usize, seed: u64) -> Result<Self> {
        Ok(Self {
            poller: interface.open(64)?,
            family: interface.family,
            want,
            open,
            random: fastrand::Rng::with_seed(seed),
            connections: HashMap::new(),
            numbers: Vec::new(),
            kept: Vec::new(),
            ready: Vec::new(),
            counts: Counts::default(),
        })
    }

    /// Goes on until so many connections have come and gone.
    pub(super) fn carry(&mut self, connections: u64) -> Result<()> {
        while self.counts.connections < connections {
            for _ in 0..DEEDS {
                self.deed()?;
            }
            self.wait(0)?;
            if self.counts.waits.is_multiple_of(SETTLES) {
                self.settle()?;
            }
        }
        Ok(())
    }

    /// Ends all connections, and says what there was.
    pub(super) fn end(mut self) -> Result<Counts> {
        for number in self.numbers.clone() {
            self.connection(number)?.peer_goes(false)?;
        }
        self.settle()?;
        ensure!(self.connections.is_empty(), "connections are left");
        self.let_go(0)?;
        Ok(self.counts)
    }

    fn connection(&mut self, number: RawFd) -> Result<&mut Connection> {
        self.connections.get_mut(&number).context("no such connection")
    }

    /// Does something at random.
    fn deed(&mut self) -> Result<()> {
        if self.numbers.len() < self.open {
            return self.connect();
        }
        let number = self.numbers[self.random.usize(..self.numbers.len())];
        let most = if self.random.u8(..8) == 0 { 5000 } else { 50 };
        let len = 1 + self.random.u64(..most);
        match self.random.u8(..16) {
            0..8 => self.connection(number)?.send(len)?,
            8 => self.connection(number)?.half_close()?,
            9 => {
                self.connection(number)?.send(len)?;
                self.connection(number)?.half_close()?;
            }
            10 | 11 => self.connection(number)?.peer_goes(false)?,
            12 => self.connection(number)?.peer_goes(true)?,
            13 => {
                let other = Want { write: !self.want.write, ..self.want };
                self.poller.modify(number, other)?;
                self.poller.modify(number, self.want)?;
            }
            14 => {
                // Its owner has had enough of it.
                self.forget(number)?;
                self.connect()?;
            }
            // The number goes to another file while the old one lives on, with something to say.
            // Of epoll that is heard for ever (epoll(7)), and of kqueue until the number is touched.
            _ if matches!(self.family, Family::Poll | Family::Select) => {
                self.connection(number)?.send(1)?;
                self.kept.push(connection::dup(number)?);
                self.let_go(self.open / 4)?;
                self.forget(number)?;
                self.connect()?;
            }
            _ => self.connect_and_forget()?,
        }
        Ok(())
    }

    fn connect(&mut self) -> Result<()> {
        let id = self.counts.connections * 1000 + self.numbers.len() as u64;
        let connection = Connection::open(id)?;
        let number = connection.watched;
        self.poller.add(number, self.want).context("a new connection")?;
        self.numbers.push(number);
        ensure!(self.connections.insert(number, connection).is_none(), "two of one number");
        Ok(())
    }

    /// Opened, ready, and gone before anybody looked.
    fn connect_and_forget(&mut self) -> Result<()> {
        self.connect()?;
        let number = *self.numbers.last().context("just made")?;
        self.connection(number)?.send(1)?;
        self.forget(number)
    }

    /// Forgets a connection: closed, with or without a word to the queue.
    fn forget(&mut self, number: RawFd) -> Result<()> {
        let connection = self.connections.remove(&number).context("no such connection")?;
        self.numbers.retain(|&other| other != number);
        // poll's and select's sets are the caller's own; a queue drops what is closed by itself.
        let told = matches!(self.family, Family::Poll | Family::Select) || self.random.bool();
        if told {
            self.poller.delete(number)?;
        }
        connection.close()?;
        self.counts.connections += 1;
        Ok(())
    }

    /// Closes all but so many of the duplicates.
    fn let_go(&mut self, but: usize) -> Result<()> {
        while self.kept.len() > but {
            connection::close(self.kept.remove(0))?;
        }
        Ok(())
    }

    /// Takes what is ready, and serves it. How many there were.
    fn wait(&mut self, timeout: i32) -> Result<usize> {
        let mut ready = std::mem::take(&mut self.ready);
        self.poller.wait(timeout, &mut ready)?;
        self.counts.waits += 1;
        self.counts.events += ready.len() as u64;
        let mut over = Vec::new();
        for &number in &ready {
            let Some(connection) = self.connections.get_mut(&number) else {
                // (It may be told twice of one descriptor, and gone by the second time.)
                ensure!(over.contains(&number), "{number} was reported, which nobody watches");
                continue;
            };
            let got = connection.read()?;
            self.counts.bytes += got.bytes;
            self.counts.fruitless += u64::from(got.bytes == 0 && !got.end);
            if got.end {
                over.push(number);
                self.forget(number)?;
            }
        }
        self.ready = ready;
        Ok(self.ready.len())
    }

    /// Waits until all that was sent has come.
    fn settle(&mut self) -> Result<()> {
        while self.connections.values().any(Connection::is_waiting) {
            if self.wait(LONG)? == 0 {
                let lost = self.connections.values().find(|one| one.is_waiting());
                bail!("a wake-up was lost: {lost:?}");
            }
        }
        Ok(())
    }
}
