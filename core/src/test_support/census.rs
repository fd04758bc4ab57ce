//! What lies at which number of a world, so that a random step can choose one that suits it.

use std::os::fd::RawFd;
use std::sync::{Mutex, PoisonError};

use super::ops::{Num, Op, Outcome};
use super::world::NUMBERS;
use super::zoo::Kind;

/// What lies at a number.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Tenant {
    Queue,
    /// That end (0, or 1 of a pair) of that kind.
    Zoo(Kind, u8),
    /// It came over a socket.
    Stranger,
}

type Slots = [Option<Tenant>; NUMBERS as usize];

/// See the module. It follows what the program does; the kernel is not asked.
#[derive(Debug, Default)]
pub(super) struct Census(Mutex<Slots>);

impl Census {
    fn with<R>(&self, what: impl FnOnce(&mut Slots) -> R) -> R {
        what(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The n-th number, counted round and round, whose tenant will do; else the n-th that is open;
    /// else the first.
    fn choose(&self, n: u8, will_do: impl Fn(Tenant) -> bool) -> u8 {
        let nth = |slots: &Slots, will_do: &dyn Fn(Tenant) -> bool| {
            let suits = |at: &u8| slots[usize::from(*at)].is_some_and(will_do);
            let all: Vec<u8> = (0..NUMBERS).filter(suits).collect();
            (!all.is_empty()).then(|| all[usize::from(n) % all.len()])
        };
        self.with(|slots| nth(slots, &will_do).or_else(|| nth(slots, &|_| true)).unwrap_or(0))
    }

    /// The number that is meant, where `suits` says what suits.
    pub(super) fn at(&self, num: Num, suits: impl Fn(Kind, u8) -> bool) -> u8 {
        match num {
            Num::At(n) => n,
            Num::Open(n) => self.choose(n, |_| true),
            Num::Queue(n) => self.choose(n, |tenant| tenant == Tenant::Queue),
            Num::Fit(n) => self.choose(n, |tenant| match tenant {
                Tenant::Queue => false,
                Tenant::Zoo(kind, end) => suits(kind, end),
                Tenant::Stranger => true,
            }),
        }
    }

    pub(super) fn is_queue(&self, at: u8) -> bool {
        self.with(|slots| slots[usize::from(at)]) == Some(Tenant::Queue)
    }

    pub(super) fn add_queue(&self, at: RawFd) {
        self.with(|slots| slots[at as usize] = Some(Tenant::Queue));
    }

    /// Follows a step, whose numbers are resolved.
    pub(super) fn note(&self, op: &Op, outcome: &Outcome) {
        let slot = |n: Num| usize::from(self.at(n, |_, _| true));
        match (op, outcome) {
            (Op::Close(n), Outcome::Done) => {
                let n = slot(*n);
                self.with(|slots| slots[n] = None);
            }
            (Op::Dup2(n, onto), Outcome::Done) => {
                let (n, onto) = (slot(*n), slot(*onto));
                self.with(|slots| slots[onto] = slots[n]);
            }
            (Op::Dup(n), Outcome::Opened(at)) => {
                let n = slot(*n);
                self.with(|slots| slots[at[0] as usize] = slots[n]);
            }
            (op, Outcome::Opened(new)) => {
                let tenant = |end| match op {
                    Op::Open(kind) => Tenant::Zoo(*kind, end),
                    Op::Accept(_) => Tenant::Zoo(Kind::TcpPair, 1),
                    _ => Tenant::Stranger,
                };
                self.with(|slots| {
                    for (end, at) in (0..).zip(new) {
                        slots[*at as usize] = Some(tenant(end));
                    }
                });
            }
            _ => {}
        }
    }
}
