//! Connections whose other end takes nothing any more: who asks for much and never reads would hold the answer.

use std::{
    future::{Future as _, Ready, ready},
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready as try_ready},
    time::Duration,
};

use axum_server::accept::Accept;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, UnixStream},
    time::{Sleep, sleep},
};

/// Breaks off connections that take nothing for so long while there is something to be taken.
#[derive(Clone, Copy, Debug)]
pub(super) struct TakingAcceptor(pub(super) Duration);

impl<S> Accept<TcpStream, S> for TakingAcceptor {
    type Stream = Taking<TcpStream>;
    type Service = S;
    type Future = Ready<io::Result<(Self::Stream, S)>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        // Answers are whole when they are written: nothing is to wait for more.
        let wrapped = stream.set_nodelay(true).map(|()| Taking::new(stream, self.0));
        ready(wrapped.map(|stream| (stream, service)))
    }
}

impl<S> Accept<UnixStream, S> for TakingAcceptor {
    type Stream = Taking<UnixStream>;
    type Service = S;
    type Future = Ready<io::Result<(Self::Stream, S)>>;

    fn accept(&self, stream: UnixStream, service: S) -> Self::Future {
        ready(Ok((Taking::new(stream, self.0), service)))
    }
}

/// A stream whose writes fail when the other end has taken nothing for a while.
#[derive(Debug)]
pub(super) struct Taking<S> {
    stream: S,
    limit: Duration,
    /// Runs while a write waits.
    waits: Option<Pin<Box<Sleep>>>,
}

impl<S> Taking<S> {
    fn new(stream: S, limit: Duration) -> Self {
        Self { stream, limit, waits: None }
    }

    /// What came of a write: as long as it waits, the time runs.
    fn timed<T>(
        &mut self,
        cx: &mut Context<'_>,
        write: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if write.is_ready() {
            self.waits = None;
            return write;
        }
        let limit = self.limit;
        let waits = self.waits.get_or_insert_with(|| Box::pin(sleep(limit)));
        try_ready!(waits.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Taking<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Taking<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let write = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.timed(cx, write)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let write = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.timed(cx, write)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flush = Pin::new(&mut self.stream).poll_flush(cx);
        self.timed(cx, flush)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shutdown = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.timed(cx, shutdown)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    #[tokio::test]
    async fn who_takes_nothing_is_left() {
        let (here, _there) = duplex(8);
        let mut here = Taking::new(here, Duration::from_millis(1));
        let error = here.write_all(b"more than there is room for").await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn the_time_of_who_takes_something_begins_anew() {
        let (here, mut there) = duplex(8);
        let mut here = Taking::new(here, Duration::from_secs(600));
        here.write_all(&[7; 8]).await.unwrap();
        assert!(here.write(&[7]).now_or_never().is_none(), "there is no room");
        assert!(here.waits.is_some());
        there.read_exact(&mut [0; 8]).await.unwrap();
        here.write_all(&[7]).await.unwrap();
        assert!(here.waits.is_none());
    }
}
