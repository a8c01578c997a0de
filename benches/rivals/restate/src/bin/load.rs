//! `load HOST:PORT PATH BODY COUNT LANES PREFIX`: so many POSTs over connections that stay open, so
//! many at a time, with `{id}` in the path replaced by the prefix and a number. Prints one JSON object.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

struct Load {
    host: String,
    path: String,
    body: String,
    count: u64,
    prefix: String,
    next: AtomicU64,
}

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [host, path, body, count, lanes, prefix] = arguments.try_into().expect("six arguments");
    let load = Arc::new(Load {
        host,
        path,
        body,
        count: count.parse().expect("a number"),
        prefix,
        next: AtomicU64::new(0),
    });
    let lanes: u64 = lanes.parse().expect("a number");
    let begun = Instant::now();
    let lanes: Vec<_> = (0..lanes.min(load.count))
        .map(|_| tokio::spawn(lane(load.clone())))
        .collect();
    let mut latencies = Vec::new();
    for lane in lanes {
        latencies.extend(lane.await.expect("it does not panic"));
    }
    let seconds = begun.elapsed().as_secs_f64();
    latencies.sort_by(f64::total_cmp);
    let percentile =
        |percent: usize| latencies[(latencies.len() * percent / 100).min(latencies.len() - 1)];
    println!(
        r#"{{"seconds": {seconds:.4}, "p50": {:.3}, "p99": {:.3}}}"#,
        percentile(50),
        percentile(99)
    );
}

/// Requests, one after the other, until all are made; their latencies in milliseconds.
async fn lane(load: Arc<Load>) -> Vec<f64> {
    let stream = TcpStream::connect(&load.host).await.expect("it listens");
    stream.set_nodelay(true).expect("it is a socket");
    let mut stream = BufReader::new(stream);
    let mut latencies = Vec::new();
    loop {
        let number = load.next.fetch_add(1, Ordering::Relaxed);
        if number >= load.count {
            return latencies;
        }
        let path = load
            .path
            .replace("{id}", &format!("{}{number}", load.prefix));
        let Load { host, body, .. } = load.as_ref();
        let length = body.len();
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        let begun = Instant::now();
        let status = ask(&mut stream, &request).await.expect("it answers");
        assert!((200..300).contains(&status), "{path}: {status}");
        latencies.push(begun.elapsed().as_secs_f64() * 1e3);
    }
}

/// Sends a request and reads the answer to its end.
async fn ask(stream: &mut BufReader<TcpStream>, request: &str) -> std::io::Result<u16> {
    stream.get_mut().write_all(request.as_bytes()).await?;
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    let status = line.split(' ').nth(1).and_then(|it| it.parse().ok());
    let (mut length, mut chunked) = (0, false);
    loop {
        line.clear();
        stream.read_line(&mut line).await?;
        let header = line.trim_end().to_ascii_lowercase();
        if header.is_empty() {
            break;
        }
        if let Some(bytes) = header.strip_prefix("content-length:") {
            length = bytes.trim().parse().unwrap_or(0);
        }
        chunked |= header.starts_with("transfer-encoding:") && header.ends_with("chunked");
    }
    while chunked {
        line.clear();
        stream.read_line(&mut line).await?;
        let chunk = usize::from_str_radix(line.trim(), 16).unwrap_or(0);
        stream.read_exact(&mut vec![0; chunk + 2]).await?;
        chunked = chunk > 0;
    }
    stream.read_exact(&mut vec![0; length]).await?;
    Ok(status.unwrap_or(0))
}
