//! OTLP over HTTP, with the TLS of the rest of the host.

use std::time::Duration;

use axum::http::Uri;
use hyper_rustls::HttpsConnectorBuilder;
use opentelemetry_http::hyper::HyperClient;
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _, WithHttpConfig as _};

use crate::error::Error;

/// The longest that one batch is tried to be sent.
const SEND_MAX: Duration = Duration::from_secs(10);

pub(super) fn exporter(endpoint: &str) -> Result<SpanExporter, Error> {
    let wrong = |why: String| Error::Endpoint {
        endpoint: endpoint.to_owned(),
        why,
    };
    let uri: Uri = endpoint
        .parse()
        .map_err(|error| wrong(format!("{error}")))?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.host().is_none() {
        return Err(wrong("it does not begin with http:// or https://".into()));
    }
    let connector = HttpsConnectorBuilder::new()
        .with_provider_and_webpki_roots(rustls_provider())
        .map_err(|error| wrong(error.to_string()))?
        .https_or_http()
        .enable_http1()
        .build();
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(HyperClient::new(connector, SEND_MAX, None))
        .with_endpoint(format!("{}/v1/traces", endpoint.trim_end_matches('/')))
        .build();
    exporter.map_err(|error| wrong(error.to_string()))
}

fn rustls_provider() -> rustls::crypto::CryptoProvider {
    rustls::crypto::ring::default_provider()
}
