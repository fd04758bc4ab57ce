//! Programs made of a fuzzer's bytes, run beside the kernel's own calls.
//!
//! The generators and interpreters are those of the random programs in the crates' tests
//! (`compat-epoll/tests/random`, [`kq_core::test_support::sets`], `core/tests/model`): two bytes are one
//! step ([`kq_core::test_support::compare::from_bytes`]). What is under test are the C libraries, all four
//! linked into one program, hooks of close and all.
//!
//! `cargo xtask fuzz` runs libFuzzer over them; `cargo test -p kq-fuzz` runs the inputs that are kept
//! in `corpus`.

mod epoll;
mod kevent;
mod pointers;
mod sets;

use kq_core::test_support::leak::open_descriptors;

/// One kind of programs.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name, and that of its folder in `corpus`.
    pub name: &'static str,
    /// Gets ready to run programs.
    start: fn() -> Run,
}

/// Runs the program that some bytes stand for. Returns how many operations were compared; 0 where
/// the bytes stand for none, or for one whose results depend on time.
type Run = Box<dyn Fn(&[u8]) -> u64>;

/// All of them.
pub const TARGETS: [Target; 6] = [
    Target { name: "epoll", start: epoll::sequences },
    Target { name: "threads", start: epoll::two_threads },
    Target { name: "poll", start: sets::poll },
    Target { name: "select", start: sets::select },
    Target { name: "kevent", start: kevent::start },
    Target { name: "pointers", start: pointers::start },
];

impl Target {
    /// By name.
    ///
    /// # Panics
    /// If there is none.
    pub fn named(name: &str) -> Self {
        let found = TARGETS.into_iter().find(|target| target.name == name);
        found.unwrap_or_else(|| panic!("no target is called {name:?}"))
    }

    /// Gets ready.
    ///
    /// # Panics
    /// If the C library's calls are not ours.
    pub fn start(self) -> Runner {
        // That they are linked, and with them what they do when a program starts.
        let linked = [
            (libc::poll as *const (), kqcompat_poll::poll as *const ()),
            (libc::select as *const (), kqcompat_select::select as *const ()),
            (libc::epoll_ctl as *const (), kqcompat_epoll::epoll_ctl as *const ()),
            (libc::sigaction as *const (), kqcompat_kqueue::signal_hooks::sigaction as *const ()),
        ];
        assert!(linked.iter().all(|(called, ours)| called == ours), "the calls are not ours");
        Runner { name: self.name, run: (self.start)(), open: None, programs: 0, operations: 0 }
    }
}

/// Runs programs of one kind, and counts.
pub struct Runner {
    name: &'static str,
    run: Run,
    /// How many descriptors were open after the first programs.
    open: Option<usize>,
    programs: u64,
    operations: u64,
}

impl std::fmt::Debug for Runner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.summary())
    }
}

impl Runner {
    /// How often descriptors are counted.
    const COUNTED_EACH: u64 = 256;

    /// Runs what the bytes stand for. Returns whether they stand for a program.
    ///
    /// # Panics
    /// When something differs from what it should be, or descriptors are left open.
    pub fn run(&mut self, bytes: &[u8]) -> bool {
        let operations = (self.run)(bytes);
        self.operations += operations;
        self.programs += 1;
        if self.programs.is_multiple_of(Self::COUNTED_EACH) {
            let open = open_descriptors();
            let most = *self.open.get_or_insert(open.len());
            assert!(open.len() <= most, "descriptors are left open: {open:?}");
        }
        operations > 0
    }

    /// What was run so far, in a line.
    pub fn summary(&self) -> String {
        let Self { name, programs, operations, .. } = self;
        format!("{name}: {programs} programs, {operations} operations, no difference")
    }
}
