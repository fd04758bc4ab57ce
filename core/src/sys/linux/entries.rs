//! The names that a directory's VNODE knote has gathered.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use libc::{IN_CREATE, IN_DELETE, IN_ISDIR, IN_MOVED_FROM, IN_MOVED_TO, IN_Q_OVERFLOW};

use crate::entry::{Entry, EntryChange};

/// A bit of ours among inotify's, in what a knote wants of its watch: names are wanted.
pub(crate) const NAMES: u32 = 0x0010_0000;

/// As many as inotify keeps by default (max_queued_events).
const MOST: usize = 16384;

#[derive(Debug, Default)]
pub(crate) struct Entries(VecDeque<Entry>);

impl Entries {
    pub(crate) fn push(&mut self, entry: Entry) {
        let lost = |entry: &Entry| entry.change == EntryChange::Lost;
        if self.0.len() < MOST {
            self.0.push_back(entry);
        } else if !self.0.back().is_some_and(lost) {
            self.0.push_back(Entry {
                name: OsString::new(),
                change: EntryChange::Lost,
                is_dir: false,
            });
        }
    }

    pub(crate) fn take(&mut self) -> Vec<Entry> {
        std::mem::take(&mut self.0).into()
    }

    pub(crate) fn take_one(&mut self) -> Option<Entry> {
        self.0.pop_front()
    }
}

/// What an event of inotify's tells of an entry, if it does. `name` is padded with zeros.
pub(crate) fn entry(mask: u32, name: &[u8]) -> Option<Entry> {
    let change = match mask & (IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_Q_OVERFLOW)
    {
        IN_CREATE => EntryChange::Created,
        IN_DELETE => EntryChange::Removed,
        IN_MOVED_TO => EntryChange::MovedIn,
        IN_MOVED_FROM => EntryChange::MovedOut,
        IN_Q_OVERFLOW => EntryChange::Lost,
        _ => return None,
    };
    let end = name.iter().position(|&byte| byte == 0).unwrap_or(name.len());
    let name = OsString::from_vec(name[..end].to_vec());
    Some(Entry { name, change, is_dir: mask & IN_ISDIR != 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_names_are_kept_than_that_and_the_loss_is_told_once() {
        let mut entries = Entries::default();
        for number in 0..MOST + 3 {
            let name = number.to_string();
            entries.push(entry(IN_CREATE | IN_ISDIR, name.as_bytes()).unwrap());
        }
        assert_eq!(entries.take_one().unwrap().name, "0");
        let rest = entries.take();
        assert_eq!(rest.len(), MOST);
        assert_eq!(rest[MOST - 2].name, (MOST - 1).to_string().as_str());
        assert_eq!(rest[MOST - 1].change, EntryChange::Lost);
        assert!(entries.take_one().is_none());
    }
}
