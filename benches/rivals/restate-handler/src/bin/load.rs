//! A closed loop of HTTP calls that knows no engine: `load ADDRESS PATH BODY COUNT CONCURRENCY`.
//!
//! So many connections are kept open; each sends its next call when its last one is answered. `{id}`
//! in the path is the number of the call. Prints one JSON object: `seconds` from the first call to
//! the last answer, and `latencies_ms`. An answer that is not 2xx ends it with an error.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

type Failure = Box<dyn Error + Send + Sync>;

struct Load {
    address: String,
    path: String,
    body: String,
    count: usize,
    begun: AtomicUsize,
}

impl Load {
    /// The calls of one connection.
    async fn lane(&self) -> Result<Vec<Duration>, Failure> {
        let mut connection = self.connect().await?;
        let mut latencies = Vec::new();
        loop {
            let number = self.begun.fetch_add(1, Ordering::Relaxed);
            if number >= self.count {
                return Ok(latencies);
            }
            let begun = Instant::now();
            self.call(&mut connection, number).await?;
            latencies.push(begun.elapsed());
        }
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, Failure> {
        let stream = TcpStream::connect(&self.address).await?;
        stream.set_nodelay(true)?;
        let (requests, connection) = handshake(TokioIo::new(stream)).await?;
        // How it ends is told by the call that is waiting for it.
        tokio::spawn(connection);
        Ok(requests)
    }

    async fn call(
        &self,
        connection: &mut SendRequest<Full<Bytes>>,
        number: usize,
    ) -> Result<(), Failure> {
        let path = self.path.replace("{id}", &number.to_string());
        let request = Request::builder()
            .method(Method::POST)
            .uri(&path)
            .header(HOST, &self.address)
            .header(CONTENT_TYPE, "application/json")
            .body(Full::from(self.body.clone()))?;
        connection.ready().await?;
        let answer = connection.send_request(request).await?;
        let status = answer.status();
        let body = answer.into_body().collect().await?.to_bytes();
        if status.is_success() {
            return Ok(());
        }
        let body = String::from_utf8_lossy(&body);
        Err(format!("{path} was answered with {status}: {body}").into())
    }
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, path, body, count, concurrency] = &arguments[..] else {
        return Err("usage: load ADDRESS PATH BODY COUNT CONCURRENCY".into());
    };
    let load = Arc::new(Load {
        address: address.clone(),
        path: path.clone(),
        body: body.clone(),
        count: count.parse()?,
        begun: AtomicUsize::new(0),
    });
    let concurrency: usize = concurrency.parse()?;
    let begun = Instant::now();
    let lanes: Vec<_> = (0..concurrency)
        .map(|_| {
            let load = load.clone();
            tokio::spawn(async move { load.lane().await })
        })
        .collect();
    let mut latencies = Vec::new();
    for lane in lanes {
        latencies.extend(lane.await??);
    }
    let seconds = begun.elapsed().as_secs_f64();
    let millis: Vec<_> = latencies.iter().map(|it| it.as_secs_f64() * 1e3).collect();
    println!("{{\"seconds\":{seconds},\"latencies_ms\":{millis:?}}}");
    Ok(())
}
