//! A file is sent over a socket, and received at the other end, by two requests; each is an event when
//! all its bytes have been moved.

use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use kq_core::*;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let queue = Kqueue::new()?;
    let (server, client) = UnixStream::pair()?;
    let file = std::fs::File::open(std::env::current_exe()?)?;
    let bytes = file.metadata()?.len().min(1_000_000);

    let once = |udata| AioNotify { flags: EvFlags::EV_ONESHOT, udata };
    let send = AioRequest::sendfile(server.as_fd(), file.as_fd(), 0, bytes);
    match queue.aio_submit(send, once(1)) {
        Err(refused) if refused.errno == Errno::ENOSYS => {
            println!("there is no io_uring here");
            return Ok(());
        }
        begun => begun.map_err(Errno::from)?,
    };
    let receive = AioRequest::recv(client.as_fd(), vec![0; bytes as usize], 0);
    queue.aio_submit(receive, once(2)).map_err(Errno::from)?;

    for _ in 0..2 {
        let mut events = [KEvent::default()];
        queue.kevent(&[], &mut events, None)?;
        let done = queue.aio_return(events[0].ident())?;
        let what = if events[0].udata() == 1 { "sent" } else { "received" };
        println!("{what} {} of {bytes} bytes, {:?}", done.moved, done.error);
    }
    Ok(())
}
