//! The I/O traits of the futures crates.

use super::Cursor;
use futures_io::{AsyncBufRead, AsyncRead, AsyncSeek, AsyncWrite};
use std::{
    io::{self, SeekFrom},
    pin::Pin,
    task::{Context, Poll, ready},
};

impl AsyncRead for Cursor {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let bytes = ready!(self.poll_fill(cx, buf.len()))?;
        let count = bytes.len().min(buf.len());
        buf[..count].copy_from_slice(&bytes[..count]);
        Cursor::consume(&mut self, count);
        Poll::Ready(Ok(count))
    }
}

impl AsyncBufRead for Cursor {
    fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let this = self.get_mut();
        let chunk = this.chunk();
        this.poll_fill(cx, chunk)
    }

    fn consume(mut self: Pin<&mut Self>, count: usize) {
        Cursor::consume(&mut self, count);
    }
}

impl AsyncWrite for Cursor {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Cursor::poll_write(&mut self, cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Cursor::poll_flush(&mut self, cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Cursor::poll_shutdown(&mut self, cx)
    }
}

impl AsyncSeek for Cursor {
    fn poll_seek(mut self: Pin<&mut Self>, cx: &mut Context<'_>, to: SeekFrom) -> Poll<io::Result<u64>> {
        self.poll_seek_to(cx, to)
    }
}
