//! Bodies of requests and responses: how much an attempt may send and receive, and how long it
//! waits for the next piece.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::body::{Body, Bytes, Frame, SizeHint};
use tokio::time::{Instant, Sleep};
use wasmtime_wasi_http::Error;
use wfhost_core::record::LogLevel;

use crate::guest_log::SharedLog;

/// How many bytes of bodies an attempt may still send and receive. All copies are the same one.
#[derive(Clone)]
pub(crate) struct Budget {
    left: Arc<AtomicU64>,
    bytes_max: u64,
    log: SharedLog,
}

/// Which way a body goes, or what is said when there is too much of it.
#[derive(Clone, Copy)]
pub(crate) enum Direction {
    Sent,
    Received,
}

impl Budget {
    pub(crate) fn new(bytes_max: u64, log: SharedLog) -> Self {
        Self {
            left: Arc::new(AtomicU64::new(bytes_max)),
            bytes_max,
            log,
        }
    }

    /// Takes what a piece has.
    fn spend(&self, bytes: usize, direction: Direction) -> Result<(), Error> {
        let spent = self
            .left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                left.checked_sub(bytes as u64)
            });
        if spent.is_ok() {
            return Ok(());
        }
        let max = self.bytes_max;
        let message =
            format!("its HTTP requests and responses have more than {max} bytes together");
        self.log.with(|log| log.write(LogLevel::Warn, message));
        Err(match direction {
            Direction::Sent => Error::HttpRequestBodySize(Some(max)),
            Direction::Received => Error::HttpResponseBodySize(Some(max)),
        })
    }
}

/// A body that is counted, and whose next piece may take so long.
pub(crate) struct Counted<B> {
    body: B,
    budget: Budget,
    direction: Direction,
    between_max: Duration,
    /// When the piece that is waited for is too late; begins when it is first asked for.
    late: Option<Pin<Box<Sleep>>>,
}

impl<B> Counted<B> {
    /// What the guest sends, which it may take its time for.
    pub(crate) fn sent(body: B, budget: Budget) -> Self {
        Self::new(body, budget, Direction::Sent, Duration::MAX)
    }

    /// What it receives.
    pub(crate) fn received(body: B, budget: Budget, between_max: Duration) -> Self {
        Self::new(body, budget, Direction::Received, between_max)
    }

    fn new(body: B, budget: Budget, direction: Direction, between_max: Duration) -> Self {
        Self {
            body,
            budget,
            direction,
            between_max,
            late: None,
        }
    }

    /// Whether the piece that is waited for is too late.
    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(at) = Instant::now().checked_add(self.between_max) else {
            return Poll::Pending;
        };
        let late = self
            .late
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(at)));
        late.as_mut().poll(cx)
    }
}

impl<B> Body for Counted<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Error>,
{
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = &mut *self;
        let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(cx) else {
            ready!(this.poll_late(cx));
            return Poll::Ready(Some(Err(Error::ConnectionReadTimeout)));
        };
        this.late = None;
        Poll::Ready(frame.map(|frame| {
            let frame = frame.map_err(Into::into)?;
            let bytes = frame.data_ref().map_or(0, Bytes::len);
            this.budget.spend(bytes, this.direction)?;
            Ok(frame)
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
