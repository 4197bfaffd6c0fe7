//! HTTP/2's connection preface, read before hyper sees the connection: hyper waits for it without end.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::time::timeout;

/// RFC 9113 §3.4.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How much is read of what has another preface, and for how long.
const LINGER_BYTES: u64 = 64 * 1024;
const LINGER_TIME: Duration = Duration::from_secs(1);

/// A connection whose preface has been read and is given to the next reader again.
pub(super) struct Prefaced<T> {
    inner: T,
    left: &'static [u8],
}

/// Reads the preface, in time.
///
/// # Errors
/// It didn't come in time, or it is something else.
pub(super) async fn read<T>(mut inner: T, within: Duration) -> io::Result<Prefaced<T>>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let mut bytes = [0; PREFACE.len()];
    timeout(within, inner.read_exact(&mut bytes)).await.map_err(|_| io::ErrorKind::TimedOut)??;
    if &bytes != PREFACE {
        // An end and not a reset, whatever is still to be read: the other side is told so in order.
        inner.shutdown().await?;
        let mut rest = (&mut inner).take(LINGER_BYTES);
        let mut nowhere = tokio::io::sink();
        let drained = timeout(LINGER_TIME, tokio::io::copy(&mut rest, &mut nowhere));
        drained.await.map_err(|_| io::ErrorKind::TimedOut)??;
        return Err(io::ErrorKind::InvalidData.into());
    }
    Ok(Prefaced { inner, left: PREFACE })
}

impl<T: AsyncRead + Unpin> AsyncRead for Prefaced<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.left.is_empty() {
            return Pin::new(&mut self.inner).poll_read(cx, buf);
        }
        let (now, later) = self.left.split_at(self.left.len().min(buf.remaining()));
        buf.put_slice(now);
        self.left = later;
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Prefaced<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}
