//! A collector of traces that speaks OTLP over HTTP, and a website that remembers who asked.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;

/// The longest that a test waits for something to arrive.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// A request as it came.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Asked {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let header = self.headers.iter().find(|(it, _)| it == name);
        header.map(|(_, value)| value.as_str())
    }
}

/// A server that answers everything with 200, and keeps it.
#[derive(Clone)]
pub(super) struct Keeper {
    pub(super) address: SocketAddr,
    kept: Arc<(Mutex<Vec<Asked>>, Condvar)>,
}

impl Keeper {
    pub(super) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let keeper = Self {
            address: listener.local_addr().unwrap(),
            kept: Arc::default(),
        };
        let keeps = keeper.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let keeps = keeps.clone();
                std::thread::spawn(move || while keeps.keep(&stream).is_some() {});
            }
        });
        keeper
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// One request of a connection; `None` once it is over.
    fn keep(&self, stream: &std::io::Result<TcpStream>) -> Option<()> {
        let mut stream = stream.as_ref().ok()?;
        // Whoever asks waits for the answer, so that nothing of the next request is read here.
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let path = line.split(' ').nth(1)?.to_owned();
        let mut headers = Vec::new();
        loop {
            line.clear();
            reader.read_line(&mut line).ok()?;
            let Some((name, value)) = line.trim_end().split_once(": ") else {
                break;
            };
            headers.push((name.to_lowercase(), value.to_owned()));
        }
        let mut asked = Asked {
            path,
            headers,
            body: Vec::new(),
        };
        let bytes = asked.header("content-length").unwrap_or("0").parse();
        asked.body = vec![0; bytes.unwrap()];
        reader.read_exact(&mut asked.body).ok()?;
        let (kept, came) = &*self.kept;
        kept.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(asked);
        came.notify_all();
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
        stream.write_all(answer).ok()
    }

    /// What has come, once it is what is waited for.
    #[track_caller]
    pub(super) fn wait(&self, enough: impl Fn(&[Asked]) -> bool) -> Vec<Asked> {
        let (kept, came) = &*self.kept;
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        let until = Instant::now() + WAIT_MAX;
        while !enough(&kept) {
            let left = until.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "it did not come: {kept:?}");
            kept = came
                .wait_timeout(kept, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        kept.clone()
    }

    /// All spans that have come, once they are what is waited for.
    #[track_caller]
    pub(super) fn spans(&self, enough: impl Fn(&[Span]) -> bool) -> Vec<Span> {
        spans(&self.wait(|asked| enough(&spans(asked))))
    }
}

fn spans(asked: &[Asked]) -> Vec<Span> {
    let batches = asked.iter().flat_map(|asked| {
        assert_eq!(asked.path, "/v1/traces");
        let request = ExportTraceServiceRequest::decode(&asked.body[..]);
        request.expect("it is protobuf").resource_spans
    });
    let scopes = batches.flat_map(|resource| resource.scope_spans);
    scopes.flat_map(|scope| scope.spans).collect()
}

/// The text of an attribute; empty if there is none.
pub(super) fn attribute(span: &Span, key: &str) -> String {
    let found = span.attributes.iter().find(|it| it.key == key);
    match found.and_then(|it| it.value.as_ref()?.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        Some(other) => panic!("{other:?}"),
        None => String::new(),
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
