//! tokio's I/O traits.

use super::Cursor;
use std::{
    io::{self, SeekFrom},
    pin::Pin,
    task::{Context, Poll, ready},
};
use tokio::io::{AsyncBufRead, AsyncRead, AsyncSeek, AsyncWrite, ReadBuf};

impl AsyncRead for Cursor {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if buf.remaining() > 0 {
            let bytes = ready!(self.poll_fill(cx, buf.remaining()))?;
            let count = bytes.len().min(buf.remaining());
            buf.put_slice(&bytes[..count]);
            Cursor::consume(&mut self, count);
        }
        Poll::Ready(Ok(()))
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

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Cursor::poll_shutdown(&mut self, cx)
    }
}

impl AsyncSeek for Cursor {
    fn start_seek(mut self: Pin<&mut Self>, to: SeekFrom) -> io::Result<()> {
        Cursor::start_seek(&mut self, to);
        Ok(())
    }

    fn poll_complete(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<u64>> {
        self.poll_position(cx)
    }
}
