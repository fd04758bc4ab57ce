//! epoll(7) over the kqcompat engine.
