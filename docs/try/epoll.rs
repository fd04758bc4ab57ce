//! Waits for a pipe, by nix's epoll.
use std::io::{Write, pipe};

use nix::sys::epoll::*;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (reader, mut writer) = pipe()?;
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    epoll.add(&reader, EpollEvent::new(EpollFlags::EPOLLIN, 7))?;
    writer.write_all(b"x")?;
    let mut events = [EpollEvent::empty(); 8];
    let n = epoll.wait(&mut events, EpollTimeout::NONE)?;
    println!("{n} event, data {}, by {}", events[0].data(), std::any::type_name::<Epoll>());
    Ok(())
}
