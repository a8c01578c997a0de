//! One GET request, on the functions of `wasi:http`.

use wasip2::http::outgoing_handler::handle;
use wasip2::http::types::{
    ErrorCode, Fields, IncomingBody, IncomingResponse, OutgoingRequest, Scheme,
};
use wasip2::io::streams::StreamError;
use wfhost_sdk::Failure;

/// How much is read at once, in bytes.
const CHUNK_BYTES: u64 = 64 * 1024;

/// The status and the body of the answer.
///
/// # Errors
/// `invalid-url`; `http-denied` if the host does not allow it; `http` if there is no answer, where
/// another attempt may help.
pub(crate) fn get(url: &str, idempotency_key: &str) -> Result<(u16, Vec<u8>), Failure> {
    let request = request(url, idempotency_key)
        .ok_or_else(|| Failure::new("invalid-url", format!("no URL: {url}")).not_retryable())?;
    let coming = handle(request, None).map_err(failed)?;
    coming.subscribe().block();
    let response = coming.get().expect("it is ready").expect("taken once");
    let response = response.map_err(failed)?;
    Ok((response.status(), body(&response)?))
}

fn request(url: &str, idempotency_key: &str) -> Option<OutgoingRequest> {
    let (scheme, rest) = match url.split_once("://")? {
        ("http", rest) => (Scheme::Http, rest),
        ("https", rest) => (Scheme::Https, rest),
        _ => return None,
    };
    let rest = rest.split_once('#').map_or(rest, |(rest, _)| rest);
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let header = |name: &str, value: &str| (name.to_owned(), value.as_bytes().to_vec());
    let headers = [
        header("user-agent", "wfhost-sample"),
        header("idempotency-key", idempotency_key),
    ];
    let request = OutgoingRequest::new(Fields::from_list(&headers).ok()?);
    request.set_scheme(Some(&scheme)).ok()?;
    request.set_authority(Some(authority)).ok()?;
    request.set_path_with_query(Some(path)).ok()?;
    Some(request)
}

fn body(response: &IncomingResponse) -> Result<Vec<u8>, Failure> {
    let body: IncomingBody = response.consume().expect("taken once");
    let stream = body.stream().expect("taken once");
    let mut bytes = Vec::new();
    loop {
        match stream.blocking_read(CHUNK_BYTES) {
            Ok(chunk) => bytes.extend(chunk),
            Err(StreamError::Closed) => return Ok(bytes),
            Err(StreamError::LastOperationFailed(error)) => {
                return Err(Failure::new("http", error.to_debug_string()));
            }
        }
    }
}

fn failed(error: ErrorCode) -> Failure {
    match error {
        ErrorCode::HttpRequestDenied | ErrorCode::DestinationIpProhibited => {
            Failure::new("http-denied", error.to_string()).not_retryable()
        }
        other => Failure::new("http", other.to_string()),
    }
}
