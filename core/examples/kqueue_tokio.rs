//! A kqueue in a tokio program: files and processes, of which tokio itself knows nothing, are waited
//! for beside everything else.

use std::os::fd::AsRawFd;
use std::process::Command;
use std::time::Duration;

use kq_core::*;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A queue whose events are awaited.
struct AsyncKqueue(AsyncFd<Kqueue>);

impl AsyncKqueue {
    fn new() -> std::io::Result<Self> {
        let queue = Kqueue::new()?;
        // SAFETY: a queue has one descriptor until it is dropped. (Where it puts a new set there, it
        // puts that into every set that watched the old one too.)
        Ok(Self(unsafe { AsyncFd::register_with_interest(queue, Interest::READABLE) }?))
    }

    /// `kevent()` that waits as tasks do.
    async fn kevent(&self, changes: &[KEvent], events: &mut [KEvent]) -> std::io::Result<usize> {
        const AT_ONCE: Option<libc::timespec> = Some(libc::timespec { tv_sec: 0, tv_nsec: 0 });
        self.0.get_ref().kevent(changes, &mut [], AT_ONCE)?;
        loop {
            let mut ready = self.0.readable().await?;
            // tokio hears of the queue once (edge): it counts as ready until a look finds nothing.
            let looked =
                ready.try_io(|queue| match queue.get_ref().kevent(&[], events, AT_ONCE)? {
                    0 => Err(std::io::ErrorKind::WouldBlock.into()),
                    count => Ok(count),
                });
            if let Ok(done) = looked {
                return done;
            }
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    let queue = AsyncKqueue::new()?;
    let path = std::env::temp_dir().join(format!("kqueue-in-tokio-{}", std::process::id()));
    let file = std::fs::File::create_new(&path)?;
    let mut child = Command::new("sleep").arg("0.2").spawn()?;
    let add = |ident, filter, fflags| {
        KEvent::new(ident, filter, EvFlags::EV_ADD | EvFlags::EV_CLEAR, fflags, 0, 0)
    };
    let changes = [
        add(file.as_raw_fd() as usize, EventFilter::EVFILT_VNODE, FilterFlag::NOTE_DELETE),
        add(child.id() as usize, EventFilter::EVFILT_PROC, FilterFlag::NOTE_EXIT),
    ];

    // Another task, on the same thread.
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(50)).await;
        std::fs::remove_file(path)
    });
    let mut events = [KEvent::default(); 8];
    let (mut told, mut changes) = (0, &changes[..]);
    while told < 2 {
        let count = queue.kevent(changes, &mut events).await?;
        changes = &[];
        for event in &events[..count] {
            match event.filter()? {
                EventFilter::EVFILT_VNODE => println!("the file was removed"),
                _ => println!("the child exited with {}", event.data()),
            }
            told += 1;
        }
    }
    child.wait().map(drop)
}
