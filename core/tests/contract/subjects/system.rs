//! SIGNAL and FS: what concerns the whole process, so that each contract runs in one of its own.

use std::ffi::CString;

use kq_core::test_support::signals::{catch, send_to_process};
use kq_core::{EventFilter, FilterFlag, KEvent, Kqueue};

use crate::subject::Subject;

struct Signal;

pub(crate) fn signal() -> Result<Box<dyn Subject>, String> {
    catch(libc::SIGUSR1, libc::SA_RESTART);
    Ok(Box::new(Signal))
}

impl Subject for Signal {
    fn filter(&self) -> EventFilter {
        EventFilter::EVFILT_SIGNAL
    }

    fn ident(&self) -> usize {
        libc::SIGUSR1 as usize
    }

    fn trigger(&mut self, _queues: &[&Kqueue]) {
        send_to_process(libc::SIGUSR1);
    }

    fn check(&self, event: &KEvent) {
        assert!(event.data() >= 1, "{event:?}");
    }
}

/// A file system that is mounted again and again.
struct Mounts(CString);

pub(crate) fn mounts() -> Result<Box<dyn Subject>, String> {
    // SAFETY: the strings end in a NUL; there is no data.
    let private = unsafe {
        let null = std::ptr::null();
        let private = libc::MS_REC | libc::MS_PRIVATE;
        libc::unshare(libc::CLONE_NEWNS) == 0
            && libc::mount(null, c"/".as_ptr(), null, private, null.cast()) == 0
    };
    if !private {
        return Err(format!("a mount namespace: {}", std::io::Error::last_os_error()));
    }
    let path = std::env::temp_dir().join(format!("kqcompat-contract-{}", std::process::id()));
    std::fs::create_dir(&path).unwrap();
    Ok(Box::new(Mounts(CString::new(path.to_str().unwrap()).unwrap())))
}

impl Drop for Mounts {
    fn drop(&mut self) {
        // SAFETY: the path ends in a NUL. (The namespace goes with the process.)
        while unsafe { libc::umount2(self.0.as_ptr(), 0) } == 0 {}
        let _ = std::fs::remove_dir(self.0.to_str().unwrap());
    }
}

impl Subject for Mounts {
    fn filter(&self) -> EventFilter {
        EventFilter::EVFILT_FS
    }

    fn ident(&self) -> usize {
        0
    }

    fn terms(&self, _adding: bool) -> (FilterFlag, isize) {
        (FilterFlag::VQ_MOUNT, 0)
    }

    fn trigger(&mut self, _queues: &[&Kqueue]) {
        let tmpfs = c"tmpfs".as_ptr();
        // SAFETY: the strings end in a NUL; tmpfs takes no data.
        let done = unsafe { libc::mount(tmpfs, self.0.as_ptr(), tmpfs, 0, std::ptr::null()) };
        assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
    }

    fn check(&self, event: &KEvent) {
        assert_eq!(event.fflags(), FilterFlag::VQ_MOUNT);
    }
}
