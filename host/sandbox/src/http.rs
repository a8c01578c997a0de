//! HTTP requests of activities: `wasi:http`, and of `wasi:io` what it builds on.
//!
//! The rest of WASI stays what it is for everybody: there is no file and no socket.
//! Each request goes through [`Hooks::send_request`], which asks the list of allowed hosts.

use std::sync::Arc;

use ::http::{HeaderMap, HeaderName, HeaderValue};
use tokio::sync::Semaphore;
use wasmtime::Result;
use wasmtime::component::{HasData, Linker, ResourceTable};
use wasmtime_wasi::p2::bindings::io;
use wasmtime_wasi_http::p2::bindings::{LinkOptions, http};
use wasmtime_wasi_http::{
    Error, RequestOptions, WasiBody, WasiHttp, WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks,
};
use wfhost_core::Trace;
use wfhost_core::record::LogLevel;

use crate::allowed_host::AllowedHost;
use crate::grant::Grant;
use crate::guest_log::SharedLog;
use crate::http_body::Budget;
use crate::http_request::{Answer, Way};
use crate::http_target::{Reach, Target};
use crate::inside::Inside;
use crate::limits::Limits;
use crate::wasi::interface;

/// The headers of W3C's Trace Context.
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// What an attempt that may make HTTP requests needs for them.
pub(crate) struct Http {
    /// What the guest's handles stand for.
    pub(crate) table: ResourceTable,
    pub(crate) log: SharedLog,
    context: WasiHttpCtx,
    hooks: Hooks,
}

/// What decides on each request.
struct Hooks {
    grant: Arc<Grant>,
    log: SharedLog,
    budget: Budget,
    connections: Arc<Semaphore>,
    trace: Option<Trace>,
}

impl Http {
    /// Most handles of one guest at a time.
    const HANDLES_MAX: usize = 10_000;

    pub(crate) fn new(limits: &Limits, grant: Arc<Grant>, trace: Option<Trace>) -> Self {
        let log = SharedLog::new(limits.log_bytes_max);
        let mut table = ResourceTable::new();
        table.set_max_capacity(Self::HANDLES_MAX);
        Self {
            table,
            context: WasiHttpCtx::new(),
            hooks: Hooks {
                grant,
                budget: Budget::new(limits.http_body_bytes_max, log.clone()),
                log: log.clone(),
                connections: Arc::new(Semaphore::new(limits.http_connections_max)),
                trace,
            },
            log,
        }
    }
}

/// Whether this is an import of `wasi:http` that activities may have.
pub(crate) fn offers(import: &str) -> bool {
    matches!(
        interface(import),
        Some("http/types" | "http/outgoing-handler")
    )
}

/// Whether requests are sent by this import; its types alone send none.
pub(crate) fn reaches(import: &str) -> bool {
    interface(import) == Some("http/outgoing-handler")
}

/// Whether this import is linked by [`link`] to the module that imports HTTP.
pub(crate) fn links(import: &str) -> bool {
    offers(import) || interface(import).is_some_and(|it| it.starts_with("io/"))
}

/// Links `wasi:http`, and `wasi:io` that can really wait.
pub(crate) fn link(linker: &mut Linker<Inside>) -> Result<()> {
    struct Handles;
    impl HasData for Handles {
        type Data<'a> = &'a mut ResourceTable;
    }
    let table: fn(&mut Inside) -> &mut ResourceTable = |inside| &mut inside.http().table;
    let view: fn(&mut Inside) -> WasiHttpCtxView<'_> = |inside| {
        let Http {
            table,
            context,
            hooks,
            ..
        } = inside.http();
        WasiHttpCtxView {
            ctx: context,
            table,
            hooks,
        }
    };
    io::error::add_to_linker::<_, Handles>(linker, table)?;
    io::poll::add_to_linker::<_, Handles>(linker, table)?;
    io::streams::add_to_linker::<_, Handles>(linker, table)?;
    http::outgoing_handler::add_to_linker::<_, WasiHttp>(linker, view)?;
    http::types::add_to_linker::<_, WasiHttp>(linker, &(&LinkOptions::default()).into(), view)
}

impl Inside {
    /// What HTTP requests need.
    pub(crate) fn http(&mut self) -> &mut Http {
        self.http
            .as_mut()
            .expect("only an attempt that has it is linked to what asks for it")
    }
}

impl WasiHttpHooks for Hooks {
    fn send_request(
        &mut self,
        mut request: ::http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Result<Answer, Error>> + Send> {
        let Some(target) = Target::of(request.uri()) else {
            return Box::new(async { Err(Error::HttpRequestUriInvalid) });
        };
        let Some(reach) = self.allows(&target) else {
            return Box::new(async { Err(Error::HttpRequestDenied) });
        };
        let Ok(permit) = Arc::clone(&self.connections).try_acquire_owned() else {
            return Box::new(async { Err(Error::ConnectionLimitReached) });
        };
        if let Some(trace) = &self.trace {
            pass_on(trace, request.headers_mut());
        }
        let way = Way {
            target,
            reach,
            options: options.unwrap_or_default(),
            budget: self.budget.clone(),
            log: self.log.clone(),
            permit,
        };
        Box::new(way.send(request))
    }
}

/// Says in which trace a request is sent, unless its guest has.
fn pass_on(trace: &Trace, headers: &mut HeaderMap) {
    if headers.contains_key(TRACEPARENT) {
        return;
    }
    // Both are plain text: one is made of digits, the other came in a header.
    if let Ok(parent) = HeaderValue::try_from(trace.parent_header()) {
        headers.insert(TRACEPARENT, parent);
    }
    headers.remove(TRACESTATE);
    if let Ok(state) = HeaderValue::from_str(&trace.state)
        && !state.is_empty()
    {
        headers.insert(TRACESTATE, state);
    }
}

impl Hooks {
    fn allows(&self, target: &Target) -> Option<Reach> {
        let reach = self
            .grant
            .allowed_hosts
            .iter()
            .find_map(|it| it.allows(target));
        if reach.is_none() {
            let message = format!(
                "HTTP request to {target} refused: the host is not allowed; \
                 start the host with --allow-host {}",
                AllowedHost::of(target)
            );
            self.log.with(|log| log.write(LogLevel::Warn, message));
        }
        reach
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_says_its_trace_unless_the_guest_has() {
        let trace = Trace {
            id: 0xab,
            span: 0xcd,
            flags: 1,
            state: "vendor=1".into(),
        };
        let parent = "00-000000000000000000000000000000ab-00000000000000cd-01";
        let mut headers = HeaderMap::new();
        pass_on(&trace, &mut headers);
        assert_eq!(headers[TRACEPARENT], parent);
        assert_eq!(headers[TRACESTATE], "vendor=1");

        let mut said = HeaderMap::new();
        said.insert(TRACEPARENT, HeaderValue::from_static("its own"));
        pass_on(&trace, &mut said);
        assert_eq!(
            (said.len(), &said[TRACEPARENT]),
            (1, &"its own".parse().unwrap())
        );

        // A state without a parent means nothing.
        let mut half = HeaderMap::new();
        half.insert(TRACESTATE, HeaderValue::from_static("other=2"));
        let without = Trace {
            state: String::new(),
            ..trace
        };
        pass_on(&without, &mut half);
        assert_eq!(
            (half.len(), &half[TRACEPARENT]),
            (1, &parent.parse().unwrap())
        );
    }
}
